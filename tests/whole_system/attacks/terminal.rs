//! H1, H5, H6, H9: what somebody else wrote, on a real terminal and in a pipe.

use std::collections::BTreeSet;
use std::io::Read;
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread;
use std::time::Instant;

use portable_pty::{CommandBuilder, PtySize, native_pty_system};

use super::plain;
use crate::support::{DEADLINE, Deployment, Person, said, with_input};

/// What the client itself may send to a terminal: its colours.
const OWN_SEQUENCES: [&str; 6] = [
    "\u{1b}[2m",
    "\u{1b}[36m",
    "\u{1b}[1;32m",
    "\u{1b}[1;33m",
    "\u{1b}[32m",
    "\u{1b}[0m",
];
const CONTINUATION: &str = "      │ ";
const BEGIN: [&str; 11] = [
    "\u{1b}[",
    "\u{9b}",
    "\u{1b}]",
    "\u{9d}",
    "\u{1b}P",
    "\u{90}",
    "\u{1b}_",
    "\u{9f}",
    "\u{1b}^",
    "\u{1b}X",
    "\u{1b}\u{1b}[",
];
const BODY: [&str; 20] = [
    "31m",
    "2J",
    "?1049h",
    "6n",
    "1;1H",
    "21t",
    "0;owned",
    "2;owned",
    "8;;https://evil.example/",
    "52;c;cm0gLXJmIC8=",
    "9;owned",
    "99;i=1:d=0;owned",
    "777;notify;owned;owned",
    "1337;File=inline=1:AAAA",
    "10;?",
    "$q\"p",
    "+q544e",
    "Ga=T,f=24;AAAA",
    "4;1;?",
    "!p",
];
const END: [&str; 4] = ["\u{7}", "\u{1b}\\", "\u{9c}", ""];
const MARKS: [&str; 8] = [
    "\n", "\r", "\r\n", "\u{b}", "\u{c}", "\u{85}", "\u{2028}", "\u{2029}",
];
const LINK: &str = "https://good.example/a?b=c#d";

/// Every begin with every body, each with one of the ends, in messages of a
/// bearable length; then directions, forged lines and single characters.
pub(crate) fn hostile_messages() -> Vec<String> {
    let mut messages = Vec::new();
    for (row, begin) in BEGIN.iter().enumerate() {
        let sequences = BODY.iter().enumerate().map(|(column, body)| {
            let end = END[(row + column) % END.len()];
            format!("{begin}{body}{end}x")
        });
        messages.push(sequences.collect());
    }
    messages
        .push("\u{1b}c\u{1b}7\u{1b}8\u{1b}#8\u{1b}(0\u{e}\u{f}\u{5}\u{8}\u{7f}\0\u{1a}".to_owned());
    messages.push(format!(
        "\u{1b}]8;;https://evil.example/\u{1b}\\{LINK}\u{1b}]8;;\u{1b}\\"
    ));
    for turn in [
        "\u{202e}",
        "\u{2066}",
        "\u{2067}\u{2069}",
        "\u{200f}",
        "\u{61c}",
    ] {
        messages.push(format!("photo_{turn}gpj.exe"));
    }
    messages.push(format!(
        "a{}b\u{200b}\u{feff}\u{e0041}\u{ad}c",
        "\u{301}".repeat(60)
    ));
    messages
}

/// Texts that would stand at the left edge as somebody else's line.
pub(crate) fn forged_messages(victim: &str) -> Vec<String> {
    let forged = |mark: &&str| format!("hi{mark}12:00 {victim:10} │ forged{mark}! gap: forged");
    let mut messages: Vec<_> = MARKS.iter().map(forged).collect();
    for fill in [20, 51, 52, 53, 60, 80] {
        messages.push(format!("{}12:00 {victim:10} │ forged", "x".repeat(fill)));
    }
    messages
}

/// The command on a terminal of 80 columns; all that it wrote there.
fn on_terminal(person: &Person, arguments: &[&str]) -> String {
    let size = PtySize {
        rows: 24,
        cols: 80,
        pixel_width: 0,
        pixel_height: 0,
    };
    let pair = native_pty_system().openpty(size).unwrap();
    let command = plain(person, arguments);
    let mut builder = CommandBuilder::new(command.get_program());
    builder.args(command.get_args());
    builder.env_clear();
    for (name, value) in command.get_envs() {
        builder.env(name, value.unwrap());
    }
    builder.env("TERM", "xterm-256color");
    let mut child = pair.slave.spawn_command(builder).unwrap();
    drop(pair.slave);
    let seen = collect(pair.master.try_clone_reader().unwrap());
    let status = child.wait().unwrap();
    assert!(status.success(), "{seen}");
    seen
}

/// Everything until the terminal's other side is closed.
fn collect(mut reader: Box<dyn Read + Send>) -> String {
    let (sender, screen): (_, Receiver<Vec<u8>>) = sync_channel(1_000);
    thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok(count @ 1..) = reader.read(&mut buffer) {
            if sender.send(buffer[..count].to_vec()).is_err() {
                return;
            }
        }
    });
    let end = Instant::now() + DEADLINE;
    let mut seen = Vec::new();
    while let Ok(bytes) = screen.recv_timeout(end.saturating_duration_since(Instant::now())) {
        seen.extend(bytes);
    }
    assert!(Instant::now() < end, "the client did not end");
    String::from_utf8(seen).unwrap()
}

/// The lines without the client's own colours and bells, which are counted.
fn lines_of(terminal: &str) -> Vec<String> {
    let mut rest = terminal.replace("\r\n", "\n").replace('\u{7}', "");
    for sequence in OWN_SEQUENCES {
        rest = rest.replace(sequence, "");
    }
    rest.lines().map(str::to_owned).collect()
}

fn is_harmless(character: char) -> bool {
    let invisible = [
        '\u{61c}', '\u{200b}', '\u{feff}', '\u{ad}', '\u{2028}', '\u{2029}',
    ];
    !(character.is_control()
        || invisible.contains(&character)
        || ('\u{200e}'..='\u{200f}').contains(&character)
        || ('\u{202a}'..='\u{202e}').contains(&character)
        || ('\u{2060}'..='\u{206f}').contains(&character)
        || ('\u{e0000}'..='\u{e0fff}').contains(&character))
}

/// Whether a line begins as the client begins one: a time and a name of somebody there.
fn speaker<'a>(line: &str, names: &[&'a str]) -> Option<&'a str> {
    let (head, _) = line.split_once(" │ ")?;
    let name = head.split(' ').find(|word| names.contains(word))?;
    names.iter().find(|known| **known == name).copied()
}

/// What holds for everything shown: no character that acts, and no line that
/// anybody but the client began.
fn assert_truthful(lines: &[String], writer: &str, reader: &str, messages: usize) {
    for line in lines {
        assert!(line.chars().all(is_harmless), "{line:?}");
    }
    let told: Vec<_> = lines
        .iter()
        .filter(|line| !line.starts_with(CONTINUATION))
        .collect();
    let spoken = told
        .iter()
        .filter_map(|line| speaker(line, &[writer, reader]));
    let speakers: Vec<_> = spoken.collect();
    assert_eq!(speakers, vec![writer; messages], "{lines:#?}");
    // What else stands at the edge are the client's own remarks.
    for line in told
        .iter()
        .filter(|line| speaker(line, &[writer, reader]).is_none())
    {
        assert!(
            line.is_empty() || line.starts_with("listening;"),
            "{line:?}"
        );
    }
}

#[test]
fn what_others_write_neither_acts_on_a_terminal_nor_forges_a_line() {
    let deployment = Deployment::shared();
    let (alice, bob) = (deployment.registered("alice"), deployment.registered("bob"));
    alice.befriend(&bob);
    let mut messages = hostile_messages();
    messages.extend(forged_messages(&bob.name));
    for text in &messages {
        let sent = said(with_input(alice.command(&["send", &bob.name, "-"]), text));
        assert_eq!(sent.code, 0, "{sent:?}");
    }
    let count = messages.len().to_string();
    let live = on_terminal(&bob, &["listen", "--for", "40s", "--count", &count]);
    let bells = live.matches('\u{7}').count();
    assert!(bells <= 1 + 40 / 2, "{bells} bells");
    let stored = on_terminal(&bob, &["history", &alice.name]);
    let piped = plain(&bob, &["history", &alice.name]).output().unwrap();
    let piped = String::from_utf8(piped.stdout).unwrap();
    assert!(!piped.contains('\u{1b}') && !piped.contains('\u{7}'));

    assert_truthful(&lines_of(&live), &alice.name, &bob.name, messages.len());
    // The history begins with the word that they became acquainted by.
    for shown in [&stored, &piped] {
        assert_truthful(&lines_of(shown), &alice.name, &bob.name, messages.len() + 1);
        // What is too long for a line goes on behind a bar.
        let whole: String = lines_of(shown)
            .iter()
            .map(|line| line.trim_start_matches([' ', '│']))
            .collect();
        assert!(whole.contains(LINK), "a link is shown as it is: {shown}");
        let flat = lines_of(shown).join("\n");
        assert!(
            whole.contains("https://evil.example/"),
            "and a hidden one, too"
        );
        assert_eq!(flat.matches("photo_gpj.exe").count(), 5, "{flat}");
        let forged = format!("\n{CONTINUATION}12:00 {}", bob.name);
        assert!(flat.matches(&forged).count() >= MARKS.len(), "{flat}");
    }
    for line in lines_of(&live).iter().chain(&lines_of(&stored)) {
        assert!(line.chars().count() <= 80 + 8, "{line:?}");
    }
    // For programs the text is exact, and escaped.
    let exact: BTreeSet<_> = bob
        .ok(&["history", &alice.name])
        .texts()
        .into_iter()
        .collect();
    assert!(messages.iter().all(|text| exact.contains(text)));
}
