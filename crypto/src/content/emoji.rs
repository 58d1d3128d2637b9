//! [`Emoji`]: one picture character, as people react with.
//!
//! It refuses words, several emoji, blanks and control characters, so that a
//! reaction can be nothing but a picture of one or two cells. Two spellings of
//! one emoji (with and without the mark for its coloured form) are one emoji.

use unicode_properties::{EmojiStatus, UnicodeEmoji as _};
use unicode_segmentation::UnicodeSegmentation as _;

/// The longest emoji, in bytes.
pub const EMOJI_BYTES_MAX: usize = 32;
/// Asks for the coloured form.
const COLOURED: char = '\u{fe0f}';
/// The frame of a key: what makes an emoji of a digit.
const KEYCAP: char = '\u{20e3}';
const JOINER: char = '\u{200d}';

/// One emoji of at most 32 bytes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Emoji(String);

impl Emoji {
    /// Reads exactly one emoji; `None` for anything else.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut clusters = text.graphemes(true);
        let cluster = clusters.next()?;
        let one = clusters.next().is_none() && cluster.len() <= EMOJI_BYTES_MAX;
        let parts = cluster.chars().all(is_part);
        let picture = cluster.contains(KEYCAP) || cluster.chars().any(is_picture);
        (one && parts && picture).then(|| Self(one_spelling(cluster)))
    }

    /// The emoji as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Single characters always with the mark where they need it, and only there.
fn one_spelling(cluster: &str) -> String {
    let mut bare = cluster.chars().filter(|part| *part != COLOURED);
    match (bare.next(), bare.next()) {
        (Some(single), None) if needs_mark(single) => format!("{single}{COLOURED}"),
        (Some(single), None) => single.to_string(),
        (Some(digit), Some(KEYCAP)) => format!("{digit}{COLOURED}{KEYCAP}"),
        _ => cluster.to_owned(),
    }
}

fn is_part(part: char) -> bool {
    matches!(part, COLOURED | KEYCAP | JOINER | '\u{e0020}'..='\u{e007f}') || part.is_emoji_char()
}

/// Shows a picture by itself: digits and signs do not.
fn is_picture(part: char) -> bool {
    part.is_emoji_char() && !part.is_ascii()
}

/// Is drawn as text unless it is asked for otherwise.
fn needs_mark(part: char) -> bool {
    matches!(
        part.emoji_status(),
        EmojiStatus::EmojiOther
            | EmojiStatus::EmojiModifierBase
            | EmojiStatus::EmojiOtherAndEmojiComponent
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn one_emoji_is_an_emoji() {
        for good in ["👍", "❤️", "👍🏽", "👨‍👩‍👧‍👦", "🇩🇪", "1️⃣", "🏴󠁧󠁢󠁥󠁮󠁧󠁿", "✅", "©️"]
        {
            assert!(Emoji::parse(good).is_some(), "{good}");
        }
    }

    #[test]
    fn nothing_else_is() {
        let many = "👨‍👩‍👧‍👦‍👨‍👩‍👧‍👦";
        for bad in [
            "",
            " ",
            "a",
            "ok",
            "👍👍",
            "👍 ",
            "1",
            "#",
            "\u{1b}",
            "👍\u{1b}",
            "\u{200d}",
            "\u{fe0f}",
            "\u{202e}",
            "a\u{301}",
            "👍\u{301}",
            "é",
            "漢",
            "\n",
            many,
        ] {
            assert!(Emoji::parse(bad).is_none(), "{bad:?}");
        }
    }

    #[test]
    fn two_spellings_are_one_emoji() {
        assert_eq!(Emoji::parse("\u{2764}"), Emoji::parse("\u{2764}\u{fe0f}"));
        assert_eq!(Emoji::parse("👍\u{fe0f}"), Emoji::parse("👍"));
        assert_eq!(Emoji::parse("1\u{20e3}"), Emoji::parse("1\u{fe0f}\u{20e3}"));
        assert_ne!(Emoji::parse("👍"), Emoji::parse("👍🏽"));
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused_and_stays_what_it_was_read_as(text: String) {
            if let Some(emoji) = Emoji::parse(&text) {
                prop_assert_eq!(Emoji::parse(emoji.as_str()), Some(emoji.clone()));
                prop_assert!(emoji.as_str().len() <= EMOJI_BYTES_MAX);
            }
        }
    }
}
