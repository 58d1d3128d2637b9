//! Pictures between messages: decoded by the preview worker, put into the form that the terminal
//! shows, and drawn into cells.
//!
//! It refuses everything but pixels of our own decoder (attacks H16, H23): no byte of what
//! somebody sent reaches the terminal. It asks the terminal nothing and changes none of its
//! settings; whether a picture may be shown at all is the caller's question.

use std::num::NonZeroU16;

use ratatui::buffer::{Buffer, Cell, CellDiffOption};
use ratatui::layout::{Rect, Size};
use ratatui::style::Color;

use crate::attachment::picture::{Drawing, Images, Protocol, kitty_virtual};
use crate::attachment::preview::{self, Pixels};

/// The most cells of a picture between messages.
pub(crate) const COLUMNS_MAX: u16 = 48;
/// As [`COLUMNS_MAX`].
pub(crate) const ROWS_MAX: u16 = 14;
/// Pixels of a cell where the terminal does not tell.
const CELL: (u16, u16) = (8, 16);
/// What kitty shows a part of a picture for.
const PLACE_HOLDER: char = '\u{10eeee}';
/// kitty's marks for the numbers from 0, as many as a picture has columns.
const NUMBERS: [char; COLUMNS_MAX as usize] = [
    '\u{305}', '\u{30d}', '\u{30e}', '\u{310}', '\u{312}', '\u{33d}', '\u{33e}', '\u{33f}',
    '\u{346}', '\u{34a}', '\u{34b}', '\u{34c}', '\u{350}', '\u{351}', '\u{352}', '\u{357}',
    '\u{35b}', '\u{363}', '\u{364}', '\u{365}', '\u{366}', '\u{367}', '\u{368}', '\u{369}',
    '\u{36a}', '\u{36b}', '\u{36c}', '\u{36d}', '\u{36e}', '\u{36f}', '\u{483}', '\u{484}',
    '\u{485}', '\u{486}', '\u{487}', '\u{592}', '\u{593}', '\u{594}', '\u{595}', '\u{597}',
    '\u{598}', '\u{599}', '\u{59c}', '\u{59d}', '\u{59e}', '\u{59f}', '\u{5a0}', '\u{5a1}',
];

/// How pictures are drawn on this terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Pictures {
    protocol: Option<Protocol>,
    /// Pixels of a cell.
    cell: (u16, u16),
}

/// A picture in the form that the terminal shows.
#[derive(Clone)]
pub(crate) struct Picture {
    form: Form,
    size: Size,
}

#[derive(Clone)]
enum Form {
    /// Two pixels in a cell.
    Blocks(Pixels),
    /// kitty has it under this id.
    Kitty { id: u32, given: String },
    /// A sequence that draws it at the cursor.
    Sequence(String),
}

/// Whether a picture was drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Drawn {
    /// It was.
    Whole,
    /// It would be cut, which not every terminal can: say in words that it is there.
    NoRoom,
}

impl Pictures {
    /// By what the person chose and what the terminal says of itself in its variables;
    /// `cell` is what [`cell_pixels`] says.
    pub(crate) fn new(
        chosen: Images,
        variable: impl Fn(&str) -> Option<String>,
        cell: Option<(u16, u16)>,
    ) -> Self {
        let protocol = chosen.protocol(variable);
        Self {
            protocol,
            cell: match protocol {
                Some(Protocol::Blocks) => (1, 2),
                _ => cell.unwrap_or(CELL),
            },
        }
    }

    /// Whether there are pictures at all.
    pub(crate) const fn are_shown(&self) -> bool {
        self.protocol.is_some()
    }

    /// An image, as small as fits; `None` where there can be none. Takes up to some seconds,
    /// without using this thread for it.
    pub(crate) async fn draw(&self, image: &[u8], (columns, rows): (u16, u16)) -> Option<Picture> {
        let protocol = self.protocol?;
        let (columns, rows) = (columns.clamp(1, COLUMNS_MAX), rows.clamp(1, ROWS_MAX));
        let cell = self.cell;
        let width = u32::from(columns) * u32::from(cell.0);
        let height = u32::from(rows) * u32::from(cell.1);
        let pixels = preview::pixels(image, width, height).await?;
        let id = rand::random::<u32>();
        let encoding =
            tokio::task::spawn_blocking(move || Picture::of(&pixels, protocol, cell, id));
        encoding.await.ok().flatten()
    }
}

/// Pixels of a cell, as the terminal driver has them; nothing is asked of the terminal.
pub(crate) fn cell_pixels() -> Option<(u16, u16)> {
    let size = rustix::termios::tcgetwinsize(rustix::stdio::stdin()).ok()?;
    let width = size.ws_xpixel.checked_div(size.ws_col)?;
    let height = size.ws_ypixel.checked_div(size.ws_row)?;
    ((2..=64).contains(&width) && (4..=128).contains(&height)).then_some((width, height))
}

impl Picture {
    fn of(pixels: &Pixels, protocol: Protocol, cell: (u16, u16), id: u32) -> Option<Self> {
        let cells = |pixels: u32, cell: u16| u16::try_from(pixels.div_ceil(u32::from(cell))).ok();
        let (columns, rows) = (
            cells(pixels.width(), cell.0)?,
            cells(pixels.height(), cell.1)?,
        );
        if columns > COLUMNS_MAX || rows > ROWS_MAX {
            return None;
        }
        let form = match protocol {
            Protocol::Blocks => Form::Blocks(pixels.clone()),
            Protocol::Kitty => {
                // The number is a colour of the cells: 24 bits, and 0 is none.
                let id = (id & 0x00ff_ffff).max(1);
                let given = kitty_virtual(pixels, id, (columns, rows));
                Form::Kitty { id, given }
            }
            Protocol::Iterm2 | Protocol::Sixel => {
                let drawing = Drawing::of(pixels, protocol);
                Form::Sequence(drawing.as_str().trim_end_matches('\n').to_owned())
            }
        };
        Some(Self {
            form,
            size: Size::new(columns, rows),
        })
    }

    /// Cells that it takes.
    pub(crate) const fn size(&self) -> Size {
        self.size
    }

    /// What the terminal is given once, before the picture is drawn for the first time; made here
    /// of pixels alone.
    pub(crate) fn given(&self) -> Option<&str> {
        match &self.form {
            Form::Kitty { given, .. } => Some(given),
            Form::Blocks(_) | Form::Sequence(_) => None,
        }
    }

    /// Whether what it covered shows until the screen is cleared: such a picture is best drawn
    /// anew after the messages moved.
    pub(crate) const fn leaves_traces(&self) -> bool {
        matches!(self.form, Form::Sequence(_))
    }

    /// Draws it at the upper left of an area.
    pub(crate) fn draw(&self, area: Rect, buffer: &mut Buffer) -> Drawn {
        let area = area.intersection(buffer.area);
        if area.width < self.size.width || area.height < self.size.height {
            return Drawn::NoRoom;
        }
        for row in 0..self.size.height {
            for column in 0..self.size.width {
                if let Some(cell) = buffer.cell_mut((area.x + column, area.y + row)) {
                    self.draw_cell((column, row), cell);
                }
            }
        }
        Drawn::Whole
    }

    fn draw_cell(&self, (column, row): (u16, u16), cell: &mut Cell) {
        cell.reset();
        match &self.form {
            Form::Blocks(pixels) => {
                let (x, y) = (u32::from(column), u32::from(row) * 2);
                let colour = |[r, g, b]: [u8; 3]| Color::Rgb(r, g, b);
                cell.set_symbol("\u{2580}").set_fg(colour(pixels.at(x, y)));
                if y + 1 < pixels.height() {
                    cell.set_bg(colour(pixels.at(x, y + 1)));
                }
            }
            Form::Kitty { id, .. } => {
                let number = |n: u16| NUMBERS.get(usize::from(n)).copied().unwrap_or(NUMBERS[0]);
                let symbol: String = [PLACE_HOLDER, number(row), number(column)].iter().collect();
                let [_, r, g, b] = id.to_be_bytes();
                cell.set_symbol(&symbol).set_fg(Color::Rgb(r, g, b));
                cell.set_diff_option(CellDiffOption::ForcedWidth(NonZeroU16::MIN));
            }
            Form::Sequence(sequence) if (column, row) == (0, 0) => {
                cell.set_symbol(sequence);
                cell.set_diff_option(CellDiffOption::ForcedWidth(NonZeroU16::MIN));
            }
            Form::Sequence(_) => {
                cell.set_diff_option(CellDiffOption::Skip);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pixels(width: u32, height: u32) -> Pixels {
        let rgb = (0..width * height)
            .flat_map(|n| [(n % 251) as u8, 7, 200])
            .collect();
        Pixels::new(width, height, rgb).unwrap()
    }

    fn drawn(
        protocol: Protocol,
        cell: (u16, u16),
        (width, height): (u32, u32),
    ) -> (Picture, Buffer) {
        let picture = Picture::of(&pixels(width, height), protocol, cell, 0xff12_3456).unwrap();
        let mut buffer = Buffer::empty(Rect::new(0, 0, 60, 20));
        let area = buffer.area;
        assert_eq!(picture.draw(area, &mut buffer), Drawn::Whole);
        (picture, buffer)
    }

    /// What a terminal would be given for a buffer, cell by cell.
    fn sent(buffer: &Buffer) -> Vec<(u16, u16, String)> {
        let empty = Buffer::empty(buffer.area);
        let changed = empty.diff(buffer).into_iter();
        changed
            .map(|(x, y, cell)| (x, y, cell.symbol().to_owned()))
            .collect()
    }

    #[test]
    fn half_blocks_take_a_cell_for_two_pixels() {
        let (picture, buffer) = drawn(Protocol::Blocks, (1, 2), (30, 15));
        assert_eq!(picture.size(), Size::new(30, 8));
        assert_eq!(sent(&buffer).len(), 30 * 8);
        let cell = buffer.cell((4, 1)).unwrap();
        assert_eq!(cell.symbol(), "\u{2580}");
        // The pixel of the third row and fifth column.
        assert_eq!(cell.fg, Color::Rgb(64, 7, 200));
        assert_eq!(picture.given(), None);
    }

    #[test]
    fn kitty_is_given_the_pixels_once_and_then_place_holders() {
        let (picture, buffer) = drawn(Protocol::Kitty, (8, 16), (100, 60));
        assert_eq!(picture.size(), Size::new(13, 4));
        let given = picture.given().unwrap();
        assert!(given.starts_with("\u{1b}_GU=1,i=1193046,c=13,r=4,a=T,f=24,s=100,v=60,q=2"));
        let sent = sent(&buffer);
        assert_eq!(sent.len(), 13 * 4);
        assert!(sent.contains(&(12, 3, "\u{10eeee}\u{310}\u{350}".to_owned())));
        assert!(
            sent.iter()
                .all(|(_, _, symbol)| symbol.starts_with(PLACE_HOLDER))
        );
        assert_eq!(
            buffer.cell((0, 0)).unwrap().fg,
            Color::Rgb(0x12, 0x34, 0x56)
        );
    }

    #[test]
    fn other_terminals_are_given_one_sequence_over_cells_that_are_left_alone() {
        for (protocol, begins) in [
            (Protocol::Sixel, "\u{1b}P0;1;0q"),
            (Protocol::Iterm2, "\u{1b}]1337;File=inline=1"),
        ] {
            let (picture, mut buffer) = drawn(protocol, (8, 16), (100, 60));
            buffer.set_string(20, 0, "beside", ratatui::style::Style::new());
            let sent = sent(&buffer);
            assert!(sent[0].2.starts_with(begins), "{protocol:?}");
            // Nothing else within the picture, and everything beside it.
            assert!(
                sent[1..].iter().all(|(x, y, _)| *x >= 13 || *y >= 4),
                "{sent:?}"
            );
            assert_eq!(sent.len(), 1 + "beside".len());
            assert!(picture.leaves_traces());
        }
    }

    #[test]
    fn a_picture_that_would_be_cut_is_not_drawn() {
        let picture = Picture::of(&pixels(100, 60), Protocol::Sixel, (8, 16), 1).unwrap();
        let mut buffer = Buffer::empty(Rect::new(0, 0, 12, 20));
        let before = buffer.clone();
        let area = buffer.area;
        assert_eq!(picture.draw(area, &mut buffer), Drawn::NoRoom);
        assert_eq!(
            picture.draw(Rect::new(50, 50, 90, 90), &mut buffer),
            Drawn::NoRoom
        );
        assert_eq!(buffer, before);
        assert!(Picture::of(&pixels(900, 60), Protocol::Kitty, (8, 16), 1).is_none());
    }

    #[test]
    fn nothing_is_drawn_where_nothing_is_wanted() {
        let set = |name: &str| (name == "TERM").then(|| "xterm-kitty".to_owned());
        assert!(!Pictures::new(Images::Off, set, None).are_shown());
        assert!(Pictures::new(Images::Auto, set, None).are_shown());
        let blocks = Pictures::new(Images::Blocks, set, Some((9, 18)));
        assert_eq!(blocks.cell, (1, 2));
    }
}
