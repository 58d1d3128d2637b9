//! Pictures between messages: decoded by the preview worker, put into the form that the terminal
//! shows, and drawn into cells.
//!
//! It refuses everything but pixels of our own decoder (attacks H16, H23): no byte of what
//! somebody sent reaches the terminal. It asks the terminal nothing and changes none of its
//! settings; whether a picture may be shown at all is the caller's question.

use std::num::NonZeroU16;
use std::ops::Range;

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
/// The steps of a colour in the cube of 256 colours.
const CUBE: [u8; 6] = [0, 95, 135, 175, 215, 255];
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
    depth: Depth,
    way: Way,
    /// Pixels of a cell.
    cell: (u16, u16),
}

/// Columns and rows of cells that a picture may take.
pub(crate) type Space = (u16, u16);

/// How many colours half blocks have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Depth {
    /// All.
    Full,
    /// The 256 that most terminals have.
    Cube,
}

/// What stands between here and the terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Direct,
    /// tmux, which passes on what is wrapped for it where its person lets it.
    Tmux,
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
    Blocks(Pixels, Depth),
    /// kitty has it under this id.
    Kitty { id: u32, given: String },
    /// A sequence that draws it at the cursor.
    Sequence(String),
}

/// Whether a picture was drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Drawn {
    /// It was.
    Yes,
    /// It would be cut, which not every terminal can.
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
        let term = variable("TERM").unwrap_or_default();
        let many = term.contains("256color");
        let colours = variable("COLORTERM").unwrap_or_default();
        let full = matches!(colours.as_str(), "truecolor" | "24bit") || term.ends_with("-direct");
        let between = variable("TMUX").is_some();
        let plain = variable("NO_COLOR").is_some();
        let protocol = match chosen.protocol(&variable) {
            // Fewer colours are better than none.
            None if chosen == Images::Auto && many && !plain => Some(Protocol::Blocks),
            protocol => protocol,
        };
        Self {
            protocol,
            depth: if many && !full {
                Depth::Cube
            } else {
                Depth::Full
            },
            way: match protocol {
                Some(Protocol::Kitty) if between => Way::Tmux,
                _ => Way::Direct,
            },
            cell: match protocol {
                Some(Protocol::Blocks) => (1, 2),
                _ => cell.unwrap_or(CELL),
            },
        }
    }

    /// As [`Self::new`], of this process and its terminal.
    pub(crate) fn of_environment(chosen: Images) -> Self {
        let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        Self::new(chosen, variable, cell_pixels())
    }

    /// Whether there are pictures at all.
    pub(crate) const fn are_shown(&self) -> bool {
        self.protocol.is_some()
    }

    /// An image, as small as fits; `None` where there can be none. Takes up to some seconds,
    /// without using this thread for it.
    pub(crate) async fn draw(self, image: &[u8], room: Space) -> Option<Picture> {
        let (width, height) = self.pixels(room);
        self.protocol?;
        let pixels = preview::pixels(image, width, height).await?;
        let id = rand::random::<u32>();
        let encoding = tokio::task::spawn_blocking(move || self.encode(&pixels, id));
        encoding.await.ok().flatten()
    }

    /// Pixels of some cells.
    pub(crate) fn pixels(&self, (columns, rows): Space) -> (u32, u32) {
        let (columns, rows) = (columns.clamp(1, COLUMNS_MAX), rows.clamp(1, ROWS_MAX));
        (
            u32::from(columns) * u32::from(self.cell.0),
            u32::from(rows) * u32::from(self.cell.1),
        )
    }

    /// Pixels in the form that the terminal shows; `id` names them where the terminal keeps them.
    pub(crate) fn encode(&self, pixels: &Pixels, id: u32) -> Option<Picture> {
        let cells = |pixels: u32, cell: u16| u16::try_from(pixels.div_ceil(u32::from(cell))).ok();
        let (columns, rows) = (
            cells(pixels.width(), self.cell.0)?,
            cells(pixels.height(), self.cell.1)?,
        );
        if columns > COLUMNS_MAX || rows > ROWS_MAX {
            return None;
        }
        let form = match self.protocol? {
            Protocol::Blocks => Form::Blocks(pixels.clone(), self.depth),
            Protocol::Kitty => {
                // The number is a colour of the cells: 24 bits, and 0 is none.
                let id = (id & 0x00ff_ffff).max(1);
                let given = kitty_virtual(pixels, id, (columns, rows));
                Form::Kitty {
                    id,
                    given: self.way.wrapped(given),
                }
            }
            protocol @ (Protocol::Iterm2 | Protocol::Sixel) => {
                let drawing = Drawing::of(pixels, protocol);
                let drawing = drawing.as_str().trim_end_matches('\n');
                // The cursor is put where one more character would have put it.
                Form::Sequence(format!("\u{1b}7{drawing}\u{1b}8\u{1b}[C"))
            }
        };
        Some(Picture {
            form,
            size: Size::new(columns, rows),
        })
    }

    /// What lets the terminal forget a picture that it keeps under an id.
    pub(crate) fn forget(&self, id: u32) -> String {
        self.way
            .wrapped(format!("\u{1b}_Ga=d,d=I,i={id},q=2\u{1b}\\"))
    }
}

impl Way {
    /// Sequences of kitty's protocol as this way lets them through.
    fn wrapped(self, sequences: String) -> String {
        if self == Self::Direct {
            return sequences;
        }
        let each = sequences.split_inclusive("\u{1b}\\");
        each.map(|one| {
            let doubled = one.replace('\u{1b}', "\u{1b}\u{1b}");
            format!("\u{1b}Ptmux;{doubled}\u{1b}\\")
        })
        .collect()
    }
}

impl Depth {
    fn colour(self, [r, g, b]: [u8; 3]) -> Color {
        match self {
            Self::Full => Color::Rgb(r, g, b),
            Self::Cube => Color::Indexed(nearest([r, g, b])),
        }
    }
}

/// The most alike of 240 colours: a cube of six steps, and 24 greys.
fn nearest(colour: [u8; 3]) -> u8 {
    let step = |c: u8| (0_u8..).zip(CUBE).min_by_key(|(_, step)| step.abs_diff(c));
    let steps = colour.map(|c| step(c).unwrap_or((0, 0)));
    let cube = steps.map(|(_, value)| value);
    let mean = colour.iter().map(|c| u16::from(*c)).sum::<u16>() / 3;
    let place = u8::try_from((mean.saturating_sub(3) / 10).min(23)).unwrap_or(23);
    let grey = 8 + place * 10;
    let apart = |other: [u8; 3]| -> u32 {
        let pairs = colour.iter().zip(other);
        pairs.map(|(a, b)| u32::from(a.abs_diff(b)).pow(2)).sum()
    };
    match apart([grey; 3]) < apart(cube) {
        true => 232 + place,
        false => steps.iter().fold(0, |sum, (step, _)| sum * 6 + step) + 16,
    }
}

/// Pixels of a cell, as the terminal driver has them; nothing is asked of the terminal.
pub(crate) fn cell_pixels() -> Option<(u16, u16)> {
    let size = rustix::termios::tcgetwinsize(rustix::stdio::stdin()).ok()?;
    let width = size.ws_xpixel.checked_div(size.ws_col)?;
    let height = size.ws_ypixel.checked_div(size.ws_row)?;
    ((2..=64).contains(&width) && (4..=128).contains(&height)).then_some((width, height))
}

impl std::fmt::Debug for Picture {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Picture")
            .field("size", &self.size)
            .finish_non_exhaustive()
    }
}

impl Picture {
    /// Cells that it takes.
    pub(crate) const fn size(&self) -> Size {
        self.size
    }

    /// What the terminal is given once, before the picture is drawn for the first time, and the
    /// id under which it keeps that; made here of pixels alone.
    pub(crate) fn given(&self) -> Option<(u32, &str)> {
        match &self.form {
            Form::Kitty { id, given } => Some((*id, given)),
            Form::Blocks(..) | Form::Sequence(_) => None,
        }
    }

    /// Whether it covers cells instead of filling them: it is drawn whole or not at all, and the
    /// screen is cleared after it moved.
    pub(crate) const fn covers(&self) -> bool {
        matches!(self.form, Form::Sequence(_))
    }

    /// Draws some of its rows at the upper left of an area.
    pub(crate) fn draw(&self, rows: Range<u16>, area: Rect, buffer: &mut Buffer) -> Drawn {
        let area = area.intersection(buffer.area);
        let count = rows.end.saturating_sub(rows.start);
        let cut = self.covers() && rows != (0..self.size.height);
        if cut || area.width < self.size.width || area.height < count {
            return Drawn::NoRoom;
        }
        for (line, row) in (0..).zip(rows) {
            for column in 0..self.size.width {
                if let Some(cell) = buffer.cell_mut((area.x + column, area.y + line)) {
                    self.draw_cell((column, row), cell);
                }
            }
        }
        Drawn::Yes
    }

    fn draw_cell(&self, (column, row): (u16, u16), cell: &mut Cell) {
        cell.reset();
        match &self.form {
            Form::Blocks(pixels, depth) => {
                let (x, y) = (u32::from(column), u32::from(row) * 2);
                cell.set_symbol("\u{2580}")
                    .set_fg(depth.colour(pixels.at(x, y)));
                if y + 1 < pixels.height() {
                    cell.set_bg(depth.colour(pixels.at(x, y + 1)));
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

    /// How pictures are drawn by a protocol on a terminal with these variables.
    fn pictures(chosen: Images, set: &[(&str, &str)]) -> Pictures {
        let variable = |name: &str| {
            let found = set.iter().find(|(key, _)| *key == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        Pictures::new(chosen, variable, None)
    }

    fn drawn(chosen: Images, (width, height): (u32, u32)) -> (Picture, Buffer) {
        let how = pictures(chosen, &[("COLORTERM", "truecolor")]);
        let picture = how.encode(&pixels(width, height), 0xff12_3456).unwrap();
        let mut buffer = Buffer::empty(Rect::new(0, 0, 60, 20));
        let (area, rows) = (buffer.area, 0..picture.size().height);
        assert_eq!(picture.draw(rows, area, &mut buffer), Drawn::Yes);
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
        let (picture, buffer) = drawn(Images::Blocks, (30, 15));
        assert_eq!(picture.size(), Size::new(30, 8));
        assert_eq!(sent(&buffer).len(), 30 * 8);
        let cell = buffer.cell((4, 1)).unwrap();
        assert_eq!(cell.symbol(), "\u{2580}");
        // The pixel of the third row and fifth column.
        assert_eq!(cell.fg, Color::Rgb(64, 7, 200));
        assert_eq!(picture.given(), None);
    }

    #[test]
    fn a_part_of_it_is_drawn_where_it_is_made_of_cells() {
        for chosen in [Images::Blocks, Images::Kitty] {
            let (picture, whole) = drawn(chosen, (30, 16));
            let last = picture.size().height;
            let mut buffer = Buffer::empty(Rect::new(0, 0, 60, 20));
            let area = Rect::new(0, 0, 60, 1);
            assert_eq!(picture.draw(last - 1..last, area, &mut buffer), Drawn::Yes);
            assert_eq!(buffer.cell((3, 0)), whole.cell((3, last - 1)));
            assert_eq!(buffer.cell((3, 1)), Some(&Cell::EMPTY));
        }
    }

    #[test]
    fn kitty_is_given_the_pixels_once_and_then_place_holders() {
        let (picture, buffer) = drawn(Images::Kitty, (100, 60));
        assert_eq!(picture.size(), Size::new(13, 4));
        let (id, given) = picture.given().unwrap();
        assert_eq!(id, 0x0012_3456);
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
    fn tmux_passes_on_to_kitty_what_is_wrapped_for_it() {
        let set = [("TERM", "tmux-256color"), ("TMUX", "/tmp/x,1,0")];
        let how = pictures(Images::Kitty, &set);
        let picture = how.encode(&pixels(40, 40), 7).unwrap();
        let (id, given) = picture.given().unwrap();
        let parts: Vec<&str> = given.split_inclusive("\u{1b}\u{1b}\\\u{1b}\\").collect();
        // 4,800 bytes of pixels are 6,400 characters: two parts.
        assert_eq!(parts.len(), 2);
        for part in parts {
            assert!(part.starts_with("\u{1b}Ptmux;\u{1b}\u{1b}_G"), "{part}");
        }
        let forgotten = "\u{1b}Ptmux;\u{1b}\u{1b}_Ga=d,d=I,i=7,q=2\u{1b}\u{1b}\\\u{1b}\\";
        assert_eq!(how.forget(id), forgotten);
        // Without being told, it gets what passes without help.
        assert_eq!(
            pictures(Images::Auto, &set).protocol,
            Some(Protocol::Blocks)
        );
    }

    #[test]
    fn other_terminals_are_given_one_sequence_over_cells_that_are_left_alone() {
        for (chosen, begins) in [
            (Images::Sixel, "\u{1b}7\u{1b}P0;1;0q"),
            (Images::Iterm2, "\u{1b}7\u{1b}]1337;File=inline=1"),
        ] {
            let (picture, mut buffer) = drawn(chosen, (100, 60));
            buffer.set_string(20, 0, "beside", ratatui::style::Style::new());
            let sent = sent(&buffer);
            assert!(sent[0].2.starts_with(begins), "{chosen:?}");
            // Nothing else within the picture, and everything beside it.
            assert!(
                sent[1..].iter().all(|(x, y, _)| *x >= 13 || *y >= 4),
                "{sent:?}"
            );
            assert_eq!(sent.len(), 1 + "beside".len());
            assert!(picture.covers());
        }
    }

    #[test]
    fn a_picture_that_would_be_cut_is_not_drawn() {
        let how = pictures(Images::Sixel, &[]);
        let picture = how.encode(&pixels(100, 60), 1).unwrap();
        let mut buffer = Buffer::empty(Rect::new(0, 0, 12, 20));
        let before = buffer.clone();
        let area = buffer.area;
        assert_eq!(picture.draw(0..4, area, &mut buffer), Drawn::NoRoom);
        let mut wide = Buffer::empty(Rect::new(0, 0, 30, 20));
        let area = wide.area;
        assert_eq!(picture.draw(1..4, area, &mut wide), Drawn::NoRoom);
        assert_eq!(
            picture.draw(0..4, Rect::new(50, 50, 90, 90), &mut buffer),
            Drawn::NoRoom
        );
        assert_eq!(buffer, before);
        assert!(how.encode(&pixels(900, 60), 1).is_none());
    }

    #[test]
    fn nothing_is_drawn_where_nothing_is_wanted() {
        let kitty = [("TERM", "xterm-kitty")];
        assert!(!pictures(Images::Off, &kitty).are_shown());
        assert!(pictures(Images::Auto, &kitty).are_shown());
        assert!(!pictures(Images::Auto, &[("TERM", "dumb")]).are_shown());
        assert!(!pictures(Images::Auto, &[("TERM", "linux")]).are_shown());
        let plain = [("TERM", "xterm-256color"), ("NO_COLOR", "1")];
        assert!(!pictures(Images::Auto, &plain).are_shown());
        assert_eq!(pictures(Images::Blocks, &kitty).pixels((10, 5)), (10, 10));
    }

    #[test]
    fn where_there_are_256_colours_those_are_used() {
        let how = pictures(Images::Auto, &[("TERM", "xterm-256color")]);
        let picture = how.encode(&pixels(4, 2), 1).unwrap();
        let mut buffer = Buffer::empty(Rect::new(0, 0, 4, 1));
        let area = buffer.area;
        assert_eq!(picture.draw(0..1, area, &mut buffer), Drawn::Yes);
        assert_eq!(buffer.cell((0, 0)).unwrap().fg, Color::Indexed(20));
        for (colour, place) in [
            ([0, 0, 0], 16),
            ([255, 255, 255], 231),
            ([255, 0, 0], 196),
            ([128, 128, 128], 244),
            ([9, 9, 9], 232),
            ([95, 135, 175], 67),
        ] {
            assert_eq!(nearest(colour), place, "{colour:?}");
        }
    }
}
