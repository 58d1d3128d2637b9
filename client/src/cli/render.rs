//! How events look: one object for programs, one or more lines for people.

use serde_json::Value;
use sotto_crypto::content::Attachment;
use unicode_width::UnicodeWidthStr;

use super::app::App;
use super::output::{Audience, Style, own_words};
use crate::engine::api::{
    Change, ChangeKind, Direction, Event, GroupNews, Invitation, Membership, MembershipChange,
    Message, MessageBody, Put, ReplyTo, Request, SecurityEvent, SecurityKind,
};
use crate::exit::Failure;
use crate::safe_text::{Block, CONTINUATION, SafeText};
use crate::talk::Talk;
use crate::wording;

/// The most lines of one message.
const MESSAGE_LINES_MAX: usize = 400;
/// Cells that a name is filled up to, so that texts stand in a column.
const NAME_CELLS: usize = 10;

/// Digits of a message's id that are shown.
const SHORT_ID_DIGITS: usize = 6;
/// The most cells of a quotation, and of what else there is to a message.
const QUOTE_CELLS: usize = 60;
const NOTES_CELLS: usize = 200;
/// Cells that a text must have beside its time and name.
const TEXT_CELLS_MIN: usize = 12;

/// An object, for programs only.
pub(crate) fn object(app: &mut App, value: Value) -> Result<(), Failure> {
    match app.printer.audience() {
        Audience::Programs => app.printer.json(&value),
        Audience::People => Ok(()),
    }
}

/// Whatever happened, for somebody who listens.
pub(crate) fn event(app: &mut App, event: &Event) -> Result<(), Failure> {
    if app.printer.audience() == Audience::Programs {
        return event
            .to_json()
            .map_or(Ok(()), |value| app.printer.json(&value));
    }
    match event {
        Event::Message(shown) => message(app, shown, Place::Anywhere),
        Event::Changed(shown) => change(app, shown),
        Event::Typing(shown) => {
            let line = own_words(&format!("· {} is writing", shown.by));
            app.printer.line(&[(Style::Faint, &line)])
        }
        Event::Request(shown) => request(app, shown),
        Event::Invitation(shown) => invitation(app, shown),
        Event::JoinRequested(shown) => super::invite_link::show_request(app, shown),
        Event::Group(shown) => group_news(app, shown),
        Event::Security(shown) => security(app, shown),
        Event::SendFailed {
            to, title, failure, ..
        } => not_sent(app, &to.label(title.as_deref()), failure),
        // A warning has told of the device already.
        Event::Membership(shown) if shown.change == MembershipChange::DeviceAdded => Ok(()),
        Event::Membership(shown) => membership(app, shown),
        _ => Ok(()),
    }
}

/// Whatever happened, for a command that waits for something else: messages
/// and requests stay for whoever listens next.
pub(crate) fn aside(app: &mut App, happened: &Event) -> Result<(), Failure> {
    match happened {
        Event::Security(_) | Event::SendFailed { .. } => event(app, happened),
        _ => Ok(()),
    }
}

/// Whether the reader knows which conversation a message is from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// One conversation is on the screen.
    Conversation,
    /// Messages of all conversations are.
    Anywhere,
    /// One conversation is looked through: each message with the beginning of
    /// its id, by which commands name it.
    Archive,
}

/// One message.
pub(crate) fn message(app: &mut App, message: &Message, place: Place) -> Result<(), Failure> {
    if app.printer.audience() == Audience::Programs {
        return app.printer.json(&message.to_json());
    }
    let now_ms = app.clock.now().unix_ms;
    // The server's time of storing orders the log; the sender's clock stands in while a message is queued.
    let at_ms = if message.stored_at_ms == 0 {
        message.sent_at_ms
    } else {
        message.stored_at_ms
    };
    let mut time = format!("{} ", app.zone.short(at_ms, now_ms));
    if place == Place::Archive {
        time.insert_str(0, &format!("{} ", short_id(message)));
    }
    let time = own_words(&time);
    for line in lines(message, place, time, app.printer.width_cells()) {
        let pieces: Vec<_> = line.iter().map(|(style, text)| (*style, text)).collect();
        app.printer.line(&pieces)?;
    }
    Ok(())
}

/// The lines of a message: time, name and text; where the first two leave too
/// little of a narrow terminal, the text begins below them.
fn lines(
    message: &Message,
    place: Place,
    time: SafeText,
    width_cells: Option<usize>,
) -> Vec<Vec<(Style, SafeText)>> {
    let style = match message.direction {
        Direction::Incoming => Style::Other,
        Direction::Outgoing => Style::Own,
    };
    // Whether many read along is seen before anybody answers. Who wrote stands first: no title
    // pushes it out.
    let elsewhere = message.direction == Direction::Outgoing || message.talk.group().is_some();
    let name = match place {
        Place::Anywhere if elsewhere => {
            let to = message.talk.label(message.title.as_deref());
            format!("{} → {to}", message.sender)
        }
        _ => message.sender.to_string(),
    };
    let name = SafeText::line(&format!("{name:NAME_CELLS$}"), 80);
    let unstored = message.direction == Direction::Outgoing && message.seq == 0;
    let bar = own_words(match (&message.details.not_sent, unstored) {
        (Some(_), _) => " ✗ ",
        (None, true) => " … ",
        (None, false) => " │ ",
    });
    let head_cells = time.cells() + name.cells() + bar.cells();
    let narrow = width_cells.is_some_and(|width| width < head_cells + TEXT_CELLS_MIN);
    let reply = message.details.reply.as_ref().map(quoted);
    let below = narrow || reply.is_some();
    let layout = Block {
        first_cells: if below {
            CONTINUATION.width()
        } else {
            head_cells
        },
        width_cells,
        lines_max: MESSAGE_LINES_MAX,
    };
    let text = match &message.body {
        MessageBody::Text(text) => (Style::Plain, SafeText::block(text, layout)),
        MessageBody::Attachment(file) => (Style::Plain, SafeText::block(&file_line(file), layout)),
        MessageBody::Deleted => (Style::Faint, own_words("(taken back)")),
        MessageBody::Unknown => (Style::Faint, own_words("(a newer kind of message)")),
    };
    let head = vec![(Style::Faint, time), (style, name), (Style::Faint, bar)];
    let start = || (Style::Faint, own_words(CONTINUATION));
    let mut lines = if below {
        let reply = reply.map(|reply| (Style::Faint, SafeText::line(&reply, QUOTE_CELLS)));
        let head = head.into_iter().chain(reply).collect();
        vec![head, vec![start(), text]]
    } else {
        vec![head.into_iter().chain([text]).collect()]
    };
    if let Some(notes) = wording::notes(message) {
        lines.push(vec![
            start(),
            (Style::Faint, SafeText::line(&notes, NOTES_CELLS)),
        ]);
    }
    lines
}

/// The beginning of a message's id, as much as tells messages apart.
pub(crate) fn short_id(message: &Message) -> String {
    message
        .id
        .to_string()
        .chars()
        .take(SHORT_ID_DIGITS)
        .collect()
}

/// What an answer answers, in one line.
fn quoted(reply: &ReplyTo) -> String {
    match (&reply.sender, &reply.quote) {
        (Some(sender), Some(quote)) => format!("↩ {sender}: {quote}"),
        (Some(sender), None) => format!("↩ a message of {sender} that was taken back"),
        (None, Some(quote)) => format!("↩ quotes: {quote}"),
        (None, None) => "↩ a message that is not here".to_owned(),
    }
}

/// A file in one line; its name and size are claims.
fn file_line(file: &Attachment) -> String {
    let caption = if file.caption.is_empty() {
        String::new()
    } else {
        format!("\n{}", file.caption)
    };
    format!("[{}, {} bytes]{caption}", file.name, file.size)
}

/// Something that was done to a message or a conversation.
pub(crate) fn change(app: &mut App, change: &Change) -> Result<(), Failure> {
    let by = &change.sender;
    let which = change.target.map_or_else(String::new, |target| {
        let digits: String = target
            .id
            .to_string()
            .chars()
            .take(SHORT_ID_DIGITS)
            .collect();
        digits
    });
    let talk = change.talk.label(change.title.as_deref());
    let line = match &change.kind {
        ChangeKind::Edit(text) => format!("{by} changed {which}: {text}"),
        ChangeKind::Delete => format!("{by} took {which} back"),
        ChangeKind::Reaction(emoji, Put::On) => format!("{by} {} {which}", emoji.as_str()),
        ChangeKind::Reaction(emoji, Put::Off) => {
            format!("{by} took {} off {which}", emoji.as_str())
        }
        ChangeKind::Pin(Put::On) => format!("{by} pinned {which}"),
        ChangeKind::Pin(Put::Off) => format!("{by} unpinned {which}"),
        ChangeKind::Timer(0) => format!("{by}: messages stay ({talk})"),
        ChangeKind::Timer(seconds) => {
            let after = wording::span(*seconds);
            format!("{by}: messages disappear {after} after reading ({talk})")
        }
    };
    let line = SafeText::line(&format!("· {line}"), NOTES_CELLS);
    app.printer.line(&[(Style::Faint, &line)])
}

/// A stranger's wish.
pub(crate) fn request(app: &mut App, request: &Request) -> Result<(), Failure> {
    if app.printer.audience() == Audience::Programs {
        let event = Event::Request(request.clone());
        return event
            .to_json()
            .map_or(Ok(()), |value| app.printer.json(&value));
    }
    let mark = own_words("● ");
    let name = SafeText::from(&request.from);
    let rest = own_words(&format!(
        " wants to talk with you{1}: sotto accept {0}, or sotto decline {0}",
        request.from,
        request.asker.warning()
    ));
    app.printer.line(&[
        (Style::Good, &mark),
        (Style::Other, &name),
        (Style::Plain, &rest),
    ])
}

/// A message of an earlier command that did not leave.
fn not_sent(app: &mut App, to: &str, failure: &crate::engine::api::Failure) -> Result<(), Failure> {
    let what = match wording::waits_still(failure) {
        true => "waits",
        false => "was not sent and stays in the history",
    };
    let mark = own_words("! ");
    let line = SafeText::line(
        &format!("a message to {to} {what}: {}", failure.message),
        NOTES_CELLS,
    );
    app.printer
        .line(&[(Style::Warning, &mark), (Style::Warning, &line)])
}

fn security(app: &mut App, security: &SecurityEvent) -> Result<(), Failure> {
    let mark = own_words("! ");
    let whose = security.subject.as_ref();
    let whose = whose.map_or_else(String::new, |name| format!("{name}: "));
    let count = match security.count {
        0 => String::new(),
        count => format!(" ({count})"),
    };
    let title = title(security.kind);
    let about = own_words(&format!("{whose}{title}{count}; "));
    let action = own_words(&security.action);
    app.printer.line(&[
        (Style::Warning, &mark),
        (Style::Warning, &about),
        (Style::Plain, &action),
    ])
}

/// A security kind in words; programs get [`SecurityKind::name`].
pub(crate) const fn title(kind: SecurityKind) -> &'static str {
    match kind {
        SecurityKind::KeyChanged => "another identity than before",
        SecurityKind::DeviceAdded => "a new device",
        SecurityKind::UnverifiedDevice => "a device that nobody vouched for",
        SecurityKind::Fork => "not everybody sees the same messages",
        SecurityKind::Gap => "messages are missing",
        SecurityKind::Rollback => "something was put back to an older state",
        SecurityKind::Clone => "two copies of one device",
        SecurityKind::Replay => "a repeated message",
        SecurityKind::PolicyRejected => "something was refused",
        SecurityKind::AttachmentMismatch => "a file that is not the one that was sent",
        SecurityKind::PinMismatch => "another deployment",
        SecurityKind::RecoveryStarted => "the conversation is being repaired",
        SecurityKind::RecoveryDone => "the conversation works again",
    }
}

fn membership(app: &mut App, membership: &Membership) -> Result<(), Failure> {
    let what = wording::membership(membership);
    let by = match membership.by == membership.subject {
        true => String::new(),
        false => format!(" (by {})", membership.by),
    };
    let line = own_words(&format!("· {} {what}{by}", membership.subject));
    app.printer.line(&[(Style::Faint, &line)])
}

/// Somebody's invitation to a group.
pub(crate) fn invitation(app: &mut App, invitation: &Invitation) -> Result<(), Failure> {
    if app.printer.audience() == Audience::Programs {
        return app.printer.json(&invitation.to_json());
    }
    let mark = own_words("● ");
    let name = SafeText::from(&invitation.from);
    let group = Talk::Group(invitation.conversation);
    let rest = own_words(&format!(
        " invites you to {}: sotto join '{group}', or sotto decline '{group}'",
        invitation.group()
    ));
    app.printer.line(&[
        (Style::Good, &mark),
        (Style::Other, &name),
        (Style::Plain, &rest),
    ])
}

fn group_news(app: &mut App, news: &GroupNews) -> Result<(), Failure> {
    let line = own_words(&format!(
        "· {} calls the group #{} {}",
        news.by, news.title, news.description
    ));
    app.printer.line(&[(Style::Faint, &line)])
}

#[cfg(test)]
mod tests {
    use sotto_protocol::{ClientMessageId, ConversationId, DeviceId, Username};

    use super::*;

    fn said(sender: &str, text: &str) -> Message {
        Message {
            conversation: ConversationId::from_bytes([1; 16]),
            talk: Username::parse(sender).unwrap().into(),
            title: None,
            id: ClientMessageId::from_bytes([2; 16]),
            seq: 1,
            sender: Username::parse(sender).unwrap(),
            device: DeviceId::from_bytes([3; 16]),
            epoch: 1,
            direction: Direction::Incoming,
            body: MessageBody::Text(text.to_owned()),
            details: Box::default(),
            sent_at_ms: 0,
            stored_at_ms: 0,
        }
    }

    fn shown(sender: &str, time: &str, width_cells: Option<usize>, text: &str) -> String {
        joined(&said(sender, text), time, width_cells)
    }

    fn joined(message: &Message, time: &str, width_cells: Option<usize>) -> String {
        let lines = lines(message, Place::Anywhere, own_words(time), width_cells);
        let join = |line: &Vec<(Style, SafeText)>| -> String {
            line.iter().map(|(_, text)| text.as_str()).collect()
        };
        lines.iter().map(join).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn lines_fit_into_forty_columns() {
        let text = "a sentence that is longer than forty columns, and one_word_that_is_longer_than_forty_columns_alone\n日本語の文章も四十桁に収まらなければならない";
        for (sender, time) in [
            ("bob", "12:34 "),
            ("bob", "2026-11-20 12:34 "),
            ("robert-from-sales", "12:34 "),
        ] {
            let shown = shown(sender, time, Some(40), text);
            assert!(shown.lines().count() > 4, "{shown}");
            for line in shown.lines() {
                assert!(line.width() <= 40, "{line:?} of {shown}");
            }
            let rest = shown.lines().skip(1);
            assert!(rest.clone().all(|line| line.starts_with(CONTINUATION)));
        }
    }

    #[test]
    fn a_long_head_stands_alone_where_there_is_little_room() {
        assert_eq!(
            shown("bob", "2026-11-20 12:34 ", Some(40), "hi"),
            "2026-11-20 12:34 bob        │ \n      │ hi"
        );
        assert_eq!(
            shown("bob", "12:34 ", Some(40), "hi"),
            "12:34 bob        │ hi"
        );
        assert_eq!(
            shown("bob", "2026-11-20 12:34 ", None, "hi"),
            "2026-11-20 12:34 bob        │ hi"
        );
    }

    #[test]
    fn who_wrote_stands_before_the_group_whatever_it_is_called() {
        let mut message = said("bob", "hi");
        message.talk = crate::talk::Talk::Group(message.conversation);
        message.title = Some("walks".to_owned());
        assert_eq!(joined(&message, "12:34 ", None), "12:34 bob → #walks │ hi");
        message.title = Some("carol │ ".repeat(16));
        let shown = joined(&message, "12:34 ", None);
        assert!(shown.starts_with("12:34 bob → #carol"), "{shown}");
    }
}
