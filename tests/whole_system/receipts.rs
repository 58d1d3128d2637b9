//! A sender can wait until a message arrived, and until somebody saw it.

use std::process::{Child, Stdio};

use serde_json::Value;

use crate::support::{Deployment, Person, Said, said, texts};

/// What the last receipt says.
fn receipt(said: &Said) -> (u64, u64) {
    let last = said.events.last().unwrap();
    assert_eq!(last["event"], "receipt", "{said:?}");
    let mark = |field: &str| last[field].as_u64().unwrap();
    (mark("delivered_up_to"), mark("read_up_to"))
}

fn seq(said: &Said) -> u64 {
    let sent = said.events.iter().find(|event| event["event"] == "sent");
    sent.unwrap()["seq"].as_u64().unwrap()
}

/// Starts a program that sends one message and waits until it was read.
fn send_until_read(from: &Person, to: &Person, timeout: &str) -> Child {
    from.command(&[
        "send",
        &to.name,
        "one",
        "--wait",
        "read",
        "--timeout",
        timeout,
    ])
    .stdout(Stdio::piped())
    .stderr(Stdio::piped())
    .spawn()
    .unwrap()
}

#[test]
fn waiting_ends_when_the_other_person_listens() {
    let deployment = Deployment::shared();
    let (alice, bob) = (deployment.registered("alice"), deployment.registered("bob"));
    alice.befriend(&bob);
    let mut at_bob = bob.listen();
    for wait in ["delivered", "read"] {
        let text = format!("until {wait}");
        let sent = alice.ok(&["send", &bob.name, &text, "--wait", wait, "--timeout", "30s"]);
        let (delivered, read) = receipt(&sent);
        assert!(delivered >= seq(&sent), "{sent:?}");
        assert!(wait == "delivered" || read >= seq(&sent), "{sent:?}");
    }
    at_bob.until("both messages", |events| texts(events).len() == 2);
    assert_eq!(alice.ok(&["history", &bob.name]).texts().len(), 3);
    drop(at_bob);
    assert_eq!(bob.ok(&["history", &alice.name]).texts().len(), 3);
}

#[test]
fn a_program_that_ends_after_one_message_still_tells_that_it_was_read() {
    let deployment = Deployment::shared();
    let (alice, bob) = (deployment.registered("alice"), deployment.registered("bob"));
    alice.befriend(&bob);
    let waiting = send_until_read(&alice, &bob, "40s");
    bob.ok(&["listen", "--for", "30s", "--count", "1"]);
    let sent = said(waiting.wait_with_output().unwrap());
    assert_eq!(sent.code, 0, "{sent:?}");
    assert!(receipt(&sent).1 >= seq(&sent), "{sent:?}");
}

#[test]
fn a_message_that_nobody_looked_at_is_not_read() {
    let deployment = Deployment::shared();
    let (alice, bob) = (deployment.registered("alice"), deployment.registered("bob"));
    alice.befriend(&bob);
    let waiting = send_until_read(&alice, &bob, "6s");
    // Connects, and so receives, without showing anything.
    bob.ok(&["requests"]);
    let sent = said(waiting.wait_with_output().unwrap());
    assert_eq!((sent.code, sent.error_code().as_str()), (6, "timed_out"));
    bob.ok(&["listen", "--for", "20s", "--count", "1"]);
}

#[test]
fn a_lost_device_is_told_of_at_once_and_nothing_counts_as_delivered_to_the_next() {
    let deployment = Deployment::shared();
    let (alice, bob) = (deployment.registered("alice"), deployment.registered("bob"));
    alice.befriend(&bob);
    alice.ok(&["send", &bob.name, "into the void"]);
    let mut at_alice = alice.listen();
    let mut anew = deployment.person(&bob.name);
    anew.password_file.clone_from(&bob.password_file);
    anew.ok(&["login", &bob.name, "--new-identity", "--yes"]);
    at_alice.until("word of the change", |events| {
        let told = |event: &&Value| event["event"] == "security" && event["kind"] == "key_changed";
        events.iter().any(|event| told(&event))
    });
    drop(at_alice);
    let refused = alice.fails(&["send", &bob.name, "to whom?"], 5);
    assert_eq!(refused.error_code(), "key_changed");
    anew.ok(&["send", &alice.name, "it is me"]);
    alice.ok(&["accept", &bob.name]);
    let mut at_bob = anew.listen();
    let wait = ["--wait", "read", "--timeout", "30s"];
    alice.ok(&[&["send", &bob.name, "welcome back"][..], &wait].concat());
    at_bob.until("the message", |events| texts(events) == ["welcome back"]);
    let history = alice.ok(&["history", &bob.name]);
    let reached = |text: &str| {
        let message = history.events.iter().find(|event| event["text"] == text);
        message.unwrap()["read_by"].as_u64()
    };
    assert_eq!(reached("welcome back"), Some(1), "{history:?}");
    assert_eq!(reached("into the void"), Some(0), "{history:?}");
}
