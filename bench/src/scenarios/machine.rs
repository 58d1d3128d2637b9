//! The measure of the machine: what the same TLS stack does for a bare echo, and what the
//! deployment's Postgres commits a second when nobody else asks it for anything.

use std::path::Path;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};
use tokio_postgres::NoTls;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::client::TlsStream;

use super::Context;
use crate::clock::now;
use crate::error::BenchError;
use crate::latency::Latencies;
use crate::report::{Machine, Rate};
use crate::tls_peer::TlsPeer;

/// Connections of the echo.
const ECHO_LANES: u32 = 200;
/// Each measure lasts at most so long.
const SPAN: Duration = Duration::from_secs(3);
/// The most connections that commit side by side: as many as a server has writers.
const COMMIT_LANES: usize = 4;

/// Takes all measures.
///
/// # Errors
/// When the echo or the database cannot be used.
pub(crate) async fn measure(context: &Context<'_>) -> Result<Machine, BenchError> {
    let payload = context.payload()?;
    let span = context.args.length().min(SPAN);
    let mut machine = Machine {
        echo: Some(echo(payload.len(), span).await?),
        ..Machine::default()
    };
    if let Some(url) = context.deployment.database_url() {
        machine.commits_one = Some(commits(url, 1, payload.len(), span).await?);
        machine.commits_four = Some(commits(url, COMMIT_LANES, payload.len(), span).await?);
    }
    Ok(machine)
}

/// The usual span.
pub(super) const fn span() -> Duration {
    SPAN
}

/// What the TLS stack does for a bare echo of so many bytes.
///
/// # Errors
/// When it cannot be set up.
pub(super) async fn echo(bytes: usize, span: Duration) -> Result<Rate, BenchError> {
    let folder = std::env::temp_dir().join(format!("sotto-bench-echo-{}", std::process::id()));
    let result = echo_with(&folder, bytes, span).await;
    // What stays is in the system's folder for temporary files.
    let _ = std::fs::remove_dir_all(&folder);
    result
}

async fn echo_with(folder: &Path, bytes: usize, span: Duration) -> Result<Rate, BenchError> {
    let peer = TlsPeer::start(folder).await?;
    let server: JoinHandle<()> = tokio::spawn(serve_echo(peer.listener, peer.acceptor));
    let mut streams = Vec::new();
    for lane in 0..ECHO_LANES {
        streams.push(peer.target.open(lane).await?);
    }
    let until = now() + span;
    let mut tasks = JoinSet::new();
    for stream in streams {
        tasks.spawn(ping_pong(stream, bytes, until));
    }
    let rate = gather(tasks, span).await;
    server.abort();
    rate
}

/// Sends back what comes, for as many connections as the measure opens.
async fn serve_echo(listener: TcpListener, acceptor: TlsAcceptor) {
    let mut connections = JoinSet::new();
    for _ in 0..ECHO_LANES {
        let Ok((stream, _)) = listener.accept().await else {
            return;
        };
        let acceptor = acceptor.clone();
        connections.spawn(async move {
            let _ = stream.set_nodelay(true);
            let mut stream = acceptor.accept(stream).await?;
            let mut buffer = vec![0; 16 * 1024];
            // Ends when the other side does.
            loop {
                let read = stream.read(&mut buffer).await?;
                let Some(arrived) = buffer.get(..read).filter(|arrived| !arrived.is_empty()) else {
                    return std::io::Result::Ok(());
                };
                stream.write_all(arrived).await?;
                stream.flush().await?;
            }
        });
    }
    while connections.join_next().await.is_some() {}
}

async fn ping_pong(
    mut stream: TlsStream<TcpStream>,
    bytes: usize,
    until: Instant,
) -> Result<Latencies, BenchError> {
    let mut latencies = Latencies::new();
    let mut buffer = vec![0; bytes];
    let echo = BenchError::io;
    loop {
        let sent_at = now();
        if sent_at >= until {
            return Ok(latencies);
        }
        stream.write_all(&buffer).await.map_err(echo("echo"))?;
        stream.flush().await.map_err(echo("echo"))?;
        stream.read_exact(&mut buffer).await.map_err(echo("echo"))?;
        latencies.record(now().saturating_duration_since(sent_at));
    }
}

/// Commits of a record of the payload's size that goes to the write-ahead log and to no table, so
/// that nothing of the measure stays in the database.
async fn commits(
    url: &str,
    lanes: usize,
    bytes: usize,
    span: Duration,
) -> Result<Rate, BenchError> {
    let mut clients = Vec::new();
    for _ in 0..lanes {
        let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
        // Ends with its client; an error shows in the client's next statement.
        tokio::spawn(async move {
            let _ = connection.await;
        });
        clients.push(client);
    }
    let until = now() + span;
    let mut tasks = JoinSet::new();
    for client in clients {
        let payload = vec![7_u8; bytes];
        tasks.spawn(async move {
            let statement = client
                .prepare("SELECT pg_logical_emit_message(true, 'sotto-bench', $1::bytea)")
                .await?;
            let mut latencies = Latencies::new();
            loop {
                let asked_at = now();
                if asked_at >= until {
                    return Ok(latencies);
                }
                client.query_one(&statement, &[&payload]).await?;
                latencies.record(now().saturating_duration_since(asked_at));
            }
        });
    }
    gather(tasks, span).await
}

async fn gather(
    mut tasks: JoinSet<Result<Latencies, BenchError>>,
    span: Duration,
) -> Result<Rate, BenchError> {
    let lanes = tasks.len();
    let mut all = Latencies::new();
    while let Some(one) = tasks.join_next().await {
        all.merge(&one??);
    }
    Ok(Rate {
        per_s: all.total() as f64 / span.as_secs_f64(),
        lanes,
        latency: all.percentiles(),
    })
}
