//! Foreign text in rows of cells: cleaned by [`SafeText`], broken where its script breaks lines,
//! links kept whole, names of people who are spoken to marked.
//!
//! It refuses to cut a grapheme, to let a row be wider than it was given, and to make a link say
//! anything but its address. It leaves nothing out but blanks at the end of a row.

use std::ops::Range;

use sotto_protocol::Username;
use unicode_linebreak::linebreaks;
use unicode_segmentation::UnicodeSegmentation as _;
use unicode_width::UnicodeWidthStr as _;

use crate::safe_text::SafeText;

/// Every row has room for the widest ordinary character.
const WIDTH_MIN: usize = 2;
/// Lines of a text that are looked at; a message of 65,536 bytes may have as many.
const LINES_MAX: usize = 65_536;
/// Stands for a grapheme that is wider than a whole row.
const TOO_WIDE: &str = "\u{2026}";

/// What a part of a row is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    /// Words.
    Plain,
    /// A web address, or a part of one that is longer than a row.
    Link,
    /// The name of somebody whom the message speaks to.
    Mention,
    /// The own name, in a message that speaks to this account.
    Me,
}

/// A part of a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Piece {
    /// What it says.
    pub(crate) text: SafeText,
    /// What it is.
    pub(crate) kind: Kind,
}

/// One row of cells.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Row {
    /// From left to right.
    pub(crate) pieces: Vec<Piece>,
    /// Cells that it takes.
    pub(crate) cells: usize,
}

impl Row {
    /// Its text without what its parts are.
    pub(crate) fn text(&self) -> String {
        self.pieces
            .iter()
            .map(|piece| piece.text.as_str())
            .collect()
    }
}

/// How a text is laid out.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Layout<'a> {
    /// Cells in use on the first row already.
    pub(crate) first_cells: usize,
    /// Cells of a row; counted as 2 where it is less.
    pub(crate) width: usize,
    /// Rows at most; 0 for as many as there are. A last row tells how many are left out.
    pub(crate) rows_max: usize,
    /// Whom the message speaks to by name.
    pub(crate) mentions: &'a [Username],
    /// Whose account this is.
    pub(crate) me: Option<&'a Username>,
}

/// Terminal cells of a text without line breaks: the sum over its graphemes, as they are drawn.
pub(crate) fn cells(text: &str) -> usize {
    if text.is_ascii() {
        return text.len();
    }
    text.graphemes(true).map(|grapheme| grapheme.width()).sum()
}

/// One line of at most `most` cells; what does not fit ends in an ellipsis.
pub(crate) fn fit(text: &str, most: usize) -> SafeText {
    let mut whole = SafeText::line(text, usize::MAX);
    if cells(whole.as_str()) <= most {
        return whole;
    }
    let mut used = 0;
    let mut end = 0;
    for (at, grapheme) in whole.as_str().grapheme_indices(true) {
        used += grapheme.width();
        if used + 1 > most {
            break;
        }
        end = at + grapheme.len();
    }
    whole = whole.part(0..end);
    SafeText::line(&format!("{whole}{TOO_WIDE}"), usize::MAX)
}

/// Lays a text out in rows.
pub(crate) fn wrap(text: &str, layout: Layout<'_>) -> Vec<Row> {
    let mut rows = Vec::new();
    for line in SafeText::lines(text, LINES_MAX) {
        wrap_line(&line, layout, &mut rows);
        if layout.rows_max > 0 && rows.len() > layout.rows_max.saturating_mul(4).max(1_000) {
            break;
        }
    }
    let hidden = match layout.rows_max {
        0 => 0,
        most => rows.len().saturating_sub(most),
    };
    if hidden > 0 {
        rows.truncate(layout.rows_max.saturating_sub(1));
        let note = fit(
            &format!("{TOO_WIDE} {} more lines", hidden + 1),
            layout.width.max(WIDTH_MIN),
        );
        rows.push(Row {
            cells: cells(note.as_str()),
            pieces: vec![Piece {
                text: note,
                kind: Kind::Plain,
            }],
        });
    }
    rows
}

/// One line that is broken where it does not fit.
fn wrap_line(line: &SafeText, layout: Layout<'_>, rows: &mut Vec<Row>) {
    let marks = marks(line.as_str(), layout);
    let width = layout.width.max(WIDTH_MIN);
    let room = match rows.len() {
        0 => width.saturating_sub(layout.first_cells),
        _ => width,
    };
    let mut filling = Filling {
        line,
        marks: &marks,
        rows,
        width,
        room,
        start: 0,
        end: 0,
        cells: 0,
    };
    let mut from = 0;
    for to in breaks(line.as_str(), &marks) {
        filling.take(from..to);
        from = to;
    }
    filling.finish();
}

/// Where a line may be broken, its end included: as its script allows, and not within a link.
fn breaks(line: &str, marks: &[(Range<usize>, Kind)]) -> Vec<usize> {
    let inside = |at: usize| {
        marks
            .iter()
            .any(|(range, _)| range.start < at && at < range.end)
    };
    let mut allowed: Vec<usize> = if line.is_ascii() {
        // A blank is where ASCII is broken; hyphens too, as in a word of two.
        let bytes = line.as_bytes();
        let after = |at: &usize| {
            let (before, next) = (bytes.get(at.wrapping_sub(1)), bytes.get(*at));
            match (before, next) {
                (Some(b' '), Some(next)) => *next != b' ',
                (Some(b'-'), Some(next)) => next.is_ascii_alphabetic(),
                _ => false,
            }
        };
        (1..line.len()).filter(after).collect()
    } else {
        // A mark may sit on a blank, after which a line could be broken otherwise.
        let edges: Vec<usize> = line.grapheme_indices(true).map(|(at, _)| at).collect();
        let places = linebreaks(line).map(|(at, _)| at);
        places
            .filter(|at| edges.binary_search(at).is_ok())
            .collect()
    };
    allowed.retain(|at| *at < line.len() && !inside(*at));
    allowed.push(line.len());
    allowed
}

/// A row that is being filled.
struct Filling<'a> {
    line: &'a SafeText,
    marks: &'a [(Range<usize>, Kind)],
    rows: &'a mut Vec<Row>,
    /// Cells of a whole row.
    width: usize,
    /// Cells of this row.
    room: usize,
    /// Bytes of the line in this row.
    start: usize,
    end: usize,
    cells: usize,
}

impl Filling<'_> {
    /// Takes a word with the blanks behind it.
    fn take(&mut self, bytes: Range<usize>) {
        let line = self.line;
        let word = line.as_str().get(bytes.clone()).unwrap_or_default();
        let visible = word.trim_end_matches(' ');
        let needed = cells(visible);
        if self.cells + needed > self.room && (self.cells > 0 || self.room < self.width) {
            self.break_at(bytes.start);
        }
        let mut at = bytes.start;
        if needed <= self.room {
            self.cells += needed;
            at += visible.len();
            self.end = at;
        } else {
            for grapheme in visible.graphemes(true) {
                self.take_grapheme(grapheme, at);
                at += grapheme.len();
            }
        }
        for _ in visible.len()..word.len() {
            // Blanks that do not fit are left out.
            if self.cells < self.room {
                self.cells += 1;
                self.end = at + 1;
            }
            at += 1;
        }
    }

    fn take_grapheme(&mut self, grapheme: &str, at: usize) {
        let needed = grapheme.width();
        if self.cells + needed > self.room && self.cells > 0 {
            self.break_at(at);
        }
        if needed > self.width {
            self.stand_in(at, grapheme.len());
            return;
        }
        self.cells += needed;
        self.end = at + grapheme.len();
    }

    /// A sign for what is wider than a row, in a row of its own.
    fn stand_in(&mut self, at: usize, bytes: usize) {
        self.rows.push(Row {
            pieces: vec![Piece {
                text: SafeText::line(TOO_WIDE, 1),
                kind: Kind::Plain,
            }],
            cells: 1,
        });
        (self.start, self.end, self.cells) = (at + bytes, at + bytes, 0);
        self.room = self.width;
    }

    fn break_at(&mut self, next: usize) {
        let row = self.row();
        self.rows.push(row);
        (self.start, self.end, self.cells) = (next, next, 0);
        self.room = self.width;
    }

    fn finish(mut self) {
        let row = self.row();
        self.rows.push(row);
    }

    fn row(&mut self) -> Row {
        let text = self
            .line
            .as_str()
            .get(self.start..self.end)
            .unwrap_or_default();
        let shown = self.start..self.start + text.trim_end_matches(' ').len();
        let mut pieces = Vec::new();
        let mut cells_used = 0;
        let mut at = shown.start;
        let ends = self
            .marks
            .iter()
            .filter(|(mark, _)| mark.end > shown.start && mark.start < shown.end);
        let mut push = |range: Range<usize>, kind| {
            if range.start < range.end {
                let text = self.line.part(range);
                cells_used += cells(text.as_str());
                pieces.push(Piece { text, kind });
            }
        };
        for (mark, kind) in ends {
            let (from, to) = (mark.start.max(shown.start), mark.end.min(shown.end));
            push(at..from, Kind::Plain);
            push(from..to, *kind);
            at = to;
        }
        push(at..shown.end, Kind::Plain);
        Row {
            pieces,
            cells: cells_used,
        }
    }
}

/// Links and names in a line, from left to right, none within another.
fn marks(line: &str, layout: Layout<'_>) -> Vec<(Range<usize>, Kind)> {
    let mut marks: Vec<(Range<usize>, Kind)> = links(line)
        .into_iter()
        .map(|range| (range, Kind::Link))
        .collect();
    for name in layout.mentions {
        let kind = if layout.me == Some(name) {
            Kind::Me
        } else {
            Kind::Mention
        };
        for range in names(line, name.as_str()) {
            let free = |(other, _): &(Range<usize>, Kind)| {
                range.end <= other.start || other.end <= range.start
            };
            if marks.iter().all(free) {
                marks.push((range, kind));
            }
        }
    }
    marks.sort_by_key(|(range, _)| range.start);
    let edges: Vec<usize> = line.grapheme_indices(true).map(|(at, _)| at).collect();
    let edge = |at: usize| at == line.len() || edges.binary_search(&at).is_ok();
    marks.retain(|(range, _)| edge(range.start) && edge(range.end));
    marks
}

/// Web addresses in a line.
fn links(line: &str) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let lower = line.to_ascii_lowercase();
    let mut from = 0;
    while let Some(at) = lower.get(from..).and_then(|rest| rest.find("http")) {
        let start = from + at;
        from = start + 4;
        let rest = lower.get(start..).unwrap_or_default();
        let scheme = ["https://", "http://"]
            .iter()
            .find(|scheme| rest.starts_with(**scheme));
        let before = line
            .get(..start)
            .and_then(|before| before.chars().next_back());
        let (Some(scheme), false) = (scheme, before.is_some_and(char::is_alphanumeric)) else {
            continue;
        };
        let ends =
            |c: char| c.is_whitespace() || "<>\"\u{300c}\u{300d}\u{3002}\u{3001}".contains(c);
        let length = rest.find(ends).unwrap_or(rest.len());
        let length = without_punctuation(rest.get(..length).unwrap_or_default()).len();
        if length > scheme.len() {
            found.push(start..start + length);
            from = start + length;
        }
    }
    found
}

/// An address without the marks of the sentence around it.
fn without_punctuation(mut address: &str) -> &str {
    while let Some(last) = address.chars().next_back() {
        let shorter = address
            .get(..address.len() - last.len_utf8())
            .unwrap_or_default();
        let closes = match last {
            ')' => shorter.matches('(').count() <= shorter.matches(')').count(),
            ']' => shorter.matches('[').count() <= shorter.matches(']').count(),
            _ => ".,;:!?'*_~".contains(last),
        };
        if !closes {
            break;
        }
        address = shorter;
    }
    address
}

/// Where a name stands in a line as a word, with or without `@` before it.
fn names(line: &str, name: &str) -> Vec<Range<usize>> {
    let part_of_name = |c: char| c.is_alphanumeric() || c == '_' || c == '-';
    line.match_indices(name)
        .filter_map(|(at, _)| {
            let (before, after) = (line.get(..at)?, line.get(at + name.len()..)?);
            let mut after = after.chars();
            let ends = match after.next() {
                // A full stop ends a sentence, or goes on within a name.
                Some('.') => !after.next().is_some_and(part_of_name),
                next => !next.is_some_and(part_of_name),
            };
            let bare = before.strip_suffix('@');
            let begins = |text: &str| {
                !text
                    .chars()
                    .next_back()
                    .is_some_and(|c| part_of_name(c) || c == '.' || c == '@')
            };
            let start = match bare {
                Some(before) if begins(before) => at - 1,
                Some(_) => return None,
                None if begins(before) => at,
                None => return None,
            };
            ends.then_some(start..at + name.len())
        })
        .collect()
}

#[cfg(test)]
mod tests;
