//! A whole deployment of real processes for tests, and people who use the
//! real client. Nothing here is a fake: Postgres, certificates, balancer,
//! servers and client are what users run.
#![allow(dead_code, reason = "each test binary uses its part")]

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

/// The program under test.
pub(crate) const SOTTO: &str = env!("CARGO_BIN_EXE_sotto");
/// The longest that anything may take before a test fails.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);

/// A deployment made by `sotto up`; it dies with the test process.
pub(crate) struct Deployment {
    pub(crate) dir: PathBuf,
    env: BTreeMap<String, String>,
    _keep: tempfile::TempDir,
}

impl Deployment {
    /// The deployment that the tests of this process share.
    pub(crate) fn shared() -> &'static Self {
        static SHARED: OnceLock<Deployment> = OnceLock::new();
        SHARED.get_or_init(|| Self::start(3))
    }

    /// Starts one with `servers` servers and waits until it is ready.
    pub(crate) fn start(servers: u32) -> Self {
        Self::start_with(servers, &[])
    }

    /// The same, with variables for its processes.
    pub(crate) fn start_with(servers: u32, variables: &'static [(&str, &str)]) -> Self {
        remove_leftovers();
        let keep = tempfile::Builder::new()
            .prefix(&format!("{FOLDERS}{}-", std::process::id()))
            .tempdir()
            .unwrap();
        let dir = keep.path().join("up");
        launch(&dir, servers, "0", variables);
        let env = read_env(&dir.join("env"));
        Self {
            dir,
            env,
            _keep: keep,
        }
    }

    /// Stops everything, as `sotto down` does.
    pub(crate) fn stop(&self) {
        let output = Command::new(SOTTO)
            .args(["down", "--dir"])
            .arg(&self.dir)
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        let _ = fs::remove_file(self.dir.join("env"));
    }

    /// Starts what was stopped, at the same address.
    pub(crate) fn start_again(&mut self, servers: u32, variables: &'static [(&str, &str)]) {
        let (_, port) = self.env("SOTTO_SERVER").rsplit_once(':').unwrap();
        launch(&self.dir, servers, port, variables);
        self.env = read_env(&self.dir.join("env"));
    }

    /// A value that `DIR/env` exports.
    pub(crate) fn env(&self, name: &str) -> &str {
        self.env
            .get(name)
            .unwrap_or_else(|| panic!("{name} is not in the env file"))
    }

    /// What `sotto status --json` says.
    pub(crate) fn status(&self) -> Value {
        let output = Command::new(SOTTO)
            .args(["status", "--json", "--dir"])
            .arg(&self.dir)
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// Somebody new, with a home of their own; not registered yet.
    pub(crate) fn person(&self, name: &str) -> Person {
        let home = tempfile::Builder::new()
            .prefix("sotto-home-")
            .tempdir()
            .unwrap();
        let password = format!("password-{}-{}", canary(), name);
        let password_file = home.path().join("password");
        fs::write(&password_file, &password).unwrap();
        Person {
            name: name.to_owned(),
            password,
            password_file,
            server: self.env("SOTTO_SERVER").to_owned(),
            ca: self.env("SOTTO_CA").to_owned(),
            home,
        }
    }

    /// Somebody new with a name of their own, registered.
    pub(crate) fn registered(&self, stem: &str) -> Person {
        let person = self.person(&fresh_name(stem));
        person.ok(&["register", &person.name]);
        person
    }
}

/// Runs `sotto up` and waits until it is ready.
fn launch(dir: &Path, servers: u32, port: &str, variables: &'static [(&str, &str)]) {
    let log = fs::File::create(dir.with_extension("log")).unwrap();
    let arguments = [
        OsStr::new("--pdeathsig"),
        OsStr::new("TERM"),
        OsStr::new(SOTTO),
        OsStr::new("up"),
        OsStr::new("--dir"),
        dir.as_os_str(),
        OsStr::new("--port"),
        OsStr::new(port),
        OsStr::new("--servers"),
        OsStr::new(&servers.to_string()),
    ]
    .map(OsStr::to_owned);
    // The death signal fires when the spawning thread ends: this one never does.
    thread::spawn(move || {
        let mut child = Command::new("setpriv")
            .args(arguments)
            .envs(variables.iter().copied())
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let _ = child.wait();
        loop {
            thread::park();
        }
    });
    let env_file = dir.join("env");
    wait_for("the deployment to be ready", || {
        env_file.exists().then_some(())
    });
}

/// What the folders of deployments begin with; the process that made one follows.
const FOLDERS: &str = "sotto-e2e-";

/// Removes what test processes left that are no more: the shared deployment
/// lives as long as its process, which has no moment to tidy up after it.
fn remove_leftovers() {
    for entry in fs::read_dir(std::env::temp_dir()).unwrap().flatten() {
        let name = entry.file_name();
        let maker = name
            .to_str()
            .and_then(|name| name.strip_prefix(FOLDERS)?.split('-').next());
        if maker.is_some_and(|pid| !Path::new("/proc").join(pid).exists()) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

/// A name that nobody in this process has, and that looks like no other.
pub(crate) fn fresh_name(stem: &str) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let letters = b"abcdefghjkpqrstvwxyz";
    let mut number = NEXT.fetch_add(1, Ordering::Relaxed) as usize + 400;
    let mut tail = String::new();
    while number > 0 {
        tail.push(letters[number % letters.len()] as char);
        number /= letters.len();
    }
    format!("{stem}-{tail}")
}

/// A random marker whose appearance anywhere else is a leak.
pub(crate) fn canary() -> String {
    let mut bytes = [0_u8; 16];
    let mut random = fs::File::open("/dev/urandom").unwrap();
    std::io::Read::read_exact(&mut random, &mut bytes).unwrap();
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn read_env(path: &Path) -> BTreeMap<String, String> {
    fs::read_to_string(path)
        .unwrap()
        .lines()
        .filter_map(|line| line.strip_prefix("export ")?.split_once('='))
        .map(|(name, value)| (name.to_owned(), value.trim_matches(['\'', '"']).to_owned()))
        .collect()
}

/// Waits until `condition` holds, at most [`DEADLINE`].
pub(crate) fn wait_for<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + DEADLINE;
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(Instant::now() < end, "gave up waiting for {what}");
        thread::park_timeout(Duration::from_millis(20));
    }
}

/// A person with a profile on disk.
pub(crate) struct Person {
    pub(crate) name: String,
    pub(crate) password: String,
    pub(crate) password_file: PathBuf,
    pub(crate) server: String,
    pub(crate) ca: String,
    home: tempfile::TempDir,
}

/// What a command said.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) code: i32,
    pub(crate) events: Vec<Value>,
    pub(crate) stderr: String,
}

impl Said {
    /// The `code` of the error object on stderr.
    pub(crate) fn error_code(&self) -> String {
        self.stderr
            .lines()
            .find_map(|line| serde_json::from_str::<Value>(line).ok())
            .and_then(|value| value["error"]["code"].as_str().map(str::to_owned))
            .unwrap_or_default()
    }

    /// The texts of messages.
    pub(crate) fn texts(&self) -> Vec<String> {
        texts(&self.events)
    }
}

/// The texts of message events.
pub(crate) fn texts(events: &[Value]) -> Vec<String> {
    events
        .iter()
        .filter(|event| event["event"] == "message")
        .filter_map(|event| event["text"].as_str().map(str::to_owned))
        .collect()
}

impl Person {
    pub(crate) fn home(&self) -> &Path {
        self.home.path()
    }

    /// The client with this person's home and server, not started.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(SOTTO);
        command
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("XDG_RUNTIME_DIR", self.home.path().join("run"))
            .args(["--home"])
            .arg(self.home.path().join("sotto"))
            .args([
                "--server",
                &self.server,
                "--ca",
                &self.ca,
                "--password-file",
            ])
            .arg(&self.password_file)
            .arg("--json")
            .args(arguments)
            .stdin(Stdio::null());
        fs::create_dir_all(self.home.path().join("run")).unwrap();
        let private = std::os::unix::fs::PermissionsExt::from_mode(0o700);
        fs::set_permissions(self.home.path().join("run"), private).unwrap();
        command
    }

    /// Runs a command to its end.
    pub(crate) fn run(&self, arguments: &[&str]) -> Said {
        said(self.command(arguments).output().unwrap())
    }

    /// Runs a command that must succeed.
    pub(crate) fn ok(&self, arguments: &[&str]) -> Said {
        let said = self.run(arguments);
        assert_eq!(said.code, 0, "{arguments:?}: {said:?}");
        said
    }

    /// Runs a command that must fail with this exit code.
    pub(crate) fn fails(&self, arguments: &[&str], code: i32) -> Said {
        let said = self.run(arguments);
        assert_eq!(said.code, code, "{arguments:?}: {said:?}");
        said
    }

    /// Starts `listen` and leaves it running.
    pub(crate) fn listen(&self) -> Listening {
        Listening::start(self.command(&["listen"]))
    }

    /// `self` writes to `other`, `other` accepts: they can talk.
    pub(crate) fn befriend(&self, other: &Self) {
        self.ok(&["send", &other.name, "hello"]);
        other.ok(&["listen", "--for", "10s", "--count", "1"]);
        other.ok(&["accept", &self.name]);
    }
}

pub(crate) fn said(output: Output) -> Said {
    let stdout = String::from_utf8(output.stdout).unwrap();
    let events = stdout
        .lines()
        .map(|line| {
            serde_json::from_str(line).unwrap_or_else(|_| panic!("not JSON on stdout: {line}"))
        })
        .collect();
    Said {
        code: output
            .status
            .code()
            .unwrap_or_else(|| 128 + output.status.signal().unwrap_or(0)),
        events,
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// A client that stays connected; its events are collected.
pub(crate) struct Listening {
    child: Child,
    lines: Receiver<String>,
    pub(crate) events: Vec<Value>,
}

impl Listening {
    fn start(mut command: Command) -> Self {
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let stdout = child.stdout.take().unwrap();
        let (sender, lines) = sync_channel(100_000);
        thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Self {
            child,
            lines,
            events: Vec::new(),
        }
    }

    /// Whether it has ended, as it does when another program had the profile first.
    pub(crate) fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// Collects events until `enough` of them says so.
    pub(crate) fn until(&mut self, what: &str, enough: impl Fn(&[Value]) -> bool) {
        let end = Instant::now() + DEADLINE;
        while !enough(&self.events) {
            let left = end.saturating_duration_since(Instant::now());
            match self.lines.recv_timeout(left) {
                Ok(line) => self.events.push(serde_json::from_str(&line).unwrap()),
                Err(RecvTimeoutError::Timeout) => {
                    panic!("gave up waiting for {what}: {:?}", self.events)
                }
                Err(RecvTimeoutError::Disconnected) => panic!("listen ended before {what}"),
            }
        }
    }

    /// Collects what is there already.
    pub(crate) fn try_collect(&mut self) {
        while let Ok(line) = self.lines.try_recv() {
            self.events.push(serde_json::from_str(&line).unwrap());
        }
    }

    /// SIGKILL: no chance to tidy up.
    pub(crate) fn kill(mut self) -> Vec<Value> {
        let _ = self.child.kill();
        let _ = self.child.wait();
        self.events.extend(
            self.lines
                .iter()
                .filter_map(|line| serde_json::from_str(&line).ok()),
        );
        std::mem::take(&mut self.events)
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Sends a signal by number or name to a process.
pub(crate) fn signal(name: &str, pid: u64) {
    let done = Command::new("kill")
        .args([&format!("-{name}"), &pid.to_string()])
        .status()
        .unwrap();
    assert!(done.success(), "kill -{name} {pid}");
}

/// Writes `input` to a command's standard input and waits for it.
pub(crate) fn with_input(mut command: Command, input: &str) -> Output {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(input.as_bytes())
        .unwrap();
    child.wait_with_output().unwrap()
}

/// Every file under `directory` that holds `needle`.
pub(crate) fn files_holding(directory: &Path, needle: &[u8]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![directory.to_owned()];
    while let Some(next) = open.pop() {
        let Ok(entries) = fs::read_dir(&next) else {
            continue;
        };
        for entry in entries.flatten() {
            let kind = entry.file_type().unwrap();
            if kind.is_dir() {
                open.push(entry.path());
            } else if kind.is_file()
                && let Ok(bytes) = fs::read(entry.path())
                && bytes.windows(needle.len()).any(|window| window == needle)
            {
                found.push(entry.path());
            }
        }
    }
    found
}
