//! The text that is being written: a cursor between graphemes, undo, what was deleted last, and
//! what was sent before. Pure; it draws nothing and sends nothing.
//!
//! It refuses more bytes than a message may have, and shows what is pasted as safely as what
//! others wrote. What leaves is exactly what was typed or pasted.

use std::collections::VecDeque;

use unicode_segmentation::UnicodeSegmentation as _;
use unicode_width::UnicodeWidthStr as _;

use crate::safe_text::SafeText;

/// The most bytes of a text, as everywhere.
pub(crate) const TEXT_BYTES_MAX: usize = 65_536;
/// Steps back.
const UNDO_MAX: usize = 100;
/// Texts that were sent and can be brought back; in memory only.
const SENT_MAX: usize = 200;
/// Cells of a tab.
const TAB: &str = "    ";

/// One row of the text as it is drawn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) text: SafeText,
    /// Where it begins, in bytes of the whole text.
    start: usize,
}

/// The text in rows of some width, and where the cursor is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Rows {
    pub(crate) rows: Vec<Row>,
    /// Row and cell of the cursor.
    pub(crate) cursor: (usize, usize),
}

/// What the last change was: typing goes back as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Change {
    #[default]
    None,
    Typed,
    Other,
}

/// Which way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    Back,
    Forward,
}

/// Whether all of what was pasted had room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pasted {
    Whole,
    Cut,
}

/// A text being written.
#[derive(Debug, Clone, Default)]
pub(crate) struct Composer {
    text: String,
    cursor: usize,
    undo: Vec<(String, usize)>,
    redo: Vec<(String, usize)>,
    last: Change,
    deleted: String,
    sent: VecDeque<String>,
    /// Which of the sent texts stands here, counted from the latest.
    recalled: Option<usize>,
    /// What was written before one was brought back.
    put_aside: String,
}

impl Composer {
    /// The text.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// Where the cursor is, in bytes.
    pub(crate) const fn cursor(&self) -> usize {
        self.cursor
    }

    /// Whether nothing is written.
    pub(crate) fn is_empty(&self) -> bool {
        self.text.is_empty()
    }

    /// Puts another text in its place, with the cursor at its end; undo begins anew.
    pub(crate) fn set(&mut self, text: &str) {
        self.text.clear();
        self.text.push_str(clip(text, TEXT_BYTES_MAX));
        self.cursor = self.text.len();
        self.undo.clear();
        self.redo.clear();
        self.last = Change::None;
        self.recalled = None;
    }

    /// Takes the text out, as it is sent; it can be brought back.
    pub(crate) fn take(&mut self) -> String {
        let text = std::mem::take(&mut self.text);
        if self.sent.front() != Some(&text) && !text.is_empty() {
            self.sent.push_front(text.clone());
            self.sent.truncate(SENT_MAX);
        }
        self.set("");
        text
    }

    /// Types a character.
    pub(crate) fn type_char(&mut self, typed: char) {
        let mut bytes = [0; 4];
        let space = typed.is_whitespace();
        self.insert(typed.encode_utf8(&mut bytes), Change::Typed);
        if space {
            self.last = Change::Other;
        }
    }

    /// Puts a text in at the cursor, as pasted: line breaks stay, nothing is sent.
    pub(crate) fn paste(&mut self, text: &str) -> Pasted {
        let text = text.replace("\r\n", "\n").replace('\r', "\n");
        let before = self.text.len();
        self.insert(&text, Change::Other);
        match self.text.len() - before == text.len() {
            true => Pasted::Whole,
            false => Pasted::Cut,
        }
    }

    /// Puts a text in the place of what stands from `from` to the cursor.
    pub(crate) fn replace(&mut self, from: usize, text: &str) {
        if from > self.cursor || !self.text.is_char_boundary(from) {
            return;
        }
        self.remember(Change::Other);
        self.text.replace_range(from..self.cursor, "");
        self.cursor = from;
        self.insert_here(text);
    }

    fn insert(&mut self, text: &str, change: Change) {
        self.remember(change);
        self.insert_here(text);
    }

    fn insert_here(&mut self, text: &str) {
        let room = TEXT_BYTES_MAX.saturating_sub(self.text.len());
        let text = clip(text, room);
        self.text.insert_str(self.cursor, text);
        self.cursor += text.len();
    }

    fn remember(&mut self, change: Change) {
        self.recalled = None;
        if change == Change::Typed && self.last == Change::Typed {
            return;
        }
        self.last = change;
        self.undo.push((self.text.clone(), self.cursor));
        if self.undo.len() > UNDO_MAX {
            self.undo.remove(0);
        }
        self.redo.clear();
    }

    /// Takes the last change back.
    pub(crate) fn undo(&mut self) {
        if let Some((text, cursor)) = self.undo.pop() {
            let now = std::mem::replace(&mut self.text, text);
            self.redo.push((now, self.cursor));
            self.cursor = cursor;
            self.last = Change::None;
        }
    }

    /// Makes it again.
    pub(crate) fn redo(&mut self) {
        if let Some((text, cursor)) = self.redo.pop() {
            let now = std::mem::replace(&mut self.text, text);
            self.undo.push((now, self.cursor));
            self.cursor = cursor;
            self.last = Change::None;
        }
    }

    /// Moves by one grapheme.
    pub(crate) fn step(&mut self, way: Way) {
        self.last = Change::None;
        self.cursor = self.beside(way);
    }

    fn beside(&self, way: Way) -> usize {
        let (before, after) = self.text.split_at(self.cursor);
        match way {
            Way::Back => before
                .grapheme_indices(true)
                .next_back()
                .map_or(0, |(at, _)| at),
            Way::Forward => after
                .graphemes(true)
                .next()
                .map_or(self.cursor, |grapheme| self.cursor + grapheme.len()),
        }
    }

    /// Moves by one word.
    pub(crate) fn step_word(&mut self, way: Way) {
        self.last = Change::None;
        self.cursor = self.word(way);
    }

    fn word(&self, way: Way) -> usize {
        let (before, after) = self.text.split_at(self.cursor);
        let is_word = |word: &&str| word.chars().any(char::is_alphanumeric);
        match way {
            Way::Back => before
                .split_word_bound_indices()
                .rfind(|(_, word)| is_word(word))
                .map_or(0, |(at, _)| at),
            Way::Forward => after
                .split_word_bound_indices()
                .find(|(_, word)| is_word(word))
                .map_or(self.text.len(), |(at, word)| self.cursor + at + word.len()),
        }
    }

    /// Goes to the beginning or end of the line.
    pub(crate) fn line_edge(&mut self, way: Way) {
        self.last = Change::None;
        self.cursor = self.edge(way);
    }

    fn edge(&self, way: Way) -> usize {
        let (before, after) = self.text.split_at(self.cursor);
        match way {
            Way::Back => before.rfind('\n').map_or(0, |at| at + 1),
            Way::Forward => after
                .find('\n')
                .map_or(self.text.len(), |at| self.cursor + at),
        }
    }

    /// Deletes the grapheme beside the cursor.
    pub(crate) fn delete(&mut self, way: Way) {
        let other = self.beside(way);
        self.remember(Change::Other);
        self.cut(other);
    }

    /// Deletes to the beginning of the word.
    pub(crate) fn delete_word(&mut self) {
        let other = self.word(Way::Back);
        self.delete_to(other);
    }

    /// Deletes to the edge of the line, or the line break where it stands there already.
    pub(crate) fn delete_to_edge(&mut self, way: Way) {
        let mut other = self.edge(way);
        if other == self.cursor {
            other = self.beside(way);
        }
        self.delete_to(other);
    }

    fn delete_to(&mut self, other: usize) {
        self.remember(Change::Other);
        let cut = self.cut(other);
        if !cut.is_empty() {
            self.deleted = cut;
        }
    }

    fn cut(&mut self, other: usize) -> String {
        let (from, to) = (self.cursor.min(other), self.cursor.max(other));
        let cut = self.text.get(from..to).unwrap_or_default().to_owned();
        self.text.replace_range(from..to, "");
        self.cursor = from;
        cut
    }

    /// Puts back what was deleted last.
    pub(crate) fn yank(&mut self) {
        let text = self.deleted.clone();
        self.insert(&text, Change::Other);
    }

    /// Goes a row up or down; at the edge brings back what was sent before or after.
    pub(crate) fn step_row(&mut self, way: Way, width: usize) {
        let laid = self.rows(width);
        let (row, cell) = laid.cursor;
        let target = match way {
            Way::Back => row.checked_sub(1),
            Way::Forward => Some(row + 1),
        };
        match target.and_then(|target| laid.rows.get(target)) {
            Some(target) => {
                self.last = Change::None;
                self.cursor = self.at_cell(target.start, cell, width);
            }
            None => self.recall(way),
        }
    }

    /// Puts the cursor on a cell of a row; beyond the end it is the end.
    pub(crate) fn point(&mut self, (row, cell): (usize, usize), width: usize) {
        let laid = self.rows(width);
        if let Some(row) = laid.rows.get(row).or(laid.rows.last()) {
            self.last = Change::None;
            self.cursor = self.at_cell(row.start, cell, width);
        }
    }

    /// The place of a cell in the row that begins at `start`.
    fn at_cell(&self, start: usize, cell: usize, width: usize) -> usize {
        let mut cells = 0;
        let mut at = start;
        for grapheme in self.text.get(start..).unwrap_or_default().graphemes(true) {
            let next = cells + shown_cells(grapheme);
            if grapheme == "\n" || next > cell || next > width {
                break;
            }
            cells = next;
            at += grapheme.len();
        }
        at
    }

    fn recall(&mut self, way: Way) {
        let next = match (way, self.recalled) {
            (Way::Back, None) => Some(0),
            (Way::Back, Some(place)) => Some(place + 1),
            (Way::Forward, Some(0)) => {
                let aside = std::mem::take(&mut self.put_aside);
                self.set(&aside);
                return;
            }
            (Way::Forward, Some(place)) => Some(place - 1),
            (Way::Forward, None) => None,
        };
        let Some((place, text)) =
            next.and_then(|place| Some((place, self.sent.get(place)?.clone())))
        else {
            return;
        };
        if self.recalled.is_none() {
            self.put_aside = self.text.clone();
        }
        self.set(&text);
        self.recalled = Some(place);
    }

    /// The text in rows of `width` cells, and the cursor in them.
    pub(crate) fn rows(&self, width: usize) -> Rows {
        let width = width.max(2);
        let mut rows = vec![(0, String::new())];
        let (mut cells, mut cursor) = (0, (0, 0));
        for (at, grapheme) in self.text.grapheme_indices(true) {
            // What is wider than a row is cut by it.
            let shown = shown_cells(grapheme).min(width);
            if grapheme != "\n" && cells + shown > width {
                rows.push((at, String::new()));
                cells = 0;
            }
            // A deletion may have joined what stands on both sides of the cursor.
            if (at..at + grapheme.len()).contains(&self.cursor) {
                cursor = (rows.len() - 1, cells);
            }
            if grapheme == "\n" {
                rows.push((at + 1, String::new()));
                cells = 0;
                continue;
            }
            if let Some((_, row)) = rows.last_mut() {
                row.push_str(if grapheme == "\t" { TAB } else { grapheme });
            }
            cells += shown;
        }
        if self.cursor == self.text.len() {
            if cells >= width {
                rows.push((self.text.len(), String::new()));
                cells = 0;
            }
            cursor = (rows.len() - 1, cells);
        }
        let row = |(start, text): (usize, String)| Row {
            text: SafeText::line(&text, usize::MAX),
            start,
        };
        Rows {
            rows: rows.into_iter().map(row).collect(),
            cursor,
        }
    }
}

/// Cells of a grapheme as it is shown.
fn shown_cells(grapheme: &str) -> usize {
    match grapheme.as_bytes() {
        [b' '..=b'~'] => 1,
        [b'\t'] => TAB.len(),
        _ => SafeText::line(grapheme, usize::MAX).as_str().width(),
    }
}

/// As much of a text as has room, whole characters only.
fn clip(text: &str, bytes_max: usize) -> &str {
    let mut end = text.len().min(bytes_max);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn written(text: &str) -> Composer {
        let mut composer = Composer::default();
        composer.paste(text);
        composer
    }

    fn shown(composer: &Composer, width: usize) -> Vec<String> {
        let rows = composer.rows(width).rows;
        rows.iter().map(|row| row.text.to_string()).collect()
    }

    #[test]
    fn the_cursor_stands_between_what_people_see() {
        let mut composer = written("a👩\u{200d}👧e\u{301}");
        composer.step(Way::Back);
        composer.step(Way::Back);
        assert_eq!(composer.cursor(), 1);
        composer.delete(Way::Forward);
        assert_eq!(composer.text(), "ae\u{301}");
        composer.undo();
        assert_eq!(composer.text(), "a👩\u{200d}👧e\u{301}");
        composer.redo();
        assert_eq!(composer.text(), "ae\u{301}");
    }

    #[test]
    fn words_and_lines_are_deleted_and_put_back() {
        let mut composer = written("one two three\nfour");
        composer.delete_word();
        assert_eq!(composer.text(), "one two three\n");
        composer.delete_to_edge(Way::Back);
        assert_eq!(composer.text(), "one two three");
        composer.delete_to_edge(Way::Back);
        assert_eq!(composer.text(), "");
        composer.yank();
        assert_eq!(composer.text(), "one two three");
        composer.step_word(Way::Back);
        composer.step_word(Way::Back);
        assert_eq!(composer.cursor(), 4);
        composer.step_word(Way::Forward);
        assert_eq!(composer.cursor(), 7);
        composer.line_edge(Way::Back);
        assert_eq!(composer.cursor(), 0);
    }

    #[test]
    fn what_was_sent_comes_back_and_what_was_begun_stays() {
        let mut composer = written("first");
        assert_eq!(composer.take(), "first");
        composer.paste("second");
        composer.take();
        composer.paste("begun");
        composer.step_row(Way::Back, 20);
        assert_eq!(composer.text(), "second");
        composer.step_row(Way::Back, 20);
        assert_eq!(composer.text(), "first");
        composer.step_row(Way::Back, 20);
        assert_eq!(composer.text(), "first");
        composer.step_row(Way::Forward, 20);
        composer.step_row(Way::Forward, 20);
        assert_eq!(composer.text(), "begun");
    }

    #[test]
    fn rows_are_as_wide_as_they_may_be() {
        let mut composer = written("abcdef日本語x\ny");
        assert_eq!(shown(&composer, 4), ["abcd", "ef日", "本語", "x", "y"]);
        assert_eq!(composer.rows(4).cursor, (4, 1));
        composer.step_row(Way::Back, 4);
        composer.step_row(Way::Back, 4);
        assert_eq!(composer.rows(4).cursor, (2, 0));
        let full = written("abcd");
        assert_eq!(full.rows(4).cursor, (1, 0));
    }

    #[test]
    fn pasted_sequences_are_shown_and_not_obeyed() {
        let composer = written("a\u{1b}[2Jb\u{202e}\u{7}\r\nc");
        let rows = shown(&composer, 40);
        assert_eq!(rows.len(), 2);
        for row in rows {
            assert!(!row.contains(['\u{1b}', '\u{202e}', '\u{7}']), "{row:?}");
        }
        assert_eq!(composer.text(), "a\u{1b}[2Jb\u{202e}\u{7}\nc");
    }

    #[test]
    fn a_text_has_an_end() {
        let mut composer = written(&"ä".repeat(TEXT_BYTES_MAX));
        assert_eq!(composer.text().len(), TEXT_BYTES_MAX);
        assert_eq!(composer.paste("more"), Pasted::Cut);
        assert_eq!(Composer::default().paste("more\r\n"), Pasted::Whole);
    }

    proptest! {
        #[test]
        fn the_cursor_never_leaves_the_text(
            text in "\\PC{0,40}", steps in prop::collection::vec(0u8..12, 0..60), width in 1usize..20,
        ) {
            let mut composer = written(&text);
            for step in steps {
                match step {
                    0 => composer.step(Way::Back),
                    1 => composer.step(Way::Forward),
                    2 => composer.step_word(Way::Back),
                    3 => composer.step_word(Way::Forward),
                    4 => composer.delete(Way::Back),
                    5 => composer.delete(Way::Forward),
                    6 => composer.delete_word(),
                    7 => composer.delete_to_edge(Way::Forward),
                    8 => composer.step_row(Way::Back, width),
                    9 => composer.undo(),
                    10 => composer.type_char('\n'),
                    _ => composer.yank(),
                }
                prop_assert!(composer.text().is_char_boundary(composer.cursor()));
                let laid = composer.rows(width);
                prop_assert!(laid.cursor.0 < laid.rows.len());
                prop_assert!(laid.cursor.1 <= width.max(2));
            }
        }
    }
}
