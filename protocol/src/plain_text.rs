//! Text that people show in clear to everybody: a room's title and topic, a
//! published name and status. Only what can be seen, on one line; and what a
//! title looks like, so that no two rooms look alike.

/// Whether every character can be seen where it stands: no control, no line
/// break, nothing invisible, nothing that turns the direction of writing, no
/// space at either end. The empty text is.
#[must_use]
pub fn is_plain(text: &str) -> bool {
    text.trim() == text && text.chars().all(is_visible)
}

/// Text without case, for order and search.
#[must_use]
pub fn fold(text: &str) -> String {
    text.to_lowercase()
}

/// What a title looks like, but for case, spaces and signs: two rooms of one
/// skeleton cannot both be listed. Empty when nothing is left.
#[must_use]
pub fn skeleton(text: &str) -> String {
    let folded = fold(text);
    let looks = unicode_security::skeleton(&folded).collect::<String>();
    looks
        .to_lowercase()
        .chars()
        .filter(|character| character.is_alphanumeric() || !character.is_ascii())
        .filter(|character| !character.is_whitespace())
        .map(|character| if character == 'i' { 'l' } else { character })
        .collect()
}

fn is_visible(character: char) -> bool {
    let code = character as u32;
    let blank = character.is_whitespace() && character != ' ';
    let unseen = matches!(code,
        0x00AD | 0x034F | 0x061C | 0x115F..=0x1160 | 0x17B4..=0x17B5 | 0x180B..=0x180F
        | 0x200B..=0x200F | 0x202A..=0x202E | 0x2060..=0x206F | 0x2800 | 0x3164 | 0xFE00..=0xFE0F
        | 0xFEFF | 0xFFA0 | 0xFFF0..=0xFFFB | 0x1BCA0..=0x1BCA3 | 0x1D173..=0x1D17A
        | 0xE0000..=0xE0FFF | 0xE000..=0xF8FF | 0xF0000..=0x10FFFF);
    !(character.is_control() || blank || unseen)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_seen_passes() {
        for good in ["", "Garden", "Köln & Umland", "日本語", "a b", "été 2026!"] {
            assert!(is_plain(good), "{good:?}");
        }
        for bad in [
            " x",
            "x ",
            "a\nb",
            "a\tb",
            "a\u{200b}b",
            "a\u{202e}b",
            "a\u{2066}b",
            "\u{feff}x",
            "a\u{a0}b",
            "a\u{2028}b",
            "a\u{1b}[31m",
            "a\u{e0041}",
            "a\0",
        ] {
            assert!(!is_plain(bad), "{bad:?}");
        }
    }

    #[test]
    fn look_alikes_share_a_skeleton() {
        for (one, other) in [
            ("Garden", "garden"),
            ("Garden", "Gаrden"), // Cyrillic а
            ("modern", "modem"),
            ("a room", "ａ　room"),
            ("alice", "aIice"),
            ("alice", "a1ice"),
            ("O2", "02"),
            ("the-garden", "the garden"),
        ] {
            assert_eq!(skeleton(one), skeleton(other), "{one} {other}");
        }
        assert_ne!(skeleton("garden"), skeleton("guarded"));
        assert_ne!(skeleton("日本"), skeleton("中国"));
        assert_eq!(skeleton("  "), "");
    }
}
