//! `send`: queue a message, and wait until it is where it was wanted.

use std::io::Read;

use serde_json::json;
use sotto_protocol::{ClientMessageId, ConversationId};

use super::app::App;
use super::args::{Send, Until};
use super::drive::{answer_to, until};
use super::render;
use crate::engine::api::{Command, Event};
use crate::exit::{Exit, Failure};

/// The longest text, in bytes of UTF-8.
pub(crate) const TEXT_BYTES_MAX: usize = 65_536;

/// How far a message got.
enum Progress {
    /// Not safely on this device yet.
    Given,
    /// In the outbox.
    Queued,
    /// Durable at the server.
    Acked(ConversationId, u64),
}

pub(crate) async fn send(app: &mut App, args: Send) -> Result<(), Failure> {
    let text = read_text(&args.text)?;
    // Before anything is queued: without a server the command line is wrong.
    app.dialer()?;
    let engine = app.offline().await?;
    let mut session = app.online(engine)?;
    let id = ClientMessageId::from_bytes(rand::random());
    let command = session.command(Command::Send {
        to: args.to.clone(),
        text,
        client_id: id,
    })?;
    let mut progress = Progress::Given;
    let outcome = until(app, &mut session, args.timeout, |app, event| {
        if let Some(answer) = answer_to(command, &event) {
            answer?;
            progress = Progress::Queued;
            return Ok(None);
        }
        judge(app, &args, id, &mut progress, &event)
    })
    .await;
    session.close().await;
    if outcome.is_ok() {
        app.printer.note(&format!("sent to {}", args.to));
    }
    outcome.or_else(|failure| explain(app, &args, id, &progress, failure))
}

fn judge(
    app: &mut App,
    args: &Send,
    id: ClientMessageId,
    progress: &mut Progress,
    event: &Event,
) -> Result<Option<()>, Failure> {
    match event {
        Event::Sent {
            id: sent,
            conversation,
            seq,
            ..
        } if *sent == id => {
            *progress = Progress::Acked(*conversation, *seq);
            render::event(app, event)?;
            Ok((args.wait == Until::Acked).then_some(()))
        }
        Event::SendFailed {
            id: failed,
            failure,
            ..
        } if *failed == id => Err(failure.clone().into()),
        Event::Receipt(receipt) => {
            let Progress::Acked(conversation, seq) = progress else {
                return Ok(None);
            };
            let up_to = match args.wait {
                Until::Read => receipt.read_up_to,
                Until::Acked | Until::Delivered => receipt.delivered_up_to.max(receipt.read_up_to),
            };
            let reached =
                receipt.conversation == *conversation && receipt.by == args.to && up_to >= *seq;
            if reached {
                render::event(app, event)?;
            }
            Ok(reached.then_some(()))
        }
        other => render::aside(app, other).map(|()| None),
    }
}

/// Says what became of a message that is not where it was wanted.
fn explain(
    app: &mut App,
    args: &Send,
    id: ClientMessageId,
    progress: &Progress,
    failure: Failure,
) -> Result<(), Failure> {
    let late = failure.exit == Exit::Unreachable || failure.code == "interrupted";
    match progress {
        Progress::Queued if late => {
            render::object(
                app,
                json!({ "event": "queued", "id": id.to_string(), "to": args.to.as_str() }),
            )?;
            let message = format!(
                "{}; the message is queued and goes out with the next command that connects",
                failure.message
            );
            Err(Failure::named("queued", message).retry_after(failure.retry_after_ms))
        }
        Progress::Acked(..) if late => Err(Failure::named(
            "timed_out",
            "the server holds the message; no receipt for it came in time",
        )),
        _ => Err(failure),
    }
}

/// The text of the argument, or all of stdin for `-`.
fn read_text(argument: &str) -> Result<String, Failure> {
    let text = if argument == "-" {
        let mut bytes = Vec::new();
        std::io::stdin()
            .take(TEXT_BYTES_MAX as u64 + 2)
            .read_to_end(&mut bytes)
            .map_err(|error| Failure::named("usage", format!("stdin: {error}")))?;
        let text = String::from_utf8(bytes)
            .map_err(|_| Failure::named("usage", "stdin is not UTF-8 text"))?;
        text.strip_suffix('\n').map(str::to_owned).unwrap_or(text)
    } else {
        argument.to_owned()
    };
    match text.len() {
        0 => Err(Failure::named("usage", "there is nothing to send")),
        1..=TEXT_BYTES_MAX => Ok(text),
        _ => Err(Failure::named("usage", "a message has at most 65536 bytes")),
    }
}
