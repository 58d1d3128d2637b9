//! What the network may throw at the deployment and the client.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::support::{Deployment, canary, wait_for};

#[test]
fn a_message_without_a_reachable_server_is_queued_and_says_so() {
    let deployment = Deployment::shared();
    let (mut alice, bob) = (deployment.registered("alice"), deployment.registered("bob"));
    alice.befriend(&bob);
    let real = std::mem::replace(&mut alice.server, "127.0.0.1:9".to_owned());
    let queued = alice.fails(&["send", &bob.name, "later", "--timeout", "1s"], 6);
    assert!(queued.stderr.contains("queued"), "{queued:?}");
    alice.server = real;
    alice.ok(&["send", &bob.name, "now"]);
    let heard = bob.ok(&["listen", "--for", "20s", "--count", "2"]);
    assert_eq!(heard.texts(), ["later", "now"]);
}

#[test]
fn a_certificate_that_does_not_match_is_refused() {
    let deployment = Deployment::shared();
    let mut alice = deployment.registered("alice");
    let other = tempfile::tempdir().unwrap();
    sotto_stack::certs::Certificates::ensure(other.path(), std::time::SystemTime::now()).unwrap();
    alice.ca = other.path().join("ca.pem").to_str().unwrap().to_owned();
    let refused = alice.run(&["users"]);
    assert_eq!(refused.code, 6, "{refused:?}");
    assert_eq!(refused.error_code(), "certificate_mismatch", "{refused:?}");
}

/// Random bytes on every port harm nobody (G6).
#[test]
fn random_bytes_on_every_port_harm_nobody() {
    let deployment = Deployment::shared();
    let status = deployment.status();
    let ports = ports_in(&status);
    assert!(ports.len() >= 4, "{status}");
    for port in &ports {
        for round in 0..20 {
            let Ok(mut socket) = TcpStream::connect(("127.0.0.1", *port)) else {
                continue;
            };
            socket
                .set_write_timeout(Some(Duration::from_secs(1)))
                .unwrap();
            let noise = canary().repeat(1 + round * 40);
            let _ = socket.write_all(noise.as_bytes());
        }
    }
    let alice = deployment.registered("alice");
    alice.ok(&["users"]);
}

/// Every number after a colon that could be a port of this deployment.
fn ports_in(value: &serde_json::Value) -> Vec<u16> {
    let text = value.to_string();
    let mut ports: Vec<u16> = text
        .split("127.0.0.1:")
        .skip(1)
        .filter_map(|rest| {
            rest.split(|c: char| !c.is_ascii_digit())
                .next()?
                .parse()
                .ok()
        })
        .collect();
    ports.sort_unstable();
    ports.dedup();
    ports
}

/// A connection that says nothing is closed within the handshake's time (G1).
#[test]
fn a_silent_connection_is_closed() {
    let deployment = Deployment::shared();
    let mut socket = TcpStream::connect(deployment.env("SOTTO_SERVER")).unwrap();
    socket
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    let begun = Instant::now();
    let mut byte = [0];
    assert_eq!(socket.read(&mut byte).unwrap_or(0), 0);
    assert!(begun.elapsed() < Duration::from_secs(12));
}

#[test]
fn status_names_every_process() {
    let deployment = Deployment::shared();
    let status = wait_for("status", || Some(deployment.status()));
    let text = status.to_string();
    for part in ["postgres", "balancer"] {
        assert!(text.contains(part), "{part}: {text}");
    }
}
