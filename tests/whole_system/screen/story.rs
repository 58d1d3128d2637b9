//! The story of a day on the full screen: a request, a chat, a group, a server that dies, a
//! locked screen.

use super::{ENTER, QUIT, Screen};
use crate::support::{Deployment, texts};

/// Goes to a conversation by the palette.
pub(super) fn open_chat(screen: &mut Screen, name: &str) {
    screen.types("\u{b}");
    screen.shows("Go to");
    screen.types(name);
    screen.until("the palette to find it", |shown| {
        shown.matches(name).count() >= 2
    });
    screen.types(ENTER);
    screen.hides("Go to");
}

#[test]
fn a_request_a_chat_and_a_group() {
    let deployment = Deployment::shared();
    let (alice, bob) = (deployment.registered("alice"), deployment.registered("bob"));
    let mut screen = Screen::open(&alice, &["tui"], (120, 40));
    screen.shows("online");
    bob.ok(&["send", &alice.name, "good morning"]);
    screen.shows(&bob.name);
    // F5: who wants to talk; Alt-y accepts.
    screen.types("\u{1b}[15~");
    screen.shows("Requests and invitations");
    screen.types("\u{1b}y");
    screen.hides("Requests and invitations");
    open_chat(&mut screen, &bob.name);
    screen.shows("good morning");
    // A paste of two lines sends nothing.
    screen.types("\u{1b}[200~first line\nsecond line\u{1b}[201~");
    screen.shows("second line");
    screen.types(ENTER);
    let heard = bob.ok(&["listen", "--for", "30s", "--count", "1"]).texts();
    assert_eq!(heard, ["first line\nsecond line"]);
    // An unknown command is never sent.
    screen.types("/nonsense words\r");
    screen.types("after it\r");
    let heard = bob.ok(&["listen", "--for", "30s", "--count", "1"]).texts();
    assert_eq!(heard, ["after it"]);
    bob.ok(&["group", "new", "walkers", &alice.name]);
    screen.until("the invitation", |shown| shown.contains(&bob.name));
    screen.types(QUIT);
    assert_eq!(screen.ends(), 0);
}

/// SIGKILL for the server with the most sessions.
fn kill_the_busiest(deployment: &Deployment) {
    let status = deployment.status();
    let servers = status["processes"].as_array().unwrap().iter();
    let busiest = servers
        .filter(|process| process["kind"] == "server")
        .max_by_key(|process| process["sessions"].as_u64());
    let pid = busiest.unwrap()["pid"].as_u64().unwrap();
    crate::support::signal("KILL", pid);
}

#[test]
fn servers_that_die_lose_nothing_and_freeze_nothing() {
    let deployment = Deployment::start(2);
    let (alice, bob) = (deployment.registered("alice"), deployment.registered("bob"));
    alice.befriend(&bob);
    let mut at_bob = bob.listen();
    let mut screen = Screen::open(&alice, &["tui"], (100, 30));
    screen.shows(&bob.name);
    open_chat(&mut screen, &bob.name);
    screen.shows("online");
    let mut sent = Vec::new();
    for number in 0..6 {
        let text = format!("sentence {number}");
        // In the middle of the second and the fifth.
        screen.types(&text[..4]);
        screen.shows(&format!("› {}", &text[..4]));
        if number % 3 == 1 {
            kill_the_busiest(&deployment);
        }
        // Keys are answered meanwhile.
        screen.types(&text[4..]);
        screen.shows(&format!("› {text}"));
        screen.types(ENTER);
        screen.until("an empty composer", |shown| {
            !shown.contains(&format!("› {text}"))
        });
        sent.push(text);
    }
    at_bob.until("all sentences", |events| texts(events).len() >= sent.len());
    assert_eq!(texts(&at_bob.kill()), sent);
    // None is marked as queued any more.
    screen.until("all to be at the server", |shown| {
        let lines = shown.lines().filter(|line| line.contains("sentence"));
        lines.clone().count() >= sent.len() && lines.into_iter().all(|line| !line.contains(" … "))
    });
    screen.types(QUIT);
    assert_eq!(screen.ends(), 0);
}

#[test]
fn a_locked_screen_shows_nothing_until_the_password_is_typed() {
    let deployment = Deployment::shared();
    let (alice, bob) = (deployment.registered("alice"), deployment.registered("bob"));
    alice.befriend(&bob);
    bob.ok(&["send", &alice.name, "a secret word"]);
    let mut screen = Screen::open(&alice, &["tui"], (100, 30));
    screen.shows(&bob.name);
    open_chat(&mut screen, &bob.name);
    screen.shows("a secret word");
    screen.types("\u{1b}l");
    screen.hides("a secret word");
    screen.hides(&bob.name);
    screen.types("not the password\r");
    screen.until("the screen to stay locked", |shown| {
        !shown.contains("a secret word") && !shown.contains("not the password")
    });
    screen.types(&format!("{}\r", alice.password));
    screen.shows("a secret word");
    screen.types(QUIT);
    assert_eq!(screen.ends(), 0);
}
