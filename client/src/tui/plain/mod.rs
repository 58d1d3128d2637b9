//! `sotto tui --plain`: all conversations in one stream, one line for each event, every message
//! and conversation with a number by which commands name it. For screen readers and Braille
//! lines, and for terminals that can do little.
//!
//! It refuses what makes a screen hard to listen to: no other screen, no cursor that moves, no
//! frames, no colour, no sign without a word. What is typed goes to the open conversation; lines
//! that begin with `/` are commands of the command line.

mod references;
mod speak;

use std::collections::VecDeque;
use std::time::Duration;

use sotto_protocol::ClientMessageId;

use crate::cli::inside::input::{self, Input};
use crate::cli::inside::{self, App, Interrupts, Lending, Lines, Troubles, Typed};
use crate::engine::api::{Command, Event, Message};
use crate::exit::Failure;
use crate::talk::Talk;
use references::References;
use speak::Speech;

/// Messages that are told when a conversation is opened.
const RECENT: u32 = 5;
/// Messages that `/history` tells at most.
const HISTORY_MAX: u32 = 500;
/// How long the end waits for what is still to be sent.
const FAREWELL: Duration = Duration::from_secs(5);
/// What can be typed.
const HELP: &[&str] = &[
    "What you type goes to the open conversation. Commands begin with a slash.",
    "/chats tells your conversations, each with a number.",
    "/go 2, or /go NAME, or /go #TITLE opens a conversation.",
    "/history 20 tells the last 20 messages again.",
    "Every message has a number: /reply 17 TEXT answers it, /react 17 EMOJI reacts,",
    "/edit 17 TEXT and /delete 17 change yours, /save 17 saves its file.",
    "/requests tells who wants to talk with you; /accept NAME or /decline NAME answers.",
    "/search WORDS, /users, /verify NAME and every other command of sotto work too.",
    "/quit, or Ctrl-D, leaves.",
];

/// Runs until the person leaves.
///
/// # Errors
/// As every command: no profile, a profile in use, a session that is over for good.
pub(crate) async fn run(app: &mut App) -> Result<(), Failure> {
    app.dialer()?;
    let mut engine = app.offline().await?;
    let own = engine.who_am_i()?.username;
    engine.listen(app.clock.now())?;
    let lending = Lending::begin(app, engine)?;
    let mut plain = Plain {
        speech: Speech::new(own),
        references: References::default(),
        open: None,
        lines: Lines::open(&mut app.printer),
        stage: Stage::Talking,
        lending,
    };
    let outcome = plain.run(app).await;
    plain.lines.close(&mut app.printer);
    let Some(engine) = plain.lending.end(app).await else {
        return outcome;
    };
    outcome?;
    match engine.queued()? {
        0 => Ok(()),
        queued => Err(Failure::named(
            "queued",
            format!("{queued} of what you wrote is queued and goes out the next time"),
        )),
    }
}

/// All conversations in one stream.
struct Plain {
    speech: Speech,
    references: References,
    /// Where what is typed goes.
    open: Option<Talk>,
    lines: Lines,
    stage: Stage,
    lending: Lending,
}

#[derive(PartialEq, Eq)]
enum Stage {
    Talking,
    /// No more input; the outbox empties.
    Leaving,
}

impl Plain {
    async fn run(&mut self, app: &mut App) -> Result<(), Failure> {
        let mut interrupts = Interrupts::listen()?;
        let mut troubles = Troubles::default();
        let farewell = tokio::time::sleep(Duration::MAX);
        tokio::pin!(farewell);
        self.tell(app, &self.speech.greeting())?;
        self.tell_chats(app)?;
        self.tell_requests(app)?;
        loop {
            if self.stage == Stage::Leaving && self.lending.session()?.engine().queued()? == 0 {
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
                        Some(Typed::Cut) => self.tell(app, inside::CUT)?,
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

    fn tell(&self, app: &mut App, words: &str) -> Result<(), Failure> {
        speak::line(app, words)
    }

    async fn take_line(&mut self, app: &mut App, line: &str) -> Result<(), Failure> {
        let line = self.references.put_in(line);
        let (word, rest) = match line.trim_end().split_once(' ') {
            Some((word, rest)) => (word, rest.trim()),
            None => (line.trim_end(), ""),
        };
        match word {
            "/go" | "/open" => return self.go(app, rest),
            "/chats" => return self.tell_chats(app),
            "/requests" => return self.tell_requests(app),
            "/history" if rest.is_empty() || rest.parse::<u32>().is_ok() => {
                return self.tell_history(app, rest.parse().unwrap_or(20));
            }
            "/help" | "/?" | "/" => {
                return HELP.iter().try_for_each(|line| self.tell(app, line));
            }
            _ => {}
        }
        let here = self.open.as_ref().map(Talk::to_string).unwrap_or_default();
        match input::read(&line, &here) {
            Input::Nothing => Ok(()),
            Input::Quit => {
                self.stage = Stage::Leaving;
                Ok(())
            }
            Input::Help => HELP.iter().try_for_each(|line| self.tell(app, line)),
            Input::Unclear(why) => self.tell(app, why),
            Input::Say(text) => self.say(app, text),
            Input::Run(words) if words.iter().any(String::is_empty) && here.is_empty() => {
                self.tell(app, speak::NOWHERE)
            }
            Input::Run(words) => self.carry_out(app, words).await,
        }
    }

    fn say(&mut self, app: &mut App, text: String) -> Result<(), Failure> {
        let Some(to) = self.open.clone() else {
            return self.tell(app, speak::NOWHERE);
        };
        let client_id = ClientMessageId::from_bytes(rand::random());
        let number = self.references.number(client_id);
        self.lending.session()?.command(Command::Send {
            to,
            text,
            client_id,
        })?;
        self.tell(app, &format!("{number} is what you wrote"))
    }

    /// Opens a conversation by its number, a name or a title.
    fn go(&mut self, app: &mut App, word: &str) -> Result<(), Failure> {
        let chosen = match self.references.talk(word) {
            Some(talk) => Ok(talk),
            None => inside::talk(self.lending.session()?.engine(), word),
        };
        let talk = match chosen {
            Ok(talk) => talk,
            Err(failure) => {
                app.printer.failure(&failure);
                return Ok(());
            }
        };
        let chats = self.lending.session()?.engine().chats()?;
        let chat = chats.iter().find(|chat| chat.talk == talk);
        let title = chat.and_then(|chat| chat.title.as_deref());
        let name = talk.label(title);
        self.open = Some(talk);
        self.tell(app, &format!("{name} is open; what you type goes there"))?;
        self.tell_history(app, RECENT)
    }

    fn tell_history(&mut self, app: &mut App, last: u32) -> Result<(), Failure> {
        let Some(talk) = self.open.clone() else {
            return self.tell(app, speak::NOWHERE);
        };
        let last = last.clamp(1, HISTORY_MAX);
        let messages = self.lending.session()?.engine().history(&talk, last)?;
        if messages.is_empty() {
            return self.tell(app, "No messages yet.");
        }
        messages
            .iter()
            .try_for_each(|message| self.tell_message(app, message))
    }

    fn tell_message(&mut self, app: &mut App, message: &Message) -> Result<(), Failure> {
        let number = self.references.number(message.id);
        let at_ms = match message.stored_at_ms {
            0 => message.sent_at_ms,
            stored => stored,
        };
        let time = app.zone.short(at_ms, app.clock.now().unix_ms);
        let words = self
            .speech
            .message(message, (number, &time), self.open.as_ref());
        self.tell(app, &words)
    }

    fn tell_chats(&mut self, app: &mut App) -> Result<(), Failure> {
        let chats = self.lending.session()?.engine().chats()?;
        self.references
            .set_talks(chats.iter().map(|chat| chat.talk.clone()));
        if chats.is_empty() {
            return self.tell(
                app,
                "No conversations yet: /go NAME opens one, /users tells who is here.",
            );
        }
        chats
            .iter()
            .enumerate()
            .try_for_each(|(place, chat)| self.tell(app, &speak::chat(place + 1, chat)))
    }

    fn tell_requests(&mut self, app: &mut App) -> Result<(), Failure> {
        let engine = self.lending.session()?.engine();
        let (requests, invitations) = (engine.requests()?, engine.invitations()?);
        for request in &requests {
            self.tell(app, &speak::request(request))?;
        }
        for invitation in &invitations {
            self.tell(app, &speak::invitation(invitation))?;
        }
        Ok(())
    }

    /// Lends the engine to a command of the command line.
    async fn carry_out(&mut self, app: &mut App, words: Vec<String>) -> Result<(), Failure> {
        let before = self.lending.lend()?;
        self.tell_gathered(app, before)?;
        let meanwhile = self.lending.run(app, words).await?;
        self.tell_gathered(app, meanwhile)
    }

    /// What happened while a command ran, but for answers, which the command told itself.
    fn tell_gathered(&mut self, app: &mut App, events: VecDeque<Event>) -> Result<(), Failure> {
        for event in events {
            let answer = matches!(event, Event::Failed { .. } | Event::Security(_));
            if !answer {
                self.show(app, &event)?;
            }
        }
        Ok(())
    }

    fn show(&mut self, app: &mut App, event: &Event) -> Result<(), Failure> {
        if let Some(notice) = crate::notice::Notice::of(event) {
            app.announce(&notice)?;
        }
        match event {
            Event::Message(message) => self.tell_message(app, message),
            Event::SendFailed { failure, .. } => {
                app.printer.failure(&failure.clone().into());
                Ok(())
            }
            Event::Failed {
                command: Some(_),
                failure,
            } => {
                app.printer.failure(&failure.clone().into());
                Ok(())
            }
            other => match self.speech.event(other, &self.references) {
                Some(words) => self.tell(app, &words),
                None => Ok(()),
            },
        }
    }
}
