//! "Is typing": told to the members who are online, by choice, and never
//! stored. Nothing of it goes to strangers, to whom receipts are refused, or
//! from a device that was told to send no receipts.

use std::collections::BTreeMap;

use sotto_crypto::SignalKind;
use sotto_protocol::wire::client_frame::Body as Ask;
use sotto_protocol::{ConversationId, DeviceId, wire};

use super::api::Typing;
use super::{OFF, RECEIPTS};
use crate::engine::api::{CommandId, Event};
use crate::engine::commands::ServerCommand;
use crate::engine::flight::{Purpose, Room};
use crate::engine::session::Session;
use crate::engine::{Engine, EngineError, Listening};
use crate::history::{ConversationRow, ConversationState, Relation};
use crate::talk::Talk;

/// The shortest time between two signals in one talk, in milliseconds.
const EVERY_MS: u64 = 3_000;
/// Devices whose last signal is remembered; beyond, all are forgotten.
const HEARD_MAX: usize = 4_096;

/// What was signalled lately, in memory only.
#[derive(Default)]
pub(in crate::engine) struct Signals {
    /// When this device told last; monotonic milliseconds.
    told: BTreeMap<ConversationId, u64>,
    /// The time in the last signal of each device: an older one is a repetition.
    heard: BTreeMap<(ConversationId, DeviceId), u64>,
}

impl Engine {
    pub(super) fn typing(&mut self, id: CommandId, to: &Talk) -> Result<(), EngineError> {
        let Some(row) = self.store().conversation_with(to)? else {
            self.failed(id, "unknown_conversation", "there is no such conversation");
            return Ok(());
        };
        let now_ms = self.now.monotonic_ms;
        let told = self.signals.told.get(&row.id);
        let lately = told.is_some_and(|at| at + EVERY_MS > now_ms);
        if lately || !self.may_signal(&row)? {
            // Nothing to send, and nothing that the person has to know.
            self.done(id);
            return Ok(());
        }
        let Some(group) = self.take_group(&row)? else {
            self.done(id);
            return Ok(());
        };
        let made = (SignalKind::Typing, self.now.unix_ms);
        let sealed = group.seal_signal(&self.key_store(), self.profile.device(), made);
        self.keep_group(group);
        let Ok(payload) = sealed else {
            self.failed(id, "internal", "the signal could not be sealed; try again");
            return Ok(());
        };
        self.signals.told.insert(row.id, now_ms);
        self.request(
            Purpose::Command(id, ServerCommand::Signal),
            Ask::Signal(wire::Signal {
                conversation_id: row.id.to_vec(),
                payload,
            }),
        );
        Ok(())
    }

    fn may_signal(&self, row: &ConversationRow) -> Result<bool, EngineError> {
        let wanted = self.store().preference(RECEIPTS)?.as_deref() != Some(OFF);
        let known = match row.talk.person() {
            Some(name) => {
                let person = self.person(name)?;
                person.relation == Relation::Contact && person.changed_identity.is_none()
            }
            None => true,
        };
        Ok(wanted
            && known
            && row.state == ConversationState::Active
            && self.session == Session::Live
            && self.room() == Room::Some)
    }

    /// A signal came. One that does not verify, is late or repeated, or that
    /// nobody looks at, is dropped without a word.
    pub(in crate::engine) fn signaled(&mut self, said: wire::Signaled) -> Result<(), EngineError> {
        let Ok(conversation) = ConversationId::from_slice(&said.conversation_id) else {
            return Ok(());
        };
        let Some(row) = self.store().conversation(&conversation)? else {
            return Ok(());
        };
        if self.listening == Listening::No || row.state != ConversationState::Active {
            return Ok(());
        }
        let Some(group) = self.take_group(&row)? else {
            return Ok(());
        };
        let opened = group.open_signal(&self.key_store(), &said.payload);
        self.keep_group(group);
        let Ok(signal) = opened else {
            return Ok(());
        };
        let by = signal.sender.username().clone();
        let key = (conversation, *signal.sender.device_id());
        let fresh = self
            .signals
            .heard
            .get(&key)
            .is_none_or(|last| *last < signal.made_at_ms);
        let shown = fresh
            && signal.kind == SignalKind::Typing
            && by != *self.my_name()
            && self.person(&by)?.relation != Relation::Blocked;
        if !shown {
            return Ok(());
        }
        if self.signals.heard.len() >= HEARD_MAX {
            self.signals.heard.clear();
        }
        self.signals.heard.insert(key, signal.made_at_ms);
        self.emit(Event::Typing(Typing {
            conversation,
            talk: row.talk,
            title: row.title,
            by,
        }));
        Ok(())
    }
}
