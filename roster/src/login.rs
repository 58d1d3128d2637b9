//! Login by a device's signature: what is signed, and its verification.
//!
//! The signature is bound to the server's single-use nonce and to the TLS
//! connection, so it opens nothing anywhere else. Whether the certificate is
//! still valid for the account is the server's to know.

use ed25519_dalek::{Signature, VerifyingKey};
use sotto_protocol::{DeploymentId, DeviceId, Username};

use crate::certificate::DeviceCertificate;

const LABEL: &[u8] = b"sotto device login v1";

/// The bytes that a device signs: each part with its length as four bytes, big-endian, before it.
#[must_use]
pub fn login_signing_input(
    deployment: &DeploymentId,
    username: &Username,
    device: &DeviceId,
    nonce: &[u8; 32],
    exporter: &[u8; 32],
) -> Vec<u8> {
    let parts: [&[u8]; 6] = [
        LABEL,
        deployment.as_bytes(),
        username.as_str().as_bytes(),
        device.as_bytes(),
        nonce,
        exporter,
    ];
    let mut input = Vec::new();
    for part in parts {
        let length = u32::try_from(part.len()).unwrap_or(u32::MAX);
        input.extend_from_slice(&length.to_be_bytes());
        input.extend_from_slice(part);
    }
    input
}

/// Whether the device of a certificate signed this login.
#[must_use]
pub fn verify_login(
    certificate: &DeviceCertificate,
    nonce: &[u8; 32],
    exporter: &[u8; 32],
    signature: &[u8],
) -> bool {
    let input = login_signing_input(
        certificate.deployment(),
        certificate.username(),
        certificate.device_id(),
        nonce,
        exporter,
    );
    let key = VerifyingKey::from_bytes(certificate.device_key());
    match (key, Signature::from_slice(signature)) {
        (Ok(key), Ok(signature)) => key.verify_strict(&input, &signature).is_ok(),
        _ => false,
    }
}
