//! Every scenario for a moment, in small: against a real deployment that one test starts, and one
//! that the program starts itself. Asks whether all messages arrived and all figures are there,
//! never how fast anything was. The comparisons with other servers are left out: those are not
//! installed everywhere.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "helpers of tests, which clippy does not recognise as such"
)]

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use sotto_stack::process::{DeathSignal, bound_command};

const BENCH: &str = env!("CARGO_BIN_EXE_sotto-bench");
/// A deployment is ready within this, an installation of Postgres included.
const READY_WITHIN: Duration = Duration::from_secs(180);
/// As the program sets up its own: cheap passwords, and nobody registers too often.
const SETTINGS: [(&str, &str); 4] = [
    ("SOTTO_UP_SERVER_BCRYPT_COST", "4"),
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

/// The program that starts deployments; built first where only this package was asked for.
fn sotto() -> PathBuf {
    let program = Path::new(BENCH).with_file_name("sotto");
    if !program.is_file() {
        let mut build = Command::new(env!("CARGO"));
        build.args(["build", "--package", "sotto", "--bin", "sotto"]);
        if !cfg!(debug_assertions) {
            build.arg("--release");
        }
        assert!(build.status().unwrap().success());
    }
    program
}

/// A deployment that ends with this value, or with its thread.
struct Deployment {
    launcher: Child,
    dir: tempfile::TempDir,
}

impl Deployment {
    fn start() -> Self {
        let dir = tempfile::Builder::new()
            .prefix("sotto-smoke-")
            .tempdir()
            .unwrap();
        let launcher = bound_command(&sotto(), DeathSignal::Terminate)
            .arg("up")
            .arg("--dir")
            .arg(dir.path())
            .args(["--servers", "3"])
            .envs(SETTINGS)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let mut deployment = Self { launcher, dir };
        deployment.await_ready();
        deployment
    }

    fn await_ready(&mut self) {
        let deadline = Instant::now() + READY_WITHIN;
        while self.state()["phase"] != "ready" {
            assert!(Instant::now() < deadline, "the deployment is not ready");
            assert!(matches!(self.launcher.try_wait(), Ok(None)), "it ended");
            std::thread::park_timeout(Duration::from_millis(20));
        }
    }

    fn state_file(&self) -> PathBuf {
        self.dir.path().join("state.json")
    }

    /// Null while there is none.
    fn state(&self) -> Value {
        let text = std::fs::read_to_string(self.state_file()).unwrap_or_default();
        serde_json::from_str(&text).unwrap_or_default()
    }

    /// Runs a scenario against it.
    fn run(&self, arguments: &[&str]) -> Value {
        let state = self.state();
        let state_file = self.state_file();
        let mut all = arguments.to_vec();
        all.extend(["--server", state["server"].as_str().unwrap()]);
        all.extend(["--ca", state["ca"].as_str().unwrap()]);
        all.extend(["--state", state_file.to_str().unwrap()]);
        bench(&all)
    }
}

impl Drop for Deployment {
    fn drop(&mut self) {
        let pid = self.launcher.id().to_string();
        let _ = Command::new("kill").args(["-TERM", &pid]).status();
        let _ = self.launcher.wait();
    }
}

/// Runs the program; every message must have arrived.
fn bench(arguments: &[&str]) -> Value {
    let output = Command::new(BENCH)
        .args(arguments)
        .arg("--json")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{arguments:?}: {said} {output:?}");
    let results: Value = serde_json::from_str(&said).unwrap();
    assert_eq!(results["scenario"], arguments[0]);
    assert_eq!(results["failures"], Value::Array(Vec::new()));
    results
}

/// The runs of a result that carried messages, each checked.
fn delivered(results: &Value) -> u64 {
    let runs = results["runs"].as_array().unwrap();
    let messages = runs.iter().filter_map(|run| run["messages"].as_object());
    let mut sum = 0;
    for tally in messages {
        for fault in ["lost", "duplicated", "reordered"] {
            assert_eq!(tally[fault], 0, "{results}");
        }
        sum += tally["delivered"].as_u64().unwrap();
    }
    sum
}

fn titles(results: &Value) -> String {
    let tables = results["tables"].as_array().unwrap();
    let titles = tables.iter().map(|table| table["title"].as_str().unwrap());
    titles.collect::<Vec<_>>().join("; ")
}

#[test]
fn every_scenario_runs_and_its_results_can_be_drawn() {
    let deployment = Deployment::start();
    let quick = ["--no-machine", "--for", "300ms"];
    let run = |arguments: &[&str]| deployment.run(&[arguments, &quick].concat());

    let online = run(&["one-to-one-online", "--clients", "4"]);
    assert_eq!(online["runs"].as_array().unwrap().len(), 3);
    assert!(delivered(&online) > 10);
    let random = ["--rate", "60", "--arrivals", "poisson", "--seed", "5"];
    let paced = run(&[&["one-to-one-online", "--clients", "4"], &random[..]].concat());
    assert!(delivered(&paced) > 10);
    assert!(delivered(&run(&["offline-store", "--clients", "4"])) > 10);
    assert!(delivered(&run(&["group-fanout-100", "--clients", "6"])) > 10);
    run(&["idle-10k", "--clients", "12"]);

    let file = ["--file-bytes", "3000000", "--rounds", "1"];
    let files = run(&[&["attachment-transfer", "--clients", "4"], &file[..]].concat());
    assert!(titles(&files).contains("a file of 3 MB"), "{files}");
    assert!(delivered(&files) > 10);
    let last = files["runs"].as_array().unwrap().last().unwrap();
    assert!(
        last["figures"]["files sent and fetched"].as_f64() >= Some(1.0),
        "{files}"
    );

    // Two groups of which one is not full, and people who leave and come back.
    let day = [
        "mixed-day",
        "--clients",
        "46",
        "--rate",
        "120",
        "--for",
        "2s",
    ];
    let day = deployment.run(&[&day[..], &["--no-machine"]].concat());
    assert!(delivered(&day) > 200, "{day}");
    let figures = &day["runs"][0]["figures"];
    assert!(
        figures["people who came back"].as_f64() >= Some(5.0),
        "{day}"
    );
    assert_eq!(figures["Postgres: deadlocks"], 0.0);
    assert!(titles(&day).contains("processes") && titles(&day).contains("Postgres"));

    let storm = run(&["reconnect-storm", "--clients", "12"]);
    assert_eq!(delivered(&storm), 24);

    let drawing = deployment.dir.path().join("results.json");
    std::fs::write(&drawing, day.to_string()).unwrap();
    let output = Command::new(BENCH)
        .arg("chart")
        .args([&drawing, &drawing])
        .output()
        .unwrap();
    let svg = String::from_utf8(output.stdout).unwrap();
    assert!(
        output.status.success() && svg.ends_with("</svg>\n"),
        "{svg}"
    );
    assert_eq!(svg.matches("mixed-day on").count(), 2);
}

#[test]
fn a_message_is_followed_through_a_deployment_of_its_own() {
    let program = sotto();
    let program = program.to_str().unwrap();
    let path = bench(&[
        "message-path",
        "--clients",
        "16",
        "--for",
        "500ms",
        "--sotto",
        program,
    ]);
    assert!(path["machine"]["echo"]["per_s"].as_f64() > Some(0.0));
    assert!(
        titles(&path).contains("where the time of a message goes"),
        "{path}"
    );
    assert!(
        titles(&path).contains("where the CPU of a message goes"),
        "{path}"
    );
    assert!(delivered(&path) > 10);
    // What the servers count themselves: of the pairs on one server, or on two.
    for stage in [
        "client: seal and store",
        "server: waits for a transaction",
        "Postgres: the transaction",
        "server: hint to session, read, handed over",
    ] {
        let tables = path["tables"].as_array().unwrap().iter();
        let rows = tables.flat_map(|table| table["rows"].as_array().unwrap());
        let row = rows.into_iter().find(|row| row["name"] == stage);
        let values = row.unwrap()["values"].as_array().unwrap();
        let us = [&values[0], &values[2]].map(|us| us.as_f64().unwrap_or(0.0));
        assert!(us[0] > 0.0 || us[1] > 0.0, "{stage}: {path}");
    }
}

#[test]
fn what_needs_no_deployment_needs_none() {
    let sealing = bench(&["sealing", "--for", "50ms"]);
    assert_eq!(sealing["runs"].as_array().unwrap().len(), 5);
}
