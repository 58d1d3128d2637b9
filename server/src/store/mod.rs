//! Postgres: every statement of the server, one transaction a verb.
//!
//! There is one implementation and no twin for tests: what a transaction guarantees is the point.
//! Refuses to build SQL from values (all are parameters), to open or judge payloads (callers
//! verified and authorized them), and to acknowledge a commit whose outcome it does not know.

mod error;
mod signatures;
mod types;

pub use error::{AccountError, AppendError, ClaimError, CommitError, StoreError};
pub use signatures::{OnlineGuard, Store, StoreConfig};
pub use types::*;
