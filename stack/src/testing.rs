//! Private clusters and databases for tests, of this workspace only.
//!
//! A test process has one shared cluster, and each test a database of its own in it. `initdb`
//! runs once per machine and its result is copied, so a cluster starts in well under a second.
//! When the test process dies, by whatever cause, its clusters die with it; the folders that they
//! leave are removed by the next test process. Nothing here is for real data: commits of a fast
//! cluster do not wait for the disk.

use std::fs::{self, DirBuilder, File, TryLockError};
use std::future::Future;
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use crate::postgres::{self, Binaries, Cluster, ClusterConfig, Durability, Install, PostgresError};
use crate::process::{DeathSignal, RunAs};
use crate::sql::{self, SqlError};

/// Connections of a test cluster: many tests with a pool each run side by side.
const CONNECTIONS_MAX: u32 = 400;

/// Held while a cluster's folder is set up. Not named `*.lock`: it belongs to no folder.
const SETUP_LOCK: &str = "setup";

/// Why a test has no database.
#[derive(Debug, thiserror::Error)]
pub enum TestingError {
    /// The cluster is not there.
    #[error(transparent)]
    Postgres(#[from] PostgresError),
    /// The cluster refused a statement.
    #[error(transparent)]
    Sql(#[from] SqlError),
    /// A file of the test clusters' common folder could not be used.
    #[error("test clusters: {0}")]
    File(#[from] io::Error),
    /// What the caller wanted done to a template failed.
    #[error("preparing the template {name}: {reason}")]
    Prepare {
        /// The template.
        name: String,
        /// The caller's error.
        reason: String,
    },
}

/// A private cluster of this test process.
#[derive(Debug)]
pub struct TestCluster {
    cluster: Mutex<Cluster>,
    home: PathBuf,
    urls_for: UrlTemplate,
    databases: AtomicU32,
    templates: Mutex<Vec<String>>,
    /// Held for as long as the folder is in use; the next test process removes unlocked folders.
    _lock: File,
}

/// The address of a database with its name left open, so that asking needs no lock.
#[derive(Debug)]
struct UrlTemplate(String);

impl UrlTemplate {
    const NAME: &'static str = "sotto-name";

    fn of(cluster: &Cluster) -> Self {
        Self(cluster.url(Self::NAME))
    }

    fn url(&self, database: &str) -> String {
        self.0.replace(Self::NAME, database)
    }
}

impl TestCluster {
    /// The cluster that all tests of this process share; started by the first that asks. It is
    /// fast ([`Durability::Fast`]) and must not be stopped: tests that break things start their
    /// own.
    ///
    /// # Panics
    /// When there is no Postgres on this machine or it does not start: a test has nobody to give
    /// an error to.
    #[expect(
        clippy::panic,
        reason = "a test harness ends the test when its database is missing"
    )]
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<TestCluster> = OnceLock::new();
        SHARED.get_or_init(|| match Self::launch(Durability::Fast) {
            Ok(cluster) => cluster,
            Err(error) => panic!("no test cluster: {error}"),
        })
    }

    /// A cluster for one test, which may stop, kill and start it. Removed when dropped.
    ///
    /// # Errors
    /// Fails when there is no Postgres on this machine or it does not start.
    pub fn launch(durability: Durability) -> Result<Self, TestingError> {
        Self::launch_with(durability, None)
    }

    /// The same, with a port on 127.0.0.1 and 127.0.0.2 beside its socket.
    ///
    /// # Errors
    /// As [`TestCluster::launch`]; also when somebody takes the port meanwhile.
    pub fn launch_on_port(durability: Durability, port: u16) -> Result<Self, TestingError> {
        Self::launch_with(durability, Some(port))
    }

    fn launch_with(durability: Durability, port: Option<u16>) -> Result<Self, TestingError> {
        let run_as = postgres::choose_user()?;
        let binaries = Binaries::find_or_install(Install::Allowed)?;
        let root = common_folder(&run_as)?;
        // One at a time: between making a lock file and locking it, it looks abandoned.
        let setup = File::create(root.join(SETUP_LOCK))?;
        setup.lock()?;
        remove_stale(&root);
        let template = template_data(&root, &binaries, &run_as)?;
        let (home, lock) = claim_folder(&root)?;
        drop(setup);
        fs::set_permissions(&home, fs::Permissions::from_mode(0o700))?;
        run_as.own(&home)?;
        copy_data(&template, &home.join("data"), &run_as)?;
        let config = ClusterConfig {
            port,
            socket_dir: home.join("s"),
            home: home.clone(),
            durability,
            death_signal: DeathSignal::Quit,
            connections_max: CONNECTIONS_MAX,
        };
        let mut cluster = Cluster::open(binaries, run_as, config)?;
        cluster.start()?;
        Ok(Self {
            urls_for: UrlTemplate::of(&cluster),
            cluster: Mutex::new(cluster),
            home,
            databases: AtomicU32::new(0),
            templates: Mutex::new(Vec::new()),
            _lock: lock,
        })
    }

    /// A new, empty database.
    ///
    /// # Errors
    /// Fails when the cluster does not answer.
    pub fn create_database(&self) -> Result<TestDatabase, TestingError> {
        self.create_copy_of("template1")
    }

    /// A new database that is a copy of a template, which `prepare` fills the first time that the
    /// name is used in this cluster (typically with the migrations). `prepare` receives the
    /// template's address and runs on a runtime of its own; it must close its connections.
    ///
    /// # Errors
    /// Fails when `prepare` fails or the cluster does not answer.
    pub fn create_prepared<F, Fut, E>(
        &self,
        template: &str,
        prepare: F,
    ) -> Result<TestDatabase, TestingError>
    where
        F: FnOnce(String) -> Fut + Send,
        Fut: Future<Output = Result<(), E>>,
        E: std::fmt::Display + Send,
    {
        {
            // Held while preparing: tests of one process all want the same template first.
            let mut templates = self
                .templates
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            if !templates.iter().any(|known| known == template) {
                let quoted = quote(template);
                self.admin(&format!("DROP DATABASE IF EXISTS {quoted} WITH (FORCE)"))?;
                self.admin(&format!("CREATE DATABASE {quoted}"))?;
                let url = self.urls_for.url(template);
                sql::block_on(|| prepare(url))?.map_err(|error| TestingError::Prepare {
                    name: template.to_owned(),
                    reason: error.to_string(),
                })?;
                templates.push(template.to_owned());
            }
        }
        self.create_copy_of(template)
    }

    fn create_copy_of(&self, template: &str) -> Result<TestDatabase, TestingError> {
        let number = self.databases.fetch_add(1, Ordering::Relaxed);
        let name = format!("test_{number}");
        self.admin(&format!(
            "CREATE DATABASE {name} TEMPLATE {}",
            quote(template)
        ))?;
        Ok(TestDatabase {
            url: self.urls_for.url(&name),
            admin_url: self.urls_for.url("postgres"),
            name,
        })
    }

    fn admin(&self, statement: &str) -> Result<(), SqlError> {
        sql::execute(&self.urls_for.url("postgres"), statement)
    }

    fn cluster(&self) -> MutexGuard<'_, Cluster> {
        self.cluster.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Stops at once (SIGQUIT), as a failing machine would.
    pub fn stop_immediate(&self) {
        self.cluster().stop_immediate();
    }

    /// Kills the postmaster with SIGKILL; its backends notice and end by themselves.
    pub fn kill9(&self) {
        self.cluster().kill();
    }

    /// Starts again after a stop or a kill, and waits until connections are accepted.
    ///
    /// # Errors
    /// Fails when Postgres does not come back.
    pub fn start(&self) -> Result<(), TestingError> {
        Ok(self.cluster().start()?)
    }

    /// Stops at once and starts again.
    ///
    /// # Errors
    /// Fails when Postgres does not come back.
    pub fn restart_immediate(&self) -> Result<(), TestingError> {
        let mut cluster = self.cluster();
        cluster.stop_immediate();
        Ok(cluster.start()?)
    }

    /// The data directory, for tests that look for what must not be in it.
    #[must_use]
    pub fn data(&self) -> PathBuf {
        self.cluster().data()
    }
}

impl Drop for TestCluster {
    fn drop(&mut self) {
        self.cluster().stop_immediate();
        // What stays is removed by the next test process.
        let _ = fs::remove_dir_all(&self.home);
    }
}

/// A database of one test; dropped with its connections when the value is.
#[derive(Debug)]
pub struct TestDatabase {
    url: String,
    admin_url: String,
    name: String,
}

impl TestDatabase {
    /// The address, `postgresql:///NAME?host=SOCKET&user=sotto`.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The name, unique in its cluster.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl Drop for TestDatabase {
    fn drop(&mut self) {
        // The cluster may be stopped by the test; then the folder goes as a whole.
        let _ = sql::execute(
            &self.admin_url,
            &format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", quote(&self.name)),
        );
    }
}

fn quote(identifier: &str) -> String {
    format!("\"{}\"", identifier.replace('"', "\"\""))
}

/// The folder of all test clusters of this user: under the temporary directory, not under the
/// build folder, because the Postgres user must be able to enter it and socket paths are short.
fn common_folder(run_as: &RunAs) -> Result<PathBuf, TestingError> {
    let uid = rustix::process::geteuid().as_raw();
    let name = format!("sotto-test-{uid}");
    let temporary = std::env::temp_dir();
    let short = temporary.as_os_str().len() <= 40 && postgres::can_traverse(run_as, &temporary);
    let root = if short {
        temporary.join(name)
    } else {
        Path::new("/tmp").join(name)
    };
    match DirBuilder::new().mode(0o711).create(&root) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(error.into()),
    }
    let meta = fs::symlink_metadata(&root)?;
    // The name is known to everybody on the machine: somebody else may have made it first.
    if !meta.is_dir() || meta.uid() != uid || meta.permissions().mode() & 0o022 != 0 {
        return Err(io::Error::other(format!("{} is not ours", root.display())).into());
    }
    Ok(root)
}

/// A fresh numbered folder in `root` and the lock that marks it as in use.
fn claim_folder(root: &Path) -> Result<(PathBuf, File), TestingError> {
    const ATTEMPTS_MAX: u32 = 1_000;
    let pid = std::process::id();
    for number in 0..ATTEMPTS_MAX {
        let name = format!("c{pid}-{number}");
        // The lock comes first, so that nobody ever sees the folder without its lock held.
        let lock = File::create(root.join(format!("{name}.lock")))?;
        if lock.try_lock().is_err() {
            continue;
        }
        let home = root.join(&name);
        match DirBuilder::new().mode(0o700).create(&home) {
            Ok(()) => return Ok((home, lock)),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                if number + 1 == ATTEMPTS_MAX {
                    return Err(error.into());
                }
            }
            Err(error) => return Err(error.into()),
        }
    }
    Err(io::Error::other("no free folder for a test cluster").into())
}

/// Removes the folders of test processes that are gone. Failures are left to the next one.
fn remove_stale(root: &Path) {
    let Ok(entries) = root.read_dir() else { return };
    for entry in entries.filter_map(Result::ok) {
        let path = entry.path();
        if path.extension().is_none_or(|extension| extension != "lock") {
            continue;
        }
        let Ok(lock) = File::open(&path) else {
            continue;
        };
        if matches!(lock.try_lock(), Err(TryLockError::WouldBlock)) {
            continue;
        }
        let _ = fs::remove_dir_all(path.with_extension(""));
        let _ = fs::remove_file(&path);
    }
}

/// The data directory that new clusters are copied from; made by the first who needs it.
fn template_data(
    root: &Path,
    binaries: &Binaries,
    run_as: &RunAs,
) -> Result<PathBuf, TestingError> {
    let home = root.join(format!("template-{}", binaries.major()));
    let config = ClusterConfig {
        port: None,
        socket_dir: home.join("s"),
        home: home.clone(),
        durability: Durability::Fast,
        death_signal: DeathSignal::Quit,
        connections_max: CONNECTIONS_MAX,
    };
    let complete = home.join("complete");
    if !complete.exists() && home.exists() {
        fs::remove_dir_all(&home)?;
    }
    let cluster = Cluster::open(binaries.clone(), run_as.clone(), config)?;
    File::create(complete)?;
    Ok(cluster.data())
}

fn copy_data(from: &Path, to: &Path, run_as: &RunAs) -> Result<(), TestingError> {
    let mut command = Command::new("cp");
    command
        .arg("-Rp")
        .arg(from)
        .arg(to)
        .current_dir("/")
        .stdin(Stdio::null());
    run_as.apply(&mut command);
    let output = command.output()?;
    if output.status.success() {
        return Ok(());
    }
    Err(io::Error::other(String::from_utf8_lossy(&output.stderr).into_owned()).into())
}
