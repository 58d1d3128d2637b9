//! The sealed side of Sotto: identities, key packages, conversations, content, local keys.
//!
//! Everything that needs a secret key happens here. No sockets, no runtime, no
//! clock: time comes as a parameter, bytes go in and out. State lives in the
//! caller's database connection, inside the caller's transaction. Only the
//! directory `mls` names the MLS library.

pub mod at_rest;
pub mod attachment;
pub mod content;
pub mod identity;
pub mod join_proof;
pub mod link;
mod mls;
mod padding;
pub mod password;
pub mod recovery;
pub mod safety_number;
pub mod secret;
pub mod suite;

pub use at_rest::{AtRestError, DatabaseKey};
pub use content::{Body, Content, ContentError};
pub use identity::{DeviceKey, IdentityKey, LocalDevice, LoginChallenge};
pub use mls::{
    About, Address, CommitSummary, Group, GroupError, KeyPackageUse, KeyStore, KeyStoreError,
    MadeKeyPackage, Message, OpenError, Opened, PendingCommit, Plan, Rejoin, Sealed, Standing,
    WelcomeError, WelcomeSummary, WithTree, commit_hash, forget_key_package, holds_key_package,
    inspect_invitation, inspect_welcome, make_key_package, migrate_key_store,
};
pub use mls::{Signal, SignalKind};
pub use password::{AuthenticationKey, KdfParameters, PasswordKeys, UnlockKey};
pub use safety_number::safety_number;
pub use secret::SecretBytes;
pub use suite::Suite;
