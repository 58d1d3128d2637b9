//! `sotto daemon`: one profile for many programs at once, over JSON-RPC 2.0 on a Unix socket.
//!
//! A method is a command of the command line, its parameters are the arguments, its result is what
//! the command prints with `--json`. Programs that subscribe hear what `listen` would show. The
//! commands of the command line come through here by themselves while a daemon has the profile.
//!
//! Refuses programs of other users, and commands that ask for a password or end the login. One
//! command runs at a time and has the engine for that time; every queue and line is bounded, and
//! a program that does not read is let go.

mod client;
mod peer;
mod socket;
mod wire;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::{Value, json};
use tokio::net::UnixListener;
use tokio::sync::{Semaphore, mpsc};

use crate::cli::inside::{self, App, Audience, Interrupts, Page, Troubles};
use crate::desk::Lender;
use crate::engine::Engine;
use crate::engine::api::Event;
use crate::exit::{Exit, Failure};
use crate::notice::Notice;
use crate::runtime::Session;
use peer::{Form, Peer};

pub(crate) use client::{Bounds, Heard, Link, listen, run};
pub(crate) use wire::{Outcome, Place, Stream};

/// Programs that are connected at once.
const PEERS_MAX: usize = 64;
/// Requests that wait for the engine.
const JOBS_MAX: usize = 64;

/// Something to do with the engine.
struct Job {
    peer: Peer,
    id: Option<Value>,
    wish: Wish,
}

/// What a program wants.
enum Wish {
    /// A command for a program: its objects are the result.
    Call(Vec<String>),
    /// A command as it was typed: its words are the result.
    Run(Place),
    /// To hear what happens, as objects or as words.
    Subscribe(Option<Place>),
    /// To hear no more.
    Unsubscribe,
    /// The daemon to end.
    Shutdown,
}

/// Somebody who hears what happens.
struct Subscriber {
    peer: Peer,
    form: Form,
    app: App,
    /// The one conversation that is on its screen.
    page: Option<Page>,
}

type Subscribers = Arc<Mutex<Vec<Subscriber>>>;

fn lock(subscribers: &Subscribers) -> MutexGuard<'_, Vec<Subscriber>> {
    subscribers.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Serves until a signal, a request or the end of the login.
///
/// # Errors
/// As any command that goes online; `profile_in_use` when another program has the profile.
pub(crate) async fn serve(app: &mut App) -> Result<(), Failure> {
    app.dialer()?;
    let desk = app.offline().await?;
    let (listener, path) = socket::listen(&app.location()?)?;
    let subscribers = Subscribers::default();
    let hearing = Arc::clone(&subscribers);
    let lender = Lender::new(Box::new(move |event| tell(&hearing, event)));
    let mut daemon = Daemon {
        session: Some(app.online(desk.lent_by(&lender))?),
        lender,
        subscribers,
        jobs: mpsc::channel(JOBS_MAX),
        ending: Ending::No,
    };
    inside::object(
        app,
        json!({ "event": "daemon", "socket": path.display().to_string() }),
    )?;
    app.printer.note(&format!(
        "the daemon listens at {}; Ctrl-C ends it",
        path.display()
    ));
    let accepting = tokio::spawn(accept(listener, daemon.jobs.0.clone()));
    let outcome = daemon.run(app).await;
    accepting.abort();
    // Another daemon cannot have made it: the profile is still ours.
    let _ = std::fs::remove_file(&path);
    if let Some(mut session) = daemon.session.take() {
        session.keep();
        session.close().await;
    }
    outcome
}

async fn accept(listener: UnixListener, jobs: mpsc::Sender<Job>) {
    let room = Arc::new(Semaphore::new(PEERS_MAX));
    while let Ok(permit) = Arc::clone(&room).acquire_owned().await {
        match listener.accept().await {
            Ok((stream, _)) if socket::is_own(&stream) => {
                tokio::spawn(peer::serve(stream, jobs.clone(), permit));
            }
            Ok(_) => tracing::warn!("a program of another user was refused"),
            Err(error) => {
                tracing::debug!(%error, "accept");
                tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            }
        }
    }
}

/// Tells everybody who listens; who does not keep up is let go.
fn tell(subscribers: &Subscribers, event: &Event) {
    lock(subscribers).retain_mut(|subscriber| {
        let app = &mut subscriber.app;
        let (told, again) = match &subscriber.page {
            Some(page) => (page.show(app, event), page.has(event)),
            None => (inside::event(app, event), false),
        };
        if subscriber.form == Form::Words && inside::is_arrival(event) && !again {
            subscriber.peer.tell_arrival(Notice::of(event).as_ref());
        }
        told.is_ok()
    });
}

#[derive(PartialEq, Eq)]
enum Ending {
    No,
    Yes,
}

struct Daemon {
    /// Away only while a command has the engine.
    session: Option<Session>,
    lender: Lender,
    subscribers: Subscribers,
    jobs: (mpsc::Sender<Job>, mpsc::Receiver<Job>),
    ending: Ending,
}

impl Daemon {
    async fn run(&mut self, app: &mut App) -> Result<(), Failure> {
        let mut interrupts = Interrupts::listen()?;
        let mut troubles = Troubles::default();
        while self.ending == Ending::No {
            let session = match self.session.take() {
                Some(session) => session,
                None => app.online(self.lent()?)?,
            };
            let session = self.session.insert(session);
            tokio::select! {
                happening = session.next() => {
                    troubles.heed(app, happening?)?;
                }
                job = self.jobs.1.recv() => {
                    if let Some(job) = job {
                        self.take(app, job).await?;
                    }
                }
                () = interrupts.next() => return Ok(()),
            }
        }
        Ok(())
    }

    fn lent(&self) -> Result<crate::desk::Desk, Failure> {
        let lost = || Failure::named("internal", "a command did not give the engine back");
        self.lender.lend().ok_or_else(lost)
    }

    async fn take(&mut self, app: &mut App, job: Job) -> Result<(), Failure> {
        let Job { peer, id, wish } = job;
        let answer = match wish {
            Wish::Call(args) => {
                let outcome = self.command(app, Audience::Programs, args, None).await?;
                called(&outcome)
            }
            Wish::Run(place) => {
                let audience = inside::audience_of(&place.args);
                let args = place.args.clone();
                let outcome = self.command(app, audience, args, Some(&place)).await?;
                Ok(serde_json::to_value(outcome).unwrap_or_default())
            }
            Wish::Subscribe(place) => self
                .subscribe(app, &peer, place.as_ref())
                .map(|()| json!(true)),
            Wish::Unsubscribe => {
                lock(&self.subscribers).retain(|subscriber| subscriber.peer.id != peer.id);
                if let Some(mut session) = self.session.take() {
                    self.settle(session.engine())?;
                    self.session = Some(session);
                }
                Ok(json!(true))
            }
            Wish::Shutdown => {
                self.ending = Ending::Yes;
                Ok(json!(true))
            }
        };
        peer.answer(id, answer).await;
        Ok(())
    }

    /// Runs a command with the engine.
    async fn command(
        &mut self,
        app: &mut App,
        audience: Audience,
        args: Vec<String>,
        place: Option<&Place>,
    ) -> Result<Outcome, Failure> {
        if let Some(mut session) = self.session.take() {
            session.tell_all()?;
            // Dropped, it hands engine and connection to the lender.
        }
        let said = Arc::new(Mutex::new(Vec::new()));
        let hearing = Arc::clone(&said);
        let sink = Box::new(move |stream: Stream, text: String| {
            let mut said = hearing.lock().unwrap_or_else(PoisonError::into_inner);
            said.push((stream, text));
            Ok(())
        });
        let mut inner = app.within(audience, place, sink);
        inner.lender = Some(self.lender.clone());
        let exit = inside::run_within(&mut inner, args, place).await;
        drop(inner);
        let said = std::mem::take(&mut *said.lock().unwrap_or_else(PoisonError::into_inner));
        // Some commands listen for a moment.
        self.settle(&mut *self.lent()?)?;
        let exit = exit as u8;
        Ok(Outcome { exit, said })
    }

    fn subscribe(
        &mut self,
        app: &mut App,
        peer: &Peer,
        place: Option<&Place>,
    ) -> Result<(), Failure> {
        let audience = match place {
            Some(place) => inside::audience_of(&place.args),
            None => Audience::Programs,
        };
        let form = place.map_or(Form::Objects, |_| Form::Words);
        let mut subscriber = Subscriber {
            peer: peer.clone(),
            form,
            app: app.within(audience, place, peer.sink(form)),
            page: None,
        };
        let chat = place.and_then(|place| inside::chats_with(&place.args));
        if let (Some(to), Some(session)) = (chat, &mut self.session) {
            let page = Page::open(&mut subscriber.app, session.engine(), &to)?;
            subscriber.page = Some(page);
        }
        let mut all = lock(&self.subscribers);
        all.retain(|subscriber| subscriber.peer.id != peer.id);
        all.push(subscriber);
        drop(all);
        let now = app.clock.now();
        if let Some(session) = &mut self.session {
            let requests = session.engine().requests()?;
            if let Some(subscriber) = lock(&self.subscribers).last_mut()
                && subscriber.page.is_none()
            {
                for request in requests {
                    inside::request(&mut subscriber.app, &request)?;
                }
            }
            session.engine().listen(now)?;
        }
        Ok(())
    }

    /// Where nobody listens any more, what comes waits for whoever listens next.
    fn settle(&self, engine: &mut Engine) -> Result<(), Failure> {
        if lock(&self.subscribers).is_empty() {
            engine.stop_listening()?;
        }
        Ok(())
    }
}

/// The objects of a command, or why it has none.
fn called(outcome: &Outcome) -> Result<Value, Failure> {
    let of = |wanted: Stream| {
        let lines = outcome.said.iter();
        lines.filter(move |(stream, _)| *stream == wanted)
    };
    if outcome.exit == Exit::Done as u8 {
        let objects = of(Stream::Out).filter_map(|(_, line)| serde_json::from_str(line).ok());
        return Ok(Value::Array(objects.collect()));
    }
    let error: Option<Value> = of(Stream::Err)
        .next_back()
        .and_then(|(_, line)| serde_json::from_str(line).ok());
    let error = error.unwrap_or_default();
    let text = |key: &str, other: &str| {
        let value = error["error"][key].as_str();
        value.unwrap_or(other).to_owned()
    };
    let code = text("code", "internal");
    Err(
        Failure::named(&code, text("message", "the command ended without a word"))
            .retry_after(error["error"]["retry_after"].as_u64()),
    )
}
