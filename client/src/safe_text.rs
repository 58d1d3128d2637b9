//! [`SafeText`]: the one type through which other people's words reach a
//! terminal.
//!
//! It refuses control characters (so no escape sequence survives), bidirectional
//! overrides, isolates and marks, invisible and unassigned characters, piles of
//! combining marks, and more cells or lines than it was given. Line breaks of
//! every kind become continuation lines with a visible bar in front, and long
//! lines are wrapped here rather than by the terminal, so that no text can put
//! a line of its own at the left edge and pass for another sender.
//!
//! What is lost: zero-width joiners outside emoji (some Indic and Persian
//! ligatures fall apart) and directional marks. `--json` gives the exact text.

use std::fmt;

use sotto_protocol::Username;
use unicode_properties::{GeneralCategory, UnicodeEmoji, UnicodeGeneralCategory};
use unicode_segmentation::{GraphemeCursor, UnicodeSegmentation};
use unicode_width::UnicodeWidthStr;

/// Stands in front of every line of a text but its first.
pub const CONTINUATION: &str = "      \u{2502} ";
/// Combining marks kept on one base character.
const MARKS_MAX: usize = 4;
/// Shown in place of a character that could act on a terminal.
const REPLACEMENT: char = '\u{fffd}';

/// Text that is safe to write to a terminal as it stands.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SafeText(String);

/// How a text of several lines is laid out.
#[derive(Debug, Clone, Copy)]
pub struct Block {
    /// Cells in use on the first line already, by time and sender.
    pub first_cells: usize,
    /// Cells of a whole line; `None` where nothing wraps (a file or pipe).
    pub width_cells: Option<usize>,
    /// The most lines shown; a note tells how many were left out.
    pub lines_max: usize,
}

impl SafeText {
    /// One line of at most `cells_max` cells; line breaks become spaces and a
    /// longer text ends in an ellipsis.
    #[must_use]
    pub fn line(text: &str, cells_max: usize) -> Self {
        let joined = clean_lines(text).join(" ");
        if joined.width() <= cells_max {
            return Self(joined);
        }
        let mut kept = String::new();
        let mut cells = 0;
        for grapheme in joined.graphemes(true) {
            cells += grapheme.width();
            if cells + 1 > cells_max {
                break;
            }
            kept.push_str(grapheme);
        }
        kept.push('\u{2026}');
        Self(kept)
    }

    /// A text with its line breaks, each further line behind [`CONTINUATION`].
    #[must_use]
    pub fn block(text: &str, layout: Block) -> Self {
        let mut lines = Vec::new();
        for line in clean_lines(text) {
            wrap_into(&line, layout, &mut lines);
        }
        let hidden = lines.len().saturating_sub(layout.lines_max.max(1));
        lines.truncate(layout.lines_max.max(1));
        if hidden > 0 {
            lines.push(format!("\u{2026} {hidden} more lines"));
        }
        Self(lines.join(&format!("\n{CONTINUATION}")))
    }

    /// A text line by line, as its writer broke it, for an interface that lays it out itself: at
    /// most `lines_max` lines, nothing wrapped, nothing in front.
    #[must_use]
    pub fn lines(text: &str, lines_max: usize) -> Vec<Self> {
        let lines = clean_lines(text).into_iter();
        lines.take(lines_max.max(1)).map(Self).collect()
    }

    /// A part by bytes; empty where they are not between graphemes.
    #[must_use]
    pub fn part(&self, bytes: std::ops::Range<usize>) -> Self {
        let edge = |at: usize| {
            let mut cursor = GraphemeCursor::new(at, self.0.len(), true);
            at <= self.0.len() && cursor.is_boundary(&self.0, 0) == Ok(true)
        };
        if edge(bytes.start) && edge(bytes.end) {
            Self(self.0.get(bytes).unwrap_or_default().to_owned())
        } else {
            Self::default()
        }
    }

    /// The text itself.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Terminal cells of the widest line.
    #[must_use]
    pub fn cells(&self) -> usize {
        self.0
            .lines()
            .map(UnicodeWidthStr::width)
            .max()
            .unwrap_or(0)
    }
}

impl From<&Username> for SafeText {
    fn from(name: &Username) -> Self {
        Self(name.as_str().to_owned())
    }
}

impl fmt::Display for SafeText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// Writes every character that [`SafeText`] would not show as a JSON escape,
/// so that JSON is exact for programs and harmless on a terminal.
#[must_use]
pub fn escape_json(json: &str) -> String {
    let mut escaped = String::with_capacity(json.len());
    for character in json.chars() {
        if matches!(class_of(character), Class::Plain | Class::Mark) {
            escaped.push(character);
        } else {
            let mut units = [0; 2];
            for unit in character.encode_utf16(&mut units) {
                escaped.push_str(&format!("\\u{unit:04x}"));
            }
        }
    }
    escaped
}

/// What a character may do to a terminal or a reader.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Class {
    /// Shows itself and nothing else.
    Plain,
    /// Sits on the character before it.
    Mark,
    /// Ends a line in some program.
    Break,
    /// Blank, of whatever width.
    Blank,
    /// U+200D: joins two emoji.
    Joiner,
    /// U+FE0F: asks for the coloured form of an emoji.
    EmojiForm,
    /// Changes direction or nothing visible: left out.
    Invisible,
    /// Could act on the terminal, or nobody knows what it is: replaced.
    Hostile,
}

fn class_of(character: char) -> Class {
    match character {
        ' '..='~' => return Class::Plain,
        '\n' | '\r' | '\u{b}' | '\u{c}' | '\u{85}' | '\u{2028}' | '\u{2029}' => {
            return Class::Break;
        }
        '\t' => return Class::Blank,
        '\u{200d}' => return Class::Joiner,
        '\u{fe0f}' => return Class::EmojiForm,
        // Default-ignorable characters that are not in category Cf, and blanks that are not in Zs.
        '\u{34f}'
        | '\u{115f}'
        | '\u{1160}'
        | '\u{17b4}'
        | '\u{17b5}'
        | '\u{180b}'..='\u{180f}'
        | '\u{3164}'
        | '\u{fe00}'..='\u{fe0e}'
        | '\u{ffa0}'
        | '\u{e0000}'..='\u{e0fff}' => {
            return Class::Invisible;
        }
        '\u{2800}' => return Class::Blank,
        _ => {}
    }
    match character.general_category() {
        GeneralCategory::Control
        | GeneralCategory::Surrogate
        | GeneralCategory::Unassigned
        | GeneralCategory::PrivateUse => Class::Hostile,
        GeneralCategory::Format => Class::Invisible,
        GeneralCategory::SpaceSeparator => Class::Blank,
        GeneralCategory::LineSeparator | GeneralCategory::ParagraphSeparator => Class::Break,
        GeneralCategory::NonspacingMark
        | GeneralCategory::EnclosingMark
        | GeneralCategory::SpacingMark => Class::Mark,
        _ => Class::Plain,
    }
}

/// Splits at every kind of line break and cleans what lies between.
fn clean_lines(text: &str) -> Vec<String> {
    let mut lines = vec![String::new()];
    let mut marks = 0;
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        let class = class_of(character);
        marks = match class {
            Class::Mark => marks + 1,
            // What is left out does not begin a new pile.
            Class::Invisible | Class::Joiner | Class::EmojiForm => marks,
            _ => 0,
        };
        if class == Class::Break {
            if character == '\r' && characters.peek() == Some(&'\n') {
                characters.next();
            }
            lines.push(String::new());
            continue;
        }
        let next = characters.peek().copied();
        if let Some(line) = lines.last_mut() {
            push_clean(line, character, class, marks, next);
        }
    }
    lines
}

fn push_clean(line: &mut String, character: char, class: Class, marks: usize, next: Option<char>) {
    match class {
        Class::Plain => line.push(character),
        Class::Mark if marks > MARKS_MAX => {}
        Class::Mark => {
            if line.is_empty() {
                // A mark must not sit on what stands before this text.
                line.push('\u{25cc}');
            }
            line.push(character);
        }
        Class::Blank => line.push(' '),
        Class::Joiner => {
            let joins = line.chars().next_back().is_some_and(carries_emoji)
                && next.is_some_and(is_pictograph);
            if joins {
                line.push(character);
            }
        }
        Class::EmojiForm => {
            if line.chars().next_back().is_some_and(is_pictograph) {
                line.push(character);
            }
        }
        Class::Hostile => line.push(REPLACEMENT),
        Class::Invisible | Class::Break => {}
    }
}

fn is_pictograph(character: char) -> bool {
    !character.is_ascii() && character.is_emoji_char() && class_of(character) == Class::Plain
}

fn carries_emoji(character: char) -> bool {
    character == '\u{fe0f}' || is_pictograph(character)
}

/// Breaks one clean line where the width asks for it, at blanks where there are any.
fn wrap_into(line: &str, layout: Block, lines: &mut Vec<String>) {
    let Some(width) = layout.width_cells else {
        lines.push(line.to_owned());
        return;
    };
    let later = width.saturating_sub(CONTINUATION.width()).max(8);
    let mut room = if lines.is_empty() {
        width.saturating_sub(layout.first_cells).max(8)
    } else {
        later
    };
    let mut current = String::new();
    let mut cells = 0;
    for word in line.split_inclusive(' ') {
        let visible = word.trim_end_matches(' ').width();
        if cells > 0 && cells + visible > room {
            lines.push(
                std::mem::take(&mut current)
                    .trim_end_matches(' ')
                    .to_owned(),
            );
            (cells, room) = (0, later);
        }
        for grapheme in word.graphemes(true) {
            let grapheme_cells = grapheme.width();
            if cells + grapheme_cells > room {
                if grapheme == " " {
                    continue;
                }
                lines.push(std::mem::take(&mut current));
                (cells, room) = (0, later);
            }
            current.push_str(grapheme);
            cells += grapheme_cells;
        }
    }
    lines.push(current);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const WIDE: Block = Block {
        first_cells: 14,
        width_cells: Some(60),
        lines_max: 50,
    };
    const PIPE: Block = Block {
        first_cells: 14,
        width_cells: None,
        lines_max: 50,
    };

    fn is_forbidden(character: char) -> bool {
        !matches!(
            class_of(character),
            Class::Plain | Class::Mark | Class::Joiner | Class::EmojiForm
        )
    }

    /// Text in which every class of character is likely.
    fn hostile_text() -> impl Strategy<Value = String> {
        let special = prop::sample::select(vec![
            '\u{1b}',
            '\u{9b}',
            '\u{9d}',
            '\u{7}',
            '\0',
            '\u{7f}',
            '\r',
            '\n',
            '\u{b}',
            '\u{85}',
            '\u{2028}',
            '\u{2029}',
            '\u{202e}',
            '\u{2066}',
            '\u{200b}',
            '\u{200d}',
            '\u{200f}',
            '\u{feff}',
            '\u{ad}',
            '\u{fe0f}',
            '\u{e0041}',
            '\u{301}',
            '\u{1f469}',
            '\u{1f467}',
            '\u{3164}',
            '\u{2800}',
            '\u{a0}',
            '\u{e000}',
            '漢',
            '\t',
            '[',
            ']',
            '\\',
            ' ',
            '│',
        ]);
        prop::collection::vec(prop_oneof![3 => special, 2 => any::<char>()], 0..200)
            .prop_map(|characters| characters.into_iter().collect())
    }

    proptest! {
        #[test]
        fn no_forbidden_character_survives(text in hostile_text()) {
            let one = SafeText::line(&text, 500);
            prop_assert!(!one.as_str().chars().any(is_forbidden));
            for layout in [WIDE, PIPE] {
                let block = SafeText::block(&text, layout);
                for (place, line) in block.as_str().split('\n').enumerate() {
                    prop_assert!(!line.chars().any(is_forbidden));
                    prop_assert!(place == 0 || line.starts_with(CONTINUATION));
                }
            }
        }

        #[test]
        fn lines_keep_their_bounds(text in hostile_text(), cells in 1usize..80) {
            prop_assert!(SafeText::line(&text, cells).cells() <= cells);
            let block = SafeText::block(&text, WIDE);
            for (place, line) in block.as_str().split('\n').enumerate() {
                let room = if place == 0 { 60 - 14 } else { 60 };
                prop_assert!(line.width() <= room, "{} > {room}", line.width());
            }
            prop_assert!(block.as_str().split('\n').count() <= 51);
        }

        #[test]
        fn json_is_exact_and_harmless(text in hostile_text()) {
            let json = escape_json(&serde_json::to_string(&text).unwrap());
            prop_assert!(!json.chars().any(is_forbidden));
            prop_assert_eq!(serde_json::from_str::<String>(&json).unwrap(), text);
        }
    }

    #[test]
    fn terminal_sequences_lose_their_teeth() {
        let corpus = [
            "\u{1b}[31mred",
            "\u{1b}]0;title\u{7}",
            "\u{1b}]52;c;aGk=\u{7}",
            "\u{9d}52;c;aGk=\u{9c}",
            "\u{1b}]8;;http://evil\u{1b}\\good\u{1b}]8;;\u{1b}\\",
            "\u{1b}P$q\"p\u{1b}\\",
            "\u{1b}_Ga=T\u{1b}\\",
            "\u{9b}2J",
            "\u{1b}[?1049h",
            "a\u{8}b",
            "\u{1b}",
            "\u{1b}]777;notify;a;b\u{7}",
            "\u{1b}]1337;File=:\u{7}",
            "\u{1b}c",
            "\u{1b}#8",
            "\u{e}",
        ];
        for sequence in corpus {
            let shown = SafeText::block(sequence, PIPE).to_string();
            assert!(shown.chars().all(|c| !c.is_control()), "{shown:?}");
        }
    }

    #[test]
    fn nobody_forges_a_line() {
        for forged in [
            "\n", "\r", "\r\n", "\u{b}", "\u{c}", "\u{85}", "\u{2028}", "\u{2029}",
        ] {
            let shown = SafeText::block(&format!("hi{forged}[bob] yes"), PIPE).to_string();
            assert_eq!(shown, format!("hi\n{CONTINUATION}[bob] yes"));
        }
        let long = format!("{}[bob] yes", "x".repeat(60 - 14));
        let shown = SafeText::block(&long, WIDE).to_string();
        assert!(
            shown
                .lines()
                .skip(1)
                .all(|line| line.starts_with(CONTINUATION)),
            "{shown}"
        );
    }

    #[test]
    fn directions_and_invisible_characters_go() {
        assert_eq!(
            SafeText::line("photo\u{202e}gpj.exe", 80).as_str(),
            "photogpj.exe"
        );
        assert_eq!(
            SafeText::line("a\u{200b}\u{2060}\u{feff}\u{ad}b", 80).as_str(),
            "ab"
        );
        assert_eq!(
            SafeText::line("\u{301}\u{301}a", 80).as_str(),
            "\u{25cc}\u{301}\u{301}a"
        );
        let pile = format!("e{}", "\u{301}".repeat(50));
        assert_eq!(
            SafeText::line(&pile, 80).as_str().chars().count(),
            1 + MARKS_MAX
        );
        for hidden in ["\u{200b}", "\u{200d}", "\u{fe0f}"] {
            let pile = format!("e{}", format!("\u{301}\u{301}{hidden}").repeat(50));
            let shown = SafeText::line(&pile, 80);
            assert_eq!(shown.as_str().chars().count(), 1 + MARKS_MAX, "{hidden:?}");
        }
    }

    #[test]
    fn ordinary_text_is_left_alone() {
        for text in [
            "Grüße, Žofie!",
            "日本語テキスト",
            "👩\u{200d}👧 ok ❤\u{fe0f}",
            "שלום",
            "a  b",
        ] {
            assert_eq!(SafeText::line(text, 80).as_str(), text);
        }
        assert_eq!(SafeText::line("1234567890", 5).as_str(), "1234…");
    }
}
