//! However it ends, the terminal is as it was; and however small it gets, it goes on.

use std::fs;

use super::{ENTER, QUIT, Screen};
use crate::support::{Deployment, Person, fresh_name};

#[test]
fn the_terminal_comes_back_however_the_screen_ends() {
    let deployment = Deployment::shared();
    let alice = deployment.registered("alice");
    fs::create_dir_all(alice.home().join("sotto")).unwrap();
    fs::write(alice.home().join("sotto/tui.toml"), "mouse = true\n").unwrap();
    let newcomer = deployment.person(&fresh_name("newcomer"));
    // Somebody who chats, somebody who is asked for a name, and somebody who only tries it out.
    let screens: [(&Person, &[&str], &str); 3] = [
        (&alice, &["tui"], "online"),
        (&newcomer, &["tui"], "A new account"),
        (&newcomer, &["tui", "--demo"], "garden"),
    ];
    for (person, words, shown) in screens {
        for end in [QUIT, "\u{3}", "TERM", "INT", "HUP"] {
            let mut screen = Screen::open(person, words, (80, 24));
            screen.shows(shown);
            match end {
                "TERM" | "INT" | "HUP" => screen.signal(end),
                keys => screen.types(keys),
            }
            assert_eq!(screen.ends(), 0, "{words:?} {shown} {end:?}");
        }
    }
}

#[test]
fn a_terminal_that_is_gone_ends_the_screen_and_leaves_the_profile_to_others() {
    let deployment = Deployment::shared();
    let alice = deployment.registered("alice");
    let screen = Screen::open(&alice, &["tui"], (80, 24));
    screen.shows("online");
    screen.closes();
    let mut again = Screen::open(&alice, &["tui"], (80, 24));
    again.shows("online");
    again.types(QUIT);
    assert_eq!(again.ends(), 0);
}

#[test]
fn a_second_screen_on_one_profile_says_why_it_does_not_open() {
    let deployment = Deployment::shared();
    let alice = deployment.registered("alice");
    alice.ok(&["group", "new", "notes"]);
    let mut first = Screen::open(&alice, &["tui"], (80, 24));
    first.shows("#notes");
    first.shows("online");
    let second = Screen::open(&alice, &["tui"], (100, 24));
    second.shows("another program uses this profile");
    second.shows("--profile");
    assert_eq!(second.ends(), 7);
    first.types("still here");
    first.shows("still here");
    first.types(QUIT);
    first.shows("What you wrote is not sent");
    first.types(QUIT);
    assert_eq!(first.ends(), 0);
}

#[test]
fn any_size_is_survived_and_what_was_typed_stays() {
    let deployment = Deployment::shared();
    let (alice, bob) = (deployment.registered("alice"), deployment.registered("bob"));
    alice.befriend(&bob);
    let mut screen = Screen::open(&alice, &["tui"], (120, 40));
    screen.shows(&bob.name);
    super::story::open_chat(&mut screen, &bob.name);
    screen.types("half a sentence");
    screen.shows("half a sentence");
    for (columns, rows) in [
        (80, 24),
        (50, 12),
        (20, 5),
        (3, 2),
        (1, 1),
        (200, 60),
        (60, 20),
    ] {
        screen.resize(columns, rows);
        if columns >= 20 && rows >= 5 {
            screen.shows("half a sen");
        }
    }
    screen.types(ENTER);
    crate::support::wait_for("the message to be sent", || {
        let heard = bob.run(&["listen", "--for", "2s", "--count", "1"]).texts();
        heard.contains(&"half a sentence".to_owned()).then_some(())
    });
    screen.types(QUIT);
    assert_eq!(screen.ends(), 0);
}
