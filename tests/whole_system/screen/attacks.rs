//! H1, H5, H6, H9 on the full screen: what others write, call themselves or call a group reaches
//! the terminal as words or not at all. [`Screen::ends`] looks at every byte.

use super::story::open_chat;
use super::{ESC, QUIT, Screen};
use crate::attacks::terminal::{forged_messages, hostile_messages};
use crate::support::{Deployment, said, with_input};

#[test]
fn nothing_that_others_write_acts_on_the_screen() {
    let deployment = Deployment::shared();
    let (alice, bob) = (deployment.registered("alice"), deployment.registered("bob"));
    alice.befriend(&bob);
    let mut messages = hostile_messages();
    messages.extend(forged_messages(&bob.name));
    // What a person is called and says of themselves, and a group's title, are foreign words too.
    alice.run(&[
        "profile",
        "set",
        "--name",
        "al\u{1b}]0;owned\u{7}ice",
        "--status",
        "\u{9b}2J\u{202e}x",
    ]);
    for text in &messages {
        let sent = said(with_input(alice.command(&["send", &bob.name, "-"]), text));
        assert_eq!(sent.code, 0, "{sent:?}");
    }
    let mut screen = Screen::open(&bob, &["tui"], (80, 24));
    screen.shows(&alice.name);
    open_chat(&mut screen, &alice.name);
    screen.shows("forged");
    // Through all of them, in several sizes, with members, search and details.
    for (columns, rows) in [(80, 24), (120, 40), (50, 12), (20, 5), (80, 24)] {
        screen.resize(columns, rows);
        for _ in 0..12 {
            screen.types("\u{1b}[5~");
        }
        for _ in 0..12 {
            screen.types("\u{1b}[6~");
        }
    }
    screen.types("\u{6}owned");
    screen.shows("owned");
    screen.types(ESC);
    screen.until("the search to close", |shown| !shown.contains("Search"));
    screen.types("\u{1b}OS");
    // Sequences that are pasted are words as well.
    screen.types("\u{1b}[200~a\u{1b}]0;owned\u{7}\u{1b}[2Jb\u{1b}[201~");
    screen.types("!");
    screen.shows("!");
    screen.types(QUIT);
    assert_eq!(screen.ends(), 0);
}
