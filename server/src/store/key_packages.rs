//! The directory of key packages: each one-time package is given away once.

use std::time::Duration;

use bytes::Bytes;
use sotto_protocol::limits::KEY_PACKAGES_STORED_MAX;
use sotto_protocol::{DeviceId, Username};

use super::accounts::{execute, prepare};
use super::error::{ClaimError, StoreError};
use super::types::{AccountId, Claimed, KeyPackageCount, NewKeyPackage, Taken};
use super::{Store, column, fixed, limit, signed};

/// Claims of one account for another in [`CLAIM_WINDOW`]: enough for conversations, too few to
/// use up what a device has published.
const CLAIMS_MAX: u32 = 5;
/// The same where the two share a conversation: each group that one invites the other to, and each
/// time somebody is taken in again, is a claim. Devices renew what they published as it goes, and a
/// last resort stays.
const CLAIMS_OF_COMPANION_MAX: u32 = 40;
const CLAIM_WINDOW: Duration = Duration::from_secs(3600);

const INSERT: &str = "\
    INSERT INTO key_package (reference, device_id, ciphersuite, data, last_resort, not_after)
    SELECT reference, $1, suite, data, $6, to_timestamp(not_after / 1000.0)
    FROM unnest($2::bytea[], $3::int[], $4::bytea[], $5::bigint[])
         AS i (reference, suite, data, not_after)
    ON CONFLICT DO NOTHING";

const DROP_LAST_RESORT: &str = "\
    DELETE FROM key_package WHERE device_id = $1 AND ciphersuite = $2 AND last_resort";

/// The newest stay: what is old expires first.
const DROP_SURPLUS: &str = "\
    DELETE FROM key_package WHERE reference IN (
        SELECT reference FROM key_package WHERE device_id = $1 AND NOT last_resort
        ORDER BY not_after > now() DESC, created_at DESC, reference OFFSET $2)";

const COUNT: &str = "\
    SELECT count(*) FILTER (WHERE NOT last_resort), coalesce(bool_or(last_resort), false)
    FROM key_package WHERE device_id = $1 AND not_after > now()";

/// Whether two accounts are in one conversation; found by their devices.
const SHARES: &str = "\
    SELECT EXISTS (
        SELECT m.conversation_id FROM device d JOIN member m ON m.device_id = d.id
        WHERE d.account_id = $1 AND m.left_at_seq IS NULL
        INTERSECT
        SELECT m.conversation_id FROM device d JOIN member m ON m.device_id = d.id
        WHERE d.account_id = $2 AND m.left_at_seq IS NULL)";

const TARGET: &str = "SELECT id, identity_key FROM account WHERE username = $1 AND NOT disabled";

/// One a device; rows that another claim is just taking are passed over.
const TAKE_ONE_TIME: &str = "\
    DELETE FROM key_package k USING (
        SELECT p.reference FROM device d CROSS JOIN LATERAL (
            SELECT reference FROM key_package
            WHERE device_id = d.id AND ciphersuite = $2 AND NOT last_resort AND not_after > now()
            ORDER BY created_at, reference LIMIT 1 FOR UPDATE SKIP LOCKED
        ) p WHERE d.account_id = $1
    ) taken WHERE k.reference = taken.reference
    RETURNING k.device_id, k.data";

const LAST_RESORT: &str = "\
    SELECT k.device_id, k.data FROM device d JOIN key_package k ON k.device_id = d.id
    WHERE d.account_id = $1 AND k.ciphersuite = $2 AND k.last_resort AND k.not_after > now()
      AND NOT k.device_id = ANY($3::bytea[])";

impl Store {
    /// Puts verified key packages of a device into the directory and returns how many one-time
    /// ones it now holds. One that is known stays as it is; beyond 200 the oldest go.
    ///
    /// # Errors
    /// `Unavailable` or `Unknown`; doing it again is safe.
    pub async fn publish_key_packages(
        &self,
        device: DeviceId,
        one_time: Vec<NewKeyPackage>,
        last_resort: Option<NewKeyPackage>,
    ) -> Result<u32, StoreError> {
        let mut client = self.pooled().await?;
        let transaction = client.transaction().await.map_err(StoreError::from_db)?;
        let id = device.as_bytes().as_slice();
        let lock = "SELECT FROM device WHERE id = $1 FOR UPDATE";
        if execute(&transaction, lock, &[&id]).await? == 0 {
            return Ok(0);
        }
        let resort: Vec<NewKeyPackage> = last_resort.into_iter().collect();
        if let Some(package) = resort.first() {
            let suite = i32::from(package.ciphersuite);
            execute(&transaction, DROP_LAST_RESORT, &[&id, &suite]).await?;
        }
        for (packages, is_resort) in [(&one_time, false), (&resort, true)] {
            let references: Vec<&[u8]> = packages.iter().map(|p| p.reference.as_slice()).collect();
            let suites: Vec<i32> = packages.iter().map(|p| i32::from(p.ciphersuite)).collect();
            let data: Vec<&[u8]> = packages.iter().map(|p| p.data.as_ref()).collect();
            // Lifetimes were bounded by the caller; what does not fit has ended.
            let ends: Vec<i64> = packages.iter().map(|p| signed(p.not_after_ms)).collect();
            let params: [&(dyn tokio_postgres::types::ToSql + Sync); 6] =
                [&id, &references, &suites, &data, &ends, &is_resort];
            execute(&transaction, INSERT, &params).await?;
        }
        let most = i64::try_from(KEY_PACKAGES_STORED_MAX).unwrap_or(0);
        execute(&transaction, DROP_SURPLUS, &[&id, &most]).await?;
        let statement = prepare(&transaction, COUNT).await?;
        let row = transaction
            .query_one(&statement, &[&id])
            .await
            .map_err(StoreError::from_db)?;
        let count = count(&row)?;
        self.commit(transaction).await?;
        Ok(count.one_time)
    }

    /// What the directory holds of a device.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn key_package_count(&self, device: DeviceId) -> Result<KeyPackageCount, StoreError> {
        let client = self.pooled().await?;
        let statement = client
            .prepare_cached(COUNT)
            .await
            .map_err(StoreError::from_db)?;
        let row = client
            .query_one(&statement, &[&device.as_bytes().as_slice()])
            .await
            .map_err(StoreError::from_db)?;
        count(&row)
    }

    /// Takes one key package of every device of an account: a one-time one, which is then gone,
    /// or, when a device has none left, its last resort.
    ///
    /// # Errors
    /// `RateLimited` from the sixth claim of `claimer` for `target` in an hour (where they share a
    /// conversation, the 41st); `NoKeyPackage`
    /// when no device has any (that claim does not count); `UnknownUser`; the store's, where
    /// `Unknown` means that packages may be used up.
    pub async fn claim_key_packages(
        &self,
        claimer: AccountId,
        target: &Username,
        ciphersuite: u16,
    ) -> Result<Claimed, ClaimError> {
        let mut client = self.pooled().await?;
        let transaction = client.transaction().await.map_err(StoreError::from_db)?;
        let statement = prepare(&transaction, TARGET).await?;
        let row = transaction
            .query_opt(&statement, &[&target.as_str()])
            .await
            .map_err(StoreError::from_db)?
            .ok_or(ClaimError::UnknownUser)?;
        let account: i64 = column(&row, 0)?;
        let statement = prepare(&transaction, Self::TAKE).await?;
        let key: [&[u8]; 3] = [b"claim", &claimer.to_key(), &account.to_be_bytes()];
        let shares = prepare(&transaction, SHARES).await?;
        let shares = transaction
            .query_one(&shares, &[&claimer.0, &account])
            .await
            .map_err(StoreError::from_db)?;
        let most = match column(&shares, 0)? {
            true => CLAIMS_OF_COMPANION_MAX,
            false => CLAIMS_MAX,
        };
        let taken = limit::take(&*transaction, &statement, &key, CLAIM_WINDOW, most).await?;
        if let Taken::RetryAfter(retry_after_ms) = taken {
            return Err(ClaimError::RateLimited { retry_after_ms });
        }
        let suite = i32::from(ciphersuite);
        let mut packages = Vec::new();
        let statement = prepare(&transaction, TAKE_ONE_TIME).await?;
        let rows = transaction
            .query(&statement, &[&account, &suite])
            .await
            .map_err(StoreError::from_db)?;
        for row in &rows {
            packages.push(package(row)?);
        }
        let served: Vec<Vec<u8>> = packages.iter().map(|(d, _)| d.to_vec()).collect();
        let statement = prepare(&transaction, LAST_RESORT).await?;
        let rows = transaction
            .query(&statement, &[&account, &suite, &served])
            .await
            .map_err(StoreError::from_db)?;
        for row in &rows {
            packages.push(package(row)?);
        }
        if packages.is_empty() {
            return Err(ClaimError::NoKeyPackage);
        }
        let identity_key = fixed(column(&row, 1)?)?;
        self.commit(transaction).await?;
        Ok(Claimed {
            identity_key,
            packages,
        })
    }
}

fn package(row: &tokio_postgres::Row) -> Result<(DeviceId, Bytes), StoreError> {
    let device = DeviceId::from_bytes(fixed(column(row, 0)?)?);
    Ok((device, Bytes::copy_from_slice(column(row, 1)?)))
}

fn count(row: &tokio_postgres::Row) -> Result<KeyPackageCount, StoreError> {
    Ok(KeyPackageCount {
        one_time: u32::try_from(column::<i64>(row, 0)?).unwrap_or(u32::MAX),
        last_resort: column(row, 1)?,
    })
}
