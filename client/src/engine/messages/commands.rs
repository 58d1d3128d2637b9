//! What the person here does with messages: judged as far as this device
//! knows, and queued like everything else.

use sotto_crypto::Body;
use sotto_crypto::content::{
    Attachment, EXPIRES_AFTER_S_MAX, Edit, MENTIONS_MAX, MessageRef, Pin, QUOTE_BYTES_MAX,
    Reaction, Reply, TEXT_BYTES_MAX, Text,
};
use sotto_protocol::{ClientMessageId, Username};

use super::api::{MessageCommand, Put, SendOptions, Target};
use crate::engine::api::{CommandId, Keep};
use crate::engine::outbox::read_body;
use crate::engine::{Engine, EngineError};
use crate::history::{ConversationRow, Fate, OutboxRow};
use crate::talk::Talk;

/// Where the setting lies that turns receipts off.
pub(in crate::engine) const RECEIPTS: &str = "receipts";
pub(in crate::engine) const OFF: &str = "off";

/// A message that a command is about.
struct Found {
    body: Body,
    sender: Username,
    /// Still in the outbox.
    queued: Option<OutboxRow>,
}

/// Why a command is refused: code and sentence.
type Refusal = (&'static str, &'static str);

const NOT_HERE: Refusal = (
    "unknown_message",
    "there is no such message here; `history` lists those that are",
);

impl Engine {
    pub(in crate::engine) fn message_command(
        &mut self,
        id: CommandId,
        command: MessageCommand,
    ) -> Result<(), EngineError> {
        match command {
            MessageCommand::Write {
                to,
                text,
                options,
                client_id,
            } => self.write(id, &to, (text, options), client_id),
            MessageCommand::Attach {
                to,
                attachment,
                client_id,
            } => self.attach(id, &to, attachment, client_id),
            MessageCommand::Edit {
                target,
                text,
                mentions,
                client_id,
            } => self.edit(id, &target, (text, mentions), client_id),
            MessageCommand::Delete { target, client_id } => self.delete(id, &target, client_id),
            MessageCommand::React {
                target,
                emoji,
                put,
                client_id,
            } => {
                let body = Body::Reaction(Reaction {
                    target: target.message,
                    emoji,
                    remove: put == Put::Off,
                });
                self.about(id, &target, body, client_id)
            }
            MessageCommand::Pin {
                target,
                put,
                client_id,
            } => self.pin(id, &target, put, client_id),
            MessageCommand::Forward {
                target,
                to,
                client_id,
            } => self.forward(id, &target, &to, client_id),
            MessageCommand::SetTimer {
                to,
                expires_after_s,
                client_id,
            } => self.set_timer(id, &to, expires_after_s, client_id),
            MessageCommand::Draft { to, text } => self.draft_changed(id, &to, &text),
            MessageCommand::Mute { to, mute } => {
                self.store().put_mute(&to, mute)?;
                self.done(id);
                Ok(())
            }
            MessageCommand::Typing { to } => self.typing(id, &to),
            MessageCommand::SetReceipts(put) => {
                let value = if put == Put::On { "on" } else { OFF };
                self.store().put_preference(RECEIPTS, value)?;
                self.done(id);
                Ok(())
            }
        }
    }

    fn refuse(&mut self, id: CommandId, (code, message): Refusal) -> Result<(), EngineError> {
        self.failed(id, code, message);
        Ok(())
    }

    pub(in crate::engine) fn write(
        &mut self,
        id: CommandId,
        to: &Talk,
        (text, options): (String, SendOptions),
        client_id: ClientMessageId,
    ) -> Result<(), EngineError> {
        if text.len() > TEXT_BYTES_MAX {
            return self.refuse(id, ("too_large", "a message has at most 65,536 bytes"));
        }
        if options.mentions.len() > MENTIONS_MAX {
            return self.refuse(id, ("too_large", "a message speaks to at most 64 people"));
        }
        let reply = match options.reply_to {
            None => None,
            Some(message) => {
                let target = Target {
                    talk: to.clone(),
                    message,
                };
                let Some(found) = self.find(&target)? else {
                    return self.refuse(id, NOT_HERE);
                };
                Some(Reply {
                    to: message,
                    quote: quotation(&found.body),
                })
            }
        };
        let expires_after_s = match options.expires_after_s {
            Some(seconds) if seconds > EXPIRES_AFTER_S_MAX => {
                return self.refuse(id, ("usage", "a timer has at most 366 days"));
            }
            Some(seconds) => seconds,
            None => self.timer_of(to)?,
        };
        let body = Body::Text(Text {
            text,
            reply,
            mentions: options.mentions,
            forwarded: false,
            expires_after_s,
        });
        self.queue_body(id, to, &body, client_id)
    }

    fn attach(
        &mut self,
        id: CommandId,
        to: &Talk,
        mut attachment: Box<Attachment>,
        client_id: ClientMessageId,
    ) -> Result<(), EngineError> {
        if attachment.expires_after_s == 0 {
            attachment.expires_after_s = self.timer_of(to)?;
        }
        self.queue_body(id, to, &Body::Attachment(attachment), client_id)
    }

    fn edit(
        &mut self,
        id: CommandId,
        target: &Target,
        (text, mentions): (String, Vec<Username>),
        client_id: ClientMessageId,
    ) -> Result<(), EngineError> {
        let Some(found) = self.find(target)? else {
            return self.refuse(id, NOT_HERE);
        };
        if found.sender != *self.my_name() {
            return self.refuse(id, ("not_allowed", "only its author can change a message"));
        }
        if !matches!(found.body, Body::Text(_) | Body::Attachment(_)) {
            return self.refuse(id, ("not_allowed", "this message has no text to change"));
        }
        let body = Body::Edit(Edit {
            target: target.message,
            text,
            mentions,
        });
        self.queue_body(id, &target.talk, &body, client_id)
    }

    fn delete(
        &mut self,
        id: CommandId,
        target: &Target,
        client_id: ClientMessageId,
    ) -> Result<(), EngineError> {
        let Some(found) = self.find_any(target)? else {
            return self.refuse(id, NOT_HERE);
        };
        if found.sender != *self.my_name() && !self.am_admin(&target.talk)? {
            return self.refuse(
                id,
                (
                    "not_allowed",
                    "only its author, or in a group an admin, can take a message back",
                ),
            );
        }
        let never_left = found
            .queued
            .as_ref()
            .is_some_and(|queued| queued.counter.is_none() || queued.refused.is_some());
        if never_left {
            // Nobody has it: there is nothing to take back.
            self.store().remove_outbox(&target.message.id)?;
            if let Body::Attachment(file) = &found.body {
                self.store().put_blob_due(&file.blob_id)?;
            }
            self.done(id);
            return Ok(());
        }
        self.queue_body(id, &target.talk, &Body::Delete(target.message), client_id)
    }

    fn pin(
        &mut self,
        id: CommandId,
        target: &Target,
        put: Put,
        client_id: ClientMessageId,
    ) -> Result<(), EngineError> {
        if target.talk.person().is_none() && !self.am_admin(&target.talk)? {
            return self.refuse(id, ("not_allowed", "only an admin can pin messages here"));
        }
        let body = Body::Pin(Pin {
            target: target.message,
            remove: put == Put::Off,
        });
        self.about(id, target, body, client_id)
    }

    /// Queues what is about a message that must be here.
    fn about(
        &mut self,
        id: CommandId,
        target: &Target,
        body: Body,
        client_id: ClientMessageId,
    ) -> Result<(), EngineError> {
        match self.find(target)? {
            Some(_) => self.queue_body(id, &target.talk, &body, client_id),
            None => self.refuse(id, NOT_HERE),
        }
    }

    fn forward(
        &mut self,
        id: CommandId,
        target: &Target,
        to: &Talk,
        client_id: ClientMessageId,
    ) -> Result<(), EngineError> {
        let Some(found) = self.find_any(target)? else {
            return self.refuse(id, NOT_HERE);
        };
        let expires_after_s = self.timer_of(to)?;
        let body = match found.body {
            Body::Text(text) => Body::Text(Text {
                text: text.text,
                reply: None,
                mentions: Vec::new(),
                forwarded: true,
                expires_after_s,
            }),
            Body::Attachment(file) => Body::Attachment(Box::new(Attachment {
                reply_to: None,
                forwarded: true,
                expires_after_s,
                ..*file
            })),
            _ => {
                let why = "this version cannot pass that kind of message on";
                return self.refuse(id, ("not_allowed", why));
            }
        };
        self.queue_body(id, to, &body, client_id)
    }

    fn set_timer(
        &mut self,
        id: CommandId,
        to: &Talk,
        expires_after_s: u32,
        client_id: ClientMessageId,
    ) -> Result<(), EngineError> {
        if expires_after_s > EXPIRES_AFTER_S_MAX {
            return self.refuse(id, ("usage", "a timer has at most 366 days"));
        }
        if to.person().is_none() && !self.am_admin(to)? {
            return self.refuse(id, ("not_allowed", "only an admin can set the timer here"));
        }
        self.queue_body(id, to, &Body::Timer(expires_after_s), client_id)
    }

    fn draft_changed(&mut self, id: CommandId, to: &Talk, text: &str) -> Result<(), EngineError> {
        if text.len() > TEXT_BYTES_MAX {
            return self.refuse(id, ("too_large", "a draft has at most 65,536 bytes"));
        }
        let row = self.store().conversation_with(to)?;
        let keep = row.map_or(Keep::Saved, |row| row.keep);
        self.store().put_draft(keep, to, (text, self.now.unix_ms))?;
        self.done(id);
        Ok(())
    }

    fn am_admin(&mut self, talk: &Talk) -> Result<bool, EngineError> {
        let Some(row) = self.store().conversation_with(talk)? else {
            return Ok(false);
        };
        let me = self.my_name().clone();
        self.is_admin(&row, &me)
    }

    /// The timer of a talk, in seconds; 0 for none.
    fn timer_of(&self, talk: &Talk) -> Result<u32, EngineError> {
        match self.store().conversation_with(talk)? {
            Some(row) => Ok(self.store().timer(row.keep, &row.id)?),
            None => Ok(0),
        }
    }

    /// A message that others have or are still to have, and that was not taken back.
    fn find(&self, target: &Target) -> Result<Option<Found>, EngineError> {
        let given_up = |found: &Found| {
            let queued = found.queued.as_ref();
            queued.is_some_and(|queued| queued.refused.is_some())
        };
        Ok(self.find_any(target)?.filter(|found| !given_up(found)))
    }

    /// A message that is here and was not taken back: stored, queued, or never sent.
    fn find_any(&self, target: &Target) -> Result<Option<Found>, EngineError> {
        if let Some(row) = self.store().conversation_with(&target.talk)?
            && let Some(message) = self.stored_message(&row, &target.message)?
        {
            return Ok(Some(message));
        }
        self.queued_message(target)
    }

    fn stored_message(
        &self,
        row: &ConversationRow,
        message: &MessageRef,
    ) -> Result<Option<Found>, EngineError> {
        let found = self.store().message(row.keep, &row.id, message)?;
        Ok(found
            .filter(|found| found.fate == Fate::There)
            .map(|found| Found {
                body: found.body,
                sender: found.sender,
                queued: None,
            }))
    }

    fn queued_message(&self, target: &Target) -> Result<Option<Found>, EngineError> {
        let own = *self.profile.device().certificate().device_id();
        if target.message.device != own {
            return Ok(None);
        }
        let row = self.store().outbox_row(&target.message.id)?;
        let row = row.filter(|row| row.talk == target.talk);
        Ok(row.and_then(|row| match read_body(&row) {
            body @ (Body::Text(_) | Body::Attachment(_)) => Some(Found {
                body,
                sender: self.my_name().clone(),
                queued: Some(row),
            }),
            _ => None,
        }))
    }
}

/// What an answer quotes: the beginning, as much as fits.
fn quotation(body: &Body) -> String {
    let text = match body {
        Body::Text(text) => &text.text,
        Body::Attachment(file) if file.caption.is_empty() => &file.name,
        Body::Attachment(file) => &file.caption,
        _ => return String::new(),
    };
    let mut end = text.len().min(QUOTE_BYTES_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default().to_owned()
}
