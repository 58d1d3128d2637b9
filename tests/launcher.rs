//! `sotto up`, `status` and `down` with everything real: what starts, what comes back, what is
//! left behind (nothing).
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "helpers of tests, which clippy does not recognise as such"
)]

use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

const SOTTO: &str = env!("CARGO_BIN_EXE_sotto");
const DEADLINE: Duration = Duration::from_secs(60);

/// A folder that is taken down when the test ends, whatever its outcome.
struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        // Postgres runs as another user when the tests run as root.
        let open = std::os::unix::fs::PermissionsExt::from_mode(0o711);
        Self(
            tempfile::Builder::new()
                .prefix("sotto-launcher-")
                .permissions(open)
                .tempdir()
                .unwrap(),
        )
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn run(&self, command: &str, arguments: &[&str]) -> Output {
        Command::new(SOTTO)
            .arg(command)
            .arg("--dir")
            .arg(self.path().join("up"))
            .args(arguments)
            .env_remove("SOTTO_DATABASE_URL")
            .stdin(Stdio::null())
            .output()
            .unwrap()
    }

    fn up(&self) {
        let output = self.run("up", &["--detach", "--servers", "2"]);
        assert!(output.status.success(), "{output:?}");
    }

    fn status(&self) -> Value {
        let output = self.run("status", &["--json"]);
        serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{output:?}"))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        self.run("down", &[]);
    }
}

/// Name, process id and health of every process.
fn processes(status: &Value) -> Vec<(String, u64, bool)> {
    status["processes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|process| {
            (
                process["name"].as_str().unwrap().to_owned(),
                process["pid"].as_u64().unwrap_or(0),
                process["healthy"].as_bool().unwrap(),
            )
        })
        .collect()
}

fn pid_of(status: &Value, name: &str) -> u64 {
    let all = processes(status);
    all.iter().find(|(known, ..)| known == name).unwrap().1
}

fn kill(signal: &str, pid: u64) {
    let done = Command::new("kill")
        .args([signal, &pid.to_string()])
        .status()
        .unwrap();
    assert!(done.success());
}

/// Whether a process runs; one that ended and that nobody has reaped does not.
fn runs(pid: u64) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ")
        .is_some_and(|(_, rest)| !rest.starts_with('Z'))
}

fn wait_for(what: &str, mut condition: impl FnMut() -> bool) {
    let end = Instant::now() + DEADLINE;
    while !condition() {
        assert!(Instant::now() < end, "gave up waiting for {what}");
        std::thread::park_timeout(Duration::from_millis(50));
    }
}

#[test]
fn it_starts_detached_shows_itself_and_stops_without_a_trace() {
    let folder = Folder::new();
    assert_eq!(folder.run("status", &[]).status.code(), Some(6));
    folder.up();
    let env = std::fs::read_to_string(folder.path().join("up/env")).unwrap();
    for name in [
        "SOTTO_SERVER",
        "SOTTO_CA",
        "SOTTO_HOME",
        "SOTTO_DATABASE_URL",
    ] {
        assert!(env.contains(&format!("export {name}='")), "{env}");
    }
    let status = folder.status();
    let names: Vec<_> = processes(&status)
        .into_iter()
        .map(|(name, ..)| name)
        .collect();
    assert_eq!(names, ["postgres", "s1", "s2", "balancer"]);
    assert!(
        processes(&status).iter().all(|(_, _, healthy)| *healthy),
        "{status}"
    );

    let again = folder.run("up", &["--detach"]);
    assert_eq!(again.status.code(), Some(1), "{again:?}");
    assert!(
        String::from_utf8_lossy(&again.stderr).contains("already running"),
        "{again:?}"
    );

    let pids: Vec<u64> = processes(&status)
        .into_iter()
        .map(|(_, pid, _)| pid)
        .collect();
    assert!(pids.iter().all(|pid| runs(*pid)));
    assert!(folder.run("down", &[]).status.success());
    assert!(pids.iter().all(|pid| !runs(*pid)));
    assert!(!folder.path().join("up/env").exists());
    assert!(folder.run("down", &[]).status.success());
}

#[test]
fn what_is_killed_comes_back_at_the_same_address() {
    let folder = Folder::new();
    folder.up();
    let before = folder.status();
    for name in ["s1", "balancer", "postgres"] {
        kill("-KILL", pid_of(&before, name));
    }
    wait_for("everything to be back", || {
        let now = folder.status();
        processes(&now).iter().all(|(_, _, healthy)| *healthy)
            && ["s1", "balancer", "postgres"]
                .iter()
                .all(|name| pid_of(&now, name) != pid_of(&before, name))
    });
    let after = folder.status();
    assert_eq!(pid_of(&after, "s2"), pid_of(&before, "s2"));
    for (old, new) in before["processes"]
        .as_array()
        .unwrap()
        .iter()
        .zip(after["processes"].as_array().unwrap())
    {
        assert_eq!(old["address"], new["address"]);
        assert_eq!(old["admin"], new["admin"]);
    }
}

#[test]
fn a_killed_launcher_takes_everything_along_and_the_next_one_goes_on() {
    let folder = Folder::new();
    folder.up();
    let before = folder.status();
    let pids: Vec<u64> = processes(&before)
        .into_iter()
        .map(|(_, pid, _)| pid)
        .collect();
    kill("-KILL", before["launcher_pid"].as_u64().unwrap());
    wait_for("its processes to end", || {
        pids.iter().all(|pid| !runs(*pid))
    });
    assert_eq!(folder.run("status", &[]).status.code(), Some(6));
    folder.up();
    assert_eq!(folder.status()["server"], before["server"]);
}

#[test]
fn two_folders_live_side_by_side() {
    let (one, two) = (Folder::new(), Folder::new());
    one.up();
    two.up();
    let (first, second) = (one.status(), two.status());
    assert_ne!(first["server"], second["server"]);
    assert_ne!(first["database_url"], second["database_url"]);
    assert!(one.run("down", &[]).status.success());
    assert!(
        processes(&two.status())
            .iter()
            .all(|(_, _, healthy)| *healthy)
    );
}

#[test]
fn without_postgres_it_says_what_was_tried() {
    let folder = Folder::new();
    let output = Command::new(SOTTO)
        .args(["up", "--no-install", "--dir"])
        .arg(folder.path().join("up"))
        .env_remove("SOTTO_DATABASE_URL")
        .env("SOTTO_PG_BIN", folder.path())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(69), "{output:?}");
    let text = String::from_utf8_lossy(&output.stderr);
    for part in [
        "no Postgres found",
        "SOTTO_PG_BIN",
        "--no-install",
        "apt-get install postgresql",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
}
