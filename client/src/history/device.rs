//! The account's devices as known here, what is to be done about revoked
//! ones, and where the backup stands.

use rusqlite::OptionalExtension as _;
use sotto_crypto::recovery::BackupKey;
use sotto_protocol::{ConversationId, DeviceId};
use zeroize::Zeroizing;

use super::{History, HistoryError, codec};
use crate::talk::Talk;

/// The most devices that are read; an account has at most eight.
const DEVICES_READ_MAX: u32 = 64;

/// Where this device keeps the account's backup.
pub(crate) struct RecoveryRow {
    pub(crate) key: BackupKey,
    /// The counter of the last backup, as the server has it; 0 for none.
    pub(crate) number: u64,
    /// SHA-256 of what was in it; empty before the first.
    pub(crate) digest: Vec<u8>,
    /// Milliseconds since 1970 UTC; 0 for never.
    pub(crate) stored_at_ms: u64,
    /// Whether one left whose answer did not come.
    pub(crate) unanswered: bool,
}

impl History {
    /// The devices known here with their names.
    pub(crate) fn own_devices(&self) -> Result<Vec<(DeviceId, String)>, HistoryError> {
        let mut statement = self
            .connection()
            .prepare_cached("SELECT * FROM own_device ORDER BY device LIMIT ?1")?;
        let rows = statement.query_map([DEVICES_READ_MAX], |row| {
            Ok((codec::device(row, "device"), row.get("name")?))
        })?;
        rows.map(|row| {
            let (device, name) = row?;
            Ok((device?, name))
        })
        .collect()
    }

    /// Notes a device, new or known, under a name.
    pub(crate) fn put_own_device(&self, device: &DeviceId, name: &str) -> Result<(), HistoryError> {
        self.connection().execute(
            "INSERT OR REPLACE INTO own_device (device, name) VALUES (?1, ?2)",
            (device.as_bytes(), name),
        )?;
        Ok(())
    }

    /// A device is gone.
    pub(crate) fn forget_own_device(&self, device: &DeviceId) -> Result<(), HistoryError> {
        self.connection().execute(
            "DELETE FROM own_device WHERE device = ?1",
            [device.as_bytes()],
        )?;
        Ok(())
    }

    /// A device is to be taken out of every conversation.
    pub(crate) fn remove_everywhere(&self, device: &DeviceId) -> Result<(), HistoryError> {
        self.connection().execute(
            "INSERT OR IGNORE INTO removal_due (conversation, device)
                 SELECT id, ?1 FROM conversation WHERE state <> 4",
            [device.as_bytes()],
        )?;
        Ok(())
    }

    /// The devices to be taken out of a conversation.
    pub(crate) fn removals_due(
        &self,
        conversation: &ConversationId,
    ) -> Result<Vec<DeviceId>, HistoryError> {
        let mut statement = self
            .connection()
            .prepare_cached("SELECT device FROM removal_due WHERE conversation = ?1 LIMIT ?2")?;
        let rows = statement.query_map((conversation.as_bytes(), DEVICES_READ_MAX), |row| {
            Ok(codec::device(row, "device"))
        })?;
        rows.map(|row| row?).collect()
    }

    /// A device is out of a conversation.
    pub(crate) fn removal_done(
        &self,
        conversation: &ConversationId,
        device: &DeviceId,
    ) -> Result<(), HistoryError> {
        self.connection().execute(
            "DELETE FROM removal_due WHERE conversation = ?1 AND device = ?2",
            (conversation.as_bytes(), device.as_bytes()),
        )?;
        Ok(())
    }

    /// The talks that can be written in and out of which a device is to be taken.
    pub(crate) fn removal_talks(&self) -> Result<Vec<Talk>, HistoryError> {
        let mut statement = self.connection().prepare_cached(
            "SELECT DISTINCT talk FROM conversation JOIN removal_due ON conversation = id
             WHERE state = 1 ORDER BY talk",
        )?;
        let rows = statement.query_map([], |row| Ok(codec::talk(row, "talk")))?;
        rows.map(|row| row?).collect()
    }

    /// Where the backup stands, if this device keeps it.
    pub(crate) fn recovery(&self) -> Result<Option<RecoveryRow>, HistoryError> {
        let mut statement = self.connection().prepare_cached("SELECT * FROM recovery")?;
        let found = statement
            .query_row([], |row| {
                let key: Zeroizing<Vec<u8>> = Zeroizing::new(row.get("key")?);
                Ok((
                    BackupKey::from_slice(&key),
                    row.get("number")?,
                    row.get("digest")?,
                    row.get("stored_at_ms")?,
                    row.get("unanswered")?,
                ))
            })
            .optional()?;
        let Some((key, number, digest, stored_at_ms, unanswered)) = found else {
            return Ok(None);
        };
        Ok(Some(RecoveryRow {
            key: key.ok_or(HistoryError::Invalid("backup key"))?,
            number,
            digest,
            stored_at_ms,
            unanswered,
        }))
    }

    /// Notes where the backup stands.
    pub(crate) fn put_recovery(&self, row: &RecoveryRow) -> Result<(), HistoryError> {
        self.connection().execute(
            "INSERT OR REPLACE INTO recovery (one, key, number, digest, stored_at_ms, unanswered)
             VALUES (1, ?1, ?2, ?3, ?4, ?5)",
            (
                row.key.expose(),
                row.number,
                &row.digest,
                row.stored_at_ms,
                row.unanswered,
            ),
        )?;
        Ok(())
    }

    /// Another device keeps the backup from now on.
    pub(crate) fn forget_recovery(&self) -> Result<(), HistoryError> {
        self.connection().execute("DELETE FROM recovery", [])?;
        Ok(())
    }
}
