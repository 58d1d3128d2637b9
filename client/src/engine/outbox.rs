//! Sending in a conversation that stands: one message at a time in each
//! talk, so that no refusal can turn their order around.

use sotto_crypto::{Body, Content};
use sotto_protocol::wire::client_frame::Body as Ask;
use sotto_protocol::wire::server_frame::Body as Answer;
use sotto_protocol::{ClientMessageId, ErrorCode, wire};
use sotto_roster::Roster;

use super::api::{Direction, Event, Failure};
use super::commands::refusal;
use super::commits::UPDATE_MESSAGES;
use super::error::group_failure;
use super::flight::Purpose;
use super::group::{GroupStep, no_member};
use super::people::Mismatch;
use super::session::failure;
use super::work::Step;
use super::{Engine, EngineError};
use crate::history::{
    ChangeRow, ConversationRow, ConversationState, Fate, MessageRow, OutboxKind, OutboxRow, Sealed,
};
use crate::talk::Talk;

impl Engine {
    /// Takes the next step in a conversation that is known here.
    pub(super) fn drive_conversation(&mut self, row: ConversationRow) -> Result<(), EngineError> {
        match row.state {
            ConversationState::Creating | ConversationState::Rejoining => self.send_pending(&row),
            ConversationState::Broken => self.drive_broken(&row),
            ConversationState::Ended => {
                let failure = no_member();
                self.drop_queue(&row.talk, &failure)
            }
            ConversationState::Active => self.drive_active(row),
        }
    }

    fn drive_active(&mut self, row: ConversationRow) -> Result<(), EngineError> {
        let Some(group) = self.take_group(&row)? else {
            return self.break_conversation(row, "its keys are not here");
        };
        let epoch = group.epoch();
        let roster = group.roster().clone();
        self.keep_group(group);
        match (self.check_members(&roster, &row.talk)?, &row.talk) {
            (Ok(()), _) => {}
            (Err(Mismatch::Identity(_)), Talk::Person(peer)) => {
                // The person's new identity was accepted: only a new
                // generation can have it in the old one's place.
                self.claim(peer, row.generation + 1);
                return Ok(());
            }
            (Err(_), _) => {
                return self.break_conversation(row, "somebody is in it who does not belong");
            }
        }
        if self
            .work_of(&row.talk)
            .behind
            .is_some_and(|behind| epoch < behind)
        {
            return self.break_conversation(row, "the log does not bring the newest commit");
        }
        self.work_of(&row.talk).behind = None;
        if self.store().pending(&row.id)?.is_some() {
            return self.send_pending(&row);
        }
        if self.compare_if_due(&row.talk, &row, epoch) == Step::Busy {
            return Ok(());
        }
        if self.stage_removals(&row, &roster)? == GroupStep::Working {
            return Ok(());
        }
        if row.talk.group().is_some() {
            self.do_chores(&row, &roster)?;
            if self.drive_jobs(&row, &roster)? == GroupStep::Working {
                return Ok(());
            }
        }
        if row.update_due_ms <= self.now.unix_ms || row.own_since_update >= UPDATE_MESSAGES {
            return self.stage_update(row);
        }
        match self.store().first_for(&row.talk)? {
            // Not before its log is read, with which keys may have changed.
            Some(_) if self.is_held_back(&row)? => Ok(()),
            Some(message) => match self.hindrance_in(&row, &roster)? {
                Some(failure) => {
                    self.refuse_queue(&row.talk, &failure)?;
                    self.set_step(&row.talk, Step::Resting);
                    Ok(())
                }
                None => self.append(row, message, epoch),
            },
            None => Ok(()),
        }
    }

    fn hindrance_in(
        &mut self,
        row: &ConversationRow,
        roster: &Roster,
    ) -> Result<Option<Failure>, EngineError> {
        match row.talk {
            Talk::Person(_) => Ok(None),
            Talk::Group(_) => self.hindrance_of_members(&row.talk, roster),
        }
    }

    fn append(
        &mut self,
        row: ConversationRow,
        message: OutboxRow,
        epoch: u64,
    ) -> Result<(), EngineError> {
        let fits = message
            .sealed
            .as_ref()
            .is_some_and(|sealed| sealed.generation == row.generation && sealed.epoch == epoch);
        let sealed = match message.sealed.filter(|_| fits) {
            Some(sealed) => sealed,
            None if message.body.is_empty() => {
                return self.forget_unsaved(&row, &message.client_id);
            }
            None => match self.seal(&row, &message.client_id)? {
                Some(sealed) => sealed,
                None => return Ok(()),
            },
        };
        self.set_step(&row.talk, Step::Busy);
        let purpose = Purpose::Append {
            talk: row.talk.clone(),
            client_id: message.client_id,
        };
        self.request(
            purpose,
            Ask::Append(wire::Append {
                conversation_id: row.id.to_vec(),
                generation: sealed.generation,
                epoch: sealed.epoch,
                client_id: message.client_id.to_vec(),
                payload: sealed.payload.into(),
            }),
        );
        Ok(())
    }

    /// A message of an unsaved conversation cannot be sealed again after the
    /// program that knew it has ended.
    fn forget_unsaved(
        &mut self,
        row: &ConversationRow,
        client_id: &ClientMessageId,
    ) -> Result<(), EngineError> {
        self.store().remove_outbox(client_id)?;
        self.emit(Event::SendFailed {
            id: *client_id,
            to: row.talk.clone(),
            title: row.title.clone(),
            failure: refusal(
                "forgotten",
                "this conversation is not saved, and the program ended before the message was sent; write it again",
            ),
        });
        Ok(())
    }

    /// Seals a queued message. Sealed bytes, ratchet state and counter are
    /// stored in the transaction that this call is part of, before the frame leaves.
    fn seal(
        &mut self,
        row: &ConversationRow,
        client_id: &ClientMessageId,
    ) -> Result<Option<Sealed>, EngineError> {
        let Some(message) = self.store().outbox_row(client_id)? else {
            return Ok(None);
        };
        let Some(mut group) = self.take_group(row)? else {
            self.break_conversation(row.clone(), "its keys are not here")?;
            return Ok(None);
        };
        let counter = message.counter.unwrap_or(row.own_counter + 1);
        let content = Content {
            sender_counter: counter,
            highest_seq_seen: row.cursor,
            last_commit_hash: row.last_commit.as_slice().try_into().ok(),
            sent_at_ms: message.created_at_ms,
            body: read_body(&message),
        };
        let sealed = group.seal(
            &self.key_store(),
            self.profile.device(),
            client_id,
            &content,
        );
        let payload = match sealed {
            Ok(payload) => payload,
            Err(error) => {
                group_failure(error)?;
                self.break_conversation(row.clone(), "its keys cannot seal")?;
                return Ok(None);
            }
        };
        let sealed = Sealed {
            generation: row.generation,
            epoch: group.epoch(),
            payload,
        };
        self.keep_group(group);
        self.store().set_sealed(client_id, counter, &sealed)?;
        let mut row = row.clone();
        row.own_counter = row.own_counter.max(counter);
        row.own_since_update += 1;
        self.store().put_conversation(&row)?;
        Ok(Some(sealed))
    }

    pub(super) fn append_answered(
        &mut self,
        talk: &Talk,
        client_id: &ClientMessageId,
        answer: Answer,
    ) -> Result<(), EngineError> {
        let row = self.store().conversation_with(talk)?;
        // Out of it meanwhile: whoever wrote was told, and nothing there is to be repaired.
        let Some(row) = row.filter(|row| row.state != ConversationState::Ended) else {
            self.set_step(talk, Step::Idle);
            return Ok(());
        };
        match answer {
            Answer::Appended(appended) => {
                self.succeeded(talk);
                self.stored(row, client_id, &appended)
            }
            Answer::Error(error) => self.append_refused(row, client_id, &error),
            _ => {
                self.rest(talk, 0);
                Ok(())
            }
        }
    }

    /// The server has a message of this device, durably.
    pub(super) fn stored(
        &mut self,
        mut row: ConversationRow,
        client_id: &ClientMessageId,
        appended: &wire::Appended,
    ) -> Result<(), EngineError> {
        if appended.seq == row.cursor + 1 {
            // Nothing lies between: the server does not show it again.
            row.cursor = appended.seq;
            self.acknowledge.insert(row.id, row.cursor);
        } else if appended.seq > row.cursor {
            self.store()
                .insert_own_sent(&row.id, client_id, appended.seq)?;
        }
        let message = self.store().outbox_row(client_id)?;
        let written =
            message.filter(|message| matches!(message.kind, OutboxKind::Text | OutboxKind::Body));
        if written.is_some() {
            row.updated_at_ms = self.now.unix_ms;
        }
        self.store().put_conversation(&row)?;
        self.store().remove_outbox(client_id)?;
        let Some(message) = written else {
            return Ok(());
        };
        self.keep_own(&row, message, appended)?;
        self.emit(Event::Sent {
            id: *client_id,
            to: row.talk.clone(),
            title: row.title.clone(),
            conversation: row.id,
            seq: appended.seq,
        });
        Ok(())
    }

    /// What the person here did is part of the log now.
    fn keep_own(
        &mut self,
        row: &ConversationRow,
        sent: OutboxRow,
        appended: &wire::Appended,
    ) -> Result<(), EngineError> {
        let device = *self.profile.device().certificate().device_id();
        let body = read_body(&sent);
        match body {
            Body::Text(_) | Body::Attachment(_) => {
                let message = MessageRow {
                    conversation: row.id,
                    seq: appended.seq,
                    client_id: sent.client_id,
                    sender: self.my_name().clone(),
                    device,
                    epoch: sent.sealed.map_or(appended.epoch, |sealed| sealed.epoch),
                    direction: Direction::Outgoing,
                    sent_at_ms: sent.created_at_ms,
                    stored_at_ms: appended.stored_at_ms,
                    body,
                    fate: Fate::There,
                    edited_seq: 0,
                    mentions_me: false,
                    expires_at_ms: None,
                };
                self.keep_message(row, &message)
            }
            body => self.change_came(
                row,
                ChangeRow {
                    conversation: row.id,
                    seq: appended.seq,
                    client_id: sent.client_id,
                    sender: self.my_name().clone(),
                    device,
                    direction: Direction::Outgoing,
                    sent_at_ms: sent.created_at_ms,
                    stored_at_ms: appended.stored_at_ms,
                    body,
                    by_admin: false,
                    waits: false,
                    shown: false,
                },
            ),
        }
    }

    fn append_refused(
        &mut self,
        row: ConversationRow,
        client_id: &ClientMessageId,
        error: &wire::Error,
    ) -> Result<(), EngineError> {
        match ErrorCode::from_number(error.code) {
            ErrorCode::StaleEpoch => {
                let sealed = self.store().outbox_row(client_id)?;
                let sealed = sealed.and_then(|message| message.sealed);
                let tried = sealed.map_or(0, |sealed| sealed.epoch);
                self.epoch_is_stale(row, tried, error.current_epoch)
            }
            ErrorCode::StaleGeneration | ErrorCode::UnknownConversation | ErrorCode::NotAllowed => {
                self.set_step(&row.talk, Step::Idle);
                self.break_conversation(row, "the server does not take messages of this generation")
            }
            ErrorCode::TooLarge | ErrorCode::Malformed => {
                let failure = failure(error);
                if let Some(message) = self.store().outbox_row(client_id)? {
                    self.give_up(&message, &failure)?;
                }
                self.emit(Event::SendFailed {
                    id: *client_id,
                    to: row.talk.clone(),
                    title: row.title.clone(),
                    failure,
                });
                self.set_step(&row.talk, Step::Idle);
                Ok(())
            }
            _ => {
                self.server_refused(&row.talk, error);
                Ok(())
            }
        }
    }
}

/// A receipt is stored as three numbers, the last of which earlier versions did not have;
/// everything else as its encoded body.
pub(super) fn read_body(message: &OutboxRow) -> Body {
    let number = |place: usize| {
        let bytes = message.body.get(8 * place..)?.first_chunk::<8>()?;
        Some(u64::from_be_bytes(*bytes))
    };
    match (message.kind, number(0)) {
        (OutboxKind::Receipt, Some(delivered_up_to)) => Body::Receipt {
            delivered_up_to,
            read_up_to: number(1).unwrap_or(0),
            readable_from: number(2).unwrap_or(0),
        },
        (OutboxKind::Text, _) => Body::text(String::from_utf8_lossy(&message.body)),
        _ => Body::from_bytes(&message.body).unwrap_or(Body::Unknown(Vec::new())),
    }
}
