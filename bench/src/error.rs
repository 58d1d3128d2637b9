//! Why a measurement could not be made, or did not hold.

use std::io;

use sotto_protocol::ErrorCode;
use sotto_protocol::frame::FrameError;

use crate::xmpp::XmlError;

/// The end of a scenario.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BenchError {
    /// The system refused something.
    #[error("{what}: {source}")]
    Io {
        /// What was tried.
        what: &'static str,
        /// The system's reason.
        source: io::Error,
    },
    /// A server refused a request.
    #[error("{what} was refused: {} ({message})", .code.name())]
    Refused {
        /// The request.
        what: &'static str,
        /// The stable reason.
        code: ErrorCode,
        /// The server's sentence.
        message: String,
        /// When it says to try again; 0 when it does not say.
        retry_after_ms: u64,
    },
    /// A server said something that the protocol does not allow here.
    #[error("unexpected from the server: {0}")]
    Protocol(&'static str),
    /// A frame did not decode.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// The other side closed the connection.
    #[error("the connection was closed")]
    Closed,
    /// The server asked to move elsewhere.
    #[error("the server is about to stop")]
    Moved,
    /// A bound on waiting was reached.
    #[error("not done in time: {0}")]
    TimedOut(&'static str),
    /// The deployment could not be started or understood.
    #[error("deployment: {0}")]
    Deployment(String),
    /// Another chat server, or its start, failed.
    #[error("peer: {0}")]
    Peer(String),
    /// Another chat server sent what no stream may hold.
    #[error(transparent)]
    Xml(#[from] XmlError),
    /// The database of the deployment could not be used.
    #[error("database: {0}")]
    Database(#[from] tokio_postgres::Error),
    /// An MLS or certificate operation failed.
    #[error("{what}: {reason}")]
    Crypto {
        /// What was tried.
        what: &'static str,
        /// The library's reason.
        reason: String,
    },
    /// The screen, or its store, did not do what it should.
    #[error("screen: {0}")]
    Screen(String),
    /// The local store failed.
    #[error("local store: {0}")]
    Local(#[from] rusqlite::Error),
    /// TLS could not be set up.
    #[error("TLS: {0}")]
    Tls(#[from] rustls::Error),
    /// The client's own code could not move a file.
    #[error("client: {} ({})", .0.message, .0.code)]
    Client(sotto_client::exit::Failure),
    /// What was drawn from is no result of a run.
    #[error("{0}")]
    Results(String),
    /// A task of ours ended early.
    #[error("a task of the load generator failed: {0}")]
    Task(#[from] tokio::task::JoinError),
}

impl BenchError {
    /// For `map_err` on input and output.
    pub(crate) fn io(what: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { what, source }
    }

    /// For `map_err` on anything of the sealed side.
    pub(crate) fn crypto<E: std::fmt::Display>(what: &'static str) -> impl FnOnce(E) -> Self {
        move |error| Self::Crypto {
            what,
            reason: error.to_string(),
        }
    }

    /// Whether the same thing tried again a little later may work.
    pub(crate) fn is_passing(&self) -> bool {
        match self {
            Self::Io { .. } | Self::Closed | Self::Moved | Self::TimedOut(_) => true,
            Self::Refused { code, .. } => {
                matches!(code, ErrorCode::Unavailable | ErrorCode::RateLimited)
            }
            _ => false,
        }
    }
}
