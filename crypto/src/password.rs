//! From a password to two keys that do not tell of each other: one to
//! authenticate with, one to unlock the local database. The password itself
//! goes nowhere else.

use argon2::{Algorithm, Argon2, Params, Version};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hkdf::Hkdf;
use sha2::{Digest as _, Sha256};
use sotto_protocol::{DeploymentId, Username};

use crate::secret::SecretBytes;

/// The least memory that a stored header may ask for, in KiB: 64 MiB.
pub const MEMORY_KIB_MIN: u32 = 64 * 1024;
/// The most memory that a stored header may ask for, in KiB: 1 GiB.
pub const MEMORY_KIB_MAX: u32 = 1024 * 1024;
/// The most passes that a stored header may ask for.
pub const PASSES_MAX: u32 = 16;
const PASSES_MIN: u32 = 3;
const LANES: u32 = 1;
const SALT_LABEL: &[u8] = b"sotto password salt v1\0";

/// Keys could not be derived.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PasswordError {
    /// The parameters are weaker than 64 MiB and three passes, or absurdly large.
    #[error("key derivation parameters are not acceptable")]
    BadParameters,
    /// Argon2 refused, for want of memory.
    #[error("key derivation failed")]
    Failed,
}

/// How much work a guess costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KdfParameters {
    /// Memory in KiB.
    pub memory_kib: u32,
    /// Passes over the memory.
    pub passes: u32,
}

impl KdfParameters {
    /// What new accounts and profiles use: 64 MiB, three passes, one lane.
    pub const CURRENT: Self = Self {
        memory_kib: MEMORY_KIB_MIN,
        passes: PASSES_MIN,
    };

    /// Whether these are strong enough and bearable.
    ///
    /// # Errors
    /// [`PasswordError::BadParameters`] when not.
    pub fn check(self) -> Result<Self, PasswordError> {
        let fits = (MEMORY_KIB_MIN..=MEMORY_KIB_MAX).contains(&self.memory_kib)
            && (PASSES_MIN..=PASSES_MAX).contains(&self.passes);
        if fits {
            Ok(self)
        } else {
            Err(PasswordError::BadParameters)
        }
    }
}

/// What the server checks instead of a password.
pub struct AuthenticationKey(SecretBytes<32>);

impl AuthenticationKey {
    /// base64url without padding: 43 characters, which fit bcrypt whole.
    #[must_use]
    pub fn to_text(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.0.expose())
    }
}

/// What unwraps the local database key.
pub struct UnlockKey(SecretBytes<32>);

impl UnlockKey {
    pub(crate) fn expose(&self) -> &[u8; 32] {
        self.0.expose()
    }

    /// An unlock key from random bytes instead of a password.
    #[must_use]
    pub fn from_secret(secret: SecretBytes<32>) -> Self {
        Self(secret)
    }
}

/// Both keys of a password.
pub struct PasswordKeys {
    /// For the server.
    pub authentication: AuthenticationKey,
    /// For the local database.
    pub unlock: UnlockKey,
}

/// The salt of an account: the first 16 bytes of a hash over deployment and name.
#[must_use]
pub fn account_salt(deployment: &DeploymentId, username: &Username) -> [u8; 16] {
    let mut hash = Sha256::new();
    hash.update(SALT_LABEL);
    hash.update(deployment.as_bytes());
    hash.update(username.as_str().as_bytes());
    let digest: [u8; 32] = hash.finalize().into();
    let mut salt = [0; 16];
    salt.copy_from_slice(digest.split_at(16).0);
    salt
}

/// Derives both keys; takes about 0.2 seconds and 64 MiB.
///
/// # Errors
/// See [`PasswordError`].
pub fn derive_keys(
    password: &str,
    salt: &[u8; 16],
    parameters: KdfParameters,
) -> Result<PasswordKeys, PasswordError> {
    let checked = parameters.check()?;
    let params = Params::new(checked.memory_kib, checked.passes, LANES, Some(32))
        .map_err(|_| PasswordError::BadParameters)?;
    let mut root = SecretBytes::take(&mut [0; 32]);
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password_into(password.as_bytes(), salt, root.expose_mut())
        .map_err(|_| PasswordError::Failed)?;
    let expander = Hkdf::<Sha256>::new(None, root.expose());
    let expand = |label: &[u8]| {
        let mut key = SecretBytes::take(&mut [0; 32]);
        expander
            .expand(label, key.expose_mut())
            .map(|()| key)
            .map_err(|_| PasswordError::Failed)
    };
    Ok(PasswordKeys {
        authentication: AuthenticationKey(expand(b"sotto authentication v1")?),
        unlock: UnlockKey(expand(b"sotto unlock v1")?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn salt(name: &str) -> [u8; 16] {
        let username = Username::parse(name).unwrap();
        account_salt(&DeploymentId::from_bytes([7; 16]), &username)
    }

    #[test]
    fn keys_are_stable_and_differ_by_purpose_password_and_account() {
        let keys = |password, name| {
            let keys = derive_keys(password, &salt(name), KdfParameters::CURRENT).unwrap();
            (keys.authentication.to_text(), *keys.unlock.expose())
        };
        let (authentication, unlock) = keys("correct horse", "alice");
        insta::assert_snapshot!(authentication);
        assert_eq!(authentication.len(), 43);
        assert_ne!(authentication, URL_SAFE_NO_PAD.encode(unlock));
        assert_ne!(keys("correct horsf", "alice").0, authentication);
        assert_ne!(keys("correct horse", "alicf").0, authentication);
    }

    #[test]
    fn weak_or_absurd_parameters_are_refused() {
        for (memory_kib, passes) in [(1024, 3), (65_536, 1), (u32::MAX, 3), (65_536, 1000)] {
            let parameters = KdfParameters { memory_kib, passes };
            assert_eq!(parameters.check(), Err(PasswordError::BadParameters));
        }
    }
}
