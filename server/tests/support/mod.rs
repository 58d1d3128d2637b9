//! Real servers over a real Postgres and real TLS, and a client that speaks
//! the wire and nothing more.
#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "each test binary uses its part, and tests end at the first surprise"
)]

pub mod client;
pub mod group;
pub mod person;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus, Stdio};
use std::time::Duration;

use sotto_stack::certs::Certificates;
use sotto_stack::process::{self, DeathSignal};
use sotto_stack::testing::{TestCluster, TestDatabase};
use tempfile::TempDir;

pub use rustix::process::Signal;

/// How long anything may take on a busy machine before a test fails.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// The wall clock.
#[expect(clippy::disallowed_methods, reason = "a test acts in real time")]
pub fn now() -> std::time::SystemTime {
    std::time::SystemTime::now()
}

pub fn now_ms() -> u64 {
    let since = now().duration_since(std::time::UNIX_EPOCH).unwrap();
    u64::try_from(since.as_millis()).unwrap()
}

/// One server process.
pub struct Process {
    child: Child,
    pub listen: SocketAddr,
    pub admin: SocketAddr,
    pub log: PathBuf,
}

impl Process {
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn signal(&self, signal: Signal) {
        process::signal(&self.child, signal).unwrap();
    }

    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub fn wait(&mut self) -> ExitStatus {
        process::wait_for_exit(&mut self.child, PATIENCE)
            .unwrap()
            .expect("the server did not end")
    }

    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// GETs a path of the private port; status and body.
    pub async fn get(&self, path: &str) -> (u16, String) {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        let mut stream = tokio::net::TcpStream::connect(self.admin).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
        let body = answer.split_once("\r\n\r\n").unwrap().1.to_owned();
        (status, body)
    }

    /// One of the server's counters.
    pub async fn metric(&self, name: &str) -> u64 {
        let (_, text) = self.get("/metrics").await;
        text.lines()
            .find_map(|line| line.strip_prefix(&format!("sotto_server_{name} ")))
            .unwrap_or_else(|| panic!("no metric {name} in {text}"))
            .parse()
            .unwrap()
    }

    pub fn log_text(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("log of the server at {}:\n{}", self.listen, self.log_text());
        }
    }
}

/// A database of its own, certificates, and any number of servers.
pub struct Deployment {
    pub folder: TempDir,
    pub certificates: Certificates,
    pub database_url: String,
    _database: Option<TestDatabase>,
    started: std::cell::Cell<u32>,
}

impl Deployment {
    /// In the cluster that all tests share.
    pub fn new() -> Self {
        let database = TestCluster::shared()
            .create_prepared("sotto_server", |url| async move {
                sotto_server::migrate::migrate(&url).await.map(|_| ())
            })
            .unwrap();
        let url = database.url().to_owned();
        Self::over(url, Some(database))
    }

    /// In a cluster that the test may stop.
    pub fn in_cluster(cluster: &TestCluster) -> Self {
        let database = cluster
            .create_prepared("sotto_server", |url| async move {
                sotto_server::migrate::migrate(&url).await.map(|_| ())
            })
            .unwrap();
        let url = database.url().to_owned();
        Self::over(url, Some(database))
    }

    pub fn over(database_url: String, database: Option<TestDatabase>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let certificates = Certificates::ensure(&folder.path().join("certs"), now()).unwrap();
        Self {
            folder,
            certificates,
            database_url,
            _database: database,
            started: std::cell::Cell::new(0),
        }
    }

    /// Starts a server; `more` are further lines of its configuration.
    pub fn start(&self, more: &str) -> Process {
        let (child, ready, log) = self.launch(more);
        wait_ready(child, &ready, log)
    }

    /// Starts a server and does not wait; returns also its ready file and its log.
    pub fn launch(&self, more: &str) -> (Child, PathBuf, PathBuf) {
        self.launch_with(more, &[])
    }

    /// The same, with variables in its environment.
    pub fn launch_with(
        &self,
        more: &str,
        variables: &[(&str, &Path)],
    ) -> (Child, PathBuf, PathBuf) {
        let number = self.started.get() + 1;
        self.started.set(number);
        let at = |name: &str| self.folder.path().join(format!("{name}{number}"));
        let (config, ready, log) = (at("config"), at("ready"), at("log"));
        std::fs::write(&config, self.configuration(number, &ready, more)).unwrap();
        let mut command = process::bound_command(
            Path::new(env!("CARGO_BIN_EXE_sotto-server")),
            DeathSignal::Kill,
        );
        command.arg("run").arg("--config").arg(&config);
        command.envs(variables.iter().copied());
        let out = std::fs::File::create(&log).unwrap();
        command
            .stdin(Stdio::null())
            .stdout(out.try_clone().unwrap())
            .stderr(out);
        (process::spawn(command).unwrap(), ready, log)
    }

    fn configuration(&self, number: u32, ready: &Path, more: &str) -> String {
        let defaults = [
            ("bcrypt_cost", "4"),
            ("registrations_per_hour", "100000"),
            ("drain_seconds", "2"),
        ];
        let defaults: String = defaults
            .into_iter()
            .filter(|(key, _)| !more.contains(key))
            .map(|(key, value)| format!("{key} = {value}\n"))
            .collect();
        format!(
            "listen = \"127.0.0.1:0\"\nadmin = \"127.0.0.1:0\"\ndatabase_url = {:?}\n\
             tls_cert = {:?}\ntls_key = {:?}\nready_file = {ready:?}\nname = \"s{number}\"\n\
             {defaults}{more}\n",
            self.database_url, self.certificates.cert, self.certificates.key,
        )
    }
}

pub fn wait_ready(mut child: Child, ready: &Path, log: PathBuf) -> Process {
    let came = process::wait_until(PATIENCE, || {
        ready.exists() || child.try_wait().unwrap().is_some()
    });
    assert!(
        came && ready.exists(),
        "not ready: {}",
        std::fs::read_to_string(&log).unwrap()
    );
    let text = std::fs::read_to_string(ready).unwrap();
    let addresses: serde_json::Value = serde_json::from_str(&text).unwrap();
    let address = |key: &str| addresses[key].as_str().unwrap().parse().unwrap();
    Process {
        child,
        listen: address("listen"),
        admin: address("admin"),
        log,
    }
}

/// Looks at a condition until it holds.
pub async fn eventually<F: AsyncFnMut() -> bool>(what: &str, mut condition: F) {
    let held = tokio::time::timeout(PATIENCE, async {
        while !condition().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
    assert!(held.await.is_ok(), "{what} did not come to hold");
}
