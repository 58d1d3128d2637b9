//! Conversations as MLS groups: the only place in this crate that names the MLS library.
//!
//! The library reads the system clock for some checks; what matters is checked
//! again here against the caller's time. No group merges anything that
//! `sotto_roster::authorize` did not allow.

mod commit;
mod external;
mod group;
mod invitation;
mod key_package;
mod message;
mod signal;
mod split;
mod store;
mod welcome;

pub use commit::{CommitSummary, PendingCommit, Plan, commit_hash};
pub use external::Rejoin;
pub use group::{Address, Group, GroupError, Standing};
pub use invitation::About;
pub use key_package::{
    KeyPackageUse, MadeKeyPackage, forget_key_package, holds_key_package, make_key_package,
};
pub use message::{Message, OpenError, Opened, Sealed};
pub use signal::{Signal, SignalKind};
pub use store::{KeyStore, KeyStoreError, migrate_key_store};
pub use welcome::{WelcomeError, WelcomeSummary, WithTree, inspect_invitation, inspect_welcome};
