//! A session that lends its engine to the commands which are typed inside of it.
//!
//! While a command has the engine, what happens is kept in order, up to a bound, for whoever owns
//! the session and shows it. Refuses to show anything itself.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::app::App;
use super::inside;
use crate::desk::{Desk, Lender};
use crate::engine::api::Event;
use crate::exit::Failure;
use crate::runtime::Session;

/// Events that are kept while a command runs.
const GATHERED_MAX: usize = 10_000;

/// The session, or what became of it.
pub(crate) struct Lending {
    gathered: Arc<Mutex<Gathered>>,
    /// Away only while a command has the engine.
    session: Option<Session>,
}

/// What happens while a command has the engine.
#[derive(Default)]
struct Gathered {
    state: Gathering,
    events: VecDeque<Event>,
}

/// Whether events are kept for later, or told by whoever asks the session.
#[derive(Default, PartialEq, Eq)]
enum Gathering {
    #[default]
    No,
    Yes,
}

fn lock(gathered: &Mutex<Gathered>) -> MutexGuard<'_, Gathered> {
    gathered.lock().unwrap_or_else(PoisonError::into_inner)
}

fn lost() -> Failure {
    Failure::named("internal", "a command did not give the engine back")
}

impl Lending {
    /// Goes online. From here on commands of `app` borrow this engine and its connection.
    ///
    /// # Errors
    /// As every command that goes online.
    pub(crate) fn begin(app: &mut App, engine: Desk) -> Result<Self, Failure> {
        let gathered = Arc::new(Mutex::new(Gathered::default()));
        let hearing = Arc::clone(&gathered);
        let lender = Lender::new(Box::new(move |event| {
            let mut gathered = lock(&hearing);
            if gathered.state == Gathering::Yes && gathered.events.len() < GATHERED_MAX {
                gathered.events.push_back(event.clone());
            }
        }));
        let session = app.online(engine.lent_by(&lender))?;
        app.lender = Some(lender);
        Ok(Self {
            gathered,
            session: Some(session),
        })
    }

    /// The session.
    ///
    /// # Errors
    /// `internal` when a command lost it.
    pub(crate) fn session(&mut self) -> Result<&mut Session, Failure> {
        self.session.as_mut().ok_or_else(lost)
    }

    /// Makes the engine ready for a command; gives back what it had to say before.
    ///
    /// # Errors
    /// When the local store fails.
    pub(crate) fn lend(&mut self) -> Result<VecDeque<Event>, Failure> {
        lock(&self.gathered).state = Gathering::Yes;
        if let Some(mut session) = self.session.take() {
            session.tell_all()?;
            // Dropped, it hands engine and connection to the lender.
        }
        Ok(self.take())
    }

    /// Runs a command of the command line with the engine; gives back what happened meanwhile.
    ///
    /// # Errors
    /// `internal` when the command lost the engine. Its own failure it has told.
    pub(crate) async fn run(
        &mut self,
        app: &mut App,
        words: Vec<String>,
    ) -> Result<VecDeque<Event>, Failure> {
        inside::run_within(app, words, None).await;
        let engine = app.lender.as_ref().and_then(Lender::lend);
        self.session = Some(app.online(engine.ok_or_else(lost)?)?);
        lock(&self.gathered).state = Gathering::No;
        Ok(self.take())
    }

    fn take(&self) -> VecDeque<Event> {
        std::mem::take(&mut lock(&self.gathered).events)
    }

    /// Ends the session; `None` when a command lost it.
    pub(crate) async fn end(self, app: &mut App) -> Option<Desk> {
        app.lender = None;
        let mut session = self.session?;
        session.keep();
        Some(session.close().await)
    }
}
