//! Messages both ways, to people who are offline, exactly once, in order.

use crate::support::{Deployment, Person, said, texts, with_input};

#[test]
fn two_people_talk() {
    let deployment = Deployment::shared();
    let (alice, bob) = (deployment.registered("alice"), deployment.registered("bob"));
    alice.befriend(&bob);
    let mut at_alice = alice.listen();
    bob.ok(&["send", &alice.name, "good to see you"]);
    at_alice.until("bob's answer", |events| {
        texts(events).contains(&"good to see you".to_owned())
    });
    drop(at_alice);
    let mut at_bob = bob.listen();
    alice.ok(&["send", &bob.name, "likewise"]);
    at_bob.until("alice's answer", |events| {
        texts(events).contains(&"likewise".to_owned())
    });
    let message = at_bob
        .events
        .iter()
        .find(|event| event["text"] == "likewise")
        .unwrap();
    assert_eq!(message["sender"], alice.name.as_str());
    assert!(message["seq"].as_u64().unwrap() > 0);
    for field in ["conversation", "id", "device", "epoch", "kind"] {
        assert!(!message[field].is_null(), "{field} is missing: {message}");
    }
}

#[test]
fn messages_wait_for_people_who_are_offline() {
    let deployment = Deployment::shared();
    let (alice, bob) = (deployment.registered("alice"), deployment.registered("bob"));
    alice.befriend(&bob);
    let sent: Vec<String> = (0..25)
        .map(|number| format!("while you were away {number}"))
        .collect();
    for text in &sent {
        alice.ok(&["send", &bob.name, text]);
    }
    let heard = bob.ok(&["listen", "--for", "20s", "--count", "25"]);
    let heard: Vec<_> = heard
        .texts()
        .into_iter()
        .filter(|text| sent.contains(text))
        .collect();
    assert_eq!(heard, sent);
    let again = bob.ok(&["listen", "--for", "2s"]);
    assert!(again.texts().is_empty(), "delivered twice: {again:?}");
}

#[test]
fn history_keeps_both_sides() {
    let deployment = Deployment::shared();
    let (alice, bob) = (deployment.registered("alice"), deployment.registered("bob"));
    alice.befriend(&bob);
    bob.ok(&["send", &alice.name, "second"]);
    alice.ok(&["listen", "--for", "20s", "--count", "1"]);
    for person in [&alice, &bob] {
        let other = if person.name == alice.name {
            &bob
        } else {
            &alice
        };
        let history = person.ok(&["history", &other.name]);
        assert_eq!(history.texts(), ["hello", "second"], "of {}", person.name);
    }
    let last = alice.ok(&["history", &bob.name, "--last", "1"]);
    assert_eq!(last.texts(), ["second"]);
    let chats = alice.ok(&["chats"]);
    assert_eq!(chats.events.len(), 1, "{chats:?}");
}

#[test]
fn a_text_may_come_from_standard_input_in_any_language() {
    let deployment = Deployment::shared();
    let (alice, bob) = (deployment.registered("alice"), deployment.registered("bob"));
    alice.befriend(&bob);
    let text = "zwei Zeilen:\n日本語 – עברית – 👩‍👩‍👧‍👦";
    let sent = said(with_input(alice.command(&["send", &bob.name, "-"]), text));
    assert_eq!(sent.code, 0, "{sent:?}");
    let heard = bob.ok(&["listen", "--for", "20s", "--count", "1"]);
    assert!(heard.texts().contains(&text.to_owned()), "{heard:?}");
}

#[test]
fn both_start_at_once_and_share_one_conversation() {
    let deployment = Deployment::shared();
    let (alice, bob) = (deployment.registered("alice"), deployment.registered("bob"));
    let first = alice
        .command(&["send", &bob.name, "from alice"])
        .spawn()
        .unwrap();
    let second = bob.ok(&["send", &alice.name, "from bob"]);
    let first = first.wait_with_output().unwrap();
    assert!(first.status.success(), "{first:?}");
    assert_eq!(second.code, 0);
    alice.run(&["accept", &bob.name]);
    bob.run(&["accept", &alice.name]);
    let at_alice = alice.ok(&["listen", "--for", "3s"]);
    let at_bob = bob.ok(&["listen", "--for", "3s"]);
    let conversation = |person: &Person, other: &Person| {
        person.ok(&["history", &other.name]).events[0]["conversation"].clone()
    };
    assert_eq!(
        conversation(&alice, &bob),
        conversation(&bob, &alice),
        "{at_alice:?} {at_bob:?}"
    );
}

#[test]
fn a_killed_sender_sends_once_when_it_returns() {
    let deployment = Deployment::shared();
    let (alice, bob) = (deployment.registered("alice"), deployment.registered("bob"));
    alice.befriend(&bob);
    for round in 0..5_u64 {
        let text = format!("round {round}");
        let mut child = alice.command(&["send", &bob.name, &text]).spawn().unwrap();
        // Anywhere between its first instruction and its last.
        std::thread::park_timeout(std::time::Duration::from_millis(60 * round));
        child.kill().unwrap();
        child.wait().unwrap();
    }
    alice.ok(&["send", &bob.name, "the last"]);
    let heard = bob.ok(&["listen", "--for", "3s"]).texts();
    assert_eq!(
        heard.last().map(String::as_str),
        Some("the last"),
        "{heard:?}"
    );
    let mut once = heard.clone();
    once.dedup();
    assert_eq!(once, heard, "something arrived twice");
    let mut ordered = heard[..heard.len() - 1].to_vec();
    ordered.sort();
    assert_eq!(ordered, heard[..heard.len() - 1]);
}
