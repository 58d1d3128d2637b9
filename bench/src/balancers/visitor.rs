//! Clients of a front: each from an address of its own, with a real ClientHello.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use rustls::{ClientConfig, ClientConnection, RootCertStore};
use rustls_pki_types::ServerName;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

use crate::error::BenchError;

/// A client gives up after this.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);

/// The bytes with which Sotto's clients begin.
pub(crate) type Hello = Arc<[u8]>;

/// Who visits which front.
#[derive(Clone)]
pub(crate) struct Visitors {
    front: SocketAddr,
    hello: Hello,
}

/// A client that a backend has answered.
pub(crate) struct Visit {
    /// Its connection.
    pub(crate) stream: TcpStream,
    /// The backend's number.
    pub(crate) backend: u8,
}

/// A hello as rustls writes it with the hybrid key exchange.
///
/// # Errors
/// When TLS cannot be set up.
pub(crate) fn hello() -> Result<Hello, BenchError> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth();
    config.alpn_protocols = vec![b"sotto/1".to_vec()];
    let name = ServerName::try_from("localhost")
        .map_err(|_| BenchError::Protocol("the name localhost"))?;
    let mut connection = ClientConnection::new(Arc::new(config), name)?;
    let mut bytes = Vec::new();
    connection
        .write_tls(&mut bytes)
        .map_err(BenchError::io("writing a hello"))?;
    Ok(bytes.into())
}

impl Visitors {
    pub(crate) fn new(front: SocketAddr, hello: Hello) -> Self {
        Self { front, hello }
    }

    /// Connects client number `client` and waits for a backend's answer, 5 s at most.
    ///
    /// # Errors
    /// When it is refused, cut off or not answered.
    pub(crate) async fn visit(&self, client: u32) -> Result<Visit, BenchError> {
        let visiting = async {
            let socket = TcpSocket::new_v4()?;
            socket.bind(SocketAddr::new(source(client).into(), 0))?;
            let mut stream = socket.connect(self.front).await?;
            stream.set_nodelay(true)?;
            stream.write_all(&self.hello).await?;
            let mut answer = [0];
            stream.read_exact(&mut answer).await?;
            let [backend] = answer;
            io::Result::Ok(Visit { stream, backend })
        };
        timeout(PATIENCE, visiting)
            .await
            .map_err(|_| BenchError::TimedOut("a backend's answer"))?
            .map_err(BenchError::io("visiting a front"))
    }
}

/// 127.1.0.1 and up: all of 127/8 is this machine on Linux.
fn source(client: u32) -> Ipv4Addr {
    let [_, high, mid, low] = client.to_be_bytes();
    Ipv4Addr::new(127, 1 + high % 250, mid, low.max(1))
}
