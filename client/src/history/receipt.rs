//! Receipts that are still to be written: up to where messages of a
//! conversation arrived and were shown. Kept on disk because a command often
//! ends before a receipt can leave; the next one that connects makes good for it.

use rusqlite::OptionalExtension as _;
use sotto_protocol::{ConversationId, DeviceId, Username};

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

/// Holes kept of one device of somebody in one conversation.
const HOLES_MAX: u32 = 64;

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

    /// From where on this device can open a conversation's messages; 0 for all.
    pub(crate) fn readable_from(&self, conversation: &ConversationId) -> Result<u64, HistoryError> {
        let mut statement = self
            .connection()
            .prepare_cached("SELECT seq FROM readable_from WHERE conversation = ?1")?;
        let found = statement.query_row([conversation.as_bytes()], |row| row.get(0));
        Ok(found.optional()?.unwrap_or(0))
    }

    /// What lies before a place in the log cannot be opened here, or not all of it.
    pub(crate) fn set_readable_from(
        &self,
        conversation: &ConversationId,
        seq: u64,
    ) -> Result<(), HistoryError> {
        let mut statement = self.connection().prepare_cached(
            "INSERT INTO readable_from (conversation, seq)
                 SELECT id, ?2 FROM conversation WHERE id = ?1
             ON CONFLICT (conversation) DO UPDATE SET seq = max(seq, ?2)",
        )?;
        statement.execute((conversation.as_bytes(), bounded(seq)))?;
        Ok(())
    }

    /// A device of somebody told what reached it. Marks only move forward, and what was told
    /// once stays told: only what is new can have a hole in it.
    pub(crate) fn note_reader(
        &self,
        keep: Keep,
        reader: Reader<'_>,
        marks: Marks,
        readable_from: u64,
    ) -> Result<(), HistoryError> {
        let (conversation, account) = (reader.conversation.as_bytes(), reader.account.as_str());
        let (device, delivered) = (reader.device.as_bytes(), bounded(marks.delivered));
        let mut known = self.connection().prepare_cached(&on(
            keep,
            "SELECT max(delivered, read) FROM @.reader
             WHERE conversation = ?1 AND account = ?2 AND device = ?3",
        ))?;
        let known: Option<i64> = known
            .query_row((conversation, account, device), |row| row.get(0))
            .optional()?;
        let first = known.unwrap_or(0) + 1;
        let last = bounded(readable_from)
            .saturating_sub(1)
            .min(delivered.max(bounded(marks.read)));
        if first <= last {
            // Beyond the bound the newest grow into one: nobody fills the store with them.
            let mut hole = self.connection().prepare_cached(&on(
                keep,
                "INSERT INTO @.reader_hole (conversation, account, device, first, last)
                 SELECT ?1, ?2, ?3, coalesce((
                     SELECT first FROM @.reader_hole
                     WHERE conversation = ?1 AND account = ?2 AND device = ?3
                     ORDER BY first LIMIT 1 OFFSET ?6), ?4), ?5
                 WHERE true
                 ON CONFLICT DO UPDATE SET last = ?5",
            ))?;
            hole.execute((conversation, account, device, first, last, HOLES_MAX))?;
        }
        let mut statement = self.connection().prepare_cached(&on(
            keep,
            "INSERT INTO @.reader (conversation, account, device, delivered, read)
             VALUES (?1, ?2, ?3, ?4, ?5)
             ON CONFLICT DO UPDATE SET delivered = max(delivered, ?4), read = max(read, ?5)",
        ))?;
        let read = bounded(marks.read);
        statement.execute((conversation, account, device, delivered, read))?;
        Ok(())
    }

    /// Whether a device told that all reached it which others wrote in a conversation.
    pub(crate) fn has_all(
        &self,
        keep: Keep,
        conversation: &ConversationId,
        device: &DeviceId,
    ) -> Result<bool, HistoryError> {
        let mut statement = self.connection().prepare_cached(&on(
            keep,
            "SELECT (SELECT coalesce(max(seq), 0) FROM @.message
                     WHERE conversation = ?1 AND device != ?2)
                 <= (SELECT coalesce(max(max(delivered, read)), 0) FROM @.reader
                     WHERE conversation = ?1 AND device = ?2)",
        ))?;
        let device = device.as_bytes();
        Ok(statement.query_row((conversation.as_bytes(), device), |row| row.get(0))?)
    }

    /// When a server stored what was said last in a conversation; milliseconds since 1970 UTC, 0
    /// where nothing was said.
    pub(crate) fn last_said_ms(
        &self,
        keep: Keep,
        conversation: &ConversationId,
    ) -> Result<u64, HistoryError> {
        let mut statement = self.connection().prepare_cached(&on(
            keep,
            "SELECT coalesce((SELECT stored_at_ms FROM @.message WHERE conversation = ?1
                              ORDER BY seq DESC LIMIT 1), 0)",
        ))?;
        Ok(statement.query_row([conversation.as_bytes()], |row| row.get(0))?)
    }

    /// How many people a message has reached, on whatever device.
    pub(crate) fn reached(
        &self,
        keep: Keep,
        conversation: &ConversationId,
        seq: u64,
    ) -> Result<Reached, HistoryError> {
        let mut statement = self.connection().prepare_cached(&on(
            keep,
            "SELECT count(DISTINCT account),
                    count(DISTINCT CASE WHEN read >= ?2 THEN account END)
             FROM @.reader AS told
             WHERE conversation = ?1 AND max(delivered, read) >= ?2 AND NOT EXISTS (
                 SELECT 1 FROM @.reader_hole AS hole
                 WHERE hole.conversation = ?1 AND hole.account = told.account
                   AND hole.device = told.device AND ?2 BETWEEN hole.first AND hole.last)",
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

/// Whose word it is.
#[derive(Clone, Copy)]
pub(crate) struct Reader<'a> {
    pub(crate) conversation: &'a ConversationId,
    pub(crate) account: &'a Username,
    pub(crate) device: &'a DeviceId,
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
