//! One connection from its login to its end: one task, which reads frames,
//! starts what they ask for, and writes what is due, as far as each side has
//! room. It decides nothing itself: `machine` says what is allowed when,
//! `delivery` what to read next, `service` answers.
//!
//! Everything is bounded: one request (or 64 appends) under way, 8 reads, 256
//! KiB to be written; while one of them is full, nothing more is read from
//! the peer. A peer that takes nothing for 45 s is dropped; its cursors keep
//! its place.

pub(crate) mod bell;
mod deadlines;
mod inbox;
pub(crate) mod machine;
mod outbox;
mod requests;
mod signals;
mod work;

use std::future::poll_fn;
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use sotto_protocol::wire::{self, server_frame::Body as Response};
use tokio::io::{AsyncRead as _, AsyncWriteExt as _, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_rustls::server::TlsStream;

use crate::bus::Subscription;
use crate::delivery::Delivery;
use crate::refusal::Refusal;
use crate::server::Server;
use crate::store::OnlineGuard;
use bell::{Bell, Wish};
use deadlines::{Deadlines, Due};
use inbox::Inbox;
use machine::Machine;
use outbox::{Outbox, Written};
use signals::Allowance;
use work::Work;

/// The exporter's label of device logins.
const EXPORTER_LABEL: &[u8] = b"EXPORTER-sotto-device-login";
/// Rounds of work before other sessions of the thread have their turn.
const ROUNDS_MAX: usize = 16;
/// How long an ended session's last words may take to leave.
const LINGER: Duration = Duration::from_secs(2);

/// Why a session ended.
#[derive(Debug)]
enum End {
    /// The peer closed, or the connection broke.
    PeerGone,
    /// The peer said nothing, or took nothing, for too long.
    Silent,
    /// The peer took nothing for too long.
    Slow,
    /// Last words are queued: write them, then close.
    Said,
}

/// One connection.
struct Session {
    server: Arc<Server>,
    stream: Box<TlsStream<TcpStream>>,
    address: IpAddr,
    bell: Arc<Bell>,
    machine: Machine,
    inbox: Inbox,
    outbox: Outbox,
    deadlines: Deadlines,
    work: Work,
    delivery: Option<Box<Delivery<Subscription>>>,
    /// When the first hint came that nothing was delivered for yet.
    hinted_at: Option<Instant>,
    /// From login to resume: tells when the device may have been ended.
    watch: Option<Subscription>,
    check_due: bool,
    allowance: Allowance,
    online: Option<OnlineGuard>,
    asked_to_move: bool,
    ending: bool,
}

/// Serves one connection until it ends.
pub(crate) async fn run(server: Arc<Server>, stream: Box<TlsStream<TcpStream>>, address: IpAddr) {
    let bell = Arc::new(Bell::default());
    let number = server.sessions.enter(Arc::clone(&bell));
    if server.is_draining() {
        bell.wish(Wish::Close);
    }
    let mut session = Box::new(Session {
        stream,
        address,
        bell,
        machine: Machine::new(),
        inbox: Inbox::default(),
        outbox: Outbox::default(),
        deadlines: Deadlines::new(Instant::now()),
        work: Work::default(),
        delivery: None,
        hinted_at: None,
        watch: None,
        check_due: false,
        allowance: Allowance::default(),
        online: None,
        asked_to_move: false,
        ending: false,
        server: Arc::clone(&server),
    });
    let end = poll_fn(|cx| session.poll(cx)).await;
    match end {
        End::Silent => drop(server.metrics.peers_lost.inc()),
        End::Slow => drop(server.metrics.slow_readers_dropped.inc()),
        End::PeerGone | End::Said => {}
    }
    if session.online.take().is_some() {
        server.metrics.sessions.dec();
    }
    server.sessions.leave(number);
    session.delivery = None;
    session.watch = None;
    if matches!(end, End::Said) {
        // A deadline: the peer may take nothing. Boxed, as idle sessions pay for the room otherwise.
        let goodbye = Box::pin(tokio::time::timeout(LINGER, session.say_goodbye()));
        let _ = goodbye.await;
    }
}

impl Session {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        for _ in 0..ROUNDS_MAX {
            match self.poll_round(cx) {
                Ok(Round::Moved) => {}
                Ok(Round::Still) => return Poll::Pending,
                Err(end) => return Poll::Ready(end),
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Does what can be done now, and writes what came of it together.
    fn poll_round(&mut self, cx: &mut Context<'_>) -> Result<Round, End> {
        let now = Instant::now();
        if self.deadlines.is_silent(now, self.waits_for()) {
            // Before anything is read: a server that was stopped must not take up what waits
            // from peers that have long asked another one.
            return Err(End::Silent);
        }
        let mut moved = self.poll_work(cx)?;
        moved |= self.look(cx)?;
        moved |= self.poll_deliveries() | self.poll_check();
        moved |= self.poll_input(cx, now)?;
        match self.outbox.poll_write(&mut self.stream, cx) {
            Err(_) => return Err(End::PeerGone),
            Ok(Written::All | Written::Some) => self.deadlines.handle_written(now),
            Ok(Written::None) => {}
        }
        if self.ending && self.work.is_idle() {
            return Err(End::Said);
        }
        self.poll_deadlines(cx)?;
        Ok(if moved { Round::Moved } else { Round::Still })
    }

    /// Hints and wishes from elsewhere in the server.
    fn look(&mut self, cx: &Context<'_>) -> Result<bool, End> {
        let (hints, wish) = self.bell.look(cx.waker());
        let mut moved = hints.all || !hints.logs.is_empty();
        self.check_due |= moved && self.watch.is_some();
        moved |= self.pass_on(hints.signals);
        self.hinted_at = self.hinted_at.or(hints.since);
        if let Some(delivery) = &mut self.delivery {
            if hints.all {
                delivery.handle_hint_for_all();
            }
            for (conversation, head) in hints.logs {
                delivery.handle_hint(conversation, head);
            }
        }
        match wish {
            Wish::Stay => {}
            Wish::Move { within_ms } if !self.asked_to_move => {
                self.asked_to_move = true;
                self.say(0, Response::Move(wire::Move { within_ms }));
                moved = true;
            }
            Wish::Move { .. } => {}
            Wish::Close if self.ending => {}
            Wish::Close => {
                self.refuse(0, &Refusal::unavailable());
                self.ending = true;
                moved = true;
            }
        }
        Ok(moved)
    }

    fn poll_input(&mut self, cx: &mut Context<'_>, now: Instant) -> Result<bool, End> {
        let mut moved = false;
        for _ in 0..ROUNDS_MAX {
            moved |= self.take_requests();
            if !self.takes_requests() {
                break;
            }
            match self.inbox.poll_fill(&mut self.stream, cx) {
                Poll::Pending => break,
                Poll::Ready(Ok(0)) => return Err(End::PeerGone),
                Poll::Ready(Ok(_)) => {
                    self.deadlines.handle_read(now);
                    moved = true;
                }
                // TLS has sent its alert, where it had one to send.
                Poll::Ready(Err(_)) => return Err(End::PeerGone),
            }
        }
        Ok(moved)
    }

    fn takes_requests(&self) -> bool {
        !self.ending && !self.outbox.is_full() && self.work.takes_requests()
    }

    fn waits_for(&self) -> deadlines::State {
        deadlines::State {
            logged_in: self.machine.identity().is_some(),
            writing: !self.outbox.is_empty(),
            working: !self.work.is_idle(),
        }
    }

    fn poll_deadlines(&mut self, cx: &mut Context<'_>) -> Result<(), End> {
        let state = self.waits_for();
        for _ in 0..ROUNDS_MAX {
            match self.deadlines.poll(cx, state) {
                Poll::Pending => return Ok(()),
                Poll::Ready(Due::Ping) => {
                    self.say(0, Response::Ping(wire::Ping {}));
                    if self.outbox.poll_write(&mut self.stream, cx).is_err() {
                        return Err(End::PeerGone);
                    }
                }
                Poll::Ready(Due::Silent) => return Err(End::Silent),
                Poll::Ready(Due::Slow) => return Err(End::Slow),
                Poll::Ready(Due::LoginOverdue) => {
                    self.refuse(0, &Refusal::new(sotto_protocol::ErrorCode::NotLoggedIn));
                    return Err(End::Said);
                }
                Poll::Ready(Due::RetryReads) => self.work.resume_reads(),
            }
        }
        Ok(())
    }

    /// Queues a frame. One that is too large to be one is a fault of this server.
    fn say(&mut self, request_id: u64, body: Response) {
        if self.outbox.push(request_id, body).is_err() {
            tracing::error!("an answer exceeded the frame limit");
            let refusal = Refusal::new(sotto_protocol::ErrorCode::Internal);
            self.refuse(request_id, &refusal);
        }
    }

    fn refuse(&mut self, request_id: u64, refusal: &Refusal) {
        self.server.metrics.count_refused(refusal.code());
        // An error is small: it always fits.
        let _ = self
            .outbox
            .push(request_id, Response::Error(refusal.to_wire()));
    }

    /// Writes what is queued, says the end of TLS, and takes in what the peer
    /// still sends for a moment, so that the last words are not lost to a reset.
    async fn say_goodbye(&mut self) -> io::Result<()> {
        poll_fn(|cx| match self.outbox.poll_write(&mut self.stream, cx) {
            Ok(Written::All) => Poll::Ready(Ok(())),
            Ok(Written::Some | Written::None) => Poll::Pending,
            Err(error) => Poll::Ready(Err(error)),
        })
        .await?;
        self.stream.shutdown().await?;
        let (tcp, _) = self.stream.get_mut();
        let mut scratch = [0; 1024];
        poll_fn(|cx| {
            for _ in 0..ROUNDS_MAX {
                let mut buffer = ReadBuf::new(&mut scratch);
                match Pin::new(&mut *tcp).poll_read(cx, &mut buffer) {
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready(Ok(())) if buffer.filled().is_empty() => {
                        return Poll::Ready(Ok(()));
                    }
                    Poll::Ready(Ok(())) => {}
                    Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                }
            }
            cx.waker().wake_by_ref();
            Poll::Pending
        })
        .await
    }

    /// This connection's value for device logins; zeros never verify.
    fn exporter(&self) -> [u8; 32] {
        let (_, tls) = self.stream.get_ref();
        tls.export_keying_material([0; 32], EXPORTER_LABEL, Some(&[]))
            .unwrap_or([0; 32])
    }
}

/// Whether a round changed anything.
enum Round {
    /// Another one may do more.
    Moved,
    /// Nothing to do until woken.
    Still,
}
