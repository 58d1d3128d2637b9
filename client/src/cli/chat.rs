//! `chat NAME`: a conversation line by line, edited on a terminal, plain in a pipe.
//!
//! What is typed goes out, what arrives is shown; lines that begin with `/`
//! are commands. Everything that was typed is queued durably before the next
//! line is read, so nothing is lost when a server, or this program, dies.

pub(crate) mod input;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use sotto_protocol::{ClientMessageId, Username};

use super::app::App;
use super::drive::{Interrupts, Troubles};
use super::lines::{Lines, Typed};
use super::render::{self, Place};
use crate::engine::api::{Command, CommandId, Event, Keep, Request};
use crate::exit::Failure;
use crate::runtime::Session;

/// Messages of before that are shown at the start.
const RECENT: u32 = 12;
/// How long the end waits for what is still to be sent.
const FAREWELL: Duration = Duration::from_secs(5);
/// A message that took longer is worth a word when it is sent.
const SLOW_MS: u64 = 1_500;
/// What can be typed, short enough for a narrow terminal.
const HELP: &[&str] = &[
    "/accept, /decline, /block [NAME]",
    "/unblock [NAME]",
    "/requests  who wants to talk with you",
    "/quit      ends the chat, as Ctrl-D",
    "//text     sends /text",
];

pub(crate) async fn chat(app: &mut App, name: Username) -> Result<(), Failure> {
    app.dialer()?;
    let mut engine = app.offline().await?;
    let own = engine.who_am_i()?.username;
    app.printer.note(&format!(
        "{own} with {name}; type and press Enter. /help tells more, Ctrl-D ends"
    ));
    let recent = engine.history(&name.clone().into(), RECENT)?;
    for message in &recent {
        render::message(app, message, Place::Conversation)?;
    }
    for request in engine.requests()? {
        show_request(app, &request);
    }
    engine.listen(app.clock.now())?;
    let mut session = app.online(engine)?;
    let mut talk = Talk {
        name,
        lines: Lines::open(&mut app.printer),
        sending: BTreeMap::new(),
        commands: BTreeMap::new(),
        recent: recent
            .iter()
            .map(|message| *message.id.as_bytes())
            .collect(),
        stage: Stage::Talking,
    };
    let outcome = talk.run(app, &mut session).await;
    talk.lines.close(&mut app.printer);
    let engine = session.close().await;
    outcome?;
    match engine.queued()? {
        0 => Ok(()),
        queued => Err(Failure::named(
            "queued",
            format!(
                "{queued} of what you wrote is queued and goes out with the next command that connects"
            ),
        )),
    }
}

/// One conversation on the screen.
struct Talk {
    name: Username,
    lines: Lines,
    /// When each unsent message was typed; monotonic milliseconds.
    sending: BTreeMap<[u8; 16], u64>,
    /// What was asked of the engine and not answered yet.
    commands: BTreeMap<CommandId, Asked>,
    /// Messages that were shown as history, some of which may come again as unseen.
    recent: BTreeSet<[u8; 16]>,
    stage: Stage,
}

/// Something asked of the engine.
enum Asked {
    /// A text to send, by its id.
    Text([u8; 16]),
    /// A command, with what to say when it is done.
    Word(String),
}

#[derive(PartialEq, Eq)]
enum Stage {
    Talking,
    /// No more input; the outbox empties.
    Leaving,
}

impl Talk {
    async fn run(&mut self, app: &mut App, session: &mut Session) -> Result<(), Failure> {
        let mut interrupts = Interrupts::listen()?;
        let mut troubles = Troubles::default();
        let farewell = tokio::time::sleep(Duration::MAX);
        tokio::pin!(farewell);
        loop {
            if self.stage == Stage::Leaving && self.sending.is_empty() {
                return Ok(());
            }
            tokio::select! {
                happening = session.next() => {
                    if let Some(event) = troubles.heed(app, happening?)? {
                        self.show(app, session, &event)?;
                    }
                }
                line = self.lines.next(), if self.stage == Stage::Talking => {
                    match line {
                        Some(Typed::Line(line)) => self.take_line(app, session, &line)?,
                        Some(Typed::Cut) => app.printer.note(CUT),
                        None => self.stage = Stage::Leaving,
                    }
                    if self.stage == Stage::Leaving {
                        farewell.as_mut().reset(tokio::time::Instant::now() + FAREWELL);
                    }
                }
                () = &mut farewell, if self.stage == Stage::Leaving => return Ok(()),
                () = interrupts.next() => return Ok(()),
            }
        }
    }

    fn take_line(
        &mut self,
        app: &mut App,
        session: &mut Session,
        line: &str,
    ) -> Result<(), Failure> {
        let line = line.trim_end_matches(['\n', '\r']);
        let text = match line.strip_prefix('/') {
            None => line,
            Some(rest) if rest.starts_with('/') => rest,
            Some(command) => return self.take_command(app, session, command.trim()),
        };
        if text.trim().is_empty() {
            return Ok(());
        }
        let client_id = ClientMessageId::from_bytes(rand::random());
        let id = session.command(Command::Send {
            to: self.name.clone().into(),
            text: text.to_owned(),
            client_id,
        })?;
        self.commands.insert(id, Asked::Text(*client_id.as_bytes()));
        self.sending
            .insert(*client_id.as_bytes(), session.now().monotonic_ms);
        Ok(())
    }

    fn take_command(
        &mut self,
        app: &mut App,
        session: &mut Session,
        line: &str,
    ) -> Result<(), Failure> {
        let (word, argument) = line.split_once(' ').unwrap_or((line, ""));
        let name = if argument.is_empty() {
            Ok(self.name.clone())
        } else {
            Username::parse(argument.trim())
        };
        let Ok(name) = name else {
            app.printer.note("that is no name");
            return Ok(());
        };
        let (command, done) = match word {
            "quit" | "q" | "exit" => {
                self.stage = Stage::Leaving;
                return Ok(());
            }
            "accept" => {
                let done = format!("accepted {name}");
                (
                    Command::Accept {
                        name,
                        keep: Keep::Saved,
                    },
                    done,
                )
            }
            "decline" => (
                Command::Decline { name: name.clone() },
                format!("declined {name}"),
            ),
            "block" => (
                Command::Block { name: name.clone() },
                format!("blocked {name}"),
            ),
            "unblock" => (
                Command::Unblock { name: name.clone() },
                format!("unblocked {name}"),
            ),
            "requests" => {
                for request in session.engine().requests()? {
                    render::request(app, &request)?;
                }
                return Ok(());
            }
            _ => {
                for line in HELP {
                    app.printer.note(line);
                }
                return Ok(());
            }
        };
        let id = session.command(command)?;
        self.commands.insert(id, Asked::Word(done));
        Ok(())
    }

    fn show(&mut self, app: &mut App, session: &mut Session, event: &Event) -> Result<(), Failure> {
        match event {
            Event::Message(message) if self.recent.contains(message.id.as_bytes()) => Ok(()),
            Event::Message(message) => {
                if message.details.notify {
                    app.printer.ring(session.now().monotonic_ms)?;
                }
                let place = if message.talk.person() == Some(&self.name) {
                    Place::Conversation
                } else {
                    Place::Anywhere
                };
                render::message(app, message, place)
            }
            Event::Sent { id, .. } => {
                let typed_ms = self.sending.remove(id.as_bytes());
                let now_ms = session.now().monotonic_ms;
                if typed_ms.is_some_and(|at| now_ms.saturating_sub(at) > SLOW_MS) {
                    app.printer.note("sent, later than usual");
                }
                Ok(())
            }
            Event::SendFailed { id, failure, .. } => {
                self.sending.remove(id.as_bytes());
                app.printer.failure(&failure.clone().into());
                Ok(())
            }
            Event::Done { command } => {
                if let Some(Asked::Word(done)) = self.commands.remove(command) {
                    app.printer.note(&done);
                }
                Ok(())
            }
            Event::Failed {
                command: Some(command),
                failure,
            } => {
                if let Some(Asked::Text(id)) = self.commands.remove(command) {
                    self.sending.remove(&id);
                }
                app.printer.failure(&failure.clone().into());
                Ok(())
            }
            Event::Request(request) => {
                show_request(app, request);
                event
                    .to_json()
                    .map_or(Ok(()), |value| render::object(app, value))
            }
            other => render::event(app, other),
        }
    }
}

/// In here a request is answered without leaving.
fn show_request(app: &mut App, request: &Request) {
    app.printer.note(&format!(
        "{0} wants to talk with you: /accept {0} or /decline {0}; writing to them accepts too",
        request.from
    ));
}

/// What is said of a line that the terminal cut.
pub(crate) const CUT: &str = "that line was too long for the terminal, which dropped a part of it; nothing \
                   was sent. Send it in pieces, or from a file: sotto send NAME - < FILE";
