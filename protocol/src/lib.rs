//! Sotto's wire: what clients and servers say to each other.
//!
//! Messages (generated from `proto/`, with their documents), framing, limits,
//! error codes, ids and names. No sockets, no runtime, no MLS, no keys.

pub mod error_code;
pub mod frame;
pub mod ids;
pub mod limits;
pub mod plain_text;
pub mod proxy_v2;
pub mod username;
pub mod version;

/// The messages of `proto/sotto/v1`, generated and checked in; a test regenerates them.
#[allow(
    missing_docs,
    clippy::all,
    reason = "generated; documents are in the .proto files"
)]
pub mod wire {
    include!("gen/sotto.v1.rs");
}

pub use error_code::ErrorCode;
pub use ids::{BlobId, ClientMessageId, ConversationId, DeploymentId, DeviceId};
pub use username::Username;
