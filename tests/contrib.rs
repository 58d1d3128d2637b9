//! What `contrib/` hands to operators fits the programs: configurations are accepted, every key and
//! every metric that is named exists. Whether container engines and systemd like the files is not
//! asked here.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "helpers of tests, which clippy does not recognise as such"
)]

mod support;

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;
use support::{Deployment, SOTTO};

fn contrib() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("contrib")
}

/// Every file under a folder, with its text.
fn texts(folder: &Path) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    let mut open = vec![folder.to_owned()];
    while let Some(next) = open.pop() {
        for entry in fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else if let Ok(text) = fs::read_to_string(&path) {
                found.push((path, text));
            }
        }
    }
    assert!(!found.is_empty());
    found
}

/// The words of a text that begin with `prefix`.
fn words(text: &str, prefix: &str) -> BTreeSet<String> {
    text.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_')
        .filter(|word| word.starts_with(prefix))
        .map(str::to_owned)
        .collect()
}

fn sotto(arguments: &[&str], file: &Path) -> Output {
    Command::new(SOTTO)
        .args(arguments)
        .arg("--config")
        .arg(file)
        .env_clear()
        .output()
        .unwrap()
}

#[test]
fn every_configuration_is_accepted() {
    let mut checked = 0;
    for (path, _) in texts(&contrib()) {
        let name = path.to_string_lossy();
        let arguments: &[&str] = match () {
            () if name.ends_with("balancer.toml") => &["balancer", "--check"],
            () if name.ends_with("server.toml") => &["server", "config", "check"],
            () => {
                assert!(!name.ends_with(".toml"), "{name} is nobody's");
                continue;
            }
        };
        let output = sotto(arguments, &path);
        assert!(output.status.success(), "{name}: {output:?}");
        checked += 1;
    }
    assert_eq!(checked, 4);
}

#[test]
fn every_variable_names_a_key() {
    let output = sotto(
        &["server", "config", "check", "--json"],
        &contrib().join("sotto-server.toml"),
    );
    let keys: BTreeSet<String> = String::from_utf8(output.stdout)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .map(|object| object["key"].as_str().unwrap().to_ascii_uppercase())
        .map(|key| format!("SOTTO_SERVER_{key}"))
        .collect();
    assert!(keys.contains("SOTTO_SERVER_DATABASE_URL"), "{keys:?}");
    let mut used = 0;
    for (path, text) in texts(&contrib()) {
        for word in words(&text, "SOTTO_SERVER_") {
            let known = keys.contains(&word) || word == "SOTTO_SERVER_CONFIG";
            assert!(known, "{}: {word} is no key", path.display());
            used += 1;
        }
    }
    assert!(used > 0);
}

/// What `/metrics` at this address has, by the names that queries use.
fn metrics(address: &str) -> BTreeSet<String> {
    let mut socket = TcpStream::connect(address).unwrap();
    write!(
        socket,
        "GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    )
    .unwrap();
    let mut text = String::new();
    socket.read_to_string(&mut text).unwrap();
    let mut names = BTreeSet::new();
    for line in text.lines() {
        let Some((name, kind)) = line
            .strip_prefix("# TYPE ")
            .and_then(|declared| declared.split_once(' '))
        else {
            continue;
        };
        match kind {
            "gauge" => names.extend([name.to_owned()]),
            "counter" => names.extend([format!("{name}_total")]),
            "histogram" => {
                names.extend(["_bucket", "_sum", "_count"].map(|part| format!("{name}{part}")));
            }
            other => panic!("{name} is a {other}"),
        }
    }
    names
}

#[test]
fn dashboards_and_alerts_name_only_metrics_that_exist() {
    let deployment = Deployment::start(1);
    let status = deployment.status();
    let mut known = BTreeSet::new();
    for process in status["processes"].as_array().unwrap() {
        if let Some(address) = process["admin"].as_str() {
            known.extend(metrics(address));
        }
    }
    for name in [
        "sotto_server_appends_total",
        "sotto_balancer_backend_up",
        "sotto_balancer_connect_seconds_bucket",
    ] {
        assert!(known.contains(name), "{known:?}");
    }
    for folder in ["grafana", "prometheus"] {
        let mut used = 0;
        for (path, text) in texts(&contrib().join(folder)) {
            for prefix in ["sotto_server_", "sotto_balancer_"] {
                for name in words(&text, prefix) {
                    let place = path.display();
                    assert!(known.contains(&name), "{place}: no metric is called {name}");
                    used += 1;
                }
            }
        }
        assert!(used >= 10, "{folder} names {used} metrics");
    }
}

#[test]
fn the_dashboard_is_one() {
    let text = fs::read_to_string(contrib().join("grafana/sotto.json")).unwrap();
    let dashboard: Value = serde_json::from_str(&text).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let mut ids = BTreeSet::new();
    for panel in panels {
        assert!(ids.insert(panel["id"].as_u64().unwrap()), "{panel}");
        let queries = panel["targets"].as_array();
        let row = panel["type"] == "row";
        assert!(row || queries.is_some_and(|all| !all.is_empty()), "{panel}");
    }
}
