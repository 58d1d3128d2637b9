//! The encrypted history: one SQLCipher file with the account, people,
//! conversations, messages, the outbox and the MLS key store.
//!
//! It keeps and finds; it decides nothing and knows no network. Callers group
//! what belongs together between [`History::begin`] and [`History::commit`],
//! so that ratchet state and message become durable together or not at all.
//!
//! Durability. The journal is a rollback journal (write-ahead logs keep
//! deleted keys for long), truncated at each commit, with `secure_delete`, so
//! that a deleted key is overwritten. One process has the file, for as long as
//! it runs: nothing is locked or looked up anew for a transaction, which costs
//! two syncs of the disk, journal and file. `synchronous = NORMAL`: what a commit
//! wrote survives the end of the process by any signal. After a loss of power
//! the last commit may be missing, never half there; the engine then meets
//! its own entries in the log, notices the rollback and renews its keys.

mod account;
mod change;
mod codec;
mod contact;
mod conversation;
mod device;
mod draft;
mod forget;
mod fork;
mod group;
mod key_package;
mod link;
mod message;
mod outbox;
mod peer;
mod pending;
mod receipt;
mod request;
mod search;
mod shelf;
mod snapshot;
mod unsent;
mod upload;

use std::path::Path;

use rusqlite::{Connection, ErrorCode, OpenFlags};
use sotto_crypto::DatabaseKey;
use zeroize::Zeroizing;

pub(crate) use account::AccountRow;
pub(crate) use change::{ChangeRow, Standing};
pub(crate) use contact::ContactRow;
pub(crate) use conversation::{Baseline, ConversationRow, ConversationState, OwnEntry};
pub(crate) use device::RecoveryRow;
pub(crate) use group::{INVITATIONS_MAX, InvitationRow, MemberRow};
pub(crate) use key_package::MadeFor;
pub(crate) use link::JoinRequestRow;
pub(crate) use message::{Fate, Mentioned, MessageRow, Unread};
pub(crate) use outbox::{OutboxKind, OutboxRow, Refused, Sealed};
pub(crate) use peer::{PeerRow, Relation};
pub(crate) use pending::{PendingCommitRow, PendingKind};
pub(crate) use receipt::{Marks, Reader};
pub(crate) use request::{REQUESTS_MAX, RequestRow, RequestStanding};
pub(crate) use search::Query;
pub(crate) use upload::UploadRow;

/// What builds the client's tables, step by step. A store says in its
/// `user_version` how many of them it has; steps are only ever added.
const MIGRATIONS: &[&str] = &[
    include_str!("migrations/0001_start.sql"),
    include_str!("migrations/0002_talk.sql"),
    include_str!("migrations/0003_messages.sql"),
    include_str!("migrations/0004_groups.sql"),
    include_str!("migrations/0005_upload.sql"),
    include_str!("migrations/0006_devices.sql"),
    include_str!("migrations/0007_links.sql"),
    include_str!("migrations/0008_invitations.sql"),
    include_str!("migrations/0009_reach.sql"),
    include_str!("migrations/0010_turned_away.sql"),
    include_str!("migrations/0011_unsent.sql"),
    include_str!("migrations/0012_earlier_identity.sql"),
    include_str!("migrations/0013_blob_due.sql"),
];
/// The schema that this version reads and writes.
const SCHEMA_VERSION: i64 = MIGRATIONS.len() as i64;
/// Prepared statements kept ready.
const STATEMENTS_KEPT: usize = 64;

/// Why the local store cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum HistoryError {
    /// The file is not a database under this key.
    #[error("the local database is damaged, or its key is another")]
    Corrupted,
    /// A newer version of the program wrote it.
    #[error(
        "the profile was written by a newer version (schema {found}; this one reads up to {known})"
    )]
    NewerSchema {
        /// The version in the file.
        found: i64,
        /// The newest that this program reads.
        known: i64,
    },
    /// The disk is full.
    #[error("the disk is full; nothing was lost, and nothing more can be stored")]
    DiskFull,
    /// Anything else that SQLite reports.
    #[error("the local database could not be read or written")]
    Sqlite(#[source] rusqlite::Error),
    /// A stored value is not what this program writes.
    #[error("the local database holds a value that cannot be: {0}")]
    Invalid(&'static str),
    /// The MLS key store could not be prepared.
    #[error("the local key store failed: {0}")]
    KeyStore(String),
}

impl From<rusqlite::Error> for HistoryError {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => Self::Corrupted,
            Some(ErrorCode::DiskFull) => Self::DiskFull,
            _ => Self::Sqlite(error),
        }
    }
}

/// The open store.
pub(crate) struct History {
    connection: Connection,
}

impl History {
    /// Makes a new store; there must be no file yet.
    pub(crate) fn create(path: &Path, key: &DatabaseKey) -> Result<Self, HistoryError> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE;
        let history = Self::with_flags(path, key, flags)?;
        history.migrate(0)?;
        history.with_key_store()
    }

    /// Opens an existing store; one of an earlier version is brought up to this one.
    pub(crate) fn open(path: &Path, key: &DatabaseKey) -> Result<Self, HistoryError> {
        let history = Self::with_flags(path, key, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        let found: i64 = history
            .connection
            .query_row("PRAGMA user_version", [], |row| row.get(0))?;
        match found {
            1..=SCHEMA_VERSION => {
                history.migrate(found)?;
                history.with_key_store()
            }
            ..=0 => Err(HistoryError::Corrupted),
            found => Err(HistoryError::NewerSchema {
                found,
                known: SCHEMA_VERSION,
            }),
        }
    }

    /// Takes the steps that a store of a version lacks, all of them or none.
    fn migrate(&self, found: i64) -> Result<(), HistoryError> {
        let missing = usize::try_from(found)
            .ok()
            .and_then(|found| MIGRATIONS.get(found..))
            .unwrap_or_default();
        if missing.is_empty() {
            return Ok(());
        }
        // A step may put a table in another's place; references hold again at the end.
        self.connection.execute_batch(&format!(
            "PRAGMA foreign_keys = OFF; BEGIN IMMEDIATE; {}
             PRAGMA user_version = {SCHEMA_VERSION}; COMMIT; PRAGMA foreign_keys = ON;",
            missing.concat()
        ))?;
        let mut broken = self.connection.prepare("PRAGMA foreign_key_check")?;
        match broken.exists([])? {
            true => Err(HistoryError::Corrupted),
            false => Ok(()),
        }
    }

    fn with_flags(path: &Path, key: &DatabaseKey, flags: OpenFlags) -> Result<Self, HistoryError> {
        let connection = Connection::open_with_flags(path, flags)?;
        let mut pragma = Zeroizing::new(String::with_capacity(256));
        pragma.push_str("PRAGMA key = \"x'");
        pragma.push_str(&key.to_hex());
        // The library would write its own lines to standard error. Before the
        // key is given it would set the level back.
        pragma.push_str("'\"; PRAGMA cipher_log_level = NONE;");
        // Most of a transaction's time goes into sealing pages: small pages, and
        // a MAC that processors compute, halve it. Part of the file's format.
        pragma.push_str("PRAGMA cipher_page_size = 2048;");
        pragma.push_str("PRAGMA cipher_hmac_algorithm = HMAC_SHA256;");
        connection.execute_batch(&pragma)?;
        connection.execute_batch(
            "PRAGMA cipher_memory_security = ON;
             PRAGMA locking_mode = EXCLUSIVE;
             PRAGMA journal_mode = TRUNCATE;
             PRAGMA secure_delete = ON;
             PRAGMA synchronous = NORMAL;
             PRAGMA foreign_keys = ON;
             PRAGMA temp_store = MEMORY;
             PRAGMA trusted_schema = OFF;",
        )?;
        connection.set_prepared_statement_cache_capacity(STATEMENTS_KEPT);
        // A first read: a wrong key shows here, not at some later statement.
        connection.query_row("SELECT count(*) FROM sqlite_master", [], |row| {
            row.get::<_, i64>(0)
        })?;
        Ok(Self { connection })
    }

    fn with_key_store(mut self) -> Result<Self, HistoryError> {
        self.connection.execute_batch(receipt::TABLE)?;
        self.attach_memory()?;
        self.attach_outbox_memory()?;
        self.index_the_rest()?;
        sotto_crypto::migrate_key_store(&mut self.connection)
            .map_err(|error| HistoryError::KeyStore(error.to_string()))?;
        Ok(self)
    }

    /// The connection, for the MLS key store to take part in the open transaction.
    pub(crate) fn connection(&self) -> &Connection {
        &self.connection
    }

    /// Starts a transaction.
    pub(crate) fn begin(&self) -> Result<(), HistoryError> {
        Ok(self.connection.execute_batch("BEGIN")?)
    }

    /// Makes everything since `begin` durable.
    pub(crate) fn commit(&self) -> Result<(), HistoryError> {
        Ok(self.connection.execute_batch("COMMIT")?)
    }

    /// Forgets everything since `begin`. SQLite may have done so itself after
    /// a failure, which is no error here.
    pub(crate) fn rollback(&self) {
        if !self.connection.is_autocommit() {
            let _ = self.connection.execute_batch("ROLLBACK");
        }
    }

    /// Marks a place inside a transaction.
    pub(crate) fn mark(&self) -> Result<(), HistoryError> {
        Ok(self.connection.execute_batch("SAVEPOINT mark")?)
    }

    /// Keeps what was done since the mark.
    pub(crate) fn keep_mark(&self) -> Result<(), HistoryError> {
        Ok(self.connection.execute_batch("RELEASE mark")?)
    }

    /// Undoes what was done since the mark.
    pub(crate) fn undo_mark(&self) -> Result<(), HistoryError> {
        Ok(self
            .connection
            .execute_batch("ROLLBACK TO mark; RELEASE mark")?)
    }
}

#[cfg(test)]
mod message_tests;
#[cfg(test)]
pub(crate) mod tests;
