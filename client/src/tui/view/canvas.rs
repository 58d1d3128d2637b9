//! The only way onto the screen: cells of a buffer, filled from safe text and our own pictures.
//!
//! It refuses other strings by its types, and any place outside of the area that it was given.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::Span;

use super::Placed;
use crate::safe_text::SafeText;
use crate::tui::model::piece::{Piece, Row, Tone};
use crate::tui::theme::Theme;

/// A buffer that is drawn on, and how things look.
pub(crate) struct Canvas<'a> {
    buffer: &'a mut Buffer,
    pub(crate) theme: &'a Theme,
}

impl<'a> Canvas<'a> {
    /// A canvas over a buffer.
    pub(crate) fn new(buffer: &'a mut Buffer, theme: &'a Theme) -> Self {
        Self { buffer, theme }
    }

    /// How a tone looks.
    pub(crate) fn style(&self, tone: Tone) -> Style {
        let theme = self.theme;
        match tone {
            Tone::Text => theme.text,
            Tone::Dim => theme.dim,
            Tone::Own => theme.own,
            Tone::Other => theme.other,
            Tone::Unread => theme.unread,
            Tone::Mention => theme.mention,
            Tone::Request => theme.request,
            Tone::Link => theme.link,
            Tone::Warning => theme.warning,
            Tone::Security => theme.security,
            Tone::Good => theme.good,
            Tone::Quote => theme.quote,
            Tone::Reaction => theme.reaction,
            Tone::Key => theme.key,
            Tone::Found => theme.found,
            Tone::Title => theme.title,
        }
    }

    /// One row of words from the left of an area; what has no room is cut.
    pub(crate) fn row(&mut self, area: Rect, line: u16, row: &Row) {
        let mut x = area.x;
        for piece in &row.pieces {
            x = self.piece(area, x, line, piece);
        }
    }

    /// Words at a cell of an area; the cell after them.
    fn piece(&mut self, area: Rect, x: u16, line: u16, piece: &Piece) -> u16 {
        let style = self.style(piece.tone);
        self.text(area, (x, line), &piece.text, style)
    }

    /// Safe text at a cell of an area (`x` of the screen, `line` of the area); the cell after it.
    pub(crate) fn text(
        &mut self,
        area: Rect,
        (x, line): (u16, u16),
        text: &SafeText,
        style: Style,
    ) -> u16 {
        let area = area.intersection(*self.buffer.area());
        if line >= area.height || x >= area.right() || x < area.x {
            return x;
        }
        let span = Span::raw(text.as_str());
        let room = area.right() - x;
        let y = area.y + line;
        let (end, _) = self
            .buffer
            .set_stringn(x, y, &span.content, usize::from(room), style);
        end
    }

    /// A picture; one that has no room is left out.
    pub(crate) fn picture(&mut self, placed: &Placed) {
        let rows = placed.rows.clone();
        // Nobody misses what stands in words above.
        let _ = placed.picture.draw(rows, placed.area, self.buffer);
    }

    /// A style over a whole area.
    pub(crate) fn paint(&mut self, area: Rect, style: Style) {
        self.buffer
            .set_style(area.intersection(*self.buffer.area()), style);
    }

    /// An area without anything in it.
    pub(crate) fn clear(&mut self, area: Rect) {
        let area = area.intersection(*self.buffer.area());
        for y in area.top()..area.bottom() {
            for x in area.left()..area.right() {
                if let Some(cell) = self.buffer.cell_mut((x, y)) {
                    cell.reset();
                }
            }
        }
    }

    /// A line from top to bottom at the left edge of an area.
    pub(crate) fn rule(&mut self, area: Rect, style: Style) {
        let bar = SafeText::line("│", 1);
        for line in 0..area.height {
            self.text(area, (area.x, line), &bar, style);
        }
    }
}
