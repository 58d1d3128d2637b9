//! Waiting: runs a session until a command has its answer, the time is up,
//! the person interrupts, or it is certain that the answer will not come.

use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::app::App;
use crate::desk::Desk;
use crate::engine::api::{Command, CommandId, Connection, Event};
use crate::exit::Failure;
use crate::runtime::{Happening, Session};

/// How long an ordinary command waits for its answer.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// SIGINT and SIGTERM, as something to wait for.
pub(crate) struct Interrupts {
    interrupt: Signal,
    terminate: Signal,
}

impl Interrupts {
    pub(crate) fn listen() -> Result<Self, Failure> {
        let failed =
            |error: std::io::Error| Failure::named("internal", format!("no signals: {error}"));
        Ok(Self {
            interrupt: signal(SignalKind::interrupt()).map_err(failed)?,
            terminate: signal(SignalKind::terminate()).map_err(failed)?,
        })
    }

    pub(crate) async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

/// Ends after a time, if there is one.
pub(crate) async fn after(duration: Option<Duration>) {
    match duration {
        Some(duration) => tokio::time::sleep(duration).await,
        None => std::future::pending().await,
    }
}

/// How the session logs in, which decides what a refusal means.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum LoginBy {
    /// By the device's signature.
    #[default]
    Device,
    /// By a password that was just given.
    Password,
}

/// What the session's own troubles were so far, to explain an end without an answer.
#[derive(Default)]
pub(crate) struct Troubles {
    login: LoginBy,
    refused: Refused,
    failure: Option<Failure>,
    told: Told,
}

#[derive(Default, PartialEq, Eq)]
enum Refused {
    #[default]
    No,
    Yes,
}

/// Whether the person was told that no server answers.
#[derive(Default, PartialEq, Eq)]
enum Told {
    #[default]
    No,
    Yes,
}

impl Troubles {
    /// The troubles of a session that logs in this way first.
    pub(crate) fn of(login: LoginBy) -> Self {
        Self {
            login,
            ..Self::default()
        }
    }

    /// Takes note of what happened; the event, if it was one.
    ///
    /// # Errors
    /// When the session is over for good.
    pub(crate) fn heed(
        &mut self,
        app: &mut App,
        happening: Happening,
    ) -> Result<Option<Event>, Failure> {
        match happening {
            Happening::Event(event) => self.heed_event(app, event),
            Happening::Lost(error) => {
                self.tell(app, &format!("{error}; connecting again…"));
                Ok(None)
            }
            Happening::Unreachable(error) => {
                self.tell(app, &format!("{error}; trying again…"));
                self.failure = Some(Failure::from(&error));
                Ok(None)
            }
            Happening::GivenUp(error) => Err(Failure::from(&error)),
        }
    }

    fn heed_event(&mut self, app: &mut App, event: Event) -> Result<Option<Event>, Failure> {
        match event {
            Event::Connection(Connection::LoggedIn(_)) => {
                if self.told == Told::Yes {
                    app.printer.note("connected again");
                    self.told = Told::No;
                }
                self.failure = None;
                return Ok(Some(event));
            }
            Event::Connection(Connection::Refused) => self.refused = Refused::Yes,
            Event::Failed {
                command: None,
                ref failure,
            } => {
                self.failure = Some(refusal(self.login, failure.clone().into()));
            }
            other => return Ok(Some(other)),
        }
        match (&self.refused, &self.failure) {
            (Refused::Yes, Some(failure)) => Err(failure.clone()),
            _ => Ok(None),
        }
    }

    fn tell(&mut self, app: &mut App, text: &str) {
        if self.told == Told::No {
            app.printer.note(text);
            self.told = Told::Yes;
        }
    }

    /// Why the time ran out: what the servers last said, or that nothing came.
    pub(crate) fn out_of_time(&mut self) -> Failure {
        self.failure.take().unwrap_or_else(|| {
            Failure::named("timed_out", "the answer did not come in time; try again")
        })
    }
}

/// A refused login in words that help: which of the two it was, the server does not tell.
fn refusal(login: LoginBy, mut failure: Failure) -> Failure {
    match (login, failure.code.as_str()) {
        (LoginBy::Device, "wrong_credentials") => Failure::named("not_logged_in", failure.message),
        (_, "identity_mismatch") => {
            failure.message = "the account exists and this machine is not one of its devices: use sotto link \
                               with a device of it at hand, or sotto recover with its recovery key. If \
                               all devices and the key are lost, sotto login --new-identity begins anew"
                .to_owned();
            failure
        }
        _ => failure,
    }
}

/// Runs `session` until `judge` has what it wanted.
///
/// # Errors
/// What `judge` says; `timed_out` or the last trouble with the servers when
/// `patience` ends; `interrupted`.
pub(crate) async fn until<T>(
    app: &mut App,
    session: &mut Session,
    patience: Duration,
    judge: impl FnMut(&mut App, Event) -> Result<Option<T>, Failure>,
) -> Result<T, Failure> {
    until_with(Troubles::default(), app, session, patience, judge).await
}

/// As [`until`], for a session that logs in by other means than the device.
pub(crate) async fn until_with<T>(
    mut troubles: Troubles,
    app: &mut App,
    session: &mut Session,
    patience: Duration,
    mut judge: impl FnMut(&mut App, Event) -> Result<Option<T>, Failure>,
) -> Result<T, Failure> {
    let mut interrupts = Interrupts::listen()?;
    let end = tokio::time::sleep(patience);
    tokio::pin!(end);
    loop {
        let happening = tokio::select! {
            happening = session.next() => happening?,
            () = &mut end => return Err(troubles.out_of_time()),
            () = interrupts.next() => return Err(interrupted()),
        };
        let Some(event) = troubles.heed(app, happening)? else {
            continue;
        };
        if let Some(outcome) = judge(app, event)? {
            return Ok(outcome);
        }
    }
}

pub(crate) fn interrupted() -> Failure {
    Failure::named("interrupted", "interrupted")
}

/// Whether an event answers a command, and how.
pub(crate) fn answer_to(id: CommandId, event: &Event) -> Option<Result<(), Failure>> {
    match event {
        Event::Done { command } if *command == id => Some(Ok(())),
        Event::Users { command, .. }
        | Event::User { command, .. }
        | Event::Settings { command, .. }
        | Event::Devices { command, .. }
        | Event::Rooms { command, .. }
        | Event::LinkOffered { command, .. }
        | Event::InviteLink { command, .. }
        | Event::InviteLinks { command, .. }
        | Event::GroupMade { command, .. }
            if *command == id =>
        {
            Some(Ok(()))
        }
        Event::Failed {
            command: Some(command),
            failure,
        } if *command == id => Some(Err(failure.clone().into())),
        _ => None,
    }
}

/// Carries one command out, online only where it needs a server, and gives
/// the event that answered it.
pub(crate) async fn perform(app: &mut App, command: Command) -> Result<Event, Failure> {
    let engine = app.offline().await?;
    perform_on(app, engine, command).await
}

/// As [`perform`], with an engine that is open already.
pub(crate) async fn perform_on(
    app: &mut App,
    mut engine: Desk,
    command: Command,
) -> Result<Event, Failure> {
    let id = engine.handle_command(command, app.clock.now())?;
    let mut waiting = Vec::new();
    while let Some(event) = engine.poll_event() {
        if let Some(answer) = answer_to(id, &event) {
            return answer.map(|()| event);
        }
        waiting.push(event);
    }
    for event in waiting {
        super::render::event(app, &event)?;
    }
    let mut session = app.online(engine)?;
    let answer = until(app, &mut session, PATIENCE, |app, event| {
        match answer_to(id, &event) {
            Some(answer) => answer.map(|()| Some(event)),
            None => super::render::aside(app, &event).map(|()| None),
        }
    })
    .await;
    session.close().await;
    answer
}
