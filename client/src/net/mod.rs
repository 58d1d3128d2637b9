//! Connections to servers: addresses, TLS, framing, waiting between attempts.
//!
//! Knows nothing of conversations. It speaks Hello, passes frames, and says
//! why a connection could not be made; it never goes on without a verified
//! certificate, and there is no option to.

mod address;
mod ask;
mod backoff;
mod connection;
mod dial;
mod liveness;
mod tls;
mod transfer;

pub(crate) use address::ServerList;
pub(crate) use ask::{AskError, Asker};
pub(crate) use backoff::Backoff;
pub(crate) use connection::{Connection, LinkError};
pub(crate) use dial::{DialError, Dialer, Established};
pub(crate) use liveness::{Due, Liveness};
pub(crate) use tls::client_config;
pub(crate) use transfer::{Login as TransferLogin, Source, Transfer, TransferError};

#[cfg(test)]
mod tests;
