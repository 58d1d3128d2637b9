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

fn begun_anew(deployment: &Deployment, person: &Person) -> Person {
    let mut anew = deployment.person(&person.name);
    anew.password_file.clone_from(&person.password_file);
    anew.ok(&["login", &person.name, "--new-identity", "--yes"]);
    anew
}

#[test]
fn a_group_gets_its_only_owner_back_who_lost_every_device() {
    let deployment = Deployment::shared();
    let people = ["alice", "bob", "carol"].map(|stem| deployment.registered(stem));
    let [alice, bob, carol] = &people;
    let group = group_of("crew", &[alice, bob, carol]);
    let anew = begun_anew(deployment, alice);
    for person in [bob, carol] {
        let mut listening = person.listen();
        listening.until("word of the change", |events| {
            events.iter().any(|event| event["kind"] == "key_changed")
        });
        listening.kill();
        let refused = person.fails(&["send", &group, "to whom?"], 5);
        assert_eq!(refused.error_code(), "key_changed");
    }
    for person in [bob, carol] {
        person.ok(&["accept", &alice.name]);
    }
    let mut at_bob = bob.listen();
    let mut at_carol = carol.listen();
    let mut at_alice = anew.listen();
    at_alice.until("the invitation", |events| {
        events.iter().any(|event| event["event"] == "invitation")
    });
    at_alice.kill();
    anew.ok(&["join", &group]);
    anew.ok(&["send", &group, "I am back"]);
    for listening in [&mut at_bob, &mut at_carol] {
        listening.until("the owner", |events| {
            texts(events).iter().any(|text| text == "I am back")
        });
    }
    at_bob.kill();
    at_carol.kill();
    anew.ok(&["group", "promote", &group, &bob.name]);
    bob.ok(&["send", &group, "and I help"]);
    carol.ok(&["listen", "--for", "20s", "--count", "1"]);
}

/// Anybody may enter a public room, so nobody's new identity stops it.
#[test]
fn a_public_room_goes_on_when_somebody_in_it_begins_anew() {
    let deployment = Deployment::shared();
    let people = ["alice", "bob", "erin"].map(|stem| deployment.registered(stem));
    let [alice, bob, erin] = &people;
    let title = format!("room of {}", alice.name);
    alice.ok(&["room", "new", &title, "--public"]);
    for person in [bob, erin] {
        person.ok(&["room", "join", &title]);
    }
    begun_anew(deployment, erin);
    let mut at_bob = bob.listen();
    let room = format!("#{title}");
    alice.ok(&["send", &room, "nobody stops us"]);
    at_bob.until("the message", |events| {
        texts(events).iter().any(|text| text == "nobody stops us")
    });
    at_bob.kill();
    bob.ok(&["send", &room, "no"]);
}
