//! Groups, with everything real: who is in, who may, who reads what.

use serde_json::Value;

use crate::support::{Deployment, Person, signal, texts};

/// A group that the first made with all others, who came in.
pub(crate) fn group_of(title: &str, people: &[&Person]) -> String {
    let mut new = vec!["group", "new", title];
    new.extend(people[1..].iter().map(|person| person.name.as_str()));
    let made = people[0].ok(&new);
    let made = made
        .events
        .iter()
        .find(|event| event["event"] == "group_made");
    let id = format!("#{}", made.unwrap()["conversation"].as_str().unwrap());
    for person in &people[1..] {
        person.ok(&["join", &id]);
    }
    id
}

fn history(person: &Person, group: &str) -> Vec<String> {
    person.ok(&["listen", "--for", "2s"]);
    person.ok(&["history", group]).texts()
}

fn names(person: &Person, group: &str) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let members = person.ok(&["group", "members", group]).events;
    members
        .iter()
        .map(|member| (text(&member["name"]), text(&member["role"])))
        .collect()
}

fn is_change(event: &Value, change: &str, subject: &Person) -> bool {
    event["event"] == "membership"
        && event["change"] == change
        && event["subject"] == subject.name.as_str()
}

#[test]
fn everybody_in_a_group_reads_the_same_in_the_same_order() {
    let deployment = Deployment::shared();
    let people = ["alice", "bob", "carol"].map(|stem| deployment.registered(stem));
    let [alice, bob, carol] = &people;
    let stranger = deployment.registered("stranger");
    let id = group_of("crew", &[alice, bob, carol]);
    for (person, text) in [(alice, "a1"), (bob, "b1"), (carol, "c1"), (bob, "b2")] {
        person.ok(&["send", &id, text]);
    }
    let expected = ["a1", "b1", "c1", "b2"];
    for person in &people {
        assert_eq!(history(person, &id), expected, "{}", person.name);
        // The title is known to all, and names the group.
        assert_eq!(person.ok(&["history", "#crew"]).texts(), expected);
    }
    let chats = bob.ok(&["chats"]).events;
    assert!(chats.iter().any(|chat| chat["to"] == "#crew"), "{chats:?}");
    let roles: Vec<_> = names(carol, &id)
        .into_iter()
        .map(|(_, role)| role)
        .collect();
    assert_eq!(roles.iter().filter(|role| *role == "owner").count(), 1);
    assert_eq!(roles.len(), 3);
    stranger.fails(&["send", &id, "let me in"], 4);
}

#[test]
fn an_invitation_is_answered_by_the_invited() {
    let deployment = Deployment::shared();
    let [alice, bob, carol] = ["alice", "bob", "carol"].map(|stem| deployment.registered(stem));
    let made = alice.ok(&["group", "new", "maybe", &bob.name, &carol.name]);
    let id = format!("#{}", made.events[0]["conversation"].as_str().unwrap());
    alice.ok(&["send", &id, "who is in?"]);
    let invited = bob.ok(&["invites"]).events;
    assert_eq!(invited.len(), 1, "{invited:?}");
    assert_eq!(invited[0]["from"], alice.name.as_str());
    assert_eq!(
        (&invited[0]["title"], &invited[0]["members"]),
        (&"maybe".into(), &3.into())
    );
    assert!(bob.ok(&["listen", "--for", "2s"]).texts().is_empty());
    bob.fails(&["send", &id, "not yet"], 5);
    bob.ok(&["join", &id]);
    assert_eq!(bob.ok(&["history", &id]).texts(), ["who is in?"]);
    let mut at_alice = alice.listen();
    carol.ok(&["decline", &id]);
    at_alice.until("the refusal", |events| {
        events
            .iter()
            .any(|event| is_change(event, "declined", &carol))
    });
    at_alice.kill();
    assert!(carol.ok(&["invites"]).events.is_empty());
    bob.ok(&["send", &id, "just us"]);
    assert_eq!(history(&alice, &id), ["who is in?", "just us"]);
}

#[test]
fn who_comes_later_reads_nothing_before_and_who_goes_nothing_after() {
    let deployment = Deployment::shared();
    let people = ["alice", "bob", "carol"].map(|stem| deployment.registered(stem));
    let [alice, bob, carol] = &people;
    let id = group_of("doors", &[alice, bob]);
    alice.ok(&["send", &id, "before carol"]);
    bob.fails(&["group", "add", &id, &carol.name], 5);
    let refused = bob.fails(&["group", "remove", &id, &alice.name], 5);
    assert!(refused.stderr.contains("only an admin can"), "{refused:?}");
    alice.ok(&["group", "add", &id, &carol.name]);
    carol.ok(&["join", &id]);
    bob.ok(&["send", &id, "with carol"]);
    assert_eq!(history(bob, &id), ["before carol", "with carol"]);
    alice.ok(&["group", "remove", &id, &bob.name]);
    alice.ok(&["send", &id, "without bob"]);
    assert_eq!(history(carol, &id), ["with carol", "without bob"]);
    let heard = bob.ok(&["listen", "--for", "3s"]);
    assert!(
        heard
            .events
            .iter()
            .any(|event| is_change(event, "removed", bob)),
        "{heard:?}"
    );
    assert_eq!(
        bob.ok(&["history", &id]).texts(),
        ["before carol", "with carol"]
    );
    bob.fails(&["send", &id, "hello?"], 5);
    let again = alice.fails(&["group", "add", &id, &carol.name], 5);
    assert_eq!(again.error_code(), "already_member");
}

#[test]
fn roles_go_by_their_owner_and_the_last_owner_stays() {
    let deployment = Deployment::shared();
    let people = ["alice", "bob", "carol"].map(|stem| deployment.registered(stem));
    let [alice, bob, carol] = &people;
    let id = group_of("power", &[alice, bob, carol]);
    let refused = alice.fails(&["group", "leave", &id], 5);
    assert_eq!(refused.error_code(), "last_owner");
    bob.fails(&["group", "promote", &id, &bob.name], 5);
    alice.ok(&["group", "promote", &id, &bob.name]);
    bob.ok(&["listen", "--for", "1s"]);
    bob.ok(&["group", "rename", &id, "renamed"]);
    bob.ok(&["group", "describe", &id, "what we do"]);
    alice.ok(&["group", "owner", &id, &carol.name]);
    alice.ok(&["group", "leave", &id]);
    let mut at_carol = carol.listen();
    at_carol.until("alice's leaving", |events| {
        events.iter().any(|event| is_change(event, "left", alice))
    });
    at_carol.until("the new title", |events| {
        events
            .iter()
            .any(|event| event["event"] == "group" && event["title"] == "renamed")
    });
    at_carol.kill();
    carol.ok(&["listen", "--for", "6s"]);
    let left = names(carol, &id);
    assert!(
        !left.iter().any(|(name, _)| *name == alice.name),
        "{left:?}"
    );
    assert!(
        left.contains(&(carol.name.clone(), "owner".to_owned())),
        "{left:?}"
    );
    alice.fails(&["send", &id, "one more thing"], 5);
}

#[test]
fn a_public_room_is_listed_entered_and_kept_clean() {
    let deployment = Deployment::shared();
    let people = ["alice", "bob", "carol"].map(|stem| deployment.registered(stem));
    let [alice, bob, carol] = &people;
    let title = format!("Lobby {}", alice.name);
    let id = alice.ok(&["room", "new", &title, "--public", "--topic", "all things"]);
    let id = format!("#{}", id.events[0]["conversation"].as_str().unwrap());
    alice.ok(&["send", &id, "before anybody"]);
    let listed = bob.ok(&["rooms"]).events;
    let room = listed.iter().find(|room| room["title"] == title.as_str());
    let room = room.unwrap_or_else(|| panic!("{listed:?}"));
    assert_eq!(
        (&room["topic"], &room["access"]),
        (&"all things".into(), &"public".into())
    );
    bob.ok(&["room", "join", &title]);
    carol.ok(&["room", "join", &title]);
    bob.ok(&["send", &id, "hello from bob"]);
    carol.ok(&["send", &format!("#{title}"), "hello from carol"]);
    let heard = ["before anybody", "hello from bob", "hello from carol"];
    assert_eq!(history(alice, &id), heard);
    assert_eq!(history(bob, &id), heard[1..]);
    let refused = bob.fails(&["group", "ban", &id, &carol.name], 5);
    assert!(refused.stderr.contains("only an admin can"), "{refused:?}");
    alice.ok(&["group", "ban", &id, &carol.name]);
    carol.ok(&["listen", "--for", "2s"]);
    carol.fails(&["send", &id, "still there?"], 5);
    carol.fails(&["room", "join", &title], 5);
    alice.ok(&["group", "unban", &id, &carol.name]);
    carol.ok(&["room", "join", &title]);
    carol.ok(&["send", &id, "sorry"]);
    assert_eq!(history(bob, &id).last().unwrap(), "sorry");
}

/// K1 and K2 for groups: servers die while people write and admins change members.
#[test]
fn a_group_outlives_its_servers_and_its_clients() {
    let deployment = Deployment::start(3);
    let people = ["alice", "bob", "carol", "dave"].map(|stem| deployment.registered(stem));
    let [alice, bob, carol, dave] = &people;
    let id = group_of("storm", &[alice, bob, carol]);
    let mut at_carol = carol.listen();
    let mut sent = Vec::new();
    for number in 0..9 {
        if number % 3 == 1 {
            let status = deployment.status();
            let busiest = status["processes"]
                .as_array()
                .unwrap()
                .iter()
                .filter(|process| process["kind"] == "server")
                .max_by_key(|process| process["sessions"].as_u64().unwrap_or(0));
            signal("KILL", busiest.unwrap()["pid"].as_u64().unwrap());
        }
        if number == 4 {
            alice.ok(&["group", "add", &id, &dave.name]);
        }
        let (writer, text) = match number % 2 {
            0 => (alice, format!("a{number}")),
            _ => (bob, format!("b{number}")),
        };
        writer.ok(&["send", &id, &text]);
        sent.push(text);
    }
    at_carol.until("all messages", |events| texts(events).len() >= sent.len());
    assert_eq!(texts(&at_carol.events), sent);
    dave.ok(&["join", &id]);
    dave.ok(&["send", &id, "late"]);
    sent.push("late".to_owned());
    assert_eq!(history(alice, &id), sent);
    assert_eq!(history(dave, &id), sent[4..]);
}
