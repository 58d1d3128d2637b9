//! `chat TO`: a conversation line by line, edited on a terminal, plain in a pipe.
//!
//! What is typed goes out, what arrives is shown; lines that begin with `/`
//! are commands of the command line. Everything that was typed is queued
//! durably before the next line is read, so nothing is lost when a server, or
//! this program, dies. While a daemon has the profile, `far` does the same
//! through it.

pub(crate) mod far;
pub(crate) mod input;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use sotto_protocol::{ClientMessageId, Username};

use super::app::App;
use super::args::Chat;
use super::drive::{Interrupts, Troubles};
use super::lending::Lending;
use super::lines::{Lines, Typed};
use super::names;
use super::render::{self, Place};
use crate::engine::Engine;
use crate::engine::api::{Command, CommandId, Event, Keep, Request};
use crate::exit::Failure;
use crate::notice::Notice;
use crate::talk::Talk;
use input::Input;

/// Messages of before that are shown at the start.
const RECENT: u32 = 12;
/// How long the end waits for what is still to be sent.
pub(crate) const FAREWELL: Duration = Duration::from_secs(5);
/// A message that took longer is worth a word when it is sent.
const SLOW_MS: u64 = 1_500;
/// What can be typed, short enough for a narrow terminal.
pub(crate) const HELP: &[&str] = &[
    "/reply MESSAGE TEXT",
    "/forward MESSAGE TO",
    "/react MESSAGE EMOJI, /edit, /delete",
    "  MESSAGE: @theirs, @mine, @17, or",
    "  digits of its id as in /history",
    "/accept, /decline, /block [NAME]",
    "/requests  who wants to talk with you",
    "/quit      ends the chat, as Ctrl-D",
    "//text     sends /text",
    "and every command of sotto, such as",
    "/users, /search WORD, /timer 1h",
];

pub(crate) async fn chat(app: &mut App, args: Chat) -> Result<(), Failure> {
    app.dialer()?;
    app.notify = args.notify;
    let mut engine = app.offline().await?;
    let page = Page::open(app, &engine, &args.to)?;
    engine.listen(app.clock.now())?;
    let lending = Lending::begin(app, engine)?;
    let mut chat = Near {
        page,
        lines: Lines::open(&mut app.printer),
        sending: BTreeMap::new(),
        commands: BTreeMap::new(),
        stage: Stage::Talking,
        lending,
    };
    let outcome = chat.run(app).await;
    chat.lines.close(&mut app.printer);
    let Some(engine) = chat.lending.end(app).await else {
        return outcome;
    };
    outcome?;
    farewell(engine.queued()?)
}

/// One conversation as it is shown: what came before, then what happens.
pub(crate) struct Page {
    /// The conversation.
    pub(crate) talk: Talk,
    /// Messages that were shown as history, some of which may come again as unseen.
    recent: BTreeSet<[u8; 16]>,
}

impl Page {
    /// Says who talks with whom, and shows the last messages and who wants to talk.
    pub(crate) fn open(app: &mut App, engine: &Engine, to: &str) -> Result<Self, Failure> {
        let talk = names::talk(engine, to)?;
        let own = engine.who_am_i()?.username;
        app.printer.note(&format!(
            "{own} with {to}; type and press Enter. /help tells more, Ctrl-D ends"
        ));
        let recent = engine.history(&talk, RECENT)?;
        for message in &recent {
            render::message(app, message, Place::Conversation)?;
        }
        for request in engine.requests()? {
            show_request(app, &request);
        }
        let recent = recent.iter().map(|message| *message.id.as_bytes());
        Ok(Self {
            talk,
            recent: recent.collect(),
        })
    }

    /// Whether it was shown when the page was opened.
    pub(crate) fn has(&self, event: &Event) -> bool {
        matches!(event, Event::Message(message) if self.recent.contains(message.id.as_bytes()))
    }

    /// Shows what happened.
    pub(crate) fn show(&self, app: &mut App, event: &Event) -> Result<(), Failure> {
        match event {
            _ if self.has(event) => Ok(()),
            Event::Message(message) if message.talk == self.talk => {
                render::message(app, message, Place::Conversation)
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

fn farewell(queued: u64) -> Result<(), Failure> {
    if queued == 0 {
        return Ok(());
    }
    let message = format!(
        "{queued} of what you wrote is queued and goes out with the next command that connects"
    );
    Err(Failure::named("queued", message))
}

/// One conversation on the screen, with an engine of its own.
struct Near {
    page: Page,
    lines: Lines,
    /// When each unsent message was typed; monotonic milliseconds.
    sending: BTreeMap<[u8; 16], u64>,
    /// What was asked of the engine and not answered yet.
    commands: BTreeMap<CommandId, Asked>,
    stage: Stage,
    lending: Lending,
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

impl Near {
    async fn run(&mut self, app: &mut App) -> Result<(), Failure> {
        let mut interrupts = Interrupts::listen()?;
        let mut troubles = Troubles::default();
        let farewell = tokio::time::sleep(Duration::MAX);
        tokio::pin!(farewell);
        loop {
            if self.stage == Stage::Leaving && self.sending.is_empty() {
                return Ok(());
            }
            let session = self.lending.session()?;
            tokio::select! {
                happening = session.next() => {
                    if let Some(event) = troubles.heed(app, happening?)? {
                        self.show(app, &event)?;
                    }
                }
                line = self.lines.next(), if self.stage == Stage::Talking => {
                    match line {
                        Some(Typed::Line(line)) => self.take_line(app, &line).await?,
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

    async fn take_line(&mut self, app: &mut App, line: &str) -> Result<(), Failure> {
        match input::read(line, &self.page.talk.to_string()) {
            Input::Nothing => Ok(()),
            Input::Quit => {
                self.stage = Stage::Leaving;
                Ok(())
            }
            Input::Help => {
                for line in HELP {
                    app.printer.note(line);
                }
                Ok(())
            }
            Input::Unclear(why) => {
                app.printer.note(why);
                Ok(())
            }
            Input::Say(text) => self.say(text),
            Input::Run(words) => self.carry_out(app, words).await,
        }
    }

    fn say(&mut self, text: String) -> Result<(), Failure> {
        let client_id = ClientMessageId::from_bytes(rand::random());
        let to = self.page.talk.clone();
        let session = self.lending.session()?;
        let now_ms = session.now().monotonic_ms;
        let id = session.command(Command::Send {
            to,
            text,
            client_id,
        })?;
        self.commands.insert(id, Asked::Text(*client_id.as_bytes()));
        self.sending.insert(*client_id.as_bytes(), now_ms);
        Ok(())
    }

    /// What the engine does at once is done here; for everything else it is lent to the command.
    async fn carry_out(&mut self, app: &mut App, words: Vec<String>) -> Result<(), Failure> {
        if let Some((command, done)) = about_person(&words) {
            let id = self.lending.session()?.command(command)?;
            self.commands.insert(id, Asked::Word(done));
            return Ok(());
        }
        if words == ["requests"] {
            for request in self.lending.session()?.engine().requests()? {
                render::request(app, &request)?;
            }
            return Ok(());
        }
        let before = self.lending.lend()?;
        self.show_gathered(app, before, Shown::Nothing)?;
        let shown = match words.first().map(String::as_str) {
            Some("join") => Shown::Everything,
            _ => Shown::Warnings,
        };
        let meanwhile = self.lending.run(app, words).await?;
        self.show_gathered(app, meanwhile, shown)
    }

    /// What happened while a command ran, but for what the command showed itself.
    fn show_gathered(
        &mut self,
        app: &mut App,
        events: VecDeque<Event>,
        shown: Shown,
    ) -> Result<(), Failure> {
        for event in events {
            let seen = match shown {
                Shown::Nothing => false,
                Shown::Warnings => matches!(event, Event::Security(_)),
                Shown::Everything => !is_answer(&event),
            };
            if !seen {
                self.show(app, &event)?;
            }
        }
        Ok(())
    }

    fn show(&mut self, app: &mut App, event: &Event) -> Result<(), Failure> {
        if let Some(notice) = Notice::of(event).filter(|_| !self.page.has(event)) {
            app.announce(&notice)?;
        }
        match event {
            Event::Sent { id, .. } => {
                let typed_ms = self.sending.remove(id.as_bytes());
                let now_ms = app.clock.now().monotonic_ms;
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
                // One that a command asked for was told by it.
                let Some(asked) = self.commands.remove(command) else {
                    return Ok(());
                };
                if let Asked::Text(id) = asked {
                    self.sending.remove(&id);
                }
                app.printer.failure(&failure.clone().into());
                Ok(())
            }
            other => self.page.show(app, other),
        }
    }
}

/// Whether an event is about something that was asked here.
const fn is_answer(event: &Event) -> bool {
    matches!(
        event,
        Event::Sent { .. } | Event::SendFailed { .. } | Event::Done { .. } | Event::Failed { .. }
    )
}

/// What a command has shown already.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Shown {
    Nothing,
    Warnings,
    Everything,
}

/// A command about somebody's wish to talk, and what to say when it is done.
fn about_person(words: &[String]) -> Option<(Command, String)> {
    let [word, name] = words else {
        return None;
    };
    let name = Username::parse(name).ok()?;
    let (done, make): (&str, fn(Username) -> Command) = match word.as_str() {
        "accept" => ("accepted", |name| Command::Accept {
            name,
            keep: Keep::Saved,
        }),
        "decline" => ("declined", |name| Command::Decline { name }),
        "block" => ("blocked", |name| Command::Block { name }),
        "unblock" => ("unblocked", |name| Command::Unblock { name }),
        _ => return None,
    };
    let done = format!("{done} {name}");
    Some((make(name), done))
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
