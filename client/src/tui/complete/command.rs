//! Completion in a line that begins with `/`: what the grammar allows at the place.

use std::ops::Range;

use clap::{Arg, ArgAction, Command};

use super::paths::PathWish;
use super::{Candidate, Completion, Quoting, Sources, by_emoji, people, titles};

/// Words that only an interface knows.
const OWN: &[(&str, &str)] = &[
    ("help", "what can be typed"),
    ("quit", "leave"),
    ("reply", "answer a message: MESSAGE TEXT"),
];
/// Commands that need the terminal or the profile for themselves.
const NOT_INSIDE: &[&str] = &[
    "register", "login", "logout", "passwd", "chat", "listen", "daemon", "tui",
];

/// A word of the line, as it was typed and as it is meant.
struct Word {
    /// Where it stands in the input, quotation marks included.
    bytes: Range<usize>,
    /// Without quotation marks.
    meant: String,
}

/// Completes the last word of `line`, which begins at `offset` of the input.
pub(super) fn complete(line: &str, offset: usize, sources: Sources<'_>) -> Completion {
    let mut words = split(line, offset);
    let Some(last) = words.pop() else {
        return Completion::Nothing;
    };
    let mut command = sources.commands;
    let mut rest = words.as_slice();
    while let Some((first, after)) = rest.split_first() {
        match command.find_subcommand(&first.meant) {
            Some(found) => (command, rest) = (found, after),
            None => break,
        }
    }
    if rest.is_empty() && command.has_subcommands() {
        let level = match words.first() {
            None => Level::Top,
            Some(_) => Level::Below,
        };
        return Completion::of(last.bytes, commands(command, &last.meant, level));
    }
    if std::ptr::eq(command, sources.commands) {
        return Completion::Nothing;
    }
    if let Some(argument) = awaited_by_option(command, rest) {
        return value(argument, last, sources);
    }
    if last.meant.starts_with('-') {
        return Completion::of(last.bytes, options(command, &last.meant));
    }
    match positional(command, rest) {
        Some(argument) => value(argument, last, sources),
        None => Completion::Nothing,
    }
}

fn commands(command: &Command, letters: &str, level: Level) -> Vec<Candidate> {
    let allowed = |name: &str| level == Level::Below || !NOT_INSIDE.contains(&name);
    let mut found: Vec<Candidate> = command
        .get_subcommands()
        .filter(|inner| !inner.is_hide_set() && allowed(inner.get_name()))
        .filter(|inner| inner.get_name().starts_with(letters))
        .map(|inner| Candidate {
            text: format!("{} ", inner.get_name()),
            note: inner
                .get_about()
                .map(ToString::to_string)
                .unwrap_or_default(),
        })
        .collect();
    if level == Level::Top {
        let own = OWN.iter().filter(|(name, _)| name.starts_with(letters));
        found.extend(own.map(|(name, note)| Candidate {
            text: format!("{name} "),
            note: (*note).to_owned(),
        }));
    }
    found.sort_by(|one, other| one.text.cmp(&other.text));
    found
}

/// Whether a word is a command or a part of one.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Level {
    Top,
    Below,
}

fn options(command: &Command, letters: &str) -> Vec<Candidate> {
    let local = command
        .get_arguments()
        .filter(|argument| !argument.is_global_set());
    let named = local.filter(|argument| !argument.is_hide_set());
    named
        .filter_map(|argument| Some((argument, format!("--{}", argument.get_long()?))))
        .filter(|(_, name)| name.starts_with(letters) && name != "--help" && name != "--json")
        .map(|(argument, name)| Candidate {
            text: format!("{name} "),
            note: argument
                .get_help()
                .map(ToString::to_string)
                .unwrap_or_default(),
        })
        .collect()
}

/// Whether an option stands last that takes a value.
fn awaited_by_option<'a>(command: &'a Command, words: &[Word]) -> Option<&'a Arg> {
    let name = words.last()?.meant.strip_prefix("--")?;
    command
        .get_arguments()
        .find(|argument| argument.get_long() == Some(name) && takes_value(argument))
}

fn takes_value(argument: &Arg) -> bool {
    matches!(argument.get_action(), ArgAction::Set | ArgAction::Append)
}

/// The argument that a word without a dash is now.
fn positional<'a>(command: &'a Command, words: &[Word]) -> Option<&'a Arg> {
    let mut place = 0;
    let mut is_value = false;
    for word in words {
        let option = word
            .meant
            .strip_prefix("--")
            .filter(|name| !name.is_empty());
        match option {
            _ if is_value => is_value = false,
            Some(name) => {
                let mut known = command.get_arguments();
                let argument = known.find(|argument| argument.get_long() == Some(name));
                is_value = argument.is_some_and(takes_value);
            }
            None => place += 1,
        }
    }
    let mut arguments = command.get_positionals();
    let last = command.get_positionals().last();
    arguments.nth(place).or_else(|| {
        last.filter(|last| {
            last.get_num_args()
                .is_some_and(|count| count.max_values() > 1)
        })
    })
}

/// What an argument can be.
fn value(argument: &Arg, word: Word, sources: Sources<'_>) -> Completion {
    let possible = argument.get_possible_values();
    if !possible.is_empty() && takes_value(argument) {
        let fitting = possible
            .iter()
            .filter(|value| !value.is_hide_set() && value.get_name().starts_with(&word.meant));
        let candidates = fitting.map(|value| Candidate {
            text: format!("{} ", value.get_name()),
            note: value
                .get_help()
                .map(ToString::to_string)
                .unwrap_or_default(),
        });
        return Completion::of(word.bytes, candidates.collect());
    }
    let names = argument.get_value_names().unwrap_or_default();
    let called = names.first().map_or("", |name| name.as_str());
    let letters = word.meant.as_str();
    match called {
        "PATH" | "FILE" | "DIR" => Completion::Path(PathWish::quoted(word.bytes, letters)),
        "EMOJI" => {
            let letters = letters.strip_prefix(':').unwrap_or(letters);
            by_emoji(word.bytes, letters)
        }
        "TEXT" | "QUERY" | "MESSAGE" | "TIME" | "DIGITS" | "CODE" | "N" | "TITLE" => {
            Completion::Nothing
        }
        _ => {
            let mut found = match letters.strip_prefix('#') {
                Some(letters) => titles(letters, Quoting::Yes, sources),
                None => people(letters, "", sources),
            };
            if letters.is_empty() {
                found.extend(titles("", Quoting::Yes, sources));
            }
            Completion::of(word.bytes, found)
        }
    }
}

/// Words as commands read them; the last one may be empty or not closed.
fn split(line: &str, offset: usize) -> Vec<Word> {
    let mut words = Vec::new();
    let mut word: Option<Word> = None;
    let mut open = None;
    let mut characters = line.char_indices();
    while let Some((at, character)) = characters.next() {
        if open.is_none() && character.is_whitespace() {
            words.extend(word.take());
            continue;
        }
        let here = offset + at;
        let current = word.get_or_insert_with(|| Word {
            bytes: here..here,
            meant: String::new(),
        });
        match (open, character) {
            (Some(mark), close) if mark == close => open = None,
            (None, '"' | '\'') => open = Some(character),
            (None | Some('"'), '\\') => {
                let next = characters.next().map_or('\\', |(_, next)| next);
                current.meant.push(next);
            }
            (_, other) => current.meant.push(other),
        }
        current.bytes.end = offset + characters.offset();
    }
    let end = offset + line.len();
    words.push(word.unwrap_or(Word {
        bytes: end..end,
        meant: String::new(),
    }));
    words
}
