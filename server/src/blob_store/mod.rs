//! Where sealed files lie: in Postgres, or, when one is configured, in an S3-compatible store.
//!
//! Of each MiB the last piece is durable in Postgres before it is acknowledged, and what was before
//! it. With an object store, pieces wait there until they make a part of 8 MiB, which then moves; an
//! upload goes on at any server after any crash, because the row of the blob says what has
//! moved. Refuses to look into a blob, to tell an account of another's, and to let an account keep
//! more than its quota.

mod objects;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use sotto_protocol::BlobId;
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::config::Config;
use crate::store::blob::{LockedBlob, PART_BYTES, PIECE_BYTES};
use crate::store::{
    AccountId, BlobError, BlobPlace, BlobRow, BlobUsage, NewBlob, Store, StoreError,
};
use objects::Objects;

pub(crate) use objects::ObjectsError;

/// Verbs under way at once: files leave connections of the pool to everything else.
const VERBS_MAX: usize = 4;
/// Between two sweeps.
const SWEEP_PAUSE: Duration = Duration::from_secs(10);

/// All blobs of a deployment.
pub(crate) struct BlobStore {
    store: Store,
    objects: Option<Objects>,
    blob_bytes_max: u64,
    quota_bytes: u64,
    life: Duration,
    verbs: Semaphore,
}

impl BlobStore {
    /// By what the configuration says.
    ///
    /// # Errors
    /// When the object store's address or name cannot be used.
    pub(crate) fn open(config: &Config, store: Store) -> Result<Arc<Self>, ObjectsError> {
        Ok(Arc::new(Self {
            store,
            objects: Objects::open(config)?,
            blob_bytes_max: config.blob_bytes_max,
            quota_bytes: config.blob_quota_bytes,
            life: Duration::from_secs(u64::from(config.blob_days) * 24 * 3600),
            verbs: Semaphore::new(VERBS_MAX),
        }))
    }

    async fn turn(&self) -> Result<SemaphorePermit<'_>, BlobError> {
        self.verbs
            .acquire()
            .await
            .map_err(|_| StoreError::Unavailable("blob store closed".into()).into())
    }

    /// Begins a blob, or goes on with one: what is stored already is never asked for again.
    ///
    /// # Errors
    /// See [`BlobError`].
    pub(crate) async fn start(
        &self,
        account: AccountId,
        id: BlobId,
        size: u64,
    ) -> Result<BlobRow, BlobError> {
        if size == 0 {
            return Err(BlobError::Mismatch);
        }
        if size > self.blob_bytes_max {
            return Err(BlobError::TooLarge);
        }
        let _turn = self.turn().await?;
        let place = match self.objects {
            Some(_) => BlobPlace::Objects,
            None => BlobPlace::Database,
        };
        let new = NewBlob {
            id,
            account,
            size,
            place,
            quota_bytes: self.quota_bytes,
        };
        let blob = self.store.start_blob(new).await?;
        self.move_on(id, blob).await
    }

    /// Stores the next piece.
    ///
    /// # Errors
    /// See [`BlobError`].
    pub(crate) async fn add(
        &self,
        account: AccountId,
        id: BlobId,
        offset: u64,
        data: &[u8],
    ) -> Result<BlobRow, BlobError> {
        let _turn = self.turn().await?;
        let piece = (offset, data);
        let blob = self
            .store
            .store_piece(account, id, piece, self.life)
            .await?;
        self.move_on(id, blob).await
    }

    /// Bytes of a whole blob, at most one piece's length of them, and the size of the whole.
    ///
    /// # Errors
    /// See [`BlobError`].
    pub(crate) async fn read(
        &self,
        id: BlobId,
        offset: u64,
        length: usize,
    ) -> Result<(u64, Bytes), BlobError> {
        let _turn = self.turn().await?;
        let blob = self.store.blob(id).await?.filter(|blob| blob.complete);
        let blob = blob.ok_or(BlobError::Unknown)?;
        let left = blob.size.checked_sub(offset).filter(|left| *left > 0);
        let left = left.ok_or(BlobError::Mismatch)?;
        let most = usize::try_from(left).map_or(PIECE_BYTES, |left| left.min(PIECE_BYTES));
        let length = length.min(most);
        let bytes = match blob.place {
            BlobPlace::Database => self.store.read_blob(id, offset, length).await?,
            BlobPlace::Objects => self.objects()?.read(id, offset, length).await?,
        };
        Ok((blob.size, bytes.ok_or(BlobError::Unknown)?))
    }

    /// Deletes a blob of the account.
    ///
    /// # Errors
    /// See [`BlobError`].
    pub(crate) async fn delete(&self, account: AccountId, id: BlobId) -> Result<(), BlobError> {
        let _turn = self.turn().await?;
        let blob = self.store.blob(id).await?;
        let blob = blob
            .filter(|blob| blob.account == Some(account))
            .ok_or(BlobError::Unknown)?;
        if blob.place == BlobPlace::Objects {
            self.objects()?.delete(id, blob.upload.as_deref()).await?;
        }
        Ok(self.store.forget_blob(id).await?)
    }

    /// What an account has stored, and may.
    ///
    /// # Errors
    /// `Unavailable`.
    pub(crate) async fn usage(&self, account: AccountId) -> Result<BlobUsage, StoreError> {
        self.store.blob_usage(account, self.quota_bytes).await
    }

    fn objects(&self) -> Result<&Objects, BlobError> {
        self.objects.as_ref().ok_or_else(|| {
            tracing::warn!("a blob lies in an object store, and none is configured");
            BlobError::ObjectsAway
        })
    }

    /// Moves whole parts, and the end of a whole blob, to the object store.
    async fn move_on(&self, id: BlobId, blob: BlobRow) -> Result<BlobRow, BlobError> {
        if !has_work(&blob) {
            return Ok(blob);
        }
        let objects = self.objects()?;
        // Each round ends with what it moved being durable.
        loop {
            let Some(locked) = self.store.lock_blob(id).await? else {
                return Err(BlobError::Unknown);
            };
            let Some(blob) = locked.row().await? else {
                return Err(BlobError::Unknown);
            };
            if !has_work(&blob) {
                locked.commit().await?;
                return Ok(blob);
            }
            self.move_part(objects, id, &blob, &locked).await?;
            locked.commit().await?;
        }
    }

    async fn move_part(
        &self,
        objects: &Objects,
        id: BlobId,
        blob: &BlobRow,
        locked: &LockedBlob,
    ) -> Result<(), BlobError> {
        let moved = blob.parts.len() as u64;
        if moved * PART_BYTES >= blob.size {
            if let Some(upload) = &blob.upload {
                objects.complete(id, upload, &blob.parts, blob.size).await?;
            }
            return Ok(locked.completed(self.life).await?);
        }
        let single = blob.size <= PART_BYTES;
        let Some(upload) = &blob.upload else {
            if single {
                objects.put(id, locked.part(0).await?).await?;
                return Ok(locked.moved(0, "whole").await?);
            }
            return Ok(locked.begun(&objects.begin(id).await?).await?);
        };
        let pieces = locked.part(moved).await?;
        let name = objects.put_part(id, upload, moved, pieces).await?;
        Ok(locked.moved(moved, &name).await?)
    }

    /// Deletes what has expired, for as long as the server runs.
    pub(crate) async fn sweep(self: Arc<Self>) {
        loop {
            tokio::time::sleep(SWEEP_PAUSE.mul_f64(rand::random_range(0.7..1.3))).await;
            if let Err(error) = self.sweep_once().await {
                tracing::debug!(%error, "sweeping blobs failed; it is tried again");
            }
        }
    }

    async fn sweep_once(&self) -> Result<(), BlobError> {
        self.store.sweep_blobs().await?;
        let Some(objects) = &self.objects else {
            return Ok(());
        };
        for (id, upload) in self.store.expired_objects().await? {
            objects.delete(id, upload.as_deref()).await?;
            self.store.forget_blob(id).await?;
        }
        Ok(())
    }
}

/// Whether something of a blob can move to the object store now.
fn has_work(blob: &BlobRow) -> bool {
    let flushed = blob.parts.len() as u64 * PART_BYTES;
    blob.place == BlobPlace::Objects
        && !blob.complete
        && (blob.stored == blob.size || blob.stored >= flushed + PART_BYTES)
}
