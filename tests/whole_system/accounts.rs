//! Accounts, passwords, names, profiles: the good and the bad.

use std::fs;

use crate::support::{Deployment, Person, fresh_name};

#[test]
fn an_account_knows_itself_and_others() {
    let deployment = Deployment::shared();
    let alice = deployment.registered("alice");
    let who = alice.ok(&["whoami"]);
    assert_eq!(who.events[0]["username"], alice.name.as_str(), "{who:?}");
    let found = alice.ok(&["users", &alice.name]);
    let names: Vec<_> = found
        .events
        .iter()
        .map(|event| event["username"].clone())
        .collect();
    assert!(names.contains(&alice.name.clone().into()), "{found:?}");
    let devices = alice.ok(&["devices"]);
    assert_eq!(devices.events.len(), 1, "{devices:?}");
}

#[test]
fn people_show_as_online_while_they_listen() {
    let deployment = Deployment::shared();
    let (alice, bob) = (deployment.registered("alice"), deployment.registered("bob"));
    let online = || {
        let listed = alice.ok(&["users", &bob.name, "--online"]);
        listed
            .events
            .iter()
            .any(|event| event["username"] == bob.name.as_str())
    };
    assert!(!online());
    let listening = bob.listen();
    crate::support::wait_for("bob to show as online", || online().then_some(()));
    drop(listening);
    crate::support::wait_for("bob to be gone", || (!online()).then_some(()));
}

/// B15: nobody inherits the contacts of whoever had a name before.
#[test]
fn a_name_stays_taken_when_its_owner_leaves() {
    let deployment = Deployment::shared();
    let alice = deployment.registered("alice");
    alice.ok(&["logout", "--wipe"]);
    let heir = deployment.person(&alice.name);
    let refused = heir.fails(&["register", &alice.name], 5);
    assert_eq!(refused.error_code(), "name_taken");
}

#[test]
fn names_that_are_taken_or_look_taken_or_are_no_names_are_refused() {
    let deployment = Deployment::shared();
    let name = fresh_name("modern");
    let first = deployment.person(&name);
    first.ok(&["register", &name]);
    let taken = deployment.person(&name).fails(&["register", &name], 5);
    assert_eq!(taken.error_code(), "name_taken");
    let look_alike = name.replacen("rn", "m", 1);
    let refused = deployment
        .person(&look_alike)
        .fails(&["register", &look_alike], 5);
    assert_eq!(refused.error_code(), "name_taken");
    for bad in [
        "ab",
        "Alice",
        "b\u{43e}b-cyrillic",
        "with space",
        "x';drop table account;--",
    ] {
        let refused = deployment.person("nobody").run(&["register", bad]);
        assert_eq!(refused.code, 2, "{bad}: {refused:?}");
    }
}

#[test]
fn a_wrong_password_and_an_unknown_name_get_the_same_answer() {
    let deployment = Deployment::shared();
    let alice = deployment.registered("alice");
    let stranger = deployment.person(&alice.name);
    let wrong = stranger.fails(&["login", &alice.name], 3);
    let unknown = deployment
        .person("x")
        .fails(&["login", &fresh_name("ghost")], 3);
    assert_eq!(wrong.error_code(), "wrong_credentials");
    assert_eq!(wrong.stderr, unknown.stderr);
}

#[test]
fn a_password_can_be_changed() {
    let deployment = Deployment::shared();
    let mut alice = deployment.registered("alice");
    let new_file = alice.home().join("new-password");
    fs::write(&new_file, "an entirely new password").unwrap();
    alice.ok(&["passwd", "--new-password-file", new_file.to_str().unwrap()]);
    alice.ok(&["logout"]);
    alice.fails(&["login", &alice.name], 3);
    alice.password_file = new_file;
    alice.ok(&["login", &alice.name]);
    alice.ok(&["whoami"]);
}

#[test]
fn passwords_that_differ_after_72_bytes_differ() {
    let deployment = Deployment::shared();
    let name = fresh_name("long");
    let alice = deployment.person(&name);
    fs::write(&alice.password_file, format!("{}x", "p".repeat(72))).unwrap();
    alice.ok(&["register", &name]);
    alice.ok(&["logout"]);
    fs::write(&alice.password_file, format!("{}y", "p".repeat(72))).unwrap();
    alice.fails(&["login", &name], 3);
}

#[test]
fn two_programs_do_not_share_a_profile() {
    let deployment = Deployment::shared();
    let alice = deployment.registered("alice");
    let mut listening = alice.listen();
    let refused = crate::support::wait_for("the profile to be in use", || {
        if listening.has_ended() {
            // A try of the other program was first.
            listening = alice.listen();
        }
        let tried = alice.run(&["chats"]);
        (tried.code == 7).then_some(tried)
    });
    assert_eq!(refused.error_code(), "profile_in_use");
}

#[test]
fn unknown_people_are_not_found() {
    let deployment = Deployment::shared();
    let alice = deployment.registered("alice");
    let ghost = fresh_name("ghost");
    assert_eq!(
        alice.fails(&["send", &ghost, "boo"], 4).error_code(),
        "unknown_user"
    );
    alice.fails(&["history", &ghost], 4);
    alice.fails(&["accept", &ghost], 4);
    alice.fails(&["no-such-command"], 2);
}

fn damage(alice: &Person) {
    let database = find(alice, "profile.db");
    let mut bytes = fs::read(&database).unwrap();
    let middle = bytes.len() / 2;
    bytes[..64].fill(0x5a);
    bytes[middle..middle + 64].fill(0x5a);
    fs::write(&database, bytes).unwrap();
}

fn find(alice: &Person, name: &str) -> std::path::PathBuf {
    let mut open = vec![alice.home().to_owned()];
    while let Some(next) = open.pop() {
        for entry in fs::read_dir(next).unwrap().flatten() {
            if entry.file_name() == name {
                return entry.path();
            }
            if entry.file_type().unwrap().is_dir() {
                open.push(entry.path());
            }
        }
    }
    panic!("no {name}");
}

#[test]
fn a_damaged_store_is_named_and_left_as_it_is() {
    let deployment = Deployment::shared();
    let alice = deployment.registered("alice");
    damage(&alice);
    let before = fs::read(find(&alice, "profile.db")).unwrap();
    let refused = alice.run(&["chats"]);
    assert_ne!(refused.code, 0);
    assert!(!refused.error_code().is_empty(), "{refused:?}");
    assert!(!refused.stderr.contains("panicked"), "{refused:?}");
    assert_eq!(fs::read(find(&alice, "profile.db")).unwrap(), before);
}
