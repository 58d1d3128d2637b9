//! From nothing to the first note: where the deployment is, a name, a password that nobody sees, a
//! recovery key that is written down, and what follows.

use super::{ENTER, QUIT, Screen, TAB};
use crate::support::{Deployment, fresh_name, wait_for};

/// The twelve words, each behind its number.
fn words(shown: &str) -> Vec<String> {
    let parts: Vec<&str> = shown
        .split(|c: char| c.is_whitespace() || c == '│')
        .filter(|part| !part.is_empty())
        .collect();
    let word = |number: usize| {
        let place = parts.iter().position(|part| *part == number.to_string());
        parts.get(place? + 1).map(|word| (*word).to_owned())
    };
    (1..=12).filter_map(word).collect()
}

/// The numbers of the words that are asked for.
fn asked_for(shown: &str) -> Vec<usize> {
    let labels = shown.split("Word ").skip(1);
    let number = |label: &str| label.split_whitespace().next()?.parse().ok();
    labels.filter_map(number).collect()
}

/// Writes the words down and types those again that are asked for; the words.
pub(super) fn keep_recovery_key(screen: &mut Screen) -> Vec<String> {
    screen.shows("Write these words down");
    let key = words(&screen.contents());
    assert_eq!(key.len(), 12, "{}", screen.contents());
    screen.types("y");
    screen.shows("once more");
    let asked = asked_for(&screen.contents());
    assert_eq!(asked.len(), 3, "{}", screen.contents());
    // A word that is not the right one goes no further.
    screen.types(&format!("wrong{ENTER}wrong{ENTER}wrong{ENTER}"));
    screen.shows("that is another word");
    for number in asked {
        screen.types(&format!("\u{15}{}{ENTER}", key[number - 1]));
    }
    key
}

#[test]
fn somebody_new_is_in_and_writes_a_first_note() {
    let deployment = Deployment::shared();
    let alice = deployment.person(&fresh_name("alice"));
    let mut screen = Screen::open_alone(&alice, (80, 24));
    screen.shows("Where is the deployment?");
    // Not an address, then the right one.
    screen.types(&format!("nowhere at all{ENTER}{ENTER}"));
    screen.shows("is not HOST:PORT");
    screen.types(&format!(
        "\u{1b}[Z\u{15}{}{TAB}{}{ENTER}",
        alice.server, alice.ca
    ));
    screen.shows("A new account");
    screen.types(&format!("{}{TAB}{}{TAB}", alice.name, alice.password));
    // The second time with a mistake.
    screen.types(&format!("not the same{TAB}{ENTER}"));
    screen.shows("the two passwords differ");
    screen.types(&format!("\u{15}{}{TAB}{ENTER}", alice.password));
    screen.shows("This device is ready");
    screen.types("y");
    let key = keep_recovery_key(&mut screen);
    screen.shows("#notes to self");
    screen.hides("once more");
    screen.shows("only you");
    screen.types(&format!("milk and bread{ENTER}"));
    screen.until("the note at the server", |shown| {
        shown
            .lines()
            .any(|line| line.contains("milk and bread") && line.contains('✓'))
    });
    let shown = screen.contents();
    for word in &key {
        assert!(!shown.contains(&format!(" {word} ")), "{word} in {shown}");
    }
    screen.types(QUIT);
    let bytes = String::from_utf8(screen.bytes()).unwrap();
    assert!(!bytes.contains(&alice.password));
    assert_eq!(screen.ends(), 0);
    wait_for("the backup", || {
        let kept = alice.ok(&["recovery"]).events[0].clone();
        alice.run(&["requests"]);
        (kept["kept_here"] == true && kept["stored_at_ms"].as_u64() > Some(0)).then_some(())
    });
    // The next time nothing is asked.
    let mut again = Screen::open_alone(&alice, (80, 24));
    again.shows("milk and bread");
    again.types(QUIT);
    assert_eq!(again.ends(), 0);
}

#[test]
fn a_name_that_is_taken_is_said_and_what_was_typed_stays() {
    let deployment = Deployment::shared();
    let (alice, other) = (
        deployment.registered("alice"),
        deployment.person(&fresh_name("other")),
    );
    let mut screen = Screen::open(&other, &["tui"], (80, 24));
    screen.shows("A new account");
    let password = &other.password;
    screen.types(&format!(
        "{}{TAB}{password}{TAB}{password}{TAB}{ENTER}",
        alice.name
    ));
    screen.shows("taken");
    screen.shows(&alice.name);
    screen.types(&format!("\u{1b}[Z\u{1b}[Z\u{1b}[Z\u{15}{}", other.name));
    screen.types(&format!("{TAB}{TAB}{TAB}{ENTER}"));
    screen.shows("This device is ready");
    // Later is an answer too.
    screen.types("n");
    screen.shows("#notes to self");
    screen.types(QUIT);
    assert_eq!(screen.ends(), 0);
}
