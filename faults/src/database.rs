//! The database of a fault run: a cluster that can be killed, filled up, and followed by a
//! synchronous standby that takes its place.
//!
//! Two places, of which one is the primary; after a promotion the other one is empty and the next
//! standby is made there. Where the system lets us, a place is a small file system of its own.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use sotto_stack::postgres::{self, Binaries, Cluster, ClusterConfig, Durability, Install};
use sotto_stack::process::{self, DeathSignal, RunAs};
use sotto_stack::sql;

use crate::error::FaultsError;

/// The database's name.
pub(crate) const NAME: &str = "sotto";
/// Size of a place that can be filled up; its write-ahead log is kept small.
const PLACE_BYTES: u64 = 640 * 1024 * 1024;
/// Connections of servers, standbys and our own.
const CONNECTIONS_MAX: u32 = 200;
/// How long a standby may take to follow.
const FOLLOW_LIMIT: Duration = Duration::from_secs(60);
/// What is written at once to fill a disk.
const BALLAST: &[u8] = &[0; 64 * 1024];

/// Whether a place can be filled up without harm to others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bounds {
    /// It has a file system of its own.
    Own,
    /// It shares one.
    None,
}

/// The clusters.
#[derive(Debug)]
pub(crate) struct Database {
    binaries: Binaries,
    run_as: RunAs,
    places: [Place; 2],
    primary: usize,
}

#[derive(Debug)]
struct Place {
    home: PathBuf,
    bounds: Bounds,
    cluster: Option<Cluster>,
}

impl Place {
    fn make(home: PathBuf, bounds: Bounds) -> Result<Self, FaultsError> {
        fs::create_dir_all(&home).map_err(FaultsError::file(&home))?;
        let bounds = match bounds {
            Bounds::Own if mount(&home) => Bounds::Own,
            _ => Bounds::None,
        };
        Ok(Self {
            home,
            bounds,
            cluster: None,
        })
    }

    fn config(&self) -> ClusterConfig {
        ClusterConfig {
            home: self.home.clone(),
            socket_dir: self.home.join("s"),
            durability: Durability::Fast,
            death_signal: DeathSignal::Quit,
            connections_max: CONNECTIONS_MAX,
            port: None,
        }
    }

    fn ballast(&self) -> PathBuf {
        self.home.join("ballast")
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // Before its file system goes.
        self.cluster = None;
        if self.bounds == Bounds::Own {
            let _ = Command::new("umount")
                .args(["--lazy", "--"])
                .arg(&self.home)
                .stderr(Stdio::null())
                .status();
        }
    }
}

/// Puts a small file system of its own at a place; whether that was possible.
fn mount(home: &Path) -> bool {
    let size = format!("size={PLACE_BYTES},mode=0700");
    Command::new("mount")
        .args(["-t", "tmpfs", "-o", &size, "sotto-faults"])
        .arg(home)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

impl Database {
    /// Starts an empty one in `dir`.
    ///
    /// # Errors
    /// When there is no Postgres or it does not start.
    pub(crate) fn start(dir: &Path, bounds: Bounds) -> Result<Self, FaultsError> {
        let binaries = Binaries::find_or_install(Install::Allowed)?;
        let run_as = postgres::choose_user()?;
        let places = [
            Place::make(dir.join("a"), bounds)?,
            Place::make(dir.join("b"), bounds)?,
        ];
        let mut database = Self {
            binaries,
            run_as,
            places,
            primary: 0,
        };
        let cluster = database.open(0)?;
        let conf = cluster.data().join("postgresql.auto.conf");
        append(&conf, "max_wal_size = '64MB'\nmin_wal_size = '8MB'\n")?;
        database.places[0].cluster = Some(cluster);
        database.revive()?;
        sql::execute(
            &database.url("postgres"),
            &format!("CREATE DATABASE {NAME}"),
        )?;
        Ok(database)
    }

    fn open(&self, place: usize) -> Result<Cluster, FaultsError> {
        let config = self.places[place].config();
        let cluster = Cluster::open(self.binaries.clone(), self.run_as.clone(), config)?;
        Ok(cluster)
    }

    fn primary(&mut self) -> Option<&mut Cluster> {
        self.places[self.primary].cluster.as_mut()
    }

    /// The address of a database at the primary, past all links.
    pub(crate) fn url(&self, name: &str) -> String {
        let socket_dir = self.places[self.primary].config().socket_dir;
        format!(
            "postgresql:///{name}?host={}&user=sotto",
            socket_dir.display()
        )
    }

    /// The sockets of both places, whoever listens there.
    pub(crate) fn sockets(&self) -> [PathBuf; 2] {
        [0, 1].map(|place| {
            let dir = self.places[place].config().socket_dir;
            dir.join(".s.PGSQL.5432")
        })
    }

    /// Folders in which nothing in clear may lie.
    pub(crate) fn homes(&self) -> [&Path; 2] {
        [&self.places[0].home, &self.places[1].home]
    }

    /// Whether the disk can be filled up.
    pub(crate) fn bounds(&self) -> Bounds {
        self.places[self.primary].bounds
    }

    /// SIGKILL to the postmaster.
    pub(crate) fn kill(&mut self) {
        if let Some(cluster) = self.primary() {
            cluster.kill();
        }
    }

    /// Stops at once, as before a failing machine is switched off.
    pub(crate) fn stop_immediate(&mut self) {
        if let Some(cluster) = self.primary() {
            cluster.stop_immediate();
        }
    }

    /// Starts the primary where it does not run, and waits until it serves.
    ///
    /// # Errors
    /// When it does not come back.
    pub(crate) fn revive(&mut self) -> Result<(), FaultsError> {
        match self.primary() {
            Some(cluster) => Ok(cluster.start()?),
            None => Ok(()),
        }
    }

    /// Fills the primary's disk to the last byte.
    ///
    /// # Errors
    /// When it cannot be filled.
    pub(crate) fn fill(&self) -> Result<(), FaultsError> {
        let path = self.places[self.primary].ballast();
        let mut file = File::create(&path).map_err(FaultsError::file(&path))?;
        for _ in 0..=PLACE_BYTES / BALLAST.len() as u64 {
            match file.write_all(BALLAST) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::StorageFull => return Ok(()),
                Err(error) => return Err(FaultsError::file(&path)(error)),
            }
        }
        Ok(())
    }

    /// Makes room again.
    ///
    /// # Errors
    /// When the ballast does not go.
    pub(crate) fn empty(&self) -> Result<(), FaultsError> {
        let path = self.places[self.primary].ballast();
        fs::remove_file(&path).map_err(FaultsError::file(&path))
    }

    /// Makes a synchronous standby in the other place and waits until it has everything.
    ///
    /// # Errors
    /// When it does not follow.
    pub(crate) fn follow(&mut self) -> Result<(), FaultsError> {
        let other = 1 - self.primary;
        self.places[other].cluster = None;
        let config = self.places[other].config();
        let data = config.home.join("data");
        if data.exists() {
            fs::remove_dir_all(&data).map_err(FaultsError::file(&data))?;
        }
        fs::set_permissions(&config.home, fs::Permissions::from_mode(0o700))
            .and_then(|()| self.run_as.own(&config.home))
            .map_err(FaultsError::file(&config.home))?;
        self.copy_to(&data)?;
        // Made standby by the copy; it waits for nobody when it is promoted.
        let conf = data.join("postgresql.auto.conf");
        append(&conf, "synchronous_standby_names = ''\n")?;
        let mut cluster = self.open(other)?;
        cluster.start()?;
        self.places[other].cluster = Some(cluster);
        let url = self.url("postgres");
        sql::execute(&url, "ALTER SYSTEM SET synchronous_standby_names = '*'")?;
        sql::execute(&url, "SELECT pg_reload_conf()")?;
        let is_sync = || {
            let rows = sql::rows(&url, "SELECT sync_state FROM pg_stat_replication");
            rows.is_ok_and(|rows| rows.iter().any(|row| row[0].as_deref() == Some("sync")))
        };
        match process::wait_until(FOLLOW_LIMIT, is_sync) {
            true => Ok(()),
            false => Err(FaultsError::TimedOut("the standby to follow".to_owned())),
        }
    }

    fn copy_to(&self, data: &Path) -> Result<(), FaultsError> {
        let mut copy = Command::new(self.binaries.program("pg_basebackup"));
        copy.args(["--write-recovery-conf", "--checkpoint=fast", "--no-sync"])
            .args(["--dbname", &self.url("postgres"), "--pgdata"])
            .arg(data)
            .current_dir("/")
            .stdin(Stdio::null());
        self.run_as.apply(&mut copy);
        let output = copy
            .output()
            .map_err(FaultsError::system("copying the database"))?;
        if output.status.success() {
            return Ok(());
        }
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        Err(FaultsError::system("pg_basebackup")(io::Error::other(said)))
    }

    /// The primary dies with SIGKILL, and its standby takes its place.
    ///
    /// # Errors
    /// When it cannot be promoted.
    pub(crate) fn promote(&mut self) -> Result<(), FaultsError> {
        self.kill();
        self.places[self.primary].cluster = None;
        self.primary = 1 - self.primary;
        sql::execute(&self.url("postgres"), "SELECT pg_promote()")?;
        Ok(())
    }
}

fn append(path: &Path, text: &str) -> Result<(), FaultsError> {
    let mut file = File::options()
        .append(true)
        .open(path)
        .map_err(FaultsError::file(path))?;
    file.write_all(text.as_bytes())
        .map_err(FaultsError::file(path))
}
