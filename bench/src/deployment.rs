//! The deployment under load: one started here in a temporary folder, or one pointed at.
//!
//! One started here lives as long as this value and this process: it is told to stop when the
//! value is dropped, and by the kernel when this process is killed. Its servers run bcrypt at the
//! lowest cost, since thousands of accounts are made before a run; no run's figure contains a
//! bcrypt call.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde::Deserialize;
use sotto_stack::deployment::http;
use sotto_stack::process::{DeathSignal, bound_command};

use crate::args::Args;
use crate::clock::now;
use crate::error::BenchError;
use crate::target::{Sources, Target};

/// A deployment starts within this, an installation of Postgres included.
const START_LIMIT: Duration = Duration::from_secs(180);
/// A deployment stops within this.
const STOP_LIMIT: Duration = Duration::from_secs(60);
/// Between two looks at something awaited.
const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// Settings of a deployment under load, handed on by `sotto up`: they override its files.
const LOAD_SETTINGS: [(&str, &str); 5] = [
    ("SOTTO_UP_SERVER_BCRYPT_COST", "4"),
    ("SOTTO_UP_SERVER_BLOB_QUOTA_BYTES", "1099511627776"),
    ("SOTTO_UP_SERVER_REGISTRATIONS_PER_HOUR", "100000000"),
    (
        "SOTTO_UP_BALANCER_LIMITS_CONNECTION_RATE_PER_PREFIX",
        "100000",
    ),
    (
        "SOTTO_UP_BALANCER_LIMITS_CONNECTION_BURST_PER_PREFIX",
        "100000",
    ),
];

/// The metric that counts bcrypt runs.
const PASSWORD_CHECKS: &str = "sotto_server_password_checks_total";

/// What a process of a deployment is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Kind {
    /// The database.
    Postgres,
    /// A server.
    Server,
    /// The balancer.
    Balancer,
}

/// One process, as `state.json` names it.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Process {
    /// `postgres`, `s1`, …, `balancer`.
    pub(crate) name: String,
    /// What it is for.
    pub(crate) kind: Kind,
    /// Its process id while it runs.
    pub(crate) pid: Option<u32>,
    /// Where it is reached: an address, or the folder of a socket.
    #[serde(default)]
    pub(crate) address: String,
    /// Its status and metrics over HTTP.
    pub(crate) admin: Option<SocketAddr>,
}

/// The parts of `state.json` that are used here.
#[derive(Debug, Deserialize)]
struct State {
    phase: String,
    server: String,
    ca: PathBuf,
    database_url: String,
    processes: Vec<Process>,
}

/// A deployment under load.
pub(crate) struct Deployment {
    target: Target,
    server: String,
    ca: PathBuf,
    database_url: Option<String>,
    state_file: Option<PathBuf>,
    /// Stops what was started here when it is dropped.
    own: Option<Own>,
}

struct Own {
    launcher: Child,
    dir: PathBuf,
}

impl Deployment {
    /// Starts one or looks at the one named. Call it on a thread that lives as long as the
    /// process: the deployment ends with it.
    ///
    /// # Errors
    /// When it does not start, or cannot be understood.
    pub(crate) fn open(args: &Args) -> Result<Self, BenchError> {
        let sources = if args.one_address {
            Sources::One
        } else {
            Sources::Spread
        };
        if let (Some(server), Some(ca)) = (&args.server, &args.ca) {
            let state = args.state.as_deref().map(load).transpose()?;
            return Ok(Self {
                target: Target::new(server, ca, sources)?,
                server: server.clone(),
                ca: ca.clone(),
                database_url: state
                    .map(|state| state.database_url)
                    .or_else(|| std::env::var("SOTTO_DATABASE_URL").ok()),
                state_file: args.state.clone(),
                own: None,
            });
        }
        let own = Own::start(args)?;
        let state_file = own.dir.join("state.json");
        let state = load(&state_file)?;
        Ok(Self {
            target: Target::new(&state.server, &state.ca, sources)?,
            server: state.server,
            ca: state.ca,
            database_url: Some(state.database_url),
            state_file: Some(state_file),
            own: Some(own),
        })
    }

    /// Where the load goes.
    pub(crate) fn target(&self) -> &Target {
        &self.target
    }

    /// The same for the client's own code: HOST:PORT and the authorities to trust.
    pub(crate) fn door(&self) -> (&str, &Path) {
        (&self.server, &self.ca)
    }

    /// Whether it was started here, and may be set up as measuring wants it.
    pub(crate) fn is_own(&self) -> bool {
        self.own.is_some()
    }

    /// One server itself, without the balancer.
    ///
    /// # Errors
    /// When its address cannot be used.
    pub(crate) fn server_target(&self, server: &Process) -> Result<Target, BenchError> {
        Target::new(&server.address, &self.ca, Sources::Spread)
    }

    /// The deployment's database, where it is known.
    pub(crate) fn database_url(&self) -> Option<&str> {
        self.database_url.as_deref()
    }

    /// What runs now; empty when that is not known.
    pub(crate) fn processes(&self) -> Vec<Process> {
        self.state_file
            .as_deref()
            .and_then(|file| load(file).ok())
            .map(|state| state.processes)
            .unwrap_or_default()
    }

    /// The server that holds the most sessions.
    ///
    /// # Errors
    /// When no server tells.
    pub(crate) fn busiest_server(&self) -> Result<Process, BenchError> {
        let sessions = |process: &Process| -> Option<u64> {
            let answer = http::get(process.admin?, "/status.json").ok()?;
            let status: serde_json::Value = serde_json::from_str(&answer.body).ok()?;
            status.get("sessions")?.as_u64()
        };
        self.processes()
            .into_iter()
            .filter(|process| process.kind == Kind::Server)
            .filter_map(|process| Some((sessions(&process)?, process)))
            .max_by_key(|(sessions, _)| *sessions)
            .map(|(_, process)| process)
            .ok_or_else(|| {
                let reason = "which servers run is not known; with --server, give --state too";
                BenchError::Deployment(reason.to_owned())
            })
    }

    /// How many times the servers ran bcrypt since they started, `except` one.
    pub(crate) fn password_checks(&self, except: Option<&Process>) -> Option<f64> {
        let mut sum = None;
        for process in self.processes() {
            let excepted = except.is_some_and(|except| except.name == process.name);
            if process.kind != Kind::Server || excepted {
                continue;
            }
            // A server that is only just coming back has run nothing.
            let Some(Ok(answer)) = process.admin.map(|admin| http::get(admin, "/metrics")) else {
                continue;
            };
            let counted = answer
                .body
                .lines()
                .filter(|line| line.starts_with(PASSWORD_CHECKS))
                .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok());
            for count in counted {
                *sum.get_or_insert(0.0) += count;
            }
        }
        sum
    }

    /// Kills a process of the deployment with SIGKILL, as a failing machine would.
    ///
    /// # Errors
    /// When it does not run.
    pub(crate) fn kill(process: &Process) -> Result<(), BenchError> {
        let gone = || BenchError::Deployment(format!("{} does not run", process.name));
        let pid = pid_of(process.pid.ok_or_else(gone)?).ok_or_else(gone)?;
        kill_process(pid, Signal::KILL).map_err(|_| gone())
    }
}

fn pid_of(pid: u32) -> Option<Pid> {
    Pid::from_raw(i32::try_from(pid).ok()?)
}

fn load(path: &Path) -> Result<State, BenchError> {
    let unusable = |reason: String| BenchError::Deployment(format!("{}: {reason}", path.display()));
    let text = fs::read_to_string(path).map_err(|error| unusable(error.to_string()))?;
    serde_json::from_str(&text).map_err(|error| unusable(error.to_string()))
}

impl Own {
    fn start(args: &Args) -> Result<Self, BenchError> {
        let program = program(args)?;
        let dir = std::env::temp_dir().join(format!("sotto-bench-{}", std::process::id()));
        fs::create_dir_all(&dir).map_err(BenchError::io("making the deployment's folder"))?;
        let log = File::create(dir.join("up.log")).map_err(BenchError::io("making a log"))?;
        let errors = log.try_clone().map_err(BenchError::io("making a log"))?;
        let mut command: Command = bound_command(&program, DeathSignal::Terminate);
        command
            .arg("up")
            .arg("--dir")
            .arg(&dir)
            .arg("--servers")
            .arg(args.servers.to_string())
            .envs(LOAD_SETTINGS)
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(errors);
        let launcher = command
            .spawn()
            .map_err(BenchError::io("starting `sotto up`"))?;
        let mut own = Self { launcher, dir };
        own.await_ready()?;
        Ok(own)
    }

    fn await_ready(&mut self) -> Result<(), BenchError> {
        let deadline = now() + START_LIMIT;
        let state_file = self.dir.join("state.json");
        loop {
            let ended = self
                .launcher
                .try_wait()
                .map_err(BenchError::io("watching `sotto up`"))?;
            if ended.is_some() || now() > deadline {
                let said = fs::read_to_string(self.dir.join("up.log")).unwrap_or_default();
                let tail: Vec<&str> = said.lines().rev().take(20).collect();
                let tail: Vec<&str> = tail.into_iter().rev().collect();
                return Err(BenchError::Deployment(format!(
                    "`sotto up` did not become ready:\n{}",
                    tail.join("\n")
                )));
            }
            // The file is replaced while it is looked at; half a file is not an error here.
            if load(&state_file).is_ok_and(|state| state.phase == "ready") {
                return Ok(());
            }
            pause();
        }
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        if let Some(pid) = pid_of(self.launcher.id()) {
            // Already gone is as good as stopped.
            let _ = kill_process(pid, Signal::TERM);
        }
        let deadline = now() + STOP_LIMIT;
        while now() < deadline && matches!(self.launcher.try_wait(), Ok(None)) {
            pause();
        }
        if matches!(self.launcher.try_wait(), Ok(None)) {
            let _ = self.launcher.kill();
            let _ = self.launcher.wait();
        }
        // What stays is in the system's folder for temporary files.
        let _ = fs::remove_dir_all(&self.dir);
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "waits for another process, before and after any measurement; both loops have a deadline"
)]
fn pause() {
    std::thread::sleep(POLL_INTERVAL);
}

/// The program that starts deployments: named, or beside this one.
pub(crate) fn program(args: &Args) -> Result<PathBuf, BenchError> {
    if let Some(program) = &args.sotto {
        return Ok(program.clone());
    }
    let beside = std::env::current_exe()
        .map_err(BenchError::io("finding this program"))?
        .with_file_name("sotto");
    if beside.is_file() {
        return Ok(beside);
    }
    Err(BenchError::Deployment(format!(
        "no {}; build it first with: cargo build --release -p sotto -p sotto-bench",
        beside.display()
    )))
}
