//! Signals: small things for the members who are online now, such as that
//! somebody is typing. Sealed under a key that the MLS epoch exports, signed by
//! the device, never stored, never part of a ratchet.
//!
//! A signal opens in its own epoch only. It tells when it was made, so that a
//! reader can refuse an older one than the last: the reader keeps that.

use chacha20poly1305::aead::{Aead as _, KeyInit as _, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use ed25519_dalek::{Signature, VerifyingKey};
use openmls_traits::OpenMlsProvider as _;
use sotto_protocol::DeviceId;
use sotto_roster::DeviceCertificate;

use super::group::{Group, GroupError};
use super::store::KeyStore;
use crate::identity::LocalDevice;
use crate::secret::{SecretBytes, random_bytes};

const LABEL: &[u8] = b"sotto signal v1\0";
const NONCE_BYTES: usize = 24;
/// Device, kind, time, signature.
const PLAIN_BYTES: usize = 16 + 1 + 8 + 64;
const TAG_BYTES: usize = 16;

/// What a signal tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SignalKind {
    /// The sender is writing.
    Typing,
    /// A kind that a newer version knows.
    Unknown(u8),
}

impl SignalKind {
    const fn number(self) -> u8 {
        match self {
            Self::Typing => 1,
            Self::Unknown(number) => number,
        }
    }
}

/// An opened signal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signal {
    /// Who sent it, as authenticated.
    pub sender: DeviceCertificate,
    /// What it tells.
    pub kind: SignalKind,
    /// The sender's clock, in milliseconds since 1970 UTC.
    pub made_at_ms: u64,
}

impl Group {
    /// Seals a signal; every one has the same size.
    ///
    /// # Errors
    /// When the epoch gives no key or the operating system no randomness.
    pub fn seal_signal(
        &self,
        store: &KeyStore<'_>,
        me: &LocalDevice,
        (kind, now_ms): (SignalKind, u64),
    ) -> Result<Vec<u8>, GroupError> {
        let nonce: [u8; NONCE_BYTES] =
            random_bytes().map_err(|_| GroupError::Mls("randomness for a signal"))?;
        let mut plain = me.certificate().device_id().to_vec();
        plain.push(kind.number());
        plain.extend_from_slice(&now_ms.to_be_bytes());
        let signature = me.key().sign(&self.signed(&nonce, &plain));
        plain.extend_from_slice(&signature);
        let sealed = self
            .signal_cipher(store)?
            .encrypt(
                &XNonce::from(nonce),
                Payload {
                    msg: &plain,
                    aad: &self.place(),
                },
            )
            .map_err(|_| GroupError::Mls("sealing a signal"))?;
        Ok([nonce.as_slice(), &sealed].concat())
    }

    /// Opens a signal of this epoch.
    ///
    /// # Errors
    /// [`GroupError::Invalid`] when it does not verify, or is of no member.
    pub fn open_signal(&self, store: &KeyStore<'_>, payload: &[u8]) -> Result<Signal, GroupError> {
        if payload.len() != NONCE_BYTES + PLAIN_BYTES + TAG_BYTES {
            return Err(GroupError::Invalid);
        }
        let (nonce, sealed) = payload
            .split_first_chunk::<NONCE_BYTES>()
            .ok_or(GroupError::Invalid)?;
        let plain = self
            .signal_cipher(store)?
            .decrypt(
                &XNonce::from(*nonce),
                Payload {
                    msg: sealed,
                    aad: &self.place(),
                },
            )
            .map_err(|_| GroupError::Invalid)?;
        let (said, signature) = plain.split_last_chunk::<64>().ok_or(GroupError::Invalid)?;
        let (device, rest) = said.split_first_chunk::<16>().ok_or(GroupError::Invalid)?;
        let (kind, time) = rest.split_first().ok_or(GroupError::Invalid)?;
        let time: [u8; 8] = time.try_into().map_err(|_| GroupError::Invalid)?;
        let device = DeviceId::from_bytes(*device);
        let leaves = self.roster().leaves.values();
        let sender = leaves
            .into_iter()
            .find(|leaf| *leaf.device_id() == device)
            .ok_or(GroupError::Invalid)?;
        VerifyingKey::from_bytes(sender.device_key())
            .and_then(|key| {
                let signature = Signature::from_bytes(signature);
                key.verify_strict(&self.signed(nonce, said), &signature)
            })
            .map_err(|_| GroupError::Invalid)?;
        Ok(Signal {
            sender: sender.clone(),
            kind: match kind {
                1 => SignalKind::Typing,
                number => SignalKind::Unknown(*number),
            },
            made_at_ms: u64::from_be_bytes(time),
        })
    }

    fn signal_cipher(&self, store: &KeyStore<'_>) -> Result<XChaCha20Poly1305, GroupError> {
        let mut key = self
            .mls
            .export_secret(store.crypto(), "sotto signal", &[], 32)
            .map_err(|_| GroupError::Mls("exporting a key"))?;
        let secret = SecretBytes::<32>::from_slice(&key);
        zeroize::Zeroize::zeroize(&mut key);
        let secret = secret.ok_or(GroupError::Mls("exporting a key"))?;
        Ok(XChaCha20Poly1305::new(secret.expose().into()))
    }

    /// Where a signal belongs.
    fn place(&self) -> Vec<u8> {
        let address = self.address();
        let mut place = LABEL.to_vec();
        place.extend_from_slice(address.conversation.as_bytes());
        place.extend_from_slice(&address.generation.to_be_bytes());
        place.extend_from_slice(&self.epoch().to_be_bytes());
        place
    }

    fn signed(&self, nonce: &[u8; NONCE_BYTES], said: &[u8]) -> Vec<u8> {
        let mut signed = self.place();
        signed.extend_from_slice(nonce);
        signed.extend_from_slice(said);
        signed
    }
}
