//! The drill of docs/operations.md: an older database is restored, and everybody comes back to it.
//! What was stored since the backup is gone; what is asked here is that people are told, that nobody
//! who was removed is in again, and that talks go on.

use std::path::Path;
use std::process::Command;

use serde_json::Value;
use sotto_stack::postgres::{Binaries, Install};
use sotto_stack::sql;
use sotto_stack::testing::TestCluster;

use super::groups::group_of;
use crate::support::{Deployment, Listening, Person, SOTTO, texts, wait_for};

const SERVERS: u32 = 2;

fn run_postgres(program: &str, url: &str, arguments: &[&str], file: &Path) {
    let binaries = Binaries::find_or_install(Install::Allowed).unwrap();
    let output = Command::new(binaries.program(program))
        .args(["--dbname", url])
        .args(arguments)
        .arg(file)
        .output()
        .unwrap();
    assert!(output.status.success(), "{program}: {output:?}");
}

/// `sotto-server admin restored`, as soon as the last servers' signs of life are old enough.
fn mark_restored(deployment: &Deployment) -> Value {
    wait_for("no server to be seen", || {
        let output = Command::new(SOTTO)
            .args(["server", "admin", "--config"])
            .arg(deployment.dir.join("config/s1.toml"))
            .args(["restored", "--json"])
            .output()
            .unwrap();
        if output.status.code() == Some(5) {
            return None;
        }
        assert!(output.status.success(), "{output:?}");
        Some(serde_json::from_slice(&output.stdout).unwrap())
    })
}

fn has(events: &[Value], kind: &str) -> bool {
    events
        .iter()
        .any(|event| event["event"] == "security" && event["kind"] == kind)
}

/// Whether a group was repaired.
fn is_repaired(events: &[Value], group: &str) -> bool {
    let id = group.trim_start_matches('#');
    events
        .iter()
        .any(|event| event["kind"] == "recovery_done" && event["conversation"] == id)
}

fn until_text(listening: &mut Listening, text: &str) {
    listening.until(text, |events| {
        texts(events).iter().any(|heard| heard == text)
    });
}

fn members(person: &Person, group: &str) -> Vec<String> {
    let listed = person.ok(&["group", "members", group]).events;
    let name = |member: &Value| member["name"].as_str().map(str::to_owned);
    listed.iter().filter_map(name).collect()
}

/// What the backup does not have: a conversation, messages, read and unread, who was removed, and
/// who came in.
fn live_on([alice, bob, carol, dave]: &[Person; 4], crew: &str) {
    alice.befriend(dave);
    alice.ok(&["send", &bob.name, "since the backup"]);
    bob.ok(&["listen", "--for", "10s", "--count", "1"]);
    bob.ok(&["send", &alice.name, "answered"]);
    alice.ok(&["listen", "--for", "2s"]);
    alice.ok(&["group", "remove", crew, &carol.name]);
    alice.ok(&["group", "add", crew, &dave.name]);
    dave.ok(&["join", crew]);
    alice.ok(&["send", crew, "without carol"]);
    for person in [bob, carol, dave] {
        person.ok(&["listen", "--for", "2s"]);
    }
    alice.ok(&["send", &bob.name, "read by nobody"]);
}

/// Whom the database did not know as a member is brought in again; who noticed being out is asked.
fn come_in_again(person: &Person, group: &str) {
    let mut listening = person.listen();
    let is_invited = |events: &[Value]| events.iter().any(|it| it["event"] == "invitation");
    listening.until("the way back", |events| {
        is_invited(events) || is_repaired(events, group)
    });
    let asked = is_invited(&listening.events);
    listening.kill();
    if asked {
        person.ok(&["join", group]);
    }
}

fn everybody_but_carol_is_in([alice, bob, carol, dave]: &[Person; 4], crew: &str) {
    for person in [alice, bob, dave] {
        let names = members(person, crew);
        assert!(!names.contains(&carol.name), "{names:?}");
        assert_eq!(names.len(), 3);
    }
    let heard = carol.ok(&["listen", "--for", "3s"]).texts();
    assert!(heard.is_empty(), "{heard:?}");
    carol.fails(&["send", crew, "am I in again?"], 5);
}

#[test]
fn an_older_database_is_noticed_and_talks_go_on() {
    let cluster = TestCluster::shared();
    let database = cluster.create_database().unwrap();
    let variables: &'static [(&str, &str)] = Box::leak(Box::new([(
        "SOTTO_DATABASE_URL",
        &*Box::leak(database.url().to_owned().into_boxed_str()),
    )]));
    let mut deployment = Deployment::start_with(SERVERS, variables);
    let people = ["alice", "bob", "carol", "dave"].map(|stem| deployment.registered(stem));
    let [alice, bob, carol, dave] = &people;
    alice.befriend(bob);
    let crew = group_of("crew", &[alice, bob, carol]);
    alice.ok(&["send", &crew, "all three"]);
    for person in [bob, carol] {
        person.ok(&["listen", "--for", "2s"]);
    }
    let backup = tempfile::Builder::new().tempfile().unwrap();
    let url = database.url();
    run_postgres(
        "pg_dump",
        url,
        &["--format=custom", "--file"],
        backup.path(),
    );

    live_on(&people, &crew);

    deployment.stop();
    sql::execute(url, "DROP SCHEMA public CASCADE; CREATE SCHEMA public").unwrap();
    run_postgres("pg_restore", url, &["--exit-on-error"], backup.path());
    let done = mark_restored(&deployment);
    assert_eq!(done["event"], "restored", "{done}");
    deployment.start_again(SERVERS, variables);

    let mut at_alice = alice.listen();
    let mut at_bob = bob.listen();
    at_alice.until("alice to be told", |events| has(events, "rollback"));
    at_bob.until("bob to be told", |events| has(events, "rollback"));
    at_alice.until("the group's repair", |events| is_repaired(events, &crew));
    at_bob.until("the group's repair", |events| is_repaired(events, &crew));
    come_in_again(dave, &crew);
    at_alice.kill();
    at_bob.kill();

    let mut at_bob = bob.listen();
    alice.ok(&["send", &bob.name, "it goes on"]);
    until_text(&mut at_bob, "it goes on");
    assert!(has(&at_bob.events, "gap"), "{:?}", at_bob.events);
    alice.ok(&["send", &crew, "the three of us"]);
    until_text(&mut at_bob, "the three of us");
    at_bob.kill();
    let mut at_dave = dave.listen();
    until_text(&mut at_dave, "the three of us");
    at_dave.kill();
    let mut at_alice = alice.listen();
    bob.ok(&["send", &alice.name, "for me too"]);
    until_text(&mut at_alice, "for me too");
    at_alice.kill();

    let mut at_dave = dave.listen();
    alice.ok(&["send", &dave.name, "are you still there?"]);
    until_text(&mut at_dave, "are you still there?");
    at_dave.kill();
    assert_eq!(
        dave.ok(&["history", &alice.name]).texts(),
        ["hello", "are you still there?"]
    );

    everybody_but_carol_is_in(&people, &crew);
    let history = bob.ok(&["history", &alice.name, "--last", "4"]).texts();
    let expected = ["since the backup", "answered", "it goes on", "for me too"];
    assert_eq!(history, expected);
}
