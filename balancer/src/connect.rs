//! From a new client to a server that has answered.
//!
//! The client's hello is read whole and kept; it is sent, behind a PROXY v2 header, to one
//! backend after the other until one sends its first byte. Until then no byte has gone back
//! to the client, so a backend that refuses, closes or stays silent costs it time only. A
//! silent one is not hung up on while others are asked: in a storm of clients every server is
//! slow, and the first answer counts, whoever gives it. This phase is a task of its own: the
//! relay that follows stays small.

use crate::config::{Endpoint, Timeouts};
use crate::core::{Admission, Attempt, Core, Lease};
use crate::hello::{self, HELLO_BYTES_MAX, NotAHello, Progress};
use crate::metrics::{AttemptFailure, Refusal};
use crate::pool::{PickError, Serial};
use crate::relay;
use crate::sockets;
use sotto_protocol::proxy_v2;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout, timeout_at};

/// Backends that one client is tried at.
const TRIES_MAX: usize = 3;

/// Why a client was closed before it had a server.
#[derive(Debug, thiserror::Error)]
enum ServeError {
    #[error("the client left")]
    ClientLeft,
    #[error("no client hello in time")]
    HelloTimeout,
    #[error(transparent)]
    NotAHello(#[from] NotAHello),
    #[error(transparent)]
    Nowhere(#[from] PickError),
    #[error("no retries left in the budget")]
    Budget,
    #[error("no backend answered")]
    NoAnswer,
}

/// A server that has answered, with what it said first.
struct Established {
    server: TcpStream,
    first: Vec<u8>,
    lease: Lease,
}

/// Serves one client up to its relay, or closes it.
pub(crate) async fn serve(core: Arc<Core>, client: TcpStream, admission: Admission) {
    match connect(&core, &client, &admission).await {
        Ok(Established {
            server,
            first,
            lease,
        }) => {
            relay::spawn(client, server, first, lease, admission);
        }
        Err(error) => report(&core, &error),
    }
}

fn report(core: &Core, error: &ServeError) {
    let refusal = match error {
        ServeError::ClientLeft => Refusal::ClientLeft,
        ServeError::HelloTimeout => Refusal::HelloTimeout,
        ServeError::NotAHello(_) => Refusal::NotAHello,
        ServeError::Nowhere(PickError::Busy) => Refusal::Busy,
        ServeError::Budget => Refusal::RetryBudget,
        ServeError::Nowhere(PickError::Exhausted) | ServeError::NoAnswer => Refusal::NoBackend,
    };
    core.metrics.refuse(refusal);
    match refusal {
        Refusal::Busy | Refusal::RetryBudget | Refusal::NoBackend => {
            if let Some(suppressed) = core.may_log() {
                let available = core.pool().available(core.now());
                tracing::warn!(%error, available, suppressed, "a client was closed without a server");
            }
        }
        // What clients do wrong is no news.
        _ => tracing::debug!(%error, "a client was closed"),
    }
}

async fn connect(
    core: &Arc<Core>,
    client: &TcpStream,
    admission: &Admission,
) -> Result<Established, ServeError> {
    let config = core.config.load_full();
    let gone = |_: io::Error| ServeError::ClientLeft;
    let mut opening = proxy_v2::encode(
        client.peer_addr().map_err(gone)?,
        client.local_addr().map_err(gone)?,
    );
    let hello = timeout(
        Duration::from_millis(config.timeouts.hello_ms),
        read_hello(client),
    );
    opening.extend_from_slice(&hello.await.map_err(|_| ServeError::HelloTimeout)??);
    let started = core.now();
    let established = find_server(core, admission, &opening, &config.timeouts).await?;
    core.metrics
        .connect_seconds
        .observe((core.now() - started).as_secs_f64());
    Ok(established)
}

/// Reads until the hello is whole; what the client sent behind it comes along.
async fn read_hello(client: &TcpStream) -> Result<Vec<u8>, ServeError> {
    let mut hello = Vec::new();
    loop {
        let room = HELLO_BYTES_MAX.saturating_sub(hello.len());
        if read_some(client, &mut hello, room)
            .await
            .map_err(|_| ServeError::ClientLeft)?
            == 0
        {
            return Err(ServeError::ClientLeft);
        }
        if hello::examine(&hello)? == Progress::Complete {
            return Ok(hello);
        }
    }
}

async fn find_server(
    core: &Arc<Core>,
    admission: &Admission,
    opening: &[u8],
    timeouts: &Timeouts,
) -> Result<Established, ServeError> {
    let mut tried = Vec::new();
    let mut waiting = Vec::new();
    let first_byte = Duration::from_millis(timeouts.first_byte_ms);
    let stopped = loop {
        if tried.len() == TRIES_MAX {
            break ServeError::NoAnswer;
        }
        if !tried.is_empty() {
            if core.spend_retry().is_none() {
                break ServeError::Budget;
            }
            core.metrics.retries.inc();
        }
        let (pick, attempt) = match core.attempt(admission.key, &tried) {
            Ok(picked) => picked,
            Err(PickError::Exhausted) if !tried.is_empty() => break ServeError::NoAnswer,
            Err(error) => break error.into(),
        };
        tried.push(pick.serial);
        let answer = Box::pin(ask(pick.address, opening, timeouts.connect_ms));
        waiting.push(Waiting { attempt, answer });
        if let Some(established) = await_answer(core, &mut waiting, first_byte).await {
            return Ok(established);
        }
    };
    // Nobody is left to ask; who is only slow may still answer.
    let patience = Duration::from_millis(timeouts.last_answer_ms);
    let last = timeout(patience, async {
        while !waiting.is_empty() {
            if let Event::Answered(established) = next_event(core, &mut waiting).await {
                return Some(established);
            }
        }
        None
    });
    last.await.ok().flatten().ok_or(stopped)
}

/// What a backend gives in the end: its connection and its first bytes.
type Answer = Result<(TcpStream, Vec<u8>), AttemptFailure>;

/// A backend that was asked and has not answered yet.
struct Waiting<'a> {
    attempt: Attempt,
    answer: Pin<Box<dyn Future<Output = Answer> + Send + 'a>>,
}

enum Event {
    Answered(Established),
    Failed(Serial),
}

/// Gives the backend that was asked last, and those before it, time for a first byte.
/// `None`: it failed or stays silent, so ask the next.
async fn await_answer(
    core: &Core,
    waiting: &mut Vec<Waiting<'_>>,
    patience: Duration,
) -> Option<Established> {
    let last = waiting.last()?.attempt.serial();
    let deadline = Instant::now() + patience;
    loop {
        match timeout_at(deadline, next_event(core, waiting)).await {
            Ok(Event::Answered(established)) => return Some(established),
            Ok(Event::Failed(failed)) if failed == last => return None,
            Ok(Event::Failed(_)) => {}
            Err(_) => break,
        }
    }
    // It stays among the waiting: slow is not dead, and hanging up would waste its work.
    if let Some(silent) = waiting.last_mut() {
        silent.attempt.stayed_silent();
        core.metrics.fail(AttemptFailure::Silent);
    }
    None
}

/// Waits until one of the waiting backends answers or fails, and takes it out. Never ends
/// while there is none.
async fn next_event(core: &Core, waiting: &mut Vec<Waiting<'_>>) -> Event {
    let (index, answer) = poll_fn(|cx| {
        for (index, one) in waiting.iter_mut().enumerate() {
            if let Poll::Ready(answer) = one.answer.as_mut().poll(cx) {
                return Poll::Ready((index, answer));
            }
        }
        Poll::Pending
    })
    .await;
    // In order, so that the last one is the one that was asked last.
    let attempt = waiting.remove(index).attempt;
    match answer {
        Ok((server, first)) => Event::Answered(Established {
            server,
            first,
            lease: attempt.answered(),
        }),
        Err(failure) => {
            let serial = attempt.serial();
            attempt.failed();
            core.metrics.fail(failure);
            Event::Failed(serial)
        }
    }
}

/// Connects, sends header and hello, and waits for the first bytes; whoever calls it bounds
/// the whole.
async fn ask(address: Endpoint, opening: &[u8], connect_ms: u64) -> Answer {
    let connect = timeout(Duration::from_millis(connect_ms), address.connect());
    let server = connect
        .await
        .map_err(|_| AttemptFailure::Silent)?
        .map_err(|_| AttemptFailure::Refused)?;
    let closed = |_: io::Error| AttemptFailure::Closed;
    sockets::tune(&server).map_err(closed)?;
    write_all(&server, opening).await.map_err(closed)?;
    let mut first = Vec::new();
    match read_some(&server, &mut first, relay::SCRATCH_BYTES).await {
        Ok(1..) => Ok((server, first)),
        Ok(0) | Err(_) => Err(AttemptFailure::Closed),
    }
}

/// Waits for bytes and appends what is there, at most `room`; 0 means that the peer has
/// finished.
async fn read_some(socket: &TcpStream, into: &mut Vec<u8>, room: usize) -> io::Result<usize> {
    loop {
        socket.readable().await?;
        let read = relay::with_scratch(|scratch| {
            let room = room.min(scratch.len());
            let part = scratch.get_mut(..room).unwrap_or_default();
            let count = socket.try_read(part)?;
            into.extend_from_slice(part.get(..count).unwrap_or_default());
            Ok(count)
        });
        match read {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            other => return other,
        }
    }
}

async fn write_all(socket: &TcpStream, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match socket.try_write(bytes) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => bytes = bytes.get(count..).unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => socket.writable().await?,
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
