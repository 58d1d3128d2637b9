//! Logins: by the password-derived key (bcrypt, limited) or by the device's
//! signature (cheap, never limited by failed passwords).
//!
//! An unknown name costs and answers what a wrong password does. Which of the
//! two it was is not told.

use std::time::Duration;

use ed25519_dalek::{Signature, VerifyingKey};
use prost::Message as _;
use sotto_protocol::wire::server_frame::Body as Response;
use sotto_protocol::wire::{self, IdentityChange};
use sotto_protocol::{DeploymentId, DeviceId, ErrorCode, Username};
use sotto_roster::DeviceCertificate;

use super::{Answer, Connection, Effect};
use crate::password::AuthenticationKey;
use crate::refusal::Refusal;
use crate::server::Server;
use crate::session::machine::Identity;
use crate::store::{AccountId, Credentials, NewDevice};

/// What a device signs begins with.
const LABEL: &[u8] = b"sotto device login v1";
/// Real comparisons of a password-derived key for one account in an hour.
const CHECKS_PER_HOUR: u32 = 10;
/// For a password that an operator gave and nobody changed.
const LAPSED: &str = "The operator's password was good for a time only; ask for another.";
const HOUR: Duration = Duration::from_secs(3600);
/// A valid public key that is nobody's (the curve's base point): what an
/// unknown device's signature is compared with.
const NOBODY: [u8; 32] = {
    let mut point = [0x66; 32];
    point[0] = 0x58;
    point
};

/// PasswordLogin.
pub(super) async fn by_password(
    server: &Server,
    request: wire::PasswordLogin,
) -> Result<Answer, Refusal> {
    let username =
        Username::parse(&request.username).map_err(|_| Refusal::new(ErrorCode::NameInvalid))?;
    let key = parse_key(request.authentication_key)?;
    let certificate = own_certificate(server, &request.certificate, &username)?;
    let credentials = check_password(server, &username, key).await?;
    if credentials.disabled {
        return Err(Refusal::new(ErrorCode::AccountDisabled));
    }
    if credentials.identity_key == *certificate.identity_key() {
        enter_device(server, credentials.account, &certificate).await?;
    } else if request.identity_change == i32::from(IdentityChange::Replace) {
        replace_identity(server, credentials.account, &username, &certificate).await?;
    } else {
        return Err(Refusal::new(ErrorCode::IdentityMismatch));
    }
    let identity = Identity {
        account: credentials.account,
        username,
        device: *certificate.device_id(),
    };
    logged_in(server, identity, certificate.as_bytes()).await
}

/// Compares a key, at most ten times an hour for a name, whether it exists or not.
pub(super) async fn check_password(
    server: &Server,
    username: &Username,
    key: AuthenticationKey,
) -> Result<Credentials, Refusal> {
    let name = username.as_str().as_bytes();
    server
        .take(&[b"password", name], HOUR, CHECKS_PER_HOUR)
        .await?;
    let credentials = server.store.credentials(username).await?;
    let stored = credentials
        .as_ref()
        .map(|known| known.authentication_hash.clone());
    let equal = server.passwords.verify(key, stored).await?;
    server.metrics.password_checks.inc();
    let credentials = credentials
        .filter(|_| equal)
        .ok_or(Refusal::new(ErrorCode::WrongCredentials))?;
    if credentials.lapsed {
        // Told only to whoever knows the password.
        return Err(Refusal::with(ErrorCode::WrongCredentials, LAPSED));
    }
    Ok(credentials)
}

/// Reads an authentication key.
pub(super) fn parse_key(text: String) -> Result<AuthenticationKey, Refusal> {
    AuthenticationKey::parse(text).ok_or(Refusal::malformed(
        "The authentication key must be 43 characters of base64url.",
    ))
}

/// Verifies a certificate that must be for this name, here.
pub(super) fn own_certificate(
    server: &Server,
    bytes: &[u8],
    username: &Username,
) -> Result<DeviceCertificate, Refusal> {
    DeviceCertificate::verify(bytes, &server.deployment)
        .ok()
        .filter(|certificate| certificate.username() == username)
        .ok_or(Refusal::new(ErrorCode::CertificateInvalid))
}

const REVOKED: &str = "\
    Another device of the account ended this one; move its profile away, and link a new one or get \
    the account back by its recovery key.";

/// Adds the device, unless the account has it already.
pub(super) async fn enter_device(
    server: &Server,
    account: AccountId,
    certificate: &DeviceCertificate,
) -> Result<(), Refusal> {
    match server.store.device(*certificate.device_id()).await? {
        Some(known)
            if known.account == account && known.certificate.as_ref() == certificate.as_bytes() =>
        {
            Ok(())
        }
        // A certificate never changes: the same device under another one is refused.
        Some(_) => Err(Refusal::new(ErrorCode::CertificateInvalid)),
        None if server.store.is_revoked(*certificate.device_id()).await? => {
            Err(Refusal::with(ErrorCode::CertificateInvalid, REVOKED))
        }
        None => Ok(server
            .store
            .add_device(account, new_device(certificate))
            .await?),
    }
}

async fn replace_identity(
    server: &Server,
    account: AccountId,
    username: &Username,
    certificate: &DeviceCertificate,
) -> Result<(), Refusal> {
    let identity_key = *certificate.identity_key();
    let notice = wire::IdentityChanged {
        username: username.as_str().to_owned(),
    };
    let notice = notice.encode_to_vec();
    // The sessions of the devices that this ends look into their mailboxes, find none, and end.
    server
        .store
        .replace_identity(account, identity_key, new_device(certificate), &notice)
        .await?;
    Ok(())
}

/// The store's form of a verified certificate.
pub(super) fn new_device(certificate: &DeviceCertificate) -> NewDevice {
    NewDevice {
        id: *certificate.device_id(),
        device_key: *certificate.device_key(),
        certificate: bytes::Bytes::copy_from_slice(certificate.as_bytes()),
    }
}

/// DeviceLogin.
pub(super) async fn by_device(
    server: &Server,
    connection: &Connection,
    request: wire::DeviceLogin,
) -> Result<Answer, Refusal> {
    let wrong = Refusal::new(ErrorCode::WrongCredentials);
    let device = DeviceId::from_slice(&request.device_id)
        .map_err(|_| Refusal::malformed("A device id has 16 bytes."))?;
    let signature = Signature::from_slice(&request.signature)
        .map_err(|_| Refusal::malformed("A signature has 64 bytes."))?;
    let (Ok(username), Some(nonce)) = (Username::parse(&request.username), connection.nonce) else {
        return Err(wrong);
    };
    let row = server.store.device(device).await?;
    let key = row.as_ref().map_or(NOBODY, |row| row.device_key);
    let signed = signing_input(
        &server.deployment,
        &username,
        &device,
        &nonce,
        &connection.exporter,
    );
    let verified = VerifyingKey::from_bytes(&key)
        .is_ok_and(|key| key.verify_strict(&signed, &signature).is_ok());
    let Some(row) = row.filter(|row| verified && row.username == username) else {
        return Err(wrong);
    };
    if row.disabled {
        return Err(Refusal::new(ErrorCode::AccountDisabled));
    }
    let identity = Identity {
        account: row.account,
        username,
        device,
    };
    logged_in(server, identity, &row.certificate).await
}

/// What the device's key signs: each part behind its length in 4 bytes.
fn signing_input(
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
    let mut input = Vec::with_capacity(192);
    for part in parts {
        // Every part is short: at most 32 bytes.
        let length = u32::try_from(part.len()).unwrap_or(u32::MAX);
        input.extend_from_slice(&length.to_be_bytes());
        input.extend_from_slice(part);
    }
    input
}

/// The answer to every successful login.
pub(super) async fn logged_in(
    server: &Server,
    identity: Identity,
    certificate: &[u8],
) -> Result<Answer, Refusal> {
    let packages = server.store.key_package_count(identity.device).await?;
    server.metrics.logins.inc();
    Ok(Answer {
        body: Response::LoggedIn(wire::LoggedIn {
            certificate: certificate.to_vec(),
            key_packages_left: packages.one_time,
            last_resort_present: packages.last_resort,
        }),
        effect: Effect::LoggedIn(Box::new(identity)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobodys_key_is_a_key() {
        assert!(VerifyingKey::from_bytes(&NOBODY).is_ok_and(|key| !key.is_weak()));
    }

    #[test]
    fn every_part_is_bound_with_its_length() {
        let input = signing_input(
            &DeploymentId::from_bytes([1; 16]),
            &Username::parse("bob").unwrap(),
            &DeviceId::from_bytes([2; 16]),
            &[3; 32],
            &[4; 32],
        );
        assert_eq!(input.len(), 6 * 4 + 21 + 16 + 3 + 16 + 32 + 32);
        assert_eq!(&input[..8], b"\0\0\0\x15sott");
    }
}
