//! What people put in order: conversations and people that they no longer want to see, files that
//! they take back, rooms under another name.

use crate::support::{Deployment, Person, wait_for};

fn listed(person: &Person, command: &[&str], field: &str) -> Vec<String> {
    let events = person.ok(command).events;
    let names = events
        .iter()
        .map(|event| event[field].as_str().unwrap().to_owned());
    names.collect()
}

#[test]
fn what_is_over_goes_off_the_list() {
    let deployment = Deployment::shared();
    let (ann, ben) = (deployment.registered("ann"), deployment.registered("ben"));
    ann.befriend(&ben);
    let made = ann.ok(&["group", "new", "over", &ben.name]).events;
    let id = format!("#{}", made[0]["conversation"].as_str().unwrap());
    wait_for("the invitation", || {
        (!ben.ok(&["invites"]).events.is_empty()).then_some(())
    });
    ben.ok(&["join", &id]);
    let refused = ben.fails(&["forget", &id], 5);
    assert!(refused.stderr.contains("group leave"), "{refused:?}");
    ben.ok(&["group", "leave", &id]);
    assert!(listed(&ben, &["chats"], "conversation").contains(&id[1..].to_owned()));
    ben.ok(&["forget", &id]);
    ben.ok(&["users"]);
    assert_eq!(listed(&ben, &["chats"], "to"), [ann.name.as_str()]);
    ben.fails(&["history", &id], 4);

    // A person: what was said is gone here, what they write next comes.
    ben.ok(&["contact", &ann.name, "--note", "knows trees"]);
    ben.ok(&["forget", &ann.name]);
    for command in ["chats", "contacts"] {
        assert!(ben.ok(&[command]).events.is_empty(), "{command}");
    }
    assert!(ben.ok(&["search", "hello"]).events.is_empty());
    ann.ok(&["send", &ben.name, "still there?"]);
    let heard = ben.ok(&["listen", "--for", "10s", "--count", "1"]);
    assert_eq!(heard.texts(), ["still there?"]);
    assert!(
        heard
            .events
            .iter()
            .all(|event| event["event"] != "security"),
        "{heard:?}"
    );
    assert_eq!(listed(&ben, &["chats"], "to"), [ann.name.as_str()]);
    ben.ok(&["send", &ann.name, "yes"]);
    assert_eq!(listed(&ben, &["contacts"], "name"), [ann.name.as_str()]);
    ben.fails(&["forget", "nobody-of-this-name"], 4);
}

#[test]
fn who_is_blocked_is_listed() {
    let deployment = Deployment::shared();
    let (ann, ben) = (deployment.registered("ann"), deployment.registered("ben"));
    assert!(ann.ok(&["contacts", "--blocked"]).events.is_empty());
    ann.ok(&["block", &ben.name]);
    assert_eq!(
        listed(&ann, &["contacts", "--blocked"], "name"),
        [ben.name.as_str()]
    );
    assert!(ann.ok(&["contacts"]).events.is_empty());
    ann.ok(&["unblock", &ben.name]);
    assert!(ann.ok(&["contacts", "--blocked"]).events.is_empty());
}

#[test]
fn a_file_that_is_taken_back_leaves_the_server() {
    let deployment = Deployment::shared();
    let (ann, ben) = (deployment.registered("ann"), deployment.registered("ben"));
    ann.befriend(&ben);
    let path = ann.home().join("notes.txt");
    std::fs::write(&path, "words ".repeat(30_000)).unwrap();
    ann.ok(&["send", &ben.name, "first", "--file", path.to_str().unwrap()]);
    ben.ok(&["listen", "--for", "10s", "--count", "1"]);
    let used = || {
        ann.ok(&["settings"]).events[0]["file_bytes_used"]
            .as_u64()
            .unwrap()
    };
    assert!(used() > 100_000);
    // Passed on by its owner, it is still needed.
    ann.ok(&["forward", &format!("{}@mine", ben.name), &ben.name]);
    let history = ann.ok(&["history", &ben.name]).events;
    let files: Vec<_> = history
        .iter()
        .filter(|event| event["kind"] == "attachment")
        .collect();
    assert_eq!(files.len(), 2, "{history:?}");
    ann.ok(&["delete", files[0]["id"].as_str().unwrap()]);
    ann.ok(&["users"]);
    assert!(used() > 100_000);
    ben.ok(&["listen", "--for", "10s", "--count", "1"]);
    let saved = ben.home().join("saved");
    std::fs::create_dir_all(&saved).unwrap();
    let last = format!("{}@theirs", ann.name);
    ben.ok(&["save", &last, "--to", saved.to_str().unwrap()]);
    ann.ok(&["delete", files[1]["id"].as_str().unwrap()]);
    wait_for("the room to be free", || (used() == 0).then_some(()));
}

#[test]
fn a_room_is_listed_under_its_new_name() {
    let deployment = Deployment::shared();
    let (ann, ben) = (deployment.registered("ann"), deployment.registered("ben"));
    let title = |stem: &str| format!("{stem} of {}", ann.name);
    let (hall, foyer, taken) = (title("Hall"), title("Foyer"), title("Attic"));
    ann.ok(&["room", "new", &hall, "--public", "--topic", "come in"]);
    ann.ok(&["room", "new", &taken, "--public"]);
    let room = format!("#{hall}");
    let refused = ann.fails(&["group", "rename", &room, &taken], 5);
    assert_eq!(refused.error_code(), "title_taken");
    ann.ok(&["group", "rename", &room, &foyer]);
    let rooms = ben.ok(&["rooms"]).events;
    let found = rooms.iter().find(|room| room["title"] == foyer.as_str());
    assert_eq!(found.unwrap()["topic"], "come in", "{rooms:?}");
    assert!(rooms.iter().all(|room| room["title"] != hall.as_str()));
    ben.ok(&["room", "join", &foyer]);
    assert!(listed(&ann, &["chats"], "to").contains(&format!("#{foyer}")));
}
