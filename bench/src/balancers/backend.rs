//! A backend in this process: takes a PROXY header and a ClientHello, says which it is, and then
//! echoes or pours, as the client's first byte after that wants it.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use sotto_protocol::proxy_v2::{Decoded, decode};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

use super::visitor::Hello;
use crate::error::BenchError;

/// Asks for an echo of all that follows.
pub(super) const ECHO: u8 = b'E';
/// Asks for bytes without end.
pub(super) const POUR: u8 = b'P';
/// Connections that wait to be accepted.
const BACKLOG: u32 = 4_096;
/// A header and a hello are not longer.
const OPENING_MAX: usize = 16 * 1024;
/// Bytes that are poured at once.
const POURED_BYTES: usize = 64 * 1024;
/// A health check's question is not longer.
const QUESTION_MAX: usize = 4 * 1024;
const READY: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";

/// How a backend treats who comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Manner {
    /// As it should.
    Serve,
    /// It accepts and says nothing, also to checks, as a stopped process does.
    Silent,
}

/// Whether a PROXY header comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Preface {
    /// Version 2.
    Proxy,
    /// None.
    None,
}

/// A running backend; ends with this value.
pub(crate) struct Backend {
    /// Where clients are relayed to.
    pub(crate) address: SocketAddr,
    /// Where its health is asked for.
    pub(crate) health: SocketAddr,
    manner: watch::Sender<Manner>,
    tasks: [JoinHandle<()>; 2],
}

impl Backend {
    /// Starts number `number`, which it tells each client as one byte. Checks are answered on a
    /// runtime of their own: the load must not make a backend look ill.
    ///
    /// # Errors
    /// When no port is free.
    pub(crate) fn start(
        number: u8,
        preface: Preface,
        hello: &Hello,
        checking: &Handle,
    ) -> Result<Self, BenchError> {
        let listening = || BenchError::io("listening as a backend");
        let listen = || {
            let socket = TcpSocket::new_v4()?;
            socket.bind(SocketAddr::from(([127, 0, 0, 1], 0)))?;
            socket.listen(BACKLOG)
        };
        let clients = listen().map_err(listening())?;
        let checks = {
            let _entered = checking.enter();
            listen().map_err(listening())?
        };
        let address = clients.local_addr().map_err(listening())?;
        let health = checks.local_addr().map_err(listening())?;
        let manner = watch::Sender::new(Manner::Serve);
        let service = Service {
            number,
            preface,
            hello_bytes: hello.len(),
            poured: Arc::from(vec![0x5a; POURED_BYTES]),
        };
        let tasks = [
            tokio::spawn(accept(clients, manner.subscribe(), service.into_serving())),
            checking.spawn(accept(checks, manner.subscribe(), |stream| {
                Box::pin(answer_check(stream))
            })),
        ];
        Ok(Self {
            address,
            health,
            manner,
            tasks,
        })
    }

    /// Treats whoever comes from now on in this manner.
    pub(crate) fn behave(&self, manner: Manner) {
        self.manner.send_replace(manner);
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

type Served = std::pin::Pin<Box<dyn Future<Output = io::Result<()>> + Send>>;

async fn accept(
    listener: TcpListener,
    manner: watch::Receiver<Manner>,
    serve: impl Fn(TcpStream) -> Served,
) {
    let mut all = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        // Whoever has ended is forgotten.
        while all.try_join_next().is_some() {}
        let _ = stream.set_nodelay(true);
        all.spawn(serve_later(manner.clone(), serve(stream)));
    }
}

/// The connection of a silent backend is held, and served when it speaks again.
async fn serve_later(mut manner: watch::Receiver<Manner>, served: Served) {
    if manner.wait_for(|m| *m == Manner::Serve).await.is_ok() {
        // A client that goes is no news.
        let _ = served.await;
    }
}

#[derive(Clone)]
struct Service {
    number: u8,
    preface: Preface,
    hello_bytes: usize,
    poured: Arc<[u8]>,
}

impl Service {
    fn into_serving(self) -> impl Fn(TcpStream) -> Served {
        move |stream| Box::pin(self.clone().serve(stream))
    }

    async fn serve(self, mut stream: TcpStream) -> io::Result<()> {
        let mut opening = Vec::with_capacity(2_048);
        loop {
            let header = match self.preface {
                Preface::None => Some(0),
                Preface::Proxy => match decode(&opening).map_err(io::Error::other)? {
                    Decoded::NeedMore => None,
                    Decoded::Complete { consumed, .. } => Some(consumed),
                },
            };
            if header.is_some_and(|header| opening.len() >= header + self.hello_bytes) {
                break;
            }
            if stream.read_buf(&mut opening).await? == 0 || opening.len() > OPENING_MAX {
                return Ok(());
            }
        }
        stream.write_all(&[self.number]).await?;
        let mut wish = [0];
        stream.read_exact(&mut wish).await?;
        match wish {
            [POUR] => loop {
                stream.write_all(&self.poured).await?;
            },
            _ => echo(stream).await,
        }
    }
}

async fn echo(mut stream: TcpStream) -> io::Result<()> {
    let mut buffer = [0; 1_024];
    loop {
        let read = stream.read(&mut buffer).await?;
        match buffer.get(..read) {
            Some(arrived) if !arrived.is_empty() => stream.write_all(arrived).await?,
            _ => return Ok(()),
        }
    }
}

async fn answer_check(mut stream: TcpStream) -> io::Result<()> {
    let mut question = Vec::new();
    while !question.ends_with(b"\r\n\r\n") {
        if stream.read_buf(&mut question).await? == 0 || question.len() > QUESTION_MAX {
            return Ok(());
        }
    }
    stream.write_all(READY).await
}
