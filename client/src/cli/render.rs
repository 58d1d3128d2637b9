//! How events look: one object for programs, one or more lines for people.

use serde_json::Value;

use super::app::App;
use super::output::{Audience, Style, own_words};
use crate::engine::api::{
    Direction, Event, Membership, MembershipChange, Message, MessageBody, Request, SecurityEvent,
};
use crate::exit::Failure;
use crate::safe_text::{Block, SafeText};

/// The most lines of one message.
const MESSAGE_LINES_MAX: usize = 400;
/// Cells that a name is filled up to, so that texts stand in a column.
const NAME_CELLS: usize = 10;

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
        Event::Request(shown) => request(app, shown),
        Event::Security(shown) => security(app, shown),
        Event::Membership(shown) => membership(app, shown),
        _ => Ok(()),
    }
}

/// Whatever happened, for a command that waits for something else: messages
/// and requests stay for whoever listens next.
pub(crate) fn aside(app: &mut App, happened: &Event) -> Result<(), Failure> {
    match happened {
        Event::Security(_) => event(app, happened),
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
    let time = own_words(&format!("{} ", app.zone.short(at_ms, now_ms)));
    let (style, name) = match (message.direction, place) {
        (Direction::Incoming, _) => (Style::Other, message.sender.to_string()),
        (Direction::Outgoing, Place::Conversation) => (Style::Own, message.sender.to_string()),
        (Direction::Outgoing, Place::Anywhere) => {
            (Style::Own, format!("{} → {}", message.sender, message.peer))
        }
    };
    let name = SafeText::line(&format!("{name:NAME_CELLS$}"), 80);
    let bar = own_words(
        if message.direction == Direction::Outgoing && message.seq == 0 {
            " … "
        } else {
            " │ "
        },
    );
    let layout = Block {
        first_cells: time.cells() + name.cells() + bar.cells(),
        width_cells: app.printer.width_cells(),
        lines_max: MESSAGE_LINES_MAX,
    };
    let (text_style, text) = match &message.body {
        MessageBody::Text(text) => (Style::Plain, SafeText::block(text, layout)),
        MessageBody::Unknown => (Style::Faint, own_words("(a newer kind of message)")),
    };
    app.printer.line(&[
        (Style::Faint, &time),
        (style, &name),
        (Style::Faint, &bar),
        (text_style, &text),
    ])
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
        " wants to talk with you: sotto accept {0}, or sotto decline {0}",
        request.from
    ));
    app.printer.line(&[
        (Style::Good, &mark),
        (Style::Other, &name),
        (Style::Plain, &rest),
    ])
}

fn security(app: &mut App, security: &SecurityEvent) -> Result<(), Failure> {
    let mark = own_words("! ");
    let about = match &security.subject {
        Some(name) => format!("{} ({name}): ", security.kind.name()),
        None => format!("{}: ", security.kind.name()),
    };
    let about = own_words(&about);
    let action = own_words(&security.action);
    app.printer.line(&[
        (Style::Warning, &mark),
        (Style::Warning, &about),
        (Style::Plain, &action),
    ])
}

fn membership(app: &mut App, membership: &Membership) -> Result<(), Failure> {
    let what = match membership.change {
        MembershipChange::Joined => "is in the conversation",
        MembershipChange::DeviceAdded => "has a further device in the conversation",
        MembershipChange::DeviceRemoved => "has a device less in the conversation",
    };
    let line = own_words(&format!(
        "· {} {what} (by {})",
        membership.subject, membership.by
    ));
    app.printer.line(&[(Style::Faint, &line)])
}
