//! Several devices of one person in groups, with everything real: a further
//! one is in all of them, a revoked one in none.

use serde_json::Value;

use crate::devices::linked;
use crate::groups::group_of;
use crate::support::{Deployment, Person, texts};

fn hears(person: &Person, expected: &[&str]) {
    let mut listening = person.listen();
    listening.until("what was said in the groups", |events| {
        let heard = texts(events);
        expected
            .iter()
            .all(|text| heard.contains(&(*text).to_owned()))
    });
    listening.kill();
}

fn is_change(event: &Value, change: &str, subject: &Person) -> bool {
    event["event"] == "membership"
        && event["change"] == change
        && event["subject"] == subject.name.as_str()
}

#[test]
fn a_further_device_is_in_every_group_and_a_revoked_one_in_none() {
    let deployment = Deployment::shared();
    let people = ["alice", "bob", "carol"].map(|stem| deployment.registered(stem));
    let [alice, bob, carol] = &people;
    let one = group_of("one", &[alice, bob]);
    let two = group_of("two", &[carol, alice, bob]);
    alice.ok(&["send", &one, "before the second"]);
    let (second, id) = linked(deployment, alice);
    let mut at_bob = bob.listen();
    at_bob.until("the device in both groups", |events| {
        let added = events
            .iter()
            .filter(|event| is_change(event, "device_added", alice));
        added.count() >= 2
    });
    at_bob.kill();
    let chats = second.ok(&["chats"]).events;
    for title in ["#one", "#two"] {
        assert!(chats.iter().any(|chat| chat["to"] == title), "{chats:?}");
    }
    bob.ok(&["send", &one, "to one"]);
    carol.ok(&["send", &two, "to two"]);
    hears(alice, &["to one", "to two"]);
    hears(&second, &["to one", "to two"]);
    second.ok(&["send", &two, "from the second"]);
    hears(carol, &["from the second"]);
    // An owner's further device may do what the owner may.
    second.ok(&["group", "rename", &one, "renamed"]);

    alice.ok(&["devices", "revoke", &id]);
    let mut at_bob = bob.listen();
    at_bob.until("the device to be out of both groups", |events| {
        let removed = events
            .iter()
            .filter(|event| is_change(event, "device_removed", alice));
        removed.count() >= 2
    });
    at_bob.kill();
    bob.ok(&["send", &one, "after one"]);
    carol.ok(&["send", &two, "after two"]);
    hears(alice, &["after one", "after two"]);
    let refused = second.fails(&["listen", "--for", "5s"], 3);
    assert_eq!(refused.error_code(), "not_logged_in", "{refused:?}");
    for group in [&one, &two] {
        let kept = second.ok(&["history", group]).texts();
        assert!(
            !kept.iter().any(|text| text.starts_with("after")),
            "{kept:?}"
        );
        second.fails(&["send", group, "still here?"], 3);
    }
}
