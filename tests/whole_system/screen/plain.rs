//! `sotto tui --plain`: one line for each event, numbers for messages, nothing that moves.

use super::{Screen, Sequence, sequences};
use crate::support::{Deployment, said, with_input};

#[test]
fn a_conversation_is_held_by_numbers_alone() {
    let deployment = Deployment::shared();
    let (alice, bob) = (deployment.registered("alice"), deployment.registered("bob"));
    alice.befriend(&bob);
    let mut screen = Screen::open(&bob, &["tui", "--plain"], (80, 24));
    screen.shows(&format!("You are {}", bob.name));
    screen.shows(&format!("1 {}", alice.name));
    screen.types("nobody hears this\r");
    screen.shows("No conversation is open");
    screen.types("/go 1\r");
    screen.shows("is open; what you type goes there");
    screen.shows(&format!("1 {}, ", alice.name));
    alice.ok(&["send", &bob.name, "how are you?"]);
    screen.shows("how are you?");
    screen.types("/reply 2 well\r");
    screen.until("the answer", |_| {
        alice.run(&["history", &bob.name]).texts().len() == 3
            || alice
                .run(&["listen", "--for", "1s", "--count", "1"])
                .texts()
                .len()
                == 1
    });
    let answered = alice.ok(&["history", &bob.name]);
    let answer = answered
        .events
        .iter()
        .find(|event| event["text"] == "well")
        .unwrap();
    assert!(
        !answer["reply_to"].is_null() || !answer["reply"].is_null(),
        "{answer}"
    );
    screen.types("/nonsense\r");
    screen.shows("unrecognized");
    screen.types("/quit\r");
    assert_eq!(screen.ends(), 0);
    let texts = alice.ok(&["history", &bob.name]).texts();
    assert_eq!(texts, ["hello", "how are you?", "well"]);
}

/// H1, H5, H6, H9.
#[test]
fn hostile_words_are_one_line_each() {
    let deployment = Deployment::shared();
    let (alice, bob) = (deployment.registered("alice"), deployment.registered("bob"));
    alice.befriend(&bob);
    let mut messages = crate::attacks::terminal::hostile_messages();
    messages.extend(crate::attacks::terminal::forged_messages(&bob.name));
    for text in &messages {
        let sent = said(with_input(alice.command(&["send", &bob.name, "-"]), text));
        assert_eq!(sent.code, 0, "{sent:?}");
    }
    let mut screen = Screen::open(&bob, &["tui", "--plain"], (200, 50));
    screen.shows("You are");
    let last = format!("{} ", messages.len());
    screen.until("all messages", |_| true);
    screen.types("/go 1\r");
    screen.shows("is open");
    screen.types(&format!("/history {}\r", messages.len() + 1));
    screen.until("the last message", |shown| {
        shown.lines().any(|line| line.starts_with(&last))
    });
    screen.types("/quit\r");
    let bytes = String::from_utf8(screen.bytes()).unwrap();
    // No other screen, no colours: a screen reader hears lines.
    for sequence in sequences(&bytes) {
        assert!(
            !matches!(sequence, Sequence::Csi("?1049", _)),
            "{sequence:?}"
        );
    }
    assert_eq!(screen.ends(), 0);
    for line in bytes.lines() {
        let forged = line.trim_start().starts_with("12:00");
        assert!(!forged, "{line:?}");
    }
}
