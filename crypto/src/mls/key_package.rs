//! Makes key packages and forgets them.

use openmls::prelude::{
    KeyPackage, KeyPackageBundle, KeyPackageRef, Lifetime, MlsMessageOut,
    tls_codec::{Deserialize as _, Serialize as _, VLBytes},
};
use openmls_traits::OpenMlsProvider as _;
use openmls_traits::storage::StorageProvider as _;
use sotto_roster::public_group::profile;

use super::group::{GroupError, credential};
use super::store::{DeviceSigner, KeyStore, ciphersuite};
use crate::identity::LocalDevice;
use crate::suite::Suite;

/// How long one-time packages live, in seconds: 60 days, of which the first 45 they are handed out.
pub(super) const ONE_TIME_LIFETIME_S: u64 = 60 * 24 * 3600;
/// How long last-resort packages and a creator's leaf live, in seconds: 84
/// days, the most that the MLS library accepts.
pub(super) const LEAF_LIFETIME_S: u64 = 84 * 24 * 3600;
/// By how much a lifetime begins before now, for clocks that lag, in seconds.
const MARGIN_S: u64 = 3600;

/// What a key package is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyPackageUse {
    /// One welcome; then its private key is gone.
    OneTime,
    /// Any number of welcomes, when nothing else is left.
    LastResort,
}

/// A key package, ready to publish; its private parts are in the key store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MadeKeyPackage {
    /// The encoded MLS message.
    pub bytes: Vec<u8>,
    /// Its MLS reference, by which it can be forgotten.
    pub reference: Vec<u8>,
    /// When it expires, in milliseconds since 1970 UTC.
    pub expires_at_ms: u64,
}

/// Makes a key package and stores its private parts.
///
/// # Errors
/// When the database refuses.
pub fn make_key_package(
    store: &KeyStore<'_>,
    me: &LocalDevice,
    suite: Suite,
    purpose: KeyPackageUse,
    now_ms: u64,
) -> Result<MadeKeyPackage, GroupError> {
    let builder = KeyPackage::builder().leaf_node_capabilities(profile::capabilities());
    let (builder, lives_s) = match purpose {
        KeyPackageUse::OneTime => (builder, ONE_TIME_LIFETIME_S),
        KeyPackageUse::LastResort => (builder.mark_as_last_resort(), LEAF_LIFETIME_S),
    };
    let bundle = builder
        .key_package_lifetime(lifetime(now_ms, lives_s))
        .build(
            ciphersuite(suite),
            store,
            &DeviceSigner(me),
            credential(me.certificate()),
        )
        .map_err(|_| GroupError::Mls("key package"))?;
    let package = bundle.into_key_package();
    let reference = package
        .hash_ref(store.crypto())
        .map_err(|_| GroupError::Mls("key package"))?
        .as_slice()
        .to_vec();
    let bytes = MlsMessageOut::from(package)
        .to_bytes()
        .map_err(|_| GroupError::Mls("encode"))?;
    let expires_at_ms = now_ms.saturating_add(lives_s.saturating_mul(1000));
    Ok(MadeKeyPackage {
        bytes,
        reference,
        expires_at_ms,
    })
}

/// Deletes the private parts of a key package, used or not.
///
/// # Errors
/// When the database refuses, or the reference is not one.
pub fn forget_key_package(store: &KeyStore<'_>, reference: &[u8]) -> Result<(), GroupError> {
    let reference = key_package_ref(reference)?;
    Ok(store.storage().delete_key_package(&reference)?)
}

/// Whether the private parts of a key package are here.
///
/// # Errors
/// When the database refuses, or the reference is not one.
pub fn holds_key_package(store: &KeyStore<'_>, reference: &[u8]) -> Result<bool, GroupError> {
    let reference = key_package_ref(reference)?;
    let found: Option<KeyPackageBundle> = store.storage().key_package(&reference)?;
    Ok(found.is_some())
}

fn key_package_ref(bytes: &[u8]) -> Result<KeyPackageRef, GroupError> {
    let encoded = VLBytes::new(bytes.to_vec())
        .tls_serialize_detached()
        .map_err(|_| GroupError::Invalid)?;
    KeyPackageRef::tls_deserialize_exact(&encoded).map_err(|_| GroupError::Invalid)
}

/// From an hour ago until so many seconds from now; never longer than asked and the margin.
pub(super) fn lifetime(now_ms: u64, lives_s: u64) -> Lifetime {
    let now_s = now_ms / 1000;
    Lifetime::init(
        now_s.saturating_sub(MARGIN_S),
        now_s.saturating_add(lives_s),
    )
}
