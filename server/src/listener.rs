//! Accepts connections: believes PROXY headers from configured fronts only,
//! brings TLS up within a deadline, and hands over to a session. Connections
//! and handshakes under way are bounded; what exceeds a bound is closed at once,
//! so that a balancer can try elsewhere.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use sotto_protocol::proxy_v2::{self, Decoded, HEADER_BYTES_MAX, Header};
use sotto_protocol::version::ALPN;
use tokio::io::AsyncReadExt as _;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;
use tokio_rustls::server::TlsStream;

use crate::server::Server;
use crate::session;
use crate::tls::{BUFFER_BYTES_MAX, Tls};

/// For a PROXY header.
const PROXY_TIME: Duration = Duration::from_secs(2);
/// From the accepted connection to the end of the TLS handshake.
const HANDSHAKE_TIME: Duration = Duration::from_secs(10);
/// Connections that the system holds until they are accepted.
const BACKLOG: u32 = 4096;
/// After an accept that failed for want of files or memory.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Where clients come in.
pub(crate) struct Listener {
    tcp: TcpListener,
    tls: Arc<Tls>,
    server: Arc<Server>,
    connections: Arc<Semaphore>,
    handshakes: Arc<Semaphore>,
}

impl Listener {
    /// Listens.
    pub(crate) fn bind(
        address: SocketAddr,
        tls: Arc<Tls>,
        server: Arc<Server>,
    ) -> io::Result<Self> {
        let socket = match address {
            SocketAddr::V4(_) => TcpSocket::new_v4()?,
            SocketAddr::V6(_) => TcpSocket::new_v6()?,
        };
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        Ok(Self {
            tcp: socket.listen(BACKLOG)?,
            tls,
            connections: Arc::new(Semaphore::new(server.config.connections_max)),
            handshakes: Arc::new(Semaphore::new(server.config.handshakes_max)),
            server,
        })
    }

    /// The address that was bound.
    pub(crate) fn local_address(&self) -> io::Result<SocketAddr> {
        self.tcp.local_addr()
    }

    /// Accepts until dropped.
    pub(crate) async fn run(self) {
        loop {
            match self.tcp.accept().await {
                Ok((stream, peer)) => self.handle(stream, peer),
                Err(error) if is_of_one_connection(&error) => {}
                Err(error) => {
                    tracing::warn!(%error, "accepting paused");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    fn handle(&self, stream: TcpStream, peer: SocketAddr) {
        self.server.metrics.connections_accepted.inc();
        let connection = Arc::clone(&self.connections).try_acquire_owned();
        let handshake = Arc::clone(&self.handshakes).try_acquire_owned();
        let (Ok(connection), Ok(handshake)) = (connection, handshake) else {
            self.server.metrics.connections_refused.inc();
            return;
        };
        tokio::spawn(serve(
            Arc::clone(&self.server),
            Arc::clone(&self.tls),
            stream,
            peer.ip(),
            Permits {
                connection,
                handshake,
            },
        ));
    }
}

struct Permits {
    connection: OwnedSemaphorePermit,
    handshake: OwnedSemaphorePermit,
}

/// Whether an error says something about one connection only.
fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::Interrupted
    )
}

async fn serve(
    server: Arc<Server>,
    tls: Arc<Tls>,
    stream: TcpStream,
    peer: IpAddr,
    permits: Permits,
) {
    server.metrics.connections.inc();
    let _connection = permits.connection;
    // Boxed: a task keeps room for its largest phase, and this one is soon over.
    let up = Box::pin(timeout(
        HANDSHAKE_TIME,
        shake_hands(&server, &tls, stream, peer),
    ))
    .await;
    drop(permits.handshake);
    drop(tls);
    match up {
        Ok(Ok((stream, address))) => {
            // Boxed for the same reason: small tasks for many idle connections.
            session::run(Arc::clone(&server), stream, address).await;
        }
        Ok(Err(error)) => {
            tracing::debug!(%error, "handshake failed");
            server.metrics.handshakes_failed.inc();
        }
        Err(_) => {
            tracing::debug!("handshake overdue");
            server.metrics.handshakes_failed.inc();
        }
    }
    server.metrics.connections.dec();
}

async fn shake_hands(
    server: &Server,
    tls: &Tls,
    mut stream: TcpStream,
    peer: IpAddr,
) -> io::Result<(Box<TlsStream<TcpStream>>, IpAddr)> {
    stream.set_nodelay(true)?;
    let address = if server.config.is_trusted_proxy(peer) {
        timeout(PROXY_TIME, read_proxy_header(&mut stream))
            .await??
            .unwrap_or(peer)
    } else {
        peer
    };
    let stream = tls
        .acceptor()
        .accept_with(stream, |tls| tls.set_buffer_limit(Some(BUFFER_BYTES_MAX)))
        .await?;
    if stream.get_ref().1.alpn_protocol() != Some(ALPN) {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "no ALPN"));
    }
    Ok((Box::new(stream), address))
}

/// Bytes of a header before its addresses, the last two of which tell how many follow.
const PROXY_FIXED_BYTES: usize = 16;

/// Reads exactly the header and no byte of what follows it.
async fn read_proxy_header(stream: &mut TcpStream) -> io::Result<Option<IpAddr>> {
    let mut bytes = [0; HEADER_BYTES_MAX];
    let (mut seen, mut wanted) = (0, PROXY_FIXED_BYTES);
    loop {
        let space = bytes.get_mut(seen..wanted).unwrap_or_default();
        let count = stream.read(space).await?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        seen += count;
        let arrived = bytes.get(..seen).unwrap_or_default();
        match proxy_v2::decode(arrived).map_err(io::Error::other)? {
            Decoded::Complete { header, .. } => {
                return Ok(match header {
                    Header::Local => None,
                    Header::Proxied { source, .. } => Some(source.ip()),
                });
            }
            Decoded::NeedMore if seen == PROXY_FIXED_BYTES => {
                // Not too long: the decoder has looked at it.
                wanted += usize::from(u16::from_be_bytes([bytes[14], bytes[15]]));
            }
            Decoded::NeedMore => {}
        }
    }
}
