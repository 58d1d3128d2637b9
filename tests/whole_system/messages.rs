//! The whole life of a message through a real deployment: answered, edited,
//! reacted to, pinned, passed on, found, exported, taken back, gone; each
//! command a process of its own, the receiver away for a part of it.

use serde_json::Value;

use crate::support::{Deployment, Person, canary, files_holding, wait_for};

fn history(person: &Person, other: &Person) -> Vec<Value> {
    person.ok(&["history", &other.name]).events
}

fn last(person: &Person, other: &Person) -> Value {
    history(person, other).pop().unwrap()
}

/// The beginning of the id of the last message, as people would type it.
fn short_id(message: &Value) -> String {
    message["id"].as_str().unwrap().chars().take(8).collect()
}

/// Whether an event says what was done to a message.
fn is_change(event: &Value, kind: &str) -> bool {
    event["event"] == "message" && event["kind"] == kind
}

#[test]
fn a_message_lives_its_life() {
    let deployment = Deployment::shared();
    let (alice, bob) = (deployment.registered("alice"), deployment.registered("bob"));
    alice.befriend(&bob);
    let secret = canary();
    alice.ok(&["send", &bob.name, &format!("meet at {secret}")]);
    bob.ok(&["listen", "--for", "30s", "--count", "1"]);
    let theirs = format!("{}@theirs", alice.name);
    bob.ok(&[
        "send",
        &alice.name,
        "gladly",
        "--reply",
        &theirs,
        "--mention",
        &alice.name,
    ]);
    bob.ok(&["react", &theirs, "👍"]);

    let mut at_alice = alice.listen();
    at_alice.until("the reaction", |events| {
        events.iter().any(|event| is_change(event, "reaction"))
    });
    drop(at_alice);
    let answer = last(&alice, &bob);
    assert_eq!(answer["text"], "gladly");
    assert_eq!(answer["reply_to"]["quote"], format!("meet at {secret}"));
    assert_eq!(answer["reply_to"]["sender"], alice.name.as_str());
    assert_eq!(answer["mentions"][0], alice.name.as_str());
    let mine = format!("{}@mine", bob.name);
    let first = history(&alice, &bob).remove(1);
    assert_eq!(first["reactions"][0]["emoji"], "👍");
    assert_eq!(first["reactions"][0]["by"][0], bob.name.as_str());

    // Bob is away: what happens meanwhile reaches him later, in order.
    alice.ok(&["edit", &mine, &format!("meet at noon, {secret}")]);
    alice.ok(&["pin", &short_id(&first)]);
    let mut at_bob = bob.listen();
    at_bob.until("edit and pin", |events| {
        events.iter().any(|event| is_change(event, "edit"))
            && events.iter().any(|event| is_change(event, "pin"))
    });
    at_bob.kill();
    let seen = history(&bob, &alice).remove(1);
    assert_eq!(seen["text"], format!("meet at noon, {secret}"));
    assert_eq!(
        (&seen["edited"], &seen["pinned"]),
        (&true.into(), &true.into())
    );
    let found = bob
        .ok(&["search", &format!("noon {}", &secret[..6])])
        .events;
    assert_eq!(found.len(), 1, "{found:?}");

    // Only the author changes it; a name that fits nothing is said to fit nothing.
    let refused = bob.run(&["edit", &short_id(&first), "later"]);
    assert_eq!(
        (refused.code, refused.error_code().as_str()),
        (5, "not_allowed")
    );
    let unknown = bob.run(&["delete", "00000000"]);
    assert_eq!(
        (unknown.code, unknown.error_code().as_str()),
        (4, "unknown_message")
    );

    alice.ok(&["delete", &short_id(&first)]);
    let mut at_bob = bob.listen();
    at_bob.until("the deletion", |events| {
        events.iter().any(|event| is_change(event, "delete"))
    });
    drop(at_bob);
    for (person, other) in [(&alice, &bob), (&bob, &alice)] {
        assert_gone(deployment, person, other, &secret);
        assert_eq!(history(person, other).remove(1)["kind"], "deleted");
    }
}

/// D9: nothing that a person can ask for shows it, and no file holds it.
fn assert_gone(deployment: &Deployment, person: &Person, other: &Person, secret: &str) {
    let export = tempfile::tempdir().unwrap();
    let folder = export.path().join("out");
    let folder = folder.to_str().unwrap();
    let said = [
        person.ok(&["history", &other.name]).events,
        person.ok(&["search", secret]).events,
        person.ok(&["chats"]).events,
        person.ok(&["export", &other.name, "--to", folder]).events,
    ];
    for events in said {
        assert!(!format!("{events:?}").contains(secret), "{events:?}");
    }
    for place in [export.path(), person.home(), &deployment.dir] {
        let found = files_holding(place, secret.as_bytes());
        assert!(found.is_empty(), "{found:?}");
    }
}

#[test]
fn messages_disappear_after_they_were_read() {
    let deployment = Deployment::shared();
    let (alice, bob) = (deployment.registered("alice"), deployment.registered("bob"));
    alice.befriend(&bob);
    let secret = canary();
    alice.ok(&["timer", &bob.name, "1s"]);
    alice.ok(&["send", &bob.name, &secret]);
    let mut at_bob = bob.listen();
    at_bob.until("the message and its end", |events| {
        events.iter().any(|event| event["text"] == secret.as_str())
            && events.iter().any(|event| event["event"] == "expired")
    });
    drop(at_bob);
    wait_for("its end at the sender's", || {
        let left = history(&alice, &bob);
        (!format!("{left:?}").contains(&secret)).then_some(())
    });
    assert_eq!(
        bob.ok(&["timer", &alice.name]).events[0]["expires_after_s"],
        1
    );
    assert_gone(deployment, &bob, &alice, &secret);
    assert_gone(deployment, &alice, &bob, &secret);
}

#[test]
fn a_conversation_is_exported_drafted_muted_and_passed_on() {
    let deployment = Deployment::shared();
    let (alice, bob) = (deployment.registered("alice"), deployment.registered("bob"));
    alice.befriend(&bob);
    alice.ok(&["send", &bob.name, "one \u{1b}[31mred\u{1b}[0m line"]);
    alice.ok(&["forward", &format!("{}@mine", bob.name), &bob.name]);
    assert_eq!(last(&alice, &bob)["forwarded"], true);

    let export = tempfile::tempdir().unwrap();
    let folder = export.path().join("out");
    let words = ["export", &bob.name, "--to", folder.to_str().unwrap()];
    alice.ok(&words);
    let lines = std::fs::read_to_string(folder.join("messages.jsonl")).unwrap();
    let objects: Vec<Value> = lines
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(objects, history(&alice, &bob));
    let text = std::fs::read_to_string(folder.join("messages.txt")).unwrap();
    assert!(text.contains("red") && !text.contains('\u{1b}'), "{text:?}");
    let again = alice.run(&words);
    assert_eq!((again.code, again.error_code().as_str()), (2, "usage"));

    alice.ok(&["draft", &bob.name, "half a thought"]);
    alice.ok(&["mute", &bob.name, "--for", "8h"]);
    let chats = alice.ok(&["chats"]).events;
    assert_eq!(chats[0]["draft"], "half a thought");
    assert!(chats[0]["mute"]["until_ms"].is_u64(), "{chats:?}");
    alice.ok(&["unmute", &bob.name]);
    assert!(alice.ok(&["chats"]).events[0]["mute"].is_null());
}

#[test]
fn contacts_learn_a_profile_and_nobody_else_does() {
    let deployment = Deployment::shared();
    let (alice, bob) = (deployment.registered("alice"), deployment.registered("bob"));
    alice.befriend(&bob);
    let secret = canary();
    alice.ok(&["profile", "set", "--name", "Alice A.", "--status", &secret]);
    let _at_alice = alice.listen();
    let mut at_bob = bob.listen();
    at_bob.until("the profile", |events| {
        events
            .iter()
            .any(|event| event["event"] == "contact" && event["status"] == secret.as_str())
    });
    drop(at_bob);
    bob.ok(&[
        "contact",
        &alice.name,
        "--alias",
        "Al",
        "--note",
        "owes me tea",
    ]);
    let contact = bob.ok(&["contacts"]).events.remove(0);
    assert_eq!(contact["display_name"], "Alice A.");
    assert_eq!(
        (&contact["alias"], &contact["note"]),
        (&"Al".into(), &"owes me tea".into())
    );
    // E12: the servers cannot read it.
    assert!(files_holding(&deployment.dir, secret.as_bytes()).is_empty());
}

#[test]
fn who_listens_sees_that_somebody_writes_unless_they_keep_it_to_themselves() {
    let deployment = Deployment::shared();
    let (alice, bob) = (deployment.registered("alice"), deployment.registered("bob"));
    alice.befriend(&bob);
    let mut at_bob = bob.listen();
    alice.ok(&["send", &bob.name, "are you there"]);
    let heard = |events: &[Value], text: &str| events.iter().any(|event| event["text"] == text);
    at_bob.until("the message", |events| heard(events, "are you there"));
    let typing = |event: &&Value| event["event"] == "typing";
    alice.ok(&["receipts", "off"]);
    alice.ok(&["typing", &bob.name]);
    alice.ok(&["receipts", "on"]);
    alice.ok(&["send", &bob.name, "nothing was said"]);
    at_bob.until("the next message", |events| {
        heard(events, "nothing was said")
    });
    assert_eq!(at_bob.events.iter().filter(typing).count(), 0);
    alice.ok(&["typing", &bob.name]);
    at_bob.until("a sign of writing", |events| {
        events
            .iter()
            .any(|event| event["event"] == "typing" && event["by"] == alice.name.as_str())
    });
}
