//! A connection between two parts of a deployment that can be made bad: slow, jerky, silent, gone.
//!
//! A relay of bytes over TCP or a Unix socket. It reads nothing of what passes, but for one word
//! that names the connection on which a server hears the database's notices. What it holds while a
//! link is silent goes on when the link is fair again, as packets that are sent again do.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, watch};

use crate::dice::Dice;

/// Connections over one link at the same time.
const CONNECTIONS_MAX: usize = 1_024;
/// Bytes that one direction of a connection holds.
const CHUNK_BYTES: usize = 16 * 1024;
/// What a server says on the connection where it waits for notices.
const LISTEN: &[u8] = b"LISTEN";

/// How a link behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Weather {
    /// Bytes pass at once.
    Fair,
    /// Each piece waits so long and up to as much again; now and then one stalls as a lost packet
    /// does, and rarely a connection breaks.
    Rough(Duration),
    /// Nothing passes in either direction, and nobody is told.
    Silent,
    /// Nothing passes on connections that wait for notices.
    NoNotices,
    /// Connections break, and new ones too.
    Closed,
}

/// The end of a link.
#[derive(Debug, Clone)]
pub(crate) enum End {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

/// A link; its listener ends with the runtime that it was made on.
#[derive(Debug)]
pub(crate) struct Link {
    weather: watch::Sender<Weather>,
    /// Where it listens, when that is TCP.
    pub(crate) address: Option<SocketAddr>,
}

/// What all connections of a link share.
struct Shared {
    target: End,
    weather: watch::Receiver<Weather>,
    seed: u64,
    made: AtomicU64,
}

impl Link {
    /// A link over TCP, at a port of the system's choice on loopback.
    ///
    /// # Errors
    /// The system's, where it has no port.
    pub(crate) fn tcp(runtime: &Handle, target: SocketAddr, seed: u64) -> io::Result<Self> {
        let listener = runtime.block_on(TcpListener::bind(("127.0.0.1", 0)))?;
        let address = listener.local_addr()?;
        let (link, shared) = Self::new(End::Tcp(target), seed, Some(address));
        runtime.spawn(async move {
            let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
            while let Ok(permit) = Arc::clone(&room).acquire_owned().await {
                let Ok((stream, _)) = listener.accept().await else {
                    continue;
                };
                let shared = Arc::clone(&shared);
                tokio::spawn(async move {
                    let _ = stream.set_nodelay(true);
                    carry(stream, &shared).await;
                    drop(permit);
                });
            }
        });
        Ok(link)
    }

    /// A link at a Unix socket, which everybody on the way to it may use.
    ///
    /// # Errors
    /// The system's, where the socket cannot be made.
    pub(crate) fn unix(
        runtime: &Handle,
        socket: &Path,
        target: PathBuf,
        seed: u64,
    ) -> io::Result<Self> {
        let guard = runtime.enter();
        let listener = UnixListener::bind(socket)?;
        drop(guard);
        let (link, shared) = Self::new(End::Unix(target), seed, None);
        runtime.spawn(async move {
            let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
            while let Ok(permit) = Arc::clone(&room).acquire_owned().await {
                let Ok((stream, _)) = listener.accept().await else {
                    continue;
                };
                let shared = Arc::clone(&shared);
                tokio::spawn(async move {
                    carry(stream, &shared).await;
                    drop(permit);
                });
            }
        });
        Ok(link)
    }

    fn new(target: End, seed: u64, address: Option<SocketAddr>) -> (Self, Arc<Shared>) {
        let (sender, weather) = watch::channel(Weather::Fair);
        let shared = Shared {
            target,
            weather,
            seed,
            made: AtomicU64::new(0),
        };
        let link = Self {
            weather: sender,
            address,
        };
        (link, Arc::new(shared))
    }

    /// Makes it behave so from now on.
    pub(crate) fn set(&self, weather: Weather) {
        self.weather.send_replace(weather);
    }
}

/// Carries one connection until either side, or the link, ends it.
async fn carry(near: impl AsyncRead + AsyncWrite + Send + 'static, shared: &Shared) {
    let mut weather = shared.weather.clone();
    let notices = AtomicBool::new(false);
    if pass(&mut weather, &notices).await.is_err() {
        return;
    }
    let number = shared.made.fetch_add(1, Ordering::Relaxed);
    let dice = |way: u64| Dice::new(shared.seed, number * 2 + way);
    match &shared.target {
        End::Tcp(address) => {
            let Ok(far) = TcpStream::connect(address).await else {
                return;
            };
            let _ = far.set_nodelay(true);
            both(near, far, &weather, &notices, [dice(0), dice(1)]).await;
        }
        End::Unix(path) => {
            let Ok(far) = UnixStream::connect(path).await else {
                return;
            };
            both(near, far, &weather, &notices, [dice(0), dice(1)]).await;
        }
    }
}

async fn both(
    near: impl AsyncRead + AsyncWrite,
    far: impl AsyncRead + AsyncWrite,
    weather: &watch::Receiver<Weather>,
    notices: &AtomicBool,
    [up, down]: [Dice; 2],
) {
    let (near_in, near_out) = tokio::io::split(near);
    let (far_in, far_out) = tokio::io::split(far);
    // Whichever direction breaks ends both; one that is only finished does not.
    let upwards = pump(near_in, far_out, weather.clone(), notices, up);
    let downwards = pump(far_in, near_out, weather.clone(), notices, down);
    let _ = tokio::try_join!(upwards, downwards);
}

async fn pump(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    mut weather: watch::Receiver<Weather>,
    notices: &AtomicBool,
    mut dice: Dice,
) -> io::Result<()> {
    let mut chunk = vec![0; CHUNK_BYTES];
    loop {
        let read = tokio::select! {
            read = from.read(&mut chunk) => read?,
            closed = closed(&mut weather) => return Err(closed),
        };
        let bytes = &chunk[..read];
        if bytes.windows(LISTEN.len()).any(|word| word == LISTEN) {
            notices.store(true, Ordering::Relaxed);
        }
        pass(&mut weather, notices).await?;
        let present = *weather.borrow();
        if let Weather::Rough(delay) = present {
            tokio::time::sleep(rough(delay, &mut dice)?).await;
            pass(&mut weather, notices).await?;
        }
        if read == 0 {
            return to.shutdown().await;
        }
        to.write_all(bytes).await?;
    }
}

/// How long a piece waits on a rough link, or that its connection breaks.
fn rough(delay: Duration, dice: &mut Dice) -> io::Result<Duration> {
    if dice.chance(2) {
        return Err(io::ErrorKind::ConnectionReset.into());
    }
    let usual = u64::try_from(delay.as_millis()).unwrap_or(u64::MAX);
    let stall = if dice.chance(20) { 400 } else { 0 };
    let wait = usual + dice.within(0, usual) + stall;
    Ok(Duration::from_millis(wait))
}

/// Waits until bytes may pass.
async fn pass(weather: &mut watch::Receiver<Weather>, notices: &AtomicBool) -> io::Result<()> {
    loop {
        let present = *weather.borrow_and_update();
        match present {
            Weather::Fair | Weather::Rough(_) => return Ok(()),
            Weather::NoNotices if !notices.load(Ordering::Relaxed) => return Ok(()),
            Weather::Closed => return Err(io::ErrorKind::ConnectionReset.into()),
            Weather::Silent | Weather::NoNotices => {}
        }
        gone(weather.changed().await)?;
    }
}

/// Ends when the link closes.
async fn closed(weather: &mut watch::Receiver<Weather>) -> io::Error {
    loop {
        if *weather.borrow_and_update() == Weather::Closed {
            return io::ErrorKind::ConnectionReset.into();
        }
        if let Err(error) = gone(weather.changed().await) {
            return error;
        }
    }
}

/// A link that is no more carries nothing.
fn gone(changed: Result<(), watch::error::RecvError>) -> io::Result<()> {
    changed.map_err(|_| io::ErrorKind::ConnectionReset.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An echo behind a link, and a connection to it.
    async fn echo() -> (Link, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let target = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (mut from, mut to) = stream.into_split();
                tokio::spawn(async move { tokio::io::copy(&mut from, &mut to).await });
            }
        });
        let handle = Handle::current();
        let made = tokio::task::spawn_blocking(move || Link::tcp(&handle, target, 1));
        let link = made.await.unwrap().unwrap();
        let stream = TcpStream::connect(link.address.unwrap()).await.unwrap();
        (link, stream)
    }

    /// Says something and hears it again.
    async fn echoed(stream: &mut TcpStream, said: &[u8]) {
        stream.write_all(said).await.unwrap();
        heard(stream, said).await.unwrap();
    }

    async fn heard(stream: &mut TcpStream, said: &[u8]) -> io::Result<()> {
        let mut answer = vec![0; said.len()];
        stream.read_exact(&mut answer).await?;
        assert_eq!(answer, said);
        Ok(())
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn what_waits_on_a_silent_link_arrives_when_it_is_fair_again() {
        let (link, mut stream) = echo().await;
        echoed(&mut stream, b"one").await;
        link.set(Weather::Silent);
        stream.write_all(b"two").await.unwrap();
        let waiting = tokio::time::timeout(Duration::from_millis(100), heard(&mut stream, b"two"));
        assert!(waiting.await.is_err(), "it is silent");
        link.set(Weather::Fair);
        heard(&mut stream, b"two").await.unwrap();
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_closed_link_breaks_what_stands_and_what_comes() {
        let (link, mut stream) = echo().await;
        echoed(&mut stream, b"one").await;
        link.set(Weather::Closed);
        let mut rest = Vec::new();
        let ended = stream.read_to_end(&mut rest).await;
        assert!(ended.is_err() || rest.is_empty());
        let mut late = TcpStream::connect(link.address.unwrap()).await.unwrap();
        let ended = late.read_to_end(&mut rest).await;
        assert!(ended.is_err() || rest.is_empty());
        link.set(Weather::Fair);
        let mut again = TcpStream::connect(link.address.unwrap()).await.unwrap();
        echoed(&mut again, b"three").await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn only_the_connection_with_notices_goes_silent() {
        let (link, mut notices) = echo().await;
        echoed(&mut notices, b"LISTEN changes").await;
        link.set(Weather::NoNotices);
        notices.write_all(b"more").await.unwrap();
        let waiting =
            tokio::time::timeout(Duration::from_millis(100), heard(&mut notices, b"more"));
        assert!(waiting.await.is_err(), "it is silent");
        let mut other = TcpStream::connect(link.address.unwrap()).await.unwrap();
        echoed(&mut other, b"query").await;
    }

    #[test]
    fn a_rough_link_delays_within_its_bounds() {
        let mut dice = Dice::new(3, 0);
        let delay = Duration::from_millis(50);
        for _ in 0..10_000 {
            if let Ok(wait) = rough(delay, &mut dice) {
                assert!(wait >= delay && wait <= Duration::from_millis(500));
            }
        }
    }
}
