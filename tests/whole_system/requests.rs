//! A stranger's first message is a request; nothing goes back before consent.

use crate::support::Deployment;

#[test]
fn a_request_waits_for_an_answer() {
    let deployment = Deployment::shared();
    let (alice, bob) = (deployment.registered("alice"), deployment.registered("bob"));
    alice.ok(&["send", &bob.name, "may I?"]);
    alice.ok(&["send", &bob.name, "please"]);
    let heard = bob.ok(&["listen", "--for", "20s", "--count", "1"]);
    assert!(heard.texts().is_empty(), "shown before consent: {heard:?}");
    let requests: Vec<_> = heard
        .events
        .iter()
        .filter(|event| event["event"] == "request")
        .collect();
    assert_eq!(requests.len(), 1, "{heard:?}");
    assert_eq!(requests[0]["from"], alice.name.as_str());
    let listed = bob.ok(&["requests"]);
    assert_eq!(listed.events.len(), 1);
    let quiet = alice.ok(&["listen", "--for", "1s"]);
    assert!(
        quiet.events.is_empty(),
        "something came back to a stranger: {quiet:?}"
    );

    bob.ok(&["accept", &alice.name]);
    let heard = bob.ok(&["listen", "--for", "3s"]).texts();
    let history = bob.ok(&["history", &alice.name]).texts();
    assert_eq!(history, ["may I?", "please"], "{heard:?}");
    assert!(bob.ok(&["requests"]).events.is_empty());
}

#[test]
fn a_declined_request_is_gone() {
    let deployment = Deployment::shared();
    let (alice, bob) = (deployment.registered("alice"), deployment.registered("bob"));
    alice.ok(&["send", &bob.name, "spam"]);
    bob.ok(&["listen", "--for", "20s", "--count", "1"]);
    bob.ok(&["decline", &alice.name]);
    assert!(bob.ok(&["requests"]).events.is_empty());
    alice.ok(&["send", &bob.name, "more spam"]);
    let heard = bob.ok(&["listen", "--for", "2s"]);
    assert!(heard.texts().is_empty(), "{heard:?}");
    // Who writes again asks again, and what was turned away stays away.
    assert_eq!(bob.ok(&["requests"]).events.len(), 1);
    bob.ok(&["accept", &alice.name]);
    let heard = bob.ok(&["listen", "--for", "2s"]);
    assert_eq!(
        bob.ok(&["history", &alice.name]).texts(),
        ["more spam"],
        "{heard:?}"
    );
}

#[test]
fn whoever_is_blocked_is_not_heard() {
    let deployment = Deployment::shared();
    let (alice, bob) = (deployment.registered("alice"), deployment.registered("bob"));
    alice.befriend(&bob);
    bob.ok(&["block", &alice.name]);
    alice.ok(&["send", &bob.name, "can you hear me"]);
    let heard = bob.ok(&["listen", "--for", "2s"]);
    assert!(heard.texts().is_empty(), "{heard:?}");
    bob.fails(&["send", &alice.name, "no"], 5);
    bob.ok(&["unblock", &alice.name]);
    alice.ok(&["send", &bob.name, "and now"]);
    let heard = bob.ok(&["listen", "--for", "20s", "--count", "1"]);
    assert!(heard.texts().contains(&"and now".to_owned()), "{heard:?}");
}

#[test]
fn an_unsaved_conversation_leaves_no_history() {
    let deployment = Deployment::shared();
    let (alice, bob) = (deployment.registered("alice"), deployment.registered("bob"));
    alice.ok(&["send", &bob.name, "between us"]);
    bob.ok(&["listen", "--for", "20s", "--count", "1"]);
    bob.ok(&["accept", &alice.name, "--unsaved"]);
    alice.ok(&["send", &bob.name, "only now"]);
    bob.ok(&["listen", "--for", "3s"]);
    let history = bob.run(&["history", &alice.name]);
    assert!(history.texts().is_empty(), "{history:?}");
}

#[test]
fn both_see_the_same_safety_number_and_can_confirm_it() {
    let deployment = Deployment::shared();
    let (alice, bob) = (deployment.registered("alice"), deployment.registered("bob"));
    alice.befriend(&bob);
    let digits = |said: crate::support::Said| -> String {
        said.events[0]["digits"]
            .as_str()
            .unwrap()
            .chars()
            .filter(char::is_ascii_digit)
            .collect()
    };
    let at_alice = digits(alice.ok(&["verify", &bob.name]));
    let at_bob = digits(bob.ok(&["verify", &alice.name]));
    assert_eq!(at_alice, at_bob);
    assert_eq!(at_alice.len(), 60);
    alice.ok(&["verify", &bob.name, "--confirm", &at_alice]);
    let wrong: String = at_alice.chars().rev().collect();
    assert_ne!(
        alice.run(&["verify", &bob.name, "--confirm", &wrong]).code,
        0
    );
}
