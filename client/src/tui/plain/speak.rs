//! Events in words, one line each, as somebody hears them.
//!
//! It refuses signs that have no word, line breaks of any kind within a line, and more of a
//! message than anybody listens to.

use sotto_crypto::content::MessageRef;
use sotto_protocol::Username;

use super::references::References;
use crate::cli::inside::{App, Style};
use crate::engine::api::{
    Change, ChangeKind, Chat, Connection, Direction, Event, GroupNews, Invitation, Membership,
    Message, MessageBody, Put, Request, SecurityEvent,
};
use crate::exit::Failure;
use crate::safe_text::SafeText;
use crate::talk::Talk;
use crate::wording;

/// Cells of a line; a message of 65,536 bytes has no more.
const LINE_CELLS: usize = 70_000;
/// Cells of what a message answers.
const QUOTE_CELLS: usize = 60;
/// Lines of a message that are told; the rest is in `/history`.
const LINES_MAX: usize = 400;
/// Characters of a title by which a group is named in a command.
const TITLE_CHARS_MAX: usize = 40;
/// Said where no conversation is open.
pub(super) const NOWHERE: &str = "No conversation is open. /chats tells them, /go NAME opens one.";

/// Shows one line, cleaned.
pub(super) fn line(app: &mut App, words: &str) -> Result<(), Failure> {
    let line = SafeText::line(words, LINE_CELLS);
    app.printer.line(&[(Style::Plain, &line)])
}

/// A text in one line: where its writer broke it stands a stroke.
fn joined(text: &str) -> String {
    let lines = SafeText::lines(text, LINES_MAX);
    let lines: Vec<&str> = lines.iter().map(SafeText::as_str).collect();
    lines.join(" / ")
}

/// Tells things to one account.
#[derive(Debug)]
pub(super) struct Speech {
    own: Username,
}

impl Speech {
    /// To this account.
    pub(super) const fn new(own: Username) -> Self {
        Self { own }
    }

    /// The first line.
    pub(super) fn greeting(&self) -> String {
        format!("You are {}. /help tells what can be typed.", self.own)
    }

    fn who(&self, name: &Username) -> String {
        if *name == self.own {
            "you".to_owned()
        } else {
            name.to_string()
        }
    }

    /// A message with its number and time.
    pub(super) fn message(
        &self,
        message: &Message,
        (number, time): (u32, &str),
        open: Option<&Talk>,
    ) -> String {
        let who = match message.direction {
            Direction::Incoming => message.sender.to_string(),
            Direction::Outgoing => "you".to_owned(),
        };
        let place = if open == Some(&message.talk) {
            String::new()
        } else {
            match (&message.talk, message.direction) {
                (Talk::Group(_), _) => {
                    format!(" in {}", message.talk.label(message.title.as_deref()))
                }
                (Talk::Person(name), Direction::Outgoing) => format!(" to {name}"),
                (Talk::Person(_), Direction::Incoming) => " to you".to_owned(),
            }
        };
        let details = &message.details;
        let mut notes = String::new();
        if let Some(reply) = &details.reply {
            let quoted = reply
                .quote
                .as_deref()
                .unwrap_or("a message that is not here");
            let quoted = SafeText::line(&joined(quoted), QUOTE_CELLS);
            let of = match &reply.sender {
                Some(sender) => self.who(sender),
                None => "somebody".to_owned(),
            };
            notes.push_str(&format!(", answering {of}: {quoted}"));
        }
        for (set, word) in [
            (details.edited, ", changed"),
            (details.forwarded, ", passed on"),
            (details.mentions.contains(&self.own), ", speaks to you"),
            (
                message.direction == Direction::Outgoing
                    && message.seq == 0
                    && details.not_sent.is_none(),
                ", queued",
            ),
            (details.not_sent.is_some(), ", not sent"),
        ] {
            notes.push_str(if set { word } else { "" });
        }
        let text = match &message.body {
            MessageBody::Text(text) => joined(text),
            MessageBody::Attachment(file) => {
                let caption = match file.caption.as_str() {
                    "" => String::new(),
                    caption => format!(", with the words: {}", joined(caption)),
                };
                format!("file {}, {} bytes{caption}", joined(&file.name), file.size)
            }
            MessageBody::Deleted => "taken back".to_owned(),
            MessageBody::Unknown => "a newer kind of message".to_owned(),
        };
        format!("{number} {who}{place}{notes}, {time}: {text}")
    }

    /// Anything else that is told; `None` for what is not.
    pub(super) fn event(&self, event: &Event, references: &References) -> Option<String> {
        match event {
            Event::Changed(change) => self.change(change, references),
            Event::Request(shown) => Some(request(shown)),
            Event::Invitation(shown) => Some(invitation(shown)),
            Event::JoinRequested(wish) => Some(wording::join_wish(wish)),
            Event::Group(news) => Some(group(news)),
            Event::Security(shown) => Some(security(shown)),
            Event::Membership(shown) => Some(self.membership(shown)),
            Event::Sent { id, .. } => {
                let number = references.known(id)?;
                Some(format!("{number} sent"))
            }
            Event::Connection(Connection::LoggedIn(_)) => Some("Connected.".to_owned()),
            Event::Connection(Connection::Lost) => {
                Some("Not connected; what you write is queued.".to_owned())
            }
            _ => None,
        }
    }

    fn change(&self, change: &Change, references: &References) -> Option<String> {
        let by = self.who(&change.sender);
        let which = |target: Option<MessageRef>| {
            let number = target.and_then(|target| references.known(&target.id));
            number.map_or_else(
                || "an older message".to_owned(),
                |number| number.to_string(),
            )
        };
        let which = which(change.target);
        let talk = change.talk.label(change.title.as_deref());
        Some(match &change.kind {
            ChangeKind::Edit(text) => format!("{by} changed {which}: {}", joined(text)),
            ChangeKind::Delete => format!("{by} took {which} back"),
            ChangeKind::Reaction(emoji, Put::On) => {
                format!("{by} reacted with {} to {which}", emoji.as_str())
            }
            ChangeKind::Reaction(emoji, Put::Off) => {
                format!("{by} took {} off {which}", emoji.as_str())
            }
            ChangeKind::Pin(Put::On) => format!("{by} pinned {which}"),
            ChangeKind::Pin(Put::Off) => format!("{by} took the pin off {which}"),
            ChangeKind::Timer(0) => format!("{by}: messages in {talk} stay"),
            ChangeKind::Timer(seconds) => {
                format!("{by}: messages in {talk} disappear {seconds} seconds after reading")
            }
        })
    }

    fn membership(&self, shown: &Membership) -> String {
        let what = wording::membership(shown);
        let by = if shown.by == shown.subject {
            String::new()
        } else {
            format!(", by {}", self.who(&shown.by))
        };
        format!("{} {what}{by}", self.who(&shown.subject))
    }
}

/// A stranger's wish.
pub(super) fn request(request: &Request) -> String {
    format!(
        "{0} wants to talk with you{1}: /accept {0} or /decline {0}",
        request.from,
        request.asker.warning()
    )
}

/// Somebody's invitation.
pub(super) fn invitation(invitation: &Invitation) -> String {
    // By its title where that is one plain word, which is easier heard and typed than an id.
    let plain = |title: &&String| {
        let word = |c: char| c.is_ascii_alphanumeric() || "_-".contains(c);
        (1..=TITLE_CHARS_MAX).contains(&title.chars().count()) && title.chars().all(word)
    };
    let group = match invitation.title.as_ref().filter(plain) {
        Some(title) => format!("#{title}"),
        None => {
            let id = Talk::Group(invitation.conversation).to_string();
            id.get(..wording::ID_CHARS).unwrap_or(&id).to_owned()
        }
    };
    format!(
        "{} invites you to {}: /join {group} or /decline {group}",
        invitation.from,
        invitation.group()
    )
}

fn group(news: &GroupNews) -> String {
    format!(
        "{} calls the group #{} now: {}",
        news.by, news.title, news.description
    )
}

fn security(shown: &SecurityEvent) -> String {
    let whose = shown.subject.as_ref();
    let whose = whose.map_or_else(String::new, |name| format!("{name}: "));
    let kind = shown.kind.name().replace('_', " ");
    format!("Warning, {whose}{kind}. {}", shown.action)
}

/// A conversation in the list.
pub(super) fn chat(number: usize, chat: &Chat) -> String {
    let mut line = format!("{number} {}", chat.talk.label(chat.title.as_deref()));
    for (count, word) in [
        (chat.unread, "new"),
        (chat.mentions, "that speak to you"),
        (chat.queued, "queued"),
    ] {
        if count > 0 {
            line.push_str(&format!(", {count} {word}"));
        }
    }
    if chat.draft.is_some() {
        line.push_str(", a draft");
    }
    line
}

#[cfg(test)]
mod tests {
    use sotto_protocol::{ClientMessageId, ConversationId, DeviceId};

    use super::*;

    fn name(text: &str) -> Username {
        Username::parse(text).unwrap()
    }

    fn said(talk: Talk, text: &str) -> Message {
        Message {
            conversation: ConversationId::from_bytes([1; 16]),
            talk,
            title: Some("te\u{1b}[2Jam\nx".to_owned()),
            id: ClientMessageId::from_bytes([2; 16]),
            seq: 1,
            sender: name("bob"),
            device: DeviceId::from_bytes([3; 16]),
            epoch: 1,
            direction: Direction::Incoming,
            body: MessageBody::Text(text.to_owned()),
            details: Box::default(),
            sent_at_ms: 0,
            stored_at_ms: 0,
        }
    }

    #[test]
    fn a_message_says_its_number_where_by_whom_and_when() {
        let speech = Speech::new(name("alice"));
        let bob = Talk::from(name("bob"));
        let message = said(bob.clone(), "hi\nthere");
        let at = (17, "12:04");
        assert_eq!(
            speech.message(&message, at, Some(&bob)),
            "17 bob, 12:04: hi / there"
        );
        assert_eq!(
            speech.message(&message, at, None),
            "17 bob to you, 12:04: hi / there"
        );
        let mut own = said(bob, "x");
        own.direction = Direction::Outgoing;
        own.seq = 0;
        assert_eq!(
            speech.message(&own, at, None),
            "17 you to bob, queued, 12:04: x"
        );
    }

    /// H1, H5, H6, H9: whatever anybody writes, or calls a group, is one line.
    #[test]
    fn foreign_words_stay_in_one_clean_line() {
        let speech = Speech::new(name("alice"));
        let group = Talk::Group(ConversationId::from_bytes([7; 16]));
        for text in crate::tui::corpus::texts() {
            let mut message = said(group.clone(), &text);
            message.title = Some(text.clone());
            let words = speech.message(&message, (1, "12:04"), None);
            let line = SafeText::line(&words, LINE_CELLS);
            crate::tui::corpus::check(line.as_str());
            assert!(line.as_str().starts_with("1 bob in #"), "{line}");
        }
    }

    #[test]
    fn every_line_of_a_message_is_told() {
        let text = "x\n".repeat(300);
        assert_eq!(joined(&text).matches(" / ").count(), 300);
    }
}
