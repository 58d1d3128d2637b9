//! Messages as they came, in log order.

use rusqlite::{OptionalExtension as _, Row, named_params};
use sotto_protocol::{ClientMessageId, ConversationId, DeviceId, Username};

use super::{History, HistoryError, codec};
use crate::engine::api::Direction;

/// A stored message.
#[derive(Clone)]
pub(crate) struct MessageRow {
    pub(crate) conversation: ConversationId,
    pub(crate) seq: u64,
    pub(crate) client_id: ClientMessageId,
    pub(crate) sender: Username,
    pub(crate) device: DeviceId,
    pub(crate) epoch: u64,
    pub(crate) direction: Direction,
    pub(crate) sent_at_ms: u64,
    pub(crate) stored_at_ms: u64,
    /// The encoded content without padding.
    pub(crate) content: Vec<u8>,
    /// Absent for a kind that this version does not know.
    pub(crate) text: Option<String>,
}

impl History {
    /// Stores a message; an incoming one counts as not shown. One that is there already stays.
    pub(crate) fn insert_message(&self, row: &MessageRow) -> Result<(), HistoryError> {
        let direction = match row.direction {
            Direction::Incoming => 0,
            Direction::Outgoing => 1,
        };
        let mut statement = self.connection().prepare_cached(
            "INSERT OR IGNORE INTO message (conversation, seq, client_id, sender, device, epoch,
                 direction, sent_at_ms, stored_at_ms, content, text, shown)
             VALUES (:conversation, :seq, :id, :sender, :device, :epoch, :direction, :sent,
                 :stored, :content, :text, :direction)",
        )?;
        statement.execute(named_params! {
            ":conversation": row.conversation.as_bytes(),
            ":seq": row.seq,
            ":id": row.client_id.as_bytes(),
            ":sender": row.sender.as_str(),
            ":device": row.device.as_bytes(),
            ":epoch": row.epoch,
            ":direction": direction,
            ":sent": row.sent_at_ms,
            ":stored": row.stored_at_ms,
            ":content": row.content,
            ":text": row.text,
        })?;
        Ok(())
    }

    /// Whether a message of a device is there already.
    pub(crate) fn message_seq(
        &self,
        conversation: &ConversationId,
        device: &DeviceId,
        client_id: &ClientMessageId,
    ) -> Result<Option<u64>, HistoryError> {
        let mut statement = self.connection().prepare_cached(
            "SELECT seq FROM message WHERE conversation = ?1 AND device = ?2 AND client_id = ?3",
        )?;
        Ok(statement
            .query_row(
                (
                    conversation.as_bytes(),
                    device.as_bytes(),
                    client_id.as_bytes(),
                ),
                |row| row.get(0),
            )
            .optional()?)
    }

    /// The conversation and seq of an own message that was sent before.
    pub(crate) fn sent_message(
        &self,
        device: &DeviceId,
        client_id: &ClientMessageId,
    ) -> Result<Option<(ConversationId, u64)>, HistoryError> {
        let mut statement = self.connection().prepare_cached(
            "SELECT conversation, seq FROM message WHERE device = ?1 AND client_id = ?2
                 AND conversation IN (SELECT id FROM conversation)",
        )?;
        Ok(statement
            .query_row((device.as_bytes(), client_id.as_bytes()), |row| {
                Ok((ConversationId::from_bytes(row.get(0)?), row.get(1)?))
            })
            .optional()?)
    }

    /// The last messages of a conversation, oldest first.
    pub(crate) fn last_messages(
        &self,
        conversation: &ConversationId,
        last: u32,
    ) -> Result<Vec<MessageRow>, HistoryError> {
        let mut statement = self.connection().prepare_cached(
            "SELECT * FROM (SELECT * FROM message WHERE conversation = ?1
                 ORDER BY seq DESC LIMIT ?2) ORDER BY seq",
        )?;
        let rows = statement.query_map((conversation.as_bytes(), last), |row| Ok(read(row)))?;
        rows.map(|row| row?).collect()
    }

    /// Messages that no interface showed yet, oldest first, at most `limit`, after a place.
    pub(crate) fn unshown(
        &self,
        after: (ConversationId, u64),
        limit: u32,
    ) -> Result<Vec<MessageRow>, HistoryError> {
        let mut statement = self.connection().prepare_cached(
            "SELECT * FROM message WHERE shown = 0 AND (conversation, seq) > (?1, ?2)
             ORDER BY conversation, seq LIMIT ?3",
        )?;
        let rows =
            statement.query_map((after.0.as_bytes(), after.1, limit), |row| Ok(read(row)))?;
        rows.map(|row| row?).collect()
    }

    /// Notes that messages were shown.
    pub(crate) fn mark_shown(
        &self,
        conversation: &ConversationId,
        seq: u64,
    ) -> Result<(), HistoryError> {
        let mut statement = self
            .connection()
            .prepare_cached("UPDATE message SET shown = 1 WHERE conversation = ?1 AND seq = ?2")?;
        statement.execute((conversation.as_bytes(), seq))?;
        Ok(())
    }
}

fn read(row: &Row<'_>) -> Result<MessageRow, HistoryError> {
    Ok(MessageRow {
        conversation: codec::conversation(row, "conversation")?,
        seq: row.get("seq")?,
        client_id: codec::client_id(row, "client_id")?,
        sender: codec::name(row, "sender")?,
        device: codec::device(row, "device")?,
        epoch: row.get("epoch")?,
        direction: match row.get::<_, i64>("direction")? {
            0 => Direction::Incoming,
            1 => Direction::Outgoing,
            _ => return Err(HistoryError::Invalid("direction")),
        },
        sent_at_ms: row.get("sent_at_ms")?,
        stored_at_ms: row.get("stored_at_ms")?,
        content: row.get("content")?,
        text: row.get("text")?,
    })
}
