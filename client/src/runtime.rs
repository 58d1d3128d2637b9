//! Joins engine, network and clock.
//!
//! A [`Session`] is driven by whoever calls [`Session::next`]; dropping that
//! future loses nothing, so an interface may wait for a key or a signal at the
//! same time. It reconnects by itself, and stops only where trying again makes
//! no sense. It decides nothing about messages: that is the engine's.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};

use sotto_protocol::wire::{ClientFrame, Ping, Pong, ServerFrame, client_frame, server_frame};
use tokio::time::Instant;

use crate::desk::Desk;
use crate::engine::api::{Command, CommandId, Connection as State, Event, Now};
use crate::engine::{Engine, EngineError};
use crate::net::{Backoff, Connection, DialError, Dialer, Due, Established, LinkError, Liveness};

/// A goodbye takes no longer than this.
const CLOSE_WITHIN: Duration = Duration::from_millis(1_000);
/// The last receipts take no longer than this, in milliseconds.
const RECEIPTS_WITHIN_MS: u64 = 2_000;
/// Marks the request ids of pings; the engine counts from 1.
const PING_ID: u64 = 1 << 63;

/// Reads the clocks; the only place of the client's shell that does.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    start: Instant,
}

impl Clock {
    #[expect(
        clippy::disallowed_methods,
        reason = "a shell reads the clock and hands it on"
    )]
    pub(crate) fn start() -> Self {
        Self {
            start: Instant::from_std(std::time::Instant::now()),
        }
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "a shell reads the clock and hands it on"
    )]
    pub(crate) fn now(&self) -> Now {
        let since_1970 = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default();
        Now {
            unix_ms: millis(since_1970),
            monotonic_ms: millis(Instant::now().saturating_duration_since(self.start)),
        }
    }

    fn at(&self, monotonic_ms: u64) -> Instant {
        self.start + Duration::from_millis(monotonic_ms)
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// What a session tells its interface.
#[derive(Debug)]
pub(crate) enum Happening {
    /// The engine says something.
    Event(Event),
    /// The connection is gone; a new one is being made.
    Lost(LinkError),
    /// No server could be reached; the session tries again by itself.
    Unreachable(DialError),
    /// No server could be reached and trying again makes no sense.
    GivenUp(DialError),
}

type Dialing = Pin<Box<dyn Future<Output = Result<Established, DialError>> + Send>>;

/// Where the connection stands.
enum Link {
    /// Waiting to try again, until this monotonic time in milliseconds.
    Waiting(u64),
    Dialing(Dialing),
    Open(Box<Open>),
    /// Not to be tried again.
    Stopped,
}

/// A connection in use.
struct Open {
    connection: Connection,
    liveness: Liveness,
}

/// What ended a wait.
enum Woke {
    Frame(ServerFrame),
    Broken(LinkError),
    Dialed(Box<Result<Established, DialError>>),
    Deadline,
}

/// An engine at work over connections that come and go.
pub(crate) struct Session {
    engine: Desk,
    dialer: Dialer,
    way: Way,
    clock: Clock,
}

/// How a session reaches a server: goes with a lent engine from command to command.
pub(crate) struct Way {
    link: Link,
    backoff: Backoff,
    pings: u64,
}

impl Default for Way {
    fn default() -> Self {
        Self {
            link: Link::Waiting(0),
            backoff: Backoff::default(),
            pings: 0,
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if let Some(lender) = self.engine.lender() {
            lender.keep_way(std::mem::take(&mut self.way));
        }
    }
}

impl Session {
    /// A session that connects at once, or goes on with a connection made before.
    pub(crate) fn start(
        engine: impl Into<Desk>,
        dialer: Dialer,
        established: Option<Established>,
        clock: Clock,
    ) -> Result<Self, EngineError> {
        let engine = engine.into();
        let way = engine.lender().and_then(crate::desk::Lender::take_way);
        let mut session = Self {
            engine,
            dialer,
            way: way.unwrap_or_default(),
            clock,
        };
        if let Some(established) = established {
            session.adopt(established)?;
        }
        Ok(session)
    }

    /// The engine, for questions about what is stored.
    pub(crate) fn engine(&mut self) -> &mut Engine {
        &mut self.engine
    }

    /// The time as this session counts it.
    pub(crate) fn now(&self) -> Now {
        self.clock.now()
    }

    /// Hands a command to the engine; its frames leave with the next [`Self::next`].
    pub(crate) fn command(&mut self, command: Command) -> Result<CommandId, EngineError> {
        self.engine.handle_command(command, self.clock.now())
    }

    /// What happens next. Dropping the future loses nothing.
    pub(crate) async fn next(&mut self) -> Result<Happening, EngineError> {
        loop {
            if let Some(event) = self.engine.poll_event() {
                self.heed(&event)?;
                if let Some(lender) = self.engine.lender() {
                    lender.observe(&event);
                }
                return Ok(Happening::Event(event));
            }
            self.send_frames();
            let deadline = self.deadline();
            let woke = self.wait(deadline).await;
            if let Some(happening) = self.handle(woke)? {
                return Ok(happening);
            }
        }
    }

    /// Tells the lender's observer what the engine has to say already, before it is lent.
    pub(crate) fn tell_all(&mut self) -> Result<(), EngineError> {
        while let Some(event) = self.engine.poll_event() {
            self.heed(&event)?;
            if let Some(lender) = self.engine.lender() {
                lender.observe(&event);
            }
        }
        Ok(())
    }

    /// Connects anew at once: the machine slept, and whoever was at the other end may be gone.
    pub(crate) fn begin_anew(&mut self) -> Result<(), EngineError> {
        let now = self.clock.now();
        match self.way.link {
            Link::Open(_) | Link::Waiting(_) => {
                let open = matches!(self.way.link, Link::Open(_));
                self.way.link = Link::Waiting(now.monotonic_ms);
                self.way.backoff.reset();
                if open {
                    self.engine.handle_disconnected(now)?;
                }
            }
            Link::Dialing(_) | Link::Stopped => {}
        }
        Ok(())
    }

    /// From here on the engine goes back to nobody.
    pub(crate) fn keep(&mut self) {
        self.engine.keep();
    }

    /// Sends what is queued and the last receipts, ends the connection and
    /// gives the engine back. That of a lent engine stays up.
    pub(crate) async fn close(mut self) -> Desk {
        if let Some(lender) = self.engine.lender() {
            lender.keep_way(std::mem::take(&mut self.way));
            return std::mem::replace(&mut self.engine, Desk::vacant());
        }
        if let Err(error) = self.send_receipts().await {
            // They are due still, and the store says so at its next use.
            tracing::debug!(%error, "the last receipts are not sent");
        }
        self.send_frames();
        if let Link::Open(open) = std::mem::take(&mut self.way).link {
            let closing = tokio::time::timeout(CLOSE_WITHIN, open.connection.close());
            if closing.await.is_err() {
                tracing::debug!("the goodbye was cut short");
            }
        }
        if let Err(error) = self.engine.keep_shown() {
            // Shown again next time: better twice than never.
            tracing::debug!(%error, "what was shown is not noted");
        }
        std::mem::replace(&mut self.engine, Desk::vacant())
    }

    /// Tells others what was shown here, while there is a connection.
    async fn send_receipts(&mut self) -> Result<(), EngineError> {
        let now = self.clock.now();
        self.engine.hurry_receipts(now)?;
        let end_ms = now.monotonic_ms + RECEIPTS_WITHIN_MS;
        while matches!(self.way.link, Link::Open(_)) && self.engine.receipts_leaving()? {
            self.send_frames();
            match self.wait(Some(end_ms)).await {
                // What arrives now is for the next command: not acknowledged, it comes again.
                Woke::Frame(frame)
                    if matches!(frame.body, Some(server_frame::Body::Deliver(_))) => {}
                Woke::Frame(frame) => self.handle_frame(frame)?,
                Woke::Broken(_) | Woke::Dialed(_) | Woke::Deadline => return Ok(()),
            }
        }
        Ok(())
    }

    /// What the engine says about the connection concerns this side too.
    fn heed(&mut self, event: &Event) -> Result<(), EngineError> {
        match event {
            Event::Connection(State::LoggedIn(_)) => self.way.backoff.reset(),
            Event::Connection(State::Refused) => self.way.link = Link::Stopped,
            // The transport still stands, and nobody would speak on it any more.
            Event::Connection(State::Lost) if matches!(self.way.link, Link::Open(_)) => {
                let wait_ms = self.backoff_ms();
                self.retry_in(wait_ms);
                self.engine.handle_disconnected(self.clock.now())?;
            }
            Event::Connection(State::MoveWithin(within_ms)) => {
                let now_ms = self.clock.now().monotonic_ms;
                if let Link::Open(open) = &mut self.way.link {
                    let jitter = rand::random::<u64>() % (u64::from(*within_ms) + 1);
                    open.liveness.leave_at(now_ms + jitter);
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn send_frames(&mut self) {
        let now_ms = self.clock.now().monotonic_ms;
        let Link::Open(open) = &mut self.way.link else {
            return;
        };
        while open.connection.has_room() {
            let Some(frame) = self.engine.poll_frame() else {
                return;
            };
            open.liveness.sent(now_ms);
            if let Err(error) = open.connection.queue(&frame) {
                // The engine keeps its own bounds below the frame's; it hears of no answer and gives up in time.
                tracing::error!(%error, "a frame was too large to send");
            }
        }
    }

    fn deadline(&self) -> Option<u64> {
        let of_link = match &self.way.link {
            Link::Waiting(until) => Some(*until),
            Link::Open(open) => Some(open.liveness.deadline_ms()),
            Link::Dialing(_) | Link::Stopped => None,
        };
        [of_link, self.engine.poll_timeout()]
            .into_iter()
            .flatten()
            .min()
    }

    async fn wait(&mut self, deadline_ms: Option<u64>) -> Woke {
        let clock = self.clock;
        let sleep = async {
            match deadline_ms {
                Some(ms) => tokio::time::sleep_until(clock.at(ms)).await,
                None => std::future::pending().await,
            }
        };
        let link = &mut self.way.link;
        tokio::select! {
            biased;
            woke = std::future::poll_fn(|cx| poll_link(link, cx)) => woke,
            () = sleep => Woke::Deadline,
        }
    }

    fn handle(&mut self, woke: Woke) -> Result<Option<Happening>, EngineError> {
        match woke {
            Woke::Frame(frame) => self.handle_frame(frame).map(|()| None),
            Woke::Broken(error) => self.lost(error).map(Some),
            Woke::Dialed(dialed) => match *dialed {
                Ok(established) => self.adopt(established).map(|()| None),
                Err(error) => Ok(Some(self.not_reached(error))),
            },
            Woke::Deadline => self.handle_deadline(),
        }
    }

    fn adopt(&mut self, established: Established) -> Result<(), EngineError> {
        let now = self.clock.now();
        self.way.link = Link::Open(Box::new(Open {
            connection: established.connection,
            liveness: Liveness::new(now.monotonic_ms),
        }));
        self.engine.handle_connected(established.info, now)
    }

    fn handle_frame(&mut self, frame: ServerFrame) -> Result<(), EngineError> {
        let now = self.clock.now();
        if let Link::Open(open) = &mut self.way.link {
            open.liveness.heard(now.monotonic_ms);
            match &frame.body {
                Some(server_frame::Body::Ping(Ping {})) => {
                    queue_own(open, 0, client_frame::Body::Pong(Pong {}));
                    return Ok(());
                }
                Some(server_frame::Body::Pong(Pong {})) => return Ok(()),
                Some(server_frame::Body::LoggedIn(_)) => open.connection.logged_in(),
                _ => {}
            }
        }
        self.engine.handle_frame(frame, now)
    }

    fn handle_deadline(&mut self) -> Result<Option<Happening>, EngineError> {
        let now = self.clock.now();
        match &mut self.way.link {
            Link::Waiting(until) if *until <= now.monotonic_ms => {
                self.way.link = Link::Dialing(Box::pin(self.dialer.clone().dial()));
            }
            Link::Open(open) => match open.liveness.due(now.monotonic_ms) {
                Due::Nothing => {}
                Due::Ping => {
                    self.way.pings = self.way.pings.wrapping_add(1);
                    queue_own(open, PING_ID | (self.way.pings & (PING_ID - 1)), ASK);
                }
                Due::GiveUp => return self.lost(LinkError::Silent).map(Some),
                Due::Leave => return self.lost(LinkError::Left).map(Some),
            },
            _ => {}
        }
        self.engine.handle_timeout(now)?;
        Ok(None)
    }

    fn lost(&mut self, error: LinkError) -> Result<Happening, EngineError> {
        tracing::debug!(?error, "connection lost");
        let now = self.clock.now();
        let wait_ms = self.backoff_ms();
        self.retry_in(wait_ms);
        self.engine.handle_disconnected(now)?;
        Ok(Happening::Lost(error))
    }

    fn not_reached(&mut self, error: DialError) -> Happening {
        if error.is_final() {
            self.way.link = Link::Stopped;
            return Happening::GivenUp(error);
        }
        let wait_ms = self
            .backoff_ms()
            .max(error.retry_after_ms().unwrap_or(0).min(60_000));
        self.retry_in(wait_ms);
        Happening::Unreachable(error)
    }

    fn backoff_ms(&mut self) -> u64 {
        self.way.backoff.next_ms(rand::random())
    }

    fn retry_in(&mut self, wait_ms: u64) {
        self.way.link = Link::Waiting(self.clock.now().monotonic_ms + wait_ms);
    }
}

/// Whether the server lives.
const ASK: client_frame::Body = client_frame::Body::Ping(Ping {});

/// Queues a frame of the shell's own.
fn queue_own(open: &mut Open, request_id: u64, body: client_frame::Body) {
    let frame = ClientFrame {
        request_id,
        body: Some(body),
    };
    if let Err(error) = open.connection.queue(&frame) {
        tracing::error!(%error, "a frame of a few bytes was too large to send");
    }
}

fn poll_link(link: &mut Link, cx: &mut Context<'_>) -> Poll<Woke> {
    match link {
        Link::Dialing(dialing) => dialing
            .as_mut()
            .poll(cx)
            .map(|dialed| Woke::Dialed(Box::new(dialed))),
        Link::Open(open) => open.connection.poll_frame(cx).map(|frame| match frame {
            Ok(frame) => Woke::Frame(frame),
            Err(error) => Woke::Broken(error),
        }),
        Link::Waiting(_) | Link::Stopped => Poll::Pending,
    }
}
