//! Files, sealed in chunks so that any size passes through bounded memory.
//!
//! A sealed file is 32 bytes that commit to the key, then chunks of the
//! STREAM construction over XChaCha20-Poly1305: a counter and a mark of the
//! last chunk are in each nonce, so that none can be left out, swapped,
//! repeated or appended. The plaintext is an 8-byte length, the file, and
//! zero bytes up to a padded size. Everything is derived from the file's key
//! alone: sealing is repeatable, and an upload goes on after a restart.
//!
//! Repeating is safe only for the same bytes, so a file is surveyed first, and
//! each chunk is compared with the survey before it is sealed: a file that
//! changes meanwhile ends the upload; nothing else is ever sealed under its key.
//! Refuses to give out a byte of an opened chunk that does not verify; the
//! whole is only good once [`Opener::finish`] says so.

mod layout;
mod open;
mod seal;
#[cfg(test)]
mod tests;

use aead_stream::{NewStream as _, StreamBE32};
use chacha20poly1305::XChaCha20Poly1305;
use hkdf::Hkdf;
use sha2::Sha256;

use crate::secret::{NoRandomness, SecretBytes};

pub use layout::Layout;
pub use open::{Expected, Opener};
pub use seal::{Plan, Sealer, Survey};

/// Plaintext of one chunk, in bytes.
pub const CHUNK_BYTES: usize = 64 * 1024;
/// What sealing adds to each chunk, in bytes.
pub const TAG_BYTES: usize = 16;
/// What a sealed file begins with, in bytes.
pub const COMMITMENT_BYTES: usize = 32;
/// The largest file, in bytes: 16 GiB. A survey of it holds 8 MiB.
pub const FILE_BYTES_MAX: u64 = 16 << 30;

/// The length in front of the file.
const HEADER_BYTES: usize = 8;
/// No sealed file is smaller than one of this plaintext: short ones look alike.
const PADDED_BYTES_MIN: u64 = 4096;

/// A file that could not be sealed or opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AttachmentError {
    /// Longer than 16 GiB.
    #[error("the file is larger than 16 GiB; send it in parts")]
    TooLarge,
    /// What is read now is not what was surveyed.
    #[error("the file changed while it was read; send it again when it is finished")]
    FileChanged,
    /// What came is not what the message describes.
    #[error(
        "what the server returned is not the file that was sent; nothing was kept. Ask the sender to send it again"
    )]
    Mismatch,
}

impl AttachmentError {
    /// The stable name.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::TooLarge => "too_large",
            Self::FileChanged => "file_changed",
            Self::Mismatch => "attachment_mismatch",
        }
    }
}

/// The key of one file.
pub struct FileKey(SecretBytes<32>);

impl FileKey {
    /// A fresh random key.
    ///
    /// # Errors
    /// When there is no randomness.
    pub fn generate() -> Result<Self, NoRandomness> {
        Ok(Self(SecretBytes::random()?))
    }

    /// Reads 32 bytes.
    #[must_use]
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        SecretBytes::from_slice(bytes).map(Self)
    }

    /// The bytes, for the sealed message and the encrypted store.
    #[must_use]
    pub fn expose(&self) -> &[u8; 32] {
        self.0.expose()
    }

    fn parts(&self) -> Parts {
        let keys = Hkdf::<Sha256>::new(None, self.0.expose());
        let mut key = SecretBytes::<32>::from_slice(&[0; 32]);
        let mut nonce = [0; 19];
        let mut commitment = [0; COMMITMENT_BYTES];
        // These lengths are far below what HKDF can give.
        if let Some(key) = &mut key {
            let _ = keys.expand(b"sotto attachment v1 key", key.expose_mut());
        }
        let _ = keys.expand(b"sotto attachment v1 nonce", &mut nonce);
        let _ = keys.expand(b"sotto attachment v1 commitment", &mut commitment);
        let key = key.as_ref().map_or(&[0; 32], SecretBytes::expose);
        Parts {
            stream: Stream::new(key.into(), &nonce.into()),
            commitment,
        }
    }
}

type Stream = StreamBE32<XChaCha20Poly1305>;

struct Parts {
    stream: Stream,
    commitment: [u8; COMMITMENT_BYTES],
}
