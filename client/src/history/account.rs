//! The one account of a profile and the secrets of this device.

use rusqlite::{OptionalExtension as _, named_params};
use sotto_protocol::{DeploymentId, DeviceId, Username};
use zeroize::Zeroizing;

use super::{History, HistoryError, codec};
use crate::engine::api::AccountState;

/// The account as stored. No `Debug`: it holds secret keys.
pub(crate) struct AccountRow {
    pub(crate) username: Username,
    pub(crate) deployment: DeploymentId,
    pub(crate) device: DeviceId,
    pub(crate) identity_secret: Zeroizing<Vec<u8>>,
    pub(crate) device_secret: Zeroizing<Vec<u8>>,
    pub(crate) certificate: Vec<u8>,
    pub(crate) state: AccountState,
    pub(crate) mailbox_cursor: u64,
    /// When the last-resort key package was last replaced; milliseconds since 1970 UTC.
    pub(crate) last_resort_at_ms: u64,
}

fn state_number(state: AccountState) -> i64 {
    match state {
        AccountState::Registering => 0,
        AccountState::Active => 1,
        AccountState::LoggedOut => 2,
        AccountState::Revoked => 3,
    }
}

impl History {
    /// Stores the account of a new profile.
    pub(crate) fn insert_account(&self, account: &AccountRow) -> Result<(), HistoryError> {
        self.connection().execute(
            "INSERT INTO account
                 (one, username, deployment, device, identity_secret, device_secret, certificate, state)
             VALUES (1, :username, :deployment, :device, :identity, :secret, :certificate, :state)",
            named_params! {
                ":username": account.username.as_str(),
                ":deployment": account.deployment.as_bytes(),
                ":device": account.device.as_bytes(),
                ":identity": &account.identity_secret[..],
                ":secret": &account.device_secret[..],
                ":certificate": account.certificate,
                ":state": state_number(account.state),
            },
        )?;
        Ok(())
    }

    /// The account; a profile always has one.
    pub(crate) fn account(&self) -> Result<AccountRow, HistoryError> {
        let mut statement = self.connection().prepare_cached("SELECT * FROM account")?;
        statement
            .query_row([], |row| {
                Ok((|| {
                    Ok(AccountRow {
                        username: codec::name(row, "username")?,
                        deployment: DeploymentId::from_bytes(row.get("deployment")?),
                        device: codec::device(row, "device")?,
                        identity_secret: Zeroizing::new(row.get("identity_secret")?),
                        device_secret: Zeroizing::new(row.get("device_secret")?),
                        certificate: row.get("certificate")?,
                        state: match row.get::<_, i64>("state")? {
                            0 => AccountState::Registering,
                            1 => AccountState::Active,
                            2 => AccountState::LoggedOut,
                            3 => AccountState::Revoked,
                            _ => return Err(HistoryError::Invalid("account state")),
                        },
                        mailbox_cursor: row.get("mailbox_cursor")?,
                        last_resort_at_ms: row.get("last_resort_at_ms")?,
                    })
                })())
            })
            .optional()?
            .ok_or(HistoryError::Invalid("no account"))?
    }

    /// Notes where the account stands.
    pub(crate) fn set_account_state(&self, state: AccountState) -> Result<(), HistoryError> {
        self.connection()
            .execute("UPDATE account SET state = ?1", [state_number(state)])?;
        Ok(())
    }

    /// Notes up to where the mailbox was read.
    pub(crate) fn set_mailbox_cursor(&self, seq: u64) -> Result<(), HistoryError> {
        self.connection()
            .execute("UPDATE account SET mailbox_cursor = ?1", [seq])?;
        Ok(())
    }

    /// Notes when the last-resort key package was replaced.
    pub(crate) fn set_last_resort_at(&self, at_ms: u64) -> Result<(), HistoryError> {
        self.connection()
            .execute("UPDATE account SET last_resort_at_ms = ?1", [at_ms])?;
        Ok(())
    }
}
