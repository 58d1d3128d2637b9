//! The database of a deployment: a private cluster of its own, or one that somebody else runs.

use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use super::config::Settings;
use super::layout::Layout;
use crate::files::{self, Access};
use crate::postgres::{
    self, Binaries, Cluster, ClusterConfig, Durability, Install, PostgresError, SUPERUSER,
};
use crate::process::{DeathSignal, RunAs};
use crate::sql::{self, SqlError};

/// The name of the database in a private cluster.
const DATABASE: &str = "sotto";

/// Marks addresses of private clusters, which must not be taken for somebody's own database when
/// they come back through the environment of a shell that sourced `DIR/env`.
const MARK: &str = "&application_name=sotto-private";

/// Root's place for clusters whose deployment lies where the Postgres user cannot go.
const ROOT_FALLBACK: &str = "/var/lib/sotto-up";

const CONNECTIONS_MAX: u32 = 200;

/// A home longer than this puts the socket elsewhere: socket paths end at 107 bytes.
const SOCKET_HOME_MAX: usize = 75;

/// Where the database comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DatabaseSource {
    /// A private cluster in the deployment's folder.
    Private {
        /// Whether missing programs may be installed.
        install: Install,
        /// Whether commits wait for the disk.
        durability: Durability,
    },
    /// Somebody else's, by address.
    External(String),
}

impl DatabaseSource {
    /// What `SOTTO_DATABASE_URL` asks for, or a private cluster.
    #[must_use]
    pub fn from_environment(install: Install) -> Self {
        match std::env::var("SOTTO_DATABASE_URL") {
            Ok(url) if !url.is_empty() && !url.contains(MARK) => Self::External(url),
            _ => Self::Private {
                install,
                durability: Durability::Durable,
            },
        }
    }
}

/// Why there is no database.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    /// The private cluster does not run.
    #[error(transparent)]
    Postgres(#[from] PostgresError),
    /// The database does not answer.
    #[error(transparent)]
    Sql(#[from] SqlError),
    /// A folder could not be made.
    #[error("preparing the place for Postgres: {0}")]
    File(#[from] io::Error),
}

/// A database that answers.
#[derive(Debug)]
pub(crate) enum Database {
    Private { cluster: Box<Cluster>, url: String },
    External { url: String },
}

impl Database {
    pub(crate) fn url(&self) -> &str {
        match self {
            Self::Private { url, .. } | Self::External { url } => url,
        }
    }

    /// Starts the private cluster or tries the other one.
    pub(crate) fn start(
        source: &DatabaseSource,
        layout: &Layout,
        settings: &mut Settings,
    ) -> Result<Self, DatabaseError> {
        match source {
            DatabaseSource::External(url) => {
                sql::execute(url, "SELECT 1")?;
                Ok(Self::External { url: url.clone() })
            }
            DatabaseSource::Private {
                install,
                durability,
            } => start_private(*install, *durability, layout, settings),
        }
    }
}

fn start_private(
    install: Install,
    durability: Durability,
    layout: &Layout,
    settings: &mut Settings,
) -> Result<Database, DatabaseError> {
    let binaries = Binaries::find_or_install(install)?;
    let run_as = postgres::choose_user()?;
    let home = match &settings.postgres_home {
        Some(home) if home.is_dir() => home.clone(),
        _ => place(layout.dir(), &run_as)?,
    };
    settings.postgres_home = Some(home.clone());
    let config = ClusterConfig {
        port: None,
        socket_dir: socket_dir(&home),
        home,
        durability,
        death_signal: DeathSignal::Interrupt,
        connections_max: CONNECTIONS_MAX,
    };
    let mut cluster = Cluster::open(binaries, run_as, config)?;
    cluster.start()?;
    let exists = format!("SELECT 1 FROM pg_database WHERE datname = '{DATABASE}'");
    if sql::rows(&cluster.url("postgres"), &exists)?.is_empty() {
        let create = format!("CREATE DATABASE {DATABASE} OWNER {SUPERUSER}");
        sql::execute(&cluster.url("postgres"), &create)?;
    }
    let url = format!("{}{MARK}", cluster.url(DATABASE));
    Ok(Database::Private {
        cluster: Box::new(cluster),
        url,
    })
}

/// Below the deployment's folder, or where the Postgres user can go if that is closed to it.
fn place(dir: &Path, run_as: &RunAs) -> io::Result<PathBuf> {
    if postgres::can_traverse(run_as, dir) {
        return Ok(dir.join("postgres"));
    }
    let temporary = std::env::temp_dir();
    if dir.starts_with(&temporary) && postgres::can_traverse(run_as, &temporary) {
        let parent = temporary.join("sotto-up");
        own_dir(&parent)?;
        remove_orphans(&parent);
        return place_in(&parent, dir);
    }
    let parent = Path::new(ROOT_FALLBACK);
    own_dir(parent)?;
    place_in(parent, dir)
}

/// A folder that others may pass through and only we may change.
fn own_dir(path: &Path) -> io::Result<()> {
    match DirBuilder::new().mode(0o711).create(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            return Err(files::naming(path, error));
        }
        _ => {}
    }
    let meta = std::fs::symlink_metadata(path)?;
    if meta.is_dir() && meta.uid() == rustix::process::geteuid().as_raw() {
        return Ok(());
    }
    Err(io::Error::other(format!(
        "{} belongs to somebody else",
        path.display()
    )))
}

/// A place named after the deployment, with a note of whose it is.
fn place_in(parent: &Path, dir: &Path) -> io::Result<PathBuf> {
    let home = parent.join(path_hash(dir));
    files::write(
        &owner_note(&home),
        &dir.display().to_string(),
        Access::Private,
    )?;
    Ok(home)
}

fn owner_note(home: &Path) -> PathBuf {
    home.with_extension("deployment")
}

/// Removes what deployments left in the temporary folder whose own folder is gone: nobody can
/// start them again. Failures are left to the next time.
fn remove_orphans(parent: &Path) {
    let Ok(entries) = parent.read_dir() else {
        return;
    };
    for note in entries.filter_map(Result::ok).map(|entry| entry.path()) {
        if note
            .extension()
            .is_none_or(|extension| extension != "deployment")
        {
            continue;
        }
        let Ok(dir) = std::fs::read_to_string(&note) else {
            continue;
        };
        if matches!(Path::new(&dir).try_exists(), Ok(false)) {
            let _ = std::fs::remove_dir_all(note.with_extension(""));
            let _ = std::fs::remove_file(&note);
        }
    }
}

/// Beside the data, or under a short name when that path is too long for a socket.
fn socket_dir(home: &Path) -> PathBuf {
    if home.as_os_str().len() <= SOCKET_HOME_MAX {
        return home.join("socket");
    }
    let uid = rustix::process::geteuid().as_raw();
    Path::new("/tmp").join(format!("sotto-{uid}-{}", path_hash(home)))
}

/// A short name for a path, the same in every version (64-bit FNV-1a); not a secret.
fn path_hash(path: &Path) -> String {
    let bytes = path.as_os_str().as_encoded_bytes();
    let hash = bytes.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    format!("{hash:016x}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn socket_paths_fit() {
        let long = Path::new("/home").join("x".repeat(150)).join("postgres");
        assert!(socket_dir(&long).as_os_str().len() < 60);
        assert_eq!(
            socket_dir(Path::new("/a/postgres")),
            Path::new("/a/postgres/socket")
        );
    }

    #[test]
    fn what_vanished_deployments_left_is_removed() {
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path().join("deployment");
        std::fs::create_dir(&dir).unwrap();
        let home = place_in(folder.path(), &dir).unwrap();
        std::fs::create_dir(&home).unwrap();
        remove_orphans(folder.path());
        assert!(home.exists());
        std::fs::remove_dir(&dir).unwrap();
        remove_orphans(folder.path());
        assert!(!home.exists() && !owner_note(&home).exists());
    }

    #[test]
    fn path_hashes_are_stable() {
        assert_eq!(path_hash(Path::new("")), "cbf29ce484222325");
        assert_eq!(path_hash(Path::new("a")), "af63dc4c8601ec8c");
    }
}
