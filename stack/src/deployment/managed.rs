//! One child process: how it is started, when it is started again, how it is stopped.

use std::fs::File;
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::state::{Kind, ProcessState};
use crate::process::{self, DeathSignal};

/// How long after its end a process is started again, the first time.
const RESTART_DELAY: Duration = Duration::from_secs(1);

/// The longest delay; each end soon after a start doubles it.
const RESTART_DELAY_MAX: Duration = Duration::from_secs(30);

/// Running this long makes the next end count as the first.
const STEADY: Duration = Duration::from_secs(60);

/// A log beyond this length is emptied at the next start.
const LOG_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// The last lines of a log that are shown when something fails.
const TAIL_LINES: usize = 15;

/// What is started.
#[derive(Clone, Debug)]
pub(crate) struct Spec {
    pub(crate) name: String,
    pub(crate) kind: Kind,
    pub(crate) program: PathBuf,
    pub(crate) args: Vec<String>,
    pub(crate) address: SocketAddr,
    pub(crate) admin: SocketAddr,
    pub(crate) log: PathBuf,
    pub(crate) ready_file: PathBuf,
}

/// A process of the deployment, running or waiting to be started again.
#[derive(Debug)]
pub(crate) struct Managed {
    spec: Spec,
    child: Option<Child>,
    started_at: Option<Instant>,
    start_at: Option<Instant>,
    delay: Duration,
    restarts: u32,
}

impl Managed {
    pub(crate) fn new(spec: Spec) -> Self {
        let delay = RESTART_DELAY;
        Self {
            spec,
            child: None,
            started_at: None,
            start_at: None,
            delay,
            restarts: 0,
        }
    }

    pub(crate) fn spec(&self) -> &Spec {
        &self.spec
    }

    pub(crate) fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    pub(crate) fn state(&self) -> ProcessState {
        ProcessState {
            name: self.spec.name.clone(),
            kind: self.spec.kind,
            pid: self.pid(),
            address: self.spec.address.to_string(),
            admin: Some(self.spec.admin),
            restarts: self.restarts,
            log: self.spec.log.clone(),
        }
    }

    pub(crate) fn start(&mut self, now: Instant) -> io::Result<()> {
        // An earlier life's file must not make this one look ready.
        match std::fs::remove_file(&self.spec.ready_file) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let command = command(&self.spec.program, &self.spec.args, &self.spec.log)?;
        self.child = Some(process::spawn(command)?);
        self.started_at = Some(now);
        self.start_at = None;
        Ok(())
    }

    /// Whether the process says that it listens and answers that it is ready.
    pub(crate) fn is_ready(&self) -> bool {
        self.spec.ready_file.exists()
            && super::http::get(self.spec.admin, "/readyz").is_ok_and(|answer| answer.status == 200)
    }

    /// Notices the end of the process, reaps it and plans its return. Returns how it ended and
    /// after how long it will be started again.
    pub(crate) fn poll_exit(&mut self, now: Instant) -> io::Result<Option<(ExitStatus, Duration)>> {
        let Some(child) = self.child.as_mut() else {
            return Ok(None);
        };
        let Some(status) = child.try_wait()? else {
            return Ok(None);
        };
        self.child = None;
        if self
            .started_at
            .is_some_and(|started| now.duration_since(started) >= STEADY)
        {
            self.delay = RESTART_DELAY;
        }
        let delay = self.delay;
        self.start_at = Some(now + delay);
        self.delay = (delay * 2).min(RESTART_DELAY_MAX);
        Ok(Some((status, delay)))
    }

    /// Starts the process again when its time has come. Returns whether it did.
    pub(crate) fn poll_restart(&mut self, now: Instant) -> io::Result<Option<u32>> {
        if self.child.is_some() || self.start_at.is_none_or(|due| now < due) {
            return Ok(None);
        }
        // If starting fails, it is tried again after the next, longer delay.
        self.start_at = Some(now + self.delay);
        self.restarts = self.restarts.saturating_add(1);
        self.start(now)?;
        Ok(self.pid())
    }

    /// Sends a signal, if the process runs.
    pub(crate) fn signal(&self, signal: Signal) -> io::Result<()> {
        match &self.child {
            Some(child) => process::signal(child, signal),
            None => Err(io::Error::new(
                io::ErrorKind::NotFound,
                "the process does not run",
            )),
        }
    }

    /// Waits for the end of a process that was asked to stop, then makes it stop; reaps it.
    pub(crate) fn finish(&mut self, grace: Duration) {
        self.start_at = None;
        if let Some(mut child) = self.child.take() {
            // A child that cannot be waited for is gone.
            let _ = process::stop(&mut child, Signal::TERM, grace);
        }
    }
}

/// A command of our own programs, its output appended to `log`. Only files configure it: what
/// the caller's environment says about some other deployment must not reach it. What is meant for
/// it is named so: `SOTTO_UP_SERVER_BCRYPT_COST` here is `SOTTO_SERVER_BCRYPT_COST` there.
pub(crate) fn command(program: &Path, args: &[String], log: &Path) -> io::Result<Command> {
    let mut file = File::options()
        .create(true)
        .append(true)
        .open(log)
        .map_err(|error| crate::files::naming(log, error))?;
    if file.metadata()?.len() > LOG_BYTES_MAX {
        file.set_len(0)?;
    }
    writeln!(file, "---- {} {}", program.display(), args.join(" "))?;
    let mut command = process::bound_command(program, DeathSignal::Terminate);
    command
        .args(args)
        .stdin(Stdio::null())
        .stdout(file.try_clone()?)
        .stderr(file);
    let ours = |name: &std::ffi::OsStr| name.to_string_lossy().starts_with("SOTTO_");
    for (name, _) in std::env::vars_os().filter(|(name, _)| ours(name)) {
        command.env_remove(name);
    }
    for (name, value) in std::env::vars_os() {
        if let Some(key) = name
            .to_str()
            .and_then(|name| name.strip_prefix("SOTTO_UP_"))
        {
            command.env(format!("SOTTO_{key}"), value);
        }
    }
    Ok(command)
}

/// The end of a log, to show why something failed.
pub(crate) fn log_tail(log: &Path) -> String {
    let text = std::fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n")
}
