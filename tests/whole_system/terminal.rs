//! `listen` on a narrow terminal: one bell for a burst, lines that fit, and
//! colours only where they are wanted.

use std::io::{Read, Write as _};
use std::sync::{Arc, Mutex};
use std::thread;

use portable_pty::{CommandBuilder, PtyPair, PtySize, native_pty_system};

use crate::support::{Deployment, Person, wait_for};

const COLUMNS: u16 = 40;

/// A pseudo-terminal, and a command for people that is ready to run in it.
fn terminal(
    person: &Person,
    arguments: &[&str],
    env: &[(&str, &str)],
) -> (PtyPair, CommandBuilder) {
    let size = PtySize {
        rows: 24,
        cols: COLUMNS,
        pixel_width: 0,
        pixel_height: 0,
    };
    let pair = native_pty_system().openpty(size).unwrap();
    let command = person.command(arguments);
    let mut inside = CommandBuilder::new(command.get_program());
    inside.env_clear();
    inside.args(command.get_args().filter(|argument| *argument != "--json"));
    for (name, value) in command.get_envs() {
        inside.env(name, value.unwrap());
    }
    inside.env("TERM", "xterm-256color");
    for (name, value) in env {
        inside.env(name, value);
    }
    (pair, inside)
}

/// Runs a command for people in a pseudo-terminal; everything it wrote there.
fn on_terminal(person: &Person, arguments: &[&str], env: &[(&str, &str)]) -> String {
    let (pair, inside) = terminal(person, arguments, env);
    let mut child = pair.slave.spawn_command(inside).unwrap();
    drop(pair.slave);
    let (screen, reader) = follow(&*pair.master);
    let status = wait_for("the command to end", || child.try_wait().unwrap());
    reader.join().unwrap();
    let seen = screen.lock().unwrap().clone();
    let seen = String::from_utf8_lossy(&seen).into_owned();
    assert!(status.success(), "{arguments:?}: {seen:?}");
    seen
}

/// What the terminal shows, as it grows.
fn follow(master: &dyn portable_pty::MasterPty) -> (Arc<Mutex<Vec<u8>>>, thread::JoinHandle<()>) {
    let mut reader = master.try_clone_reader().unwrap();
    let screen = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&screen);
    let follower = thread::spawn(move || {
        let mut buffer = [0; 4096];
        // A terminal whose last program is gone gives an error, not an end.
        while let Ok(count @ 1..) = reader.read(&mut buffer) {
            seen.lock().unwrap().extend_from_slice(&buffer[..count]);
        }
    });
    (screen, follower)
}

/// The text without colours.
fn bare(screen: &str) -> String {
    let mut text = String::new();
    let mut rest = screen;
    while let Some((before, after)) = rest.split_once("\u{1b}[") {
        text.push_str(before);
        rest = after.split_once('m').map_or("", |(_, after)| after);
    }
    text.push_str(rest);
    text
}

/// H24.
#[test]
fn a_burst_rings_once_and_fits_a_narrow_terminal() {
    let deployment = Deployment::shared();
    let (alice, bob) = (deployment.registered("alice"), deployment.registered("bob"));
    alice.befriend(&bob);
    let text = "a message that does not fit into one line of forty columns";
    for _ in 0..8 {
        alice.ok(&["send", &bob.name, text]);
    }
    // Receives them without showing them: the burst comes from the disk.
    bob.ok(&["requests"]);
    let screen = on_terminal(&bob, &["listen", "--for", "30s", "--count", "8"], &[]);
    assert_eq!(screen.matches('\u{7}').count(), 1, "{screen:?}");
    assert!(screen.contains("\u{1b}[1;32m"), "no colour: {screen:?}");
    let shown = bare(&screen).replace('\u{7}', "");
    assert_eq!(shown.matches("a message that").count(), 8, "{shown}");
    for line in shown.lines().map(|line| line.trim_end_matches('\r')) {
        assert!(
            line.chars().count() <= usize::from(COLUMNS),
            "{line:?} in {shown}"
        );
    }

    alice.ok(&["send", &bob.name, "plain"]);
    let plain = on_terminal(
        &bob,
        &["listen", "--for", "30s", "--count", "1"],
        &[("NO_COLOR", "1")],
    );
    assert!(plain.contains("plain"), "{plain:?}");
    assert!(!plain.contains('\u{1b}'), "{plain:?}");
    assert_eq!(plain.matches('\u{7}').count(), 1, "{plain:?}");
}

/// A terminal drops what exceeds its longest line: a part is never sent as if it were all.
#[test]
fn a_line_that_the_terminal_has_cut_is_not_sent() {
    let deployment = Deployment::shared();
    let (alice, bob) = (deployment.registered("alice"), deployment.registered("bob"));
    alice.befriend(&bob);
    let (pair, inside) = terminal(&alice, &["chat", &bob.name], &[]);
    let mut child = pair.slave.spawn_command(inside).unwrap();
    drop(pair.slave);
    let (screen, reader) = follow(&*pair.master);
    let shows = |words: &str| {
        let seen = screen.lock().unwrap().clone();
        String::from_utf8_lossy(&seen).contains(words).then_some(())
    };
    wait_for("the chat", || shows("type and press Enter"));
    let mut keyboard = pair.master.take_writer().unwrap();
    keyboard.write_all(&[b'q'; 6_000]).unwrap();
    keyboard.write_all(b"\n").unwrap();
    wait_for("a word about the long line", || shows("too long for the"));
    keyboard.write_all(b"short\n\x04").unwrap();
    let status = wait_for("the chat to end", || child.try_wait().unwrap());
    reader.join().unwrap();
    assert!(status.success());
    assert_eq!(
        alice.ok(&["history", &bob.name]).texts(),
        ["hello", "short"]
    );
}
