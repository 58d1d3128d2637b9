//! A private Postgres cluster: created, started, watched and stopped by us.
//!
//! It listens on a Unix socket in a directory that only its own user may enter, so no password is
//! needed and no port is taken; it never runs as root; it dies with the process that started it.
//! It refuses to start on a data directory of another major version or one in use.
//!
//! | state | `start` | `stop` | `kill` |
//! |---|---|---|---|
//! | stopped | starts | nothing | nothing |
//! | running | nothing | stops | stops, without cleaning up |

mod binaries;
mod user;

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::Signal;

pub use binaries::{Binaries, Install, MAJOR_MIN};
pub use user::{can_traverse, choose as choose_user};

use crate::process::{self, DeathSignal, RunAs};

/// The name of the cluster's superuser, the only role that the socket lets in.
pub const SUPERUSER: &str = "sotto";

/// How long crash recovery and start-up may take.
const START_LIMIT: Duration = Duration::from_secs(60);

/// How long a shutdown may take before SIGKILL.
const STOP_LIMIT: Duration = Duration::from_secs(30);

/// The longest socket path that every system's `sockaddr_un` holds.
const SOCKET_PATH_MAX: usize = 103;

/// Start attempts after a crash: the old backends may need a moment to notice and let go of
/// shared memory.
const START_ATTEMPTS_MAX: u32 = 20;

/// Why there is no running cluster.
#[derive(Debug, thiserror::Error)]
pub enum PostgresError {
    /// No programs, and none could be installed.
    #[error(
        "no Postgres found. tried:\n{}\ntype: apt-get install postgresql (as root), or set \
         SOTTO_PG_BIN to the folder that holds initdb, or SOTTO_DATABASE_URL to a database",
        .tried.iter().map(|line| format!("  - {line}")).collect::<Vec<_>>().join("\n")
    )]
    NotFound {
        /// What was tried, one line each.
        tried: Vec<String>,
    },
    /// Root, but no unprivileged user to hand Postgres to.
    #[error("running as root, and neither user postgres nor nobody exists to run Postgres as")]
    NoUser,
    /// The directory was made by another major version.
    #[error("{} was made by Postgres {found}, but Postgres {ours} is installed; start with another directory or remove it", .data.display())]
    OtherVersion {
        /// The data directory.
        data: PathBuf,
        /// Its version.
        found: String,
        /// The version of the programs.
        ours: u32,
    },
    /// A program failed.
    #[error("{program} failed:\n{output}")]
    Failed {
        /// Which one.
        program: &'static str,
        /// The end of what it printed.
        output: String,
    },
    /// Not ready in time.
    #[error("Postgres was not ready within {} seconds; see {}", START_LIMIT.as_secs(), .log.display())]
    TimedOut {
        /// The log to look at.
        log: PathBuf,
    },
    /// The socket path does not fit.
    #[error("{} is too long a path for a socket", .0.display())]
    SocketPathTooLong(PathBuf),
    /// A file could not be read or written.
    #[error("{}: {source}", .path.display())]
    File {
        /// Which one.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
}

impl PostgresError {
    fn file(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::File { path, source }
    }
}

/// Whether commits wait for the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// As in production: every commit reaches the disk.
    Durable,
    /// For tests: survives a crash of Postgres, not of the machine.
    Fast,
}

/// Where a cluster lies and how it runs.
#[derive(Clone, Debug)]
pub struct ClusterConfig {
    /// The folder with `data/` and `postgres.log`; it belongs to the Postgres user.
    pub home: PathBuf,
    /// The folder for the socket; short, and entered by the Postgres user only.
    pub socket_dir: PathBuf,
    /// Whether commits wait for the disk.
    pub durability: Durability,
    /// What happens to it when this process dies.
    pub death_signal: DeathSignal,
    /// Connections that it accepts.
    pub connections_max: u32,
    /// A port on loopback beside the socket, where somebody wants one.
    pub port: Option<u16>,
}

/// A private cluster; stopped when dropped.
#[derive(Debug)]
pub struct Cluster {
    binaries: Binaries,
    run_as: RunAs,
    config: ClusterConfig,
    child: Option<Child>,
}

impl Cluster {
    /// Prepares the folders, and runs `initdb` if there is no data yet.
    ///
    /// # Errors
    /// Fails when a folder cannot be made, the socket path is too long, `initdb` fails or the data
    /// belongs to another major version.
    pub fn open(
        binaries: Binaries,
        run_as: RunAs,
        config: ClusterConfig,
    ) -> Result<Self, PostgresError> {
        if socket_file(&config.socket_dir).as_os_str().len() > SOCKET_PATH_MAX {
            return Err(PostgresError::SocketPathTooLong(config.socket_dir));
        }
        private_dir(&config.home, &run_as)?;
        private_dir(&config.socket_dir, &run_as)?;
        let cluster = Self {
            binaries,
            run_as,
            config,
            child: None,
        };
        if !cluster.data().join("PG_VERSION").exists() {
            cluster.init()?;
        }
        cluster.check_version()?;
        Ok(cluster)
    }

    /// The data directory.
    #[must_use]
    pub fn data(&self) -> PathBuf {
        self.config.home.join("data")
    }

    /// Where Postgres writes its log.
    #[must_use]
    pub fn log(&self) -> PathBuf {
        self.config.home.join("postgres.log")
    }

    /// The folder of the socket.
    #[must_use]
    pub fn socket_dir(&self) -> &Path {
        &self.config.socket_dir
    }

    /// The process id of the postmaster, if it was started and not stopped since.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// The address of a database in this cluster, for Sotto's programs and for `psql` alike.
    #[must_use]
    pub fn url(&self, database: &str) -> String {
        let socket_dir = self.config.socket_dir.display();
        let port = self.config.port.map(|port| format!("&port={port}"));
        let port = port.unwrap_or_default();
        format!("postgresql:///{database}?host={socket_dir}&user={SUPERUSER}{port}")
    }

    fn init(&self) -> Result<(), PostgresError> {
        let data = self.data();
        // A leftover without PG_VERSION is an initdb that was interrupted: nothing is in it.
        if data.exists() {
            fs::remove_dir_all(&data).map_err(PostgresError::file(&data))?;
        }
        let mut command = self.command("initdb");
        command.arg("--pgdata").arg(&data);
        command.args(["--auth=trust", "--encoding=UTF8", "--locale=C"]);
        command.arg(format!("--username={SUPERUSER}"));
        if self.config.durability == Durability::Fast {
            command.args(["--no-sync", "--wal-segsize=1"]);
        }
        run("initdb", command)
    }

    fn check_version(&self) -> Result<(), PostgresError> {
        let data = self.data();
        let file = data.join("PG_VERSION");
        let found = fs::read_to_string(&file).map_err(PostgresError::file(&file))?;
        if found.trim() == self.binaries.major().to_string() {
            return Ok(());
        }
        let found = found.trim().to_owned();
        Err(PostgresError::OtherVersion {
            data,
            found,
            ours: self.binaries.major(),
        })
    }

    /// A program of Postgres as its user, in a directory that this user may enter.
    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.binaries.program(program));
        command
            .current_dir("/")
            .env("TZ", "UTC")
            .stdin(Stdio::null());
        self.run_as.apply(&mut command);
        command
    }

    /// Starts Postgres and waits until it accepts connections.
    ///
    /// # Errors
    /// Fails when it exits at once, with the end of its log, or is not ready in time.
    pub fn start(&mut self) -> Result<(), PostgresError> {
        if self.is_running() {
            return Ok(());
        }
        let mut attempt = 1;
        loop {
            match self.start_once() {
                // Backends of a killed postmaster hold the shared memory for a moment.
                Err(PostgresError::Failed { output, .. })
                    if attempt < START_ATTEMPTS_MAX && output.contains("shared memory block") =>
                {
                    attempt += 1;
                    process::wait_until(Duration::from_millis(250), || false);
                }
                outcome => return outcome,
            }
        }
    }

    fn start_once(&mut self) -> Result<(), PostgresError> {
        let log = self.log();
        let file = File::create(&log).map_err(PostgresError::file(&log))?;
        let errors = file.try_clone().map_err(PostgresError::file(&log))?;
        let mut command =
            process::bound_command(&self.binaries.program("postgres"), self.config.death_signal);
        command
            .current_dir("/")
            .env("TZ", "UTC")
            .stdin(Stdio::null());
        command.stdout(file).stderr(errors);
        self.run_as.apply(&mut command);
        command.arg("-D").arg(self.data()).args(self.settings());
        let child = process::spawn(command).map_err(PostgresError::file(&log))?;
        let pid = child.id();
        let child = self.child.insert(child);

        let ready_file = self.config.home.join("data").join("postmaster.pid");
        let mut ended = false;
        let ready = process::wait_until(START_LIMIT, || {
            ended = !matches!(child.try_wait(), Ok(None));
            ended || fs::read_to_string(&ready_file).is_ok_and(|text| is_ready(&text, pid))
        });
        if ended {
            self.child = None;
            let output = tail(&fs::read_to_string(&log).unwrap_or_default());
            return Err(PostgresError::Failed {
                program: "postgres",
                output,
            });
        }
        if ready {
            Ok(())
        } else {
            Err(PostgresError::TimedOut { log })
        }
    }

    fn settings(&self) -> Vec<String> {
        let mut settings = vec![
            format!(
                "unix_socket_directories={}",
                self.config.socket_dir.display()
            ),
            "unix_socket_permissions=0700".to_owned(),
            format!("max_connections={}", self.config.connections_max),
            "shared_buffers=128MB".to_owned(),
            "logging_collector=off".to_owned(),
            "log_line_prefix=%m [%p] ".to_owned(),
            "timezone=UTC".to_owned(),
            "dynamic_shared_memory_type=mmap".to_owned(),
        ];
        settings.extend(match self.config.port {
            None => vec!["listen_addresses=".to_owned()],
            // The second has a name that no certificate has.
            Some(port) => vec![
                "listen_addresses=127.0.0.1,127.0.0.2".to_owned(),
                format!("port={port}"),
            ],
        });
        if self.config.durability == Durability::Fast {
            let fast = [
                "fsync=off",
                "full_page_writes=off",
                "autovacuum_naptime=10s",
            ];
            settings.extend(fast.map(str::to_owned));
        }
        settings
            .into_iter()
            .flat_map(|setting| ["-c".to_owned(), setting])
            .collect()
    }

    /// Whether the postmaster runs.
    pub fn is_running(&mut self) -> bool {
        self.child
            .as_mut()
            .is_some_and(|child| matches!(child.try_wait(), Ok(None)))
    }

    /// Stops in an orderly way: running transactions are rolled back, everything is written.
    pub fn stop(&mut self) {
        self.end(Signal::INT);
    }

    /// Stops at once, as after a crash: the next start recovers from the log.
    pub fn stop_immediate(&mut self) {
        self.end(Signal::QUIT);
    }

    /// Kills the postmaster with SIGKILL.
    pub fn kill(&mut self) {
        self.end(Signal::KILL);
    }

    fn end(&mut self, signal: Signal) {
        if let Some(mut child) = self.child.take() {
            // A child that cannot be waited for has been reaped: there is nothing left to end.
            let _ = process::stop(&mut child, signal, STOP_LIMIT);
        }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Makes a directory that only `owner` may enter. An existing one must be a real directory that
/// belongs to us or to `owner` already: in `/tmp` somebody else may have put something there.
fn private_dir(path: &Path, owner: &RunAs) -> Result<(), PostgresError> {
    let created = DirBuilder::new().mode(0o700).create(path);
    if let Err(error) = created {
        let meta = fs::symlink_metadata(path).map_err(PostgresError::file(path))?;
        let me = rustix::process::geteuid().as_raw();
        let is_ours = match owner {
            RunAs::Myself => meta.uid() == me,
            RunAs::Other { uid, .. } => meta.uid() == me || meta.uid() == *uid,
        };
        if !meta.is_dir() || !is_ours {
            return Err(PostgresError::file(path)(error));
        }
    }
    owner.own(path).map_err(PostgresError::file(path))
}

/// The path that Postgres gives its socket's lock file, the longest of the names it makes.
fn socket_file(folder: &Path) -> PathBuf {
    folder.join(".s.PGSQL.5432.lock")
}

/// Whether `postmaster.pid` says that the process `pid` accepts connections, as a standby does too.
fn is_ready(text: &str, pid: u32) -> bool {
    let mut lines = text.lines();
    let owner = lines.next().and_then(|line| line.trim().parse().ok());
    let serves = |line: &str| matches!(line.trim(), "ready" | "standby");
    owner == Some(pid) && lines.nth(6).is_some_and(serves)
}

fn run(program: &'static str, mut command: Command) -> Result<(), PostgresError> {
    let output = command
        .output()
        .map_err(PostgresError::file(Path::new(program)))?;
    if output.status.success() {
        return Ok(());
    }
    let text = String::from_utf8_lossy(&output.stderr);
    Err(PostgresError::Failed {
        program,
        output: tail(&text),
    })
}

/// The last lines of a log, enough to show why something failed.
fn tail(text: &str) -> String {
    const LINES: usize = 12;
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(LINES)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readiness_is_line_eight_of_our_own_child() {
        let text = "42\n/data\n1700000000\n5432\n/tmp/x\n\n  1234   5678\nready   \n";
        assert!(is_ready(text, 42));
        assert!(!is_ready(text, 43));
        assert!(is_ready(&text.replace("ready  ", "standby"), 42));
        assert!(!is_ready(&text.replace("ready", "starting"), 42));
        assert!(!is_ready("42\n", 42));
        assert!(!is_ready("", 42));
    }

    #[test]
    fn a_long_socket_path_is_refused_before_anything_is_made() {
        let folder = tempfile::tempdir().unwrap();
        let Ok(binaries) = Binaries::find_or_install(Install::Refused) else {
            return;
        };
        let config = ClusterConfig {
            home: folder.path().join("home"),
            socket_dir: folder.path().join("x".repeat(120)),
            durability: Durability::Fast,
            death_signal: DeathSignal::Quit,
            connections_max: 10,
            port: None,
        };
        let home = config.home.clone();
        let error = Cluster::open(binaries, RunAs::Myself, config).unwrap_err();
        assert!(
            matches!(error, PostgresError::SocketPathTooLong(_)),
            "{error}"
        );
        assert!(!home.exists());
    }
}
