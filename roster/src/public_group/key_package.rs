//! Judges key packages before they are stored, served or used.

use openmls::prelude::{
    Ciphersuite, KeyPackage, MlsMessageBodyIn, MlsMessageIn, ProtocolVersion,
    tls_codec::Deserialize as _,
};
use openmls_rust_crypto::RustCrypto;
use sotto_protocol::DeploymentId;
use sotto_protocol::limits::KEY_PACKAGE_BYTES_MAX;

use super::low_order::is_sound_key;
use super::profile;
use super::reading::{ReadError, certificate_of, lifetime_of};
use crate::authorize::{Freshness, LIFETIME_LEFT_S_MIN, Lifetime};
use crate::certificate::DeviceCertificate;

/// A key package that may not be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyPackageError {
    /// Not an MLS key package of at most 8 KiB, or its signatures do not verify.
    #[error("key package is malformed or does not verify")]
    Invalid,
    /// Its suite is not one of ours, or it lacks what conversations need.
    #[error("key package does not fit conversations")]
    Unsuitable,
    /// Expired, expiring within 15 days, not valid yet, or longer than 90 days.
    #[error("key package's lifetime is not acceptable")]
    BadLifetime,
    /// Its certificate or a key in it is not sound.
    #[error(transparent)]
    Leaf(#[from] ReadError),
}

/// What a verified key package says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyPackageInfo {
    /// The device that made it.
    pub certificate: DeviceCertificate,
    /// The MLS ciphersuite (RFC 9420 17.1).
    pub suite: u16,
    /// From when until when it is valid.
    pub lifetime: Lifetime,
    /// Until when a directory should hand it out, in milliseconds since 1970
    /// UTC: 15 days before it expires, after which nobody adds it.
    pub serve_until_ms: u64,
    /// Whether it may be used more than once.
    pub last_resort: bool,
    /// Its MLS reference: the hash by which a welcome names it.
    pub reference: Vec<u8>,
}

/// Verifies an MLS key package message.
///
/// # Errors
/// See [`KeyPackageError`].
pub fn inspect_key_package(
    bytes: &[u8],
    deployment: &DeploymentId,
    now_ms: u64,
) -> Result<KeyPackageInfo, KeyPackageError> {
    let crypto = RustCrypto::default();
    read_key_package(&crypto, bytes, deployment, now_ms).map(|(info, _)| info)
}

/// Verifies an MLS key package message and returns it for use in a commit.
///
/// # Errors
/// See [`KeyPackageError`].
pub fn read_key_package(
    crypto: &RustCrypto,
    bytes: &[u8],
    deployment: &DeploymentId,
    now_ms: u64,
) -> Result<(KeyPackageInfo, KeyPackage), KeyPackageError> {
    let package = parse(crypto, bytes)?;
    let suite = package.ciphersuite();
    if !profile::is_known_suite(suite) || !supports_conversations(&package) {
        return Err(KeyPackageError::Unsuitable);
    }
    let certificate = certificate_of(package.leaf_node(), suite, deployment)?;
    if !is_sound_key(suite, package.hpke_init_key().as_slice()) {
        return Err(ReadError::UnsoundKey.into());
    }
    let lifetime = lifetime_of(package.leaf_node()).ok_or(KeyPackageError::Invalid)?;
    if !lifetime.allows(Freshness::Live { now_ms }) {
        return Err(KeyPackageError::BadLifetime);
    }
    let reference = package
        .hash_ref(crypto)
        .map_err(|_| KeyPackageError::Invalid)?;
    let info = KeyPackageInfo {
        certificate,
        suite: u16::from(suite),
        lifetime,
        serve_until_ms: lifetime
            .not_after_s
            .saturating_sub(LIFETIME_LEFT_S_MIN)
            .saturating_mul(1000),
        last_resort: package.last_resort(),
        reference: reference.as_slice().to_vec(),
    };
    Ok((info, package))
}

fn parse(crypto: &RustCrypto, bytes: &[u8]) -> Result<KeyPackage, KeyPackageError> {
    if bytes.len() > KEY_PACKAGE_BYTES_MAX {
        return Err(KeyPackageError::Invalid);
    }
    let message =
        MlsMessageIn::tls_deserialize_exact(bytes).map_err(|_| KeyPackageError::Invalid)?;
    let MlsMessageBodyIn::KeyPackage(package) = message.extract() else {
        return Err(KeyPackageError::Invalid);
    };
    package
        .validate(crypto, ProtocolVersion::Mls10)
        .map_err(|_| KeyPackageError::Invalid)
}

fn supports_conversations(package: &KeyPackage) -> bool {
    let offered = package.leaf_node().capabilities();
    let needed = profile::capabilities();
    let suite: Ciphersuite = package.ciphersuite();
    needed
        .extensions()
        .iter()
        .all(|kind| offered.extensions().contains(kind))
        && needed
            .credentials()
            .iter()
            .all(|kind| offered.credentials().contains(kind))
        && offered.ciphersuites().contains(&suite.into())
}
