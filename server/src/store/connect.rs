//! Connections to Postgres: how they are set up, driven and given up.
//!
//! Every connection is driven here, because a warning decides whether a commit may be
//! acknowledged: "canceling wait for synchronous replication" means that the commit is only on
//! one machine. Nothing here retries; those who use a connection decide that.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_postgres::error::SqlState;
use tokio_postgres::{AsyncMessage, Client, Connection, NoTls, Socket, Statement};

pub(crate) use super::database::Database;
use super::error::StoreError;

/// How long connecting may take.
pub(super) const CONNECT_LIMIT: Duration = Duration::from_secs(3);

/// How long a batch of a writer, reader or flusher may take before its connection is given up.
pub(crate) const WORK_LIMIT: Duration = Duration::from_secs(15);

/// What a connection is for; decides its settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Profile {
    /// Ordinary verbs.
    Pool,
    /// Batches over arrays, always by index: plans must not change with statistics.
    Log,
    /// As `Log`, for what may be lost in a crash of Postgres: commits do not wait for the disk.
    Buffered,
    /// Statements of any length.
    Migration,
}

impl Profile {
    const fn settings(self) -> &'static str {
        match self {
            Self::Pool => {
                "SET jit = off; SET statement_timeout = '15s'; \
                 SET idle_in_transaction_session_timeout = '30s'"
            }
            Self::Log => {
                "SET jit = off; SET statement_timeout = '15s'; \
                 SET idle_in_transaction_session_timeout = '30s'; SET work_mem = '16MB'; \
                 SET enable_seqscan = off; SET enable_hashjoin = off; SET enable_mergejoin = off; \
                 SET plan_cache_mode = force_generic_plan"
            }
            Self::Buffered => {
                "SET jit = off; SET statement_timeout = '15s'; SET synchronous_commit = off; \
                 SET idle_in_transaction_session_timeout = '30s'; SET work_mem = '16MB'; \
                 SET enable_seqscan = off; SET enable_hashjoin = off; SET enable_mergejoin = off; \
                 SET plan_cache_mode = force_generic_plan"
            }
            Self::Migration => "SET lock_timeout = '60s'",
        }
    }
}

/// One dedicated connection.
pub(crate) struct Link {
    client: Client,
    prepared: HashMap<&'static str, Statement>,
    warnings: Arc<AtomicU64>,
    driver: JoinHandle<()>,
}

impl Drop for Link {
    fn drop(&mut self) {
        // Without this a connection with an unanswered statement would live on.
        self.driver.abort();
    }
}

impl Link {
    /// The connection.
    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    /// Whether it ended.
    pub(crate) fn is_closed(&self) -> bool {
        self.client.is_closed()
    }

    /// How many warnings arrived so far; one more after a COMMIT makes its outcome unknown.
    pub(crate) fn warnings(&self) -> u64 {
        self.warnings.load(Ordering::Acquire)
    }

    /// A statement, prepared when first used.
    pub(crate) async fn prepare(&mut self, sql: &'static str) -> Result<Statement, StoreError> {
        if let Some(statement) = self.prepared.get(sql) {
            return Ok(statement.clone());
        }
        let statement = self
            .client
            .prepare(sql)
            .await
            .map_err(StoreError::from_db)?;
        self.prepared.insert(sql, statement.clone());
        Ok(statement)
    }
}

/// Opens a connection.
pub(crate) async fn open(database: &Database, profile: Profile) -> Result<Link, StoreError> {
    let warnings = Arc::new(AtomicU64::new(0));
    let (client, driver) = bounded(connect(database, profile, Arc::clone(&warnings), None)).await?;
    Ok(Link {
        client,
        prepared: HashMap::new(),
        warnings,
        driver,
    })
}

/// Opens a connection whose notifications go to `notifications`, which closes when it ends.
pub(crate) async fn open_listener(
    database: &Database,
    notifications: mpsc::Sender<String>,
) -> Result<Link, StoreError> {
    let warnings = Arc::new(AtomicU64::new(0));
    let sink = Some(notifications);
    let (client, driver) = bounded(connect(
        database,
        Profile::Buffered,
        Arc::clone(&warnings),
        sink,
    ))
    .await?;
    Ok(Link {
        client,
        prepared: HashMap::new(),
        warnings,
        driver,
    })
}

/// Connects, spawns the driver and applies the settings.
pub(crate) async fn connect(
    database: &Database,
    profile: Profile,
    warnings: Arc<AtomicU64>,
    notifications: Option<mpsc::Sender<String>>,
) -> Result<(Client, JoinHandle<()>), tokio_postgres::Error> {
    let config = &database.config;
    let (client, driver) = if let Some(tls) = &database.tls {
        let (client, connection) = config.connect(tls.clone()).await?;
        let driving = drive(connection, warnings, notifications);
        (client, tokio::spawn(driving))
    } else {
        let (client, connection) = config.connect(NoTls).await?;
        let driving = drive(connection, warnings, notifications);
        (client, tokio::spawn(driving))
    };
    // The driver ends by itself when the client is dropped, so also when this is cancelled.
    client.batch_execute(profile.settings()).await?;
    Ok((client, driver))
}

async fn bounded<T>(
    attempt: impl Future<Output = Result<T, tokio_postgres::Error>>,
) -> Result<T, StoreError> {
    match tokio::time::timeout(CONNECT_LIMIT * 2, attempt).await {
        Ok(connected) => connected.map_err(StoreError::from_db),
        Err(_) => Err(StoreError::Unavailable("connecting timed out".into())),
    }
}

async fn drive<S: AsyncRead + AsyncWrite + Unpin>(
    mut connection: Connection<Socket, S>,
    warnings: Arc<AtomicU64>,
    notifications: Option<mpsc::Sender<String>>,
) {
    loop {
        match std::future::poll_fn(|context| connection.poll_message(context)).await {
            Some(Ok(AsyncMessage::Notice(notice))) => {
                // The text depends on the server's language, the code does not; a COMMIT gives no
                // other warning of this code. The answer to the COMMIT comes after it.
                if *notice.code() == SqlState::WARNING {
                    warnings.fetch_add(1, Ordering::AcqRel);
                }
            }
            Some(Ok(AsyncMessage::Notification(notification))) => {
                let Some(sink) = &notifications else { continue };
                if sink.try_send(notification.payload().to_owned()).is_err() {
                    // Lagging: ending the connection makes the listener wake everybody.
                    return;
                }
            }
            Some(Ok(_)) => {}
            Some(Err(_)) | None => return,
        }
    }
}

/// Spaces attempts to connect: doubling, jittered, bounded.
#[derive(Debug)]
pub(crate) struct Backoff {
    failures: u32,
    not_before: Option<Instant>,
}

impl Backoff {
    const FIRST: Duration = Duration::from_millis(50);
    const LONGEST: Duration = Duration::from_secs(2);

    pub(crate) const fn new() -> Self {
        Self {
            failures: 0,
            not_before: None,
        }
    }

    /// Whether an attempt is due.
    pub(crate) fn is_due(&self) -> bool {
        self.not_before.is_none_or(|at| Instant::now() >= at)
    }

    pub(crate) fn succeeded(&mut self) {
        *self = Self::new();
    }

    pub(crate) fn failed(&mut self) {
        let factor = 1u32 << self.failures.min(10);
        let longest = (Self::FIRST * factor).min(Self::LONGEST);
        self.failures = self.failures.saturating_add(1);
        self.not_before = Some(Instant::now() + longest.mul_f64(rand::random_range(0.5..1.0)));
    }

    /// Waits until an attempt is due.
    pub(crate) async fn wait(&self) {
        if let Some(at) = self.not_before {
            tokio::time::sleep_until(at).await;
        }
    }
}

/// A dedicated connection that is opened again when it was lost.
pub(crate) struct Keeper {
    database: Arc<Database>,
    profile: Profile,
    link: Option<Link>,
    backoff: Backoff,
}

impl Keeper {
    pub(crate) fn new(database: Arc<Database>, profile: Profile) -> Self {
        Self {
            database,
            profile,
            link: None,
            backoff: Backoff::new(),
        }
    }

    /// The connection, or `None` while the database is away: then the work at hand is refused
    /// at once instead of waiting.
    pub(crate) async fn link(&mut self) -> Option<&mut Link> {
        if self.link.as_ref().is_some_and(Link::is_closed) {
            self.link = None;
        }
        if self.link.is_none() && self.backoff.is_due() {
            match open(&self.database, self.profile).await {
                Ok(link) => {
                    self.backoff.succeeded();
                    self.link = Some(link);
                }
                Err(error) => {
                    tracing::warn!(%error, profile = ?self.profile, "no database connection");
                    self.backoff.failed();
                }
            }
        }
        self.link.as_mut()
    }

    /// Gives the connection up: what it is doing is not known.
    pub(crate) fn discard(&mut self) {
        self.link = None;
    }
}

/// Ends a task when dropped.
pub(crate) struct Task(JoinHandle<()>);

impl Task {
    pub(crate) fn spawn(work: impl Future<Output = ()> + Send + 'static) -> Self {
        Self(tokio::spawn(work))
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}
