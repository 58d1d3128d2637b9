//! However it ends, the terminal is as it was; and however small it gets, it goes on.

use super::{ENTER, Screen};
use crate::support::Deployment;

#[test]
fn the_terminal_comes_back_however_the_screen_ends() {
    let deployment = Deployment::shared();
    let alice = deployment.registered("alice");
    for end in ["\u{11}", "\u{3}", "SIGTERM", "SIGINT", "SIGHUP"] {
        let mut screen = Screen::open(&alice, &["tui"], (80, 24));
        screen.shows("online");
        match end {
            "SIGTERM" => screen.signal("TERM"),
            "SIGINT" => screen.signal("INT"),
            "SIGHUP" => screen.signal("HUP"),
            keys => screen.types(keys),
        }
        let code = screen.ends();
        assert!(end.starts_with("SIG") || code == 0, "{end:?}: {code}");
    }
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
    screen.types("\u{11}");
    assert_eq!(screen.ends(), 0);
}
