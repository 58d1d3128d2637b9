//! The full-screen client in a pseudo-terminal: the real program, keys as a person presses them,
//! and what a terminal would show of the bytes that it writes.
//!
//! Every test here ends with [`Screen::ends`], which checks the bytes: nothing but sequences of
//! the client's own reach the terminal, and it is as it was before.

mod attacks;
mod devices;
mod ends;
mod first_run;
mod mouse;
mod pictures;
mod plain;
mod storms;
mod story;

use std::io::{Read, Write};
use std::sync::{Arc, Mutex};
use std::thread;

use portable_pty::{Child, CommandBuilder, MasterPty, PtySize, native_pty_system};

use crate::support::{Person, SOTTO, wait_for};

/// Enter, Escape, Tab; Ctrl-Q, which leaves.
const ENTER: &str = "\r";
const ESC: &str = "\u{1b}";
const TAB: &str = "\t";
const QUIT: &str = "\u{11}";

/// A program on a terminal, with somebody at its keys.
struct Screen {
    child: Box<dyn Child + Send + Sync>,
    master: Box<dyn MasterPty + Send>,
    keyboard: Box<dyn Write + Send>,
    seen: Arc<Mutex<Seen>>,
    reader: thread::JoinHandle<()>,
    modes_before: String,
}

/// What the terminal was given, and what it shows of it.
struct Seen {
    bytes: Vec<u8>,
    terminal: vt100::Parser,
    /// Nobody looks any more after what comes next.
    closing: bool,
}

/// Columns or rows of a terminal, which has at least one.
fn sized(cells: u16) -> std::num::NonZeroU16 {
    std::num::NonZeroU16::new(cells).unwrap()
}

const fn size(columns: u16, rows: u16) -> PtySize {
    PtySize {
        rows,
        cols: columns,
        pixel_width: 0,
        pixel_height: 0,
    }
}

impl Screen {
    /// The client of a person, for people, with these words behind its options.
    fn open(person: &Person, words: &[&str], size: (u16, u16)) -> Self {
        Self::open_on(person, words, size, &[])
    }

    /// As [`Self::open`], on a terminal that says this of itself besides.
    fn open_on(
        person: &Person,
        words: &[&str],
        size: (u16, u16),
        variables: &[(&str, &str)],
    ) -> Self {
        let mut command = Self::command(person);
        for (name, value) in variables {
            command.env(name, value);
        }
        command.args(["--server", &person.server, "--ca", &person.ca]);
        command.args(words);
        Self::start(command, size)
    }

    /// The client as somebody starts it who was told nothing: no server, no words.
    fn open_alone(person: &Person, size: (u16, u16)) -> Self {
        Self::start(Self::command(person), size)
    }

    fn command(person: &Person) -> CommandBuilder {
        // Which also makes the folder for the keys of unlocked profiles.
        drop(person.command(&[]));
        let mut command = CommandBuilder::new(SOTTO);
        command.env_clear();
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.env("XDG_RUNTIME_DIR", person.home().join("run"));
        command.env("HOME", person.home());
        command.env("TZ", "UTC");
        command.cwd(person.home());
        command.env("TERM", "xterm-256color");
        command.env("COLORTERM", "truecolor");
        command.arg("--home");
        command.arg(person.home().join("sotto"));
        command
    }

    fn start(command: CommandBuilder, (columns, rows): (u16, u16)) -> Self {
        let pair = native_pty_system().openpty(size(columns, rows)).unwrap();
        let modes_before = modes(&*pair.master);
        let child = pair.slave.spawn_command(command).unwrap();
        drop(pair.slave);
        let seen = Arc::new(Mutex::new(Seen {
            bytes: Vec::new(),
            terminal: vt100::Parser::new(sized(rows), sized(columns), 0),
            closing: false,
        }));
        let (filled, mut output) = (Arc::clone(&seen), pair.master.try_clone_reader().unwrap());
        let reader = thread::spawn(move || {
            let mut buffer = [0; 8192];
            // A terminal whose last program is gone gives an error, not an end.
            while let Ok(count @ 1..) = output.read(&mut buffer) {
                let mut seen = filled.lock().unwrap();
                seen.bytes.extend_from_slice(&buffer[..count]);
                seen.terminal.process(&buffer[..count]);
                if seen.closing {
                    return;
                }
            }
        });
        Self {
            child,
            keyboard: pair.master.take_writer().unwrap(),
            master: pair.master,
            seen,
            reader,
            modes_before,
        }
    }

    /// What the terminal shows, row by row.
    fn contents(&self) -> String {
        self.seen.lock().unwrap().terminal.screen().contents()
    }

    /// Everything that the terminal was given.
    fn bytes(&self) -> Vec<u8> {
        self.seen.lock().unwrap().bytes.clone()
    }

    /// Waits until the screen is as it should be.
    fn until(&self, what: &str, holds: impl Fn(&str) -> bool) {
        let end = std::time::Instant::now() + crate::support::DEADLINE;
        while !holds(&self.contents()) {
            let late = std::time::Instant::now() > end;
            assert!(!late, "gave up waiting for {what}:\n{}", self.contents());
            thread::park_timeout(std::time::Duration::from_millis(20));
        }
    }

    /// Waits until these words are on the screen.
    fn shows(&self, words: &str) {
        self.until(&format!("{words:?}"), |screen| screen.contains(words));
    }

    /// Waits until these words are not on the screen.
    fn hides(&self, words: &str) {
        self.until(&format!("no {words:?}"), |screen| !screen.contains(words));
    }

    fn types(&mut self, keys: &str) {
        self.keyboard.write_all(keys.as_bytes()).unwrap();
    }

    fn resize(&self, columns: u16, rows: u16) {
        let mut seen = self.seen.lock().unwrap();
        seen.terminal
            .screen_mut()
            .set_size(sized(rows), sized(columns));
        self.master.resize(size(columns, rows)).unwrap();
    }

    fn signal(&self, name: &str) {
        crate::support::signal(name, u64::from(self.child.process_id().unwrap()));
    }

    /// The terminal goes: its window is closed, or the connection that it came over breaks.
    fn closes(mut self) {
        self.seen.lock().unwrap().closing = true;
        // The answer to a key is the last that is read.
        self.types("x");
        let Self {
            mut child,
            master,
            keyboard,
            reader,
            ..
        } = self;
        reader.join().unwrap();
        drop((keyboard, master));
        wait_for("the program to end", || child.try_wait().unwrap());
    }

    /// Waits for the end; checks every byte and the terminal; the exit code.
    fn ends(mut self) -> u32 {
        let status = wait_for("the program to end", || self.child.try_wait().unwrap());
        assert_eq!(
            modes(&*self.master),
            self.modes_before,
            "the terminal is not as it was"
        );
        drop(self.keyboard);
        self.reader.join().unwrap();
        let seen = self.seen.lock().unwrap();
        let text = String::from_utf8(seen.bytes.clone()).unwrap();
        assert_own(&text);
        assert_restored(&text);
        status.exit_code()
    }
}

/// All modes of the terminal: whether it echoes, edits lines by itself, and the rest.
fn modes(master: &dyn MasterPty) -> String {
    format!("{:?}", master.get_termios().unwrap())
}

/// A sequence that a terminal was given.
#[derive(Debug, PartialEq, Eq)]
enum Sequence<'a> {
    /// `ESC [`, its parameters, its last letter.
    Csi(&'a str, char),
    /// `ESC _`, what is in it, `ESC \`.
    Apc(&'a str),
    /// Anything else that begins with ESC, or a control character of its own.
    Other(&'a str),
}

/// All sequences and control characters of what a terminal was given.
fn sequences(text: &str) -> Vec<Sequence<'_>> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(next) = text[at..].find(char::is_control) {
        let start = at + next;
        let rest = &text[start..];
        let length = match rest.strip_prefix("\u{1b}[") {
            Some(inside) => {
                let last = inside.find(|c: char| ('@'..='~').contains(&c)).unwrap_or(0);
                let letter = inside[last..].chars().next().unwrap_or(' ');
                found.push(Sequence::Csi(&inside[..last], letter));
                2 + last + letter.len_utf8()
            }
            None if rest.starts_with("\u{1b}_") && rest.contains("\u{1b}\\") => {
                let end = rest.find("\u{1b}\\").unwrap_or(2);
                found.push(Sequence::Apc(&rest[2..end]));
                end + 2
            }
            None => {
                let length = match rest.char_indices().nth(2) {
                    Some((length, _)) if rest.starts_with('\u{1b}') => length,
                    _ => rest.chars().next().map_or(1, char::len_utf8),
                };
                found.push(Sequence::Other(&rest[..length]));
                length
            }
        };
        at = start + length;
    }
    found
}

/// Whether a private mode is one that the client switches.
fn is_own_mode(parameters: &str) -> bool {
    // Cursor, wrapping, other screen, focus, mouse, bracketed paste, one frame at a time.
    const OWN: [&str; 12] = [
        "7", "25", "1000", "1002", "1003", "1004", "1006", "1007", "1015", "1049", "2004", "2026",
    ];
    parameters
        .strip_prefix('?')
        .is_some_and(|modes| modes.split(';').all(|mode| OWN.contains(&mode)))
}

/// Whether something for kitty holds plain fields, and pixels in base64.
fn is_own_picture(body: &str) -> bool {
    let (head, data) = body.split_once(';').unwrap_or((body, ""));
    let plain = |c: char| c.is_ascii_alphanumeric() || "=,".contains(c);
    let base64 = |c: char| c.is_ascii_alphanumeric() || "+/=".contains(c);
    head.strip_prefix('G')
        .is_some_and(|fields| fields.chars().all(plain))
        && data.chars().all(base64)
        && data.len() <= 4_096
}

/// Nothing but what the client itself draws with; a bell at most every two seconds is checked
/// where there is one.
fn assert_own(text: &str) {
    for sequence in sequences(text) {
        let own = match &sequence {
            Sequence::Csi(
                parameters,
                'm' | 'H' | 'J' | 'K' | 'G' | 'd' | 'A' | 'B' | 'C' | 'D' | 'X' | 'q',
            ) => parameters
                .chars()
                .all(|c| c.is_ascii_digit() || ";: ".contains(c)),
            Sequence::Csi(parameters, 'h' | 'l') => is_own_mode(parameters),
            // Keys told apart, where the terminal can.
            Sequence::Csi(parameters, 'u') => parameters.starts_with(['>', '<', '?', '=']),
            // What terminal this is.
            Sequence::Csi(parameters, 'c') => parameters.is_empty(),
            Sequence::Csi(..) => false,
            Sequence::Apc(body) => is_own_picture(body),
            Sequence::Other(other) => matches!(*other, "\r" | "\n" | "\u{7}"),
        };
        assert!(own, "{sequence:?} was given to the terminal");
    }
    for character in text.chars().filter(|c| !c.is_control()) {
        let hidden = matches!(
            character,
            '\u{ad}' | '\u{61c}' | '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}'
                | '\u{2028}' | '\u{2029}' | '\u{2060}'..='\u{206f}' | '\u{feff}'
                | '\u{e0000}'..='\u{e0fff}'
        );
        assert!(!hidden, "{character:?} was given to the terminal");
    }
}

/// Every mode that was switched on is off at the end, and the cursor is seen.
fn assert_restored(text: &str) {
    let mut on = std::collections::BTreeSet::new();
    let mut cursor_hidden = false;
    for sequence in sequences(text) {
        if let Sequence::Csi(parameters, switch @ ('h' | 'l')) = sequence {
            for mode in parameters.trim_start_matches('?').split(';') {
                match (mode, switch) {
                    ("25", 'h') => cursor_hidden = false,
                    ("25", _) => cursor_hidden = true,
                    // On by itself.
                    ("7", _) => {}
                    (mode, 'h') => drop(on.insert(mode.to_owned())),
                    (mode, _) => drop(on.remove(mode)),
                }
            }
        }
    }
    assert!(on.is_empty(), "still on: {on:?}");
    assert!(!cursor_hidden, "the cursor stays hidden");
}

#[test]
fn sequences_are_told_apart() {
    let text = "a\u{1b}[31mb\u{1b}[?25l\u{1b}]0;x\u{7}\r\n\u{9b}2J";
    let found = sequences(text);
    let expected = [
        Sequence::Csi("31", 'm'),
        Sequence::Csi("?25", 'l'),
        Sequence::Other("\u{1b}]"),
        Sequence::Other("\u{7}"),
        Sequence::Other("\r"),
        Sequence::Other("\n"),
        Sequence::Other("\u{9b}"),
    ];
    assert_eq!(found, expected);
}
