//! Making a connection: each address of the list once, TCP, TLS, Hello.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::{CertificateError, ClientConfig};
use rustls_pki_types::ServerName;
use sotto_protocol::wire::{ClientFrame, Hello, HelloOk, client_frame, server_frame};
use sotto_protocol::{DeploymentId, ErrorCode, version};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::address::{ServerAddress, ServerList};
use super::connection::{Connection, LinkError};
use crate::engine::api::ConnectionInfo;

const CONNECT_WITHIN: Duration = Duration::from_secs(3);
/// Enough for a balancer to offer the first bytes to three servers in turn.
const HANDSHAKE_WITHIN: Duration = Duration::from_secs(8);
/// IP addresses tried for one name.
const RESOLVED_MAX: usize = 8;
/// The request id of Hello; the engine counts from 1 on its own.
const HELLO_ID: u64 = 1 << 62;

/// Why no connection came about.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DialError {
    #[error("no server answers at {0}")]
    Unreachable(String),
    #[error("the server at {0} did not answer in time")]
    TimedOut(String),
    #[error("the certificate of the server at {0} is not one to trust: {1}. Nothing was sent")]
    Certificate(String, &'static str),
    #[error("what answers at {0} is not a Sotto server")]
    NotSotto(String),
    #[error("the server at {0} refused: {2}")]
    Refused(String, ErrorCode, String, u64),
}

impl DialError {
    /// The stable name.
    pub(crate) fn code(&self) -> &'static str {
        match self {
            Self::Unreachable(_) | Self::TimedOut(_) | Self::NotSotto(_) => "unreachable",
            Self::Certificate(..) => "certificate_mismatch",
            Self::Refused(_, code, ..) => code.name(),
        }
    }

    /// What a person can do about it; follows the sentence itself.
    pub(crate) fn advice(&self) -> &'static str {
        match self {
            Self::Unreachable(_) => "; check the address, and that a server runs there",
            Self::TimedOut(_) => "; check the network and the address, and try again",
            Self::Certificate(..) => {
                "; if this is your own deployment, give its certificate authority with --ca FILE"
            }
            Self::NotSotto(_) => "; check host and port",
            Self::Refused(..) => "",
        }
    }

    /// Whether trying again by itself makes sense.
    pub(crate) fn is_final(&self) -> bool {
        match self {
            Self::Certificate(..) => true,
            Self::Refused(_, code, ..) => *code == ErrorCode::UnsupportedVersion,
            _ => false,
        }
    }

    /// When the server asked for patience, in milliseconds.
    pub(crate) fn retry_after_ms(&self) -> Option<u64> {
        match self {
            Self::Refused(_, _, _, ms) if *ms > 0 => Some(*ms),
            _ => None,
        }
    }
}

/// A connection over which Hello was answered.
pub(crate) struct Established {
    pub(crate) connection: Connection,
    pub(crate) info: ConnectionInfo,
}

/// What is needed to connect, again and again.
#[derive(Clone)]
pub(crate) struct Dialer {
    servers: ServerList,
    tls: Arc<ClientConfig>,
}

impl Dialer {
    pub(crate) fn new(servers: ServerList, tls: Arc<ClientConfig>) -> Self {
        Self { servers, tls }
    }

    /// Tries every address once, in order.
    ///
    /// # Errors
    /// Of several failures the one that says most: a refusal or a certificate
    /// before silence.
    pub(crate) async fn dial(self) -> Result<Established, DialError> {
        let mut worst: Option<DialError> = None;
        for address in self.servers.addresses() {
            match self.dial_one(address).await {
                Ok(established) => return Ok(established),
                Err(error) => {
                    tracing::debug!(code = error.code(), "no connection");
                    let silent = |e: &DialError| {
                        matches!(e, DialError::Unreachable(_) | DialError::TimedOut(_))
                    };
                    if worst.as_ref().is_none_or(|w| silent(w) && !silent(&error)) {
                        worst = Some(error);
                    }
                }
            }
        }
        Err(worst.unwrap_or_else(|| DialError::Unreachable("(no address)".to_owned())))
    }

    async fn dial_one(&self, address: &ServerAddress) -> Result<Established, DialError> {
        let stream = connect(address).await?;
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "small writes may be delayed");
        }
        timeout(HANDSHAKE_WITHIN, self.handshake(address, stream))
            .await
            .map_err(|_| DialError::TimedOut(address.to_string()))?
    }

    async fn handshake(
        &self,
        address: &ServerAddress,
        stream: TcpStream,
    ) -> Result<Established, DialError> {
        let not_sotto = |why: &dyn std::fmt::Display| not_sotto(address, why);
        let name = ServerName::try_from(address.host.clone()).map_err(|error| not_sotto(&error))?;
        let stream = TlsConnector::from(Arc::clone(&self.tls))
            .connect(name, stream)
            .await
            .map_err(|error| tls_error(address, &error))?;
        if stream.get_ref().1.alpn_protocol() != Some(version::ALPN) {
            return Err(not_sotto(&"it does not speak sotto/1"));
        }
        let mut connection = Connection::new(stream);
        let hello = say_hello(address, &mut connection).await?;
        let exporter = connection.exporter().map_err(|error| not_sotto(&error))?;
        let deployment =
            DeploymentId::from_slice(&hello.deployment_id).map_err(|error| not_sotto(&error))?;
        Ok(Established {
            connection,
            info: ConnectionInfo {
                deployment,
                nonce: hello.nonce,
                exporter,
                node: hello.node,
                server_time_ms: hello.server_time_ms,
            },
        })
    }
}

async fn connect(address: &ServerAddress) -> Result<TcpStream, DialError> {
    let unreachable = || DialError::Unreachable(address.to_string());
    let lookup = tokio::net::lookup_host((address.host.as_str(), address.port));
    let found: Vec<SocketAddr> = timeout(CONNECT_WITHIN, lookup)
        .await
        .map_err(|_| DialError::TimedOut(address.to_string()))?
        .map_err(|_| unreachable())?
        .take(RESOLVED_MAX)
        .collect();
    let mut late = false;
    for target in found {
        match timeout(CONNECT_WITHIN, TcpStream::connect(target)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(_)) => {}
            Err(_) => late = true,
        }
    }
    Err(if late {
        DialError::TimedOut(address.to_string())
    } else {
        unreachable()
    })
}

fn tls_error(address: &ServerAddress, error: &std::io::Error) -> DialError {
    let cause = error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match cause {
        Some(rustls::Error::InvalidCertificate(why)) => {
            tracing::debug!(%why, "certificate refused");
            DialError::Certificate(address.to_string(), certificate_reason(why))
        }
        Some(other) => not_sotto(address, other),
        // A balancer without a server behind it, or one that is stopping, closes here.
        None => DialError::Unreachable(address.to_string()),
    }
}

/// The cause is for the log: it is a library's text, or the other side's.
fn not_sotto(address: &ServerAddress, why: &dyn std::fmt::Display) -> DialError {
    tracing::debug!(%why, "no Sotto server");
    DialError::NotSotto(address.to_string())
}

fn certificate_reason(error: &CertificateError) -> &'static str {
    match error {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => "it has expired",
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "it is not valid yet; perhaps this machine's clock is wrong"
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "it is for another host"
        }
        CertificateError::UnknownIssuer => "its certificate authority is not known here",
        CertificateError::Revoked => "it was revoked",
        _ => "it does not verify",
    }
}

async fn say_hello(
    address: &ServerAddress,
    connection: &mut Connection,
) -> Result<HelloOk, DialError> {
    let link = |error: LinkError| match error {
        LinkError::Frame(error) => not_sotto(address, &error),
        _ => DialError::Unreachable(address.to_string()),
    };
    let hello = ClientFrame {
        request_id: HELLO_ID,
        body: Some(client_frame::Body::Hello(Hello {
            version_min: version::VERSION_MIN,
            version_max: version::VERSION_MAX,
            agent: concat!("sotto/", env!("CARGO_PKG_VERSION")).to_owned(),
        })),
    };
    connection.queue(&hello).map_err(link)?;
    match connection.next().await.map_err(link)?.body {
        Some(server_frame::Body::HelloOk(ok)) => Ok(ok),
        Some(server_frame::Body::Error(error)) => Err(DialError::Refused(
            address.to_string(),
            ErrorCode::from_number(error.code),
            error.message,
            error.retry_after_ms,
        )),
        _ => Err(not_sotto(address, &"it did not answer Hello")),
    }
}
