//! Uploads that are not finished: by them a file that is sent again goes on where it stands,
//! under the same key and as the same message.

use rusqlite::{OptionalExtension as _, named_params};
use sotto_crypto::SecretBytes;
use sotto_crypto::attachment::FileKey;
use sotto_protocol::{BlobId, ClientMessageId};

use super::{History, HistoryError, codec};
use crate::talk::Talk;

/// One upload.
pub(crate) struct UploadRow {
    pub(crate) blob: BlobId,
    pub(crate) key: FileKey,
    /// The message that the file is sent with.
    pub(crate) client_id: ClientMessageId,
}

impl History {
    /// The upload of a file to a talk, if one was begun.
    pub(crate) fn upload(
        &self,
        talk: &Talk,
        plain_hash: &[u8; 32],
    ) -> Result<Option<UploadRow>, HistoryError> {
        let mut statement = self.connection().prepare_cached(
            "SELECT blob_id, key, client_id FROM upload WHERE talk = ?1 AND plain_hash = ?2",
        )?;
        let row = statement
            .query_row((talk.to_string(), plain_hash), |row| {
                let blob: [u8; 16] = row.get("blob_id")?;
                let mut key: [u8; 32] = row.get("key")?;
                Ok((
                    blob,
                    SecretBytes::take(&mut key),
                    codec::client_id(row, "client_id"),
                ))
            })
            .optional()?;
        let Some((blob, key, client_id)) = row else {
            return Ok(None);
        };
        Ok(Some(UploadRow {
            blob: BlobId::from_bytes(blob),
            key: FileKey::from_slice(key.expose()).ok_or(HistoryError::Invalid("file key"))?,
            client_id: client_id?,
        }))
    }

    /// Keeps an upload before its first byte leaves.
    pub(crate) fn insert_upload(
        &self,
        talk: &Talk,
        plain_hash: &[u8; 32],
        upload: &UploadRow,
        now_ms: u64,
    ) -> Result<(), HistoryError> {
        self.connection().execute(
            "INSERT OR REPLACE INTO upload (talk, plain_hash, blob_id, key, client_id, begun_at_ms)
             VALUES (:talk, :hash, :blob, :key, :id, :now)",
            named_params! {
                ":talk": talk.to_string(),
                ":hash": plain_hash,
                ":blob": upload.blob.as_bytes(),
                ":key": upload.key.expose(),
                ":id": upload.client_id.as_bytes(),
                ":now": now_ms,
            },
        )?;
        Ok(())
    }

    /// Forgets an upload: its message is queued, or it is given up.
    pub(crate) fn remove_upload(
        &self,
        talk: &Talk,
        plain_hash: &[u8; 32],
    ) -> Result<(), HistoryError> {
        self.connection().execute(
            "DELETE FROM upload WHERE talk = ?1 AND plain_hash = ?2",
            (talk.to_string(), plain_hash),
        )?;
        Ok(())
    }

    /// Forgets uploads that servers have forgotten too.
    pub(crate) fn remove_uploads_before(&self, begun_at_ms: u64) -> Result<(), HistoryError> {
        self.connection()
            .execute("DELETE FROM upload WHERE begun_at_ms < ?1", [begun_at_ms])?;
        Ok(())
    }
}
