//! A second terminal on another machine: a password alone lets nobody in, a code that is agreed to
//! does, and so does a recovery key. From screen to screen, without a command in a shell.

use super::first_run::keep_recovery_key;
use super::story::open_chat;
use super::{ENTER, QUIT, Screen, TAB};
use crate::devices::machine;
use crate::support::Deployment;

const F9: &str = "\u{1b}[20~";
const RIGHT: &str = "\u{1b}[C";

/// The code that a new device shows, and its fingerprint.
fn shown_by(screen: &Screen) -> (String, String) {
    screen.shows("fingerprint");
    screen.shows("waiting, for ten minutes");
    let shown = screen.contents();
    let is_code = |word: &&str| word.len() >= 9 && word.matches('-').count() >= 3;
    let code = shown
        .split_whitespace()
        .find(is_code)
        .unwrap_or_else(|| panic!("{shown}"));
    let line = shown
        .lines()
        .find_map(|line| line.split_once("this fingerprint: "))
        .unwrap_or_else(|| panic!("{shown}"));
    let fingerprint = line.1.trim_end_matches([' ', '│']).trim().to_owned();
    (code.to_owned(), fingerprint)
}

#[test]
fn a_second_terminal_is_linked_from_screen_to_screen() {
    let deployment = Deployment::shared();
    let (alice, bob) = (deployment.registered("alice"), deployment.registered("bob"));
    alice.befriend(&bob);
    let second = machine(deployment, &alice);
    let mut new = Screen::open(&second, &["tui"], (80, 24));
    new.shows("A new account");
    // Whoever has only the password tries to log in, and is told what is missing.
    new.types(RIGHT);
    new.shows("Log in");
    new.types(&format!("{}{TAB}{}{ENTER}", alice.name, alice.password));
    new.shows("A further device");
    new.shows("has another device");
    // Name and password are there already.
    new.types(ENTER);
    let (code, fingerprint) = shown_by(&new);

    let mut old = Screen::open(&alice, &["tui"], (80, 24));
    old.shows("online");
    old.types(F9);
    old.shows("Add a device");
    old.types("add");
    old.types(ENTER);
    old.shows("The code that the new device shows");
    // Mistyped: nothing is found, and nothing is lost.
    old.types(&format!("{}{ENTER}", &code[..code.len() - 1]));
    old.until("a word about it", |shown| !shown.contains("looking who"));
    old.types(&format!("\u{15}{}{ENTER}", code.to_lowercase()));
    old.shows("Let this device in?");
    old.shows(&fingerprint);
    old.shows("If somebody asked you to type this code, stop");
    // Enter alone does not let it in.
    old.types(ENTER);
    old.shows("only the word yes");
    old.types(&format!("yes{ENTER}"));
    old.shows("linked");
    new.shows("online");
    new.shows(&bob.name);
    open_chat(&mut new, &bob.name);
    new.shows("hello");
    new.types(&format!("from the second{ENTER}"));
    let heard = bob.ok(&["listen", "--for", "30s", "--count", "1"]).texts();
    assert_eq!(heard, ["from the second"]);
    for screen in [&mut old, &mut new] {
        screen.types(QUIT);
    }
    assert_eq!((old.ends(), new.ends()), (0, 0));
    assert_eq!(alice.ok(&["devices"]).events.len(), 2);
}

#[test]
fn a_recovery_key_made_on_the_screen_brings_the_account_back_on_another() {
    let deployment = Deployment::shared();
    let (alice, bob) = (deployment.registered("alice"), deployment.registered("bob"));
    alice.befriend(&bob);
    let mut screen = Screen::open(&alice, &["tui"], (80, 24));
    screen.shows("online");
    open_chat(&mut screen, &bob.name);
    screen.types(&format!("/recovery new{ENTER}"));
    let key = keep_recovery_key(&mut screen);
    screen.shows("backed up under these words");
    screen.types(QUIT);
    assert_eq!(screen.ends(), 0);

    let second = machine(deployment, &alice);
    let mut new = Screen::open(&second, &["tui"], (80, 24));
    new.shows("A new account");
    // The other way round: whose devices are lost is just before.
    new.types("\u{1b}[D");
    new.shows("Recover an account");
    new.types(&format!("{}{TAB}{}{TAB}", alice.name, alice.password));
    new.types(&format!("not twelve words{ENTER}"));
    new.shows("type all of them, in their order");
    new.types(&format!("\u{15}{}{ENTER}", key.join(" ")));
    new.shows("online");
    new.shows(&bob.name);
    new.types(QUIT);
    assert_eq!(new.ends(), 0);
}

#[test]
fn another_password_is_set_on_the_screen() {
    let deployment = Deployment::shared();
    let mut alice = deployment.registered("alice");
    alice.ok(&["group", "new", "notes"]);
    let mut screen = Screen::open(&alice, &["tui"], (80, 24));
    screen.shows("#notes");
    screen.shows("online");
    let new = format!("{}-and-new", alice.password);
    let change = |screen: &mut Screen, current: &str| {
        screen.types(&format!("/passwd{ENTER}"));
        screen.shows("The present password");
        screen.types(&format!("{current}{ENTER}{new}{ENTER}{new}{ENTER}"));
    };
    change(&mut screen, "not the present one");
    screen.shows("the present password is wrong");
    change(&mut screen, &alice.password);
    screen.shows("the password is changed");
    // From now on it is the one that unlocks.
    screen.types("\u{1b}l");
    screen.shows("Locked");
    screen.types(&format!("{}{ENTER}", alice.password));
    screen.shows("not the password");
    screen.types(&format!("{new}{ENTER}"));
    screen.shows("#notes");
    screen.types(QUIT);
    let bytes = String::from_utf8(screen.bytes()).unwrap();
    assert!(!bytes.contains(&alice.password));
    assert_eq!(screen.ends(), 0);
    alice.password = new;
    std::fs::write(&alice.password_file, &alice.password).unwrap();
    alice.ok(&["logout"]);
    alice.ok(&["login", &alice.name]);
}
