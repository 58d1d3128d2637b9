//! Moves bytes between a client and its server until both have finished.
//!
//! An idle connection holds no buffer: bytes pass through one scratch buffer per thread, and
//! only what a congested receiver did not take is copied aside, at most one scratch buffer a
//! direction, before its sender is read again. A direction that fills the scratch buffer goes
//! through a pipe from then on, until it is slow again (see [`crate::bulk`]). Half-closed connections are carried on for a
//! bounded time. Nothing is looked at, nothing is changed.

use crate::bulk::Pipe;
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
/// A pipe that was filled with less is no longer worth it.
const BULK_BYTES_MIN: usize = 16 * 1024;
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
    pace: Pace,
    /// Only while much is moved.
    pipe: Option<Pipe>,
}

/// How much is moved at a time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Pace {
    /// Messages.
    #[default]
    Small,
    /// More than a scratch buffer holds.
    Bulk,
}

/// What became of one step.
enum Step {
    /// So many bytes were taken by the receiver.
    Took(usize),
    /// The sender has finished.
    Ended,
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
            if self.is_holding() {
                match self.flush(to, cx)? {
                    Poll::Ready(count) => moved += count,
                    Poll::Pending => return Ok(moved),
                }
                continue;
            }
            if from.poll_read_ready(cx)?.is_pending() {
                // Others may want the pipe while this sender is silent.
                self.pipe = None;
                return Ok(moved);
            }
            match self.step(from, to) {
                Ok(Step::Ended) => {
                    // A receiver that is gone already makes no difference to the other way.
                    let _ = shutdown(to, Shutdown::Write);
                    self.flow = Flow::Finished;
                    self.pipe = None;
                    return Ok(moved);
                }
                Ok(Step::Took(count)) => moved += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
        cx.waker().wake_by_ref();
        Ok(moved)
    }

    /// Whether there are bytes that the receiver has not taken.
    fn is_holding(&self) -> bool {
        !self.unsent.is_empty() || self.pipe.as_ref().is_some_and(|pipe| !pipe.is_empty())
    }

    /// Moves what the sender has, by a pipe where it is much.
    fn step(&mut self, from: &TcpStream, to: &TcpStream) -> io::Result<Step> {
        if self.pace == Pace::Bulk && self.pipe.is_none() {
            self.pipe = Pipe::take();
        }
        let Some(pipe) = &mut self.pipe else {
            return self.forward(from, to);
        };
        match pipe.fill(from)? {
            0 => return Ok(Step::Ended),
            count if count < BULK_BYTES_MIN => self.pace = Pace::Small,
            _ => {}
        }
        let took = match pipe.drain(to) {
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
            Err(error) => return Err(error),
        };
        self.leave_bulk();
        Ok(Step::Took(took))
    }

    /// Gives the pipe back where it is not needed any more.
    fn leave_bulk(&mut self) {
        if self.pace == Pace::Small && self.pipe.as_ref().is_some_and(Pipe::is_empty) {
            self.pipe = None;
        }
    }

    /// Writes what was left; ready with a count means progress.
    fn flush(&mut self, to: &TcpStream, cx: &mut Context<'_>) -> io::Result<Poll<usize>> {
        if to.poll_write_ready(cx)?.is_pending() {
            return Ok(Poll::Pending);
        }
        let outcome = match &mut self.pipe {
            Some(pipe) if !pipe.is_empty() => pipe.drain(to),
            _ => to.try_write(self.unsent.get(self.taken..).unwrap_or_default()),
        };
        let count = match outcome {
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
            Err(error) => return Err(error),
        };
        if self.unsent.is_empty() {
            self.leave_bulk();
        } else {
            self.taken += count;
            if self.taken >= self.unsent.len() {
                self.unsent = Vec::new();
                self.taken = 0;
            }
        }
        Ok(Poll::Ready(count))
    }

    /// One read and one write; what the receiver did not take is kept.
    fn forward(&mut self, from: &TcpStream, to: &TcpStream) -> io::Result<Step> {
        with_scratch(|scratch| {
            let read = from.try_read(scratch)?;
            if read == 0 {
                return Ok(Step::Ended);
            }
            if read == scratch.len() {
                self.pace = Pace::Bulk;
            }
            let bytes = scratch.get(..read).unwrap_or_default();
            let written = match to.try_write(bytes) {
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
                Err(error) => return Err(error),
            };
            if let Some(rest @ [_, ..]) = bytes.get(written..) {
                self.unsent = rest.to_vec();
            }
            Ok(Step::Took(written))
        })
    }
}
