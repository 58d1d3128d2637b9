//! Letters whose cells terminals count otherwise than this program: flags, emoji of several parts
//! or of a newer standard than the terminal's, letters of private use.
//!
//! Where one stands, the terminal's cursor and what follows in the row may be elsewhere than
//! thought. So a row that has or had one is written whole when it changes, each such letter on
//! cells that were blanked before, and what follows it begins with a place of its own. It refuses
//! to guess which terminal counts how.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io;

use ratatui::backend::{Backend, ClearType, WindowSize};
use ratatui::buffer::{Buffer, Cell, CellDiffOption};
use ratatui::layout::{Position, Size};
use unicode_width::UnicodeWidthStr as _;

/// Letters that every terminal gives the same cells: alphabets, signs and frames, the
/// ideographs, kana and hangul of the first plane.
const SURE: [(char, char); 8] = [
    ('\u{20}', '\u{2ff}'),
    ('\u{370}', '\u{482}'),
    ('\u{48a}', '\u{58f}'),
    ('\u{2010}', '\u{2027}'),
    ('\u{2190}', '\u{23ff}'),
    ('\u{2500}', '\u{2bff}'),
    ('\u{3041}', '\u{9fff}'),
    ('\u{ac00}', '\u{d7a3}'),
];

/// Whether terminals may count the cells of what stands in a cell otherwise.
pub(super) fn is_unsure(symbol: &str) -> bool {
    if symbol.len() == 1 {
        return false;
    }
    let mut letters = symbol.chars();
    match (letters.next(), letters.next()) {
        (Some(letter), None) => !SURE
            .iter()
            .any(|(first, last)| (*first..=*last).contains(&letter)),
        (None, _) => false,
        (Some(_), Some(_)) => true,
    }
}

/// Rows of the last frame that had such letters, each with what it held.
#[derive(Debug, Default)]
pub(super) struct Rows {
    held: Vec<Option<u64>>,
}

impl Rows {
    /// Nothing stands on the screen any more.
    pub(super) fn forget(&mut self) {
        self.held.clear();
    }

    /// Marks what must be written anew in a frame that is ready.
    pub(super) fn mark(&mut self, frame: &mut Buffer) {
        let width = usize::from(frame.area.width).max(1);
        let rows = frame.content.chunks(width).map(held);
        let rows: Vec<Option<u64>> = rows.collect();
        for (place, row) in frame.content.chunks_mut(width).enumerate() {
            let before = self.held.get(place).copied().flatten();
            let now = rows.get(place).copied().flatten();
            if before != now {
                rewrite(row);
            }
        }
        self.held = rows;
    }
}

/// What a row with such letters holds.
fn held(row: &[Cell]) -> Option<u64> {
    if !row.iter().any(|cell| is_unsure(cell.symbol())) {
        return None;
    }
    let mut hasher = DefaultHasher::new();
    for cell in row {
        cell.hash(&mut hasher);
    }
    Some(hasher.finish())
}

fn rewrite(row: &mut [Cell]) {
    let mut covered = 0;
    for cell in row {
        if covered > 0 {
            covered -= 1;
            continue;
        }
        covered = cell.symbol().width().saturating_sub(1);
        if cell.diff_option == CellDiffOption::None {
            cell.set_diff_option(CellDiffOption::AlwaysUpdate);
        }
    }
}

/// A backend that trusts no terminal with such letters.
pub(super) struct Careful<B>(pub(super) B);

impl<B: Backend<Error = io::Error>> Backend for Careful<B> {
    type Error = io::Error;

    fn draw<'a, I>(&mut self, content: I) -> io::Result<()>
    where
        I: Iterator<Item = (u16, u16, &'a Cell)>,
    {
        let mut run: Vec<(u16, u16, &Cell)> = Vec::new();
        // The row and the cells of the last such letter.
        let mut covered = None;
        for (x, y, cell) in content {
            // Written now, they would take its second half off.
            if covered.is_some_and(|(row, end)| row == y && x < end) && cell.symbol() == " " {
                continue;
            }
            covered = None;
            if !is_unsure(cell.symbol()) {
                run.push((x, y, cell));
                continue;
            }
            self.0.draw(run.drain(..))?;
            let width = u16::try_from(cell.symbol().width()).unwrap_or(1).max(1);
            let end = x.saturating_add(width);
            covered = Some((y, end));
            let mut blank = cell.clone();
            blank.set_symbol(" ");
            self.0.draw((x..end).map(|x| (x, y, &blank)))?;
            self.0.draw(std::iter::once((x, y, cell)))?;
        }
        self.0.draw(run.into_iter())
    }

    fn hide_cursor(&mut self) -> io::Result<()> {
        self.0.hide_cursor()
    }

    fn show_cursor(&mut self) -> io::Result<()> {
        self.0.show_cursor()
    }

    fn get_cursor_position(&mut self) -> io::Result<Position> {
        self.0.get_cursor_position()
    }

    fn set_cursor_position<P: Into<Position>>(&mut self, position: P) -> io::Result<()> {
        self.0.set_cursor_position(position)
    }

    fn clear(&mut self) -> io::Result<()> {
        self.0.clear()
    }

    fn clear_region(&mut self, clear_type: ClearType) -> io::Result<()> {
        self.0.clear_region(clear_type)
    }

    fn size(&self) -> io::Result<Size> {
        self.0.size()
    }

    fn window_size(&mut self) -> io::Result<WindowSize> {
        self.0.window_size()
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

#[cfg(test)]
mod tests {
    use ratatui::backend::CrosstermBackend;
    use ratatui::layout::Rect;
    use ratatui::style::Style;
    use ratatui::{Terminal, TerminalOptions, Viewport};

    use super::*;

    #[test]
    fn only_what_every_terminal_counts_the_same_is_trusted() {
        for sure in ["a", " ", "ä", "│", "日", "한", "✓", "…", "ж"] {
            assert!(!is_unsure(sure), "{sure}");
        }
        for unsure in ["🇩🇪", "👍🏽", "👩‍🌾", "❤\u{fe0f}", "🫲", "e\u{301}", "\u{e000}"]
        {
            assert!(is_unsure(unsure), "{unsure}");
        }
    }

    /// Where bytes go that are looked at while more are written.
    #[derive(Default)]
    struct Seen(std::rc::Rc<std::cell::RefCell<Vec<u8>>>);

    impl io::Write for Seen {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.borrow_mut().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// What a terminal of two rows is given for the last of some frames.
    fn frames(texts: &[&str]) -> String {
        let area = Rect::new(0, 0, 12, 2);
        let viewport = Viewport::Fixed(area);
        let bytes = Seen::default();
        let written = std::rc::Rc::clone(&bytes.0);
        let backend = Careful(CrosstermBackend::new(bytes));
        let mut terminal = Terminal::with_options(backend, TerminalOptions { viewport }).unwrap();
        let mut rows = Rows::default();
        for text in texts {
            written.borrow_mut().clear();
            let draw = |frame: &mut ratatui::Frame<'_>| {
                let buffer = frame.buffer_mut();
                buffer.set_string(0, 0, text, Style::default());
                buffer.set_string(0, 1, "below", Style::default());
                rows.mark(buffer);
            };
            terminal.draw(draw).unwrap();
        }
        String::from_utf8(written.borrow().clone()).unwrap()
    }

    #[test]
    fn a_row_that_had_one_is_written_whole_and_no_other() {
        let after = frames(&["ab 🇩🇪 cd", "ab xx cd"]);
        assert!(after.contains("ab xx cd    "), "{after:?}");
        assert!(!after.contains("below"), "{after:?}");
        let same = frames(&["ab 🇩🇪 cd"; 3]);
        assert!(!same.contains("ab"), "{same:?}");
        let plain = frames(&["ab xx cd", "ab xy cd"]);
        assert!(!plain.contains("ab"), "{plain:?}");
    }

    #[test]
    fn what_follows_one_has_a_place_of_its_own() {
        let bytes = frames(&["ab 🇩🇪 cd"]);
        let (before, after) = bytes.split_once("🇩🇪").unwrap();
        // Blank cells below it first.
        assert!(before.contains("\u{1b}[1;4H  "), "{before:?}");
        assert!(after.contains("\u{1b}[1;6H"), "{after:?}");
    }
}
