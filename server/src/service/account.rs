//! Accounts: registration, change of the password-derived key, logout.

use std::time::Duration;

use sotto_protocol::wire::{ChangePassword, Register};
use sotto_protocol::{ErrorCode, Username};

use super::login::{check_password, logged_in, new_device, own_certificate, parse_key};
use super::{Answer, Connection, Effect};
use crate::config;
use crate::refusal::Refusal;
use crate::server::{Server, network_prefix};
use crate::session::machine::Identity;
use crate::store::Registration;

const HOUR: Duration = Duration::from_secs(3600);
/// The longest invite code in bytes.
const INVITE_BYTES_MAX: usize = 128;

/// Register: an account with its first device.
pub(super) async fn register(
    server: &Server,
    connection: &Connection,
    request: Register,
) -> Result<Answer, Refusal> {
    let invite = invite_of(server.config.registration, request.invite_code)?;
    let username =
        Username::parse(&request.username).map_err(|_| Refusal::new(ErrorCode::NameInvalid))?;
    let key = parse_key(request.authentication_key)?;
    let certificate = own_certificate(server, &request.certificate, &username)?;
    let prefix = network_prefix(connection.address);
    server
        .take(
            &[b"register", &prefix],
            HOUR,
            server.config.registrations_per_hour,
        )
        .await?;
    let authentication_hash = server.passwords.hash(key).await?;
    server.metrics.password_checks.inc();
    let account = server
        .store
        .register(Registration {
            username: username.clone(),
            authentication_hash,
            identity_key: *certificate.identity_key(),
            device: new_device(&certificate),
            invite,
        })
        .await?;
    let identity = Identity {
        account,
        username,
        device: *certificate.device_id(),
    };
    logged_in(server, identity, certificate.as_bytes()).await
}

fn invite_of(mode: config::Registration, code: String) -> Result<Option<String>, Refusal> {
    match mode {
        config::Registration::Open => Ok(None),
        config::Registration::Closed => Err(Refusal::new(ErrorCode::RegistrationClosed)),
        config::Registration::Invite if code.is_empty() || code.len() > INVITE_BYTES_MAX => {
            Err(Refusal::new(ErrorCode::InviteRequired))
        }
        config::Registration::Invite => Ok(Some(code)),
    }
}

/// ChangePassword: the present key must be shown again.
pub(super) async fn change_password(
    server: &Server,
    me: &Identity,
    request: ChangePassword,
) -> Result<Answer, Refusal> {
    let current = parse_key(request.current_authentication_key)?;
    let new = parse_key(request.new_authentication_key)?;
    let credentials = check_password(server, &me.username, current).await?;
    let hash = server.passwords.hash(new).await?;
    server.metrics.password_checks.inc();
    server.store.change_hash(credentials.account, hash).await?;
    Ok(Answer::done())
}

/// Logout: the device is removed.
pub(super) async fn log_out(server: &Server, me: &Identity) -> Result<Answer, Refusal> {
    // Another session of the same device looks into its mailbox, finds none, and ends.
    server.store.remove_device(me.device).await?;
    Ok(Answer {
        effect: Effect::LoggedOut,
        ..Answer::done()
    })
}
