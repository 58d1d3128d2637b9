//! Messages as they came, in log order, and as they were edited last. What is
//! taken back or has disappeared leaves an empty row, by which a repetition
//! is known.

use rusqlite::{OptionalExtension as _, Row, named_params};
use sotto_crypto::Body;
use sotto_crypto::content::MessageRef;
use sotto_protocol::{ClientMessageId, ConversationId, DeviceId, Username};

use super::codec::stored_enum;
use super::shelf::{SHELVES, on};
use super::{History, HistoryError, codec, search};
use crate::engine::api::{Direction, Keep};

/// What became of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It is there.
    There,
    /// Its author or an admin took it back.
    Deleted,
    /// Its time was over.
    Expired,
}

stored_enum!(Fate {
    There = 0,
    Deleted = 1,
    Expired = 2
});

/// A stored message.
#[derive(Debug, Clone, PartialEq, Eq)]
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
    /// As edited last; an empty unknown one once the message is gone.
    pub(crate) body: Body,
    pub(crate) fate: Fate,
    /// The seq of the edit that counts; 0 for none.
    pub(crate) edited_seq: u64,
    pub(crate) mentions_me: bool,
    /// Milliseconds since 1970 UTC, once it was read.
    pub(crate) expires_at_ms: Option<u64>,
}

impl MessageRow {
    /// How others name it.
    pub(crate) const fn reference(&self) -> MessageRef {
        MessageRef {
            device: self.device,
            id: self.client_id,
        }
    }
}

/// What of a conversation was not shown yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Unread {
    pub(crate) messages: u64,
    /// Those among them that speak to the person here by name.
    pub(crate) mentions: u64,
}

/// Seconds after reading at which a message disappears; 0 for never.
pub(crate) fn expires_after_s(body: &Body) -> u32 {
    match body {
        Body::Text(text) => text.expires_after_s,
        Body::Attachment(attachment) => attachment.expires_after_s,
        _ => 0,
    }
}

/// What a message answers.
pub(crate) fn reply_to(body: &Body) -> Option<MessageRef> {
    match body {
        Body::Text(text) => text.reply.as_ref().map(|reply| reply.to),
        Body::Attachment(attachment) => attachment.reply_to,
        _ => None,
    }
}

impl History {
    /// Stores a message; an incoming one counts as not shown, and an outgoing
    /// one as read when it was stored. One that is there already stays.
    pub(crate) fn insert_message(&self, keep: Keep, row: &MessageRow) -> Result<(), HistoryError> {
        let direction = direction_number(row.direction);
        let expires_after_s = expires_after_s(&row.body);
        let expires_at_ms = match row.direction {
            Direction::Outgoing if expires_after_s > 0 => {
                Some(row.stored_at_ms + u64::from(expires_after_s) * 1000)
            }
            _ => None,
        };
        let reply = reply_to(&row.body);
        let mut statement = self.connection().prepare_cached(&on(
            keep,
            "INSERT OR IGNORE INTO @.message (conversation, seq, client_id, sender, device, epoch,
                 direction, sent_at_ms, stored_at_ms, content, shown, mentions_me, reply_device,
                 reply_id, expires_after_s, expires_at_ms, indexed)
             VALUES (:conversation, :seq, :id, :sender, :device, :epoch, :direction, :sent,
                 :stored, :content, :direction, :mentions_me, :reply_device, :reply_id,
                 :expires_after, :expires_at, 1)",
        ))?;
        let inserted = statement.execute(named_params! {
            ":conversation": row.conversation.as_bytes(),
            ":seq": row.seq,
            ":id": row.client_id.as_bytes(),
            ":sender": row.sender.as_str(),
            ":device": row.device.as_bytes(),
            ":epoch": row.epoch,
            ":direction": direction,
            ":sent": row.sent_at_ms,
            ":stored": row.stored_at_ms,
            ":content": encode(&row.body)?,
            ":mentions_me": row.mentions_me,
            ":reply_device": reply.as_ref().map(|to| to.device.as_bytes()),
            ":reply_id": reply.as_ref().map(|to| to.id.as_bytes()),
            ":expires_after": expires_after_s,
            ":expires_at": expires_at_ms,
        })?;
        if inserted == 1 {
            let place = self.connection().last_insert_rowid();
            self.index(keep, place, &search::words_of(&row.body))?;
        }
        Ok(())
    }

    /// Whether a message of a device is there already, or was.
    pub(crate) fn message_seq(
        &self,
        conversation: &ConversationId,
        device: &DeviceId,
        client_id: &ClientMessageId,
    ) -> Result<Option<u64>, HistoryError> {
        let reference = MessageRef {
            device: *device,
            id: *client_id,
        };
        for keep in SHELVES {
            if let Some(row) = self.message(keep, conversation, &reference)? {
                return Ok(Some(row.seq));
            }
        }
        Ok(None)
    }

    /// A message by its name.
    pub(crate) fn message(
        &self,
        keep: Keep,
        conversation: &ConversationId,
        reference: &MessageRef,
    ) -> Result<Option<MessageRow>, HistoryError> {
        let mut statement = self.connection().prepare_cached(&on(
            keep,
            "SELECT * FROM @.message WHERE conversation = ?1 AND device = ?2 AND client_id = ?3",
        ))?;
        let key = (
            conversation.as_bytes(),
            reference.device.as_bytes(),
            reference.id.as_bytes(),
        );
        statement
            .query_row(key, |row| Ok(read(row)))
            .optional()?
            .transpose()
    }

    /// A message by its place in the log.
    pub(crate) fn message_at(
        &self,
        keep: Keep,
        conversation: &ConversationId,
        seq: u64,
    ) -> Result<Option<MessageRow>, HistoryError> {
        let mut statement = self.connection().prepare_cached(&on(
            keep,
            "SELECT * FROM @.message WHERE conversation = ?1 AND seq = ?2",
        ))?;
        statement
            .query_row((conversation.as_bytes(), seq), |row| Ok(read(row)))
            .optional()?
            .transpose()
    }

    /// Messages of any conversation whose id lies between two, both inclusive;
    /// at most `limit`. Those that are gone do not count.
    pub(crate) fn messages_between(
        &self,
        low: &[u8; 16],
        high: &[u8; 16],
        limit: u32,
    ) -> Result<Vec<(Keep, MessageRow)>, HistoryError> {
        let mut found = Vec::new();
        for keep in SHELVES {
            let mut statement = self.connection().prepare_cached(&on(
                keep,
                "SELECT * FROM @.message WHERE client_id BETWEEN ?1 AND ?2 AND fate = 0
                 ORDER BY place LIMIT ?3",
            ))?;
            let rows = statement.query_map((low, high, limit), |row| Ok(read(row)))?;
            for row in rows {
                found.push((keep, row??));
            }
        }
        Ok(found)
    }

    /// The conversation and seq of an own message that was sent before.
    pub(crate) fn sent_message(
        &self,
        device: &DeviceId,
        client_id: &ClientMessageId,
    ) -> Result<Option<(ConversationId, u64)>, HistoryError> {
        for keep in SHELVES {
            let mut statement = self.connection().prepare_cached(&on(
                keep,
                "SELECT conversation, seq FROM @.message WHERE device = ?1 AND client_id = ?2
                     AND conversation IN (SELECT id FROM main.conversation)",
            ))?;
            let found = statement
                .query_row((device.as_bytes(), client_id.as_bytes()), |row| {
                    Ok((ConversationId::from_bytes(row.get(0)?), row.get(1)?))
                })
                .optional()?;
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }

    /// The last messages of a conversation, oldest first, without those that
    /// have disappeared.
    pub(crate) fn last_messages(
        &self,
        keep: Keep,
        conversation: &ConversationId,
        last: u32,
    ) -> Result<Vec<MessageRow>, HistoryError> {
        let mut statement = self.connection().prepare_cached(&on(
            keep,
            "SELECT * FROM (SELECT * FROM @.message WHERE conversation = ?1 AND fate <> 2
                 ORDER BY seq DESC LIMIT ?2) ORDER BY seq",
        ))?;
        let rows = statement.query_map((conversation.as_bytes(), last), |row| Ok(read(row)))?;
        rows.map(|row| row?).collect()
    }

    /// Messages of a conversation after a place, oldest first, at most `limit`.
    pub(crate) fn messages_after(
        &self,
        keep: Keep,
        conversation: &ConversationId,
        after: u64,
        limit: u32,
    ) -> Result<Vec<MessageRow>, HistoryError> {
        let mut statement = self.connection().prepare_cached(&on(
            keep,
            "SELECT * FROM @.message WHERE conversation = ?1 AND seq > ?2 AND fate <> 2
             ORDER BY seq LIMIT ?3",
        ))?;
        let key = (conversation.as_bytes(), after, limit);
        let rows = statement.query_map(key, |row| Ok(read(row)))?;
        rows.map(|row| row?).collect()
    }

    /// Messages of a conversation before a place, oldest first: the last `limit` of them.
    pub(crate) fn messages_before(
        &self,
        keep: Keep,
        conversation: &ConversationId,
        before: u64,
        limit: u32,
    ) -> Result<Vec<MessageRow>, HistoryError> {
        let mut statement = self.connection().prepare_cached(&on(
            keep,
            "SELECT * FROM (SELECT * FROM @.message WHERE conversation = ?1 AND seq < ?2
                 AND fate <> 2 ORDER BY seq DESC LIMIT ?3) ORDER BY seq",
        ))?;
        let before = i64::try_from(before).unwrap_or(i64::MAX);
        let key = (conversation.as_bytes(), before, limit);
        let rows = statement.query_map(key, |row| Ok(read(row)))?;
        rows.map(|row| row?).collect()
    }

    /// Messages that no interface showed yet, oldest first, at most `limit`, after a place.
    pub(crate) fn unshown(
        &self,
        after: (ConversationId, u64),
        limit: u32,
    ) -> Result<Vec<MessageRow>, HistoryError> {
        let mut statement = self.connection().prepare_cached(
            "SELECT * FROM main.message WHERE shown = 0 AND (conversation, seq) > (?1, ?2)
             ORDER BY conversation, seq LIMIT ?3",
        )?;
        let rows =
            statement.query_map((after.0.as_bytes(), after.1, limit), |row| Ok(read(row)))?;
        rows.map(|row| row?).collect()
    }

    /// Notes that a message was shown; its timer, if it has one, runs from now.
    pub(crate) fn mark_shown(
        &self,
        conversation: &ConversationId,
        seq: u64,
        now_ms: u64,
    ) -> Result<(), HistoryError> {
        for keep in SHELVES {
            let mut statement = self.connection().prepare_cached(&on(
                keep,
                "UPDATE @.message SET shown = 1, expires_at_ms = CASE
                     WHEN expires_after_s > 0 AND fate = 0 AND expires_at_ms IS NULL
                     THEN ?3 + expires_after_s * 1000 ELSE expires_at_ms END
                 WHERE conversation = ?1 AND seq = ?2",
            ))?;
            statement.execute((conversation.as_bytes(), seq, now_ms))?;
        }
        Ok(())
    }

    /// Notes that everything of others up to a place was shown; the last of it that was not yet.
    pub(crate) fn mark_shown_up_to(
        &self,
        keep: Keep,
        conversation: &ConversationId,
        seq: u64,
        now_ms: u64,
    ) -> Result<Option<u64>, HistoryError> {
        let seq = i64::try_from(seq).unwrap_or(i64::MAX);
        let mut statement = self.connection().prepare_cached(&on(
            keep,
            "SELECT max(seq) FROM @.message WHERE conversation = ?1 AND shown = 0 AND seq <= ?2",
        ))?;
        let last: Option<u64> =
            statement.query_row((conversation.as_bytes(), seq), |row| row.get(0))?;
        if last.is_some() {
            let mut statement = self.connection().prepare_cached(&on(
                keep,
                "UPDATE @.message SET shown = 1, expires_at_ms = CASE
                     WHEN expires_after_s > 0 AND fate = 0 AND expires_at_ms IS NULL
                     THEN ?3 + expires_after_s * 1000 ELSE expires_at_ms END
                 WHERE conversation = ?1 AND shown = 0 AND seq <= ?2",
            ))?;
            statement.execute((conversation.as_bytes(), seq, now_ms))?;
        }
        Ok(last)
    }

    /// The first message of a conversation that was not shown yet.
    pub(crate) fn first_unshown(
        &self,
        keep: Keep,
        conversation: &ConversationId,
    ) -> Result<Option<u64>, HistoryError> {
        let mut statement = self.connection().prepare_cached(&on(
            keep,
            "SELECT min(seq) FROM @.message WHERE conversation = ?1 AND shown = 0",
        ))?;
        Ok(statement.query_row([conversation.as_bytes()], |row| row.get(0))?)
    }

    /// How much of a conversation was not shown yet.
    pub(crate) fn unread(
        &self,
        keep: Keep,
        conversation: &ConversationId,
    ) -> Result<Unread, HistoryError> {
        let mut statement = self.connection().prepare_cached(&on(
            keep,
            "SELECT count(*), coalesce(sum(mentions_me), 0) FROM @.message
             WHERE conversation = ?1 AND shown = 0",
        ))?;
        Ok(statement.query_row([conversation.as_bytes()], |row| {
            Ok(Unread {
                messages: row.get(0)?,
                mentions: row.get(1)?,
            })
        })?)
    }

    /// The last own message of a conversation; 0 for none.
    pub(crate) fn last_own_seq(
        &self,
        keep: Keep,
        conversation: &ConversationId,
    ) -> Result<u64, HistoryError> {
        let mut statement = self.connection().prepare_cached(&on(
            keep,
            "SELECT coalesce(max(seq), 0) FROM @.message WHERE conversation = ?1 AND direction = 1",
        ))?;
        Ok(statement.query_row([conversation.as_bytes()], |row| row.get(0))?)
    }

    /// Puts an edited body in the place of the former one, of which nothing stays.
    pub(crate) fn replace_body(
        &self,
        keep: Keep,
        row: &MessageRow,
        mentions_me: Mentioned,
    ) -> Result<(), HistoryError> {
        let place = self.place(keep, &row.conversation, row.seq)?;
        self.connection().execute(
            &on(
                keep,
                "UPDATE @.message SET content = ?2, edited_seq = ?3, mentions_me = ?4
                 WHERE place = ?1",
            ),
            (
                place,
                encode(&row.body)?,
                row.edited_seq,
                mentions_me == Mentioned::Yes,
            ),
        )?;
        self.unindex(keep, place)?;
        self.index(keep, place, &search::words_of(&row.body))
    }

    /// Empties a message: its content, its words in the index, quotations of
    /// it, reactions, pins and changes that wait for it are gone.
    pub(crate) fn empty_message(
        &self,
        keep: Keep,
        row: &MessageRow,
        fate: Fate,
    ) -> Result<(), HistoryError> {
        let place = self.place(keep, &row.conversation, row.seq)?;
        self.connection().execute(
            &on(
                keep,
                "UPDATE @.message SET content = x'', text = NULL, shown = 1, fate = ?2,
                     edited_seq = 0, mentions_me = 0, reply_device = NULL, reply_id = NULL,
                     expires_at_ms = NULL WHERE place = ?1",
            ),
            (place, fate.number()),
        )?;
        self.unindex(keep, place)?;
        self.forget_about(keep, &row.conversation, &row.reference())?;
        self.unquote(keep, &row.conversation, &row.reference())
    }

    /// Takes the quotation of a message out of what answers it.
    fn unquote(
        &self,
        keep: Keep,
        conversation: &ConversationId,
        target: &MessageRef,
    ) -> Result<(), HistoryError> {
        let mut statement = self.connection().prepare_cached(&on(
            keep,
            "SELECT * FROM @.message WHERE conversation = ?1 AND reply_id = ?2
                 AND reply_device = ?3",
        ))?;
        let key = (
            conversation.as_bytes(),
            target.id.as_bytes(),
            target.device.as_bytes(),
        );
        let rows = statement.query_map(key, |row| Ok(read(row)))?;
        let answers: Vec<MessageRow> = rows.map(|row| row?).collect::<Result<_, _>>()?;
        for mut answer in answers {
            if let Body::Text(text) = &mut answer.body
                && let Some(reply) = &mut text.reply
            {
                reply.quote.clear();
                let content = encode(&answer.body)?;
                self.connection().execute(
                    &on(
                        keep,
                        "UPDATE @.message SET content = ?3 WHERE conversation = ?1 AND seq = ?2",
                    ),
                    (conversation.as_bytes(), answer.seq, content),
                )?;
            }
        }
        Ok(())
    }

    /// Messages whose time is over, at most `limit`.
    pub(crate) fn expired(
        &self,
        now_ms: u64,
        limit: u32,
    ) -> Result<Vec<(Keep, MessageRow)>, HistoryError> {
        let mut found = Vec::new();
        for keep in SHELVES {
            let mut statement = self.connection().prepare_cached(&on(
                keep,
                "SELECT * FROM @.message WHERE expires_at_ms <= ?1 AND fate = 0
                 ORDER BY expires_at_ms LIMIT ?2",
            ))?;
            let rows = statement.query_map((now_ms, limit), |row| Ok(read(row)))?;
            for row in rows {
                found.push((keep, row??));
            }
        }
        Ok(found)
    }

    /// When the next message disappears; milliseconds since 1970 UTC.
    pub(crate) fn next_expiry(&self) -> Result<Option<u64>, HistoryError> {
        let mut statement = self.connection().prepare_cached(
            "SELECT min(expires_at_ms) FROM (
                 SELECT min(expires_at_ms) AS expires_at_ms FROM main.message
                     WHERE expires_at_ms IS NOT NULL
                 UNION ALL SELECT min(expires_at_ms) FROM unsaved.message
                     WHERE expires_at_ms IS NOT NULL)",
        )?;
        Ok(statement.query_row([], |row| row.get(0))?)
    }

    fn place(
        &self,
        keep: Keep,
        conversation: &ConversationId,
        seq: u64,
    ) -> Result<i64, HistoryError> {
        let mut statement = self.connection().prepare_cached(&on(
            keep,
            "SELECT place FROM @.message WHERE conversation = ?1 AND seq = ?2",
        ))?;
        Ok(statement.query_row((conversation.as_bytes(), seq), |row| row.get(0))?)
    }
}

/// Whether a message speaks to the person here by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mentioned {
    Yes,
    No,
}

pub(super) fn direction_number(direction: Direction) -> i64 {
    match direction {
        Direction::Incoming => 0,
        Direction::Outgoing => 1,
    }
}

pub(super) fn read_direction(row: &Row<'_>) -> Result<Direction, HistoryError> {
    match row.get::<_, i64>("direction")? {
        0 => Ok(Direction::Incoming),
        1 => Ok(Direction::Outgoing),
        _ => Err(HistoryError::Invalid("direction")),
    }
}

pub(super) fn encode(body: &Body) -> Result<Vec<u8>, HistoryError> {
    body.to_bytes().map_err(|_| HistoryError::Invalid("body"))
}

pub(super) fn read(row: &Row<'_>) -> Result<MessageRow, HistoryError> {
    let content: Vec<u8> = row.get("content")?;
    let text: Option<String> = row.get("text")?;
    let body = match text {
        Some(text) => Body::text(text),
        None => Body::from_bytes(&content).map_err(|_| HistoryError::Invalid("content"))?,
    };
    Ok(MessageRow {
        conversation: codec::conversation(row, "conversation")?,
        seq: row.get("seq")?,
        client_id: codec::client_id(row, "client_id")?,
        sender: codec::name(row, "sender")?,
        device: codec::device(row, "device")?,
        epoch: row.get("epoch")?,
        direction: read_direction(row)?,
        sent_at_ms: row.get("sent_at_ms")?,
        stored_at_ms: row.get("stored_at_ms")?,
        body,
        fate: Fate::from_number(row.get("fate")?)?,
        edited_seq: row.get("edited_seq")?,
        mentions_me: row.get("mentions_me")?,
        expires_at_ms: row.get("expires_at_ms")?,
    })
}
