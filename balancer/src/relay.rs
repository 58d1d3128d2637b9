//! Moves bytes between a client and its server until both have finished.
//!
//! An idle connection holds no buffer: bytes pass through one scratch buffer per thread, and
//! only what a congested receiver did not take is copied aside, at most one scratch buffer a
//! direction, before its sender is read again. Half-closed connections are carried on for a
//! bounded time. Nothing is looked at, nothing is changed.

use crate::core::{Admission, Lease};
use crate::metrics::Metrics;
use rustix::net::{Shutdown, shutdown};
use std::cell::RefCell;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::{Sleep, sleep};

/// The size of a thread's scratch buffer.
pub(crate) const SCRATCH_BYTES: usize = 64 * 1024;
/// Scratch buffers that one connection may move before others get their turn.
const ROUNDS_MAX: usize = 8;

thread_local! {
    static SCRATCH: RefCell<Vec<u8>> = RefCell::new(vec![0; SCRATCH_BYTES]);
}

/// Lends the thread's scratch buffer for a synchronous step.
pub(crate) fn with_scratch<T>(step: impl FnOnce(&mut [u8]) -> io::Result<T>) -> io::Result<T> {
    SCRATCH.with(|scratch| match scratch.try_borrow_mut() {
        Ok(mut scratch) => step(&mut scratch),
        // Only a step inside a step could meet this; there is none.
        Err(_) => Err(io::ErrorKind::ResourceBusy.into()),
    })
}

/// Starts the relay as a task of its own, registered so that it can be closed from outside.
/// `first` is what the server has said already.
pub(crate) fn spawn(
    client: TcpStream,
    server: TcpStream,
    first: Vec<u8>,
    lease: Lease,
    admission: Admission,
) {
    let core = std::sync::Arc::clone(&lease.core);
    let (serial, id) = (lease.serial, lease.id);
    let relay = Relay {
        client,
        server,
        to_server: Direction::default(),
        to_client: Direction {
            unsent: first,
            ..Direction::default()
        },
        half_close: None,
        lease,
        _admission: admission,
    };
    let task = tokio::spawn(relay);
    core.registry.attach(serial, id, task.abort_handle());
}

struct Relay {
    client: TcpStream,
    server: TcpStream,
    to_server: Direction,
    to_client: Direction,
    /// Runs once one side has finished.
    half_close: Option<Pin<Box<Sleep>>>,
    lease: Lease,
    _admission: Admission,
}

/// One direction of a relay.
#[derive(Debug, Default)]
struct Direction {
    /// What the receiver has not taken yet; empty (and without memory) mostly.
    unsent: Vec<u8>,
    /// How much of `unsent` it has taken since.
    taken: usize,
    flow: Flow,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Flow {
    #[default]
    Open,
    /// The sender has finished and the receiver knows.
    Finished,
}

impl Future for Relay {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.get_mut();
        let metrics = &this.lease.core.metrics;
        let up = this.to_server.pump(&this.client, &this.server, cx);
        let down = this.to_client.pump(&this.server, &this.client, cx);
        let (Ok(up), Ok(down)) = (up, down) else {
            // One side broke the connection; dropping both tells the other.
            return Poll::Ready(());
        };
        Metrics::moved(&metrics.bytes_to_servers, up);
        Metrics::moved(&metrics.bytes_to_clients, down);
        match (this.to_server.flow, this.to_client.flow) {
            (Flow::Open, Flow::Open) => Poll::Pending,
            (Flow::Finished, Flow::Finished) => Poll::Ready(()),
            _ => {
                let span_ms = this.lease.core.config.load().timeouts.half_close_ms;
                let timer = this
                    .half_close
                    .get_or_insert_with(|| Box::pin(sleep(Duration::from_millis(span_ms))));
                timer.as_mut().poll(cx)
            }
        }
    }
}

impl Direction {
    /// Moves what can be moved now and leaves a wake-up for the rest; returns the bytes that
    /// the receiver took. An error means that the connection is over.
    fn pump(
        &mut self,
        from: &TcpStream,
        to: &TcpStream,
        cx: &mut Context<'_>,
    ) -> io::Result<usize> {
        let mut moved = 0;
        if self.flow == Flow::Finished {
            return Ok(moved);
        }
        for _ in 0..ROUNDS_MAX {
            if !self.unsent.is_empty() {
                match self.flush(to, cx)? {
                    Poll::Ready(count) => moved += count,
                    Poll::Pending => return Ok(moved),
                }
                continue;
            }
            if from.poll_read_ready(cx)?.is_pending() {
                return Ok(moved);
            }
            match self.forward(from, to) {
                Ok(0) => {
                    // A receiver that is gone already makes no difference to the other way.
                    let _ = shutdown(to, Shutdown::Write);
                    self.flow = Flow::Finished;
                    return Ok(moved);
                }
                Ok(count) => moved += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
        cx.waker().wake_by_ref();
        Ok(moved)
    }

    /// Writes what was left; ready with a count means progress.
    fn flush(&mut self, to: &TcpStream, cx: &mut Context<'_>) -> io::Result<Poll<usize>> {
        if to.poll_write_ready(cx)?.is_pending() {
            return Ok(Poll::Pending);
        }
        match to.try_write(self.unsent.get(self.taken..).unwrap_or_default()) {
            Ok(count) => {
                self.taken += count;
                if self.taken >= self.unsent.len() {
                    self.unsent = Vec::new();
                    self.taken = 0;
                }
                Ok(Poll::Ready(count))
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(Poll::Ready(0)),
            Err(error) => Err(error),
        }
    }

    /// One read and one write; what the receiver did not take is kept. Returns the bytes read.
    fn forward(&mut self, from: &TcpStream, to: &TcpStream) -> io::Result<usize> {
        with_scratch(|scratch| {
            let read = from.try_read(scratch)?;
            let bytes = scratch.get(..read).unwrap_or_default();
            let written = match to.try_write(bytes) {
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
                Err(error) => return Err(error),
            };
            if let Some(rest @ [_, ..]) = bytes.get(written..) {
                self.unsent = rest.to_vec();
            }
            Ok(read)
        })
    }
}
