//! What an invited person learns of a group before they come in: its title and
//! description, beside the welcome. Sealed under a key that the epoch exports
//! which the invitation leads to, so that members and the invited open it and
//! no server does; signed by the inviting device. It says nothing else: who is
//! in the group the welcome itself tells.

use chacha20poly1305::aead::{Aead as _, KeyInit as _, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use ed25519_dalek::{Signature, VerifyingKey};
use openmls_traits::OpenMlsProvider as _;
use sotto_protocol::limits::INVITATION_NOTE_BYTES_MAX;
use sotto_roster::DeviceCertificate;

use super::group::{Address, Group, GroupError};
use super::store::KeyStore;
use crate::content::{Body, GroupInfo};
use crate::identity::LocalDevice;
use crate::padding;
use crate::secret::{SecretBytes, random_bytes};

const LABEL: &[u8] = b"sotto invitation v1\0";
/// The label under which the epoch exports the key.
const EXPORT_LABEL: &str = "sotto invitation";
const NONCE_BYTES: usize = 24;
const SIGNATURE_BYTES: usize = 64;
const TAG_BYTES: usize = 16;
/// The smallest note: the length of a title does not show.
const NOTE_BYTES_MIN: usize = 512;

/// What a note says of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct About {
    /// Its title, at most 128 bytes.
    pub title: String,
    /// What it is about, at most 1,024 bytes.
    pub description: String,
}

impl Group {
    /// Seals a note for those whom the pending commit brings in; 512 to 2,048 bytes.
    ///
    /// # Errors
    /// When nothing is pending, what it says is too long, or there is no randomness.
    pub fn seal_invitation(
        &self,
        store: &KeyStore<'_>,
        me: &LocalDevice,
        about: &About,
    ) -> Result<Vec<u8>, GroupError> {
        let pending = self
            .mls
            .pending_commit()
            .ok_or(GroupError::NothingPending)?;
        let key = pending
            .export_secret(store.crypto(), EXPORT_LABEL, &[], 32)
            .map_err(|_| GroupError::Mls("exporting a key"))?;
        let body = Body::GroupInfo(GroupInfo {
            title: about.title.clone(),
            description: about.description.clone(),
            ..GroupInfo::default()
        });
        let overhead = NONCE_BYTES + SIGNATURE_BYTES + TAG_BYTES;
        let sizes = (NOTE_BYTES_MIN, INVITATION_NOTE_BYTES_MAX);
        let said = padding::pad(&body.to_bytes()?, overhead, sizes).ok_or(GroupError::Invalid)?;
        let nonce: [u8; NONCE_BYTES] =
            random_bytes().map_err(|_| GroupError::Mls("randomness for an invitation"))?;
        let place = place(self.address(), self.epoch() + 1);
        let signature = me.key().sign(&signed(&place, &nonce, &said));
        let plain = [said.as_slice(), &signature].concat();
        let payload = Payload {
            msg: &plain,
            aad: &place,
        };
        let sealed = cipher(key)?
            .encrypt(&XNonce::from(nonce), payload)
            .map_err(|_| GroupError::Mls("sealing an invitation"))?;
        Ok([nonce.as_slice(), &sealed].concat())
    }

    /// Opens the note that came beside the welcome to this very epoch; `None`
    /// when it does not verify as the inviter's.
    pub(super) fn open_invitation(
        &self,
        store: &KeyStore<'_>,
        inviter: &DeviceCertificate,
        note: &[u8],
    ) -> Option<About> {
        if note.len() > INVITATION_NOTE_BYTES_MAX {
            return None;
        }
        let key = self
            .mls
            .export_secret(store.crypto(), EXPORT_LABEL, &[], 32);
        let (nonce, sealed) = note.split_first_chunk::<NONCE_BYTES>()?;
        let place = place(self.address(), self.epoch());
        let payload = Payload {
            msg: sealed,
            aad: &place,
        };
        let plain = cipher(key.ok()?).ok()?;
        let plain = plain.decrypt(&XNonce::from(*nonce), payload).ok()?;
        let (said, signature) = plain.split_last_chunk::<SIGNATURE_BYTES>()?;
        let signature = Signature::from_bytes(signature);
        VerifyingKey::from_bytes(inviter.device_key())
            .and_then(|key| key.verify_strict(&signed(&place, nonce, said), &signature))
            .ok()?;
        match Body::from_bytes(padding::unpad(said)?) {
            Ok(Body::GroupInfo(info)) => Some(About {
                title: info.title,
                description: info.description,
            }),
            _ => None,
        }
    }
}

fn cipher(mut key: Vec<u8>) -> Result<XChaCha20Poly1305, GroupError> {
    let secret = SecretBytes::<32>::from_slice(&key);
    zeroize::Zeroize::zeroize(&mut key);
    let secret = secret.ok_or(GroupError::Mls("exporting a key"))?;
    Ok(XChaCha20Poly1305::new(secret.expose().into()))
}

/// Where a note belongs.
fn place(address: Address, epoch: u64) -> Vec<u8> {
    let mut place = LABEL.to_vec();
    place.extend_from_slice(address.conversation.as_bytes());
    place.extend_from_slice(&address.generation.to_be_bytes());
    place.extend_from_slice(&epoch.to_be_bytes());
    place
}

fn signed(place: &[u8], nonce: &[u8; NONCE_BYTES], said: &[u8]) -> Vec<u8> {
    [place, nonce.as_slice(), said].concat()
}
