//! Small mistakes and their answers: a sentence that says what to do, and nothing done.

use std::process::Command;

use crate::support::{Deployment, SOTTO, fresh_name, wait_for, with_input};

#[test]
fn a_request_that_waits_at_the_server_is_accepted_without_listening_first() {
    let deployment = Deployment::shared();
    let (ann, ben) = (deployment.registered("ann"), deployment.registered("ben"));
    ann.ok(&["send", &ben.name, "hello"]);
    let said = ben.ok(&["accept", &ann.name]);
    assert_eq!(said.texts(), ["hello"]);
    let said = ben.fails(&["accept", &ann.name], 4);
    assert_eq!(said.error_code(), "not_a_request");
}

#[test]
fn what_is_about_oneself_or_about_nobody_is_told() {
    let deployment = Deployment::shared();
    let ann = deployment.registered("ann");
    for command in ["verify", "block", "accept"] {
        let said = ann.fails(&[command, &ann.name], 2);
        assert_eq!(said.error_code(), "self", "{command}: {said:?}");
    }
    let said = ann.fails(&["block", "nobody-of-this-name"], 4);
    assert_eq!(said.error_code(), "unknown_user");
    let ben = deployment.registered("ben");
    ann.ok(&["block", &ben.name]);
    ann.ok(&["unblock", &ben.name]);
    for (digits, wanted) in [
        ("12345 67890", "60 digits expected, 10 given"),
        ("12345 6789o", "digits and spaces only"),
    ] {
        let said = ann.fails(&["verify", &ben.name, "--confirm", digits], 2);
        assert!(said.stderr.contains(wanted), "{said:?}");
    }
    let said = ann.fails(&["verify", &ben.name, "--confirm", &"7".repeat(60)], 5);
    assert_eq!(said.error_code(), "safety_number_differs");
}

#[test]
fn white_space_is_no_message() {
    let deployment = Deployment::shared();
    let (ann, ben) = (deployment.registered("ann"), deployment.registered("ben"));
    for text in ["", "  ", "\n\t \n", "\u{2003}"] {
        let said = ann.fails(&["send", &ben.name, text], 2);
        assert!(said.stderr.contains("nothing to send"), "{said:?}");
    }
    let output = with_input(ann.command(&["send", &ben.name, "-"]), " \n\n");
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    assert!(ann.ok(&["chats"]).events.is_empty());
}

#[test]
fn a_repeated_registration_says_that_it_is_done() {
    let deployment = Deployment::shared();
    let ann = deployment.registered("ann");
    let said = ann.fails(&["register", &ann.name], 5);
    assert_eq!(said.error_code(), "profile_exists");
    assert!(said.stderr.contains("nothing left to do"), "{said:?}");
    ann.ok(&["logout"]);
    let said = ann.fails(&["register", &ann.name], 5);
    assert!(said.stderr.contains("sotto login"), "{said:?}");
    let said = ann.fails(&["register", &fresh_name("other")], 5);
    assert!(said.stderr.contains("belongs to"), "{said:?}");
}

#[test]
fn damaged_servers_are_named_and_not_taken_for_none() {
    let deployment = Deployment::shared();
    let ann = deployment.registered("ann");
    let file = ann.home().join("sotto/default/servers.json");
    assert!(file.is_file());
    std::fs::write(&file, "{\"server\":").unwrap();
    let mut command = Command::new(SOTTO);
    command
        .env_clear()
        .env("XDG_RUNTIME_DIR", ann.home().join("run"))
        .arg("--home")
        .arg(ann.home().join("sotto"))
        .args(["--json", "users"]);
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("servers.json is damaged"), "{said}");
    // What is given counts, and a login puts the file right.
    ann.ok(&["users"]);
}

#[test]
fn a_new_identity_is_not_put_in_place_by_accident() {
    let deployment = Deployment::shared();
    let ann = deployment.registered("ann");
    let mut thief = deployment.person(&ann.name);
    thief.password_file = ann.password_file.clone();
    let said = thief.fails(&["login", &ann.name, "--new-identity"], 2);
    assert!(said.stderr.contains("--yes"), "{said:?}");
    ann.ok(&["users"]);
    thief.ok(&["login", &ann.name, "--new-identity", "--yes"]);
    wait_for("the other device to be out", || {
        (ann.run(&["users"]).code == 3).then_some(())
    });
}

#[test]
fn json_may_stand_before_the_command() {
    let deployment = Deployment::shared();
    let mut command = Command::new(SOTTO);
    command
        .args(["--json", "status", "--dir"])
        .arg(&deployment.dir);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice::<serde_json::Value>(&output.stdout).unwrap();
}

#[test]
fn nobody_is_spoken_to_or_searched_who_is_not_there() {
    let deployment = Deployment::shared();
    let (ann, ben) = (deployment.registered("ann"), deployment.registered("ben"));
    let said = ann.fails(&["send", &ben.name, "hi", "--mention", "nosuch"], 5);
    assert_eq!(said.error_code(), "not_a_member");
    ann.ok(&["send", &ben.name, "hi", "--mention", &ben.name]);
    assert_eq!(ann.ok(&["history", &ben.name]).texts(), ["hi"]);
    let said = ann.fails(&["search", "hi", "--in", "nobody-here"], 4);
    assert_eq!(said.error_code(), "not_found");
    assert_eq!(ann.ok(&["search", "hi", "--in", &ben.name]).events.len(), 1);
}

#[test]
fn a_mistyped_invite_link_asks_nobody() {
    let deployment = Deployment::shared();
    let (ann, ben) = (deployment.registered("ann"), deployment.registered("ben"));
    let made = ann.ok(&["group", "new", "den"]).events;
    let id = format!("#{}", made[0]["conversation"].as_str().unwrap());
    let made = ann.ok(&["group", "link", &id]).events;
    let link = made[0]["link"].as_str().unwrap();
    let (start, check) = link.rsplit_once('/').unwrap();
    let (start, secret) = start.rsplit_once('/').unwrap();
    let other = if secret.starts_with('A') { "B" } else { "A" };
    let mistyped = format!("{start}/{other}{}/{check}", &secret[1..]);
    for command in [["join", &mistyped].as_slice(), &["room", "join", &mistyped]] {
        let said = ben.fails(command, 2);
        assert!(said.stderr.contains("mistyped"), "{said:?}");
    }
    let left = ann.ok(&["group", "links", &id]).events;
    assert_eq!(left[0]["uses_left"], 1, "{left:?}");
    // As links were made once, without a check.
    let mut at_ann = ann.listen();
    ben.ok(&["join", &format!("{start}/{secret}")]);
    at_ann.until("ben", |events| {
        events.iter().any(|event| event["change"] == "joined")
    });
}

#[test]
fn a_list_of_conversations_says_what_is_to_be_seen_to() {
    let deployment = Deployment::shared();
    let (ann, ben) = (deployment.registered("ann"), deployment.registered("ben"));
    ann.ok(&["send", &ben.name, "one"]);
    ben.ok(&["accept", &ann.name]);
    ann.ok(&["send", &ben.name, "two"]);
    ben.ok(&["users"]);
    wait_for("the message", || {
        ben.ok(&["requests"]);
        (ben.ok(&["chats"]).events[0]["unread"] == 1).then_some(())
    });
    ben.ok(&["draft", &ann.name, "well"]);
    ben.ok(&["mute", &ann.name]);
    let mut command = Command::new(SOTTO);
    command
        .env_clear()
        .env("XDG_RUNTIME_DIR", ben.home().join("run"))
        .arg("--home")
        .arg(ben.home().join("sotto"))
        .arg("chats");
    let output = command.output().unwrap();
    let shown = String::from_utf8(output.stdout).unwrap();
    assert!(shown.contains("(1 unread, draft, muted)"), "{shown}");
}
