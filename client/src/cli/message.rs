//! Commands about messages: edit, delete, react, pin, forward, timers, mutes,
//! drafts, receipts.

use std::time::Duration;

use serde_json::json;
use sotto_protocol::ClientMessageId;

use super::app::App;
use super::drive::{PATIENCE, answer_to, until};
use super::message_args::{MessageArgs, Switch};
use super::{export, names, render, search};
use crate::desk::Desk;
use crate::engine::Engine;
use crate::engine::api::{Command, Event, Message, MessageCommand, Mute, Put};
use crate::exit::{Exit, Failure};
use crate::wording;

pub(crate) async fn carry_out(app: &mut App, args: MessageArgs) -> Result<(), Failure> {
    match args {
        MessageArgs::Edit { message, text } => {
            let text = super::send::read_text(&text)?;
            about(app, &message, "changed", |target, client_id| {
                MessageCommand::Edit {
                    target: names::target(target),
                    text,
                    mentions: target.details.mentions.clone(),
                    client_id,
                }
            })
            .await
        }
        MessageArgs::Delete { message } => delete(app, &message).await,
        MessageArgs::React {
            message,
            emoji,
            remove,
        } => {
            about(app, &message, "done", |target, client_id| {
                MessageCommand::React {
                    target: names::target(target),
                    emoji,
                    put: if remove { Put::Off } else { Put::On },
                    client_id,
                }
            })
            .await
        }
        MessageArgs::Pin { message } => pin(app, &message, Put::On).await,
        MessageArgs::Unpin { message } => pin(app, &message, Put::Off).await,
        MessageArgs::Forward { message, to } => forward(app, &message, &to).await,
        MessageArgs::Timer { to, time } => timer(app, &to, time).await,
        MessageArgs::Mute { to, time, mentions } => {
            let now_ms = app.clock.now().unix_ms;
            let mute = match (time, mentions) {
                (_, true) => Mute::MentionsOnly,
                (Some(0), _) => return silence(app, &to, None).await,
                (Some(seconds), _) => Mute::Until(now_ms + u64::from(seconds) * 1000),
                (None, _) => Mute::Until(u64::MAX),
            };
            silence(app, &to, Some(mute)).await
        }
        MessageArgs::Unmute { to } => silence(app, &to, None).await,
        MessageArgs::Draft { to, text } => draft(app, to, text).await,
        MessageArgs::Search { query, talk, last } => {
            search::search(app, &query, talk.as_deref(), last).await
        }
        MessageArgs::Export {
            to,
            directory,
            no_files,
        } => {
            let files = if no_files {
                export::Files::LeftOut
            } else {
                export::Files::Included
            };
            export::export(app, &to, &directory, files).await
        }
        MessageArgs::Typing { to } => typing(app, &to).await,
        MessageArgs::Receipts { switch } => receipts(app, switch).await,
    }
}

/// Does something about a message that a word names.
async fn about(
    app: &mut App,
    word: &str,
    done: &str,
    make: impl FnOnce(&Message, ClientMessageId) -> MessageCommand,
) -> Result<(), Failure> {
    app.dialer()?;
    let engine = app.offline().await?;
    let target = names::message(&engine, word)?;
    let client_id = new_id();
    let command = make(&target, client_id);
    deliver(app, engine, (command, client_id), done).await
}

async fn delete(app: &mut App, word: &str) -> Result<(), Failure> {
    let mut engine = app.offline().await?;
    let message = names::message(&engine, word)?;
    let client_id = new_id();
    let command = || MessageCommand::Delete {
        target: names::target(&message),
        client_id,
    };
    if message.seq == 0 {
        // Perhaps it never left this device: then no server is needed.
        local(app, &mut engine, Command::Message(command()))?;
        if engine.messages_named(&message.id.to_string())?.is_empty() {
            return app.printer.say("taken back before it was sent");
        }
    }
    app.dialer()?;
    deliver(app, engine, (command(), client_id), "taken back").await
}

async fn pin(app: &mut App, word: &str, put: Put) -> Result<(), Failure> {
    let done = if put == Put::On { "pinned" } else { "unpinned" };
    about(app, word, done, |target, client_id| MessageCommand::Pin {
        target: names::target(target),
        put,
        client_id,
    })
    .await
}

async fn forward(app: &mut App, word: &str, to: &str) -> Result<(), Failure> {
    app.dialer()?;
    let engine = app.offline().await?;
    let target = names::target(&names::message(&engine, word)?);
    let to = names::talk(&engine, to)?;
    let client_id = new_id();
    let command = MessageCommand::Forward {
        target,
        to,
        client_id,
    };
    deliver(app, engine, (command, client_id), "passed on").await
}

async fn timer(app: &mut App, to: &str, time: Option<u32>) -> Result<(), Failure> {
    let engine = app.offline().await?;
    let to = names::talk(&engine, to)?;
    let Some(expires_after_s) = time else {
        let seconds = engine
            .chats()?
            .into_iter()
            .find(|chat| chat.talk == to)
            .map_or(0, |chat| chat.expires_after_s);
        render::object(
            app,
            json!({ "event": "timer", "to": to.to_string(), "expires_after_s": seconds }),
        )?;
        return app.printer.say(&match seconds {
            0 => "messages stay".to_owned(),
            seconds => format!(
                "messages disappear {} after reading",
                wording::span(seconds)
            ),
        });
    };
    app.dialer()?;
    let client_id = new_id();
    let command = MessageCommand::SetTimer {
        to,
        expires_after_s,
        client_id,
    };
    deliver(app, engine, (command, client_id), "timer set").await
}

/// Queues what others are to hear of, and waits until the server holds it.
async fn deliver(
    app: &mut App,
    engine: Desk,
    (command, client_id): (MessageCommand, ClientMessageId),
    done: &str,
) -> Result<(), Failure> {
    let mut session = app.online(engine)?;
    let command = session.command(Command::Message(command))?;
    let mut queued = false;
    let outcome = until(app, &mut session, WAIT, |app, event| {
        if let Some(answer) = answer_to(command, &event) {
            answer?;
            queued = true;
            return Ok(None);
        }
        match &event {
            Event::Sent { id, .. } if *id == client_id => {
                render::event(app, &event)?;
                Ok(Some(()))
            }
            Event::SendFailed { id, failure, .. } if *id == client_id => {
                Err(failure.clone().into())
            }
            Event::OutboxEmpty if queued => Ok(Some(())),
            other => render::aside(app, other).map(|()| None),
        }
    })
    .await;
    session.close().await;
    match outcome {
        Ok(()) => {
            app.printer.note(done);
            Ok(())
        }
        Err(failure) if queued && failure.exit == Exit::Unreachable => {
            render::object(
                app,
                json!({ "event": "queued", "id": client_id.to_string() }),
            )?;
            let message = format!(
                "{}; this is queued and goes out with the next command that connects",
                failure.message
            );
            Err(Failure::named("queued", message).retry_after(failure.retry_after_ms))
        }
        Err(failure) => Err(failure),
    }
}

/// How long the server may take.
const WAIT: Duration = PATIENCE;

fn new_id() -> ClientMessageId {
    ClientMessageId::from_bytes(rand::random())
}

/// Carries out what concerns this device alone; no server is needed.
pub(super) fn local(app: &App, engine: &mut Engine, command: Command) -> Result<(), Failure> {
    let id = engine.handle_command(command, app.clock.now())?;
    while let Some(event) = engine.poll_event() {
        if let Some(answer) = answer_to(id, &event) {
            answer?;
        }
    }
    Ok(())
}

async fn silence(app: &mut App, to: &str, mute: Option<Mute>) -> Result<(), Failure> {
    let mut engine = app.offline().await?;
    let to = names::talk(&engine, to)?;
    let command = MessageCommand::Mute {
        to: to.clone(),
        mute,
    };
    local(app, &mut engine, Command::Message(command))?;
    render::object(
        app,
        json!({ "event": "mute", "to": to.to_string(), "mute": mute.map(Mute::to_json) }),
    )?;
    app.printer.say(match mute {
        None => "not muted",
        Some(Mute::MentionsOnly) => "muted, except for messages that speak to you by name",
        Some(Mute::Until(_)) => "muted",
    })
}

async fn draft(app: &mut App, to: Option<String>, text: Option<String>) -> Result<(), Failure> {
    let mut engine = app.offline().await?;
    let Some(to) = to else {
        for (talk, text) in engine.drafts()? {
            search::show_draft(app, &talk, Some(&text))?;
        }
        return Ok(());
    };
    let to = names::talk(&engine, &to)?;
    if let Some(text) = text {
        let command = MessageCommand::Draft {
            to: to.clone(),
            text,
        };
        local(app, &mut engine, Command::Message(command))?;
    }
    let text = engine.draft(&to)?;
    search::show_draft(app, &to, text.as_deref())
}

/// Only a session that has caught up can seal it.
async fn typing(app: &mut App, to: &str) -> Result<(), Failure> {
    app.dialer()?;
    let engine = app.offline().await?;
    let to = names::talk(&engine, to)?;
    let mut session = app.online(engine)?;
    let mut outcome = Ok(());
    // A connection that a daemon or chat lends may have caught up before.
    if !session.engine().is_caught_up() {
        outcome = until(app, &mut session, WAIT, |app, event| match event {
            Event::CaughtUp => Ok(Some(())),
            other => render::aside(app, &other).map(|()| None),
        })
        .await;
    }
    if outcome.is_ok() {
        let id = session.command(Command::Message(MessageCommand::Typing { to }))?;
        outcome = until(app, &mut session, WAIT, |_, event| {
            answer_to(id, &event).transpose()
        })
        .await;
    }
    session.close().await;
    outcome
}

pub(super) async fn receipts(app: &mut App, switch: Switch) -> Result<(), Failure> {
    let mut engine = app.offline().await?;
    let put = match switch {
        Switch::On => Put::On,
        Switch::Off => Put::Off,
    };
    local(
        app,
        &mut engine,
        Command::Message(MessageCommand::SetReceipts(put)),
    )?;
    render::object(
        app,
        json!({ "event": "receipts", "on": switch == Switch::On }),
    )?;
    app.printer.say(match switch {
        Switch::On => "others learn what of theirs arrived and was read",
        Switch::Off => "nobody learns what of theirs arrived or was read",
    })
}
