//! `send`: queue a message, and wait until it is where it was wanted.

use std::io::Read;

use serde_json::json;
use sotto_protocol::{ClientMessageId, ConversationId, Username};

use super::app::App;
use super::args::{Send, Until};
use super::drive::{answer_to, until};
use super::{names, render};
use crate::engine::Engine;
use crate::engine::api::{Command, Event, Keep, MessageCommand, Receipt, SendOptions};
use crate::exit::{Exit, Failure};
use crate::runtime::Session;
use crate::talk::Talk;

/// The longest text, in bytes of UTF-8.
pub(crate) const TEXT_BYTES_MAX: usize = 65_536;
/// The longest text that stands with a file, in bytes of UTF-8.
pub(crate) const CAPTION_BYTES_MAX: usize = 4_096;

/// How far a message got.
enum Progress {
    /// Not safely on this device yet.
    Given,
    /// In the outbox.
    Queued,
    /// Only in memory, because the conversation is not saved.
    Forgotten,
    /// Durable at the server.
    Acked(ConversationId, u64),
}

/// One message on its way.
struct Watch {
    id: ClientMessageId,
    to: Talk,
    progress: Progress,
    /// The last of the other person: it may come before the server's own answer.
    receipt: Option<Receipt>,
}

pub(crate) async fn send(app: &mut App, args: Send) -> Result<(), Failure> {
    if !args.files.is_empty() {
        return super::files::send(app, args).await;
    }
    let text = read_text(&args.text)?;
    // Before anything is queued: without a server the command line is wrong.
    app.dialer()?;
    let engine = app.offline().await?;
    let to = names::talk(&engine, &args.to)?;
    let options = options(&engine, &to, &args)?;
    let mut session = app.online(engine)?;
    let id = ClientMessageId::from_bytes(rand::random());
    let command = MessageCommand::Write {
        to: to.clone(),
        text,
        options,
        client_id: id,
    };
    let outcome = deliver(app, &mut session, &args, (&to, id), command).await;
    let called = names::called(session.engine(), &to);
    session.close().await;
    if outcome.is_ok() {
        app.printer.note(&format!("sent to {called}"));
    }
    outcome
}

/// Gives a message to the engine and waits until it is where it was wanted.
pub(crate) async fn deliver(
    app: &mut App,
    session: &mut Session,
    args: &Send,
    (to, id): (&Talk, ClientMessageId),
    command: MessageCommand,
) -> Result<(), Failure> {
    let command = session.command(Command::Message(command))?;
    let mut watch = Watch {
        id,
        to: to.clone(),
        progress: Progress::Given,
        receipt: None,
    };
    let outcome = until(app, session, args.timeout, |app, event| {
        if let Some(answer) = answer_to(command, &event) {
            answer?;
            watch.progress = Progress::Queued;
            return Ok(None);
        }
        watch.judge(app, args, &event)
    })
    .await;
    let queued = outcome.is_err() && matches!(watch.progress, Progress::Queued);
    if queued && session.engine().keep_of(&watch.to)? == Keep::Unsaved {
        watch.progress = Progress::Forgotten;
    }
    outcome.or_else(|failure| explain(app, args, &watch, failure))
}

impl Watch {
    fn judge(&mut self, app: &mut App, args: &Send, event: &Event) -> Result<Option<()>, Failure> {
        match event {
            Event::Sent {
                id,
                conversation,
                seq,
                ..
            } if *id == self.id => {
                self.progress = Progress::Acked(*conversation, *seq);
                render::event(app, event)?;
                if args.wait == Until::Acked {
                    return Ok(Some(()));
                }
                self.arrived(app, args.wait)
            }
            Event::SendFailed { id, failure, .. } if *id == self.id => Err(failure.clone().into()),
            Event::Receipt(receipt) if self.concerns(receipt) => {
                self.receipt = Some(receipt.clone());
                self.arrived(app, args.wait)
            }
            other => render::aside(app, other).map(|()| None),
        }
    }

    /// In a pair only the other person can tell; in a group whoever tells first.
    fn concerns(&self, receipt: &Receipt) -> bool {
        self.to.person().is_none_or(|name| *name == receipt.by)
    }

    /// Whether the message is where it was wanted, by what the other person tells.
    fn arrived(&self, app: &mut App, wanted: Until) -> Result<Option<()>, Failure> {
        let (Progress::Acked(conversation, seq), Some(receipt)) = (&self.progress, &self.receipt)
        else {
            return Ok(None);
        };
        let up_to = match wanted {
            Until::Read => receipt.read_up_to,
            Until::Acked | Until::Delivered => receipt.delivered_up_to.max(receipt.read_up_to),
        };
        // What a device cannot open it does not have, however far it is.
        let covers = receipt.readable_from <= *seq && *seq <= up_to;
        if receipt.conversation != *conversation || !covers {
            return Ok(None);
        }
        render::event(app, &Event::Receipt(receipt.clone()))?;
        Ok(Some(()))
    }
}

/// Says what became of a message that is not where it was wanted.
fn explain(app: &mut App, args: &Send, watch: &Watch, failure: Failure) -> Result<(), Failure> {
    let late = failure.exit == Exit::Unreachable || failure.code == "interrupted";
    match &watch.progress {
        Progress::Queued if late => {
            render::object(
                app,
                json!({ "event": "queued", "id": watch.id.to_string(), "to": args.to }),
            )?;
            let message = format!(
                "{}; the message is queued and goes out with the next command that connects",
                failure.message
            );
            Err(Failure::named("queued", message).retry_after(failure.retry_after_ms))
        }
        // It was taken before the change was known, and waits for an answer to it.
        Progress::Queued if failure.code == "key_changed" => {
            let message = format!(
                "{}; the message is queued and goes out after that",
                failure.message
            );
            Err(Failure { message, ..failure })
        }
        Progress::Forgotten if late => Err(Failure::named(
            "forgotten",
            "the message was not sent in time; this conversation is not saved, so it is forgotten: send it again",
        )),
        Progress::Acked(..) if late => Err(Failure::named(
            "timed_out",
            "the server holds the message; no receipt for it came in time",
        )),
        _ => Err(failure),
    }
}

/// What goes with the text.
pub(crate) fn options(engine: &Engine, to: &Talk, args: &Send) -> Result<SendOptions, Failure> {
    let reply_to = match &args.reply {
        None => None,
        Some(word) => {
            let target = names::target(&names::message(engine, word)?);
            if target.talk != *to {
                return Err(Failure::named(
                    "usage",
                    "the message that this answers is in another conversation; use sotto forward to pass it on",
                ));
            }
            Some(target.message)
        }
    };
    for name in &args.mention {
        if !is_spoken_to_in(engine, to, name)? {
            return Err(Failure::named(
                "not_a_member",
                format!(
                    "{name} is not in this conversation and would not hear of it; nothing was sent"
                ),
            ));
        }
    }
    Ok(SendOptions {
        reply_to,
        mentions: args.mention.clone(),
        expires_after_s: args.expires,
    })
}

fn is_spoken_to_in(engine: &Engine, to: &Talk, name: &Username) -> Result<bool, Failure> {
    Ok(match to {
        Talk::Person(peer) => peer == name || engine.who_am_i()?.username == *name,
        Talk::Group(group) => match engine.group(group)? {
            Some(group) => group.members.iter().any(|member| member.name == *name),
            // What is wrong with the group is said when the message is queued.
            None => true,
        },
    })
}

/// The text of the argument, or all of stdin for `-`.
pub(crate) fn read_text(argument: &str) -> Result<String, Failure> {
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
        _ if text.trim().is_empty() => Err(Failure::named(
            "usage",
            "there is nothing to send: the text is empty, or only white space",
        )),
        1..=TEXT_BYTES_MAX => Ok(text),
        _ => Err(Failure::named("usage", "a message has at most 65536 bytes")),
    }
}
