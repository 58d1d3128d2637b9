//! What one TLS connection moves when nobody seals, stores or checks anything: the client's side on
//! a thread of its own, as a client is, the other side in this process's runtime. The same TLS
//! settings, pieces of the same size, no balancer.

use std::path::Path;
use std::time::Duration;

use sotto_protocol::limits::BLOB_PIECE_BYTES_MAX as PIECE_BYTES;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::spawn_blocking;
use tokio::time::timeout;
use tokio_rustls::client::TlsStream;
use tokio_rustls::server;

use super::Seconds;
use crate::clock::now;
use crate::error::BenchError;
use crate::tls_peer::TlsPeer;

/// Bytes read at once.
const READ_BYTES: usize = 64 * 1024;
/// One way takes at most this.
const LIMIT: Duration = Duration::from_secs(120);
/// What the other side says when it has everything.
const DONE: u8 = 1;

/// Moves so many bytes there, and then back.
pub(super) async fn measure(bytes: u64, folder: &Path) -> Result<Seconds, BenchError> {
    let peer = TlsPeer::start(&folder.join("certs")).await?;
    let target = peer.target;
    let (listener, acceptor) = (peer.listener, peer.acceptor);
    let other_side = tokio::spawn(async move {
        let (stream, _) = listener.accept().await?;
        let _ = stream.set_nodelay(true);
        serve(acceptor.accept(stream).await?, bytes).await
    });
    let client = spawn_blocking(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(BenchError::io("starting a runtime"))?;
        runtime.block_on(async {
            let moving = async { go(target.open(1).await?, bytes).await };
            timeout(LIMIT * 2, moving)
                .await
                .map_err(|_| BenchError::TimedOut("moving raw bytes"))?
        })
    });
    let seconds = client.await?;
    if seconds.is_err() {
        other_side.abort();
        return seconds;
    }
    other_side.await?.map_err(BenchError::io("the raw side"))?;
    seconds
}

async fn serve(mut stream: server::TlsStream<TcpStream>, bytes: u64) -> std::io::Result<()> {
    let mut buffer = vec![0; READ_BYTES];
    let mut left = bytes;
    while left > 0 {
        let read = stream.read(&mut buffer).await?;
        if read == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        left = left.saturating_sub(read as u64);
    }
    stream.write_all(&[DONE]).await?;
    stream.flush().await?;
    let piece = vec![7; PIECE_BYTES];
    let mut left = bytes;
    while left > 0 {
        let now = usize::try_from(left)
            .unwrap_or(PIECE_BYTES)
            .min(PIECE_BYTES);
        stream
            .write_all(piece.get(..now).unwrap_or_default())
            .await?;
        left -= now as u64;
    }
    stream.flush().await?;
    // Held until the other side has everything.
    stream.read(&mut buffer).await.map(drop)
}

async fn go(mut stream: TlsStream<TcpStream>, bytes: u64) -> Result<Seconds, BenchError> {
    let failed = || BenchError::io("moving raw bytes");
    let piece = vec![7; PIECE_BYTES];
    let started = now();
    let mut left = bytes;
    while left > 0 {
        let part = usize::try_from(left)
            .unwrap_or(PIECE_BYTES)
            .min(PIECE_BYTES);
        let part = piece.get(..part).unwrap_or_default();
        stream.write_all(part).await.map_err(failed())?;
        left -= part.len() as u64;
    }
    stream.flush().await.map_err(failed())?;
    let mut done = [0];
    stream.read_exact(&mut done).await.map_err(failed())?;
    let up = (now() - started).as_secs_f64();
    let started = now();
    let mut buffer = vec![0; READ_BYTES];
    let mut left = bytes;
    while left > 0 {
        let read = stream.read(&mut buffer).await.map_err(failed())?;
        if read == 0 {
            return Err(BenchError::Closed);
        }
        left = left.saturating_sub(read as u64);
    }
    let down = (now() - started).as_secs_f64();
    stream.write_all(&[DONE]).await.map_err(failed())?;
    stream.flush().await.map_err(failed())?;
    Ok(Seconds { up, down })
}
