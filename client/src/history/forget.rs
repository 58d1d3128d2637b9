//! What is taken off this device for good: a whole talk, and the files of
//! messages that were taken back, until the server has deleted them.

use sotto_protocol::{BlobId, ConversationId};

use super::shelf::{SHELVES, on};
use super::{History, HistoryError};
use crate::talk::Talk;

/// Files asked to be deleted at a time.
const BLOBS_AT_ONCE: u32 = 32;

impl History {
    /// Forgets what belongs to a talk and to this device alone: what was begun, given up or
    /// silenced in it.
    pub(crate) fn forget_talk(&self, talk: &Talk) -> Result<(), HistoryError> {
        let talk = talk.to_string();
        for shelf in SHELVES {
            let sql = on(shelf, "DELETE FROM @.draft WHERE talk = ?1");
            self.connection().execute(&sql, [&talk])?;
        }
        for sql in [
            "DELETE FROM mute WHERE talk = ?1",
            "DELETE FROM upload WHERE talk = ?1",
            "DELETE FROM unsaved.outbox_body WHERE client_id IN
                 (SELECT client_id FROM main.outbox WHERE talk = ?1 AND refused_code IS NOT NULL)",
            "DELETE FROM main.outbox WHERE talk = ?1 AND refused_code IS NOT NULL",
        ] {
            self.connection().execute(sql, [&talk])?;
        }
        Ok(())
    }

    /// Forgets what of a conversation's messages lies in memory; what lies on disk goes with its row.
    pub(crate) fn forget_unsaved(&self, id: &ConversationId) -> Result<(), HistoryError> {
        for table in ["message", "change", "reaction", "pin", "timer", "reader"] {
            let sql = format!("DELETE FROM unsaved.{table} WHERE conversation = ?1");
            self.connection().execute(&sql, [id.as_bytes()])?;
        }
        Ok(())
    }

    /// Forgets the name, note and profile of somebody.
    pub(crate) fn forget_contact(&self, talk: &Talk) -> Result<(), HistoryError> {
        self.connection()
            .execute("DELETE FROM contact WHERE name = ?1", [talk.to_string()])?;
        Ok(())
    }

    /// Notes a file that nobody here needs any more.
    pub(crate) fn put_blob_due(&self, blob: &[u8; 16]) -> Result<(), HistoryError> {
        self.connection()
            .execute("INSERT OR IGNORE INTO blob_due (blob) VALUES (?1)", [blob])?;
        Ok(())
    }

    /// Files still to be deleted; at most 32.
    pub(crate) fn blobs_due(&self) -> Result<Vec<BlobId>, HistoryError> {
        let mut statement = self
            .connection()
            .prepare_cached("SELECT blob FROM blob_due ORDER BY blob LIMIT ?1")?;
        let rows = statement.query_map([BLOBS_AT_ONCE], |row| row.get(0))?;
        rows.map(|row| Ok(BlobId::from_bytes(row?))).collect()
    }

    /// The server has deleted a file, or it is needed after all.
    pub(crate) fn remove_blob_due(&self, blob: &BlobId) -> Result<(), HistoryError> {
        self.connection()
            .execute("DELETE FROM blob_due WHERE blob = ?1", [blob.as_bytes()])?;
        Ok(())
    }

    /// Whether a message that is here, or waits to be sent, holds a file: its id, 16 random bytes,
    /// stands in the message's own.
    pub(crate) fn needs_blob(&self, blob: &BlobId) -> Result<bool, HistoryError> {
        let sql = "SELECT EXISTS (SELECT 1 FROM main.message WHERE instr(content, ?1) > 0)
                OR EXISTS (SELECT 1 FROM unsaved.message WHERE instr(content, ?1) > 0)
                OR EXISTS (SELECT 1 FROM main.outbox WHERE instr(body, ?1) > 0)
                OR EXISTS (SELECT 1 FROM unsaved.outbox_body WHERE instr(body, ?1) > 0)";
        let mut statement = self.connection().prepare_cached(sql)?;
        Ok(statement.query_row([blob.as_bytes()], |row| row.get(0))?)
    }
}
