//! What others do to messages: edits, deletions, reactions, pins, timers.
//! Whatever the order in which they become known, the place in the log
//! decides: the latest counts.
//!
//! It judges nobody: who may do what, the engine says.

use rusqlite::{OptionalExtension as _, Row, named_params};
use sotto_crypto::Body;
use sotto_crypto::content::{Emoji, MessageRef};
use sotto_protocol::{ClientMessageId, ConversationId, DeviceId, Username};

use super::message::{self, MessageRow, direction_number, encode, read_direction};
use super::shelf::on;
use super::{History, HistoryError, codec};
use crate::engine::api::{Direction, Keep};

/// Changes of one conversation that wait for messages that are not here.
const WAITING_MAX: u32 = 1_000;

/// A change as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ChangeRow {
    pub(crate) conversation: ConversationId,
    pub(crate) seq: u64,
    pub(crate) client_id: ClientMessageId,
    pub(crate) sender: Username,
    pub(crate) device: DeviceId,
    pub(crate) direction: Direction,
    pub(crate) sent_at_ms: u64,
    pub(crate) stored_at_ms: u64,
    pub(crate) body: Body,
    /// Whether the sender was an admin of the group when it was sent.
    pub(crate) by_admin: bool,
    /// Whether its target is not here yet.
    pub(crate) waits: bool,
    /// Whether an interface showed it.
    pub(crate) shown: bool,
}

impl ChangeRow {
    /// The message that it is about, if it is about one.
    pub(crate) const fn target(&self) -> Option<MessageRef> {
        match &self.body {
            Body::Edit(edit) => Some(edit.target),
            Body::Delete(target) => Some(*target),
            Body::Reaction(reaction) => Some(reaction.target),
            Body::Pin(pin) => Some(pin.target),
            _ => None,
        }
    }
}

/// Somebody's standing reaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ReactionRow {
    pub(crate) account: Username,
    pub(crate) emoji: Emoji,
}

/// The word that counts about something, with its place in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    /// It holds.
    On,
    /// It was taken back.
    Off,
}

impl History {
    /// Keeps a change that waits for its target or for an interface.
    pub(crate) fn keep_change(&self, keep: Keep, row: &ChangeRow) -> Result<(), HistoryError> {
        let target = row.target();
        self.connection().execute(
            &on(
                keep,
                "INSERT OR IGNORE INTO @.change (conversation, seq, client_id, sender, device,
                     direction, sent_at_ms, stored_at_ms, target_device, target_id, body, by_admin,
                     waits, shown)
                 VALUES (:conversation, :seq, :id, :sender, :device, :direction, :sent, :stored,
                     :target_device, :target_id, :body, :by_admin, :waits, :shown)",
            ),
            named_params! {
                ":conversation": row.conversation.as_bytes(),
                ":seq": row.seq,
                ":id": row.client_id.as_bytes(),
                ":sender": row.sender.as_str(),
                ":device": row.device.as_bytes(),
                ":direction": direction_number(row.direction),
                ":sent": row.sent_at_ms,
                ":stored": row.stored_at_ms,
                ":target_device": target.as_ref().map(|to| to.device.as_bytes()),
                ":target_id": target.as_ref().map(|to| to.id.as_bytes()),
                ":body": encode(&row.body)?,
                ":by_admin": row.by_admin,
                ":waits": row.waits,
                ":shown": row.shown,
            },
        )?;
        if row.waits {
            self.connection().execute(
                &on(
                    keep,
                    "DELETE FROM @.change WHERE conversation = ?1 AND waits = 1 AND seq NOT IN (
                         SELECT seq FROM @.change WHERE conversation = ?1 AND waits = 1
                         ORDER BY seq DESC LIMIT ?2)",
                ),
                (row.conversation.as_bytes(), WAITING_MAX),
            )?;
        }
        Ok(())
    }

    /// Takes out what waited for a message, in log order.
    pub(crate) fn take_waiting(
        &self,
        keep: Keep,
        conversation: &ConversationId,
        target: &MessageRef,
    ) -> Result<Vec<ChangeRow>, HistoryError> {
        let key = (
            conversation.as_bytes(),
            target.id.as_bytes(),
            target.device.as_bytes(),
        );
        let mut statement = self.connection().prepare_cached(&on(
            keep,
            "SELECT * FROM @.change WHERE conversation = ?1 AND target_id = ?2
                 AND target_device = ?3 AND waits = 1 ORDER BY seq",
        ))?;
        let rows = statement.query_map(key, |row| Ok(read(row)))?;
        let found: Vec<_> = rows.map(|row| row?).collect::<Result<_, _>>()?;
        if !found.is_empty() {
            self.connection().execute(
                &on(
                    keep,
                    "DELETE FROM @.change WHERE conversation = ?1 AND target_id = ?2
                         AND target_device = ?3 AND waits = 1",
                ),
                key,
            )?;
        }
        Ok(found)
    }

    /// Changes on disk that no interface showed yet, in log order, at most `limit`.
    pub(crate) fn unshown_changes(&self, limit: u32) -> Result<Vec<ChangeRow>, HistoryError> {
        let mut statement = self.connection().prepare_cached(
            "SELECT * FROM main.change WHERE shown = 0 AND waits = 0
             ORDER BY conversation, seq LIMIT ?1",
        )?;
        let rows = statement.query_map([limit], |row| Ok(read(row)))?;
        rows.map(|row| row?).collect()
    }

    /// Notes that a change was shown: nothing needs it any more.
    pub(crate) fn change_shown(
        &self,
        conversation: &ConversationId,
        seq: u64,
    ) -> Result<(), HistoryError> {
        self.connection().execute(
            "DELETE FROM main.change WHERE conversation = ?1 AND seq = ?2 AND waits = 0",
            (conversation.as_bytes(), seq),
        )?;
        Ok(())
    }

    /// Forgets everything that is about a message.
    pub(super) fn forget_about(
        &self,
        keep: Keep,
        conversation: &ConversationId,
        target: &MessageRef,
    ) -> Result<(), HistoryError> {
        for table in ["change", "reaction", "pin"] {
            self.connection().execute(
                &on(
                    keep,
                    &format!(
                        "DELETE FROM @.{table} WHERE conversation = ?1 AND target_id = ?2
                             AND target_device = ?3"
                    ),
                ),
                (
                    conversation.as_bytes(),
                    target.id.as_bytes(),
                    target.device.as_bytes(),
                ),
            )?;
        }
        Ok(())
    }

    /// Notes a reaction; an older word about the same emoji changes nothing.
    pub(crate) fn note_reaction(
        &self,
        keep: Keep,
        (conversation, target): (&ConversationId, &MessageRef),
        (account, emoji): (&Username, &Emoji),
        (seq, standing): (u64, Standing),
    ) -> Result<(), HistoryError> {
        let mut statement = self.connection().prepare_cached(&on(
            keep,
            "INSERT INTO @.reaction (conversation, target_device, target_id, account, emoji, seq,
                 removed)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
             ON CONFLICT DO UPDATE SET seq = ?6, removed = ?7 WHERE seq < ?6",
        ))?;
        statement.execute((
            conversation.as_bytes(),
            target.device.as_bytes(),
            target.id.as_bytes(),
            account.as_str(),
            emoji.as_str(),
            seq,
            standing == Standing::Off,
        ))?;
        Ok(())
    }

    /// The reactions to a message that stand, the oldest first.
    pub(crate) fn reactions(
        &self,
        keep: Keep,
        conversation: &ConversationId,
        target: &MessageRef,
    ) -> Result<Vec<ReactionRow>, HistoryError> {
        let mut statement = self.connection().prepare_cached(&on(
            keep,
            "SELECT account, emoji FROM @.reaction WHERE conversation = ?1 AND target_id = ?2
                 AND target_device = ?3 AND removed = 0 ORDER BY seq, account, emoji",
        ))?;
        let key = (
            conversation.as_bytes(),
            target.id.as_bytes(),
            target.device.as_bytes(),
        );
        let rows = statement.query_map(key, |row| {
            let emoji: String = row.get("emoji")?;
            Ok(codec::name(row, "account").and_then(|account| {
                let emoji = Emoji::parse(&emoji).ok_or(HistoryError::Invalid("emoji"))?;
                Ok(ReactionRow { account, emoji })
            }))
        })?;
        rows.map(|row| row?).collect()
    }

    /// Notes a pin or its end; an older word changes nothing.
    pub(crate) fn note_pin(
        &self,
        keep: Keep,
        (conversation, target): (&ConversationId, &MessageRef),
        account: &Username,
        (seq, standing): (u64, Standing),
    ) -> Result<(), HistoryError> {
        let mut statement = self.connection().prepare_cached(&on(
            keep,
            "INSERT INTO @.pin (conversation, target_device, target_id, account, seq, removed)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6)
             ON CONFLICT DO UPDATE SET account = ?4, seq = ?5, removed = ?6 WHERE seq < ?5",
        ))?;
        statement.execute((
            conversation.as_bytes(),
            target.device.as_bytes(),
            target.id.as_bytes(),
            account.as_str(),
            seq,
            standing == Standing::Off,
        ))?;
        Ok(())
    }

    /// Whether a message is pinned.
    pub(crate) fn is_pinned(
        &self,
        keep: Keep,
        conversation: &ConversationId,
        target: &MessageRef,
    ) -> Result<bool, HistoryError> {
        let mut statement = self.connection().prepare_cached(&on(
            keep,
            "SELECT 1 FROM @.pin WHERE conversation = ?1 AND target_id = ?2
                 AND target_device = ?3 AND removed = 0",
        ))?;
        Ok(statement.exists((
            conversation.as_bytes(),
            target.id.as_bytes(),
            target.device.as_bytes(),
        ))?)
    }

    /// Pinned messages of a conversation, the newest first, at most `limit`.
    pub(crate) fn pinned_messages(
        &self,
        keep: Keep,
        conversation: &ConversationId,
        limit: u32,
    ) -> Result<Vec<MessageRow>, HistoryError> {
        let mut statement = self.connection().prepare_cached(&on(
            keep,
            "SELECT message.* FROM @.pin AS pin JOIN @.message AS message
                 ON message.conversation = pin.conversation AND message.device = pin.target_device
                 AND message.client_id = pin.target_id
             WHERE pin.conversation = ?1 AND pin.removed = 0 AND message.fate <> 2
             ORDER BY message.seq DESC LIMIT ?2",
        ))?;
        let rows = statement.query_map((conversation.as_bytes(), limit), |row| {
            Ok(message::read(row))
        })?;
        rows.map(|row| row?).collect()
    }

    /// Notes a conversation's timer; an older word changes nothing.
    pub(crate) fn note_timer(
        &self,
        keep: Keep,
        conversation: &ConversationId,
        account: &Username,
        (seq, expires_after_s): (u64, u32),
    ) -> Result<(), HistoryError> {
        let mut statement = self.connection().prepare_cached(&on(
            keep,
            "INSERT INTO @.timer (conversation, expires_after_s, account, seq)
             VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT DO UPDATE SET expires_after_s = ?2, account = ?3, seq = ?4
                 WHERE seq < ?4",
        ))?;
        statement.execute((
            conversation.as_bytes(),
            expires_after_s,
            account.as_str(),
            seq,
        ))?;
        Ok(())
    }

    /// A conversation's timer in seconds; 0 for none.
    pub(crate) fn timer(
        &self,
        keep: Keep,
        conversation: &ConversationId,
    ) -> Result<u32, HistoryError> {
        let mut statement = self.connection().prepare_cached(&on(
            keep,
            "SELECT expires_after_s FROM @.timer WHERE conversation = ?1",
        ))?;
        let found = statement
            .query_row([conversation.as_bytes()], |row| row.get(0))
            .optional()?;
        Ok(found.unwrap_or(0))
    }
}

fn read(row: &Row<'_>) -> Result<ChangeRow, HistoryError> {
    let body: Vec<u8> = row.get("body")?;
    Ok(ChangeRow {
        conversation: codec::conversation(row, "conversation")?,
        seq: row.get("seq")?,
        client_id: codec::client_id(row, "client_id")?,
        sender: codec::name(row, "sender")?,
        device: codec::device(row, "device")?,
        direction: read_direction(row)?,
        sent_at_ms: row.get("sent_at_ms")?,
        stored_at_ms: row.get("stored_at_ms")?,
        body: Body::from_bytes(&body).map_err(|_| HistoryError::Invalid("body"))?,
        by_admin: row.get("by_admin")?,
        waits: row.get("waits")?,
        shown: row.get("shown")?,
    })
}
