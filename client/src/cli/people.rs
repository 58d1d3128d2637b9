//! Other people: who there is, who wants to talk, who is who.

use std::time::Duration;

use serde_json::json;
use sotto_protocol::Username;

use super::app::App;
use super::drive::{PATIENCE, answer_to, perform, perform_on, until};
use super::output::{Style, own_words};
use super::render;
use crate::desk::Desk;
use crate::engine::api::{
    Chat, Command, Event, Keep, MessageBody, Mute, Pin, SafetyNumber, User, UserFilter,
};
use crate::engine::{Engine, Verification};
use crate::exit::{Exit, Failure};
use crate::runtime::Session;
use crate::safe_text::SafeText;

/// Cells of the last message in the list of chats.
const PREVIEW_CELLS: usize = 60;
/// Digits of a safety number.
const SAFETY_DIGITS: usize = 60;
/// How long a command that is done already waits for what else there is.
const CATCH_UP_PATIENCE: Duration = Duration::from_secs(10);
/// How long what a command brought about is shown on a connection that is up already.
const LENT_PATIENCE: Duration = Duration::from_millis(500);

pub(crate) async fn users(
    app: &mut App,
    prefix: String,
    filter: UserFilter,
) -> Result<(), Failure> {
    let answer = perform(app, Command::ListUsers { prefix, filter }).await?;
    let Event::Users { users, .. } = answer else {
        return Ok(());
    };
    for user in &users {
        show_user(app, user)?;
    }
    Ok(())
}

/// Somebody, as they show themselves to everybody.
pub(super) fn show_user(app: &mut App, user: &User) -> Result<(), Failure> {
    render::object(
        app,
        json!({
            "event": "user",
            "username": user.name.as_str(),
            "online": user.online,
            "last_seen_ms": user.last_seen_ms,
            "display_name": user.display_name,
            "status": user.status,
        }),
    )?;
    let (style, mark) = if user.online {
        (Style::Good, "● ")
    } else {
        (Style::Faint, "○ ")
    };
    let now_ms = app.clock.now().unix_ms;
    let seen = user.last_seen_ms.filter(|_| !user.online);
    let seen = seen.map(|at_ms| format!("  last seen {}", app.zone.short(at_ms, now_ms)));
    let told = [user.display_name.as_str(), user.status.as_str()];
    let words: Vec<&str> = told.into_iter().filter(|text| !text.is_empty()).collect();
    let words = match words.as_slice() {
        [] => SafeText::default(),
        words => SafeText::line(&format!("  {}", words.join(" · ")), PREVIEW_CELLS),
    };
    app.printer.line(&[
        (style, &own_words(mark)),
        (Style::Plain, &SafeText::from(&user.name)),
        (Style::Plain, &words),
        (Style::Faint, &own_words(&seen.unwrap_or_default())),
    ])
}

pub(crate) async fn chats(app: &mut App) -> Result<(), Failure> {
    let engine = app.offline().await?;
    for chat in engine.chats()? {
        show_chat(app, &chat)?;
    }
    Ok(())
}

fn show_chat(app: &mut App, chat: &Chat) -> Result<(), Failure> {
    render::object(
        app,
        json!({
            "event": "chat",
            "conversation": chat.conversation.map(|id| id.to_string()),
            "to": chat.talk.label(chat.title.as_deref()),
            "saved": chat.keep == Keep::Saved,
            "queued": chat.queued,
            "unread": chat.unread,
            "mentions": chat.mentions,
            "expires_after_s": chat.expires_after_s,
            "mute": chat.mute.map(Mute::to_json),
            "draft": chat.draft,
            "updated_at_ms": chat.updated_at_ms,
            "last": chat.last.as_ref().map(crate::engine::api::Message::to_json),
        }),
    )?;
    let now_ms = app.clock.now().unix_ms;
    let time = own_words(&format!(
        "{:>16} ",
        app.zone.short(chat.updated_at_ms, now_ms)
    ));
    let name = SafeText::line(
        &format!("{:10} ", chat.talk.label(chat.title.as_deref())),
        80,
    );
    let preview = match chat.last.as_ref().map(|message| &message.body) {
        Some(MessageBody::Text(text)) => SafeText::line(text, PREVIEW_CELLS),
        Some(MessageBody::Attachment(file)) => SafeText::line(&file.name, PREVIEW_CELLS),
        Some(MessageBody::Deleted) => own_words("(taken back)"),
        Some(MessageBody::Unknown) => own_words("(a newer kind of message)"),
        None => SafeText::default(),
    };
    let queued = own_words(&standing(chat));
    app.printer.line(&[
        (Style::Faint, &time),
        (Style::Other, &name),
        (Style::Plain, &preview),
        (Style::Warning, &queued),
    ])
}

/// What is to be seen to in a conversation, in one line behind it; empty where nothing is.
fn standing(chat: &Chat) -> String {
    let mut notes = Vec::new();
    if chat.unread > 0 {
        notes.push(format!("{} unread", chat.unread));
    }
    if chat.mentions > 0 {
        notes.push(format!("{} to you", chat.mentions));
    }
    if chat.queued > 0 {
        notes.push(format!("{} waiting to be sent", chat.queued));
    }
    if chat.draft.is_some() {
        notes.push("draft".to_owned());
    }
    match chat.mute {
        Some(Mute::Until(_)) => notes.push("muted".to_owned()),
        Some(Mute::MentionsOnly) => notes.push("muted but for mentions".to_owned()),
        None => {}
    }
    match notes.is_empty() {
        true => String::new(),
        false => format!("  ({})", notes.join(", ")),
    }
}

pub(crate) async fn requests(app: &mut App) -> Result<(), Failure> {
    let mut engine = app.offline().await?;
    // With a server at hand, first see whether somebody new has knocked.
    if app.dialer().is_ok() {
        let mut session = app.online(engine)?;
        let outcome = catch_up(app, &mut session, Shown::Aside).await;
        engine = session.close().await;
        if let Err(failure) = outcome {
            excuse(app, failure)?;
        }
    }
    for request in engine.requests()? {
        render::request(app, &request)?;
    }
    Ok(())
}

pub(crate) async fn accept(app: &mut App, name: Username, keep: Keep) -> Result<(), Failure> {
    let engine = knocked(app, &name).await?;
    let command = Command::Accept {
        name: name.clone(),
        keep,
    };
    perform_on(app, engine, command).await?;
    done(app, "accepted", &name)?;
    // What is not to be kept waits at the server for somebody who listens.
    if keep == Keep::Unsaved || app.dialer().is_err() {
        return Ok(());
    }
    let mut engine = app.offline().await?;
    engine.listen(app.clock.now())?;
    let mut session = app.online(engine)?;
    let outcome = catch_up(app, &mut session, Shown::Everything).await;
    session.close().await;
    outcome.or_else(|failure| excuse(app, failure))
}

/// The engine, after a look at the server where nothing of this person waits here.
async fn knocked(app: &mut App, name: &Username) -> Result<Desk, Failure> {
    let mut engine = app.offline().await?;
    not_oneself(&engine, name)?;
    if !is_awaited(&engine, name)? && app.dialer().is_ok() {
        let mut session = app.online(engine)?;
        let outcome = catch_up(app, &mut session, Shown::Aside).await;
        engine = session.close().await;
        if !is_awaited(&engine, name)? {
            outcome?;
        }
    }
    Ok(engine)
}

/// Whether there is something of this person to accept.
fn is_awaited(engine: &Engine, name: &Username) -> Result<bool, Failure> {
    let changed = engine
        .safety_number(name)?
        .is_some_and(|number| number.pin == Pin::Changed);
    Ok(changed
        || engine
            .requests()?
            .iter()
            .any(|request| request.from == *name))
}

/// Nobody is a stranger, or a danger, to themselves.
fn not_oneself(engine: &Engine, name: &Username) -> Result<(), Failure> {
    if engine.who_am_i()?.username == *name {
        return Err(Failure::named("self", "that is you"));
    }
    Ok(())
}

/// What is shown while catching up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shown {
    /// Messages too.
    Everything,
    /// Only what must not wait.
    Aside,
}

/// Reads everything that waits at the server.
pub(super) async fn catch_up(
    app: &mut App,
    session: &mut Session,
    shown: Shown,
) -> Result<(), Failure> {
    // A connection that a daemon or chat lends has caught up before, and does not say so again.
    let lent = session.engine().is_caught_up();
    let patience = match (lent, shown) {
        (false, _) => CATCH_UP_PATIENCE,
        (true, Shown::Everything) => LENT_PATIENCE,
        (true, Shown::Aside) => return Ok(()),
    };
    let outcome = until(app, session, patience, |app, event| {
        if event == Event::CaughtUp {
            return Ok(Some(()));
        }
        match shown {
            Shown::Everything => render::event(app, &event),
            Shown::Aside => render::aside(app, &event),
        }
        .map(|()| None)
    })
    .await;
    match outcome {
        // What comes later is for whoever listens.
        Err(failure) if lent && failure.code == "timed_out" => Ok(()),
        outcome => outcome,
    }
}

/// The command itself is done: that no server was reached is only worth a remark.
pub(super) fn excuse(app: &mut App, failure: Failure) -> Result<(), Failure> {
    if failure.exit != Exit::Unreachable {
        return Err(failure);
    }
    app.printer.note(&format!(
        "{}; what waits there comes with the next command that connects",
        failure.message
    ));
    Ok(())
}

/// No server was reached: what is known here must do.
pub(super) fn make_do(app: &mut App, failure: Failure) -> Result<(), Failure> {
    if failure.exit != Exit::Unreachable {
        return Err(failure);
    }
    app.printer
        .note(&format!("{}; this is what is known here", failure.message));
    Ok(())
}

pub(crate) async fn decline(app: &mut App, name: Username) -> Result<(), Failure> {
    let engine = knocked(app, &name).await?;
    perform_on(app, engine, Command::Decline { name: name.clone() }).await?;
    done(app, "declined", &name)
}

pub(crate) async fn block(app: &mut App, name: Username) -> Result<(), Failure> {
    let engine = app.offline().await?;
    not_oneself(&engine, &name)?;
    let known = engine.safety_number(&name)?.is_some()
        || is_awaited(&engine, &name)?
        || engine
            .chats()?
            .iter()
            .any(|chat| chat.talk == (&name).into());
    drop(engine);
    if !known {
        // A mistyped name would leave the right one unblocked.
        perform(app, Command::LookUp { name: name.clone() }).await?;
    }
    perform(app, Command::Block { name: name.clone() }).await?;
    done(app, "blocked", &name)
}

pub(crate) async fn unblock(app: &mut App, name: Username) -> Result<(), Failure> {
    perform(app, Command::Unblock { name: name.clone() }).await?;
    done(app, "unblocked", &name)
}

fn done(app: &mut App, event: &str, name: &Username) -> Result<(), Failure> {
    render::object(app, json!({ "event": event, "name": name.as_str() }))?;
    app.printer.say(&format!("{event} {name}"))
}

pub(crate) async fn verify(
    app: &mut App,
    name: Username,
    confirm: Option<String>,
) -> Result<(), Failure> {
    if let Some(digits) = &confirm {
        check_digits(digits)?;
    }
    let mut engine = app.offline().await?;
    not_oneself(&engine, &name)?;
    if engine.safety_number(&name)?.is_none() {
        let mut session = app.online(engine)?;
        let id = session.command(Command::LookUp { name: name.clone() })?;
        let outcome = until(app, &mut session, PATIENCE, |app, event| {
            match answer_to(id, &event) {
                Some(answer) => answer.map(Some),
                None => render::aside(app, &event).map(|()| None),
            }
        })
        .await;
        engine = session.close().await;
        outcome?;
    }
    let unknown = || Failure::named("not_found", format!("the identity of {name} is not known"));
    if let Some(digits) = confirm {
        return match engine.verify(&name, &digits, app.clock.now())? {
            Verification::Confirmed => done(app, "verified", &name),
            Verification::Differs => Err(Failure::named(
                "safety_number_differs",
                format!(
                    "these are not the digits of {name} and you: do not write anything that matters until you know why"
                ),
            )),
            Verification::Unknown => Err(unknown()),
        };
    }
    let number = engine.safety_number(&name)?.ok_or_else(unknown)?;
    show_number(app, &name, &number)
}

/// A safety number that is not one is mistyped, which is no reason to alarm anybody.
fn check_digits(text: &str) -> Result<(), Failure> {
    let mut count = 0;
    for c in text.chars().filter(|c| !c.is_whitespace()) {
        if !c.is_ascii_digit() {
            let message = "a safety number has digits and spaces only";
            return Err(Failure::named("usage", message));
        }
        count += 1;
    }
    if count != SAFETY_DIGITS {
        let message = format!("{SAFETY_DIGITS} digits expected, {count} given");
        return Err(Failure::named("usage", message));
    }
    Ok(())
}

fn show_number(app: &mut App, name: &Username, number: &SafetyNumber) -> Result<(), Failure> {
    render::object(
        app,
        json!({
            "event": "safety_number",
            "name": name.as_str(),
            "digits": number.digits,
            "verified_at_ms": number.verified_at_ms,
            "changed": number.pin == Pin::Changed,
        }),
    )?;
    if number.pin == Pin::Changed {
        let warning = own_words(&format!(
            "{name} has a new identity that you have not accepted; this is the number of the new one"
        ));
        app.printer.line(&[(Style::Warning, &warning)])?;
    }
    let groups: Vec<&str> = number.digits.split_whitespace().collect();
    for row in groups.chunks(4) {
        app.printer
            .line(&[(Style::Good, &own_words(&format!("  {}", row.join("  "))))])?;
    }
    let state = match number.verified_at_ms {
        Some(at_ms) => format!("confirmed on {}", app.zone.date_and_time(at_ms)),
        None => format!(
            "compare it with {name} by voice or in person, then: sotto verify {name} --confirm \"{}\"",
            number.digits
        ),
    };
    app.printer.line(&[(Style::Faint, &own_words(&state))])
}
