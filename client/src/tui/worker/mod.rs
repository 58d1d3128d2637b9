//! The worker: owns the session and the store, on a thread of its own. It answers what the
//! drawing side asks and tells it what happens.
//!
//! ```text
//!  Ask ──► [256] ──► Worker ── Session (engine, network) ──► Lender's observer ─┐
//!                       └── answers ─────────────────────────────────────────┴─► News [256]
//! ```
//!
//! Commands of the command line run here with the lent engine, as at a daemon; what the person
//! does meanwhile comes first. It draws nothing, and waits where the drawing side is slow.

pub(super) mod enrol;
mod hear;
mod look;
mod run;
mod serve;
pub(super) mod signals;

use std::collections::VecDeque;
use std::sync::mpsc::SyncSender;

use sotto_crypto::recovery::RecoveryKey;
use tokio::sync::mpsc::Receiver;

use super::ask::{Ask, Enrol, Link, News, Stage};
use crate::cli::inside::{App, Audience, Global, Offered};
use crate::desk::{Desk, Lender};
use crate::exit::Failure;
use crate::runtime::{Happening, Session};
use hear::Ears;
use look::Eyes;
use signals::Signals;

/// What reaches the drawing side.
#[derive(Debug)]
pub(crate) enum Input {
    /// A key, a paste, a new size.
    Terminal(ratatui::crossterm::event::Event),
    /// The worker says something.
    News(News),
}

/// The way to the drawing side; it is gone only at the end.
#[derive(Clone)]
pub(super) struct Mouth(SyncSender<Input>);

impl Mouth {
    fn say(&self, news: News) {
        // Nobody looks any more: the end is near and comes by itself.
        let _ = self.0.send(Input::News(news));
    }
}

/// Starts the worker; it ends by itself after [`Ask::Quit`], and says so.
pub(crate) fn start(
    global: Global,
    asks: Receiver<Ask>,
    news: SyncSender<Input>,
) -> std::io::Result<std::thread::JoinHandle<()>> {
    std::thread::Builder::new()
        .name("worker".to_owned())
        .spawn(move || {
            let mouth = Mouth(news);
            let last = LastWord(Some(mouth.clone()));
            let outcome = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .map_err(|error| Failure::named("internal", format!("no runtime: {error}")))
                .and_then(|runtime| {
                    let outcome = runtime.block_on(work(global, asks, mouth.clone()));
                    runtime.shutdown_background();
                    outcome
                });
            last.say(outcome);
        })
}

/// Tells that the worker ended, also when it panics.
struct LastWord(Option<Mouth>);

impl LastWord {
    fn say(mut self, outcome: Result<(), Failure>) {
        if let Some(mouth) = self.0.take() {
            mouth.say(News::Ended(outcome));
        }
    }
}

impl Drop for LastWord {
    fn drop(&mut self) {
        if let Some(mouth) = self.0.take() {
            let words = "the worker ended in a panic; what was queued is safe";
            mouth.say(News::Ended(Err(Failure::named("internal", words))));
        }
    }
}

/// From the first look at the profile to the end.
async fn work(global: Global, mut asks: Receiver<Ask>, mouth: Mouth) -> Result<(), Failure> {
    let quiet = Box::new(|_, _| Ok(()));
    let app = crate::cli::inside::quiet(global, Audience::People, quiet);
    let mut signals = Signals::listen()?;
    let mut enrolment = enrol::Enrolment::new(app, mouth.clone());
    let opened = tokio::select! {
        opened = enrolment.run(&mut asks) => opened?,
        () = signals.next() => return Ok(()),
    };
    let Some(desk) = opened else {
        return Ok(());
    };
    let app = enrolment.into_app();
    Worker::begin(app, desk, asks, mouth)?.run(signals).await
}

/// The session at work.
struct Worker {
    app: App,
    /// Away only while a command has the engine.
    session: Option<Session>,
    lender: Lender,
    asks: Receiver<Ask>,
    /// Asks that came while a command ran.
    later: VecDeque<Ask>,
    ears: Ears,
    eyes: Eyes,
    mouth: Mouth,
    /// Who was looked at last and wants to be a device of this account.
    offered: Option<Box<Offered>>,
    /// A recovery key whose words are on the screen.
    key: Option<RecoveryKey>,
}

/// Whether the worker goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Going {
    On,
    Over,
}

impl Worker {
    fn begin(app: App, mut desk: Desk, asks: Receiver<Ask>, mouth: Mouth) -> Result<Self, Failure> {
        let ears = Ears::new(mouth.clone());
        let lender = Lender::new(ears.observer());
        desk.watch(app.clock.now())?;
        mouth.say(News::Who(Box::new(desk.who_am_i()?)));
        mouth.say(News::Enrol(Stage::Ready));
        let session = app.online(desk.lent_by(&lender))?;
        Ok(Self {
            app,
            session: Some(session),
            lender,
            asks,
            later: VecDeque::new(),
            ears,
            eyes: Eyes::new(mouth.clone()),
            mouth,
            offered: None,
            key: None,
        })
    }

    async fn run(mut self, mut signals: Signals) -> Result<(), Failure> {
        let outcome = loop {
            if let Some(ask) = self.later.pop_front() {
                match self.take(ask).await {
                    Ok(Going::On) => continue,
                    Ok(Going::Over) => break Ok(()),
                    Err(failure) => break Err(failure),
                }
            }
            self.session()?;
            let Some(session) = &mut self.session else {
                continue;
            };
            let happened = tokio::select! {
                happening = session.next() => Some(happening?),
                () = signals.next() => break Ok(()),
                ask = self.asks.recv() => {
                    match ask {
                        Some(ask) => self.later.push_back(ask),
                        None => break Ok(()),
                    }
                    None
                }
            };
            if let Some(happening) = happened {
                self.tell(&happening);
                if let Err(failure) = self.tell_identities() {
                    break Err(failure);
                }
            }
        };
        if let Some(mut session) = self.session.take() {
            session.engine().stop_listening()?;
            session.keep();
            session.close().await;
        }
        outcome
    }

    /// The session, started anew where a command had the engine.
    fn session(&mut self) -> Result<&mut Session, Failure> {
        let session = match self.session.take() {
            Some(session) => session,
            None => {
                let lost = || Failure::named("internal", "a command did not give the engine back");
                let mut desk = self.lender.lend().ok_or_else(lost)?;
                // Some commands listen for a moment.
                desk.watch(self.app.clock.now())?;
                self.app.online(desk)?
            }
        };
        Ok(self.session.insert(session))
    }

    /// What the session says of its connection; events went to the ears already.
    fn tell(&self, happening: &Happening) {
        match happening {
            Happening::Event(_) => {}
            Happening::Lost(_) => self.mouth.say(News::Link(Link::Connecting)),
            Happening::Unreachable(error) => {
                self.mouth.say(News::Link(Link::Offline(error.to_string())));
            }
            Happening::GivenUp(error) => {
                let failure = Failure::from(error);
                self.mouth.say(News::Link(Link::GivenUp(failure.message)));
            }
        }
    }
}

/// An answer of the first run that comes when it is over.
fn late(answer: &Enrol) -> &'static str {
    match answer {
        Enrol::Check { .. } => "the lock",
        Enrol::MakeRecovery | Enrol::KeepRecovery | Enrol::SkipRecovery => "a recovery key",
        _ => "the first run",
    }
}
