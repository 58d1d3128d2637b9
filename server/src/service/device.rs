//! Further devices of an account, and its backup. A password alone adds no
//! device under the known identity key: the certificate needs that key.

use std::time::Duration;

use sotto_protocol::limits::BACKUP_BYTES_MAX;
use sotto_protocol::wire::server_frame::Body as Response;
use sotto_protocol::wire::{self, AddDevice, GetBackup, PutBackup, RevokeDevice};
use sotto_protocol::{DeviceId, ErrorCode, Username};

use super::Answer;
use super::login::{check_password, enter_device, own_certificate, parse_key};
use crate::refusal::Refusal;
use crate::server::Server;
use crate::session::machine::Identity;
use crate::store::{BackupError, StoredBackup};

const HOUR: Duration = Duration::from_secs(3600);
/// Devices that one account may add or revoke in an hour.
const CHANGES_PER_HOUR: u32 = 30;
/// Backups that one account may store in an hour.
const BACKUPS_PER_HOUR: u32 = 60;

async fn take(server: &Server, me: &Identity) -> Result<(), Refusal> {
    let key: [&[u8]; 2] = [b"devices", &me.account.to_key()];
    server.take(&key, HOUR, CHANGES_PER_HOUR).await
}

/// AddDevice: the certificate says that the account's identity key wants it.
pub(super) async fn add(
    server: &Server,
    me: &Identity,
    request: AddDevice,
) -> Result<Answer, Refusal> {
    let certificate = own_certificate(server, &request.certificate, &me.username)?;
    take(server, me).await?;
    let own = server.store.device(me.device).await?;
    let own = own.ok_or(Refusal::new(ErrorCode::NotLoggedIn))?;
    if own.identity_key != *certificate.identity_key() {
        return Err(Refusal::new(ErrorCode::IdentityMismatch));
    }
    enter_device(server, me.account, &certificate).await?;
    Ok(Answer::done())
}

/// RevokeDevice: its sessions look into their mailbox, find none, and end.
pub(super) async fn revoke(
    server: &Server,
    me: &Identity,
    request: RevokeDevice,
) -> Result<Answer, Refusal> {
    let device = DeviceId::from_slice(&request.device_id)
        .map_err(|_| Refusal::malformed("A device id has 16 bytes."))?;
    if device == me.device {
        return Err(Refusal::malformed(
            "A device does not revoke itself; log it out.",
        ));
    }
    take(server, me).await?;
    let row = server.store.device(device).await?;
    if row.is_none_or(|row| row.account != me.account) {
        return Err(Refusal::new(ErrorCode::UnknownDevice));
    }
    server.store.revoke_device(me.account, device).await?;
    Ok(Answer::done())
}

/// PutBackup.
pub(super) async fn put_backup(
    server: &Server,
    me: &Identity,
    request: PutBackup,
) -> Result<Answer, Refusal> {
    if request.backup.len() > BACKUP_BYTES_MAX {
        return Err(Refusal::new(ErrorCode::TooLarge));
    }
    if request.backup.is_empty() {
        return Err(Refusal::malformed("A backup cannot be empty."));
    }
    let key: [&[u8]; 2] = [b"backup", &me.account.to_key()];
    server.take(&key, HOUR, BACKUPS_PER_HOUR).await?;
    let stored = server
        .store
        .put_backup(me.account, request.previous, request.backup.into())
        .await?;
    Ok(answer(stored))
}

/// GetBackup, before login: the same check as a login's, within the same limit.
pub(super) async fn get_backup(server: &Server, request: GetBackup) -> Result<Answer, Refusal> {
    let username =
        Username::parse(&request.username).map_err(|_| Refusal::new(ErrorCode::NameInvalid))?;
    let key = parse_key(request.authentication_key)?;
    let credentials = check_password(server, &username, key).await?;
    if credentials.disabled {
        return Err(Refusal::new(ErrorCode::AccountDisabled));
    }
    let backup = server.store.backup(credentials.account).await?;
    Ok(answer(backup.ok_or(Refusal::new(ErrorCode::NoBackup))?))
}

fn answer(stored: StoredBackup) -> Answer {
    Answer::plain(Response::Backup(wire::Backup {
        backup: stored.data.to_vec(),
        number: stored.number,
        stored_at_ms: stored.stored_at_ms,
    }))
}

impl From<BackupError> for Refusal {
    fn from(error: BackupError) -> Self {
        match error {
            BackupError::Stale { number } => Self::stale_epoch(number),
            BackupError::Store(error) => error.into(),
        }
    }
}
