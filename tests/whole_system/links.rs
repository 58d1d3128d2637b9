//! Private rooms by invite link, with everything real.

use serde_json::Value;

use crate::support::{Deployment, Person, texts, wait_for};

fn is(event: &Value, kind: &str) -> bool {
    event["event"] == kind
}

fn link_of(person: &Person, arguments: &[&str]) -> String {
    let made = person.ok(&[&["group", "link"], arguments].concat()).events;
    assert!(is(&made[0], "invite_link"), "{made:?}");
    made[0]["link"].as_str().unwrap().to_owned()
}

fn den(owner: &Person) -> String {
    let made = owner.ok(&["room", "new", "den", "--private"]).events;
    format!("#{}", made[0]["conversation"].as_str().unwrap())
}

fn is_joining(event: &Value, who: &Person) -> bool {
    is(event, "membership") && event["change"] == "joined" && event["subject"] == who.name.as_str()
}

#[test]
fn a_private_room_is_entered_by_a_link() {
    let deployment = Deployment::shared();
    let people = ["alice", "bob", "carol"].map(|stem| deployment.registered(stem));
    let [alice, bob, carol] = &people;
    let id = den(alice);
    alice.ok(&["send", &id, "before anybody"]);
    let link = link_of(alice, &[&id]);
    assert!(
        link.starts_with(&format!("sotto:join/{}/", &id[1..])),
        "{link}"
    );
    let mut at_alice = alice.listen();
    let joined = bob.ok(&["room", "join", &link]).events;
    assert!(is(joined.last().unwrap(), "joined"), "{joined:?}");
    bob.ok(&["send", "#den", "made it"]);
    at_alice.until("bob's message", |events| {
        texts(events).contains(&"made it".to_owned())
    });
    let heard = at_alice.kill();
    assert!(
        heard.iter().any(|event| is_joining(event, bob)),
        "{heard:?}"
    );
    assert_eq!(bob.ok(&["history", &id]).texts(), ["made it"]);
    // Its one use is used up.
    let refused = carol.fails(&["join", &link], 4);
    assert_eq!(refused.error_code(), "unknown_invite");
    assert!(refused.stderr.contains("used up"), "{refused:?}");
    assert!(alice.ok(&["group", "links", &id]).events.is_empty());
    let again = bob.fails(&["group", "join", &link], 5);
    assert_eq!(again.error_code(), "already_member");
    let refused = bob.fails(&["group", "link", &id], 5);
    assert!(refused.stderr.contains("only an admin can"), "{refused:?}");
    carol.fails(&["group", "join", "sotto:join/x"], 2);
}

#[test]
fn an_admin_agrees_to_those_who_come_by_a_link() {
    let deployment = Deployment::shared();
    let people = ["alice", "bob", "carol"].map(|stem| deployment.registered(stem));
    let [alice, bob, carol] = &people;
    let id = den(alice);
    let link = link_of(alice, &[&id, "--approve", "--uses", "5", "--expires", "1h"]);
    for person in [bob, carol] {
        let asked = person.ok(&["join", &link]).events;
        assert!(is(asked.last().unwrap(), "join_asked"), "{asked:?}");
    }
    let heard = alice.ok(&["listen", "--for", "3s"]).events;
    let asked = heard.iter().filter(|event| is(event, "join_request"));
    assert_eq!(asked.count(), 2, "{heard:?}");
    let waiting = alice.ok(&["group", "requests", &id]).events;
    assert_eq!(waiting.len(), 2, "{waiting:?}");
    alice.ok(&["group", "approve", &id, &bob.name]);
    alice.ok(&["group", "reject", &id, &carol.name]);
    assert!(alice.ok(&["group", "requests", &id]).events.is_empty());
    let mut at_bob = bob.listen();
    at_bob.until("bob to be in", |events| {
        events.iter().any(|event| is_joining(event, bob))
    });
    at_bob.kill();
    bob.ok(&["send", &id, "thank you"]);
    carol.fails(&["send", &id, "and me?"], 4);
    // Whom an admin put out the link lets in no more without a word.
    let open = link_of(alice, &[&id, "--uses", "5"]);
    alice.ok(&["group", "remove", &id, &bob.name]);
    bob.ok(&["listen", "--for", "2s"]);
    let asked = bob.ok(&["join", &open]).events;
    assert!(is(asked.last().unwrap(), "join_asked"), "{asked:?}");
    alice.ok(&["listen", "--for", "2s"]);
    let waiting = alice.ok(&["group", "requests", &id]).events;
    assert_eq!(waiting[0]["put_out"], true, "{waiting:?}");
}

#[test]
fn links_end_by_time_by_word_and_for_the_banned() {
    let deployment = Deployment::shared();
    let people = ["alice", "bob", "carol"].map(|stem| deployment.registered(stem));
    let [alice, bob, carol] = &people;
    let id = den(alice);
    let short = link_of(alice, &[&id, "--expires", "2s", "--uses", "9"]);
    wait_for("the link to end", || {
        let links = alice.ok(&["group", "links", &id]).events;
        links.is_empty().then_some(())
    });
    assert_eq!(
        bob.fails(&["join", &short], 4).error_code(),
        "unknown_invite"
    );
    let ended = link_of(alice, &[&id, "--uses", "9"]);
    let listed = alice.ok(&["group", "links", &id]).events;
    assert_eq!(listed[0]["uses_left"], 9);
    assert_eq!(listed[0]["link"], ended.as_str());
    alice.ok(&[
        "group",
        "unlink",
        &id,
        &listed[0]["id"].as_str().unwrap()[..8],
    ]);
    assert_eq!(
        bob.fails(&["join", &ended], 4).error_code(),
        "unknown_invite"
    );
    let again = alice.fails(&["group", "unlink", &id, &ended], 4);
    assert_eq!(again.error_code(), "unknown_invite");
    let open = link_of(alice, &[&id, "--uses", "9"]);
    alice.ok(&["group", "ban", &id, &carol.name]);
    assert_eq!(carol.fails(&["join", &open], 5).error_code(), "banned");
}
