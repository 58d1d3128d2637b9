//! Starting, watching and ending child processes.
//!
//! Children get a process group of their own, so that Ctrl-C in the terminal reaches only the
//! launcher, and a parent-death signal where the system can give one, so that a launcher killed
//! with SIGKILL leaves nothing behind. This module never kills a process that it did not start.

use std::io;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::sync::OnceLock;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::time::{Duration, Instant};

pub use rustix::process::Signal;
use rustix::process::{Pid, kill_process};

/// How long a condition is left alone between two looks at it.
pub const POLL_INTERVAL: Duration = Duration::from_millis(10);

/// Jobs that may wait for the keeper thread; each takes about a millisecond.
const KEEPER_QUEUE_MAX: usize = 64;

/// The signal that a child receives when its launcher is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeathSignal {
    /// SIGINT: Postgres shuts down fast and cleanly.
    Interrupt,
    /// SIGQUIT: Postgres stops at once and recovers at the next start.
    Quit,
    /// SIGTERM: servers and balancer drain.
    Terminate,
    /// SIGKILL: nothing is worth finishing.
    Kill,
}

impl DeathSignal {
    fn name(self) -> &'static str {
        match self {
            Self::Interrupt => "INT",
            Self::Quit => "QUIT",
            Self::Terminate => "TERM",
            Self::Kill => "KILL",
        }
    }
}

/// The user that a child runs as.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RunAs {
    /// Whoever runs this process.
    Myself,
    /// Another user; only root can do this. Supplementary groups are dropped.
    Other {
        /// Numeric user id.
        uid: u32,
        /// Numeric group id.
        gid: u32,
    },
}

impl RunAs {
    /// Applies the user to a command about to be spawned.
    pub fn apply(&self, command: &mut Command) {
        if let Self::Other { uid, gid } = self {
            command.uid(*uid).gid(*gid);
        }
    }

    /// Gives a path to this user.
    ///
    /// # Errors
    /// Fails when the path does not exist or may not be given away.
    pub fn own(&self, path: &Path) -> io::Result<()> {
        match self {
            Self::Myself => Ok(()),
            Self::Other { uid, gid } => std::os::unix::fs::chown(path, Some(*uid), Some(*gid)),
        }
    }
}

/// A command that receives `signal` when this process dies, where util-linux's `setpriv` is there
/// to arrange it; elsewhere the plain command.
#[must_use]
pub fn bound_command(program: &Path, signal: DeathSignal) -> Command {
    static SETPRIV: OnceLock<Option<PathBuf>> = OnceLock::new();
    let setpriv = SETPRIV.get_or_init(|| {
        // BSD and busybox variants lack the option, and the kernel call exists on Linux only.
        if cfg!(target_os = "linux") {
            find_in_path("setpriv")
        } else {
            None
        }
    });
    match setpriv {
        Some(setpriv) => {
            let mut command = Command::new(setpriv);
            command
                .arg("--pdeathsig")
                .arg(signal.name())
                .arg("--")
                .arg(program);
            command
        }
        None => Command::new(program),
    }
}

/// The first executable of that name on `PATH`.
#[must_use]
pub fn find_in_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .map(|folder| folder.join(name))
        .find(|file| is_executable(file))
}

/// Whether the path is a file that somebody may execute.
#[must_use]
pub fn is_executable(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    path.metadata()
        .is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

type Job = Box<dyn FnOnce() + Send>;

/// The thread that spawns every child. The kernel sends the parent-death signal when the spawning
/// *thread* ends, not its process, so children must come from a thread that lives as long as the
/// process does.
fn keeper() -> Option<&'static SyncSender<Job>> {
    static KEEPER: OnceLock<Option<SyncSender<Job>>> = OnceLock::new();
    KEEPER
        .get_or_init(|| {
            let (sender, receiver) = sync_channel::<Job>(KEEPER_QUEUE_MAX);
            std::thread::Builder::new()
                .name("keeper".to_owned())
                .spawn(move || receiver.into_iter().for_each(|job| job()))
                .ok()
                .map(|_| sender)
        })
        .as_ref()
}

/// Spawns a child in a process group of its own, from a thread that outlives it.
///
/// # Errors
/// Fails as [`Command::spawn`] does, or when no thread could be started.
pub fn spawn(mut command: Command) -> io::Result<Child> {
    command.process_group(0);
    let (sender, receiver) = sync_channel(1);
    let job: Job = Box::new(move || {
        // The receiver waits below; if it is gone there is nobody to own the child.
        let _ = sender.send(command.spawn());
    });
    let gone = || io::Error::other("the thread that starts processes is gone");
    keeper().ok_or_else(gone)?.send(job).map_err(|_| gone())?;
    receiver.recv().map_err(|_| gone())?
}

/// Sends a signal to a child that has not been reaped yet.
///
/// # Errors
/// Fails when the process is gone or may not be signalled.
pub fn signal(child: &Child, signal: Signal) -> io::Result<()> {
    Ok(kill_process(Pid::from_child(child), signal)?)
}

/// Waits for a child to end, at most `limit`. `None` when it still runs.
///
/// # Errors
/// Fails when the child cannot be waited for.
pub fn wait_for_exit(child: &mut Child, limit: Duration) -> io::Result<Option<ExitStatus>> {
    let mut outcome = Ok(None);
    wait_until(limit, || {
        outcome = child.try_wait();
        !matches!(outcome, Ok(None))
    });
    outcome
}

/// Ends a child: the polite signal, at most `grace` to obey it, then SIGKILL; reaps it either way.
///
/// # Errors
/// Fails when the child cannot be waited for.
pub fn stop(child: &mut Child, polite: Signal, grace: Duration) -> io::Result<ExitStatus> {
    if let Some(status) = child.try_wait()? {
        return Ok(status);
    }
    // A failure to signal means that the child just ended; the wait tells.
    let _ = signal(child, polite);
    if let Some(status) = wait_for_exit(child, grace)? {
        return Ok(status);
    }
    child.kill()?;
    child.wait()
}

/// Looks at a condition every [`POLL_INTERVAL`] until it holds or `limit` has passed. Returns
/// whether it came to hold.
pub fn wait_until(limit: Duration, mut condition: impl FnMut() -> bool) -> bool {
    let deadline = now() + limit;
    loop {
        if condition() {
            return true;
        }
        if now() >= deadline {
            return false;
        }
        pause(POLL_INTERVAL);
    }
}

/// The monotonic clock; this crate supervises real processes in real time.
#[expect(
    clippy::disallowed_methods,
    reason = "supervision of real processes needs the real clock"
)]
#[must_use]
pub fn now() -> Instant {
    Instant::now()
}

/// Gives the processor away between two looks at a condition; the only sleep of this crate.
#[expect(
    clippy::disallowed_methods,
    reason = "the interval of bounded polling, see wait_until"
)]
fn pause(interval: Duration) {
    std::thread::sleep(interval);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_child_is_stopped_politely_and_reaped() {
        let mut command = bound_command(Path::new("/bin/sleep"), DeathSignal::Kill);
        command.arg("60");
        let mut child = spawn(command).unwrap();
        assert!(
            wait_for_exit(&mut child, Duration::from_millis(20))
                .unwrap()
                .is_none()
        );
        let status = stop(&mut child, Signal::TERM, Duration::from_secs(5)).unwrap();
        assert!(!status.success());
    }

    #[test]
    fn a_child_that_ignores_the_polite_signal_is_killed() {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", "trap '' TERM; echo ready; while :; do sleep 1; done"]);
        command.stdout(std::process::Stdio::piped());
        let mut child = spawn(command).unwrap();
        let mut line = String::new();
        let mut output = std::io::BufReader::new(child.stdout.take().unwrap());
        std::io::BufRead::read_line(&mut output, &mut line).unwrap();
        let status = stop(&mut child, Signal::TERM, Duration::from_millis(50)).unwrap();
        assert_eq!(
            std::os::unix::process::ExitStatusExt::signal(&status),
            Some(9)
        );
    }

    #[test]
    fn a_missing_program_is_an_error() {
        assert!(spawn(Command::new("/nonexistent/program")).is_err());
    }
}
