//! From a new client to a server that has answered.
//!
//! The client's hello is read whole and kept; it is sent, behind a PROXY v2 header, to one
//! backend after the other until one sends its first byte. Until then no byte has gone back
//! to the client, so a backend that refuses, closes or stays silent costs it time only. This
//! phase is a task of its own: the relay that follows stays small.

use crate::config::{Endpoint, Timeouts};
use crate::core::{Admission, Attempt, Core, Lease};
use crate::hello::{self, HELLO_BYTES_MAX, NotAHello, Progress};
use crate::metrics::{AttemptFailure, Refusal};
use crate::pool::PickError;
use crate::relay;
use crate::sockets;
use sotto_protocol::proxy_v2;
use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::timeout;

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
    sockets::tune(client).map_err(gone)?;
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
    while tried.len() < TRIES_MAX {
        if !tried.is_empty() {
            core.spend_retry().ok_or(ServeError::Budget)?;
            core.metrics.retries.inc();
        }
        let (pick, attempt) = match core.attempt(admission.key, &tried) {
            Err(PickError::Exhausted) if !tried.is_empty() => break,
            picked => picked?,
        };
        tried.push(pick.serial);
        if let Some(established) =
            try_backend(core, &pick.address, attempt, opening, timeouts).await
        {
            return Ok(established);
        }
    }
    Err(ServeError::NoAnswer)
}

async fn try_backend(
    core: &Core,
    address: &Endpoint,
    attempt: Attempt,
    opening: &[u8],
    timeouts: &Timeouts,
) -> Option<Established> {
    match ask(address, opening, timeouts).await {
        Ok((server, first)) => Some(Established {
            server,
            first,
            lease: attempt.answered(),
        }),
        Err(failure) => {
            attempt.failed();
            core.metrics.fail(failure);
            tracing::debug!(failure = failure.as_str(), "an attempt failed");
            None
        }
    }
}

async fn ask(
    address: &Endpoint,
    opening: &[u8],
    timeouts: &Timeouts,
) -> Result<(TcpStream, Vec<u8>), AttemptFailure> {
    let server = within(
        timeouts.connect_ms,
        AttemptFailure::Refused,
        address.connect(),
    )
    .await?;
    let first = within(timeouts.first_byte_ms, AttemptFailure::Closed, async {
        sockets::tune(&server)?;
        write_all(&server, opening).await?;
        let mut first = Vec::new();
        read_some(&server, &mut first, relay::SCRATCH_BYTES).await?;
        Ok(first)
    })
    .await?;
    if first.is_empty() {
        return Err(AttemptFailure::Closed);
    }
    Ok((server, first))
}

/// Bounds one step of an attempt; running out of time is silence.
async fn within<T>(
    span_ms: u64,
    failure: AttemptFailure,
    step: impl Future<Output = io::Result<T>>,
) -> Result<T, AttemptFailure> {
    match timeout(Duration::from_millis(span_ms), step).await {
        Ok(done) => done.map_err(|_| failure),
        Err(_) => Err(AttemptFailure::Silent),
    }
}

/// Appends what is there, at most `room` bytes; 0 means that the peer has finished.
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
