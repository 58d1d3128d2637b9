//! What the model gives to be drawn: safe words, each with what it is for. No colours, which are
//! the theme's, and no places, which are the view's.

use unicode_segmentation::UnicodeSegmentation as _;

use crate::safe_text::SafeText;

/// What a piece of text is for; the theme says how that looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Tone {
    #[default]
    Text,
    Dim,
    Own,
    Other,
    Unread,
    Mention,
    Request,
    Link,
    Warning,
    Security,
    Good,
    Quote,
    Reaction,
    Key,
    Found,
    Title,
}

/// Words that look alike.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Piece {
    pub(crate) text: SafeText,
    pub(crate) tone: Tone,
}

/// One row of cells.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Row {
    pub(crate) pieces: Vec<Piece>,
    /// The row of the message's picture that stands here, behind the pieces.
    pub(crate) picture: Option<u16>,
}

/// Cells before what goes on below a first piece that is too wide to stand below its second.
const HANG_CELLS: usize = 2;
/// Cells of one line at most: longer than any terminal is wide.
const LINE_CELLS_MAX: usize = 2_000;

/// Words as a piece.
pub(crate) fn piece(tone: Tone, text: impl AsRef<str>) -> Piece {
    Piece {
        text: SafeText::line(text.as_ref(), LINE_CELLS_MAX),
        tone,
    }
}

impl Row {
    /// A row of one piece.
    pub(crate) fn of(tone: Tone, text: impl AsRef<str>) -> Self {
        Self::from(piece(tone, text))
    }

    /// The same row with one more piece.
    pub(crate) fn with(mut self, tone: Tone, text: impl AsRef<str>) -> Self {
        self.pieces.push(piece(tone, text));
        self
    }

    /// Cells of all its pieces.
    pub(crate) fn cells(&self) -> usize {
        self.pieces.iter().map(|piece| piece.text.cells()).sum()
    }

    /// The same in rows of so many cells: what follows the first stands below its second piece
    /// where that leaves room, so that columns stay columns. Nothing is cut.
    pub(crate) fn wrapped(&self, width: usize) -> Vec<Self> {
        let width = width.max(2);
        if self.cells() <= width {
            return vec![self.clone()];
        }
        let hang = match self.pieces.as_slice() {
            [first, _, ..] if first.text.cells() <= width / 2 => first.text.cells(),
            [_, _, ..] => HANG_CELLS.min(width / 2),
            _ => 0,
        };
        let mut filling = Filling {
            rows: Vec::new(),
            row: Self::default(),
            cells: 0,
            width,
            hang,
        };
        for piece in &self.pieces {
            for word in piece.text.as_str().split_inclusive(' ') {
                filling.word(piece.tone, word);
            }
        }
        filling.rows.push(filling.row);
        filling.rows
    }

    /// The words alone.
    #[cfg(test)]
    pub(crate) fn words(&self) -> String {
        self.pieces
            .iter()
            .map(|piece| piece.text.as_str())
            .collect()
    }
}

/// A row that is being filled.
struct Filling {
    rows: Vec<Row>,
    row: Row,
    cells: usize,
    width: usize,
    hang: usize,
}

impl Filling {
    /// Takes a word and the blank after it.
    fn word(&mut self, tone: Tone, word: &str) {
        let bare = SafeText::line(word.trim_end_matches(' '), usize::MAX).cells();
        let begun = self.cells > self.hang || self.rows.is_empty() && self.cells > 0;
        if self.cells + bare > self.width && begun {
            self.break_row();
        }
        if bare == 0
            && (self.cells >= self.width || !self.rows.is_empty() && self.cells <= self.hang)
        {
            // Blanks that only filled a column.
            return;
        }
        if self.cells + bare <= self.width {
            self.put(tone, word);
            return;
        }
        for grapheme in word.graphemes(true) {
            if self.cells + SafeText::line(grapheme, usize::MAX).cells() > self.width {
                self.break_row();
            }
            self.put(tone, grapheme);
        }
    }

    fn put(&mut self, tone: Tone, text: &str) {
        let text = piece(tone, text);
        self.cells += text.text.cells();
        self.row.pieces.push(text);
    }

    fn break_row(&mut self) {
        self.rows.push(std::mem::take(&mut self.row));
        self.cells = 0;
        if self.hang > 0 {
            self.put(Tone::Dim, &" ".repeat(self.hang));
        }
    }
}

impl From<Piece> for Row {
    fn from(piece: Piece) -> Self {
        Self {
            pieces: vec![piece],
            picture: None,
        }
    }
}

/// Words filled up to, or cut to, some cells.
pub(crate) fn padded(text: &str, cells: usize) -> String {
    let cut = SafeText::line(text, cells);
    let missing = cells.saturating_sub(cut.cells());
    format!("{cut}{}", " ".repeat(missing))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_broken_between_words_and_nothing_is_lost() {
        let row = Row::of(Tone::Key, format!("{:8}", "Ctrl-K")).with(
            Tone::Text,
            "go to a conversation by averyveryverylongword of it",
        );
        for width in 2..70 {
            let rows = row.wrapped(width);
            let squeezed = |text: String| text.replace(' ', "");
            let all: String = rows.iter().map(Row::words).collect();
            assert_eq!(squeezed(all), squeezed(row.words()), "{width}");
            // A blank at the end may stand beyond the edge, where nothing is drawn.
            for row in &rows {
                let words = row.words();
                assert!(
                    words.trim_end().chars().count() <= width,
                    "{width}: {words}"
                );
            }
        }
        let rows: Vec<String> = row.wrapped(30).iter().map(Row::words).collect();
        assert!(rows[0].starts_with("Ctrl-K  go to a"), "{rows:?}");
        assert!(rows[1].starts_with("        "), "{rows:?}");
        assert_eq!(row.wrapped(100), vec![row.clone()]);
    }
}
