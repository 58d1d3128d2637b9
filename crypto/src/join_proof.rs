//! The proof that whoever asks to be let into a group holds an invite link.
//!
//! The link's secret is known to the members and to whoever was given the
//! link, never to a server, which passes proofs on and cannot make or check
//! one. It proves the holding of a link and nothing else: who may come in the
//! members decide.

use hkdf::hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::{Digest as _, Sha256};
use sotto_protocol::{ConversationId, DeploymentId, Username};

use crate::secret::SecretBytes;

const LABEL: &[u8] = b"sotto join v1";
const CHECK_LABEL: &[u8] = b"sotto join link check v1";
/// Bytes of a link's check.
pub const LINK_CHECK_BYTES: usize = 4;
/// Bytes of a proof.
pub const JOIN_PROOF_BYTES: usize = 32;

/// What a proof is about.
#[derive(Debug, Clone, Copy)]
pub struct JoinClaim<'a> {
    /// The deployment.
    pub deployment: &'a DeploymentId,
    /// The group that the link names.
    pub conversation: &'a ConversationId,
    /// Names the link.
    pub link_id: &'a [u8; 16],
    /// Who wants to come in.
    pub username: &'a Username,
    /// Their identity key.
    pub identity_key: &'a [u8; 32],
}

impl JoinClaim<'_> {
    fn mac(&self, secret: &SecretBytes<32>) -> Option<Hmac<Sha256>> {
        let name = self.username.as_str().as_bytes();
        let mut mac = Hmac::<Sha256>::new_from_slice(secret.expose()).ok()?;
        mac.update(LABEL);
        mac.update(self.deployment.as_bytes());
        mac.update(self.conversation.as_bytes());
        mac.update(self.link_id);
        mac.update(&u32::try_from(name.len()).ok()?.to_be_bytes());
        mac.update(name);
        mac.update(self.identity_key);
        Some(mac)
    }

    /// The proof of who holds the link's secret.
    #[must_use]
    pub fn prove(&self, secret: &SecretBytes<32>) -> Vec<u8> {
        // A name has at most 32 bytes and a key any length: there always is one.
        self.mac(secret)
            .map(|mac| mac.finalize().into_bytes().to_vec())
            .unwrap_or_default()
    }

    /// Whether `proof` was made with this secret about this claim; in constant time.
    #[must_use]
    pub fn is_proven_by(&self, secret: &SecretBytes<32>, proof: &[u8]) -> bool {
        self.mac(secret)
            .is_some_and(|mac| mac.verify_slice(proof).is_ok())
    }
}

/// What tells a link from one with a slip of the pen in it: the first four bytes of a digest over
/// all of the link. Whoever has it has the secret too; it proves nothing.
#[must_use]
pub fn link_check(
    conversation: &ConversationId,
    link_id: &[u8; 16],
    secret: &SecretBytes<32>,
) -> [u8; LINK_CHECK_BYTES] {
    let mut digest = Sha256::new();
    digest.update(CHECK_LABEL);
    digest.update(conversation.as_bytes());
    digest.update(link_id);
    digest.update(secret.expose());
    let [a, b, c, d, ..] = <[u8; 32]>::from(digest.finalize());
    [a, b, c, d]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proof_is_about_one_person_one_link_and_one_group() {
        let secret = SecretBytes::from_slice(&[7; 32]).unwrap();
        let other_secret = SecretBytes::from_slice(&[8; 32]).unwrap();
        let (here, there) = ([1; 16], [2; 16]);
        let deployments = [here, there].map(DeploymentId::from_bytes);
        let groups = [here, there].map(ConversationId::from_bytes);
        let names = ["alice", "alic"].map(|name| Username::parse(name).unwrap());
        let keys = [[3; 32], [4; 32]];
        let claim = JoinClaim {
            deployment: &deployments[0],
            conversation: &groups[0],
            link_id: &here,
            username: &names[0],
            identity_key: &keys[0],
        };
        let proof = claim.prove(&secret);
        assert_eq!(proof.len(), JOIN_PROOF_BYTES);
        assert!(claim.is_proven_by(&secret, &proof));
        assert!(!claim.is_proven_by(&other_secret, &proof));
        let others = [
            JoinClaim {
                deployment: &deployments[1],
                ..claim
            },
            JoinClaim {
                conversation: &groups[1],
                ..claim
            },
            JoinClaim {
                link_id: &there,
                ..claim
            },
            JoinClaim {
                username: &names[1],
                ..claim
            },
            JoinClaim {
                identity_key: &keys[1],
                ..claim
            },
        ];
        for other in others {
            assert!(!other.is_proven_by(&secret, &proof), "{other:?}");
        }
        for end in 0..proof.len() {
            assert!(!claim.is_proven_by(&secret, &proof[..end]));
        }
    }

    /// The bytes that docs/protocol.md promises, by another way of computing them.
    #[test]
    fn a_proof_is_the_documented_one() {
        let secret = SecretBytes::from_slice(&[7; 32]).unwrap();
        let username = Username::parse("bob").unwrap();
        let claim = JoinClaim {
            deployment: &DeploymentId::from_bytes([1; 16]),
            conversation: &ConversationId::from_bytes([2; 16]),
            link_id: &[3; 16],
            username: &username,
            identity_key: &[4; 32],
        };
        let said = [
            b"sotto join v1".as_slice(),
            &[1; 16],
            &[2; 16],
            &[3; 16],
            &[0, 0, 0, 3],
            b"bob",
            &[4; 32],
        ]
        .concat();
        let mut mac = Hmac::<Sha256>::new_from_slice(&[7; 32]).unwrap();
        mac.update(&said);
        assert_eq!(claim.prove(&secret), mac.finalize().into_bytes().to_vec());
    }
}
