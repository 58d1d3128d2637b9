//! Receipts to contacts: up to where their messages arrived here, and up to
//! where they were shown.
//!
//! Batched: what happens in a moment goes out as one, and one conversation
//! hears at most every [`EVERY_MS`], and once more when a command ends; in a
//! group of more than [`PROMPT_MEMBERS_MAX`] the moment is longer. What is
//! due is durable. Strangers, and people who were blocked, hear nothing, and a
//! receipt is never answered by another.

use std::collections::{BTreeMap, BTreeSet};

use rand::RngExt as _;
use sotto_protocol::{ClientMessageId, ConversationId};

use super::api::{Keep, Now, Put};
use super::messages::{OFF, RECEIPTS};
use super::session::Session;
use super::work::Step;
use super::{Engine, EngineError};
use crate::history::{ConversationRow, ConversationState, Marks, OutboxKind, OutboxRow, Relation};
use crate::talk::Talk;

/// How long receipts are gathered, in milliseconds.
const GATHER_MS: u64 = 300;
/// The shortest time between two receipts of one conversation, in milliseconds.
const EVERY_MS: u64 = 2_000;
/// Members of a group in which receipts are sent. Where there are more than a
/// few, they are shown as counts, and everybody's are gathered the longer the
/// more there are: together they stay a trickle.
const RECEIPTED_MEMBERS_MAX: u64 = 200;
/// Members up to which nobody gathers longer.
const PROMPT_MEMBERS_MAX: u64 = 20;
/// What each member adds to the gathering in a larger group, in milliseconds.
const GATHER_MS_MEMBER: u64 = 100;
/// Conversations that wait at a time; others wait for the next session.
const CONVERSATIONS_MAX: usize = 1_000;

/// When receipts are to be written; what they say is in the store.
#[derive(Default)]
pub(super) struct Due {
    /// Monotonic milliseconds.
    waiting: BTreeMap<ConversationId, u64>,
    /// When the last ones were written; forgotten when it no longer matters.
    written: BTreeMap<ConversationId, u64>,
}

impl Due {
    /// Something is to be told in a conversation, after so many milliseconds.
    fn note(&mut self, conversation: ConversationId, now_ms: u64, gather_ms: u64) {
        if self.waiting.len() >= CONVERSATIONS_MAX {
            return;
        }
        let again = self
            .written
            .get(&conversation)
            .map_or(0, |at| at + EVERY_MS);
        self.waiting
            .entry(conversation)
            .or_insert(again.max(now_ms + gather_ms));
    }

    fn waits(&self, conversation: &ConversationId) -> bool {
        self.waiting.contains_key(conversation)
    }

    /// When the first are to be written (monotonic milliseconds).
    pub(super) fn at(&self) -> Option<u64> {
        self.waiting.values().min().copied()
    }

    /// The conversations whose time has come.
    fn take(&mut self, now_ms: u64) -> Vec<ConversationId> {
        self.written.retain(|_, at| *at + EVERY_MS > now_ms);
        let due: Vec<_> = self
            .waiting
            .iter()
            .filter(|(_, at)| **at <= now_ms)
            .map(|(id, _)| *id)
            .collect();
        for id in &due {
            self.waiting.remove(id);
        }
        due
    }

    /// Without a session nothing can be told; the next one asks the store.
    pub(super) fn wait_for_session(&mut self) {
        self.waiting.clear();
    }
}

/// Whether receipts of a conversation leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Telling {
    /// Nobody there is to hear any.
    Nothing,
    /// When the conversation works again.
    Later,
    Now,
}

impl Engine {
    /// A message of somebody else is stored.
    pub(super) fn message_arrived(
        &mut self,
        conversation: &ConversationId,
        seq: u64,
    ) -> Result<(), EngineError> {
        let marks = Marks {
            delivered: seq,
            read: 0,
        };
        self.store().note_receipt(conversation, marks)?;
        self.receipt_is_due(*conversation)
    }

    fn receipt_is_due(&mut self, conversation: ConversationId) -> Result<(), EngineError> {
        if self.receipts.waits(&conversation) {
            return Ok(());
        }
        let members = self.store().members_len(&conversation)?;
        let gather_ms = match members {
            ..=PROMPT_MEMBERS_MAX => GATHER_MS,
            _ => self.rng.random_range(GATHER_MS..members * GATHER_MS_MEMBER),
        };
        self.receipts
            .note(conversation, self.now.monotonic_ms, gather_ms);
        Ok(())
    }

    /// A message of somebody else was shown; part of the transaction that notes so.
    pub(super) fn message_read(
        &self,
        conversation: &ConversationId,
        seq: u64,
    ) -> Result<(), EngineError> {
        let marks = Marks {
            delivered: seq,
            read: seq,
        };
        Ok(self.store().note_receipt(conversation, marks)?)
    }

    /// Messages of others up to here were seen by the person.
    pub(super) fn read_up_to(
        &mut self,
        conversation: &ConversationId,
        seq: u64,
    ) -> Result<(), EngineError> {
        self.message_read(conversation, seq)?;
        self.receipt_is_due(*conversation)
    }

    /// What was noted as read is durable.
    pub(super) fn reads_are_due(&mut self) -> Result<(), EngineError> {
        let shown: BTreeSet<_> = self.shown.iter().map(|(id, _)| *id).collect();
        shown
            .into_iter()
            .try_for_each(|conversation| self.receipt_is_due(conversation))
    }

    /// A session is live: what was left over from before is told.
    pub(super) fn receipts_of_before(&mut self) -> Result<(), EngineError> {
        self.receipts.wait_for_session();
        for conversation in self.store().receipts_due(CONVERSATIONS_MAX)? {
            self.receipts
                .waiting
                .insert(conversation, self.now.monotonic_ms);
        }
        self.send_due_receipts()
    }

    /// Queues the receipts whose time has come.
    pub(super) fn send_due_receipts(&mut self) -> Result<(), EngineError> {
        if self.session != Session::Live {
            self.receipts.wait_for_session();
            return Ok(());
        }
        for conversation in self.receipts.take(self.now.monotonic_ms) {
            self.queue_receipt(&conversation)?;
        }
        Ok(())
    }

    /// What is in a log before a place cannot be opened here, or not all of it: no receipt
    /// claims it. What is due is about what could be, and is queued before.
    pub(super) fn readable_from(
        &mut self,
        row: &ConversationRow,
        seq: u64,
    ) -> Result<(), EngineError> {
        if let Some(marks) = self.store().receipt_due(&row.id)?
            && self.tells(row)? != Telling::Nothing
        {
            self.push_receipt(row, marks)?;
        }
        Ok(self.store().set_readable_from(&row.id, seq)?)
    }

    /// A log is entered at a place, the row being as it was before: unless everything before was
    /// read, nothing is claimed of it.
    pub(super) fn entered_at(
        &mut self,
        row: &ConversationRow,
        seq: u64,
    ) -> Result<(), EngineError> {
        match seq > row.cursor + 1 {
            true => self.readable_from(row, seq + 1),
            false => Ok(()),
        }
    }

    /// Whether others in a conversation hear receipts now.
    fn tells(&self, row: &ConversationRow) -> Result<Telling, EngineError> {
        let mut must_wait = row.state != ConversationState::Active || self.is_held_back(row)?;
        if let Talk::Person(peer) = &row.talk {
            let person = self.person(peer)?;
            if person.relation != Relation::Contact {
                return Ok(Telling::Nothing);
            }
            must_wait |= person.changed_identity.is_some();
        } else if self.store().members_len(&row.id)? > RECEIPTED_MEMBERS_MAX {
            return Ok(Telling::Nothing);
        }
        Ok(match must_wait {
            true => Telling::Later,
            false => Telling::Now,
        })
    }

    fn queue_receipt(&mut self, conversation: &ConversationId) -> Result<(), EngineError> {
        let (Some(row), Some(marks)) = (
            self.store().conversation(conversation)?,
            self.store().receipt_due(conversation)?,
        ) else {
            return Ok(());
        };
        match self.tells(&row)? {
            Telling::Nothing => Ok(self.store().remove_receipt_due(conversation)?),
            // Due still, for a session in which the conversation works.
            Telling::Later => Ok(()),
            Telling::Now => self.push_receipt(&row, marks),
        }
    }

    fn push_receipt(&mut self, row: &ConversationRow, due: Marks) -> Result<(), EngineError> {
        let (conversation, mut marks) = (&row.id, due);
        if row.keep == Keep::Saved {
            // Also what was shown by programs that ended before they could tell.
            marks.read = self.store().shown_up_to(conversation)?;
        }
        marks.delivered = marks.delivered.max(marks.read);
        let from = self.store().readable_from(conversation)?.to_be_bytes();
        self.store().remove_receipt_due(conversation)?;
        self.store().remove_unsealed_receipts(&row.talk, &from)?;
        if self.store().preference(RECEIPTS)?.as_deref() == Some(OFF) {
            return Ok(());
        }
        let marks = [marks.delivered.to_be_bytes(), marks.read.to_be_bytes()];
        let body = [marks[0], marks[1], from].concat();
        let client_id = ClientMessageId::from_bytes(self.random_id());
        self.store().push_outbox(&OutboxRow {
            client_id,
            talk: row.talk.clone(),
            kind: OutboxKind::Receipt,
            body,
            created_at_ms: self.now.unix_ms,
            counter: None,
            sealed: None,
            refused: None,
        })?;
        self.receipts
            .written
            .insert(*conversation, self.now.monotonic_ms);
        Ok(())
    }

    /// Whether others learn what of theirs arrived and was read.
    ///
    /// # Errors
    /// When the local store fails.
    pub fn receipts(&self) -> Result<Put, EngineError> {
        Ok(match self.store().preference(RECEIPTS)?.as_deref() {
            Some(OFF) => Put::Off,
            _ => Put::On,
        })
    }

    /// The program is about to leave: what is due is written now.
    ///
    /// # Errors
    /// When the local store fails.
    pub fn hurry_receipts(&mut self, now: Now) -> Result<(), EngineError> {
        self.write_shown()?;
        self.transact(now, |engine| {
            for at in engine.receipts.waiting.values_mut() {
                *at = now.monotonic_ms;
            }
            engine.send_due_receipts()
        })
    }

    /// Whether a receipt is on its way to the server, or will be as soon as
    /// the session has caught up.
    ///
    /// # Errors
    /// When the local store fails.
    pub fn receipts_leaving(&self) -> Result<bool, EngineError> {
        let busy = |talk| {
            let work = self.work.get(&talk);
            work.is_some_and(|work| work.step == Step::Busy)
        };
        Ok(match self.session {
            Session::Offline => false,
            Session::Live => self.store().receipted_talks()?.into_iter().any(busy),
            Session::LoggingIn(_) | Session::Syncing(_) | Session::CatchingUp => {
                !self.store().receipts_due(1)?.is_empty()
            }
        })
    }
}
