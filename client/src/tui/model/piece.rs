//! What the model gives to be drawn: safe words, each with what it is for. No colours, which are
//! the theme's, and no places, which are the view's.

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

    /// The words alone.
    #[cfg(test)]
    pub(crate) fn words(&self) -> String {
        self.pieces
            .iter()
            .map(|piece| piece.text.as_str())
            .collect()
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
