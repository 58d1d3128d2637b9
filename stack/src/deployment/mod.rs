//! A whole deployment on this machine: Postgres, servers, a balancer, and whoever watches them.
//!
//! Every part is a real process of its own, the same program as in production with a
//! configuration file of its own; only the certificates and the private Postgres are for
//! development. Listens on loopback only. Two deployments in different folders share nothing.

mod config;
mod database;
pub mod http;
mod launch;
mod layout;
mod managed;
pub mod ports;
mod state;
mod watch;

use std::fs::File;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

pub use database::{DatabaseError, DatabaseSource};
pub use layout::Layout;
pub use ports::PublicPort;
pub use state::{Kind, Phase, ProcessState, State};
pub use watch::Notice;

use crate::certs::{CertError, Certificates};
use config::{Ports, Settings};
use database::Database;
pub(crate) use launch::quote;
use managed::Managed;

/// The name of the balancer's process.
pub const BALANCER: &str = "balancer";

/// The name of the private database's process.
pub const POSTGRES: &str = "postgres";

/// The most servers of one deployment.
pub const SERVERS_MAX: u16 = 32;

/// A wish to give up starting, which may come from another thread.
#[derive(Clone, Debug, Default)]
pub struct Cancel(Arc<AtomicBool>);

impl Cancel {
    /// Makes the start that was given this value, or a clone of it, end soon and clean up.
    pub fn cancel(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    pub(crate) fn check(&self) -> Result<(), DeploymentError> {
        if self.0.load(Ordering::Relaxed) {
            Err(DeploymentError::Cancelled)
        } else {
            Ok(())
        }
    }
}

/// What to start and where.
#[derive(Clone, Debug)]
pub struct Options {
    /// The deployment's folder; made if it does not exist.
    pub dir: PathBuf,
    /// The `sotto` program, which becomes the servers and the balancer.
    pub program: PathBuf,
    /// How many servers, 1 to [`SERVERS_MAX`].
    pub servers: u16,
    /// Where clients connect.
    pub port: PublicPort,
    /// Where the database comes from.
    pub database: DatabaseSource,
    /// How to give up while it starts.
    pub cancel: Cancel,
}

/// Why a deployment does not run.
#[derive(Debug, thiserror::Error)]
pub enum DeploymentError {
    /// Another launcher has the folder.
    #[error("{} is already running (process {pid}); `sotto down --dir {}` stops it", .dir.display(), .dir.display())]
    AlreadyRunning {
        /// The folder.
        dir: PathBuf,
        /// The launcher's process id.
        pid: u32,
    },
    /// The number of servers makes no sense.
    #[error("between 1 and {SERVERS_MAX} servers are possible")]
    ServerCount,
    /// The wanted port, or every candidate, is taken.
    #[error("no free port: {wish}")]
    NoPort {
        /// What was looked for.
        wish: String,
    },
    /// No database.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// No certificates.
    #[error(transparent)]
    Certificates(#[from] CertError),
    /// A program failed or did not become ready.
    #[error("{name} {what}; the end of {}:\n{tail}", .log.display())]
    Process {
        /// Which process.
        name: String,
        /// What happened.
        what: String,
        /// Where to read more.
        log: PathBuf,
        /// The last lines of its log.
        tail: String,
    },
    /// Somebody asked to give up.
    #[error("interrupted while starting")]
    Cancelled,
    /// No process of that name.
    #[error("there is no process called {0}")]
    UnknownProcess(String),
    /// A file or a process could not be handled.
    #[error(transparent)]
    System(#[from] io::Error),
}

/// A running deployment; stopped when dropped.
#[derive(Debug)]
pub struct Deployment {
    layout: Layout,
    options: Options,
    settings: Settings,
    database: Database,
    certificates: Certificates,
    public: Ports,
    /// In the order of starting: servers, then the balancer.
    processes: Vec<Managed>,
    /// Processes that were started again and have not been ready since.
    returning: Vec<String>,
    postgres_restarts: u32,
    /// When a Postgres that did not come back is tried again.
    postgres_start_at: Option<Instant>,
    phase: Phase,
    /// Held so that no other launcher takes a port while its owner is being started again.
    _leases: Vec<ports::Lease>,
    /// Held until everything has stopped.
    _lock: File,
}

impl Deployment {
    /// Where the files lie.
    #[must_use]
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Where clients connect: the balancer.
    #[must_use]
    pub fn server(&self) -> SocketAddr {
        self.public.listen_address()
    }

    /// The certificate that clients must trust.
    #[must_use]
    pub fn ca(&self) -> &std::path::Path {
        &self.certificates.ca
    }

    /// The database's address.
    #[must_use]
    pub fn database_url(&self) -> &str {
        self.database.url()
    }

    /// Where the private Postgres keeps its data; `None` with somebody else's database.
    #[must_use]
    pub fn postgres_data(&self) -> Option<PathBuf> {
        match &self.database {
            Database::Private { cluster, .. } => Some(cluster.data()),
            Database::External { .. } => None,
        }
    }

    /// What runs where, now.
    #[must_use]
    pub fn state(&self) -> State {
        let postgres = match &self.database {
            Database::Private { cluster, .. } => Some(ProcessState {
                name: POSTGRES.to_owned(),
                kind: Kind::Postgres,
                pid: cluster.pid(),
                address: cluster.socket_dir().display().to_string(),
                admin: None,
                restarts: self.postgres_restarts,
                log: cluster.log(),
            }),
            Database::External { .. } => None,
        };
        State {
            phase: self.phase,
            launcher_pid: std::process::id(),
            server: self.server(),
            ca: self.certificates.ca.clone(),
            database_url: self.database_url().to_owned(),
            processes: postgres
                .into_iter()
                .chain(self.processes.iter().map(Managed::state))
                .collect(),
        }
    }

    /// How many clients are connected to a server, by what the server says.
    ///
    /// # Errors
    /// Fails when there is no such process or it does not answer.
    pub fn sessions(&self, name: &str) -> Result<u64, DeploymentError> {
        let process = self.process(name)?;
        Ok(sessions_at(process.spec().admin)?)
    }

    fn process(&self, name: &str) -> Result<&Managed, DeploymentError> {
        let known = self
            .processes
            .iter()
            .find(|process| process.spec().name == name);
        known.ok_or_else(|| DeploymentError::UnknownProcess(name.to_owned()))
    }

    fn process_mut(&mut self, name: &str) -> Result<&mut Managed, DeploymentError> {
        let known = self
            .processes
            .iter_mut()
            .find(|process| process.spec().name == name);
        known.ok_or_else(|| DeploymentError::UnknownProcess(name.to_owned()))
    }
}

/// The number of sessions in a server's `/status.json`.
pub(crate) fn sessions_at(admin: SocketAddr) -> io::Result<u64> {
    let answer = http::get(admin, "/status.json")?;
    let value: serde_json::Value = serde_json::from_str(&answer.body)?;
    let sessions = value.get("sessions").and_then(serde_json::Value::as_u64);
    sessions.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "no number of sessions"))
}
