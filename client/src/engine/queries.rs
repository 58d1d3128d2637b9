//! What is stored, for an interface to show without waiting for anybody.

use sotto_protocol::ConversationId;

use super::api::{Asker, Chat, Direction, Event, Keep, Message, Request, WhoAmI};
use super::{Engine, EngineError, Listening};
use crate::history::{ConversationRow, MessageRow, RequestRow};
use crate::talk::Talk;

/// Messages handed over at the beginning of listening.
const UNSHOWN_MAX: u32 = 10_000;

impl Engine {
    /// Who this profile is.
    ///
    /// # Errors
    /// When the local store fails.
    pub fn who_am_i(&self) -> Result<WhoAmI, EngineError> {
        let account = self.store().account()?;
        Ok(WhoAmI {
            username: account.username,
            device: account.device,
            deployment: account.deployment,
            identity_key: *self.profile.identity(),
            state: account.state,
        })
    }

    /// The last messages of a talk, oldest first, and after them what is
    /// queued (with seq 0); what was given up stands where it was written. Empty where nothing was ever written.
    ///
    /// # Errors
    /// When the local store fails.
    pub fn history(&self, talk: &Talk, last: u32) -> Result<Vec<Message>, EngineError> {
        let row = self.store().conversation_with(talk)?;
        let mut messages = match &row {
            Some(row) => self.last_messages(row, last)?,
            None => Vec::new(),
        };
        for unsent in self.unsent_messages(talk, row.as_ref())? {
            // The log's order is the server's; what never got there stands where it was written.
            let place = messages.partition_point(|known| at_ms(known) <= unsent.sent_at_ms);
            messages.insert(place, unsent);
        }
        messages.extend(self.queued_messages(talk, row.as_ref())?);
        let skip = messages.len().saturating_sub(last as usize);
        Ok(messages.split_off(skip))
    }

    fn last_messages(&self, row: &ConversationRow, last: u32) -> Result<Vec<Message>, EngineError> {
        let rows = self.store().last_messages(row.keep, &row.id, last)?;
        rows.into_iter()
            .map(|message| self.to_message(row, message))
            .collect()
    }

    pub(super) fn unsent_messages(
        &self,
        talk: &Talk,
        row: Option<&ConversationRow>,
    ) -> Result<Vec<Message>, EngineError> {
        let mut messages = Vec::new();
        for unsent in self.store().unsent_for(talk)? {
            messages.extend(self.queued_as_message(row, unsent)?);
        }
        Ok(messages)
    }

    pub(super) fn queued_messages(
        &self,
        talk: &Talk,
        row: Option<&ConversationRow>,
    ) -> Result<Vec<Message>, EngineError> {
        let mut messages = Vec::new();
        for queued in self.store().queued_for(talk)? {
            messages.extend(self.queued_as_message(row, queued)?);
        }
        Ok(messages)
    }

    /// All conversations, the latest active first, and talks in which
    /// something is queued without a conversation yet.
    ///
    /// # Errors
    /// When the local store fails.
    pub fn chats(&self) -> Result<Vec<Chat>, EngineError> {
        let rows = self.store().conversations()?;
        let mut chats = Vec::new();
        for talk in self.talks_with_unstored()? {
            if rows.iter().all(|row| row.talk != talk) {
                let queued = self.queued_messages(&talk, None)?;
                let last = self.history(&talk, 1)?.pop();
                chats.push(Chat {
                    unread: 0,
                    mentions: 0,
                    expires_after_s: 0,
                    mute: self.mute_of(&talk)?,
                    draft: self.draft(&talk)?,
                    conversation: None,
                    updated_at_ms: last.as_ref().map_or(0, at_ms),
                    queued: queued.len() as u64,
                    last,
                    keep: Keep::Saved,
                    talk,
                    title: None,
                });
            }
        }
        for row in rows {
            let queued = self.queued_messages(&row.talk, Some(&row))?;
            let stored = self.last_messages(&row, 1)?;
            let (unread, expires_after_s) = self.unread_and_timer(&row)?;
            if queued.is_empty() && stored.is_empty() && self.is_forgotten(&row.talk)? {
                continue;
            }
            chats.push(Chat {
                unread: unread.messages,
                mentions: unread.mentions,
                expires_after_s,
                mute: self.mute_of(&row.talk)?,
                draft: self.draft(&row.talk)?,
                conversation: Some(row.id),
                keep: row.keep,
                queued: queued.len() as u64,
                last: queued
                    .into_iter()
                    .next_back()
                    .or(stored.into_iter().next_back()),
                updated_at_ms: row.updated_at_ms,
                talk: row.talk,
                title: row.title,
            });
        }
        Ok(chats)
    }

    /// The requests that wait for an answer, oldest first.
    ///
    /// # Errors
    /// When the local store fails.
    pub fn requests(&self) -> Result<Vec<Request>, EngineError> {
        let rows = self.store().requests()?;
        rows.into_iter().map(|row| self.request_of(&row)).collect()
    }

    pub(super) fn request_of(&self, row: &RequestRow) -> Result<Request, EngineError> {
        let person = self.store().peer(&row.inviter)?;
        Ok(Request {
            conversation: row.conversation,
            from: row.inviter.clone(),
            received_at_ms: row.received_at_ms,
            asker: match person.and_then(|person| person.changed_identity) {
                Some(_) => Asker::Changed,
                None => Asker::New,
            },
        })
    }

    /// How many messages wait to be sent.
    ///
    /// # Errors
    /// When the local store fails.
    pub fn queued(&self) -> Result<u64, EngineError> {
        Ok(self.store().outbox_len()?)
    }

    pub(super) fn stage_unshown(&mut self) -> Result<(), EngineError> {
        let first = (ConversationId::from_bytes([0; 16]), 0);
        let mut rows: Vec<MessageRow> = self.store().unshown(first, UNSHOWN_MAX)?;
        // Within a conversation the log's order, between them the server's clock.
        rows.sort_by_key(|row| (row.stored_at_ms, row.conversation, row.seq));
        for row in rows {
            let Some(conversation) = self.store().conversation(&row.conversation)? else {
                continue;
            };
            let message = self.to_message(&conversation, row)?;
            self.emit(Event::Message(message));
        }
        self.stage_unshown_changes(UNSHOWN_MAX)
    }

    pub(super) fn note_shown(&mut self, message: &Message) {
        if message.direction == Direction::Incoming && self.listening == Listening::Yes {
            self.shown.push((message.conversation, message.seq));
        }
    }

    /// Notes what was shown so far, for an interface that stops while events are left.
    ///
    /// # Errors
    /// When the local store fails.
    pub fn keep_shown(&mut self) -> Result<(), EngineError> {
        self.write_shown()
    }

    /// Ends [`Self::listen`]: what comes from here on waits for whoever listens next.
    ///
    /// # Errors
    /// When the local store fails.
    pub fn stop_listening(&mut self) -> Result<(), EngineError> {
        self.listening = Listening::No;
        self.write_shown()
    }

    pub(super) fn write_shown(&mut self) -> Result<(), EngineError> {
        if self.shown.is_empty() {
            return Ok(());
        }
        self.store().begin()?;
        let written = self
            .shown
            .iter()
            .try_for_each(|(conversation, seq)| {
                let now_ms = self.now.unix_ms;
                self.store().mark_shown(conversation, *seq, now_ms)?;
                self.message_read(conversation, *seq)
            })
            .and_then(|()| Ok(self.store().commit()?));
        if written.is_err() {
            self.store().rollback();
        } else {
            self.reads_are_due()?;
            self.shown.clear();
            self.plan_expiry()?;
        }
        written
    }
}

/// When a message was stored, or while it is not, written.
const fn at_ms(message: &Message) -> u64 {
    match message.stored_at_ms {
        0 => message.sent_at_ms,
        stored => stored,
    }
}
