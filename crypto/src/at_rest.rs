//! The key of the local database, wrapped under the password's unlock key.
//!
//! The header file holds what unlocking needs and nothing that helps without
//! the password: magic and version, derivation parameters, salt, nonce, and
//! the wrapped key. A header that asks for a weaker derivation than today's is
//! refused: it was tampered with, or is not ours.

use chacha20poly1305::aead::{Aead as _, KeyInit as _, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};

use crate::password::{self, KdfParameters, PasswordError, UnlockKey};
use crate::secret::{NoRandomness, SecretBytes, random_bytes};

const MAGIC: &[u8; 12] = b"sotto key 1\n";
/// Everything before the wrapped key is authenticated with it.
const AUTHENTICATED_BYTES: usize = MAGIC.len() + 4 + 4 + 16 + 24;
const WRAPPED_BYTES: usize = 32 + 16;
/// The exact size of a header.
pub const HEADER_BYTES: usize = AUTHENTICATED_BYTES + WRAPPED_BYTES;

/// A header that could not be made or opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AtRestError {
    /// Not a header of this version.
    #[error("key file is damaged or of another version")]
    Malformed,
    /// The password is wrong, or the header was changed.
    #[error("wrong password")]
    WrongPassword,
    /// The derivation parameters are not acceptable, or deriving failed.
    #[error(transparent)]
    Password(#[from] PasswordError),
    /// No randomness.
    #[error(transparent)]
    NoRandomness(#[from] NoRandomness),
}

/// The key of a local database.
pub struct DatabaseKey(SecretBytes<32>);

impl DatabaseKey {
    /// A fresh random key.
    ///
    /// # Errors
    /// When there is no randomness.
    pub fn generate() -> Result<Self, NoRandomness> {
        Ok(Self(SecretBytes::random()?))
    }

    /// 64 hexadecimal digits, as SQLCipher takes a raw key; wiped when dropped.
    #[must_use]
    pub fn to_hex(&self) -> zeroize::Zeroizing<String> {
        let mut text = zeroize::Zeroizing::new(String::with_capacity(64));
        for byte in self.0.expose() {
            for nibble in [byte >> 4, byte & 15] {
                text.push(char::from_digit(u32::from(nibble), 16).unwrap_or('0'));
            }
        }
        text
    }
}

/// What a header says in clear.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeaderInfo {
    /// How the unlock key is derived.
    pub parameters: KdfParameters,
    /// The salt.
    pub salt: [u8; 16],
}

/// Wraps a database key; the result is the header file.
///
/// # Errors
/// When the parameters are not acceptable or there is no randomness.
pub fn wrap(
    key: &DatabaseKey,
    unlock: &UnlockKey,
    info: HeaderInfo,
) -> Result<Vec<u8>, AtRestError> {
    let parameters = info.parameters.check()?;
    let nonce: [u8; 24] = random_bytes()?;
    let mut header = MAGIC.to_vec();
    header.extend_from_slice(&parameters.memory_kib.to_be_bytes());
    header.extend_from_slice(&parameters.passes.to_be_bytes());
    header.extend_from_slice(&info.salt);
    header.extend_from_slice(&nonce);
    let wrapped = cipher(unlock)
        .encrypt(
            &XNonce::from(nonce),
            Payload {
                msg: key.0.expose(),
                aad: &header,
            },
        )
        .map_err(|_| AtRestError::Malformed)?;
    header.extend_from_slice(&wrapped);
    Ok(header)
}

/// Reads what a header says in clear, and checks it.
///
/// # Errors
/// When it is damaged or its derivation is weaker than allowed.
pub fn inspect(header: &[u8]) -> Result<HeaderInfo, AtRestError> {
    let malformed = AtRestError::Malformed;
    let rest = header.strip_prefix(MAGIC).ok_or(malformed)?;
    if header.len() != HEADER_BYTES {
        return Err(malformed);
    }
    let (memory, rest) = rest.split_first_chunk::<4>().ok_or(malformed)?;
    let (passes, rest) = rest.split_first_chunk::<4>().ok_or(malformed)?;
    let (salt, _) = rest.split_first_chunk::<16>().ok_or(malformed)?;
    let parameters = KdfParameters {
        memory_kib: u32::from_be_bytes(*memory),
        passes: u32::from_be_bytes(*passes),
    };
    Ok(HeaderInfo {
        parameters: parameters.check()?,
        salt: *salt,
    })
}

/// Unwraps the database key.
///
/// # Errors
/// [`AtRestError::WrongPassword`] when the unlock key does not fit.
pub fn unwrap(header: &[u8], unlock: &UnlockKey) -> Result<DatabaseKey, AtRestError> {
    inspect(header)?;
    let (authenticated, wrapped) = header
        .split_at_checked(AUTHENTICATED_BYTES)
        .ok_or(AtRestError::Malformed)?;
    let nonce: [u8; 24] = authenticated
        .last_chunk()
        .copied()
        .ok_or(AtRestError::Malformed)?;
    let plain = cipher(unlock)
        .decrypt(
            &XNonce::from(nonce),
            Payload {
                msg: wrapped,
                aad: authenticated,
            },
        )
        .map(zeroize::Zeroizing::new)
        .map_err(|_| AtRestError::WrongPassword)?;
    SecretBytes::from_slice(&plain)
        .map(DatabaseKey)
        .ok_or(AtRestError::Malformed)
}

/// Derives the unlock key that a header asks for and unwraps with it.
///
/// # Errors
/// See [`AtRestError`].
pub fn unlock_with_password(header: &[u8], password: &str) -> Result<DatabaseKey, AtRestError> {
    let info = inspect(header)?;
    let keys = password::derive_keys(password, &info.salt, info.parameters)?;
    unwrap(header, &keys.unlock)
}

fn cipher(unlock: &UnlockKey) -> XChaCha20Poly1305 {
    XChaCha20Poly1305::new(unlock.expose().into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const INFO: HeaderInfo = HeaderInfo {
        parameters: KdfParameters::CURRENT,
        salt: [3; 16],
    };

    fn unlock(byte: u8) -> UnlockKey {
        UnlockKey::from_secret(SecretBytes::take(&mut [byte; 32]))
    }

    #[test]
    fn a_wrapped_key_comes_back_and_only_for_its_unlock_key() {
        let key = DatabaseKey::generate().unwrap();
        let header = wrap(&key, &unlock(1), INFO).unwrap();
        assert_eq!(header.len(), HEADER_BYTES);
        assert!(unwrap(&header, &unlock(1)).unwrap().0.same_as(&key.0));
        assert_eq!(
            unwrap(&header, &unlock(2)).err(),
            Some(AtRestError::WrongPassword)
        );
    }

    #[test]
    fn a_header_that_asks_for_less_memory_is_refused() {
        let mut header = wrap(&DatabaseKey::generate().unwrap(), &unlock(1), INFO).unwrap();
        header[12..16].copy_from_slice(&1024_u32.to_be_bytes());
        assert_eq!(
            inspect(&header),
            Err(AtRestError::Password(PasswordError::BadParameters))
        );
    }

    #[test]
    fn the_clear_part_of_a_header_is_this() {
        let header = wrap(&DatabaseKey::generate().unwrap(), &unlock(1), INFO).unwrap();
        let clear: String = header[..36]
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        insta::assert_snapshot!(clear);
    }

    proptest! {
        #[test]
        fn every_flipped_bit_is_noticed(place in 0..HEADER_BYTES, bit in 0..8_u8) {
            let mut header = wrap(&DatabaseKey::generate().unwrap(), &unlock(1), INFO).unwrap();
            header[place] ^= 1 << bit;
            prop_assert!(unwrap(&header, &unlock(1)).is_err());
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = inspect(&bytes);
        }
    }
}
