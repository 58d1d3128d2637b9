//! The mouse, as a terminal tells of it, and a file that is paused by a key.

use std::fs;

use super::story::open_chat;
use super::{Screen, sequences};
use crate::support::{Deployment, Person, wait_for};

/// The left button goes down and up on a cell (counted from 1).
fn click(screen: &mut Screen, column: usize, row: usize) {
    screen.types(&format!(
        "\u{1b}[<0;{column};{row}M\u{1b}[<0;{column};{row}m"
    ));
}

/// The row (counted from 1) of the screen that begins with these words between some columns.
fn row_with(screen: &Screen, words: &str) -> usize {
    let contents = screen.contents();
    let found = contents.lines().position(|line| line.contains(words));
    1 + found.unwrap_or_else(|| panic!("{words:?} in {contents}"))
}

fn with_mouse(person: &Person) {
    let home = person.home().join("sotto");
    fs::write(home.join("tui.toml"), "mouse = true\n").unwrap();
}

#[test]
fn the_mouse_opens_selects_and_scrolls() {
    let deployment = Deployment::shared();
    let [alice, bob, carol] = ["alice", "bob", "carol"].map(|stem| deployment.registered(stem));
    bob.befriend(&alice);
    carol.befriend(&alice);
    let lines: Vec<String> = (1..=60).map(|line| format!("line number {line}")).collect();
    bob.ok(&["send", &alice.name, &lines.join("\n")]);
    carol.ok(&["send", &alice.name, "this one is to be selected"]);
    with_mouse(&alice);
    let mut screen = Screen::open(&alice, &["tui"], (90, 24));
    screen.shows(&carol.name);
    // The list: bob's conversation.
    screen.until("both conversations", |shown| {
        shown.contains(&format!("  {}", bob.name))
    });
    let row = row_with(&screen, &format!("  {}", bob.name));
    click(&mut screen, 5, row);
    // It begins with what was not seen before, which depends on what arrived first.
    screen.shows("line number");
    for _ in 0..30 {
        screen.types("\u{1b}[<65;60;8M");
    }
    screen.shows("line number 60");
    // The wheel over the messages.
    for _ in 0..30 {
        screen.types("\u{1b}[<64;60;8M");
    }
    screen.shows("hello");
    screen.hides("line number 60");
    for _ in 0..30 {
        screen.types("\u{1b}[<65;60;8M");
    }
    screen.shows("line number 60");
    // A message, which then is answered.
    let row = row_with(&screen, &format!("  {}", carol.name));
    click(&mut screen, 5, row);
    screen.shows("is to be selected");
    screen.hides("line number 60");
    let row = row_with(&screen, "is to be selected");
    click(&mut screen, 60, row);
    screen.types("r");
    screen.shows("↩ answers");
    // The composer.
    click(&mut screen, 60, 23);
    screen.types("an answer\r");
    let heard = carol
        .ok(&["listen", "--for", "30s", "--count", "1"])
        .texts();
    assert_eq!(heard, ["an answer"]);
    screen.types("\u{11}");
    assert_eq!(screen.ends(), 0);
}

#[test]
fn without_the_setting_the_mouse_is_the_terminals() {
    let deployment = Deployment::shared();
    let alice = deployment.registered("alice");
    let mut screen = Screen::open(&alice, &["tui"], (80, 24));
    screen.shows("online");
    let text = String::from_utf8(screen.bytes()).unwrap();
    let asks = |sequence: &super::Sequence<'_>| matches!(sequence, super::Sequence::Csi(modes, 'h') if modes.contains("100"));
    assert!(!sequences(&text).iter().any(|sequence| {
        asks(sequence) && !matches!(sequence, super::Sequence::Csi("?1049", _))
    }));
    screen.types("\u{11}");
    assert_eq!(screen.ends(), 0);
}

#[test]
fn a_file_on_its_way_is_paused_and_goes_on() {
    let deployment = Deployment::shared();
    let (alice, bob) = (deployment.registered("alice"), deployment.registered("bob"));
    alice.befriend(&bob);
    let bytes: Vec<u8> = (0_u32..6_000_000).flat_map(u32::to_be_bytes).collect();
    let path = alice.home().join("data.bin");
    fs::write(&path, &bytes).unwrap();
    alice.ok(&["send", &bob.name, "", "--file", path.to_str().unwrap()]);
    let mut screen = Screen::open(&bob, &["tui"], (100, 30));
    screen.shows(&alice.name);
    open_chat(&mut screen, &alice.name);
    screen.shows("[data.bin");
    screen.types("\u{1b}[1;5A");
    screen.types("s");
    screen.until("a part of it", |shown| {
        let percent = shown.split("% of ").next().unwrap_or_default();
        let digits = percent.rsplit(' ').next().unwrap_or_default();
        shown.contains("% of ") && digits.parse::<u64>().is_ok_and(|done| done > 0)
    });
    screen.types("t");
    screen.shows("data.bin paused");
    let saved = bob.home().join("data.bin");
    assert!(!saved.exists(), "too fast for this test");
    // What is here stays, and other things are done meanwhile.
    screen.types("i");
    screen.types("meanwhile\r");
    let heard = alice
        .ok(&["listen", "--for", "30s", "--count", "1"])
        .texts();
    assert_eq!(heard, ["meanwhile"]);
    let unfinished = || {
        let files = fs::read_dir(bob.home()).unwrap();
        let names = files.map(|file| file.unwrap());
        names
            .filter(|file| file.file_name().to_string_lossy().ends_with(".part"))
            .map(|file| file.metadata().unwrap().len())
            .sum::<u64>()
    };
    let before = unfinished();
    assert!(before > 0 && !saved.exists());
    screen.types("\u{1b}[1;5A");
    screen.types("t");
    wait_for("the file", || saved.exists().then_some(()));
    assert!(fs::read(&saved).unwrap() == bytes, "it is another file");
    screen.hides("data.bin paused");
    screen.types("\u{11}");
    assert_eq!(screen.ends(), 0);
}
