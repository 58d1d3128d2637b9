//! Refuses X25519 public keys that let an outsider know the shared secret.
//!
//! The MLS library and its provider leave the check to each KEM; here it is
//! made once, at every place where a key of another device enters.

use openmls::prelude::Ciphersuite;
use x25519_dalek::{PublicKey, StaticSecret};

/// Bytes of an X-Wing public key: ML-KEM-768, then X25519.
const XWING_PUBLIC_KEY_BYTES: usize = 1184 + 32;

/// Whether an HPKE public key of a suite has the right size and a contributory X25519 part.
#[must_use]
pub(crate) fn is_sound_key(suite: Ciphersuite, key: &[u8]) -> bool {
    let x25519 = match suite {
        Ciphersuite::MLS_128_DHKEMX25519_CHACHA20POLY1305_SHA256_Ed25519 => Some(key),
        Ciphersuite::MLS_128_MLKEM768X25519_AES256GCM_SHA384_Ed25519
            if key.len() == XWING_PUBLIC_KEY_BYTES =>
        {
            key.get(1184..)
        }
        _ => None,
    };
    x25519
        .and_then(|bytes| <[u8; 32]>::try_from(bytes).ok())
        .is_some_and(is_contributory)
}

/// Whether a Diffie-Hellman result with this key depends on our secret. Any
/// clamped secret tells: it is a multiple of the cofactor, so exactly the
/// low-order points give zero, in canonical encoding or not.
fn is_contributory(key: [u8; 32]) -> bool {
    StaticSecret::from([0x5a; 32])
        .diffie_hellman(&PublicKey::from(key))
        .was_contributory()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The points of small order, canonical and not, with and without the ignored top bit.
    pub(crate) fn low_order_points() -> Vec<[u8; 32]> {
        let hex = [
            "0000000000000000000000000000000000000000000000000000000000000000",
            "0100000000000000000000000000000000000000000000000000000000000000",
            "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
            "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
            "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
            "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
            "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        ];
        let mut points = Vec::new();
        for text in hex {
            let mut point = [0; 32];
            for (place, byte) in point.iter_mut().enumerate() {
                *byte = u8::from_str_radix(&text[place * 2..place * 2 + 2], 16).unwrap();
            }
            points.push(point);
            point[31] |= 0x80;
            points.push(point);
        }
        points
    }

    #[test]
    fn every_low_order_point_is_refused_in_both_suites() {
        for point in low_order_points() {
            let classical = Ciphersuite::MLS_128_DHKEMX25519_CHACHA20POLY1305_SHA256_Ed25519;
            assert!(!is_sound_key(classical, &point));
            let mut hybrid = vec![7; 1184];
            hybrid.extend_from_slice(&point);
            let suite = Ciphersuite::MLS_128_MLKEM768X25519_AES256GCM_SHA384_Ed25519;
            assert!(!is_sound_key(suite, &hybrid));
        }
    }

    #[test]
    fn an_ordinary_key_is_accepted_and_a_wrong_size_is_not() {
        let key = PublicKey::from(&StaticSecret::from([9; 32]));
        let suite = Ciphersuite::MLS_128_DHKEMX25519_CHACHA20POLY1305_SHA256_Ed25519;
        assert!(is_sound_key(suite, key.as_bytes()));
        assert!(!is_sound_key(suite, &key.as_bytes()[1..]));
    }
}
