//! Messages and what is done to them, as the objects that scripts read.

use serde_json::{Value, json};
use sotto_crypto::content::MessageRef;

use super::api::{
    Change, ChangeKind, Contact, Expired, Hit, Mute, Put, ReceiptCount, ReplyTo, Typing,
};
use crate::engine::api::{Direction, Message, MessageBody};

const fn direction(direction: Direction) -> &'static str {
    match direction {
        Direction::Incoming => "in",
        Direction::Outgoing => "out",
    }
}

fn reference(message: &MessageRef) -> Value {
    json!({ "id": message.id.to_string(), "device": message.device.to_string() })
}

/// Puts further fields into an object.
fn extend(object: &mut Value, further: Value) {
    if let (Some(object), Value::Object(further)) = (object.as_object_mut(), further) {
        object.extend(further);
    }
}

impl Message {
    /// The object on stdout with `--json`.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let (kind, text) = match &self.body {
            MessageBody::Text(text) => ("text", Some(text.as_str())),
            MessageBody::Attachment(file) => ("attachment", Some(file.caption.as_str())),
            MessageBody::Deleted => ("deleted", None),
            MessageBody::Unknown => ("unknown", None),
        };
        let mut object = json!({
            "event": "message",
            "conversation": self.conversation.to_string(),
            "to": self.talk.label(self.title.as_deref()),
            "id": self.id.to_string(),
            "seq": self.seq,
            "sender": self.sender.as_str(),
            "device": self.device.to_string(),
            "epoch": self.epoch,
            "direction": direction(self.direction),
            "kind": kind,
            "text": text,
            "sent_at_ms": self.sent_at_ms,
            "stored_at_ms": self.stored_at_ms,
        });
        extend(&mut object, self.details_json());
        if let MessageBody::Attachment(file) = &self.body {
            let claims = json!({
                "file": {
                    "name": file.name,
                    "size": file.size,
                    "media_type": file.media_type,
                    "width": file.width,
                    "height": file.height,
                },
            });
            extend(&mut object, claims);
        }
        object
    }

    fn details_json(&self) -> Value {
        let details = &self.details;
        let reactions: Vec<_> = details
            .reactions
            .iter()
            .map(|reaction| {
                let by: Vec<_> = reaction.by.iter().map(ToString::to_string).collect();
                json!({ "emoji": reaction.emoji.as_str(), "by": by })
            })
            .collect();
        let mentions: Vec<_> = details.mentions.iter().map(ToString::to_string).collect();
        json!({
            "reply_to": details.reply.as_ref().map(ReplyTo::to_json),
            "edited": details.edited,
            "forwarded": details.forwarded,
            "mentions": mentions,
            "reactions": reactions,
            "pinned": details.pinned,
            "expires_after_s": details.expires_after_s,
            "expires_at_ms": details.expires_at_ms,
            "delivered_to": details.delivered_to,
            "read_by": details.read_by,
            "notify": details.notify,
            "not_sent": details.not_sent.as_ref().map(|why| {
                json!({ "code": why.code, "message": why.message })
            }),
        })
    }
}

impl ReplyTo {
    fn to_json(&self) -> Value {
        let mut object = reference(&self.message);
        let known = json!({
            "sender": self.sender.as_ref().map(ToString::to_string),
            "quote": self.quote,
        });
        extend(&mut object, known);
        object
    }
}

impl Change {
    /// The object on stdout with `--json`.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let mut object = json!({
            "event": "message",
            "conversation": self.conversation.to_string(),
            "to": self.talk.label(self.title.as_deref()),
            "id": self.id.to_string(),
            "seq": self.seq,
            "sender": self.sender.as_str(),
            "device": self.device.to_string(),
            "direction": direction(self.direction),
            "kind": self.kind.name(),
            "target": self.target.as_ref().map(reference),
            "sent_at_ms": self.sent_at_ms,
            "stored_at_ms": self.stored_at_ms,
        });
        let said = match &self.kind {
            ChangeKind::Edit(text) => json!({ "text": text }),
            ChangeKind::Delete => json!({}),
            ChangeKind::Reaction(emoji, put) => {
                json!({ "emoji": emoji.as_str(), "removed": *put == Put::Off })
            }
            ChangeKind::Pin(put) => json!({ "removed": *put == Put::Off }),
            ChangeKind::Timer(seconds) => json!({ "expires_after_s": seconds }),
        };
        extend(&mut object, said);
        object
    }
}

impl Typing {
    /// The object on stdout with `--json`.
    #[must_use]
    pub fn to_json(&self) -> Value {
        json!({
            "event": "typing",
            "conversation": self.conversation.to_string(),
            "to": self.talk.label(self.title.as_deref()),
            "by": self.by.as_str(),
        })
    }
}

impl Contact {
    /// The object on stdout with `--json`.
    #[must_use]
    pub fn to_json(&self) -> Value {
        json!({
            "event": "contact",
            "name": self.name.as_str(),
            "alias": self.alias,
            "note": self.note,
            "display_name": self.display_name,
            "status": self.status,
            "verified_at_ms": self.verified_at_ms,
            "blocked": self.blocked,
        })
    }
}

impl Expired {
    /// The object on stdout with `--json`.
    #[must_use]
    pub fn to_json(&self) -> Value {
        json!({
            "event": "expired",
            "conversation": self.conversation.to_string(),
            "id": self.message.id.to_string(),
            "device": self.message.device.to_string(),
            "seq": self.seq,
        })
    }
}

impl ReceiptCount {
    /// The object on stdout with `--json`.
    #[must_use]
    pub fn to_json(&self) -> Value {
        json!({
            "event": "receipt",
            "conversation": self.conversation.to_string(),
            "by": null,
            "seq": self.seq,
            "delivered_to": self.delivered_to,
            "read_by": self.read_by,
        })
    }
}

impl Hit {
    /// The object on stdout with `--json`: the message, found.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let mut object = self.message.to_json();
        extend(
            &mut object,
            json!({ "event": "found", "snippet": self.snippet }),
        );
        object
    }
}

impl Mute {
    /// How scripts read it.
    #[must_use]
    pub fn to_json(self) -> Value {
        match self {
            Self::Until(u64::MAX) => json!({ "until_ms": null, "mentions": false }),
            Self::Until(until_ms) => json!({ "until_ms": until_ms, "mentions": false }),
            Self::MentionsOnly => json!({ "until_ms": null, "mentions": true }),
        }
    }
}
