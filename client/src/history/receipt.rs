//! Receipts that are still to be written: up to where messages of a
//! conversation arrived and were shown. Kept on disk because a command often
//! ends before a receipt can leave; the next one that connects makes good for it.

use rusqlite::OptionalExtension as _;
use sotto_protocol::{ConversationId, Username};

use super::shelf::on;
use super::{History, HistoryError, codec};
use crate::engine::api::Keep;
use crate::talk::Talk;

/// Made when a store is opened: versions that do not know the table leave it alone.
pub(super) const TABLE: &str = "CREATE TABLE IF NOT EXISTS receipt_due (
    conversation BLOB PRIMARY KEY REFERENCES conversation (id) ON DELETE CASCADE,
    delivered INTEGER NOT NULL,
    read INTEGER NOT NULL
) STRICT, WITHOUT ROWID;";

/// Places in a log; both inclusive, 0 for none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Marks {
    pub(crate) delivered: u64,
    pub(crate) read: u64,
}

impl History {
    /// Notes that a receipt is due; marks only ever move forward.
    pub(crate) fn note_receipt(
        &self,
        conversation: &ConversationId,
        marks: Marks,
    ) -> Result<(), HistoryError> {
        let mut statement = self.connection().prepare_cached(
            "INSERT INTO receipt_due (conversation, delivered, read)
                 SELECT id, ?2, ?3 FROM conversation WHERE id = ?1
             ON CONFLICT (conversation) DO UPDATE SET
                 delivered = max(delivered, ?2), read = max(read, ?3)",
        )?;
        statement.execute((conversation.as_bytes(), marks.delivered, marks.read))?;
        Ok(())
    }

    /// What is due in a conversation.
    pub(crate) fn receipt_due(
        &self,
        conversation: &ConversationId,
    ) -> Result<Option<Marks>, HistoryError> {
        let mut statement = self
            .connection()
            .prepare_cached("SELECT delivered, read FROM receipt_due WHERE conversation = ?1")?;
        Ok(statement
            .query_row([conversation.as_bytes()], |row| {
                Ok(Marks {
                    delivered: row.get(0)?,
                    read: row.get(1)?,
                })
            })
            .optional()?)
    }

    /// The conversations for which receipts are due, at most `limit`.
    pub(crate) fn receipts_due(&self, limit: usize) -> Result<Vec<ConversationId>, HistoryError> {
        let mut statement = self
            .connection()
            .prepare_cached("SELECT conversation FROM receipt_due LIMIT ?1")?;
        let rows =
            statement.query_map([limit], |row| Ok(codec::conversation(row, "conversation")))?;
        rows.map(|row| row?).collect()
    }

    /// Forgets what is due: it is in the outbox now, or nobody is to hear it.
    pub(crate) fn remove_receipt_due(
        &self,
        conversation: &ConversationId,
    ) -> Result<(), HistoryError> {
        let mut statement = self
            .connection()
            .prepare_cached("DELETE FROM receipt_due WHERE conversation = ?1")?;
        statement.execute([conversation.as_bytes()])?;
        Ok(())
    }

    /// Up to where everything of others was shown: nothing before it is unshown.
    pub(crate) fn shown_up_to(&self, conversation: &ConversationId) -> Result<u64, HistoryError> {
        let mut statement = self.connection().prepare_cached(
            "SELECT coalesce(max(seq), 0) FROM message
             WHERE conversation = ?1 AND direction = 0 AND seq < coalesce(
                 (SELECT min(seq) FROM message WHERE conversation = ?1 AND shown = 0),
                 9223372036854775807)",
        )?;
        Ok(statement.query_row([conversation.as_bytes()], |row| row.get(0))?)
    }

    /// The talks for which a receipt waits in the outbox.
    pub(crate) fn receipted_talks(&self) -> Result<Vec<Talk>, HistoryError> {
        let mut statement = self
            .connection()
            .prepare_cached("SELECT DISTINCT talk FROM outbox WHERE kind = 1")?;
        let rows = statement.query_map([], |row| Ok(codec::talk(row, "talk")))?;
        rows.map(|row| row?).collect()
    }

    /// Somebody told up to where messages arrived and were read; marks only move forward.
    pub(crate) fn note_reader(
        &self,
        keep: Keep,
        conversation: &ConversationId,
        account: &Username,
        marks: Marks,
    ) -> Result<(), HistoryError> {
        let mut statement = self.connection().prepare_cached(&on(
            keep,
            "INSERT INTO @.reader (conversation, account, delivered, read) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT DO UPDATE SET delivered = max(delivered, ?3), read = max(read, ?4)",
        ))?;
        let (delivered, read) = (bounded(marks.delivered), bounded(marks.read));
        statement.execute((conversation.as_bytes(), account.as_str(), delivered, read))?;
        Ok(())
    }

    /// How many people a message has reached.
    pub(crate) fn reached(
        &self,
        keep: Keep,
        conversation: &ConversationId,
        seq: u64,
    ) -> Result<Reached, HistoryError> {
        let mut statement = self.connection().prepare_cached(&on(
            keep,
            "SELECT coalesce(sum(max(delivered, read) >= ?2), 0), coalesce(sum(read >= ?2), 0)
             FROM @.reader WHERE conversation = ?1",
        ))?;
        Ok(
            statement.query_row((conversation.as_bytes(), bounded(seq)), |row| {
                Ok(Reached {
                    delivered_to: row.get(0)?,
                    read_by: row.get(1)?,
                })
            })?,
        )
    }
}

/// How many people a message has reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Reached {
    pub(crate) delivered_to: u64,
    pub(crate) read_by: u64,
}

/// A place in a log as somebody claims it: never more than the store can hold.
fn bounded(seq: u64) -> i64 {
    i64::try_from(seq).unwrap_or(i64::MAX)
}
