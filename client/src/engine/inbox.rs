//! Reading logs in their order. An entry is opened, stored and passed in one
//! transaction; what breaks a rule is passed with an event and never shown.

use bytes::Bytes;
use prost::Message as _;
use sotto_crypto::{Body, OpenError, Opened, Sealed};
use sotto_protocol::wire::EnvelopeKind;
use sotto_protocol::{ClientMessageId, ConversationId, DeviceId, wire};

use super::api::{Event, Keep, SecurityEvent, SecurityKind};
use super::error::open_failure;
use super::session::Session;
use super::work::Step;
use super::{Engine, EngineError, Listening};
use crate::history::{
    Baseline, ConversationRow, ConversationState, OwnEntry, Relation, RequestStanding,
};

/// Entries of strangers that may stay unacknowledged in a session because
/// nobody decided about them yet; further ones are passed, so that one stranger
/// cannot hold up what others write.
const HELD_MAX: usize = 128;

const MISFIT: &str = "an entry that does not belong there or does not verify was not shown";

/// An entry of a log with its fields checked for size.
pub(super) struct Entry {
    pub(super) conversation: ConversationId,
    pub(super) generation: u32,
    pub(super) seq: u64,
    pub(super) kind: i32,
    pub(super) sender: DeviceId,
    pub(super) client_id: ClientMessageId,
    pub(super) payload: Bytes,
    pub(super) stored_at_ms: u64,
}

impl Entry {
    fn read(envelope: wire::Envelope) -> Option<Self> {
        Some(Self {
            conversation: ConversationId::from_slice(&envelope.conversation_id).ok()?,
            generation: envelope.generation,
            seq: envelope.seq,
            kind: envelope.kind,
            sender: DeviceId::from_slice(&envelope.sender_device_id).ok()?,
            client_id: ClientMessageId::from_slice(&envelope.client_id).ok()?,
            payload: envelope.payload,
            stored_at_ms: envelope.stored_at_ms,
        })
    }
}

impl Engine {
    pub(super) fn deliver(&mut self, deliver: wire::Deliver) -> Result<(), EngineError> {
        if !matches!(self.session, Session::CatchingUp | Session::Live) {
            return Ok(());
        }
        for envelope in deliver.envelopes {
            self.envelope(envelope)?;
        }
        Ok(())
    }

    pub(super) fn envelope(&mut self, envelope: wire::Envelope) -> Result<(), EngineError> {
        let sealed_bytes = envelope.encode_to_vec();
        let Some(entry) = Entry::read(envelope) else {
            return Ok(());
        };
        let mailbox = self.profile.device().certificate().device_id().mailbox();
        if entry.conversation == mailbox {
            return self.mailbox_entry(&entry);
        }
        let Some(row) = self.store().conversation(&entry.conversation)? else {
            return self.entry_of_stranger(&entry, &sealed_bytes);
        };
        if entry.seq <= row.cursor {
            // Delivered again because an acknowledgement was lost.
            self.acknowledge_at_least(&row.id, row.cursor);
            return Ok(());
        }
        self.entry(row, &entry)
    }

    /// A log that this device has no conversation for: one that waits for
    /// consent is kept sealed, any other was turned away.
    fn entry_of_stranger(&mut self, entry: &Entry, envelope: &[u8]) -> Result<(), EngineError> {
        if self.is_invited(&entry.conversation)? {
            // Neither passed nor answered before there is consent.
            return Ok(());
        }
        let Some(mut request) = self.store().request_for(&entry.conversation)? else {
            self.acknowledge_at_least(&entry.conversation, entry.seq);
            return Ok(());
        };
        let written = entry.kind == i32::from(EnvelopeKind::Application);
        let blocked = self.person(&request.inviter)?.relation == Relation::Blocked;
        let turned_away = request.standing == RequestStanding::TurnedAway;
        if turned_away && entry.seq <= self.store().last_request_entry(&entry.conversation)? {
            // Delivered again: it was turned away with the rest.
            self.acknowledge_at_least(&entry.conversation, entry.seq);
            return Ok(());
        }
        // Written before it was turned away, and only now delivered.
        let earlier = entry.stored_at_ms < request.received_at_ms;
        if turned_away && (blocked || earlier || !written) {
            // Renewals of keys are kept, or nothing after them could be opened.
            let kept: &[u8] = if written { &[] } else { envelope };
            self.store()
                .put_request_entry(&entry.conversation, entry.seq, kept)?;
            self.acknowledge_at_least(&entry.conversation, entry.seq);
            return Ok(());
        }
        if turned_away {
            request.standing = RequestStanding::WaitsAgain;
            request.received_at_ms = entry.stored_at_ms;
            self.store().put_request(&request)?;
            self.announce_request(&request)?;
        }
        self.store()
            .put_request_entry(&entry.conversation, entry.seq, envelope)?;
        self.hold_of_stranger(entry);
        Ok(())
    }

    /// A place in a log of which nothing was kept, on purpose.
    pub(super) fn pass_over(
        &mut self,
        conversation: &ConversationId,
        seq: u64,
    ) -> Result<(), EngineError> {
        let row = self.store().conversation(conversation)?;
        let Some(mut row) = row.filter(|row| row.cursor + 1 == seq) else {
            return Ok(());
        };
        self.readable_from(&row, seq + 1)?;
        row.cursor = seq;
        self.store().put_conversation(&row)?;
        self.acknowledge_at_least(conversation, seq);
        Ok(())
    }

    fn hold_of_stranger(&mut self, entry: &Entry) {
        self.held += 1;
        if self.held > HELD_MAX {
            self.acknowledge_at_least(&entry.conversation, entry.seq);
        }
    }

    pub(super) fn acknowledge_at_least(&mut self, conversation: &ConversationId, seq: u64) {
        let passed = self.acknowledge.entry(*conversation).or_default();
        *passed = (*passed).max(seq);
    }

    /// Deals with an entry of somebody known. What cannot be dealt with now is
    /// neither passed nor acknowledged: it stays at the server.
    fn entry(&mut self, mut row: ConversationRow, entry: &Entry) -> Result<(), EngineError> {
        if entry.seq > row.cursor + 1 && self.flight.is_rereading(&row.id) {
            // It left the server before that went back to what comes first.
            return Ok(());
        }
        if self.is_own(entry) {
            return self.own_entry(row, entry);
        }
        match row.state {
            ConversationState::Active if entry.generation <= row.generation => {}
            // Invited anew: neither passed nor answered before there is consent.
            ConversationState::Ended if self.is_invited(&row.id)? => return Ok(()),
            // Out of it: nothing there is for this account.
            ConversationState::Ended => return self.pass(row, entry),
            // A newer generation's welcome is in the mailbox; the rest cannot be opened.
            _ => return Ok(()),
        }
        if self.is_held_back(&row)? {
            return Ok(());
        }
        if entry.seq > row.cursor + 1 {
            self.entries_missing(&row, row.cursor + 1, entry.seq - row.cursor - 1)?;
        }
        if entry.generation < row.generation {
            self.readable_from(&row, entry.seq + 1)?;
            return self.pass(row, entry);
        }
        let kind = match EnvelopeKind::try_from(entry.kind) {
            Ok(kind @ (EnvelopeKind::Application | EnvelopeKind::Commit)) => kind,
            Ok(kind @ (EnvelopeKind::Leave | EnvelopeKind::JoinRequest))
                if row.talk.group().is_some() =>
            {
                return self.clear_entry(row, entry, kind);
            }
            Ok(EnvelopeKind::IdentityChanged) => {
                self.identity_notice(&row, entry)?;
                return self.pass(row, entry);
            }
            // A kind that this version does not know.
            _ => return self.pass(row, entry),
        };
        let Some(mut group) = self.take_group(&row)? else {
            self.break_conversation(row, "its keys are not here")?;
            return Ok(());
        };
        let sealed = Sealed {
            kind,
            client_id: &entry.client_id,
            payload: &entry.payload,
        };
        self.store().mark()?;
        let opened = group.open(&self.key_store(), &sealed, self.now.unix_ms);
        match opened {
            Ok(opened) => {
                self.store().keep_mark()?;
                self.keep_group(group);
                self.opened(&mut row, entry, opened)?;
                self.pass(row, entry)
            }
            Err(error) => {
                // What the attempt left in memory is not what the store has.
                drop(group);
                let error = open_failure(error)?;
                self.store().undo_mark()?;
                self.not_opened(row, entry, &error)
            }
        }
    }

    /// Whether a conversation stays at the server for now: its messages are
    /// not kept, nobody reads, and nothing is to be written in it.
    pub(super) fn is_held_back(&self, row: &ConversationRow) -> Result<bool, EngineError> {
        Ok(row.keep == Keep::Unsaved
            && self.listening == Listening::No
            && self.store().queued_for(&row.talk)?.is_empty())
    }

    /// What servers put into a group's log, in clear.
    fn clear_entry(
        &mut self,
        row: ConversationRow,
        entry: &Entry,
        kind: EnvelopeKind,
    ) -> Result<(), EngineError> {
        match kind {
            EnvelopeKind::JoinRequest => self.join_heard(&row, entry)?,
            _ => self.leave_heard(&row, entry)?,
        }
        match self.store().conversation(&row.id)? {
            Some(row) => self.pass(row, entry),
            None => Ok(()),
        }
    }

    fn is_own(&self, entry: &Entry) -> bool {
        entry.sender == *self.profile.device().certificate().device_id()
    }

    fn pass(&mut self, mut row: ConversationRow, entry: &Entry) -> Result<(), EngineError> {
        row.cursor = entry.seq;
        self.store().put_conversation(&row)?;
        self.acknowledge_at_least(&row.id, entry.seq);
        Ok(())
    }

    /// An entry of this very device, shown without its payload.
    fn own_entry(&mut self, row: ConversationRow, entry: &Entry) -> Result<(), EngineError> {
        let pending = self.store().pending(&row.id)?;
        if let Some(pending) = pending.filter(|pending| pending.client_id == entry.client_id) {
            self.settle(row, &pending, entry.seq)?;
            return Ok(());
        }
        if entry.kind == i32::from(EnvelopeKind::Leave) && row.talk.group().is_some() {
            // Said before a restart that forgot it.
            self.left(&row.id)?;
            return match self.store().conversation(&row.id)? {
                Some(row) => self.pass(row, entry),
                None => Ok(()),
            };
        }
        if row.state != ConversationState::Active {
            return Ok(());
        }
        let device = *self.profile.device().certificate().device_id();
        let known = self.store().take_own_sent(&row.id, &entry.client_id)? == OwnEntry::Known
            || self
                .store()
                .message_seq(&row.id, &device, &entry.client_id)?
                .is_some();
        if entry.seq > row.cursor + 1 {
            self.entries_missing(&row, row.cursor + 1, entry.seq - row.cursor - 1)?;
        }
        if known {
            return self.pass(row, entry);
        }
        let queued = self.store().outbox_row(&entry.client_id)?;
        if queued.is_some_and(|queued| queued.counter.is_some()) {
            // Its acknowledgement was lost, or is on its way.
            let appended = wire::Appended {
                seq: entry.seq,
                epoch: 0,
                stored_at_ms: entry.stored_at_ms,
            };
            let talk = row.talk.clone();
            let mut row = row;
            row.cursor = entry.seq.saturating_sub(1);
            self.stored(row, &entry.client_id, &appended)?;
            if self.work_of(&talk).step == Step::Busy {
                return Ok(());
            }
            self.set_step(&talk, Step::Idle);
            return Ok(());
        }
        self.rolled_back(row)?;
        Ok(())
    }

    fn opened(
        &mut self,
        row: &mut ConversationRow,
        entry: &Entry,
        opened: Opened,
    ) -> Result<(), EngineError> {
        match opened {
            Opened::Message(message) => {
                if !matches!(message.content.body, Body::Receipt { .. }) {
                    row.updated_at_ms = self.now.unix_ms;
                }
                self.message_opened(row, entry, *message)
            }
            Opened::Commit(summary) => {
                row.updated_at_ms = self.now.unix_ms;
                row.last_commit = summary.hash.to_vec();
                // A commit of ours for the epoch that is over means nothing now.
                self.store().remove_pending(&row.id)?;
                self.store().unseal_for(&row.talk)?;
                self.tell_members(row, &summary)?;
                let work = self.work_of(&row.talk);
                if work.behind.is_some_and(|behind| summary.epoch >= behind) {
                    work.behind = None;
                    work.step = Step::Idle;
                }
                if summary.removed_me && row.talk.group().is_some() {
                    return self.end_group(row);
                }
                if summary.removed_me {
                    self.break_conversation(row.clone(), "this device was removed from it")?;
                    row.state = ConversationState::Broken;
                    row.baseline = Baseline::FirstSeen;
                }
                Ok(())
            }
            Opened::OwnCommit => Ok(()),
        }
    }

    fn message_opened(
        &mut self,
        row: &ConversationRow,
        entry: &Entry,
        message: sotto_crypto::Message,
    ) -> Result<(), EngineError> {
        let sender = message.sender.username().clone();
        let device = *message.sender.device_id();
        if device != entry.sender {
            self.reject(
                row,
                "the server named another sender than the one who sealed it",
            );
            return Ok(());
        }
        if self
            .store()
            .message_seq(&row.id, &device, &entry.client_id)?
            .is_some()
        {
            self.security(
                SecurityKind::Replay,
                Some(row.id),
                Some(&sender),
                "a message came a second time and was not shown again",
            );
            return Ok(());
        }
        self.count_sender(row, &sender, &device, message.content.sender_counter)?;
        if message.content.highest_seq_seen >= entry.seq {
            self.security(
                SecurityKind::Fork,
                Some(row.id),
                Some(&sender),
                "the sender saw more of this conversation than this device was shown",
            );
        }
        if self.person(&sender)?.relation == Relation::Blocked {
            return Ok(());
        }
        if row.talk.group().is_some() {
            self.store().mark_seen(&row.id, &sender)?;
        }
        self.message_accepted(row, entry, message)
    }

    /// Each device counts its messages without a hole, inside the seal.
    fn count_sender(
        &mut self,
        row: &ConversationRow,
        sender: &sotto_protocol::Username,
        device: &DeviceId,
        counter: u64,
    ) -> Result<(), EngineError> {
        let seen = self.store().sender_counter(&row.id, device)?;
        let expected = match (seen, row.baseline) {
            (Some(seen), _) => Some(seen + 1),
            (None, Baseline::FromStart) => Some(1),
            (None, Baseline::FirstSeen) => None,
        };
        match expected {
            Some(expected) if counter > expected => {
                let missing = counter - expected;
                self.store().insert_gap(
                    &row.id,
                    Some(device),
                    (expected, missing),
                    self.now.unix_ms,
                )?;
                self.emit(Event::Security(SecurityEvent {
                    kind: SecurityKind::Gap,
                    conversation: Some(row.id),
                    subject: Some(sender.clone()),
                    action: "messages of this person did not arrive".to_owned(),
                    count: missing,
                }));
            }
            Some(expected) if counter < expected => self.security(
                SecurityKind::Clone,
                Some(row.id),
                Some(sender),
                "a device of this person counts its messages anew; perhaps a copy of it is in use",
            ),
            _ => {}
        }
        let highest = seen.map_or(counter, |seen| seen.max(counter));
        Ok(self.store().set_sender_counter(&row.id, device, highest)?)
    }

    fn not_opened(
        &mut self,
        row: ConversationRow,
        entry: &Entry,
        error: &OpenError,
    ) -> Result<(), EngineError> {
        match error {
            OpenError::FutureEpoch => {
                self.break_conversation(row, "commits are missing here")?;
                return Ok(());
            }
            OpenError::Group(_) => {
                self.break_conversation(row, "its keys cannot be used")?;
                return Ok(());
            }
            OpenError::Replayed => {
                self.security(
                    SecurityKind::Replay,
                    Some(row.id),
                    row.talk.person(),
                    "a message came a second time and was not shown again",
                );
            }
            OpenError::TooFarAhead => self.entries_missing(&row, entry.seq, 1)?,
            OpenError::Denied {
                offender: Some(offender),
                ..
            } => {
                let offender = offender.username().clone();
                self.security(
                    SecurityKind::PolicyRejected,
                    Some(row.id),
                    Some(&offender),
                    "a change of members that the rules do not allow was refused",
                );
            }
            OpenError::Denied { .. } | OpenError::BadCommit => self.reject(
                &row,
                "a change that the rules or the protocol do not allow was refused",
            ),
            OpenError::Unverified => {
                self.store().set_readable_from(&row.id, entry.seq + 1)?;
                self.doubt(&row)?;
                self.reject(&row, MISFIT);
            }
            OpenError::PastEpoch => {
                self.store().set_readable_from(&row.id, entry.seq + 1)?;
                self.compare(&row.talk);
                self.reject(&row, MISFIT);
            }
            OpenError::Malformed
            | OpenError::Misplaced
            | OpenError::Own
            | OpenError::Content(_) => self.reject(&row, MISFIT),
        }
        self.pass(row, entry)
    }

    pub(super) fn reject(&mut self, row: &ConversationRow, action: &str) {
        self.security(
            SecurityKind::PolicyRejected,
            Some(row.id),
            row.talk.person(),
            action,
        );
    }
}
