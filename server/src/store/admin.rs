//! What operators ask of the database, beside running servers: on a connection of its own, each
//! change in one transaction with its entry in the audit log and the orders to the servers.
//!
//! Refuses to read or write anything that people said, and to change the log of what was done. A
//! rehearsal makes the same transaction and rolls it back.

mod accounts;
mod deployment;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use sotto_protocol::{DeploymentId, DeviceId};
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Row, Transaction};

use super::connect::{self, Database, Profile};
use super::database::DatabaseAddress;
use super::error::StoreError;
use super::{column, fixed};
use crate::migrate;

pub use accounts::{AccountState, ListedAccount, Quota, Which};
pub use deployment::{AuditEntry, ListedInvite, Node, Stats};

/// Held by every change, so that the orders' numbers appear in their order ("sotto" and a number).
const LOCK: &str = "SELECT pg_advisory_xact_lock(x'736f74746f03'::bigint)";

const AUDIT: &str = "\
    INSERT INTO audit (operator, action, subject, details) VALUES ($1, $2, $3, $4::text::jsonb)";

const ORDER: &str = "INSERT INTO operator_order (kind, subject) VALUES ($1, $2)";

/// Whether a change is made or only tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Intent {
    /// Make it.
    Change,
    /// Do everything, then undo it.
    Rehearse,
}

/// What the servers are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// End the sessions of this device.
    EndDevice(DeviceId),
    /// The server with this id stops taking clients and asks those it has to move.
    Drain([u8; 16]),
    /// It serves again.
    Serve([u8; 16]),
}

impl Order {
    fn to_row(self) -> (i16, [u8; 16]) {
        match self {
            Self::EndDevice(device) => (1, *device.as_bytes()),
            Self::Drain(node) => (2, node),
            Self::Serve(node) => (3, node),
        }
    }

    /// An order as the table holds it.
    pub(super) fn from_row(kind: i16, subject: &[u8]) -> Result<Self, StoreError> {
        let id = fixed(subject)?;
        match kind {
            1 => Ok(Self::EndDevice(DeviceId::from_bytes(id))),
            2 => Ok(Self::Drain(id)),
            3 => Ok(Self::Serve(id)),
            _ => Err(StoreError::Corrupt("kind of an order".into())),
        }
    }
}

/// Why an operator's wish was not fulfilled.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AdminError {
    /// No such account, invite or server.
    #[error("there is no {0}")]
    NotFound(String),
    /// More than one answers to what was given.
    #[error("{0}")]
    Ambiguous(String),
    /// It is so already, or something else stands against it.
    #[error("{0}")]
    Refused(String),
    /// The store failed.
    #[error("{0}")]
    Store(StoreFailure),
}

/// How the store failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreFailure {
    /// The database does not answer, or the outcome is not known.
    #[error("{0}; nothing that is not shown as done can be relied on")]
    Away(String),
    /// The database is not reached as the configuration demands.
    #[error("{0}")]
    Tls(String),
    /// The database is of another schema.
    #[error("{0}: run `sotto-server migrate`")]
    Schema(String),
    /// The database holds what it must not.
    #[error("{0}")]
    Broken(String),
}

impl From<StoreError> for AdminError {
    fn from(error: StoreError) -> Self {
        let text = error.to_string();
        Self::Store(match error {
            StoreError::Unavailable(_) | StoreError::Unknown => StoreFailure::Away(text),
            StoreError::Tls(_) => StoreFailure::Tls(text),
            StoreError::SchemaVersion { .. } => StoreFailure::Schema(text),
            StoreError::Corrupt(_) => StoreFailure::Broken(text),
        })
    }
}

/// The database, for operators.
pub struct AdminStore {
    client: Client,
    warnings: Arc<AtomicU64>,
    operator: String,
}

impl AdminStore {
    /// Connects and checks the schema's version. `operator` is who the audit log names.
    ///
    /// # Errors
    /// When the database does not answer or is of another version.
    pub async fn open(address: &DatabaseAddress, operator: String) -> Result<Self, AdminError> {
        let database = Database::new(address)?;
        let warnings = Arc::new(AtomicU64::new(0));
        let connecting = connect::connect(&database, Profile::Pool, Arc::clone(&warnings), None);
        // The driver ends with the client.
        let (client, _driver) = connecting.await.map_err(StoreError::from_db)?;
        let found = migrate::version(&client).await?;
        if found != migrate::SCHEMA_VERSION {
            return Err(AdminError::from(StoreError::SchemaVersion {
                found,
                needed: migrate::SCHEMA_VERSION,
            }));
        }
        Ok(Self {
            client,
            warnings,
            operator,
        })
    }

    /// The deployment that the database belongs to.
    ///
    /// # Errors
    /// As the store.
    pub async fn deployment_id(&self) -> Result<DeploymentId, AdminError> {
        Ok(super::deployment(&self.client).await?)
    }

    /// Begins a change. Nothing of it counts before [`Change::settle`].
    ///
    /// # Errors
    /// As the store.
    pub async fn change(&mut self, intent: Intent) -> Result<Change<'_>, AdminError> {
        let transaction = self
            .client
            .transaction()
            .await
            .map_err(StoreError::from_db)?;
        let change = Change {
            transaction,
            warnings: &self.warnings,
            operator: &self.operator,
            intent,
        };
        change.execute(LOCK, &[]).await?;
        Ok(change)
    }

    async fn query(
        &self,
        sql: &str,
        params: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<Row>, AdminError> {
        let rows = self.client.query(sql, params).await;
        Ok(rows.map_err(StoreError::from_db)?)
    }
}

/// A change under way. Dropping it undoes it.
pub struct Change<'a> {
    transaction: Transaction<'a>,
    warnings: &'a AtomicU64,
    operator: &'a str,
    intent: Intent,
}

impl Change<'_> {
    /// Writes the audit entry, then makes the change durable, or undoes it when it was a rehearsal.
    /// `details` must hold no secret and nothing that people said.
    ///
    /// # Errors
    /// As the store; then the change must not be shown as done.
    pub async fn settle(
        self,
        action: &str,
        subject: &str,
        details: &serde_json::Value,
    ) -> Result<(), AdminError> {
        let details = details.to_string();
        self.execute(AUDIT, &[&self.operator, &action, &subject, &details])
            .await?;
        if self.intent == Intent::Rehearse {
            let undone = self.transaction.rollback().await;
            return Ok(undone.map_err(StoreError::from_db)?);
        }
        let before = self.warnings.load(Ordering::Acquire);
        let ended = self.transaction.commit().await;
        ended.map_err(|error| StoreError::from_commit(&error))?;
        if self.warnings.load(Ordering::Acquire) == before {
            Ok(())
        } else {
            Err(StoreError::Unknown.into())
        }
    }

    async fn order(&self, order: Order) -> Result<(), AdminError> {
        let (kind, subject) = order.to_row();
        self.execute(ORDER, &[&kind, &subject.as_slice()]).await?;
        Ok(())
    }

    async fn execute(&self, sql: &str, params: &[&(dyn ToSql + Sync)]) -> Result<u64, AdminError> {
        let changed = self.transaction.execute(sql, params).await;
        Ok(changed.map_err(StoreError::from_db)?)
    }

    async fn query(
        &self,
        sql: &str,
        params: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<Row>, AdminError> {
        let rows = self.transaction.query(sql, params).await;
        Ok(rows.map_err(StoreError::from_db)?)
    }
}

/// A column that is not negative.
fn count(row: &Row, place: usize) -> Result<u64, AdminError> {
    let value: i64 = column(row, place)?;
    Ok(u64::try_from(value).map_err(|_| StoreError::Corrupt("negative number".into()))?)
}
