//! Completion at the place where one types: commands and their options from the grammar itself,
//! names, titles, emoji, paths.
//!
//! Pure, but for [`paths`], which reads a folder and is called off the drawing thread. It refuses
//! to change anything but the word at the place, and to put in a title that the screen would show
//! otherwise than it is.

mod command;
pub(crate) mod paths;

use std::ops::Range;

use sotto_protocol::Username;

use super::emoji;
use crate::safe_text::SafeText;

pub(crate) use paths::PathWish;
#[cfg(test)]
pub(crate) use paths::paths;

/// The most candidates of one completion.
pub(crate) const CANDIDATES_MAX: usize = 200;
/// What is typed beyond this is not completed, in bytes.
const INPUT_BYTES_MAX: usize = 16 * 1024;

/// What can be named.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sources<'a> {
    /// The grammar of commands.
    pub(crate) commands: &'a clap::Command,
    /// People of this conversation, then others that are known.
    pub(crate) people: &'a [Username],
    /// Titles of groups and rooms, without `#`; foreign text.
    pub(crate) titles: &'a [String],
}

/// One way to go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Candidate {
    /// What takes the word's place.
    pub(crate) text: String,
    /// What it is, in a few words; may be empty.
    pub(crate) note: String,
}

/// What can be done at a place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Completion {
    /// Nothing.
    Nothing,
    /// One of these takes the place of these bytes.
    Candidates {
        /// The word, in bytes of the input.
        replace: Range<usize>,
        /// At least one.
        candidates: Vec<Candidate>,
    },
    /// A path: [`paths`] knows the candidates.
    Path(PathWish),
}

impl Completion {
    fn of(replace: Range<usize>, mut candidates: Vec<Candidate>) -> Self {
        candidates.truncate(CANDIDATES_MAX);
        if candidates.is_empty() {
            Self::Nothing
        } else {
            Self::Candidates {
                replace,
                candidates,
            }
        }
    }
}

/// What can be put in at `at`, in bytes.
pub(crate) fn complete(input: &str, at: usize, sources: Sources<'_>) -> Completion {
    if input.len() > INPUT_BYTES_MAX {
        return Completion::Nothing;
    }
    let Some(before) = input.get(..at) else {
        return Completion::Nothing;
    };
    match before.strip_prefix('/') {
        Some(rest) if !rest.starts_with('/') => command::complete(rest, 1, sources),
        _ => in_text(before, sources),
    }
}

/// In words that are to be sent.
fn in_text(before: &str, sources: Sources<'_>) -> Completion {
    let start = before
        .char_indices()
        .rev()
        .find(|(_, c)| c.is_whitespace())
        .map_or(0, |(at, c)| at + c.len_utf8());
    let word = before.get(start..).unwrap_or_default();
    let replace = start..before.len();
    if let Some(letters) = word.strip_prefix(':') {
        return by_emoji(replace, letters);
    }
    if let Some(letters) = word.strip_prefix('@') {
        return Completion::of(replace, people(letters, "@", sources));
    }
    if let Some(letters) = word.strip_prefix('#') {
        return Completion::of(replace, titles(letters, Quoting::No, sources));
    }
    if ["./", "../", "~/"]
        .iter()
        .any(|begin| word.starts_with(begin))
    {
        return Completion::Path(PathWish::bare(replace, word));
    }
    if word.is_empty() {
        return Completion::Nothing;
    }
    Completion::of(replace, people(word, "@", sources))
}

fn by_emoji(replace: Range<usize>, letters: &str) -> Completion {
    if letters.is_empty() {
        return Completion::Nothing;
    }
    let letters = letters.strip_suffix(':').unwrap_or(letters);
    let candidates = emoji::find(letters).into_iter().map(|named| Candidate {
        text: named.emoji.to_owned(),
        note: format!(":{}:", named.name),
    });
    Completion::of(replace, candidates.collect())
}

/// People whose name begins so, with `mark` before it.
fn people(letters: &str, mark: &str, sources: Sources<'_>) -> Vec<Candidate> {
    let letters = letters.to_lowercase();
    let mut seen = std::collections::BTreeSet::new();
    let names = sources.people.iter().map(Username::as_str);
    names
        .filter(|name| name.starts_with(&letters) && seen.insert(*name))
        .map(|name| Candidate {
            text: format!("{mark}{name} "),
            note: String::new(),
        })
        .collect()
}

/// Whether words are parted by quotation marks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Quoting {
    /// As in commands.
    Yes,
    /// As in a message.
    No,
}

/// Groups and rooms whose title begins so.
fn titles(letters: &str, quoting: Quoting, sources: Sources<'_>) -> Vec<Candidate> {
    let letters = letters.to_lowercase();
    let shown_as_it_is = |title: &&String| {
        let clean = SafeText::line(title, usize::MAX);
        !title.is_empty() && clean.as_str() == title.as_str()
    };
    let begins = sources
        .titles
        .iter()
        .filter(|title| title.to_lowercase().starts_with(&letters));
    begins
        .filter(shown_as_it_is)
        .map(|title| {
            let name = format!("#{title}");
            let text = match quoting {
                Quoting::Yes => quote(&name),
                Quoting::No => name,
            };
            Candidate {
                text: format!("{text} "),
                note: String::new(),
            }
        })
        .collect()
}

/// A word as commands read it.
fn quote(word: &str) -> String {
    let plain = |c: char| !c.is_whitespace() && !matches!(c, '"' | '\'' | '\\');
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    let mut quoted = String::from("\"");
    for character in word.chars() {
        if matches!(character, '"' | '\\') {
            quoted.push('\\');
        }
        quoted.push(character);
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests;
