//! SIGKILL at bad moments.

use serde_json::Value;

use crate::support::{Deployment, signal, texts, wait_for};

/// Pids of the servers with their live sessions, busiest first.
fn servers(status: &Value) -> Vec<(u64, u64)> {
    let mut found: Vec<(u64, u64)> = status["processes"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|process| process["kind"] == "server")
        .map(|process| {
            (
                process["pid"].as_u64().unwrap_or(0),
                process["sessions"].as_u64().unwrap_or(0),
            )
        })
        .collect();
    found.sort_by_key(|(_, sessions)| std::cmp::Reverse(*sessions));
    found
}

/// K1, K2, C14: every server is killed in turn while a stream of messages runs.
#[test]
fn killing_every_server_in_turn_loses_nothing() {
    let deployment = Deployment::start(3);
    let (alice, bob) = (deployment.registered("alice"), deployment.registered("bob"));
    alice.befriend(&bob);
    let mut at_bob = bob.listen();
    let count = 30;
    let sent: Vec<String> = (0..count)
        .map(|number| format!("message {number}"))
        .collect();
    for (number, text) in sent.iter().enumerate() {
        if number % 10 == 5 {
            let status = deployment.status();
            let (pid, _) = servers(&status)[0];
            signal("KILL", pid);
        }
        alice.ok(&["send", &bob.name, text]);
    }
    at_bob.until("all messages", |events| texts(events).len() >= sent.len());
    let heard: Vec<_> = texts(&at_bob.events)
        .into_iter()
        .filter(|text| sent.contains(text))
        .collect();
    assert_eq!(heard, sent);
}

/// K8: Postgres dies and returns; clients wait and nothing is lost.
#[test]
fn postgres_may_die_in_the_middle() {
    let deployment = Deployment::start(3);
    let (alice, bob) = (deployment.registered("alice"), deployment.registered("bob"));
    alice.befriend(&bob);
    let status = deployment.status();
    let postgres = status["processes"]
        .as_array()
        .unwrap()
        .iter()
        .find(|process| process["kind"] == "postgres")
        .and_then(|process| process["pid"].as_u64())
        .unwrap();
    alice.ok(&["send", &bob.name, "before"]);
    signal("KILL", postgres);
    wait_for("a message to pass again", || {
        (alice
            .run(&["send", &bob.name, "after", "--timeout", "5s"])
            .code
            == 0)
            .then_some(())
    });
    let heard = bob.ok(&["listen", "--for", "5s"]).texts();
    assert_eq!(
        heard.first().map(String::as_str),
        Some("before"),
        "{heard:?}"
    );
    assert!(heard.contains(&"after".to_owned()), "{heard:?}");
}
