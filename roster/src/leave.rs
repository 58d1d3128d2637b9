//! Leaving a group: the signed statement of a device that its account is out.
//!
//! The statement enters the log in clear; servers act on it at once and every
//! member verifies it, so that no server can make anybody leave. It changes no
//! MLS state: an admin's commit takes the leaves out afterwards. This module
//! holds no signing key.

use ed25519_dalek::{Signature, VerifyingKey};
use prost::Message as _;
use sotto_protocol::limits::LEAVE_STATEMENT_BYTES_MAX;
use sotto_protocol::{ClientMessageId, ConversationId, DeploymentId, DeviceId, Username, wire};

use crate::certificate::DeviceCertificate;

/// What a signature over a statement begins with, so that it means nothing elsewhere.
pub const LEAVE_LABEL: &[u8] = b"sotto leave v1\0";

/// Bytes that are not a statement of the device that they name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LeaveError {
    /// Larger than 512 bytes, or not the canonical encoding with every field in range.
    #[error("leave statement is malformed")]
    Malformed,
    /// For another deployment, conversation, account, device or envelope.
    #[error("leave statement belongs elsewhere")]
    Misplaced,
    /// The device's key did not sign it.
    #[error("leave statement's signature does not verify")]
    BadSignature,
}

/// What a leaving device signs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeaveFields {
    /// The deployment.
    pub deployment: DeploymentId,
    /// The conversation that is left, or not entered.
    pub conversation: ConversationId,
    /// The account that leaves.
    pub username: Username,
    /// The device that signs.
    pub device: DeviceId,
    /// The id of the envelope that carries the statement: it counts there only.
    pub client_id: ClientMessageId,
}

impl LeaveFields {
    /// The bytes that are signed, without the label.
    #[must_use]
    pub fn to_tbs(&self) -> Vec<u8> {
        wire::LeaveStatementTbs {
            deployment_id: self.deployment.to_vec(),
            conversation_id: self.conversation.to_vec(),
            username: self.username.as_str().to_owned(),
            device_id: self.device.to_vec(),
            client_id: self.client_id.to_vec(),
        }
        .encode_to_vec()
    }

    /// What the device's key signs: label, then the fields.
    #[must_use]
    pub fn signing_input(&self) -> Vec<u8> {
        [LEAVE_LABEL, &self.to_tbs()].concat()
    }

    fn from_tbs(bytes: &[u8]) -> Option<Self> {
        let tbs = wire::LeaveStatementTbs::decode(bytes).ok()?;
        let fields = Self {
            deployment: DeploymentId::from_slice(&tbs.deployment_id).ok()?,
            conversation: ConversationId::from_slice(&tbs.conversation_id).ok()?,
            username: Username::parse(&tbs.username).ok()?,
            device: DeviceId::from_slice(&tbs.device_id).ok()?,
            client_id: ClientMessageId::from_slice(&tbs.client_id).ok()?,
        };
        (fields.to_tbs() == bytes).then_some(fields)
    }
}

/// A statement as read; nothing in it is proven before [`Self::verify`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeaveStatement {
    fields: LeaveFields,
    signature: [u8; 64],
}

impl LeaveStatement {
    /// Puts fields and signature together.
    #[must_use]
    pub fn new(fields: LeaveFields, signature: [u8; 64]) -> Self {
        Self { fields, signature }
    }

    /// Reads an encoded statement.
    ///
    /// # Errors
    /// `Malformed`.
    pub fn decode(bytes: &[u8]) -> Result<Self, LeaveError> {
        if bytes.len() > LEAVE_STATEMENT_BYTES_MAX {
            return Err(LeaveError::Malformed);
        }
        let sent = wire::LeaveStatement::decode(bytes).map_err(|_| LeaveError::Malformed)?;
        let statement = Self {
            fields: LeaveFields::from_tbs(&sent.tbs).ok_or(LeaveError::Malformed)?,
            signature: sent
                .signature
                .try_into()
                .map_err(|_| LeaveError::Malformed)?,
        };
        if statement.encode() == bytes {
            Ok(statement)
        } else {
            Err(LeaveError::Malformed)
        }
    }

    /// The canonical encoding, at most 512 bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        wire::LeaveStatement {
            tbs: self.fields.to_tbs(),
            signature: self.signature.to_vec(),
        }
        .encode_to_vec()
    }

    /// What it says.
    #[must_use]
    pub fn fields(&self) -> &LeaveFields {
        &self.fields
    }

    /// Whether the device of a certificate made this statement, for this
    /// conversation and envelope.
    ///
    /// # Errors
    /// `Misplaced` or `BadSignature`.
    pub fn verify(
        &self,
        certificate: &DeviceCertificate,
        conversation: &ConversationId,
        client_id: &ClientMessageId,
    ) -> Result<(), LeaveError> {
        let expected = LeaveFields {
            deployment: *certificate.deployment(),
            conversation: *conversation,
            username: certificate.username().clone(),
            device: *certificate.device_id(),
            client_id: *client_id,
        };
        if self.fields != expected {
            return Err(LeaveError::Misplaced);
        }
        let key = VerifyingKey::from_bytes(certificate.device_key());
        let signature = Signature::from_bytes(&self.signature);
        match key {
            Ok(key)
                if key
                    .verify_strict(&expected.signing_input(), &signature)
                    .is_ok() =>
            {
                Ok(())
            }
            _ => Err(LeaveError::BadSignature),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::certificate::{CertificateFields, signing_input};
    use ed25519_dalek::{Signer as _, SigningKey};
    use proptest::prelude::*;

    fn certificate() -> DeviceCertificate {
        let identity = SigningKey::from_bytes(&[1; 32]);
        let fields = CertificateFields {
            deployment: DeploymentId::from_bytes([2; 16]),
            username: Username::parse("alice").unwrap(),
            device: DeviceId::from_bytes([3; 16]),
            device_key: key().verifying_key().to_bytes(),
            identity_key: identity.verifying_key().to_bytes(),
            issued_at_ms: 5,
        };
        let signature = identity.sign(&signing_input(&fields.to_tbs())).to_bytes();
        DeviceCertificate::assemble(&fields, signature).unwrap()
    }

    fn key() -> SigningKey {
        SigningKey::from_bytes(&[4; 32])
    }

    fn fields() -> LeaveFields {
        LeaveFields {
            deployment: DeploymentId::from_bytes([2; 16]),
            conversation: ConversationId::from_bytes([6; 16]),
            username: Username::parse("alice").unwrap(),
            device: DeviceId::from_bytes([3; 16]),
            client_id: ClientMessageId::from_bytes([7; 16]),
        }
    }

    fn signed(fields: LeaveFields, key: &SigningKey) -> LeaveStatement {
        let signature = key.sign(&fields.signing_input()).to_bytes();
        LeaveStatement::new(fields, signature)
    }

    fn verify(statement: &LeaveStatement) -> Result<(), LeaveError> {
        let (conversation, client_id) = (fields().conversation, fields().client_id);
        let read = LeaveStatement::decode(&statement.encode())?;
        read.verify(&certificate(), &conversation, &client_id)
    }

    #[test]
    fn a_statement_counts_for_its_device_place_and_envelope_only() {
        assert_eq!(verify(&signed(fields(), &key())), Ok(()));
        let by_another = signed(fields(), &SigningKey::from_bytes(&[5; 32]));
        assert_eq!(verify(&by_another), Err(LeaveError::BadSignature));
        let elsewhere = [
            LeaveFields {
                deployment: DeploymentId::from_bytes([9; 16]),
                ..fields()
            },
            LeaveFields {
                conversation: ConversationId::from_bytes([9; 16]),
                ..fields()
            },
            LeaveFields {
                username: Username::parse("bob").unwrap(),
                ..fields()
            },
            LeaveFields {
                device: DeviceId::from_bytes([9; 16]),
                ..fields()
            },
            LeaveFields {
                client_id: ClientMessageId::from_bytes([9; 16]),
                ..fields()
            },
        ];
        for other in elsewhere {
            assert_eq!(verify(&signed(other, &key())), Err(LeaveError::Misplaced));
        }
        let unlabelled = key().sign(&fields().to_tbs()).to_bytes();
        assert_eq!(
            verify(&LeaveStatement::new(fields(), unlabelled)),
            Err(LeaveError::BadSignature)
        );
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
            if let Ok(statement) = LeaveStatement::decode(&bytes) {
                prop_assert_eq!(statement.encode(), bytes);
            }
        }

        #[test]
        fn every_flipped_bit_is_noticed(place in 0..160_usize, bit in 0..8_u8) {
            let mut bytes = signed(fields(), &key()).encode();
            let length = bytes.len();
            bytes[place % length] ^= 1 << bit;
            let (conversation, client_id) = (fields().conversation, fields().client_id);
            let verified = LeaveStatement::decode(&bytes)
                .and_then(|read| read.verify(&certificate(), &conversation, &client_id));
            prop_assert!(verified.is_err());
        }
    }
}
