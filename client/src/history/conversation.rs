//! Conversations and where this device stands in each.

use rusqlite::{OptionalExtension as _, Row, named_params};
use sotto_protocol::{ClientMessageId, ConversationId, DeviceId};

use super::codec::stored_enum;
use super::{History, HistoryError, codec};
use crate::engine::api::Keep;
use crate::talk::Talk;

/// Whether a conversation can be written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ConversationState {
    /// Its first commit is on its way; there is a pending commit.
    Creating,
    /// The group is usable.
    Active,
    /// An external commit is on its way; there is a pending commit.
    Rejoining,
    /// There is no usable group; recovery is due.
    Broken,
    /// This account left a group or was put out; what was said stays readable.
    Ended,
}

stored_enum!(ConversationState {
    Creating = 0,
    Active = 1,
    Rejoining = 2,
    Broken = 3,
    Ended = 4
});

/// From where senders' counters must be complete.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Baseline {
    /// This device is in the conversation from its first message.
    FromStart,
    /// It came in later: the first counter seen of a device is taken as it is.
    FirstSeen,
}

stored_enum!(Baseline {
    FromStart = 0,
    FirstSeen = 1
});

/// A conversation as stored.
#[derive(Clone)]
pub(crate) struct ConversationRow {
    pub(crate) id: ConversationId,
    pub(crate) talk: Talk,
    /// A group's title as an admin wrote it last, if it is known here.
    pub(crate) title: Option<String>,
    pub(crate) generation: u32,
    pub(crate) state: ConversationState,
    pub(crate) keep: Keep,
    pub(crate) baseline: Baseline,
    /// The last entry of the log that is processed here.
    pub(crate) cursor: u64,
    /// SHA-256 of the last merged commit; empty before the first.
    pub(crate) last_commit: Vec<u8>,
    /// The counter of the last message that this device sealed.
    pub(crate) own_counter: u64,
    /// Own messages since the last self-update.
    pub(crate) own_since_update: u64,
    /// When a self-update is due at the latest; milliseconds since 1970 UTC.
    pub(crate) update_due_ms: u64,
    pub(crate) updated_at_ms: u64,
}

fn keep_number(keep: Keep) -> i64 {
    match keep {
        Keep::Saved => 0,
        Keep::Unsaved => 1,
    }
}

impl History {
    /// A conversation by id.
    pub(crate) fn conversation(
        &self,
        id: &ConversationId,
    ) -> Result<Option<ConversationRow>, HistoryError> {
        let mut statement = self
            .connection()
            .prepare_cached("SELECT * FROM conversation WHERE id = ?1")?;
        statement
            .query_row([id.as_bytes()], |row| Ok(read(row)))
            .optional()?
            .transpose()
    }

    /// The conversation with a person, or a group's.
    pub(crate) fn conversation_with(
        &self,
        talk: &Talk,
    ) -> Result<Option<ConversationRow>, HistoryError> {
        let mut statement = self
            .connection()
            .prepare_cached("SELECT * FROM conversation WHERE talk = ?1")?;
        statement
            .query_row([talk.to_string()], |row| Ok(read(row)))
            .optional()?
            .transpose()
    }

    /// All conversations, the latest active first.
    pub(crate) fn conversations(&self) -> Result<Vec<ConversationRow>, HistoryError> {
        let mut statement = self
            .connection()
            .prepare_cached("SELECT * FROM conversation ORDER BY updated_at_ms DESC, id")?;
        let rows = statement.query_map([], |row| Ok(read(row)))?;
        rows.map(|row| row?).collect()
    }

    /// Stores a conversation as given, new or known; the title of a known one stays.
    pub(crate) fn put_conversation(&self, row: &ConversationRow) -> Result<(), HistoryError> {
        let mut statement = self.connection().prepare_cached(
            "INSERT INTO conversation (id, talk, title, generation, state, keep, baseline, cursor,
                 last_commit, own_counter, own_since_update, update_due_ms, updated_at_ms)
             VALUES (:id, :talk, :title, :generation, :state, :keep, :baseline, :cursor, :last_commit,
                 :own_counter, :own_since_update, :update_due, :updated_at)
             ON CONFLICT (id) DO UPDATE SET generation = :generation, state = :state, keep = :keep,
                 baseline = :baseline, cursor = :cursor, last_commit = :last_commit,
                 own_counter = :own_counter, own_since_update = :own_since_update,
                 update_due_ms = :update_due, updated_at_ms = :updated_at",
        )?;
        statement.execute(named_params! {
            ":id": row.id.as_bytes(),
            ":talk": row.talk.to_string(),
            ":title": row.title,
            ":generation": row.generation,
            ":state": row.state.number(),
            ":keep": keep_number(row.keep),
            ":baseline": row.baseline.number(),
            ":cursor": row.cursor,
            ":last_commit": row.last_commit,
            ":own_counter": row.own_counter,
            ":own_since_update": row.own_since_update,
            ":update_due": row.update_due_ms,
            ":updated_at": row.updated_at_ms,
        })?;
        Ok(())
    }

    /// Notes a group's title.
    pub(crate) fn set_title(
        &self,
        id: &ConversationId,
        title: Option<&str>,
    ) -> Result<(), HistoryError> {
        self.connection().execute(
            "UPDATE conversation SET title = ?2 WHERE id = ?1",
            (id.as_bytes(), title),
        )?;
        Ok(())
    }

    /// The groups that can be written in and in which somebody said that they leave.
    pub(crate) fn groups_with_leavers(&self) -> Result<Vec<ConversationRow>, HistoryError> {
        let mut statement = self.connection().prepare_cached(
            "SELECT * FROM conversation WHERE state = 1 AND id IN
                 (SELECT conversation FROM group_member WHERE leaving = 1)",
        )?;
        let rows = statement.query_map([], |row| Ok(read(row)))?;
        rows.map(|row| row?).collect()
    }

    /// Removes a conversation that never came to be, or that was turned away.
    pub(crate) fn delete_conversation(&self, id: &ConversationId) -> Result<(), HistoryError> {
        self.connection()
            .execute("DELETE FROM conversation WHERE id = ?1", [id.as_bytes()])?;
        Ok(())
    }

    /// The last counter seen of a device in a conversation.
    pub(crate) fn sender_counter(
        &self,
        conversation: &ConversationId,
        device: &DeviceId,
    ) -> Result<Option<u64>, HistoryError> {
        let mut statement = self.connection().prepare_cached(
            "SELECT counter FROM sender_counter WHERE conversation = ?1 AND device = ?2",
        )?;
        Ok(statement
            .query_row((conversation.as_bytes(), device.as_bytes()), |row| {
                row.get(0)
            })
            .optional()?)
    }

    /// Notes the last counter seen of a device.
    pub(crate) fn set_sender_counter(
        &self,
        conversation: &ConversationId,
        device: &DeviceId,
        counter: u64,
    ) -> Result<(), HistoryError> {
        let mut statement = self.connection().prepare_cached(
            "INSERT INTO sender_counter (conversation, device, counter) VALUES (?1, ?2, ?3)
             ON CONFLICT (conversation, device) DO UPDATE SET counter = ?3",
        )?;
        statement.execute((conversation.as_bytes(), device.as_bytes(), counter))?;
        Ok(())
    }

    /// Forgets the counter of a device that begins anew.
    pub(crate) fn forget_sender_counter(
        &self,
        conversation: &ConversationId,
        device: &DeviceId,
    ) -> Result<(), HistoryError> {
        self.connection().execute(
            "DELETE FROM sender_counter WHERE conversation = ?1 AND device = ?2",
            (conversation.as_bytes(), device.as_bytes()),
        )?;
        Ok(())
    }

    /// Forgets the counters of all devices: a hole in the log was told already.
    pub(crate) fn forget_sender_counters(
        &self,
        conversation: &ConversationId,
    ) -> Result<(), HistoryError> {
        self.connection().execute(
            "DELETE FROM sender_counter WHERE conversation = ?1",
            [conversation.as_bytes()],
        )?;
        Ok(())
    }

    /// Whose conversation needs work: it is being made, entered or repaired.
    pub(crate) fn unsettled_talks(&self) -> Result<Vec<Talk>, HistoryError> {
        let mut statement = self.connection().prepare_cached(
            "SELECT talk FROM conversation WHERE state NOT IN (1, 4) ORDER BY talk",
        )?;
        let rows = statement.query_map([], |row| Ok(codec::talk(row, "talk")))?;
        rows.map(|row| row?).collect()
    }

    /// Whose conversation has an own commit on its way or an update due.
    pub(crate) fn update_due_talks(&self, now_ms: u64) -> Result<Vec<Talk>, HistoryError> {
        let mut statement = self.connection().prepare_cached(
            "SELECT talk FROM conversation WHERE state = 1 AND (update_due_ms <= ?1
                 OR id IN (SELECT conversation FROM pending_commit)) ORDER BY talk",
        )?;
        let rows = statement.query_map([now_ms], |row| Ok(codec::talk(row, "talk")))?;
        rows.map(|row| row?).collect()
    }

    /// Notes that entries are missing: of a device by its counter, or of the log by seq.
    pub(crate) fn insert_gap(
        &self,
        conversation: &ConversationId,
        device: Option<&DeviceId>,
        (first, missing): (u64, u64),
        seen_at_ms: u64,
    ) -> Result<(), HistoryError> {
        self.connection().execute(
            "INSERT INTO gap (conversation, device, first, missing, seen_at_ms)
             VALUES (?1, ?2, ?3, ?4, ?5)",
            (
                conversation.as_bytes(),
                device.map(DeviceId::as_bytes),
                first,
                missing,
                seen_at_ms,
            ),
        )?;
        Ok(())
    }

    /// Notes that the server stored an own entry.
    pub(crate) fn insert_own_sent(
        &self,
        conversation: &ConversationId,
        client_id: &ClientMessageId,
        seq: u64,
    ) -> Result<(), HistoryError> {
        let mut statement = self.connection().prepare_cached(
            "INSERT OR IGNORE INTO own_sent (conversation, client_id, seq) VALUES (?1, ?2, ?3)",
        )?;
        statement.execute((conversation.as_bytes(), client_id.as_bytes(), seq))?;
        Ok(())
    }

    /// Whether an own entry of the log is known; forgets it, for the log shows it once.
    pub(crate) fn take_own_sent(
        &self,
        conversation: &ConversationId,
        client_id: &ClientMessageId,
    ) -> Result<OwnEntry, HistoryError> {
        let mut statement = self
            .connection()
            .prepare_cached("DELETE FROM own_sent WHERE conversation = ?1 AND client_id = ?2")?;
        Ok(
            match statement.execute((conversation.as_bytes(), client_id.as_bytes()))? {
                0 => OwnEntry::Unknown,
                _ => OwnEntry::Known,
            },
        )
    }
}

/// Whether this device remembers having sent something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OwnEntry {
    /// It does.
    Known,
    /// It does not: a copy of this device did, or the store is older than it should be.
    Unknown,
}

fn read(row: &Row<'_>) -> Result<ConversationRow, HistoryError> {
    Ok(ConversationRow {
        id: codec::conversation(row, "id")?,
        talk: codec::talk(row, "talk")?,
        title: row.get("title")?,
        generation: row.get("generation")?,
        state: ConversationState::from_number(row.get("state")?)?,
        keep: match row.get::<_, i64>("keep")? {
            0 => Keep::Saved,
            1 => Keep::Unsaved,
            _ => return Err(HistoryError::Invalid("keep")),
        },
        baseline: Baseline::from_number(row.get("baseline")?)?,
        cursor: row.get("cursor")?,
        last_commit: row.get("last_commit")?,
        own_counter: row.get("own_counter")?,
        own_since_update: row.get("own_since_update")?,
        update_due_ms: row.get("update_due_ms")?,
        updated_at_ms: row.get("updated_at_ms")?,
    })
}
