//! Accounts and their devices.
//!
//! Every device has a mailbox: a log with its id and itself as the only member.

use bytes::Bytes;
use deadpool_postgres::Transaction;
use sha2::{Digest, Sha256};
use sotto_protocol::limits::DEVICES_PER_ACCOUNT_MAX;
use sotto_protocol::wire::EnvelopeKind;
use sotto_protocol::{DeviceId, Username};
use std::collections::HashMap;
use std::time::Duration;

use super::error::{AccountError, StoreError};
use super::types::{AccountId, Credentials, DeviceRow, NewDevice, Registration};
use super::{Store, column, fixed, notice};

const USE_INVITE: &str = "\
    UPDATE invite SET uses_left = uses_left - 1
    WHERE code_hash = $1 AND uses_left > 0 AND expires_at > now()";

const NEW_ACCOUNT: &str = "\
    INSERT INTO account (username, skeleton, authentication_hash, identity_key)
    VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING RETURNING id";

pub(super) const LOCK_ACCOUNT: &str =
    "SELECT identity_key FROM account WHERE id = $1 FOR NO KEY UPDATE";

const DEVICES: &str = "SELECT id, device_key FROM device WHERE account_id = $1";

const NEW_DEVICE: &str = "\
    INSERT INTO device (id, account_id, certificate, device_key) VALUES ($1, $2, $3, $4)
    ON CONFLICT DO NOTHING";

const NEW_MAILBOX: &str = "\
    INSERT INTO conversation (id, kind, generation, epoch, head) VALUES ($1, 2, 0, 0, 0)
    ON CONFLICT DO NOTHING";

const NEW_MAILBOX_READER: &str = "\
    INSERT INTO member (conversation_id, device_id, account_id, cursor, joined_at_seq)
    VALUES ($1, $1, $2, 0, 0)";

const DEVICE: &str = "\
    SELECT a.id, a.username, d.device_key, a.identity_key, d.certificate, a.disabled
    FROM device d JOIN account a ON a.id = d.account_id WHERE d.id = $1";

/// The steps that take a device out of everything, in this order.
pub(super) const END_DEVICE: [&str; 6] = [
    "DELETE FROM device WHERE id = $1",
    // First the row that whoever puts a welcome in has to lock, then what is in it.
    "DELETE FROM conversation WHERE id = $1 AND kind = 2",
    "DELETE FROM envelope WHERE conversation_id = $1",
    "DELETE FROM member WHERE device_id = $1 AND left_at_seq IS NOT NULL",
    // Its leaf is still in those groups, and lets its account join again by another device.
    "UPDATE member SET gone = true WHERE device_id = $1",
    "DELETE FROM session WHERE device_id = $1",
];

const REVOKED: &str = "\
    INSERT INTO revoked_device (id, account_id) VALUES ($1, $2) ON CONFLICT DO NOTHING";

impl Store {
    /// Makes an account with its first device.
    ///
    /// # Errors
    /// `NameTaken`, `InviteInvalid`, `DeviceTaken`, or the store's.
    pub async fn register(&self, registration: Registration) -> Result<AccountId, AccountError> {
        let mut client = self.pooled().await?;
        let transaction = client.transaction().await.map_err(StoreError::from_db)?;
        if let Some(code) = &registration.invite {
            let hash = invite_hash(code);
            let used = execute(&transaction, USE_INVITE, &[&hash.as_slice()]).await?;
            if used == 0 {
                return Err(AccountError::InviteInvalid);
            }
        }
        let statement = prepare(&transaction, NEW_ACCOUNT).await?;
        let row = transaction
            .query_opt(
                &statement,
                &[
                    &registration.username.as_str(),
                    &registration.username.skeleton(),
                    &registration.authentication_hash,
                    &registration.identity_key.as_slice(),
                ],
            )
            .await
            .map_err(StoreError::from_db)?;
        let row = row.ok_or(AccountError::NameTaken)?;
        let account = AccountId(column(&row, 0)?);
        insert_device(&transaction, account, &registration.device).await?;
        self.commit(transaction).await?;
        Ok(account)
    }

    /// What a password login is checked against; `None` when there is no such account.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn credentials(
        &self,
        username: &Username,
    ) -> Result<Option<Credentials>, StoreError> {
        let client = self.pooled().await?;
        let statement = client
            .prepare_cached(
                "SELECT id, authentication_hash, identity_key, disabled,
                     coalesce(password_until < now(), false)
                 FROM account WHERE username = $1",
            )
            .await
            .map_err(StoreError::from_db)?;
        let row = client
            .query_opt(&statement, &[&username.as_str()])
            .await
            .map_err(StoreError::from_db)?;
        let Some(row) = row else { return Ok(None) };
        Ok(Some(Credentials {
            account: AccountId(column(&row, 0)?),
            authentication_hash: column(&row, 1)?,
            identity_key: fixed(column(&row, 2)?)?,
            disabled: column(&row, 3)?,
            lapsed: column(&row, 4)?,
        }))
    }

    /// Adds a device, or renews the certificate of one that the account has under the same key.
    ///
    /// # Errors
    /// `TooManyDevices`, `DeviceTaken`, `UnknownAccount`, or the store's.
    pub async fn add_device(
        &self,
        account: AccountId,
        device: NewDevice,
    ) -> Result<(), AccountError> {
        let mut client = self.pooled().await?;
        let transaction = client.transaction().await.map_err(StoreError::from_db)?;
        let devices = lock_account(&transaction, account).await?;
        match devices.iter().find(|(id, _)| *id == device.id) {
            Some((_, key)) if *key != device.device_key => return Err(AccountError::DeviceTaken),
            Some(_) => {
                execute(
                    &transaction,
                    "UPDATE device SET certificate = $2 WHERE id = $1",
                    &[
                        &device.id.as_bytes().as_slice(),
                        &device.certificate.as_ref(),
                    ],
                )
                .await?;
            }
            None if devices.len() >= DEVICES_PER_ACCOUNT_MAX => {
                return Err(AccountError::TooManyDevices);
            }
            None => insert_device(&transaction, account, &device).await?,
        }
        self.commit(transaction).await?;
        Ok(())
    }

    /// Puts a new identity key in the account's place and ends every device of the old one:
    /// their rows, key packages and mailboxes go, their sessions are woken by a hint for their
    /// mailboxes and find themselves unknown. Each conversation that they were in gets `notice`,
    /// for those who are in it still. Returns the ended devices.
    ///
    /// # Errors
    /// `DeviceTaken`, `UnknownAccount`, or the store's.
    pub async fn replace_identity(
        &self,
        account: AccountId,
        identity_key: [u8; 32],
        device: NewDevice,
        notice: &[u8],
    ) -> Result<Vec<DeviceId>, AccountError> {
        let mut client = self.pooled().await?;
        let transaction = client.transaction().await.map_err(StoreError::from_db)?;
        let devices = lock_account(&transaction, account).await?;
        let ended: Vec<DeviceId> = devices.into_iter().map(|(id, _)| id).collect();
        for id in &ended {
            end_device(&transaction, *id).await?;
        }
        execute(
            &transaction,
            "UPDATE account SET identity_key = $2 WHERE id = $1",
            &[&account.0, &identity_key.as_slice()],
        )
        .await?;
        insert_device(&transaction, account, &device).await?;
        let kind = EnvelopeKind::IdentityChanged;
        let told = notice::store_where_gone(&transaction, account, kind, notice).await?;
        self.commit(transaction).await?;
        for id in &ended {
            self.bus().publish(id.mailbox());
        }
        for (conversation, head) in told {
            self.bus().publish_head(conversation, head);
        }
        Ok(ended)
    }

    /// Replaces the hash of the authentication key by one that the owner chose.
    ///
    /// # Errors
    /// `Unavailable`, or `Unknown`: then either key may be valid.
    pub async fn change_hash(
        &self,
        account: AccountId,
        authentication_hash: String,
    ) -> Result<(), StoreError> {
        let mut client = self.pooled().await?;
        let transaction = client.transaction().await.map_err(StoreError::from_db)?;
        execute(
            &transaction,
            "UPDATE account SET authentication_hash = $2, password_until = NULL WHERE id = $1",
            &[&account.0, &authentication_hash],
        )
        .await?;
        self.commit(transaction).await
    }

    /// A device and its account; `None` when it does not exist (any more).
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn device(&self, device: DeviceId) -> Result<Option<DeviceRow>, StoreError> {
        let client = self.pooled().await?;
        let statement = client
            .prepare_cached(DEVICE)
            .await
            .map_err(StoreError::from_db)?;
        let row = client
            .query_opt(&statement, &[&device.as_bytes().as_slice()])
            .await
            .map_err(StoreError::from_db)?;
        let Some(row) = row else { return Ok(None) };
        Ok(Some(DeviceRow {
            account: AccountId(column(&row, 0)?),
            username: Username::parse(column(&row, 1)?)
                .map_err(|_| StoreError::Corrupt("account name".into()))?,
            device_key: fixed(column(&row, 2)?)?,
            identity_key: fixed(column(&row, 3)?)?,
            certificate: Bytes::copy_from_slice(column(&row, 4)?),
            disabled: column(&row, 5)?,
        }))
    }

    /// The encoded certificates of those of these devices that exist.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn certificates(
        &self,
        devices: &[DeviceId],
    ) -> Result<HashMap<DeviceId, Bytes>, StoreError> {
        let ids: Vec<&[u8]> = devices.iter().map(|d| d.as_bytes().as_slice()).collect();
        let rows = self
            .many(
                "SELECT id, certificate FROM device WHERE id = ANY($1::bytea[])",
                &[&ids],
            )
            .await?;
        rows.iter()
            .map(|row| {
                let id = DeviceId::from_bytes(fixed(column(row, 0)?)?);
                Ok((id, Bytes::copy_from_slice(column(row, 1)?)))
            })
            .collect()
    }

    /// Removes a device with its key packages and mailbox. Its leaves stay in their groups until
    /// commits remove them, but nothing waits for it any more.
    ///
    /// # Errors
    /// `Unavailable` or `Unknown`; doing it again is safe.
    pub async fn remove_device(&self, device: DeviceId) -> Result<(), StoreError> {
        let mut client = self.pooled().await?;
        let transaction = client.transaction().await.map_err(StoreError::from_db)?;
        end_device(&transaction, device).await?;
        self.commit(transaction).await?;
        self.bus().publish(device.mailbox());
        Ok(())
    }

    /// As [`Self::remove_device`], by another device of the account: this one does not come back.
    ///
    /// # Errors
    /// `Unavailable` or `Unknown`; doing it again is safe.
    pub async fn revoke_device(
        &self,
        account: AccountId,
        device: DeviceId,
    ) -> Result<(), StoreError> {
        let mut client = self.pooled().await?;
        let transaction = client.transaction().await.map_err(StoreError::from_db)?;
        end_device(&transaction, device).await?;
        let id = device.as_bytes().as_slice();
        execute(&transaction, REVOKED, &[&id, &account.0]).await?;
        self.commit(transaction).await?;
        self.bus().publish(device.mailbox());
        Ok(())
    }

    /// Whether another device of its account ended a device.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn is_revoked(&self, device: DeviceId) -> Result<bool, StoreError> {
        let id = device.as_bytes().as_slice();
        let sql = "SELECT FROM revoked_device WHERE id = $1";
        Ok(self.one(sql, &[&id]).await?.is_some())
    }

    /// Makes an invite code good for `uses` registrations within `valid_for`. Only its hash is
    /// stored.
    ///
    /// # Errors
    /// `Unavailable` or `Unknown`.
    pub async fn create_invite(
        &self,
        code: &str,
        uses: u32,
        valid_for: Duration,
    ) -> Result<(), StoreError> {
        let mut client = self.pooled().await?;
        let transaction = client.transaction().await.map_err(StoreError::from_db)?;
        execute(
            &transaction,
            "INSERT INTO invite (code_hash, uses_left, expires_at)
             VALUES ($1, $2, now() + $3 * interval '1 second')
             ON CONFLICT (code_hash) DO UPDATE
                 SET uses_left = excluded.uses_left, expires_at = excluded.expires_at",
            &[
                &invite_hash(code).as_slice(),
                &i32::try_from(uses).unwrap_or(i32::MAX),
                &valid_for.as_secs_f64(),
            ],
        )
        .await?;
        self.commit(transaction).await
    }
}

pub(super) fn invite_hash(code: &str) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(b"sotto invite v1\0");
    hash.update(code.trim().as_bytes());
    hash.finalize().into()
}

/// Locks an account and names its devices.
async fn lock_account(
    transaction: &Transaction<'_>,
    account: AccountId,
) -> Result<Vec<(DeviceId, [u8; 32])>, AccountError> {
    if execute(transaction, LOCK_ACCOUNT, &[&account.0]).await? == 0 {
        return Err(AccountError::UnknownAccount);
    }
    let statement = prepare(transaction, DEVICES).await?;
    let rows = transaction
        .query(&statement, &[&account.0])
        .await
        .map_err(StoreError::from_db)?;
    let mut devices = Vec::with_capacity(rows.len());
    for row in &rows {
        let id = DeviceId::from_bytes(fixed(column(row, 0)?)?);
        devices.push((id, fixed(column(row, 1)?)?));
    }
    Ok(devices)
}

async fn insert_device(
    transaction: &Transaction<'_>,
    account: AccountId,
    device: &NewDevice,
) -> Result<(), AccountError> {
    let id = device.id.as_bytes().as_slice();
    let key = device.device_key.as_slice();
    let certificate = device.certificate.as_ref();
    let made = execute(
        transaction,
        NEW_DEVICE,
        &[&id, &account.0, &certificate, &key],
    )
    .await?;
    if made == 0 || execute(transaction, NEW_MAILBOX, &[&id]).await? == 0 {
        return Err(AccountError::DeviceTaken);
    }
    execute(transaction, NEW_MAILBOX_READER, &[&id, &account.0]).await?;
    Ok(())
}

async fn end_device(transaction: &Transaction<'_>, device: DeviceId) -> Result<(), StoreError> {
    for sql in END_DEVICE {
        execute(transaction, sql, &[&device.as_bytes().as_slice()]).await?;
    }
    Ok(())
}

pub(super) async fn prepare(
    transaction: &Transaction<'_>,
    sql: &str,
) -> Result<tokio_postgres::Statement, StoreError> {
    transaction
        .prepare_cached(sql)
        .await
        .map_err(StoreError::from_db)
}

pub(super) async fn execute(
    transaction: &Transaction<'_>,
    sql: &str,
    params: &[&(dyn tokio_postgres::types::ToSql + Sync)],
) -> Result<u64, StoreError> {
    let statement = prepare(transaction, sql).await?;
    transaction
        .execute(&statement, params)
        .await
        .map_err(StoreError::from_db)
}
