//! Device certificates: an account's identity key states that a device is its own.
//!
//! A certificate is the credential of the device's MLS leaves and the proof at
//! login. Encodings are canonical, so two different byte strings are never the
//! same certificate. This module holds no signing key.

use ed25519_dalek::{Signature, VerifyingKey};
use prost::Message as _;
use sotto_protocol::limits::CERTIFICATE_BYTES_MAX;
use sotto_protocol::wire;
use sotto_protocol::{DeploymentId, DeviceId, Username};

/// What a signature over a certificate begins with, so that it means nothing elsewhere.
pub const SIGNATURE_LABEL: &[u8] = b"sotto device certificate v1\0";

/// Bytes that are not a valid certificate here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CertificateError {
    /// More than 512 bytes.
    #[error("certificate is too large")]
    TooLarge,
    /// Not the canonical encoding of a certificate with every field in range.
    #[error("certificate is malformed")]
    Malformed,
    /// Made for another deployment.
    #[error("certificate belongs to another deployment")]
    OtherDeployment,
    /// The identity key did not sign it, or a key is weak.
    #[error("certificate signature does not verify")]
    BadSignature,
}

/// The fields that an identity key signs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateFields {
    /// The deployment that the account belongs to.
    pub deployment: DeploymentId,
    /// The account's name.
    pub username: Username,
    /// The device's id.
    pub device: DeviceId,
    /// Ed25519 public key of the device.
    pub device_key: [u8; 32],
    /// Ed25519 public key of the account.
    pub identity_key: [u8; 32],
    /// When the certificate was made, in milliseconds since 1970 UTC.
    pub issued_at_ms: u64,
}

impl CertificateFields {
    /// The bytes that are signed, without the label.
    #[must_use]
    pub fn to_tbs(&self) -> Vec<u8> {
        wire::DeviceCertificateTbs {
            deployment_id: self.deployment.to_vec(),
            username: self.username.as_str().to_owned(),
            device_id: self.device.to_vec(),
            device_key: self.device_key.to_vec(),
            identity_key: self.identity_key.to_vec(),
            issued_at_ms: self.issued_at_ms,
        }
        .encode_to_vec()
    }

    /// Reads the signed bytes; refuses any encoding but the canonical one.
    fn from_tbs(bytes: &[u8]) -> Result<Self, CertificateError> {
        let malformed = |_| CertificateError::Malformed;
        let tbs =
            wire::DeviceCertificateTbs::decode(bytes).map_err(|_| CertificateError::Malformed)?;
        let fields = Self {
            deployment: DeploymentId::from_slice(&tbs.deployment_id)
                .map_err(|_| CertificateError::Malformed)?,
            username: Username::parse(&tbs.username).map_err(|_| CertificateError::Malformed)?,
            device: DeviceId::from_slice(&tbs.device_id)
                .map_err(|_| CertificateError::Malformed)?,
            device_key: tbs.device_key.try_into().map_err(malformed)?,
            identity_key: tbs.identity_key.try_into().map_err(malformed)?,
            issued_at_ms: tbs.issued_at_ms,
        };
        if fields.to_tbs() == bytes {
            Ok(fields)
        } else {
            Err(CertificateError::Malformed)
        }
    }
}

/// The bytes that an identity key signs: label, then the fields.
#[must_use]
pub fn signing_input(tbs: &[u8]) -> Vec<u8> {
    [SIGNATURE_LABEL, tbs].concat()
}

/// A device certificate whose signature was verified.
#[derive(Clone, PartialEq, Eq)]
pub struct DeviceCertificate {
    bytes: Vec<u8>,
    fields: CertificateFields,
}

impl DeviceCertificate {
    /// Puts fields and signature together and verifies the result.
    ///
    /// # Errors
    /// When the signature is not the identity key's.
    pub fn assemble(
        fields: &CertificateFields,
        signature: [u8; 64],
    ) -> Result<Self, CertificateError> {
        let bytes = wire::DeviceCertificate {
            tbs: fields.to_tbs(),
            signature: signature.to_vec(),
        }
        .encode_to_vec();
        Self::verify(&bytes, &fields.deployment)
    }

    /// Reads and verifies a certificate of a deployment.
    ///
    /// # Errors
    /// See [`CertificateError`].
    pub fn verify(bytes: &[u8], deployment: &DeploymentId) -> Result<Self, CertificateError> {
        let (certificate, signature) = Self::parse(bytes)?;
        if certificate.fields.deployment != *deployment {
            return Err(CertificateError::OtherDeployment);
        }
        let identity = strong_key(&certificate.fields.identity_key)?;
        strong_key(&certificate.fields.device_key)?;
        identity
            .verify_strict(&signing_input(&certificate.fields.to_tbs()), &signature)
            .map_err(|_| CertificateError::BadSignature)?;
        Ok(certificate)
    }

    /// Reads a certificate out of state that this program itself stored after
    /// verifying it; the signature is not verified again.
    ///
    /// # Errors
    /// When it is malformed.
    pub fn from_own_store(bytes: &[u8]) -> Result<Self, CertificateError> {
        Self::parse(bytes).map(|(certificate, _)| certificate)
    }

    fn parse(bytes: &[u8]) -> Result<(Self, Signature), CertificateError> {
        if bytes.len() > CERTIFICATE_BYTES_MAX {
            return Err(CertificateError::TooLarge);
        }
        let outer =
            wire::DeviceCertificate::decode(bytes).map_err(|_| CertificateError::Malformed)?;
        if outer.encode_to_vec() != bytes {
            return Err(CertificateError::Malformed);
        }
        let signature =
            Signature::from_slice(&outer.signature).map_err(|_| CertificateError::Malformed)?;
        let certificate = Self {
            bytes: bytes.to_vec(),
            fields: CertificateFields::from_tbs(&outer.tbs)?,
        };
        Ok((certificate, signature))
    }

    /// The encoded certificate, at most 512 bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The deployment.
    #[must_use]
    pub fn deployment(&self) -> &DeploymentId {
        &self.fields.deployment
    }

    /// The account's name.
    #[must_use]
    pub fn username(&self) -> &Username {
        &self.fields.username
    }

    /// The device's id.
    #[must_use]
    pub fn device_id(&self) -> &DeviceId {
        &self.fields.device
    }

    /// The device's Ed25519 public key; also the signature key of its leaves.
    #[must_use]
    pub fn device_key(&self) -> &[u8; 32] {
        &self.fields.device_key
    }

    /// The account's Ed25519 public key.
    #[must_use]
    pub fn identity_key(&self) -> &[u8; 32] {
        &self.fields.identity_key
    }

    /// When the certificate was made, in milliseconds since 1970 UTC.
    #[must_use]
    pub fn issued_at_ms(&self) -> u64 {
        self.fields.issued_at_ms
    }

    /// Whether another certificate is of the same account: same name under the same identity.
    #[must_use]
    pub fn same_account(&self, other: &Self) -> bool {
        self.fields.username == other.fields.username
            && self.fields.identity_key == other.fields.identity_key
    }
}

/// Only that there is one: certificates name people.
impl std::fmt::Debug for DeviceCertificate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("DeviceCertificate")
            .field(&self.fields.device)
            .finish()
    }
}

fn strong_key(bytes: &[u8; 32]) -> Result<VerifyingKey, CertificateError> {
    VerifyingKey::from_bytes(bytes)
        .ok()
        .filter(|key| !key.is_weak())
        .ok_or(CertificateError::BadSignature)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ed25519_dalek::{Signer as _, SigningKey};
    use proptest::prelude::*;

    fn fields() -> CertificateFields {
        CertificateFields {
            deployment: DeploymentId::from_bytes([1; 16]),
            username: Username::parse("alice").unwrap(),
            device: DeviceId::from_bytes([2; 16]),
            device_key: SigningKey::from_bytes(&[3; 32]).verifying_key().to_bytes(),
            identity_key: SigningKey::from_bytes(&[4; 32]).verifying_key().to_bytes(),
            issued_at_ms: 1_700_000_000_000,
        }
    }

    fn signed(
        fields: &CertificateFields,
        key: &SigningKey,
    ) -> Result<DeviceCertificate, CertificateError> {
        let signature = key.sign(&signing_input(&fields.to_tbs())).to_bytes();
        DeviceCertificate::assemble(fields, signature)
    }

    #[test]
    fn only_the_identity_key_certifies() {
        let good = signed(&fields(), &SigningKey::from_bytes(&[4; 32])).unwrap();
        let read = DeviceCertificate::verify(good.as_bytes(), &fields().deployment).unwrap();
        assert_eq!(read, good);
        let forged = signed(&fields(), &SigningKey::from_bytes(&[5; 32]));
        assert_eq!(forged.err(), Some(CertificateError::BadSignature));
        let elsewhere =
            DeviceCertificate::verify(good.as_bytes(), &DeploymentId::from_bytes([9; 16]));
        assert_eq!(elsewhere.err(), Some(CertificateError::OtherDeployment));
    }

    #[test]
    fn a_signature_without_the_label_is_not_one() {
        let signature = SigningKey::from_bytes(&[4; 32])
            .sign(&fields().to_tbs())
            .to_bytes();
        let forged = DeviceCertificate::assemble(&fields(), signature);
        assert_eq!(forged.err(), Some(CertificateError::BadSignature));
    }

    #[test]
    fn weak_keys_are_refused() {
        let mut weak = fields();
        weak.device_key = [0; 32];
        weak.device_key[0] = 1;
        let refused = signed(&weak, &SigningKey::from_bytes(&[4; 32]));
        assert_eq!(refused.err(), Some(CertificateError::BadSignature));
    }

    #[test]
    fn an_encoding_with_something_appended_is_another_certificate_and_refused() {
        let good = signed(&fields(), &SigningKey::from_bytes(&[4; 32])).unwrap();
        let mut longer = good.as_bytes().to_vec();
        longer.extend_from_slice(&[0x78, 1]);
        let refused = DeviceCertificate::verify(&longer, &fields().deployment);
        assert_eq!(refused.err(), Some(CertificateError::Malformed));
    }

    proptest! {
        #[test]
        fn every_flipped_bit_is_noticed(place in 0..200_usize, bit in 0..8_u8) {
            let good = signed(&fields(), &SigningKey::from_bytes(&[4; 32])).unwrap();
            let mut damaged = good.as_bytes().to_vec();
            let length = damaged.len();
            damaged[place % length] ^= 1 << bit;
            prop_assert!(DeviceCertificate::verify(&damaged, &fields().deployment).is_err());
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
            let _ = DeviceCertificate::verify(&bytes, &fields().deployment);
        }
    }
}
