//! What runs where, written for `status`, `down`, scripts and tests.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::files::{self, Access};

/// How far a deployment has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// Not everything is ready yet.
    Starting,
    /// Clients can connect.
    Ready,
    /// On the way down.
    Stopping,
    /// Nothing runs.
    Stopped,
}

/// What a process is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// The database.
    Postgres,
    /// A server.
    Server,
    /// The balancer.
    Balancer,
}

/// One process of a deployment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessState {
    /// `postgres`, `s1`, `s2`, …, `balancer`.
    pub name: String,
    /// What it is for.
    pub kind: Kind,
    /// Its process id; absent while it does not run.
    pub pid: Option<u32>,
    /// Where it is reached: an address, or the folder of a socket.
    pub address: String,
    /// Health, status and metrics over HTTP.
    pub admin: Option<SocketAddr>,
    /// How often it was started again after it had ended by itself.
    pub restarts: u32,
    /// What it prints.
    pub log: PathBuf,
}

/// A whole deployment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// How far it has come.
    pub phase: Phase,
    /// The process that started it and watches it.
    pub launcher_pid: u32,
    /// Where clients connect.
    pub server: SocketAddr,
    /// What clients must trust.
    pub ca: PathBuf,
    /// The database.
    pub database_url: String,
    /// What runs, in the order of starting.
    pub processes: Vec<ProcessState>,
}

impl State {
    /// Reads the file; `None` when there was never a deployment.
    ///
    /// # Errors
    /// Fails when the file cannot be read or was not written by this version.
    pub fn load(path: &Path) -> io::Result<Option<Self>> {
        match std::fs::read_to_string(path) {
            Ok(text) => serde_json::from_str(&text)
                .map(Some)
                .map_err(|error| files::naming(path, io::Error::other(error))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(files::naming(path, error)),
        }
    }

    pub(crate) fn save(&self, path: &Path) -> io::Result<()> {
        files::write(path, &serde_json::to_string_pretty(self)?, Access::Private)
    }
}
