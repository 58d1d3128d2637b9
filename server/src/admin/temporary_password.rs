//! From a password that an operator gives to the hash that the server keeps: the client's own
//! derivation, its authenticating half only. What opens a person's store or messages cannot be
//! derived here. A test keeps it equal to the client's.

use argon2::{Algorithm, Argon2, Params, Version};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hkdf::Hkdf;
use sha2::{Digest as _, Sha256};
use sotto_protocol::{DeploymentId, Username};
use zeroize::{Zeroize as _, Zeroizing};

/// As the client's parameters: 64 MiB, three passes, one lane.
const MEMORY_KIB: u32 = 64 * 1024;
const PASSES: u32 = 3;
const LANES: u32 = 1;
/// Characters that are not mistaken for each other: 5 bits each.
const ALPHABET: &[u8; 32] = b"abcdefghjkmnpqrstuvwxyz023456789";
/// Groups of four characters: 100 bits.
const GROUPS: usize = 5;

/// A random text of 100 bits: a password, or an invite code.
pub(crate) fn make_up() -> Zeroizing<String> {
    let mut random: [u8; GROUPS * 4] = rand::random();
    let mut text = Zeroizing::new(String::with_capacity(GROUPS * 5));
    for (place, byte) in random.iter().enumerate() {
        if place > 0 && place % 4 == 0 {
            text.push('-');
        }
        let index = usize::from(byte % 32);
        text.push(char::from(ALPHABET.get(index).copied().unwrap_or(b'a')));
    }
    random.zeroize();
    text
}

/// bcrypt of what a client with this password would send; `None` for want of memory.
pub(crate) fn hash(
    deployment: &DeploymentId,
    username: &Username,
    password: &str,
    bcrypt_cost: u32,
) -> Option<String> {
    let key = authentication_key(deployment, username, password)?;
    bcrypt::hash(key.as_bytes(), bcrypt_cost).ok()
}

fn authentication_key(
    deployment: &DeploymentId,
    username: &Username,
    password: &str,
) -> Option<Zeroizing<String>> {
    let mut salt = Sha256::new();
    salt.update(b"sotto password salt v1\0");
    salt.update(deployment.as_bytes());
    salt.update(username.as_str().as_bytes());
    let salt: [u8; 32] = salt.finalize().into();
    let params = Params::new(MEMORY_KIB, PASSES, LANES, Some(32)).ok()?;
    let mut root = Zeroizing::new([0; 32]);
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password_into(password.as_bytes(), salt.split_at(16).0, root.as_mut())
        .ok()?;
    let mut key = Zeroizing::new([0; 32]);
    Hkdf::<Sha256>::new(None, root.as_ref())
        .expand(b"sotto authentication v1", key.as_mut())
        .ok()?;
    Some(Zeroizing::new(URL_SAFE_NO_PAD.encode(key.as_ref())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use sotto_crypto::password::{KdfParameters, account_salt, derive_keys};

    #[test]
    fn the_key_is_the_clients() {
        let deployment = DeploymentId::from_bytes([7; 16]);
        let username = Username::parse("alice").unwrap();
        let salt = account_salt(&deployment, &username);
        let client = derive_keys("correct horse", &salt, KdfParameters::CURRENT).unwrap();
        let ours = authentication_key(&deployment, &username, "correct horse").unwrap();
        assert_eq!(*ours, client.authentication.to_text());
    }

    #[test]
    fn made_up_texts_are_long_and_differ() {
        let (one, two) = (make_up(), make_up());
        assert_ne!(one, two);
        assert_eq!(one.len(), 24);
        assert!(one.split('-').all(|group| group.len() == 4));
    }
}
