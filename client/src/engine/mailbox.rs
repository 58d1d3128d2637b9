//! Welcomes: a stranger's is a request that waits for consent and tells the
//! stranger nothing; a contact's is followed at once.

use prost::Message as _;
use sotto_crypto::{
    Address, Group, Suite, WelcomeError, WelcomeSummary, WithTree, inspect_invitation,
};
use sotto_protocol::wire::EnvelopeKind;
use sotto_protocol::wire::client_frame::Body as Ask;
use sotto_protocol::wire::server_frame::Body as Answer;
use sotto_protocol::{ConversationId, ErrorCode, Username, wire};

use super::api::{Event, Keep, SecurityKind};
use super::error::welcome_failure;
use super::flight::Purpose;
use super::inbox::Entry;
use super::people::{Mismatch, Trust};
use super::work::Step;
use super::{Engine, EngineError};
use crate::history::{
    Baseline, ConversationRow, ConversationState, REQUESTS_MAX, Relation, RequestRow,
    RequestStanding,
};
use crate::talk::Talk;

impl Engine {
    /// An entry of the mailbox. Whatever it is, it is passed.
    pub(super) fn mailbox_entry(&mut self, entry: &Entry) -> Result<(), EngineError> {
        let cursor = self.store().account()?.mailbox_cursor;
        if entry.seq > cursor {
            if entry.kind == i32::from(EnvelopeKind::Welcome) {
                self.welcome(entry)?;
            }
            self.store().set_mailbox_cursor(entry.seq)?;
        }
        self.acknowledge_at_least(&entry.conversation, entry.seq.max(cursor));
        Ok(())
    }

    fn welcome(&mut self, entry: &Entry) -> Result<(), EngineError> {
        let Ok(sent) = wire::MailboxWelcome::decode(entry.payload.clone()) else {
            return Ok(());
        };
        let (Ok(conversation), Ok(inviter)) = (
            ConversationId::from_slice(&sent.conversation_id),
            Username::parse(&sent.inviter),
        ) else {
            return Ok(());
        };
        let request = RequestRow {
            inviter,
            conversation,
            generation: sent.generation,
            seq: sent.seq,
            identity: [0; 32],
            welcome: sent.welcome.to_vec(),
            tree: Vec::new(),
            note: sent.note.to_vec(),
            received_at_ms: entry.stored_at_ms,
            standing: RequestStanding::Waits,
        };
        self.consider_welcome(request, sent.epoch)
    }

    fn consider_welcome(&mut self, request: RequestRow, epoch: u64) -> Result<(), EngineError> {
        let person = self.person(&request.inviter)?;
        let known = self.store().request(&request.inviter)?.is_some();
        let full = !known && self.store().requests_len()? >= REQUESTS_MAX;
        let blocked = person.relation == Relation::Blocked;
        let welcome = WithTree {
            message: &request.welcome,
            tree: &request.tree,
        };
        let me = self.profile.device();
        let looked = inspect_invitation(&self.key_store(), me, welcome, &request.note);
        match looked {
            Err(WelcomeError::NeedsTree) if request.tree.is_empty() => {
                self.store().put_treeless(&request, epoch)?;
                self.ask_tree(&request, epoch);
                Ok(())
            }
            Ok((summary, about)) => match summary.roster.policy.group_rules() {
                Some(_) if blocked => Ok(()),
                Some(rules) if self.is_as_said(&request, &summary) => {
                    self.group_welcome(request, (&summary, about), rules)
                }
                None if full && person.relation == Relation::Known => Ok(()),
                _ => self.welcome_read(request, &summary),
            },
            Err(error) => {
                let error = welcome_failure(error)?;
                if blocked {
                    return Ok(());
                }
                let again =
                    matches!(error, WelcomeError::AlreadyIn) && self.end_earlier_stay(&request)?;
                match again {
                    true => self.consider_welcome(request, epoch),
                    false => self.welcome_unusable(&request, person.relation, &error),
                }
            }
        }
    }

    fn ask_tree(&mut self, request: &RequestRow, epoch: u64) {
        let (conversation, generation) = (request.conversation, request.generation);
        let purpose = Purpose::Tree {
            conversation,
            generation,
            epoch,
        };
        self.request(
            purpose,
            Ask::GetTree(wire::GetTree {
                conversation_id: conversation.to_vec(),
                generation,
                epoch,
            }),
        );
    }

    /// When a session begins: trees that were not answered before.
    pub(super) fn ask_trees(&mut self) -> Result<(), EngineError> {
        for (request, epoch) in self.store().treeless()? {
            self.ask_tree(&request, epoch);
        }
        Ok(())
    }

    /// The tree that a welcome leads to; one that does not fit is found out by its hash.
    pub(super) fn tree_answered(
        &mut self,
        (conversation, generation, epoch): (ConversationId, u32, u64),
        answer: Answer,
    ) -> Result<(), EngineError> {
        let is_it = |(row, at): &(RequestRow, u64)| {
            (row.conversation, row.generation, *at) == (conversation, generation, epoch)
        };
        let Some((mut request, _)) = self.store().treeless()?.into_iter().find(is_it) else {
            return Ok(());
        };
        match answer {
            Answer::Tree(tree) => {
                self.store().remove_treeless(&request, epoch)?;
                request.tree = tree.ratchet_tree;
                self.consider_welcome(request, epoch)
            }
            // Out of it meanwhile, or the tree is too old; otherwise the next session asks again.
            Answer::Error(error)
                if matches!(
                    ErrorCode::from_number(error.code),
                    ErrorCode::UnknownConversation | ErrorCode::NotAllowed
                ) =>
            {
                Ok(self.store().remove_treeless(&request, epoch)?)
            }
            _ => Ok(()),
        }
    }

    /// A welcome that leads nowhere. From a contact the conversation is then
    /// entered by external commit; from a stranger it is forgotten.
    fn welcome_unusable(
        &mut self,
        request: &RequestRow,
        relation: Relation,
        error: &WelcomeError,
    ) -> Result<(), EngineError> {
        if matches!(error, WelcomeError::AlreadyIn) {
            return Ok(());
        }
        self.security(
            SecurityKind::PolicyRejected,
            Some(request.conversation),
            Some(&request.inviter),
            "an invitation that does not verify, or that was made with a used key, was not followed",
        );
        if relation != Relation::Contact {
            return Ok(());
        }
        match self
            .store()
            .conversation_with(&Talk::from(&request.inviter))?
        {
            Some(row) if row.id == request.conversation && row.generation < request.generation => {
                self.break_conversation(row, "its invitation cannot be used")
            }
            Some(_) => Ok(()),
            None => {
                let mut row = self.new_row(
                    request.conversation,
                    &Talk::from(&request.inviter),
                    request.generation,
                    ConversationState::Active,
                );
                row.cursor = request.seq;
                self.break_conversation(row, "its invitation cannot be used")
            }
        }
    }

    /// Whether a welcome is from whom, and to where, the server said.
    fn is_as_said(&self, request: &RequestRow, summary: &WelcomeSummary) -> bool {
        let address = Address {
            conversation: request.conversation,
            generation: request.generation,
        };
        summary.address == address && *summary.inviter.username() == request.inviter
    }

    fn welcome_read(
        &mut self,
        mut request: RequestRow,
        summary: &WelcomeSummary,
    ) -> Result<(), EngineError> {
        let me = self.my_name().clone();
        let fits = self.is_as_said(&request, summary)
            && summary.roster.policy.peer_of(&me) == Some(&request.inviter);
        if !fits {
            self.security(
                SecurityKind::PolicyRejected,
                Some(request.conversation),
                Some(&request.inviter),
                "an invitation was not from whom the server said, or not to a conversation of two",
            );
            return Ok(());
        }
        request.identity = *summary.inviter.identity_key();
        let inviter = request.inviter.clone();
        let trust = self.identity_compared(&inviter, &request.identity)?;
        let wanted = self.person(&inviter)?.relation == Relation::Contact;
        if trust == Trust::Pinned && wanted {
            return self.enter_request(request, Keep::Saved);
        }
        if self.person(&inviter)?.relation == Relation::Blocked {
            // Kept unseen: after `unblock` what is written next asks again.
            request.standing = RequestStanding::TurnedAway;
            return Ok(self.store().put_request(&request)?);
        }
        let before = self.store().request(&inviter)?.map(|row| row.standing);
        if before.is_some_and(|before| before != RequestStanding::Waits) {
            request.standing = RequestStanding::WaitsAgain;
        }
        self.store().put_request(&request)?;
        if before.is_none_or(|before| before == RequestStanding::TurnedAway) {
            self.announce_request(&request)?;
        }
        Ok(())
    }

    pub(super) fn announce_request(&mut self, request: &RequestRow) -> Result<(), EngineError> {
        let request = self.request_of(request)?;
        self.emit(Event::Request(request));
        Ok(())
    }

    /// As for an identity that the server shows, but a stranger's is not
    /// pinned before there is consent.
    fn identity_compared(
        &mut self,
        name: &Username,
        identity: &[u8; 32],
    ) -> Result<Trust, EngineError> {
        match self.store().peer(name)?.and_then(|person| person.identity) {
            None => Ok(Trust::Pinned),
            Some(_) => self.identity_shown(name, identity),
        }
    }

    /// Follows an invitation, with consent: joins, reads what was kept of the
    /// log and the rest of it.
    pub(super) fn enter_request(
        &mut self,
        request: RequestRow,
        keep: Keep,
    ) -> Result<(), EngineError> {
        let inviter = request.inviter.clone();
        self.store().remove_request(&inviter)?;
        self.set_step(&Talk::from(&inviter), Step::Idle);
        if self.identity_shown(&inviter, &request.identity)? == Trust::Changed {
            self.store().put_request(&request)?;
            return Ok(());
        }
        let mut person = self.person(&inviter)?;
        person.relation = Relation::Contact;
        self.store().put_peer(&person)?;
        let Some(mut row) = self.row_for(&request, keep)? else {
            return Ok(());
        };
        let address = Address {
            conversation: request.conversation,
            generation: request.generation,
        };
        let joined = Group::join(
            &self.key_store(),
            self.profile.device(),
            address,
            &request.welcome,
        );
        match joined {
            Ok((group, summary)) => match self.check_members(&summary.roster, &row.talk)? {
                Ok(()) => {
                    row.baseline = match summary.roster.epoch {
                        // What was written before it was turned away is not missed.
                        1 if row.generation == 0 && request.standing == RequestStanding::Waits => {
                            Baseline::FromStart
                        }
                        _ => Baseline::FirstSeen,
                    };
                    self.keep_group(group);
                    self.entered(row, &request)
                }
                Err(Mismatch::Identity(_) | Mismatch::Members) => {
                    group.delete(&self.key_store())?;
                    self.break_conversation(row, "its members are not the two people")
                }
            },
            Err(error) => {
                let error = welcome_failure(error)?;
                self.welcome_unusable(&request, Relation::Known, &error)?;
                self.break_conversation(row, "its invitation cannot be used")
            }
        }
    }

    /// The conversation that an invitation is for, ready to be entered anew;
    /// `None` when the invitation is older than what is here.
    fn row_for(
        &mut self,
        request: &RequestRow,
        keep: Keep,
    ) -> Result<Option<ConversationRow>, EngineError> {
        match self
            .store()
            .conversation_with(&Talk::from(&request.inviter))?
        {
            Some(row) if row.id == request.conversation => {
                let newer =
                    request.generation > row.generation || row.state == ConversationState::Creating;
                if !newer {
                    return Ok(None);
                }
                self.delete_group(&row)?;
                self.store().remove_pending(&row.id)?;
                let mut row = row;
                row.generation = request.generation;
                Ok(Some(row))
            }
            Some(row) if row.state == ConversationState::Creating && row.generation == 0 => {
                // Both began at once; the server took theirs.
                self.delete_group(&row)?;
                self.store().delete_conversation(&row.id)?;
                Ok(Some(self.row_of_request(request, keep)))
            }
            Some(row) => {
                self.security(
                    SecurityKind::PolicyRejected,
                    Some(row.id),
                    Some(&request.inviter),
                    "a second conversation with this person was not entered",
                );
                Ok(None)
            }
            None => Ok(Some(self.row_of_request(request, keep))),
        }
    }

    fn row_of_request(&self, request: &RequestRow, keep: Keep) -> ConversationRow {
        let mut row = self.new_row(
            request.conversation,
            &Talk::from(&request.inviter),
            request.generation,
            ConversationState::Active,
        );
        row.keep = keep;
        row
    }

    fn entered(
        &mut self,
        mut row: ConversationRow,
        request: &RequestRow,
    ) -> Result<(), EngineError> {
        if row.cursor > 0 && request.seq > row.cursor + 1 {
            self.entries_missing(&row, row.cursor + 1, request.seq - row.cursor - 1)?;
            self.store().forget_sender_counters(&row.id)?;
        }
        self.store().put_conversation(&row)?;
        self.entered_at(&row, request.seq)?;
        row.state = ConversationState::Active;
        row.cursor = row.cursor.max(request.seq);
        row.last_commit = Vec::new();
        row.own_since_update = 0;
        row.update_due_ms = self.update_after_join(2);
        row.updated_at_ms = self.now.unix_ms;
        self.store().put_conversation(&row)?;
        self.store().unseal_for(&row.talk)?;
        self.forget_old_generations(&row)?;
        self.succeeded(&row.talk);
        self.replace_key_package(Some(Suite::Hybrid))?;
        for (seq, bytes) in self.store().take_request_entries(&row.id)? {
            if bytes.is_empty() {
                self.pass_over(&row.id, seq)?;
            } else if let Ok(envelope) = wire::Envelope::decode(bytes.as_slice()) {
                self.envelope(envelope)?;
            }
        }
        let cursor = self
            .store()
            .conversation(&row.id)?
            .map_or(row.cursor, |row| row.cursor);
        self.resume(&row.id, cursor);
        Ok(())
    }
}
