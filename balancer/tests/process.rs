//! The binary: command line, ready file, signals, exit codes, status, metrics, memory.

#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests; panics are their verdicts"
)]

mod support;

use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;
use support::*;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

fn command(directory: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sotto-balancer"));
    command
        .arg("--config")
        .arg(directory.join("balancer.toml"))
        .arg("--ready-file")
        .arg(directory.join("ready.json"))
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}

fn write_config(directory: &Path, backends: &[&Backend], more: &str) {
    let tables: String = backends.iter().map(|backend| backend.table()).collect();
    let text = format!("listen = [\"127.0.0.1:0\"]\nadmin = \"127.0.0.1:0\"\n{tables}{more}");
    std::fs::write(directory.join("balancer.toml"), text).unwrap();
}

async fn ready(directory: &Path) -> (SocketAddr, SocketAddr) {
    let path = directory.join("ready.json");
    until("the ready file", || async { path.exists() }).await;
    let ready: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let address = |value: &serde_json::Value| value.as_str().unwrap().parse().unwrap();
    (address(&ready["listen"][0]), address(&ready["admin"]))
}

fn signal(child: &Child, signal: rustix::process::Signal) {
    let pid = i32::try_from(child.id().unwrap()).unwrap();
    let pid = rustix::process::Pid::from_raw(pid).unwrap();
    rustix::process::kill_process(pid, signal).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn runs_reloads_and_stops_by_signals() {
    let (a, b) = (Backend::start("s1").await, Backend::start("s2").await);
    let directory = tempfile::tempdir().unwrap();
    write_config(directory.path(), &[&a], QUICK);
    let mut child = command(directory.path()).spawn().unwrap();
    let (front, admin) = ready(directory.path()).await;
    until_states_at(admin, "up", 1).await;
    assert!(get(admin, "/readyz").await.0.contains("200"));
    let mut socket = TcpStream::connect(front).await.unwrap();
    assert_eq!(greet(&mut socket).await.as_deref(), Some("s1"));
    let client = socket.local_addr().unwrap().to_string();

    // A broken file changes nothing; a good one is taken over.
    std::fs::write(directory.path().join("balancer.toml"), "listen = 5").unwrap();
    signal(&child, rustix::process::Signal::HUP);
    write_config(directory.path(), &[&a, &b], QUICK);
    signal(&child, rustix::process::Signal::HUP);
    until_states_at(admin, "up", 2).await;

    let (_, metrics) = get(admin, "/metrics").await;
    for line in [
        "sotto_balancer_connections_accepted_total 1",
        "sotto_balancer_connections 1",
        "sotto_balancer_backend_up{backend=\"s2\"} 1",
        "sotto_balancer_backend_clients_total{backend=\"s1\"} 1",
    ] {
        assert!(metrics.contains(line), "{line} not in:\n{metrics}");
    }

    signal(&child, rustix::process::Signal::TERM);
    until("not ready", || async {
        TcpStream::connect(front).await.is_err()
    })
    .await;
    assert!(get(admin, "/readyz").await.0.contains("503"));
    drop(socket);
    assert!(within("the exit", child.wait()).await.unwrap().success());
    let mut log = String::new();
    child
        .stderr
        .take()
        .unwrap()
        .read_to_string(&mut log)
        .await
        .unwrap();
    assert!(log.contains("configuration not reloaded") || log.contains("configuration reloaded"));
    assert!(
        !log.contains(&client),
        "no client's address is logged: {log}"
    );
}

#[tokio::test]
async fn checks_configurations_and_says_what_is_wrong() {
    let a = Backend::start("s1").await;
    let directory = tempfile::tempdir().unwrap();
    write_config(directory.path(), &[&a], "");
    let output = command(directory.path())
        .arg("--check")
        .output()
        .await
        .unwrap();
    assert!(output.status.success());
    write_config(directory.path(), &[&a], "wieght = 1\n");
    let output = command(directory.path())
        .arg("--check")
        .output()
        .await
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(text.contains("wieght"), "{text}");
    let output = command(&directory.path().join("nowhere"))
        .output()
        .await
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    // A port that is taken.
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    write_config(directory.path(), &[&a], "");
    let output = command(directory.path())
        .env(
            "SOTTO_BALANCER_LISTEN",
            taken.local_addr().unwrap().to_string(),
        )
        .output()
        .await
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(
        String::from_utf8(output.stderr)
            .unwrap()
            .contains("cannot listen")
    );
}

fn resident_bytes(child: &Child) -> u64 {
    let path = format!("/proc/{}/status", child.id().unwrap());
    let text = std::fs::read_to_string(path).unwrap();
    let line = text.lines().find(|line| line.starts_with("VmRSS")).unwrap();
    line.split_whitespace()
        .nth(1)
        .unwrap()
        .parse::<u64>()
        .unwrap()
        * 1024
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn an_idle_connection_costs_at_most_three_kilobytes() {
    const CLIENTS: usize = 1_000;
    let a = Backend::start("s1").await;
    let directory = tempfile::tempdir().unwrap();
    write_config(directory.path(), &[&a], QUICK);
    let child = command(directory.path()).spawn().unwrap();
    let (front, admin) = ready(directory.path()).await;
    until_states_at(admin, "up", 1).await;
    let mut open = Vec::new();
    let mut before = 0;
    for number in 0..CLIENTS + 200 {
        if number == 200 {
            before = resident_bytes(&child);
        }
        let mut socket = TcpStream::connect(front).await.unwrap();
        assert!(greet(&mut socket).await.is_some());
        open.push(socket);
    }
    let each = (resident_bytes(&child) - before) / CLIENTS as u64;
    assert!(each <= 3 * 1024, "{each} bytes for each idle connection");
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn a_crowd_of_slow_handshakes_costs_little_and_is_gone_in_time() {
    const CROWD: usize = 2_000;
    let a = Backend::start("s1").await;
    let directory = tempfile::tempdir().unwrap();
    // With the default time for a hello: five seconds.
    write_config(directory.path(), &[&a], QUICK);
    let child = command(directory.path()).spawn().unwrap();
    let (front, admin) = ready(directory.path()).await;
    until_states_at(admin, "up", 1).await;
    let before = resident_bytes(&child);
    let mut crowd = Vec::new();
    for _ in 0..CROWD {
        let mut socket = TcpStream::connect(front).await.unwrap();
        socket.write_all(&hello()[..7]).await.unwrap();
        crowd.push(socket);
    }
    until("all of them", || async {
        status_at(admin).await["totals"]["accepted"] == CROWD
    })
    .await;
    let growth = resident_bytes(&child) - before;
    assert!(growth < 24 * 1024 * 1024, "{growth} bytes for {CROWD}");
    let mut honest = TcpStream::connect(front).await.unwrap();
    assert_eq!(greet(&mut honest).await.as_deref(), Some("s1"));
    let started = tokio::time::Instant::now();
    for socket in &mut crowd {
        until_closed(socket).await;
    }
    assert!(started.elapsed() < Duration::from_secs(10));
    assert_eq!(status_at(admin).await["totals"]["connections"], 1);
}

/// Socket activation: clients can connect before the balancer runs, and while it is replaced.
#[tokio::test(flavor = "multi_thread")]
async fn takes_the_sockets_that_a_supervisor_opened() {
    use std::os::fd::AsRawFd as _;
    let backend = Backend::start("s1").await;
    let directory = tempfile::tempdir().unwrap();
    write_config(directory.path(), &[&backend], QUICK);
    let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let front = socket.local_addr().unwrap();
    // The child is to have it: as its third descriptor, as supervisors do it.
    rustix::io::fcntl_setfd(&socket, rustix::io::FdFlags::empty()).unwrap();
    let program = command(directory.path());
    let program = program.as_std();
    let start = || {
        let hand_over = format!(
            "LISTEN_PID=$$ LISTEN_FDS=1 exec \"$0\" \"$@\" 3<&{}",
            socket.as_raw_fd()
        );
        // bash: a plain sh takes descriptors of one digit only.
        let mut shell = Command::new("bash");
        shell
            .args(["-c", &hand_over])
            .arg(program.get_program())
            .args(program.get_args())
            .kill_on_drop(true);
        shell.spawn().unwrap()
    };
    let mut early = TcpStream::connect(front).await.unwrap();
    let mut child = start();
    let (listening, _) = ready(directory.path()).await;
    assert_eq!(listening, front);
    assert_eq!(greet(&mut early).await.as_deref(), Some("s1"));
    drop(early);
    signal(&child, rustix::process::Signal::TERM);
    assert!(within("the exit", child.wait()).await.unwrap().success());
    let mut waiting = TcpStream::connect(front).await.unwrap();
    let _next = start();
    assert_eq!(greet(&mut waiting).await.as_deref(), Some("s1"));
}

/// A supervisor is told when clients can connect, and when they no longer can.
#[tokio::test(flavor = "multi_thread")]
async fn tells_its_supervisor_that_it_is_ready_and_that_it_stops() {
    let backend = Backend::start("s1").await;
    let directory = tempfile::tempdir().unwrap();
    write_config(directory.path(), &[&backend], QUICK);
    let address = directory.path().join("notify");
    let supervisor = tokio::net::UnixDatagram::bind(&address).unwrap();
    let mut child = command(directory.path())
        .env("NOTIFY_SOCKET", &address)
        .spawn()
        .unwrap();
    let mut message = [0; 256];
    let length = within("the readiness", supervisor.recv(&mut message)).await;
    assert_eq!(message[..length.unwrap()].trim_ascii(), b"READY=1");
    let (front, _) = ready(directory.path()).await;
    assert!(TcpStream::connect(front).await.is_ok());
    signal(&child, rustix::process::Signal::TERM);
    let length = within("the end", supervisor.recv(&mut message)).await;
    assert_eq!(message[..length.unwrap()].trim_ascii(), b"STOPPING=1");
    assert!(within("the exit", child.wait()).await.unwrap().success());
}
