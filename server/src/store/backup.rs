//! Sealed backups: one an account, replaced only by who saw the one before.

use bytes::Bytes;

use super::accounts::{LOCK_ACCOUNT, execute, prepare};
use super::error::StoreError;
use super::types::AccountId;
use super::{Store, column, signed, unsigned};

const GET: &str = "\
    SELECT number, (extract(epoch FROM stored_at) * 1000)::bigint, data
    FROM backup WHERE account_id = $1";

const NUMBER: &str = "\
    SELECT coalesce(max(number), 0), (extract(epoch FROM now()) * 1000)::bigint
    FROM backup WHERE account_id = $1";

const PUT: &str = "\
    INSERT INTO backup (account_id, number, data) VALUES ($1, $2, $3)
    ON CONFLICT (account_id) DO UPDATE
        SET number = excluded.number, data = excluded.data, stored_at = now()";

/// A backup, or what is said of it.
#[derive(Clone)]
pub struct StoredBackup {
    /// Counts the account's backups, from 1.
    pub number: u64,
    /// When it was put; milliseconds since 1970 UTC.
    pub stored_at_ms: u64,
    /// As put; empty in the answer to a put.
    pub data: Bytes,
}

/// Why a backup was not stored.
#[derive(Debug, Clone, thiserror::Error)]
pub enum BackupError {
    /// Another was stored meanwhile.
    #[error("another backup was stored meanwhile")]
    Stale {
        /// Its number.
        number: u64,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Store {
    /// Puts a backup in the place of number `previous`, 0 for none.
    ///
    /// # Errors
    /// `Stale`, or the store's.
    pub async fn put_backup(
        &self,
        account: AccountId,
        previous: u64,
        data: Bytes,
    ) -> Result<StoredBackup, BackupError> {
        let mut client = self.pooled().await?;
        let transaction = client.transaction().await.map_err(StoreError::from_db)?;
        // Without the lock two first backups could both count from nothing.
        execute(&transaction, LOCK_ACCOUNT, &[&account.0]).await?;
        let statement = prepare(&transaction, NUMBER).await?;
        let row = transaction
            .query_one(&statement, &[&account.0])
            .await
            .map_err(StoreError::from_db)?;
        let number = unsigned(&row, 0)?;
        if number != previous {
            return Err(BackupError::Stale { number });
        }
        let next = number.saturating_add(1);
        execute(
            &transaction,
            PUT,
            &[&account.0, &signed(next), &data.as_ref()],
        )
        .await?;
        let stored = StoredBackup {
            number: next,
            stored_at_ms: unsigned(&row, 1)?,
            data: Bytes::new(),
        };
        self.commit(transaction).await?;
        Ok(stored)
    }

    /// An account's backup, if it has one.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn backup(&self, account: AccountId) -> Result<Option<StoredBackup>, StoreError> {
        let Some(row) = self.one(GET, &[&account.0]).await? else {
            return Ok(None);
        };
        Ok(Some(StoredBackup {
            number: unsigned(&row, 0)?,
            stored_at_ms: unsigned(&row, 1)?,
            data: Bytes::copy_from_slice(column(&row, 2)?),
        }))
    }
}
