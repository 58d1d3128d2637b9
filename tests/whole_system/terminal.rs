//! `listen` on a narrow terminal: one bell for a burst, lines that fit, and
//! colours only where they are wanted.

use std::io::Read;
use std::thread;

use portable_pty::{CommandBuilder, PtySize, native_pty_system};

use crate::support::{Deployment, Person, wait_for};

const COLUMNS: u16 = 40;

/// Runs a command for people in a pseudo-terminal; everything it wrote there.
fn on_terminal(person: &Person, arguments: &[&str], env: &[(&str, &str)]) -> String {
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
    let mut child = pair.slave.spawn_command(inside).unwrap();
    drop(pair.slave);
    let mut reader = pair.master.try_clone_reader().unwrap();
    let screen = thread::spawn(move || {
        let mut seen = Vec::new();
        let mut buffer = [0; 4096];
        // A terminal whose last program is gone gives an error, not an end.
        while let Ok(count @ 1..) = reader.read(&mut buffer) {
            seen.extend_from_slice(&buffer[..count]);
        }
        String::from_utf8_lossy(&seen).into_owned()
    });
    let status = wait_for("the command to end", || child.try_wait().unwrap());
    let seen = screen.join().unwrap();
    assert!(status.success(), "{arguments:?}: {seen:?}");
    seen
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
