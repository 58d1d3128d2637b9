//! How a command line names conversations and messages.
//!
//! A conversation is a person's name, `#title`, or `#` and an id. A message is
//! the beginning of its id (4 digits or more, as `history` shows it), or by
//! place: `TO@last`, `TO@mine`, `TO@theirs`, or `TO@` and its number in the
//! log; without TO the last anywhere. What could mean two things is refused
//! rather than guessed.

use sotto_crypto::content::MessageRef;

use crate::engine::Engine;
use crate::engine::api::{Direction, Message, MessageBody, Target};
use crate::exit::Failure;
use crate::talk::Talk;

/// How far back `@last` and its like look.
const LOOKED_BACK: u32 = 500;

/// The conversation that a word means.
pub(crate) fn talk(engine: &Engine, word: &str) -> Result<Talk, Failure> {
    if let Some(talk) = Talk::parse(word) {
        return Ok(talk);
    }
    let Some(title) = word.strip_prefix('#') else {
        return Err(Failure::named(
            "usage",
            "that is no name: a person has 3 to 32 of a-z 0-9 _ . -, a group begins with #",
        ));
    };
    let mut found: Vec<Talk> = engine
        .chats()?
        .into_iter()
        .filter(|chat| chat.title.as_deref() == Some(title))
        .map(|chat| chat.talk)
        .collect();
    match (found.pop(), found.is_empty()) {
        (Some(talk), true) => Ok(talk),
        (Some(_), false) => Err(Failure::named(
            "usage",
            "several groups have this title; use # and the id that sotto chats --json shows",
        )),
        (None, _) => Err(Failure::named("not_found", "no group here has this title")),
    }
}

/// Refuses a talk of which nothing is here.
pub(super) fn known(engine: &Engine, talk: &Talk) -> Result<(), Failure> {
    match engine.chats()?.iter().any(|chat| chat.talk == *talk) {
        true => Ok(()),
        false => Err(Failure::named(
            "not_found",
            format!("there is no conversation with {talk}"),
        )),
    }
}

/// What people call a conversation: where its title is not known, by its id.
pub(super) fn called(engine: &Engine, talk: &Talk) -> String {
    // What was sent is sent, whether or not the list can be read.
    let chats = engine.chats().unwrap_or_default();
    let chat = chats.into_iter().find(|chat| chat.talk == *talk);
    talk.label(chat.and_then(|chat| chat.title).as_deref())
}

/// The message that a word means.
pub(super) fn message(engine: &Engine, word: &str) -> Result<Message, Failure> {
    let Some((to, place)) = word.rsplit_once('@') else {
        return by_id(engine, word);
    };
    let talk = match to {
        "" => None,
        to => Some(talk(engine, to)?),
    };
    if let (Some(talk), Ok(seq)) = (&talk, place.parse::<u64>()) {
        return engine
            .message_at(talk, seq)?
            .filter(is_there)
            .ok_or_else(not_here);
    }
    let wanted: fn(&Message) -> bool = match place {
        "last" => |_| true,
        "mine" => |message| message.direction == Direction::Outgoing,
        "theirs" => |message| message.direction == Direction::Incoming,
        _ => {
            return Err(Failure::named(
                "usage",
                "after @ stands last, mine, theirs, or with a conversation before it a number",
            ));
        }
    };
    let talks = match talk {
        Some(talk) => vec![talk],
        None => engine.chats()?.into_iter().map(|chat| chat.talk).collect(),
    };
    let mut latest: Option<Message> = None;
    for talk in talks {
        let recent = engine.history(&talk, LOOKED_BACK)?;
        let found = recent
            .into_iter()
            .rev()
            .find(|message| is_there(message) && wanted(message));
        latest = latest.into_iter().chain(found).max_by_key(at_ms);
    }
    latest.ok_or_else(not_here)
}

/// What commands say to the engine about a message.
pub(super) fn target(message: &Message) -> Target {
    Target {
        talk: message.talk.clone(),
        message: MessageRef {
            device: message.device,
            id: message.id,
        },
    }
}

fn by_id(engine: &Engine, digits: &str) -> Result<Message, Failure> {
    let hex = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    if !hex || !(4..=32).contains(&digits.len()) {
        return Err(Failure::named(
            "usage",
            "a message is named by at least 4 digits of its id, as history shows it, or by \
             TO@last, TO@mine, TO@theirs or TO@NUMBER",
        ));
    }
    let mut found = engine.messages_named(&digits.to_ascii_lowercase())?;
    match (found.pop(), found.is_empty()) {
        (Some(message), true) => Ok(message),
        (Some(_), false) => Err(Failure::named(
            "usage",
            "several messages begin with these digits; give more of them, or TO@NUMBER",
        )),
        (None, _) => Err(not_here()),
    }
}

fn is_there(message: &Message) -> bool {
    message.body != MessageBody::Deleted
}

/// The server's time orders messages; while one is queued, the own clock.
fn at_ms(message: &Message) -> u64 {
    match message.stored_at_ms {
        0 => message.sent_at_ms,
        stored => stored,
    }
}

fn not_here() -> Failure {
    Failure::named(
        "unknown_message",
        "there is no such message here; sotto history shows those that are",
    )
}
