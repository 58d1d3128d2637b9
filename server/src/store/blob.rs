//! Blobs: sealed files in pieces of 256 KiB. Every fourth is durable before its answer, and with it
//! those before; so are the last one, and all of them when somebody asks where a blob stands.
//! Pieces between them do not make the disk wait, on which everybody's messages lie.
//!
//! Pieces stay here, or wait here until a part of them goes to an object store: then the row of
//! the blob, locked, says which parts are there already, so that servers never mix their work.
//! A blob belongs to the account that sent it, and counts for it until it is gone. Nothing here
//! speaks with the object store; `blob_store` does.

use std::time::Duration;

use bytes::Bytes;
use deadpool_postgres::{Client, Transaction};
use sotto_protocol::BlobId;
use tokio_postgres::types::ToSql;

use super::accounts::{execute, prepare};
use super::error::{BlobError, StoreError};
use super::types::{AccountId, BlobPlace, BlobRow, BlobUsage, NewBlob};
use super::{Store, column, signed, unsigned};

/// Every piece but the last has this size.
pub(crate) use sotto_protocol::limits::BLOB_PIECE_BYTES_MAX as PIECE_BYTES;

/// One piece of so many waits for the disk, and answers for those before it.
const DURABLE_PIECES: u64 = 4;
/// Pieces that make a part of an object: 8 MiB, as object stores like their parts of one size.
pub(crate) const PART_PIECES: u64 = 32;
/// Bytes of a part of an object.
pub(crate) const PART_BYTES: u64 = PART_PIECES * PIECE_BYTES as u64;
/// Blobs of one account.
const BLOBS_MAX: u64 = 20_000;
/// An upload that nobody continues is forgotten after this.
const UNFINISHED_LIFE: Duration = Duration::from_secs(3 * 24 * 3600);
/// Expired blobs taken at once.
const EXPIRED_MAX: i64 = 100;

const COLUMNS: &str = "\
    account_id, size, stored, complete, in_objects, upload_id, parts,
    (extract(epoch FROM expires_at) * 1000)::bigint";

const LOCK_ACCOUNT: &str = "SELECT FROM account WHERE id = $1 FOR NO KEY UPDATE";

const USAGE: &str = "\
    SELECT coalesce(sum(b.size), 0)::bigint, count(b.id),
           coalesce((SELECT a.quota_bytes FROM account a WHERE a.id = $1), $2)
    FROM blob b WHERE b.account_id = $1";

const INSERT: &str = "\
    INSERT INTO blob (id, account_id, size, in_objects, expires_at)
    VALUES ($1, $2, $3, $4, now() + $5 * interval '1 second')";

/// The piece ($2, $3), and the blob with it; unless `$7` the commit does not wait for the disk.
fn grow() -> String {
    format!(
        "WITH piece AS (INSERT INTO blob_piece (blob_id, piece, data) VALUES ($1, $2, $3))
         UPDATE blob SET stored = $4, complete = $5, expires_at = now() + $6 * interval '1 second'
         WHERE id = $1 AND CASE WHEN $7 THEN true
             ELSE set_config('synchronous_commit', 'off', true) IS NOT NULL END
         RETURNING {COLUMNS}"
    )
}

/// Makes a commit that waits for the disk, and for whatever was committed before it.
const TOUCH: &str = "UPDATE blob SET stored = stored WHERE id = $1";

const PIECES: &str = "\
    SELECT piece, data FROM blob_piece WHERE blob_id = $1 AND piece >= $2 AND piece < $3
    ORDER BY piece";

const TAKE_EXPIRED: &str = "\
    DELETE FROM blob WHERE id IN (
        SELECT id FROM blob WHERE expires_at < now() AND NOT in_objects
        ORDER BY expires_at LIMIT $1 FOR UPDATE SKIP LOCKED)";

impl Store {
    /// Begins a blob, or says where one stands that the account has begun.
    ///
    /// # Errors
    /// `Mismatch` when the id is another blob's, `QuotaExceeded`, or the store's.
    pub async fn start_blob(&self, new: NewBlob) -> Result<BlobRow, BlobError> {
        let mut client = self.pooled().await?;
        let transaction = client.transaction().await.map_err(StoreError::from_db)?;
        // One at a time for an account: together they could exceed what each keeps to.
        if execute(&transaction, LOCK_ACCOUNT, &[&new.account.0]).await? == 0 {
            return Err(BlobError::Unknown);
        }
        if let Some(known) = locked(&transaction, new.id).await? {
            let same = known.account == Some(new.account) && known.size == new.size;
            if !same {
                return Err(BlobError::Mismatch);
            }
            execute(&transaction, TOUCH, &[&new.id.as_bytes().as_slice()]).await?;
            self.commit(transaction).await?;
            return Ok(known);
        }
        let usage = usage(&transaction, new.account, new.quota_bytes).await?;
        if usage.bytes.saturating_add(new.size) > usage.bytes_max || usage.blobs >= BLOBS_MAX {
            return Err(BlobError::QuotaExceeded);
        }
        let id = new.id.as_bytes().as_slice();
        let in_objects = new.place == BlobPlace::Objects;
        let life = UNFINISHED_LIFE.as_secs_f64();
        let params: [&(dyn ToSql + Sync); 5] =
            [&id, &new.account.0, &signed(new.size), &in_objects, &life];
        execute(&transaction, INSERT, &params).await?;
        let row = locked(&transaction, new.id).await?;
        self.commit(transaction).await?;
        row.ok_or(BlobError::Unknown)
    }

    /// Stores the next piece of a blob of the account; how far it is durable then, the row says. In
    /// the database the last one makes the blob whole; one for an object store still has to go there.
    ///
    /// # Errors
    /// `Unknown`; `Mismatch` when the piece does not begin where the blob ends, or has not the
    /// size that it must have; the store's.
    pub async fn store_piece(
        &self,
        account: AccountId,
        id: BlobId,
        (offset, data): (u64, &[u8]),
        life: Duration,
    ) -> Result<BlobRow, BlobError> {
        let mut client = self.pooled().await?;
        let transaction = client.transaction().await.map_err(StoreError::from_db)?;
        let blob = locked(&transaction, id)
            .await?
            .filter(|blob| blob.account == Some(account))
            .ok_or(BlobError::Unknown)?;
        let wanted = blob
            .size
            .saturating_sub(blob.stored)
            .min(PIECE_BYTES as u64);
        if offset != blob.stored || data.is_empty() || data.len() as u64 != wanted {
            return Err(BlobError::Mismatch);
        }
        // What waits for an object store that is away is bounded.
        let flushed = blob.parts.len() as u64 * PART_BYTES;
        if blob.place == BlobPlace::Objects && blob.stored.saturating_sub(flushed) >= PART_BYTES {
            return Err(BlobError::ObjectsAway);
        }
        let stored = blob.stored + wanted;
        let complete = stored == blob.size && blob.place == BlobPlace::Database;
        let key = id.as_bytes().as_slice();
        let pieces = offset / PIECE_BYTES as u64 + 1;
        let waits = stored == blob.size || pieces.is_multiple_of(DURABLE_PIECES);
        let life = if complete { life } else { UNFINISHED_LIFE };
        let (piece, life) = (piece_of(offset), life.as_secs_f64());
        let params: [&(dyn ToSql + Sync); 7] = [
            &key,
            &piece,
            &data,
            &signed(stored),
            &complete,
            &life,
            &waits,
        ];
        let statement = prepare(&transaction, &grow()).await?;
        let row = transaction
            .query_opt(&statement, &params)
            .await
            .map_err(StoreError::from_db)?;
        let row = row.as_ref().map(blob_row).transpose()?;
        self.commit(transaction).await?;
        let mut row = row.ok_or(BlobError::Unknown)?;
        if !waits {
            row.durable = (pieces - pieces % DURABLE_PIECES) * PIECE_BYTES as u64;
        }
        Ok(row)
    }

    /// What is known of a blob that has not expired.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn blob(&self, id: BlobId) -> Result<Option<BlobRow>, StoreError> {
        let client = self.pooled().await?;
        let sql = format!("SELECT {COLUMNS} FROM blob WHERE id = $1 AND expires_at > now()");
        let statement = client
            .prepare_cached(&sql)
            .await
            .map_err(StoreError::from_db)?;
        let row = client
            .query_opt(&statement, &[&id.as_bytes().as_slice()])
            .await
            .map_err(StoreError::from_db)?;
        row.as_ref().map(blob_row).transpose()
    }

    /// Bytes of a blob in the database, from `offset`, at most one piece's length of them;
    /// `None` when they are not there.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn read_blob(
        &self,
        id: BlobId,
        offset: u64,
        length: usize,
    ) -> Result<Option<Bytes>, StoreError> {
        let client = self.pooled().await?;
        let statement = client
            .prepare_cached(PIECES)
            .await
            .map_err(StoreError::from_db)?;
        let length = length.clamp(1, PIECE_BYTES);
        let last = piece_of(offset.saturating_add(length as u64 - 1));
        let (key, first) = (id.as_bytes().as_slice(), piece_of(offset));
        let rows = client
            .query(&statement, &[&key, &first, &(last + 1)])
            .await
            .map_err(StoreError::from_db)?;
        let skipped = usize::try_from(offset % PIECE_BYTES as u64).unwrap_or(0);
        let mut bytes = Vec::with_capacity(length);
        for row in &rows {
            bytes.extend_from_slice(column::<&[u8]>(row, 1)?);
        }
        let wanted = bytes.get(skipped..skipped + length);
        Ok(wanted.map(Bytes::copy_from_slice))
    }

    /// How much an account has stored or begun to store, and may: `quota_bytes` where nothing
    /// else is set for it.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn blob_usage(
        &self,
        account: AccountId,
        quota_bytes: u64,
    ) -> Result<BlobUsage, StoreError> {
        let mut client = self.pooled().await?;
        let transaction = client.transaction().await.map_err(StoreError::from_db)?;
        usage(&transaction, account, quota_bytes).await
    }

    /// Locks a blob, for moving parts of it to an object store.
    pub(crate) async fn lock_blob(&self, id: BlobId) -> Result<Option<LockedBlob>, StoreError> {
        let client = self.pooled().await?;
        client
            .batch_execute("BEGIN")
            .await
            .map_err(StoreError::from_db)?;
        let locked = LockedBlob {
            store: self.clone(),
            client: Some(client),
            id,
        };
        let sql = format!("SELECT {COLUMNS} FROM blob WHERE id = $1 FOR UPDATE");
        let rows = locked.query(&sql, &[&id.as_bytes().as_slice()]).await?;
        if rows.is_empty() {
            locked.commit().await?;
            return Ok(None);
        }
        Ok(Some(locked))
    }

    /// Deletes a blob that lies in the database, or what is known here of one that lay elsewhere.
    ///
    /// # Errors
    /// `Unavailable` or `Unknown`; doing it again is safe.
    pub async fn forget_blob(&self, id: BlobId) -> Result<(), StoreError> {
        let mut client = self.pooled().await?;
        let transaction = client.transaction().await.map_err(StoreError::from_db)?;
        let key = id.as_bytes().as_slice();
        execute(&transaction, "DELETE FROM blob WHERE id = $1", &[&key]).await?;
        self.commit(transaction).await
    }

    /// Deletes expired blobs that lie in the database; at most 100 at once. Returns how many.
    ///
    /// # Errors
    /// `Unavailable`; the next sweep does it.
    pub async fn sweep_blobs(&self) -> Result<u64, StoreError> {
        let mut client = self.pooled().await?;
        let transaction = client.transaction().await.map_err(StoreError::from_db)?;
        let count = execute(&transaction, TAKE_EXPIRED, &[&EXPIRED_MAX]).await?;
        self.commit(transaction).await?;
        Ok(count)
    }

    /// Expired blobs that lie in the object store, at most 100, with their uploads.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn expired_objects(&self) -> Result<Vec<(BlobId, Option<String>)>, StoreError> {
        let client = self.pooled().await?;
        let rows = client
            .query(
                "SELECT id, upload_id FROM blob WHERE expires_at < now() AND in_objects
                 ORDER BY expires_at LIMIT $1",
                &[&EXPIRED_MAX],
            )
            .await
            .map_err(StoreError::from_db)?;
        let mut found = Vec::with_capacity(rows.len());
        for row in &rows {
            let id = BlobId::from_slice(column(row, 0)?)
                .map_err(|_| StoreError::Corrupt("blob id".into()))?;
            found.push((id, column(row, 1)?));
        }
        Ok(found)
    }
}

/// A blob whose row is locked. Dropped without `commit`, everything done with it is undone.
pub(crate) struct LockedBlob {
    store: Store,
    client: Option<Client>,
    id: BlobId,
}

impl Drop for LockedBlob {
    fn drop(&mut self) {
        if let Some(client) = self.client.take() {
            // The connection ends, and with it the transaction.
            drop(Client::take(client));
        }
    }
}

impl LockedBlob {
    async fn query(
        &self,
        sql: &str,
        params: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<tokio_postgres::Row>, StoreError> {
        let Some(client) = &self.client else {
            return Ok(Vec::new());
        };
        let statement = client
            .prepare_cached(sql)
            .await
            .map_err(StoreError::from_db)?;
        client
            .query(&statement, params)
            .await
            .map_err(StoreError::from_db)
    }

    /// What is known of it.
    pub(crate) async fn row(&self) -> Result<Option<BlobRow>, StoreError> {
        let sql = format!("SELECT {COLUMNS} FROM blob WHERE id = $1");
        let rows = self.query(&sql, &[&self.id.as_bytes().as_slice()]).await?;
        rows.first().map(blob_row).transpose()
    }

    /// The pieces that wait, of one part, in order.
    pub(crate) async fn part(&self, part: u64) -> Result<Vec<Bytes>, StoreError> {
        let first = piece_of(part * PART_BYTES);
        let end = piece_of((part + 1) * PART_BYTES);
        let rows = self
            .query(PIECES, &[&self.id.as_bytes().as_slice(), &first, &end])
            .await?;
        rows.iter()
            .map(|row| Ok(Bytes::copy_from_slice(column(row, 1)?)))
            .collect()
    }

    /// An upload of several parts was begun.
    pub(crate) async fn begun(&self, upload: &str) -> Result<(), StoreError> {
        let key = self.id.as_bytes().as_slice();
        self.query(
            "UPDATE blob SET upload_id = $2 WHERE id = $1",
            &[&key, &upload],
        )
        .await
        .map(drop)
    }

    /// A part is in the object store: its pieces need not wait any longer.
    pub(crate) async fn moved(&self, part: u64, name: &str) -> Result<(), StoreError> {
        let key = self.id.as_bytes().as_slice();
        let end = piece_of((part + 1) * PART_BYTES);
        self.query(
            "UPDATE blob SET parts = array_append(parts, $2) WHERE id = $1",
            &[&key, &name],
        )
        .await?;
        self.query(
            "DELETE FROM blob_piece WHERE blob_id = $1 AND piece < $2",
            &[&key, &end],
        )
        .await
        .map(drop)
    }

    /// All of it is in the object store.
    pub(crate) async fn completed(&self, life: Duration) -> Result<(), StoreError> {
        let key = self.id.as_bytes().as_slice();
        self.query(
            "UPDATE blob SET complete = true, expires_at = now() + $2 * interval '1 second'
             WHERE id = $1",
            &[&key, &life.as_secs_f64()],
        )
        .await
        .map(drop)
    }

    /// Makes it durable and lets go.
    pub(crate) async fn commit(mut self) -> Result<(), StoreError> {
        let Some(client) = self.client.take() else {
            return Ok(());
        };
        let before = self.store.pool_warnings();
        if let Err(error) = client.batch_execute("COMMIT").await {
            drop(Client::take(client));
            return Err(StoreError::from_commit(&error));
        }
        if self.store.pool_warnings() == before {
            Ok(())
        } else {
            Err(StoreError::Unknown)
        }
    }
}

async fn locked(transaction: &Transaction<'_>, id: BlobId) -> Result<Option<BlobRow>, StoreError> {
    let sql = format!("SELECT {COLUMNS} FROM blob WHERE id = $1 AND expires_at > now() FOR UPDATE");
    let statement = prepare(transaction, &sql).await?;
    let row = transaction
        .query_opt(&statement, &[&id.as_bytes().as_slice()])
        .await
        .map_err(StoreError::from_db)?;
    row.as_ref().map(blob_row).transpose()
}

async fn usage(
    transaction: &Transaction<'_>,
    account: AccountId,
    quota_bytes: u64,
) -> Result<BlobUsage, StoreError> {
    let statement = prepare(transaction, USAGE).await?;
    let row = transaction
        .query_one(&statement, &[&account.0, &signed(quota_bytes)])
        .await
        .map_err(StoreError::from_db)?;
    Ok(BlobUsage {
        bytes: unsigned(&row, 0)?,
        bytes_max: unsigned(&row, 2)?,
        blobs: unsigned(&row, 1)?,
    })
}

fn blob_row(row: &tokio_postgres::Row) -> Result<BlobRow, StoreError> {
    let in_objects: bool = column(row, 4)?;
    let stored = unsigned(row, 2)?;
    Ok(BlobRow {
        account: column::<Option<i64>>(row, 0)?.map(AccountId),
        size: unsigned(row, 1)?,
        stored,
        durable: stored,
        complete: column(row, 3)?,
        place: if in_objects {
            BlobPlace::Objects
        } else {
            BlobPlace::Database
        },
        upload: column(row, 5)?,
        parts: column(row, 6)?,
        expires_at_ms: unsigned(row, 7)?,
    })
}

/// The number of the piece that holds this byte; what does not fit matches nothing.
fn piece_of(offset: u64) -> i32 {
    i32::try_from(offset / PIECE_BYTES as u64).unwrap_or(-2)
}
