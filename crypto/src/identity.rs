//! The two signing keys of a person's program: the account's identity key,
//! which certifies devices, and the device key, which signs logins and MLS
//! leaves.

use ed25519_dalek::{Signer as _, SigningKey};
use sotto_protocol::{ClientMessageId, ConversationId, DeploymentId, DeviceId, Username};
use sotto_roster::certificate::{CertificateError, CertificateFields, signing_input};
use sotto_roster::{DeviceCertificate, LeaveFields, LeaveStatement, login_signing_input};

use crate::secret::{NoRandomness, SecretBytes};

macro_rules! signing_key {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        pub struct $name(SigningKey);

        impl $name {
            /// A fresh random key.
            ///
            /// # Errors
            /// When the operating system has no randomness.
            pub fn generate() -> Result<Self, NoRandomness> {
                Ok(Self::from_secret(&SecretBytes::random()?))
            }

            /// The key of these 32 secret bytes.
            #[must_use]
            pub fn from_secret(secret: &SecretBytes<32>) -> Self {
                Self(SigningKey::from_bytes(secret.expose()))
            }

            /// The 32 secret bytes, for the encrypted local store.
            #[must_use]
            pub fn to_secret(&self) -> SecretBytes<32> {
                SecretBytes::take(&mut self.0.to_bytes())
            }

            /// The Ed25519 public key.
            #[must_use]
            pub fn public(&self) -> [u8; 32] {
                self.0.verifying_key().to_bytes()
            }

            pub(crate) fn sign(&self, message: &[u8]) -> [u8; 64] {
                self.0.sign(message).to_bytes()
            }
        }
    };
}

signing_key!(
    /// The account's key. Whoever holds it can make devices for the account.
    IdentityKey
);
signing_key!(
    /// One device's key.
    DeviceKey
);

impl IdentityKey {
    /// Certifies a device of this account.
    ///
    /// # Errors
    /// When the device key is not a sound Ed25519 key.
    pub fn certify(
        &self,
        deployment: DeploymentId,
        username: &Username,
        device: DeviceId,
        device_key: [u8; 32],
        now_ms: u64,
    ) -> Result<DeviceCertificate, CertificateError> {
        let fields = CertificateFields {
            deployment,
            username: username.clone(),
            device,
            device_key,
            identity_key: self.public(),
            issued_at_ms: now_ms,
        };
        let signature = self.sign(&signing_input(&fields.to_tbs()));
        DeviceCertificate::assemble(&fields, signature)
    }
}

/// What a server asks a device to sign at login.
#[derive(Debug, Clone, Copy)]
pub struct LoginChallenge {
    /// The single-use nonce of the server's greeting.
    pub nonce: [u8; 32],
    /// The TLS exporter value of the connection.
    pub exporter: [u8; 32],
}

/// This device: its certificate and the key that the certificate names.
pub struct LocalDevice {
    certificate: DeviceCertificate,
    key: DeviceKey,
}

impl LocalDevice {
    /// Puts certificate and key together.
    ///
    /// # Errors
    /// [`CertificateError::BadSignature`] when the certificate names another key.
    pub fn new(certificate: DeviceCertificate, key: DeviceKey) -> Result<Self, CertificateError> {
        if *certificate.device_key() == key.public() {
            Ok(Self { certificate, key })
        } else {
            Err(CertificateError::BadSignature)
        }
    }

    /// The certificate.
    #[must_use]
    pub fn certificate(&self) -> &DeviceCertificate {
        &self.certificate
    }

    /// The key, for storing it.
    #[must_use]
    pub fn key(&self) -> &DeviceKey {
        &self.key
    }

    /// Signs that the account leaves a conversation, under the envelope's id.
    #[must_use]
    pub fn sign_leave(
        &self,
        conversation: &ConversationId,
        client_id: &ClientMessageId,
    ) -> LeaveStatement {
        let fields = LeaveFields {
            deployment: *self.certificate.deployment(),
            conversation: *conversation,
            username: self.certificate.username().clone(),
            device: *self.certificate.device_id(),
            client_id: *client_id,
        };
        let signature = self.key.sign(&fields.signing_input());
        LeaveStatement::new(fields, signature)
    }

    /// Signs a login; 64 bytes.
    #[must_use]
    pub fn sign_login(&self, challenge: &LoginChallenge) -> [u8; 64] {
        self.key.sign(&login_signing_input(
            self.certificate.deployment(),
            self.certificate.username(),
            self.certificate.device_id(),
            &challenge.nonce,
            &challenge.exporter,
        ))
    }
}
