//! Paths at the place where one types. Reads one folder, and so belongs off the drawing thread.
//!
//! It refuses names that a screen would show otherwise than they are, and folders without end.

use std::ops::Range;
use std::path::{Path, PathBuf};

use super::{CANDIDATES_MAX, Candidate, Completion, Quoting, quote};
use crate::safe_text::SafeText;

/// Entries of a folder that are looked at.
const ENTRIES_MAX: usize = 20_000;

/// A path that was begun.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PathWish {
    replace: Range<usize>,
    typed: String,
    quoting: Quoting,
}

impl PathWish {
    /// In a command.
    pub(super) fn quoted(replace: Range<usize>, typed: &str) -> Self {
        Self {
            replace,
            typed: typed.to_owned(),
            quoting: Quoting::Yes,
        }
    }

    /// Whether a text still ends in what was begun.
    pub(crate) fn ends(&self, before: &str) -> bool {
        let bare = |text: &str| text.replace(['"', '\'', '\\'], "");
        let word = before.get(self.replace.start..);
        before.len() == self.replace.end && word.map(bare) == Some(bare(&self.typed))
    }

    /// In a text, or in a field that holds nothing else.
    pub(crate) fn bare(replace: Range<usize>, typed: &str) -> Self {
        Self {
            replace,
            typed: typed.to_owned(),
            quoting: Quoting::No,
        }
    }
}

/// The paths that go on as it was begun, folders first; never [`Completion::Path`]. `home` is
/// what `~` stands for.
pub(crate) fn paths(wish: &PathWish, home: Option<&Path>) -> Completion {
    let (folder, begun) = match wish.typed.rsplit_once('/') {
        Some((folder, begun)) => (format!("{folder}/"), begun),
        None => (String::new(), wish.typed.as_str()),
    };
    let Ok(entries) = std::fs::read_dir(real(&folder, home)) else {
        return Completion::Nothing;
    };
    let mut found = Vec::new();
    for entry in entries.take(ENTRIES_MAX).flatten() {
        let name = entry.file_name();
        let Some(name) = name.to_str().filter(|name| fits(name, begun)) else {
            continue;
        };
        // Through links too, as whoever opens it does.
        let is_folder = std::fs::metadata(entry.path()).is_ok_and(|found| found.is_dir());
        found.push((!is_folder, format!("{folder}{name}")));
    }
    found.sort();
    let candidates = found.into_iter().take(CANDIDATES_MAX);
    let candidates = candidates.map(|(is_file, path)| {
        let path = if is_file { path } else { format!("{path}/") };
        let end = if is_file { " " } else { "" };
        let text = match wish.quoting {
            Quoting::Yes => quote(&path),
            Quoting::No => path,
        };
        Candidate {
            text: format!("{text}{end}"),
            note: String::new(),
        }
    });
    Completion::of(wish.replace.clone(), candidates.collect())
}

/// Whether a name goes on as it was begun, and can be shown as it is.
fn fits(name: &str, begun: &str) -> bool {
    let hidden = name.starts_with('.') && !begun.starts_with('.');
    let clean = SafeText::line(name, usize::MAX);
    name.starts_with(begun) && !hidden && clean.as_str() == name
}

fn real(folder: &str, home: Option<&Path>) -> PathBuf {
    match (folder.strip_prefix("~/"), home) {
        (Some(rest), Some(home)) => home.join(rest),
        _ if folder.is_empty() => PathBuf::from("."),
        _ => PathBuf::from(folder),
    }
}
