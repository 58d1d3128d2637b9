//! Emoji by their names, for `:name:` and the palette.
//!
//! It refuses emoji that a terminal would not be given as they are, or that no reaction can be.

use emojis::Emoji;

use crate::safe_text::SafeText;

/// The most that one search gives.
const FOUND_MAX: usize = 50;

/// What people call some that no standard calls so.
const ALIASES: [(&str, &str); 6] = [
    ("like", "👍"),
    ("love", "❤️"),
    ("lol", "😂"),
    ("party", "🎉"),
    ("thanks", "🙏"),
    ("done", "✅"),
];

/// An emoji and its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Named {
    /// Without colons.
    pub(crate) name: &'static str,
    /// The emoji itself.
    pub(crate) emoji: &'static str,
}

/// Emoji whose name begins with these letters, then those whose name has them anywhere; at most 50.
pub(crate) fn find(letters: &str) -> Vec<Named> {
    let wanted = letters.to_ascii_lowercase().replace([' ', '-'], "_");
    let mut first = Vec::new();
    let mut then = Vec::new();
    for (name, emoji) in all() {
        let named = Named { name, emoji };
        if name.starts_with(&wanted) {
            first.push(named);
        } else if name.contains(&wanted) {
            then.push(named);
        }
    }
    first.sort_by_key(|named| (named.name.len(), named.name));
    then.sort_by_key(|named| (named.name.len(), named.name));
    first.extend(then);
    first.truncate(FOUND_MAX);
    first
}

/// As [`find`], and those whose name in the standard has the letters: for who does not know the short
/// ones.
pub(crate) fn find_described(letters: &str) -> Vec<Named> {
    let mut found = find(letters);
    let wanted = letters.trim().to_ascii_lowercase();
    let shown = emojis::iter().filter(|emoji| is_shown(emoji));
    let described = shown.filter(|emoji| {
        let new = !found.iter().any(|named| named.emoji == emoji.as_str());
        new && emoji.name().to_ascii_lowercase().contains(&wanted)
    });
    let more: Vec<Named> = described
        .map(|emoji| Named {
            name: emoji.name(),
            emoji: emoji.as_str(),
        })
        .collect();
    found.extend(more);
    found.truncate(FOUND_MAX);
    found
}

fn all() -> impl Iterator<Item = (&'static str, &'static str)> {
    let shown = emojis::iter().filter(|emoji| is_shown(emoji));
    let named = shown.flat_map(|emoji| emoji.shortcodes().map(move |name| (name, emoji.as_str())));
    ALIASES.iter().copied().chain(named)
}

/// Whether a terminal is given it as it is.
fn is_shown(emoji: &Emoji) -> bool {
    SafeText::line(emoji.as_str(), usize::MAX).as_str() == emoji.as_str()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn emoji_are_found_by_their_names() {
        let found = find("rock");
        assert_eq!(found[0].name, "rock");
        assert!(found.iter().any(|named| named.emoji == "🚀"));
        assert!(find("").len() <= FOUND_MAX);
        assert!(find("zzzzz").is_empty());
        assert!(
            find("Thumbs up")
                .iter()
                .all(|named| named.name.contains("thumbs"))
        );
    }

    #[test]
    fn emoji_are_found_by_what_the_standard_calls_them() {
        let has = |letters: &str, emoji: &str| {
            let mut found = find_described(letters).into_iter();
            found.any(|named| named.emoji == emoji)
        };
        assert!(has("rocket", "🚀"));
        assert!(has("face with tears of joy", "😂"));
        assert!(has("folded hands", "🙏"));
        assert!(!has("zzzzz", "🙏"));
    }

    #[test]
    fn every_one_can_be_a_reaction() {
        let mut count = 0;
        for (name, emoji) in all() {
            count += 1;
            assert!(
                sotto_crypto::content::Emoji::parse(emoji).is_some(),
                "{name}"
            );
        }
        assert!(count > 1_000, "{count}");
    }
}
