//! The life of a server process: database, ports, ready, serving, drain, end.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

use crate::blob_store::{BlobStore, ObjectsError};
use crate::config::Config;
use crate::health;
use crate::listener::Listener;
use crate::orders;
use crate::password::PasswordError;
use crate::server::Server;
use crate::session::bell::Wish;
use crate::store::{LINGER, Store, StoreConfig, StoreError};
use crate::tls::{Tls, TlsError};

/// How long the database may take to answer at the start.
const DATABASE_TIME: Duration = Duration::from_secs(30);
/// Between two attempts to reach it.
const DATABASE_RETRY: Duration = Duration::from_millis(500);
/// Connections for ordinary verbs; appends and reads have their own.
const POOL_CONNECTIONS: usize = 8;
/// Between two looks whether the last session has left.
const DRAIN_LOOK: Duration = Duration::from_millis(50);
/// What closing the last sessions and writing the last cursors may take.
const END_TIME: Duration = Duration::from_secs(5);

/// Why a server did not start, or stopped unasked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RunError {
    /// Certificate or key cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// A port cannot be had.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// Which one.
        address: SocketAddr,
        /// The system's reason.
        source: io::Error,
    },
    /// The bus is none.
    #[error("{0}")]
    Bus(&'static str),
    /// The database did not answer in time.
    #[error("the database does not answer ({0}); check database_url and that Postgres runs")]
    DatabaseAway(String),
    /// The database is not the one that the configuration describes.
    #[error("{0}")]
    DatabaseTls(String),
    /// The database has another schema.
    #[error("{0}: run `sotto-server migrate`")]
    Schema(String),
    /// The database holds what it must not.
    #[error("{0}")]
    Database(String),
    /// The object store cannot be used.
    #[error(transparent)]
    Objects(#[from] ObjectsError),
    /// The password workers cannot be started.
    #[error(transparent)]
    Password(#[from] PasswordError),
    /// The ready file, a signal handler or the private port failed.
    #[error("{what}: {source}")]
    System {
        /// What failed.
        what: &'static str,
        /// The system's reason.
        source: io::Error,
    },
}

impl RunError {
    /// The exit code that stands for it.
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::Tls(_)
            | Self::Bus(_)
            | Self::DatabaseTls(_)
            | Self::Listen { .. }
            | Self::Objects(_) => 2,
            Self::DatabaseAway(_) => 69,
            Self::Schema(_) => 70,
            Self::Database(_) | Self::Password(_) | Self::System { .. } => 1,
        }
    }
}

fn system(what: &'static str) -> impl FnOnce(io::Error) -> RunError {
    move |source| RunError::System { what, source }
}

/// Serves until SIGTERM or SIGINT, then drains.
pub(crate) async fn run(config: Config) -> Result<(), RunError> {
    let tls = Arc::new(Tls::load(&config.tls_cert, &config.tls_key)?);
    if let Some(path) = &config.ready_file {
        // One that an earlier run left says nothing about this one.
        let _ = std::fs::remove_file(path);
    }
    let admin = TcpListener::bind(config.admin)
        .await
        .map_err(|source| RunError::Listen {
            address: config.admin,
            source,
        })?;
    let admin_address = admin.local_addr().map_err(system("the private port"))?;
    let store = open_store(&config).await?;
    let blobs = BlobStore::open(&config, store.clone())?;
    let server = Server::new(config, store, blobs)?;
    // Before the first login: what is ordered from here on concerns this server's sessions.
    let seen = first_order(&server).await?;
    let address = server.config.listen;
    let listener = Listener::bind(address, Arc::clone(&tls), Arc::clone(&server))
        .map_err(|source| RunError::Listen { address, source })?;
    let listen_address = listener
        .local_address()
        .map_err(system("the client port"))?;
    let mut terminate = signal(SignalKind::terminate()).map_err(system("signals"))?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(system("signals"))?;
    let accepting = tokio::spawn(listener.run());
    let mut admin_task = tokio::spawn(health::run(Arc::clone(&server), admin));
    let reloading = tokio::spawn(reload_on_hangup(tls));
    let obeying = tokio::spawn(orders::run(Arc::clone(&server), seen));
    let sweeping = tokio::spawn(Arc::clone(&server.blobs).sweep());
    if let Some(path) = &server.config.ready_file {
        write_ready_file(path, listen_address, admin_address).map_err(system("the ready file"))?;
    }
    tracing::info!(%listen_address, %admin_address, name = server.config.name, "serving");
    tell_supervisor(&sd_notify::NotifyState::Ready);
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
        ended = &mut admin_task => {
            let reason = ended.map_err(io::Error::other).and_then(|served| served);
            return Err(system("the private port")(reason.err().unwrap_or_else(|| io::Error::other("ended"))));
        }
    }
    obeying.abort();
    tell_supervisor(&sd_notify::NotifyState::Stopping);
    drain(&server, accepting).await;
    reloading.abort();
    sweeping.abort();
    admin_task.abort();
    Ok(())
}

/// Says how far the server is to whoever started it (`NOTIFY_SOCKET`, as systemd does); to nobody
/// where nobody asked.
fn tell_supervisor(state: &sd_notify::NotifyState<'_>) {
    if let Err(error) = sd_notify::notify(std::slice::from_ref(state)) {
        tracing::warn!(%error, ?state, "the supervisor was not told");
    }
}

/// Stops as clients would like it: no new ones, time to move, everything written.
async fn drain(server: &Arc<Server>, accepting: JoinHandle<()>) {
    tracing::info!("draining");
    accepting.abort();
    move_clients(server).await;
    wait_until_empty(server, END_TIME).await;
    match timeout(END_TIME, server.store.close()).await {
        Ok(Ok(())) => tracing::info!("stopped"),
        // What is lost are cursors: some envelopes are delivered again.
        Ok(Err(error)) => tracing::warn!(%error, "last cursors not written"),
        Err(_) => tracing::warn!("last cursors not written: the database did not answer"),
    }
}

/// Turns unready and sends the clients elsewhere, within the configured time.
pub(crate) async fn move_clients(server: &Server) {
    server.begin_draining();
    let time = server.config.drain();
    // Clients spread over the first half, so that the others have time to take them in.
    let within_ms = u32::try_from(time.as_millis() / 2).unwrap_or(u32::MAX);
    server.sessions.wish(Wish::Move { within_ms });
    wait_until_empty(server, time).await;
    if server.is_draining() {
        server.sessions.wish(Wish::Close);
    }
}

async fn wait_until_empty(server: &Server, limit: Duration) {
    let end = Instant::now() + limit;
    while server.sessions.count() > 0 && Instant::now() < end {
        sleep(DRAIN_LOOK).await;
    }
}

async fn reload_on_hangup(tls: Arc<Tls>) -> io::Result<()> {
    let mut hangup = signal(SignalKind::hangup())?;
    while hangup.recv().await.is_some() {
        match tls.reload() {
            Ok(()) => tracing::info!("certificate reloaded"),
            Err(error) => tracing::warn!(%error, "certificate not reloaded; the old one stays"),
        }
    }
    Ok(())
}

/// Opens the database, waiting for it to answer.
async fn open_store(config: &Config) -> Result<Store, RunError> {
    let began = Instant::now();
    if config.database().is_exposed() {
        tracing::warn!("the connection to Postgres is not encrypted; database_ca makes it so");
    }
    loop {
        let opened = Store::open(StoreConfig {
            database: config.database(),
            node_name: config.name.clone(),
            node_address: config.listen.to_string(),
            pool_connections: POOL_CONNECTIONS,
            retention: Duration::from_secs(u64::from(config.retention_days) * 24 * 3600),
            linger: LINGER,
            bus: config.bus_address().map_err(RunError::Bus)?,
        })
        .await;
        match opened {
            Ok(store) => return Ok(store),
            Err(StoreError::Unavailable(reason)) if began.elapsed() >= DATABASE_TIME => {
                return Err(RunError::DatabaseAway(reason));
            }
            Err(StoreError::Unavailable(_) | StoreError::Unknown) => sleep(DATABASE_RETRY).await,
            Err(StoreError::Tls(reason)) => return Err(RunError::DatabaseTls(reason)),
            Err(error @ StoreError::SchemaVersion { .. }) => {
                return Err(RunError::Schema(error.to_string()));
            }
            Err(error @ StoreError::Corrupt(_)) => {
                return Err(RunError::Database(error.to_string()));
            }
        }
    }
}

/// The operators' latest order, which is of no concern any more.
async fn first_order(server: &Server) -> Result<i64, RunError> {
    let latest = server.store.latest_order().await;
    latest.map_err(|error| RunError::DatabaseAway(error.to_string()))
}

#[derive(serde::Serialize)]
struct Ready {
    listen: SocketAddr,
    admin: SocketAddr,
}

/// Written beside and renamed, so that whoever waits for it never reads half of it.
fn write_ready_file(path: &Path, listen: SocketAddr, admin: SocketAddr) -> io::Result<()> {
    let text = serde_json::to_string(&Ready { listen, admin })?;
    let beside = path.with_extension("tmp");
    std::fs::write(&beside, text)?;
    std::fs::rename(&beside, path)
}
