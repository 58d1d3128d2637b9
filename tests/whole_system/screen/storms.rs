//! Little room, sizes that change all the time, messages that arrive meanwhile, and nobody at the
//! keys.

use std::fs;
use std::thread;

use super::story::open_chat;
use super::{ENTER, ESC, QUIT, Screen};
use crate::support::{Deployment, Person, said, wait_for, with_input};

/// Two people, and the conversation with alice on bob's screen.
fn bobs_chat() -> (Person, Person, Screen) {
    let deployment = Deployment::shared();
    let (alice, bob) = (deployment.registered("alice"), deployment.registered("bob"));
    alice.befriend(&bob);
    let mut screen = Screen::open(&bob, &["tui"], (80, 24));
    screen.shows(&alice.name);
    open_chat(&mut screen, &alice.name);
    (alice, bob, screen)
}

#[test]
fn a_hundred_sizes_while_messages_arrive() {
    let (alice, bob, mut screen) = bobs_chat();
    screen.types("half a sentence");
    screen.shows("half a sentence");
    let lines: String = (0..60)
        .map(|number| format!("number {number:03}\n"))
        .collect();
    let chat = alice.command(&["chat", &bob.name]);
    let writer = thread::spawn(move || said(with_input(chat, &lines)));
    let sizes = [(20, 5), (120, 40), (50, 12), (3, 2), (80, 24), (61, 9)];
    for (columns, rows) in sizes.into_iter().cycle().take(100) {
        screen.resize(columns, rows);
        // Each is drawn before the next comes, or skipped: both happen.
        if rows == 24 {
            screen.shows("half a sen");
        }
    }
    let chat = writer.join().unwrap();
    assert!(matches!(chat.code, 0 | 6), "{chat:?}");
    wait_for("all of it to be sent", || {
        alice.run(&["requests"]);
        (alice.ok(&["chats"]).events[0]["queued"] == 0).then_some(())
    });
    screen.resize(80, 24);
    screen.shows("half a sentence");
    // What one was reading stays; the newest is a key away.
    screen.types("\u{1b}[1;5F");
    screen.shows("number 059");
    screen.types(QUIT);
    screen.shows("is not sent");
    screen.types("y");
    assert_eq!(screen.ends(), 0);
    let texts = bob.ok(&["history", &alice.name, "--last", "100"]).texts();
    let expected: Vec<String> = std::iter::once("hello".to_owned())
        .chain((0..60).map(|number| format!("number {number:03}")))
        .collect();
    assert_eq!(texts, expected);
    // The draft was kept for the next time.
    let drafts = bob.ok(&["draft", &alice.name]).events;
    assert!(
        drafts
            .iter()
            .any(|draft| draft["text"] == "half a sentence"),
        "{drafts:?}"
    );
}

/// A key and a change of the size that come at the same moment are both heard, without another
/// key to wake the first.
#[test]
fn a_key_pressed_while_the_size_changes_is_heard() {
    let (_alice, _bob, mut screen) = bobs_chat();
    for round in 1..=40 {
        let (columns, rows) = [(79, 24), (80, 23)][round % 2];
        screen.resize(columns, rows);
        screen.types("x");
        screen.shows(&"x".repeat(round));
    }
    screen.types(QUIT);
    screen.shows("is not sent");
    screen.types(QUIT);
    assert_eq!(screen.ends(), 0);
}

#[test]
fn twenty_columns_and_five_rows_are_enough_to_talk() {
    let deployment = Deployment::shared();
    let (alice, bob) = (deployment.registered("alice"), deployment.registered("bob"));
    alice.befriend(&bob);
    alice.ok(&["send", &bob.name, "are you there?"]);
    let mut screen = Screen::open(&bob, &["tui"], (20, 5));
    screen.shows("are you there?");
    screen.types(&format!("yes{ENTER}"));
    let heard = alice
        .ok(&["listen", "--for", "30s", "--count", "1"])
        .texts();
    assert_eq!(heard, ["yes"]);
    // The key help, the palette and the list have room as well.
    screen.types("\u{1b}OP");
    screen.shows("Keys that work");
    screen.types(ESC);
    screen.hides("Keys that work");
    screen.types("\u{b}");
    screen.shows("Go to");
    screen.types(ESC);
    screen.hides("Go to");
    screen.types("\u{1b}c");
    screen.shows(&alice.name);
    screen.types(QUIT);
    assert_eq!(screen.ends(), 0);
}

#[test]
fn a_screen_that_nobody_touches_locks_itself() {
    let deployment = Deployment::shared();
    let (alice, bob) = (deployment.registered("alice"), deployment.registered("bob"));
    alice.befriend(&bob);
    alice.ok(&["send", &bob.name, "a secret word"]);
    // A tenth of a minute.
    fs::write(
        bob.home().join("sotto/tui.toml"),
        "idle-lock-minutes = 0.1\n",
    )
    .unwrap();
    let mut screen = Screen::open(&bob, &["tui"], (80, 24));
    screen.shows("a secret word");
    screen.shows("Locked");
    screen.hides("a secret word");
    screen.hides(&alice.name);
    // What arrives meanwhile does not show either.
    alice.ok(&["send", &bob.name, "another secret"]);
    screen.types(&format!("{}{ENTER}", bob.password));
    screen.shows("another secret");
    screen.types(QUIT);
    assert_eq!(screen.ends(), 0);
}
