//! Postgres: every statement of the server, one transaction a verb.
//!
//! There is one implementation and no twin for tests: what a transaction guarantees is the point.
//! Refuses to build SQL from values (all are parameters), to open or judge payloads (callers
//! verified and authorized them), and to acknowledge a commit whose outcome it does not know.
//!
//! Ordinary verbs use a pool. What is frequent has tasks with a connection each and shares
//! transactions: writers (`log`, `commit`), readers (`read`; what was stored a moment ago is in
//! `recent`), the flusher (`flush`: cursors and presence). `sweep` deletes what everybody has.

mod accounts;
pub mod admin;
mod backup;
pub(crate) mod blob;
mod commit;
pub(crate) mod connect;
mod cursors;
mod database;
mod error;
mod flush;
mod join_link;
mod key_packages;
mod leave;
mod limit;
mod link;
mod listing;
mod log;
mod members;
mod notice;
mod orders;
mod presence;
mod profile;
mod read;
mod recent;
mod room;
mod sweep;
pub(crate) mod timings;
mod tree;
mod types;
mod writer;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use deadpool_postgres::{Client, Manager, ManagerConfig, Pool, Runtime, Timeouts, Transaction};
use sotto_protocol::DeploymentId;
use tokio::task::JoinHandle;
use tokio_postgres::Row;
use tokio_postgres::types::FromSql;

use crate::bus::{Bus, BusAddress};
use crate::migrate;
use connect::{Database, Profile, Task};
use cursors::Cursors;
use presence::Presence;
use timings::Timings;

pub use backup::{BackupError, StoredBackup};
pub(crate) use database::read_url;
pub use database::{DatabaseAddress, Encryption};
pub use error::{AccountError, AppendError, BlobError, ClaimError, CommitError, StoreError};
pub use join_link::{JoinError, NewJoinLink, StoredJoinLink};
pub use leave::LeaveError;
pub use presence::OnlineGuard;
pub use profile::{Profile as AccountProfile, Shows};
pub use read::LogRead;
pub use room::{KnownTopic, ListedRoom, NewRoom, RoomError};
pub use types::*;

/// How long a verb waits for a connection of the pool.
const POOL_WAIT: Duration = Duration::from_secs(5);

/// How long readiness waits for an answer.
const PING_LIMIT: Duration = Duration::from_secs(2);

/// How a store is opened.
#[derive(Clone)]
pub struct StoreConfig {
    /// Where the database is.
    pub database: DatabaseAddress,
    /// The server's name in the table of nodes.
    pub node_name: String,
    /// Where clients or balancers reach this server; for the table of nodes.
    pub node_address: String,
    /// Connections for ordinary verbs; seven more are for writers, readers, the flusher and hints.
    pub pool_connections: usize,
    /// How long an undelivered envelope is kept.
    pub retention: Duration,
    /// How long a delivered envelope is kept, so that a late copy of its append is recognised;
    /// see [`LINGER`].
    pub linger: Duration,
    /// What carries hints to other servers.
    pub bus: BusAddress,
}

/// The usual [`StoreConfig::linger`]: longer than any copy of an append can be under way.
pub const LINGER: Duration = Duration::from_secs(120);

impl StoreConfig {
    /// Usual values for a database.
    #[must_use]
    pub fn new(database: impl Into<DatabaseAddress>) -> Self {
        Self {
            database: database.into(),
            node_name: "sotto".into(),
            node_address: String::new(),
            pool_connections: 8,
            retention: Duration::from_secs(14 * 24 * 3600),
            linger: LINGER,
            bus: BusAddress::Postgres,
        }
    }
}

/// The database. Cheap to clone; its tasks end when the last clone is dropped.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

struct Inner {
    pool: Pool,
    /// Warnings seen on any connection of the pool.
    pool_warnings: Arc<AtomicU64>,
    bus: Bus,
    deployment: DeploymentId,
    cursors: Arc<Cursors>,
    presence: Arc<Presence>,
    recent: Arc<recent::Recent>,
    timings: Timings,
    writers: writer::Writers,
    readers: read::Readers,
    flusher: flush::Flusher,
    _tasks: Vec<Task>,
}

impl Store {
    /// Connects, checks the schema version, and starts the tasks.
    ///
    /// # Errors
    /// `Unavailable` when the database does not answer now (call again for a bounded wait at
    /// start), `SchemaVersion` when it was not migrated to this server's version.
    pub async fn open(config: StoreConfig) -> Result<Self, StoreError> {
        let database = Arc::new(Database::new(&config.database)?);
        let link = connect::open(&database, Profile::Log).await?;
        let found = migrate::version(link.client()).await?;
        if found != migrate::SCHEMA_VERSION {
            return Err(StoreError::SchemaVersion {
                found,
                needed: migrate::SCHEMA_VERSION,
            });
        }
        let deployment = deployment(link.client()).await?;
        drop(link);
        let pool_warnings = Arc::new(AtomicU64::new(0));
        let pool = pool(
            &database,
            config.pool_connections,
            Arc::clone(&pool_warnings),
        )?;
        let bus = Bus::start(Arc::clone(&database), config.bus.clone(), deployment);
        let recent = Arc::new(recent::Recent::default());
        let timings = Timings::new();
        let cursors = Arc::new(Cursors::new(config.linger));
        let presence = Arc::new(Presence::new(&config));
        let flusher = flush::Flusher::start(&database, &cursors, &presence);
        presence.wake_with(flusher.nudge());
        cursors.wake_with(flusher.nudge());
        let sweeper = sweep::start(
            pool.clone(),
            Arc::clone(&cursors),
            (config.retention, config.linger),
        );
        Ok(Self {
            inner: Arc::new(Inner {
                writers: writer::Writers::start(&database, &bus, (&recent, &timings)),
                readers: read::Readers::start(&database),
                pool,
                pool_warnings,
                bus,
                deployment,
                cursors,
                presence,
                flusher,
                recent,
                timings,
                _tasks: vec![sweeper],
            }),
        })
    }

    /// Hints between servers. The store publishes after each commit; sessions only subscribe.
    #[must_use]
    pub fn bus(&self) -> &Bus {
        &self.inner.bus
    }

    /// How long messages' steps took so far.
    pub(crate) fn timings(&self) -> &Timings {
        &self.inner.timings
    }

    /// The deployment that the database belongs to.
    #[must_use]
    pub fn deployment_id(&self) -> DeploymentId {
        self.inner.deployment
    }

    /// Asks the database for an answer: for readiness. Takes at most 2 s.
    ///
    /// # Errors
    /// `Unavailable` without an answer.
    pub async fn ping(&self) -> Result<(), StoreError> {
        let answer = async {
            let client = self.pooled().await?;
            client
                .query_one("SELECT 1", &[])
                .await
                .map_err(StoreError::from_db)
        };
        match tokio::time::timeout(PING_LIMIT, answer).await {
            Ok(answer) => answer.map(drop),
            Err(_) => Err(StoreError::Unavailable("no answer".into())),
        }
    }

    /// Writes what is buffered and takes this server out of the table of nodes: for the end of a
    /// drain. What is appended afterwards is still stored.
    ///
    /// # Errors
    /// `Unavailable` when it could not be written; only redelivery is lost.
    pub async fn close(&self) -> Result<(), StoreError> {
        self.inner.flusher.close().await
    }

    pub(crate) async fn pooled(&self) -> Result<Client, StoreError> {
        self.inner
            .pool
            .get()
            .await
            .map_err(|error| StoreError::Unavailable(format!("pool: {error}")))
    }

    /// Warnings that connections of the pool saw so far.
    fn pool_warnings(&self) -> u64 {
        self.inner.pool_warnings.load(Ordering::Acquire)
    }

    /// Ends a transaction; `Unknown` unless it is certain that it is durable or undone.
    pub(crate) async fn commit(&self, transaction: Transaction<'_>) -> Result<(), StoreError> {
        // One count for the whole pool: a warning of another connection makes this outcome
        // unknown too, which is safe.
        let before = self.pool_warnings();
        transaction
            .commit()
            .await
            .map_err(|error| StoreError::from_commit(&error))?;
        if self.pool_warnings() == before {
            Ok(())
        } else {
            Err(StoreError::Unknown)
        }
    }
}

/// A column of a row.
pub(crate) fn column<'a, T: FromSql<'a>>(row: &'a Row, place: usize) -> Result<T, StoreError> {
    row.try_get(place).map_err(StoreError::from_db)
}

/// A non-negative column.
pub(crate) fn unsigned(row: &Row, place: usize) -> Result<u64, StoreError> {
    let value: i64 = column(row, place)?;
    u64::try_from(value).map_err(|_| StoreError::Corrupt("negative number".into()))
}

/// A seq, epoch or limit as the database holds it; what does not fit matches nothing.
pub(crate) fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(-1)
}

/// A generation as the database holds it; what does not fit matches nothing.
pub(crate) fn signed_generation(value: u32) -> i32 {
    i32::try_from(value).unwrap_or(-1)
}

/// Bytes that have to be of one length.
pub(crate) fn fixed<const N: usize>(bytes: &[u8]) -> Result<[u8; N], StoreError> {
    bytes
        .try_into()
        .map_err(|_| StoreError::Corrupt("bytes of a wrong length".into()))
}

async fn deployment(client: &tokio_postgres::Client) -> Result<DeploymentId, StoreError> {
    let fresh: [u8; 16] = rand::random();
    client
        .execute(
            "INSERT INTO deployment (id) VALUES ($1) ON CONFLICT DO NOTHING",
            &[&fresh.as_slice()],
        )
        .await
        .map_err(StoreError::from_db)?;
    let row = client
        .query_one("SELECT id FROM deployment", &[])
        .await
        .map_err(StoreError::from_db)?;
    Ok(DeploymentId::from_bytes(fixed(column(&row, 0)?)?))
}

fn pool(
    database: &Arc<Database>,
    connections: usize,
    warnings: Arc<AtomicU64>,
) -> Result<Pool, StoreError> {
    let manager = Manager::from_connect(
        database.config.clone(),
        PoolConnect {
            database: Arc::clone(database),
            warnings,
        },
        ManagerConfig::default(),
    );
    Pool::builder(manager)
        .max_size(connections.max(2))
        .timeouts(Timeouts {
            wait: Some(POOL_WAIT),
            create: Some(POOL_WAIT),
            recycle: Some(POOL_WAIT),
        })
        .runtime(Runtime::Tokio1)
        .build()
        .map_err(|error| StoreError::Unavailable(format!("pool: {error}")))
}

/// Connections of the pool, set up and watched like all others.
struct PoolConnect {
    database: Arc<Database>,
    warnings: Arc<AtomicU64>,
}

type Connected = Result<(tokio_postgres::Client, JoinHandle<()>), tokio_postgres::Error>;

impl deadpool_postgres::Connect for PoolConnect {
    fn connect(
        &self,
        _config: &tokio_postgres::Config,
    ) -> std::pin::Pin<Box<dyn Future<Output = Connected> + Send + '_>> {
        let warnings = Arc::clone(&self.warnings);
        Box::pin(connect::connect(
            &self.database,
            Profile::Pool,
            warnings,
            None,
        ))
    }
}
