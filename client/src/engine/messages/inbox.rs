//! What arrives: messages to keep and show, changes to take up.

use sotto_crypto::Body;
use sotto_protocol::{DeviceId, Username};
use sotto_roster::Role;

use super::api::{Change, ChangeKind, Put, ReceiptCount};
use super::apply::{Applied, Scene};
use crate::engine::api::{Direction, Event, Keep, Receipt, SecurityKind};
use crate::engine::inbox::Entry;
use crate::engine::{Engine, EngineError, Listening};
use crate::history::{ChangeRow, ConversationRow, Fate, Marks, MessageRow, Reader};

/// Groups with more people than this hear receipts as counts.
const RECEIPTS_BY_NAME_MAX: usize = 20;

impl Engine {
    fn scene<'a>(&'a self, row: &'a ConversationRow) -> Scene<'a> {
        Scene {
            history: self.store(),
            keep: row.keep,
            talk: &row.talk,
            me: self.my_name(),
        }
    }

    /// Writes a message down where its conversation is kept, with what waited for it.
    pub(in crate::engine) fn keep_message(
        &mut self,
        row: &ConversationRow,
        message: &MessageRow,
    ) -> Result<(), EngineError> {
        self.store().insert_message(row.keep, message)?;
        self.scene(row).arrived(message)?;
        self.plan_expiry()
    }

    /// A message that is in order: stored, shown, receipted; or taken up as
    /// what it does to another.
    pub(in crate::engine) fn message_accepted(
        &mut self,
        row: &ConversationRow,
        entry: &Entry,
        message: sotto_crypto::Message,
    ) -> Result<(), EngineError> {
        let sender = message.sender.username().clone();
        let device = *message.sender.device_id();
        let direction = match sender == *self.my_name() {
            true => Direction::Outgoing,
            false => Direction::Incoming,
        };
        let body = message.content.body;
        match body {
            Body::Text(_) | Body::Attachment(_) | Body::Unknown(_) => {
                let mentions_me = direction == Direction::Incoming && self.speaks_to_me(&body);
                let stored = MessageRow {
                    conversation: row.id,
                    seq: entry.seq,
                    client_id: entry.client_id,
                    sender,
                    device,
                    epoch: message.epoch,
                    direction,
                    sent_at_ms: message.content.sent_at_ms,
                    stored_at_ms: entry.stored_at_ms,
                    body,
                    fate: Fate::There,
                    edited_seq: 0,
                    mentions_me,
                    expires_at_ms: None,
                };
                self.message_came(row, stored)
            }
            Body::Edit(_) | Body::Delete(_) | Body::Reaction(_) | Body::Pin(_) | Body::Timer(_) => {
                let change = ChangeRow {
                    conversation: row.id,
                    seq: entry.seq,
                    client_id: entry.client_id,
                    sender,
                    device,
                    direction,
                    sent_at_ms: message.content.sent_at_ms,
                    stored_at_ms: entry.stored_at_ms,
                    body,
                    by_admin: false,
                    waits: false,
                    shown: false,
                };
                self.change_came(row, change)
            }
            Body::Receipt {
                delivered_up_to,
                read_up_to,
                readable_from,
            } => {
                let receipt = Receipt {
                    conversation: row.id,
                    by: sender,
                    delivered_up_to,
                    read_up_to,
                    readable_from,
                };
                self.receipt_came(row, receipt, &device)
            }
            Body::Profile(profile) => {
                self.profile_came(row, (&sender, direction), (entry.seq, profile))
            }
            Body::GroupInfo(info) => {
                self.timer_said_along(row, &sender, (entry.seq, info.expires_after_s))?;
                self.info_heard(row, &message.sender, info)
            }
            Body::JoinLink(link) => self.link_heard(row, &message.sender, &link),
        }
    }

    /// Newcomers hear the timer with the title.
    fn timer_said_along(
        &mut self,
        row: &ConversationRow,
        sender: &Username,
        timer: (u64, u32),
    ) -> Result<(), EngineError> {
        if self.is_admin(row, sender)? {
            self.store().note_timer(row.keep, &row.id, sender, timer)?;
        }
        Ok(())
    }

    fn speaks_to_me(&self, body: &Body) -> bool {
        matches!(body, Body::Text(text) if text.mentions.contains(self.my_name()))
    }

    fn message_came(
        &mut self,
        row: &ConversationRow,
        stored: MessageRow,
    ) -> Result<(), EngineError> {
        let (direction, seq) = (stored.direction, stored.seq);
        let reference = stored.reference();
        self.keep_message(row, &stored)?;
        if self.listening != Listening::No || row.keep == Keep::Unsaved {
            // As it stands after what waited for it.
            if let Some(kept) = self.store().message(row.keep, &row.id, &reference)? {
                let message = self.to_message(row, kept)?;
                self.emit(Event::Message(message));
            }
        }
        if direction == Direction::Incoming {
            self.message_arrived(&row.id, seq)?;
        }
        Ok(())
    }

    /// Whether somebody is an admin of a group now, as the log stands here.
    pub(in crate::engine) fn is_admin(
        &mut self,
        row: &ConversationRow,
        name: &Username,
    ) -> Result<bool, EngineError> {
        if row.talk.person().is_some() {
            return Ok(false);
        }
        let Some(group) = self.take_group(row)? else {
            return Ok(false);
        };
        let role = group.roster().policy.role_of(name);
        self.keep_group(group);
        Ok(matches!(role, Some(Role::Owner | Role::Admin)))
    }

    /// Somebody's, or from another device the own account's, change in an
    /// opened conversation.
    pub(in crate::engine) fn change_came(
        &mut self,
        row: &ConversationRow,
        mut change: ChangeRow,
    ) -> Result<(), EngineError> {
        change.by_admin = self.is_admin(row, &change.sender)?;
        match self.scene(row).apply(&change)? {
            Applied::Done => self.tell_change(row, change),
            Applied::Refused(why) => {
                let sender = change.sender.clone();
                self.security(
                    SecurityKind::PolicyRejected,
                    Some(row.id),
                    Some(&sender),
                    why,
                );
                Ok(())
            }
            Applied::Waits | Applied::Nothing => Ok(()),
        }
    }

    fn tell_change(&mut self, row: &ConversationRow, change: ChangeRow) -> Result<(), EngineError> {
        let told = self.listening != Listening::No
            || row.keep == Keep::Unsaved
            || change.direction == Direction::Outgoing;
        if !told {
            return Ok(self.store().keep_change(row.keep, &change)?);
        }
        if let Some(event) = to_change(row, change) {
            self.emit(Event::Changed(event));
        }
        Ok(())
    }

    /// Changes that came while nobody listened.
    pub(in crate::engine) fn stage_unshown_changes(
        &mut self,
        limit: u32,
    ) -> Result<(), EngineError> {
        for change in self.store().unshown_changes(limit)? {
            self.store()
                .change_shown(&change.conversation, change.seq)?;
            let Some(row) = self.store().conversation(&change.conversation)? else {
                continue;
            };
            if let Some(event) = to_change(&row, change) {
                self.emit(Event::Changed(event));
            }
        }
        Ok(())
    }

    /// A receipt of somebody else: by name, or in large groups as a count.
    pub(in crate::engine) fn receipt_came(
        &mut self,
        row: &ConversationRow,
        receipt: Receipt,
        device: &DeviceId,
    ) -> Result<(), EngineError> {
        if receipt.by == *self.my_name() {
            return Ok(());
        }
        let marks = Marks {
            delivered: receipt.delivered_up_to,
            read: receipt.read_up_to,
        };
        let reader = Reader {
            conversation: &row.id,
            account: &receipt.by,
            device,
        };
        self.store()
            .note_reader(row.keep, reader, marks, receipt.readable_from)?;
        if self.people_in(row)? <= RECEIPTS_BY_NAME_MAX {
            self.emit(Event::Receipt(receipt));
            return Ok(());
        }
        let own = self.store().last_own_seq(row.keep, &row.id)?;
        if own > 0 {
            let reached = self.store().reached(row.keep, &row.id, own)?;
            self.emit(Event::Counted(ReceiptCount {
                conversation: row.id,
                talk: row.talk.clone(),
                seq: own,
                delivered_to: reached.delivered_to,
                read_by: reached.read_by,
            }));
        }
        Ok(())
    }

    fn people_in(&mut self, row: &ConversationRow) -> Result<usize, EngineError> {
        if row.talk.person().is_some() {
            return Ok(2);
        }
        let Some(group) = self.take_group(row)? else {
            return Ok(0);
        };
        let people = group.roster().accounts().len();
        self.keep_group(group);
        Ok(people)
    }
}

/// The event for a change; none for a body that is no change.
fn to_change(row: &ConversationRow, change: ChangeRow) -> Option<Change> {
    let target = change.target();
    let kind = match change.body {
        Body::Edit(edit) => ChangeKind::Edit(edit.text),
        Body::Delete(_) => ChangeKind::Delete,
        Body::Reaction(reaction) => {
            ChangeKind::Reaction(reaction.emoji, Removed(reaction.remove).into())
        }
        Body::Pin(pin) => ChangeKind::Pin(Removed(pin.remove).into()),
        Body::Timer(expires_after_s) => ChangeKind::Timer(expires_after_s),
        _ => return None,
    };
    Some(Change {
        conversation: row.id,
        talk: row.talk.clone(),
        title: row.title.clone(),
        id: change.client_id,
        seq: change.seq,
        sender: change.sender,
        device: change.device,
        direction: change.direction,
        target,
        kind,
        sent_at_ms: change.sent_at_ms,
        stored_at_ms: change.stored_at_ms,
    })
}

impl From<Removed> for Put {
    fn from(Removed(removed): Removed) -> Self {
        if removed { Self::Off } else { Self::On }
    }
}

/// The wire's word for what was taken back.
struct Removed(bool);
