//! Events and failures as the objects that scripts read: one a line, with
//! the names of the client contract.

use serde_json::{Value, json};
use sotto_protocol::Username;

use super::api::{
    Admission, Event, Failure, Invitation, JoinRequest, LinkView, Membership, MembershipChange,
    Past, role_name,
};
use crate::invite_link::{InviteLink, id_text};
use crate::wording;

impl Failure {
    /// The object on stderr with `--json`.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let mut error = json!({ "code": self.code, "message": self.message });
        if let (Some(ms), Some(object)) = (self.retry_after_ms, error.as_object_mut()) {
            object.insert("retry_after".into(), json!(ms));
        }
        json!({ "error": error })
    }
}

impl Membership {
    fn to_json(&self) -> Value {
        let mut object = json!({
            "event": "membership",
            "conversation": self.conversation.to_string(),
            "to": self.talk.label(self.title.as_deref()),
            "change": self.change.name(),
            "subject": self.subject.as_str(),
            "by": self.by.as_str(),
            "epoch": self.epoch,
        });
        if let (MembershipChange::Role(role), Some(object)) = (self.change, object.as_object_mut())
        {
            object.insert("role".into(), json!(role_name(role)));
        }
        object
    }
}

impl Invitation {
    /// The object on stdout with `--json`.
    #[must_use]
    pub fn to_json(&self) -> Value {
        json!({
            "event": "invitation",
            "conversation": self.conversation.to_string(),
            "from": self.from.as_str(),
            "title": self.title,
            "description": self.description,
            "members": self.members,
            "received_at_ms": self.received_at_ms,
        })
    }
}

impl LinkView {
    /// The object on stdout with `--json`. It holds the link's secret.
    #[must_use]
    pub fn to_json(&self) -> Value {
        json!({
            "event": "invite_link",
            "conversation": self.conversation.to_string(),
            "id": id_text(&self.id),
            "link": self.link.as_ref().map(InviteLink::text),
            "expires_at_ms": self.expires_at_ms,
            "uses_left": self.uses_left,
            "approval": self.admission.map(|admission| admission == Admission::ByAdmin),
        })
    }
}

impl JoinRequest {
    /// The object on stdout with `--json`.
    #[must_use]
    pub fn to_json(&self) -> Value {
        json!({
            "event": "join_request",
            "conversation": self.conversation.to_string(),
            "to": self.talk.label(self.title.as_deref()),
            "name": self.name.as_str(),
            "received_at_ms": self.received_at_ms,
            "put_out": self.past == Past::PutOut,
        })
    }
}

impl Event {
    /// The object on stdout with `--json`; `None` for what scripts do not see
    /// as an event (answers to commands and the session's state).
    #[must_use]
    pub fn to_json(&self) -> Option<Value> {
        Some(match self {
            Self::Message(message) => message.to_json(),
            Self::Changed(change) => change.to_json(),
            Self::Expired(expired) => expired.to_json(),
            Self::Counted(count) => count.to_json(),
            Self::Profile(contact) => contact.to_json(),
            Self::Typing(typing) => typing.to_json(),
            Self::Membership(membership) => membership.to_json(),
            Self::Invitation(invitation) => invitation.to_json(),
            Self::JoinRequested(request) => request.to_json(),
            Self::Group(news) => json!({
                "event": "group",
                "conversation": news.conversation.to_string(),
                "title": news.title,
                "description": news.description,
                "by": news.by.as_str(),
            }),
            Self::Receipt(receipt) => json!({
                "event": "receipt",
                "conversation": receipt.conversation.to_string(),
                "by": receipt.by.as_str(),
                "delivered_up_to": receipt.delivered_up_to,
                "read_up_to": receipt.read_up_to,
                "readable_from": receipt.readable_from,
            }),
            Self::Request(request) => json!({
                "event": "request",
                "conversation": request.conversation.to_string(),
                "from": request.from.as_str(),
                "received_at_ms": request.received_at_ms,
            }),
            Self::Security(security) => json!({
                "event": "security",
                "kind": security.kind.name(),
                "conversation": security.conversation.map(|id| id.to_string()),
                "subject": security.subject.as_ref().map(Username::as_str),
                "action": security.action,
                "count": security.count,
            }),
            Self::Sent {
                id,
                to,
                title,
                conversation,
                seq,
            } => json!({
                "event": "sent",
                "id": id.to_string(),
                "to": to.label(title.as_deref()),
                "conversation": conversation.to_string(),
                "seq": seq,
            }),
            Self::SendFailed {
                id,
                to,
                title,
                failure,
            } => json!({
                "event": "not_sent",
                "id": id.to_string(),
                "to": to.label(title.as_deref()),
                "waits": wording::waits_still(failure),
                "code": failure.code,
                "message": failure.message,
            }),
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::api::{
        Asker, Direction, Message, MessageBody, Request, SecurityEvent, SecurityKind,
    };
    use sotto_protocol::{ClientMessageId, ConversationId, DeviceId};

    #[test]
    fn events_look_like_this() {
        let bob = Username::parse("bob").unwrap();
        let conversation = ConversationId::from_bytes([1; 16]);
        let events = [
            Event::Message(Message {
                conversation,
                talk: bob.clone().into(),
                title: None,
                id: ClientMessageId::from_bytes([2; 16]),
                seq: 7,
                sender: bob.clone(),
                device: DeviceId::from_bytes([3; 16]),
                epoch: 4,
                direction: Direction::Incoming,
                body: MessageBody::Text("hi".to_owned()),
                details: Box::default(),
                sent_at_ms: 5,
                stored_at_ms: 6,
            }),
            Event::Request(Request {
                conversation,
                from: bob.clone(),
                received_at_ms: 8,
                asker: Asker::New,
            }),
            Event::Security(SecurityEvent {
                kind: SecurityKind::Gap,
                conversation: Some(conversation),
                subject: Some(bob.clone()),
                action: "shown".to_owned(),
                count: 2,
            }),
            Event::Sent {
                id: ClientMessageId::from_bytes([2; 16]),
                to: bob.into(),
                title: None,
                conversation,
                seq: 9,
            },
            Event::CaughtUp,
        ];
        let lines: Vec<_> = events
            .iter()
            .map(|event| {
                event
                    .to_json()
                    .map_or("nothing".to_owned(), |value| value.to_string())
            })
            .collect();
        insta::assert_snapshot!(lines.join("\n"));
        let failure = Failure {
            code: "blocked",
            message: "no".to_owned(),
            retry_after_ms: Some(5),
        };
        insta::assert_snapshot!(failure.to_json());
    }
}
