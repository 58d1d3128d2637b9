//! Places on the network as an operator writes them.

use serde::Deserialize;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::str::FromStr;
use tokio::net::TcpStream;

/// `ADDRESS:PORT` or `NAME:PORT`. A name is looked up anew for each connection.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum Endpoint {
    /// A fixed address.
    Address(SocketAddr),
    /// A host name and a port.
    Name(String, u16),
}

/// Where to ask whether a backend is ready: `http://HOST:PORT/PATH`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct HealthUrl {
    pub(crate) endpoint: Endpoint,
    pub(crate) path: String,
}

/// Why a text is not a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseEndpointError {
    /// Not `HOST:PORT`.
    #[error("not HOST:PORT")]
    HostPort,
    /// Not `http://HOST:PORT/PATH`.
    #[error("not http://HOST:PORT/PATH")]
    Url,
}

impl Endpoint {
    /// Opens a TCP connection; the caller bounds the time.
    pub(crate) async fn connect(&self) -> io::Result<TcpStream> {
        match self {
            Self::Address(address) => TcpStream::connect(address).await,
            Self::Name(name, port) => TcpStream::connect((name.as_str(), *port)).await,
        }
    }
}

impl FromStr for Endpoint {
    type Err = ParseEndpointError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Ok(address) = text.parse() {
            return Ok(Self::Address(address));
        }
        let (name, port) = text.rsplit_once(':').ok_or(ParseEndpointError::HostPort)?;
        let port = port.parse().map_err(|_| ParseEndpointError::HostPort)?;
        let known = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        if name.is_empty() || name.len() > 253 || !name.bytes().all(known) {
            return Err(ParseEndpointError::HostPort);
        }
        Ok(Self::Name(name.to_owned(), port))
    }
}

impl TryFrom<String> for Endpoint {
    type Error = ParseEndpointError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => address.fmt(f),
            Self::Name(name, port) => write!(f, "{name}:{port}"),
        }
    }
}

impl HealthUrl {
    /// What a Sotto server answers on its private port.
    pub(crate) fn readyz(endpoint: Endpoint) -> Self {
        Self {
            endpoint,
            path: "/readyz".to_owned(),
        }
    }
}

impl FromStr for HealthUrl {
    type Err = ParseEndpointError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let rest = text
            .strip_prefix("http://")
            .ok_or(ParseEndpointError::Url)?;
        let (host, path) = rest
            .find('/')
            .map_or((rest, "/"), |slash| rest.split_at(slash));
        // The path goes into a request line: no spaces, no control characters.
        if path.len() > 512 || !path.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(ParseEndpointError::Url);
        }
        Ok(Self {
            endpoint: host.parse()?,
            path: path.to_owned(),
        })
    }
}

impl TryFrom<String> for HealthUrl {
    type Error = ParseEndpointError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}
