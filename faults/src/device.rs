//! One device of somebody: a real `sotto daemon` with a profile of its own, reached over its socket.
//!
//! Everything that it shows is noted. It may be killed at any time and begins again on the same
//! profile.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;
use sotto_stack::process::{self, DeathSignal};

use crate::error::FaultsError;
use crate::history::{Cast, History, Life, Shown, Token, What};
use crate::rpc::{self, Rpc};

/// How long a client may take to end when it is asked to.
const END_LIMIT: Duration = Duration::from_secs(20);
/// No client runs longer than this.
const LIFE_MAX: Duration = Duration::from_secs(7 * 24 * 3600);

/// Where the devices of a run find everything.
#[derive(Debug, Clone)]
pub(crate) struct Ground {
    /// The `sotto` program.
    pub(crate) sotto: PathBuf,
    /// The certificate authority.
    pub(crate) ca: PathBuf,
    /// Variables of every client, for a shifted clock.
    pub(crate) variables: Vec<(String, PathBuf)>,
}

/// A device.
#[derive(Debug)]
pub(crate) struct Device {
    /// Its index.
    pub(crate) index: usize,
    ground: Ground,
    server: String,
    home: PathBuf,
    password_file: PathBuf,
    runs: AtomicU32,
    process: Mutex<Option<Process>>,
}

#[derive(Debug)]
struct Process {
    child: Child,
    socket: PathBuf,
    ending: Arc<AtomicBool>,
    hearing: JoinHandle<()>,
}

impl Device {
    /// A device with an empty home.
    ///
    /// # Errors
    /// When the home cannot be made.
    pub(crate) fn new(
        index: usize,
        ground: &Ground,
        server: String,
        home: PathBuf,
        password_file: PathBuf,
    ) -> Result<Self, FaultsError> {
        let run = home.join("run");
        fs::create_dir_all(&run).map_err(FaultsError::file(&run))?;
        fs::set_permissions(&run, fs::Permissions::from_mode(0o700))
            .map_err(FaultsError::file(&run))?;
        Ok(Self {
            index,
            ground: ground.clone(),
            server,
            home,
            password_file,
            runs: AtomicU32::new(0),
            process: Mutex::new(None),
        })
    }

    /// The folder of this device alone.
    pub(crate) fn home(&self) -> &Path {
        &self.home
    }

    /// The client, not started.
    pub(crate) fn command(&self, words: &[&str]) -> Command {
        let mut command = process::bound_command(&self.ground.sotto, DeathSignal::Kill);
        command
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("XDG_RUNTIME_DIR", self.home.join("run"))
            .envs(
                self.ground
                    .variables
                    .iter()
                    .map(|(key, value)| (key, value)),
            )
            .arg("--home")
            .arg(self.home.join("sotto"))
            .args(["--server", &self.server, "--ca"])
            .arg(&self.ground.ca)
            .arg("--password-file")
            .arg(&self.password_file)
            .arg("--json")
            .args(words)
            .stdin(Stdio::null())
            .stderr(Stdio::null());
        command
    }

    /// Runs a command in a process of its own, while no daemon has the profile.
    ///
    /// # Errors
    /// When it fails, with what it said.
    pub(crate) fn run(&self, words: &[&str], input: &str) -> Result<Vec<Value>, FaultsError> {
        let mut command = self.command(words);
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let failed = FaultsError::system("starting sotto");
        let mut child = process::spawn(command).map_err(failed)?;
        if let Some(mut stdin) = child.stdin.take() {
            // Who does not want it closes it.
            let _ = stdin.write_all(input.as_bytes());
        }
        let output = child
            .wait_with_output()
            .map_err(FaultsError::system("waiting for sotto"))?;
        self.said(words, &output)
    }

    /// What a command printed.
    ///
    /// # Errors
    /// When it failed.
    pub(crate) fn said(&self, words: &[&str], output: &Output) -> Result<Vec<Value>, FaultsError> {
        if !output.status.success() {
            let error = String::from_utf8_lossy(&output.stderr);
            let what = format!("{}: {error}", words.join(" "));
            return Err(FaultsError::client(&format!("device {}", self.index), what));
        }
        let text = String::from_utf8_lossy(&output.stdout);
        let objects = text
            .lines()
            .filter_map(|line| serde_json::from_str(line).ok());
        Ok(objects.collect())
    }

    /// Starts the client and begins to hear it. Nothing where it runs.
    ///
    /// # Errors
    /// When it does not come up.
    pub(crate) fn start(
        self: &Arc<Self>,
        cast: &Arc<Cast>,
        history: &Arc<History>,
    ) -> Result<(), FaultsError> {
        let mut process = self.process();
        if process.is_some() {
            return Ok(());
        }
        let mut command = self.command(&["daemon"]);
        command.stdout(Stdio::piped());
        let mut child =
            process::spawn(command).map_err(FaultsError::system("starting sotto daemon"))?;
        let mut line = String::new();
        if let Some(stdout) = child.stdout.take() {
            // One line, written before anything else; a client that ends instead closes it.
            let _ = BufReader::new(stdout).read_line(&mut line);
        }
        let said: Value = serde_json::from_str(&line).unwrap_or_default();
        let Some(socket) = said["socket"].as_str().map(PathBuf::from) else {
            let _ = process::stop(&mut child, Signal::KILL, END_LIMIT);
            let who = cast.device_name(self.index);
            return Err(FaultsError::client(&who, "its daemon did not start"));
        };
        let run = self.runs.fetch_add(1, Ordering::Relaxed);
        history.note(What::Client {
            device: self.index,
            run,
            life: Life::Began,
        });
        let ending = Arc::new(AtomicBool::new(false));
        let ears = Ears {
            device: self.index,
            run,
            ending: Arc::clone(&ending),
            cast: Arc::clone(cast),
            history: Arc::clone(history),
            socket: socket.clone(),
        };
        let hearing = std::thread::spawn(move || ears.hear());
        *process = Some(Process {
            child,
            socket,
            ending,
            hearing,
        });
        Ok(())
    }

    /// Ends the client and hears what it still had to say.
    pub(crate) fn end(&self, life: Life, history: &History) {
        let Some(mut process) = self.process().take() else {
            return;
        };
        process.ending.store(true, Ordering::Relaxed);
        let signal = match life {
            Life::Killed => Signal::KILL,
            Life::Began | Life::Ended => Signal::TERM,
        };
        if life == Life::Killed {
            // Noted before: what it shows from here on it may show again.
            self.note_life(life, history);
        }
        let _ = process::stop(&mut process.child, signal, END_LIMIT);
        let _ = process.hearing.join();
        if life != Life::Killed {
            self.note_life(life, history);
        }
    }

    fn note_life(&self, life: Life, history: &History) {
        history.note(What::Client {
            device: self.index,
            run: self.runs.load(Ordering::Relaxed).saturating_sub(1),
            life,
        });
    }

    /// Sends a signal, if the client runs.
    pub(crate) fn signal(&self, signal: Signal) {
        if let Some(process) = self.process().as_ref() {
            // One that has just ended needs no signal.
            let _ = process::signal(&process.child, signal);
        }
    }

    /// A connection for commands; nothing while the client is down.
    pub(crate) fn connect(&self) -> Option<Rpc> {
        let socket = self.process().as_ref()?.socket.clone();
        Rpc::connect(&socket).ok()
    }

    /// Whether the client ended by itself.
    pub(crate) fn has_ended(&self) -> bool {
        let mut process = self.process();
        let ended = |process: &mut Process| !matches!(process.child.try_wait(), Ok(None));
        process.as_mut().is_some_and(ended)
    }

    fn process(&self) -> MutexGuard<'_, Option<Process>> {
        self.process.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        if let Some(mut process) = self.process().take() {
            let _ = process::stop(&mut process.child, Signal::KILL, END_LIMIT);
        }
    }
}

/// What hears one life of a client.
struct Ears {
    device: usize,
    run: u32,
    ending: Arc<AtomicBool>,
    cast: Arc<Cast>,
    history: Arc<History>,
    socket: PathBuf,
}

impl Ears {
    fn hear(&self) {
        // A daemon lets go whoever does not keep up: then once more, for as long as it lives.
        process::wait_until(LIFE_MAX, || {
            let _ = rpc::hear(&self.socket, |event| self.note(event));
            self.ending.load(Ordering::Relaxed)
        });
    }

    fn note(&self, event: &Value) {
        let text = |name: &str| event[name].as_str().unwrap_or_default().to_owned();
        match event["event"].as_str() {
            Some("message") if is_message(event) => {
                let token = Token::of(&text("text"), &self.cast.canary);
                self.history.note(What::Shown(Shown {
                    device: self.device,
                    run: self.run,
                    conversation: text("conversation"),
                    seq: event["seq"].as_u64().unwrap_or_default(),
                    id: text("id"),
                    sender: text("sender"),
                    token,
                    reply_to: event["reply_to"]["id"].as_str().map(str::to_owned),
                }));
            }
            Some("security") => self.history.note(What::Security {
                device: self.device,
                kind: text("kind"),
            }),
            _ => {}
        }
    }
}

/// A message itself, and nothing that was done to one.
fn is_message(event: &Value) -> bool {
    matches!(
        event["kind"].as_str(),
        Some("text" | "attachment" | "deleted" | "unknown")
    )
}
