//! Finds conversations and commands by a few of their letters, the best first.
//!
//! It refuses to look at more than it can within a frame: long lists and long texts are cut.

use nucleo_matcher::pattern::{AtomKind, CaseMatching, Normalization, Pattern};
use nucleo_matcher::{Config, Matcher, Utf32Str};

/// Candidates that are looked at.
const CANDIDATES_MAX: usize = 5_000;
/// Bytes of a candidate that are looked at.
const TEXT_BYTES_MAX: usize = 256;
/// Characters of what is typed that count.
const QUERY_MAX: usize = 64;

/// A candidate that has the letters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ranked {
    /// Which of the candidates.
    pub(crate) index: usize,
    /// Which of its graphemes were found, ascending.
    pub(crate) letters: Vec<usize>,
}

/// The matcher, which keeps its memory.
pub(crate) struct Fuzzy {
    matcher: Matcher,
}

impl Default for Fuzzy {
    fn default() -> Self {
        let mut config = Config::DEFAULT;
        config.prefer_prefix = true;
        Self {
            matcher: Matcher::new(config),
        }
    }
}

impl Fuzzy {
    /// The candidates that have the letters, the best first; all in their order where nothing is
    /// typed. Equally good ones keep their order.
    pub(crate) fn rank<T: AsRef<str>>(&mut self, typed: &str, candidates: &[T]) -> Vec<Ranked> {
        let typed: String = typed.chars().take(QUERY_MAX).collect();
        let candidates = candidates.iter().take(CANDIDATES_MAX).enumerate();
        if typed.trim().is_empty() {
            let letters = Vec::new;
            return candidates
                .map(|(index, _)| Ranked {
                    index,
                    letters: letters(),
                })
                .collect();
        }
        let pattern = Pattern::new(
            &typed,
            CaseMatching::Ignore,
            Normalization::Smart,
            AtomKind::Fuzzy,
        );
        let mut characters = Vec::new();
        let mut found = Vec::new();
        for (index, candidate) in candidates {
            let text = Utf32Str::new(head(candidate.as_ref()), &mut characters);
            let mut letters = Vec::new();
            if let Some(score) = pattern.indices(text, &mut self.matcher, &mut letters) {
                let mut letters: Vec<usize> = letters
                    .into_iter()
                    .filter_map(|letter| usize::try_from(letter).ok())
                    .collect();
                letters.sort_unstable();
                letters.dedup();
                found.push((score, Ranked { index, letters }));
            }
        }
        found.sort_by_key(|(score, ranked)| (std::cmp::Reverse(*score), ranked.index));
        found.into_iter().map(|(_, ranked)| ranked).collect()
    }
}

/// The places of the texts that have the letters, the best first; see [`Fuzzy::rank`].
pub(crate) fn rank<'a>(typed: &str, texts: impl Iterator<Item = &'a str>) -> Vec<usize> {
    let texts: Vec<&str> = texts.take(CANDIDATES_MAX).collect();
    let found = Fuzzy::default().rank(typed, &texts);
    found.into_iter().map(|one| one.index).collect()
}

/// As much of a text as is looked at.
fn head(text: &str) -> &str {
    let mut end = text.len().min(TEXT_BYTES_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ranked(typed: &str, candidates: &[&str]) -> Vec<String> {
        let found = Fuzzy::default().rank(typed, candidates);
        found
            .iter()
            .map(|one| candidates[one.index].to_owned())
            .collect()
    }

    #[test]
    fn the_best_comes_first() {
        let names = ["carol", "dave", "#release-team", "erin", "releases", "Bob"];
        assert_eq!(ranked("rel", &names)[0], "releases");
        assert_eq!(ranked("rt", &names), ["#release-team"]);
        assert_eq!(ranked("bob", &names), ["Bob"]);
        assert_eq!(ranked("", &names).len(), names.len());
        assert!(ranked("xyz", &names).is_empty());
    }

    #[test]
    fn the_letters_that_were_found_are_told() {
        let found = Fuzzy::default().rank("rt", &["#release-team"]);
        assert_eq!(found[0].letters, [1, 9]);
    }

    proptest! {
        #[test]
        fn any_text_is_ranked_within_bounds(
            typed in "\\PC{0,80}",
            candidates in prop::collection::vec("\\PC{0,300}", 0..20),
        ) {
            let found = Fuzzy::default().rank(&typed, &candidates);
            prop_assert!(found.len() <= candidates.len());
            for one in found {
                let count = candidates[one.index].chars().count();
                prop_assert!(one.letters.iter().all(|letter| *letter < count));
            }
        }
    }
}
