//! The recovery key: 128 random bits, shown as twelve words, and the backup
//! that it seals for the server to keep.
//!
//! No password goes into the seal: who has the server's database and the
//! password has nothing to guess at but 128 bits. A backup is bound to its
//! account and deployment and has one of six sizes. Refuses words that are not
//! a key, which a checksum of 4 bits and the list of words notice mostly.

use bip39::{Language, Mnemonic};
use chacha20poly1305::aead::{Aead as _, KeyInit as _, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use hkdf::Hkdf;
use sha2::Sha256;
use sotto_protocol::limits::BACKUP_BYTES_MAX;
use sotto_protocol::{DeploymentId, Username};
use zeroize::{Zeroize as _, Zeroizing};

use crate::padding;
use crate::secret::{NoRandomness, SecretBytes, random_bytes};

/// Words of a recovery key.
pub const WORDS: usize = 12;
const MAGIC: &[u8; 15] = b"sotto backup 1\n";
const NONCE_BYTES: usize = 24;
const OVERHEAD_BYTES: usize = MAGIC.len() + NONCE_BYTES + 16;
/// The smallest sealed backup, in bytes.
const BACKUP_BYTES_MIN: usize = 16 * 1024;
/// The most bytes that a backup holds.
pub const BACKUP_PLAIN_BYTES_MAX: usize = BACKUP_BYTES_MAX - OVERHEAD_BYTES - 4;

/// Words or a backup that cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RecoveryError {
    /// Not twelve words.
    #[error("a recovery key has twelve words; type all of them, in their order")]
    WordCount,
    /// A word that is not in the list; counted from 1.
    #[error("word {0} is not one of the list; compare it with what you wrote down")]
    UnknownWord(usize),
    /// The checksum does not fit.
    #[error("these words are no recovery key; one of them or their order is wrong")]
    Mistyped,
    /// The backup was sealed by another key, or changed.
    #[error("this recovery key does not open the account's backup")]
    WrongKey,
    /// It does not fit what the server takes.
    #[error("this is too much for a backup")]
    TooLarge,
    /// No randomness.
    #[error(transparent)]
    NoRandomness(#[from] NoRandomness),
}

/// The key that people write down.
pub struct RecoveryKey(SecretBytes<16>);

impl RecoveryKey {
    /// A fresh one.
    ///
    /// # Errors
    /// When there is no randomness.
    pub fn generate() -> Result<Self, RecoveryError> {
        Ok(Self(SecretBytes::random()?))
    }

    /// Twelve words with single spaces between; wiped when dropped.
    #[must_use]
    pub fn to_words(&self) -> Zeroizing<String> {
        let mut text = Zeroizing::new(String::with_capacity(128));
        // 16 bytes are a size that the standard knows.
        if let Ok(mut mnemonic) = Mnemonic::from_entropy_in(Language::English, self.0.expose()) {
            for (place, word) in mnemonic.words().enumerate() {
                if place > 0 {
                    text.push(' ');
                }
                text.push_str(word);
            }
            mnemonic.zeroize();
        }
        text
    }

    /// Reads twelve words, in any case, with any white space between.
    ///
    /// # Errors
    /// See [`RecoveryError`].
    pub fn parse(text: &str) -> Result<Self, RecoveryError> {
        let mut joined = Zeroizing::new(String::with_capacity(text.len()));
        for (place, word) in text.split_whitespace().enumerate() {
            if place > 0 {
                joined.push(' ');
            }
            joined.extend(word.chars().map(|c| c.to_ascii_lowercase()));
            if place >= WORDS {
                return Err(RecoveryError::WordCount);
            }
        }
        if joined.split(' ').count() != WORDS {
            return Err(RecoveryError::WordCount);
        }
        let parsed = Mnemonic::parse_in_normalized(Language::English, &joined);
        let mut mnemonic = parsed.map_err(|error| match error {
            bip39::Error::UnknownWord(place) => RecoveryError::UnknownWord(place + 1),
            bip39::Error::BadWordCount(_) => RecoveryError::WordCount,
            _ => RecoveryError::Mistyped,
        })?;
        let (mut entropy, length) = mnemonic.to_entropy_array();
        mnemonic.zeroize();
        let key = SecretBytes::from_slice(&entropy[..length.min(entropy.len())]);
        entropy.zeroize();
        key.map(Self).ok_or(RecoveryError::WordCount)
    }

    /// What seals backups of an account: all that a device needs to keep.
    #[must_use]
    pub fn backup_key(&self) -> BackupKey {
        let mut key = SecretBytes::<32>::take(&mut [0; 32]);
        // 32 bytes are far below what HKDF can give.
        let _ = Hkdf::<Sha256>::new(None, self.0.expose())
            .expand(b"sotto backup key v1", key.expose_mut());
        BackupKey(key)
    }
}

/// Seals and opens backups. The words cannot be had from it.
#[derive(Clone)]
pub struct BackupKey(SecretBytes<32>);

impl BackupKey {
    /// Reads 32 bytes out of the encrypted local store.
    #[must_use]
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        SecretBytes::from_slice(bytes).map(Self)
    }

    /// The bytes, for the encrypted local store.
    #[must_use]
    pub fn expose(&self) -> &[u8; 32] {
        self.0.expose()
    }

    /// Seals a backup of at most [`BACKUP_PLAIN_BYTES_MAX`] bytes.
    ///
    /// # Errors
    /// [`RecoveryError::TooLarge`]; when there is no randomness.
    pub fn seal(
        &self,
        deployment: &DeploymentId,
        username: &Username,
        bytes: &[u8],
    ) -> Result<Vec<u8>, RecoveryError> {
        let sizes = (BACKUP_BYTES_MIN, BACKUP_BYTES_MAX);
        let plain = padding::pad(bytes, OVERHEAD_BYTES, sizes).ok_or(RecoveryError::TooLarge)?;
        let nonce: [u8; NONCE_BYTES] = random_bytes()?;
        let payload = Payload {
            msg: &plain,
            aad: &bound_to(deployment, username),
        };
        let sealed = self
            .cipher()
            .encrypt(&XNonce::from(nonce), payload)
            .map_err(|_| RecoveryError::TooLarge)?;
        Ok([MAGIC.as_slice(), &nonce, &sealed].concat())
    }

    /// Opens a backup.
    ///
    /// # Errors
    /// [`RecoveryError::WrongKey`].
    pub fn open(
        &self,
        deployment: &DeploymentId,
        username: &Username,
        backup: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, RecoveryError> {
        let (nonce, sealed) = backup
            .strip_prefix(MAGIC)
            .and_then(|rest| rest.split_first_chunk::<NONCE_BYTES>())
            .ok_or(RecoveryError::WrongKey)?;
        let payload = Payload {
            msg: sealed,
            aad: &bound_to(deployment, username),
        };
        let plain = self
            .cipher()
            .decrypt(&XNonce::from(*nonce), payload)
            .map(Zeroizing::new)
            .map_err(|_| RecoveryError::WrongKey)?;
        let bytes = padding::unpad(&plain).ok_or(RecoveryError::WrongKey)?;
        Ok(Zeroizing::new(bytes.to_vec()))
    }

    fn cipher(&self) -> XChaCha20Poly1305 {
        XChaCha20Poly1305::new(self.0.expose().into())
    }
}

fn bound_to(deployment: &DeploymentId, username: &Username) -> Vec<u8> {
    let name = username.as_str().as_bytes();
    [MAGIC.as_slice(), deployment.as_bytes(), name].concat()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn account(name: &str) -> (DeploymentId, Username) {
        let username = Username::parse(name).unwrap();
        (DeploymentId::from_bytes([7; 16]), username)
    }

    #[test]
    fn words_are_the_standards_and_come_back() {
        let key = RecoveryKey(SecretBytes::from_slice(&[0x7f; 16]).unwrap());
        let words = "legal winner thank year wave sausage worth useful legal winner thank yellow";
        assert_eq!(*key.to_words(), words);
        let typed = words.to_uppercase().replace(' ', " \t\n");
        let read = RecoveryKey::parse(&typed).unwrap();
        assert!(read.0.same_as(&key.0));
    }

    #[test]
    fn wrong_words_are_named() {
        let words = "legal winner thank year wave sausage worth useful legal winner thank yellow";
        for (typed, error) in [
            (words.replace("year", "yeer"), RecoveryError::UnknownWord(4)),
            (
                words.replace("thank yellow", "thank legal"),
                RecoveryError::Mistyped,
            ),
            (words.replace(" yellow", ""), RecoveryError::WordCount),
            (format!("{words} {words}"), RecoveryError::WordCount),
            (String::new(), RecoveryError::WordCount),
        ] {
            assert_eq!(RecoveryKey::parse(&typed).err(), Some(error), "{typed}");
        }
    }

    #[test]
    fn only_the_same_key_and_account_open_a_backup() {
        let (deployment, alice) = account("alice");
        let (_, bob) = account("bob");
        let key = RecoveryKey::generate().unwrap();
        let backup = key.backup_key().seal(&deployment, &alice, b"identity");
        let backup = backup.unwrap();
        let again = RecoveryKey::parse(&key.to_words()).unwrap().backup_key();
        let opened = again.open(&deployment, &alice, &backup).unwrap();
        assert_eq!(*opened, b"identity");
        let other = RecoveryKey::generate().unwrap().backup_key();
        for opened in [
            other.open(&deployment, &alice, &backup),
            again.open(&deployment, &bob, &backup),
            again.open(&DeploymentId::from_bytes([8; 16]), &alice, &backup),
        ] {
            assert_eq!(opened.unwrap_err(), RecoveryError::WrongKey);
        }
    }

    #[test]
    fn sizes_tell_little_of_the_content() {
        let (deployment, alice) = account("alice");
        let key = RecoveryKey::generate().unwrap().backup_key();
        let size = |length: usize| {
            let sealed = key.seal(&deployment, &alice, &vec![1; length]);
            sealed.map(|sealed| sealed.len())
        };
        assert_eq!(size(0), Ok(16 * 1024));
        assert_eq!(size(16_000), Ok(16 * 1024));
        assert_eq!(size(17_000), Ok(32 * 1024));
        assert_eq!(size(BACKUP_PLAIN_BYTES_MAX), Ok(BACKUP_BYTES_MAX));
        assert_eq!(
            size(BACKUP_PLAIN_BYTES_MAX + 1),
            Err(RecoveryError::TooLarge)
        );
    }

    proptest! {
        #[test]
        fn changed_backups_do_not_open(place in any::<prop::sample::Index>(), flip in 1_u8..) {
            let (deployment, alice) = account("alice");
            let key = RecoveryKey::generate().unwrap().backup_key();
            let mut backup = key.seal(&deployment, &alice, b"identity").unwrap();
            let at = place.index(backup.len());
            backup[at] ^= flip;
            prop_assert!(key.open(&deployment, &alice, &backup).is_err());
        }

        #[test]
        fn anything_may_come(bytes in prop::collection::vec(any::<u8>(), 0..200), text in ".*") {
            let (deployment, alice) = account("alice");
            let key = RecoveryKey::generate().unwrap().backup_key();
            prop_assert!(key.open(&deployment, &alice, &bytes).is_err());
            prop_assert!(RecoveryKey::parse(&text).is_err());
        }
    }
}
