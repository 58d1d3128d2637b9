//! Where the load goes: an address, the certificate authority to trust, and the source addresses
//! that the clients come from.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustls::client::Resumption;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::error::BenchError;

/// The protocol's name in TLS.
const ALPN: &[u8] = b"sotto/1";
/// A connection attempt, with its handshake, ends after this.
const CONNECT_LIMIT: Duration = Duration::from_secs(20);

/// Which addresses the clients come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sources {
    /// Each from its own, where the target is this machine's loopback: the balancer sees people.
    Spread,
    /// All from one, as behind one router.
    One,
}

/// A deployment's front door.
#[derive(Clone)]
pub(crate) struct Target {
    address: SocketAddr,
    sources: Sources,
    name: ServerName<'static>,
    connector: TlsConnector,
}

impl Target {
    /// `server` is HOST:PORT; `ca` a PEM file with the authorities to trust.
    ///
    /// # Errors
    /// When the name does not resolve or the file holds no certificate.
    pub(crate) fn new(server: &str, ca: &Path, sources: Sources) -> Result<Self, BenchError> {
        Self::speaking(server, ca, sources, ALPN)
    }

    /// The same for another protocol, by its name in TLS.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub(crate) fn speaking(
        server: &str,
        ca: &Path,
        sources: Sources,
        alpn: &[u8],
    ) -> Result<Self, BenchError> {
        let unusable = |reason: &str| BenchError::Deployment(format!("{server}: {reason}"));
        let (host, _) = server
            .rsplit_once(':')
            .ok_or_else(|| unusable("expected HOST:PORT"))?;
        let host = host.trim_matches(['[', ']']).to_owned();
        let address = std::net::ToSocketAddrs::to_socket_addrs(server)
            .map_err(BenchError::io("resolving the server's name"))?
            .next()
            .ok_or_else(|| unusable("no address"))?;
        let name = ServerName::try_from(host).map_err(|_| unusable("not a host name"))?;
        let mut roots = RootCertStore::empty();
        let certificates = CertificateDer::pem_file_iter(ca)
            .map_err(|error| BenchError::Deployment(format!("{}: {error}", ca.display())))?;
        for certificate in certificates {
            let certificate = certificate
                .map_err(|error| BenchError::Deployment(format!("{}: {error}", ca.display())))?;
            roots.add(certificate)?;
        }
        Ok(Self {
            address,
            sources,
            name,
            connector: TlsConnector::from(Arc::new(client_config(roots, alpn)?)),
        })
    }

    /// Opens connection number `client` over TLS 1.3.
    ///
    /// # Errors
    /// When nobody accepts, the certificate does not verify, or 20 s pass.
    pub(crate) async fn open(&self, client: u32) -> Result<TlsStream<TcpStream>, BenchError> {
        let connecting = async {
            let stream = self
                .tcp(client)
                .await
                .map_err(BenchError::io("connecting"))?;
            let _ = stream.set_nodelay(true);
            self.connector
                .connect(self.name.clone(), stream)
                .await
                .map_err(BenchError::io("TLS handshake"))
        };
        timeout(CONNECT_LIMIT, connecting)
            .await
            .map_err(|_| BenchError::TimedOut("connecting"))?
    }

    async fn tcp(&self, client: u32) -> std::io::Result<TcpStream> {
        let local = self.address.is_ipv4() && self.address.ip().is_loopback();
        if !local || self.sources == Sources::One {
            return TcpStream::connect(self.address).await;
        }
        let socket = TcpSocket::new_v4()?;
        socket.bind(SocketAddr::new(source(client), 0))?;
        socket.connect(self.address).await
    }
}

/// 127.1.0.1 and up: all of 127/8 is this machine on Linux.
fn source(client: u32) -> IpAddr {
    let [_, high, mid, low] = client.to_be_bytes();
    let second = 1 + high % 250;
    IpAddr::V4(Ipv4Addr::new(127, second, mid, low.max(1)))
}

/// TLS as Sotto's clients speak it.
fn client_config(roots: RootCertStore, alpn: &[u8]) -> Result<ClientConfig, BenchError> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![alpn.to_vec()];
    config.resumption = Resumption::disabled();
    Ok(config)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_are_loopback_and_spread() {
        let all: std::collections::BTreeSet<IpAddr> = (0..10_000).map(source).collect();
        assert!(all.len() > 9_900);
        assert!(all.iter().all(IpAddr::is_loopback));
    }
}
