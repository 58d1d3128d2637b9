//! Draws pixels on terminals that can show them: by kitty's and iTerm2's protocols, as sixels,
//! or with half blocks. Draws nothing but [`Pixels`], which come from our own decoder: not one
//! byte of what somebody sent is passed on to a terminal.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use image::ImageEncoder as _;
use image::codecs::png::PngEncoder;

use super::preview::Pixels;

/// Base64 characters in one sequence of kitty's protocol.
const KITTY_CHUNK: usize = 4096;
/// Steps of each colour in sixels.
const SIXEL_STEPS: u32 = 6;

/// What a person chose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub(crate) enum Images {
    /// Where the terminal says that it can
    #[default]
    Auto,
    /// Never
    Off,
    /// Half blocks in colour, on any terminal
    Blocks,
    /// kitty's protocol
    Kitty,
    /// iTerm2's protocol
    Iterm2,
    /// Sixels
    Sixel,
}

/// How a terminal is drawn on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protocol {
    /// Half blocks.
    Blocks,
    /// kitty's.
    Kitty,
    /// iTerm2's.
    Iterm2,
    /// Sixels.
    Sixel,
}

impl Images {
    /// What to draw with, by what a terminal says of itself in its variables; `None` for nothing.
    pub(crate) fn protocol(self, variable: impl Fn(&str) -> Option<String>) -> Option<Protocol> {
        match self {
            Self::Off => None,
            Self::Blocks => Some(Protocol::Blocks),
            Self::Kitty => Some(Protocol::Kitty),
            Self::Iterm2 => Some(Protocol::Iterm2),
            Self::Sixel => Some(Protocol::Sixel),
            Self::Auto => detect(variable),
        }
    }
}

fn detect(variable: impl Fn(&str) -> Option<String>) -> Option<Protocol> {
    let value = |name: &str| variable(name).unwrap_or_default();
    let (term, program) = (value("TERM"), value("TERM_PROGRAM"));
    if term == "dumb" || term.is_empty() || variable("NO_COLOR").is_some() {
        return None;
    }
    let colours = matches!(value("COLORTERM").as_str(), "truecolor" | "24bit");
    // A multiplexer stands between: what the terminal behind it can is of no use.
    let between = variable("TMUX").is_some() || term.starts_with("screen");
    if between {
        return colours.then_some(Protocol::Blocks);
    }
    if term == "xterm-kitty" || term == "xterm-ghostty" || variable("KITTY_WINDOW_ID").is_some() {
        return Some(Protocol::Kitty);
    }
    if matches!(program.as_str(), "iTerm.app" | "WezTerm") {
        return Some(Protocol::Iterm2);
    }
    if term.starts_with("foot") || term.starts_with("mlterm") {
        return Some(Protocol::Sixel);
    }
    colours.then_some(Protocol::Blocks)
}

/// Pixels that fit on `columns` and `rows` of cells by a protocol.
pub(crate) fn room(protocol: Protocol, columns: u32, rows: u32) -> (u32, u32) {
    match protocol {
        Protocol::Blocks => (columns, rows * 2),
        // Cells are about 8 by 16 pixels or larger.
        Protocol::Kitty | Protocol::Iterm2 | Protocol::Sixel => (columns * 8, rows * 16),
    }
}

/// A drawing: sequences made here, of pixels alone, with a line break at the end.
pub(crate) struct Drawing(String);

impl Drawing {
    /// Draws.
    pub(crate) fn of(pixels: &Pixels, protocol: Protocol) -> Self {
        let mut drawn = match protocol {
            Protocol::Blocks => blocks(pixels),
            Protocol::Kitty => kitty(pixels),
            Protocol::Iterm2 => iterm2(pixels),
            Protocol::Sixel => sixel(pixels),
        };
        if !drawn.is_empty() && !drawn.ends_with('\n') {
            drawn.push('\n');
        }
        Self(drawn)
    }

    /// What the terminal is given.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

fn blocks(pixels: &Pixels) -> String {
    let mut out = String::new();
    for y in (0..pixels.height()).step_by(2) {
        for x in 0..pixels.width() {
            let [r, g, b] = pixels.at(x, y);
            out.push_str(&format!("\u{1b}[38;2;{r};{g};{b}m"));
            if y + 1 < pixels.height() {
                let [r, g, b] = pixels.at(x, y + 1);
                out.push_str(&format!("\u{1b}[48;2;{r};{g};{b}m"));
            }
            out.push('\u{2580}');
        }
        out.push_str("\u{1b}[0m\n");
    }
    out
}

fn kitty(pixels: &Pixels) -> String {
    kitty_as(pixels, "")
}

/// The sequence that gives kitty a picture under an id of at most 24 bits, to be shown wherever
/// its place holders stand, on so many columns and rows of cells; shows nothing by itself.
pub(crate) fn kitty_virtual(pixels: &Pixels, id: u32, (columns, rows): (u16, u16)) -> String {
    kitty_as(pixels, &format!("U=1,i={id},c={columns},r={rows},"))
}

fn kitty_as(pixels: &Pixels, how: &str) -> String {
    let data = STANDARD.encode(pixels.rgb());
    let mut out = String::with_capacity(data.len() + 256);
    let chunks = data.as_bytes().chunks(KITTY_CHUNK);
    let last = chunks.len().saturating_sub(1);
    for (place, chunk) in chunks.enumerate() {
        let more = u8::from(place < last);
        if place == 0 {
            let (width, height) = (pixels.width(), pixels.height());
            // q=2: the terminal answers nothing that could be taken for typing.
            out.push_str(&format!(
                "\u{1b}_G{how}a=T,f=24,s={width},v={height},q=2,m={more};"
            ));
        } else {
            out.push_str(&format!("\u{1b}_Gm={more};"));
        }
        out.push_str(std::str::from_utf8(chunk).unwrap_or_default());
        out.push_str("\u{1b}\\");
    }
    out
}

fn iterm2(pixels: &Pixels) -> String {
    let mut png = Vec::new();
    let (width, height) = (pixels.width(), pixels.height());
    let colour = image::ExtendedColorType::Rgb8;
    let written = PngEncoder::new(&mut png).write_image(pixels.rgb(), width, height, colour);
    if written.is_err() {
        return String::new();
    }
    let size = png.len();
    let data = STANDARD.encode(png);
    format!("\u{1b}]1337;File=inline=1;size={size};width={width}px;height={height}px:{data}\u{7}")
}

fn sixel(pixels: &Pixels) -> String {
    let (width, height) = (pixels.width(), pixels.height());
    let mut out = format!("\u{1b}P0;1;0q\"1;1;{width};{height}");
    let colours = SIXEL_STEPS.pow(3);
    let percent = |step: u32| step * 100 / (SIXEL_STEPS - 1);
    for colour in 0..colours {
        let (r, g, b) = (colour / 36, colour / 6 % 6, colour % 6);
        let (r, g, b) = (percent(r), percent(g), percent(b));
        out.push_str(&format!("#{colour};2;{r};{g};{b}"));
    }
    for top in (0..height).step_by(6) {
        let rows = 6.min(height - top);
        let band: Vec<Vec<u32>> = (0..rows)
            .map(|row| (0..width).map(|x| step_at(pixels, x, top + row)).collect())
            .collect();
        for colour in 0..colours {
            if band.iter().any(|row| row.contains(&colour)) {
                out.push_str(&format!("#{colour}"));
                sixel_row(&mut out, &band, colour);
                out.push('$');
            }
        }
        out.push('-');
    }
    out.push_str("\u{1b}\\");
    out
}

/// The colour of the cube that stands for a pixel, dithered.
fn step_at(pixels: &Pixels, x: u32, y: u32) -> u32 {
    const ORDER: [[u32; 4]; 4] = [[0, 8, 2, 10], [12, 4, 14, 6], [3, 11, 1, 9], [15, 7, 13, 5]];
    let threshold = ORDER
        .get(y as usize % 4)
        .and_then(|row| row.get(x as usize % 4))
        .copied()
        .unwrap_or(0);
    let step = |c: u8| (u32::from(c) * (SIXEL_STEPS - 1) * 16 + threshold * 255) / (255 * 16);
    let [r, g, b] = pixels.at(x, y).map(step);
    r * 36 + g * 6 + b
}

/// One colour's part of six rows, with repeats counted.
fn sixel_row(out: &mut String, band: &[Vec<u32>], colour: u32) {
    let width = band.first().map_or(0, Vec::len);
    let sixel = |x: usize| {
        let bits = band
            .iter()
            .enumerate()
            .map(|(row, colours)| u8::from(colours.get(x) == Some(&colour)) << row);
        char::from(63 + bits.sum::<u8>())
    };
    let mut x = 0;
    while x < width {
        let character = sixel(x);
        let repeats = (x..width).take_while(|x| sixel(*x) == character).count();
        if repeats > 3 {
            out.push_str(&format!("!{repeats}{character}"));
        } else {
            out.extend(std::iter::repeat_n(character, repeats));
        }
        x += repeats;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(width: u32, height: u32) -> Pixels {
        let rgb = (0..height)
            .flat_map(|y| (0..width).flat_map(move |x| [(x * 5) as u8, (y * 9) as u8, 200]))
            .collect();
        Pixels::new(width, height, rgb).unwrap()
    }

    #[test]
    fn terminals_are_known_by_their_variables() {
        let by = |set: &[(&str, &str)]| {
            let set: Vec<_> = set.to_vec();
            Images::Auto.protocol(move |name| {
                let found = set.iter().find(|(key, _)| *key == name);
                found.map(|(_, value)| (*value).to_owned())
            })
        };
        assert_eq!(by(&[]), None);
        assert_eq!(by(&[("TERM", "dumb"), ("COLORTERM", "truecolor")]), None);
        assert_eq!(by(&[("TERM", "xterm-kitty")]), Some(Protocol::Kitty));
        assert_eq!(by(&[("TERM", "foot")]), Some(Protocol::Sixel));
        let iterm = [("TERM", "xterm-256color"), ("TERM_PROGRAM", "iTerm.app")];
        assert_eq!(by(&iterm), Some(Protocol::Iterm2));
        let colours = [("TERM", "xterm-256color"), ("COLORTERM", "truecolor")];
        assert_eq!(by(&colours), Some(Protocol::Blocks));
        let between = [
            ("TERM", "xterm-kitty"),
            ("TMUX", "/x"),
            ("COLORTERM", "truecolor"),
        ];
        assert_eq!(by(&between), Some(Protocol::Blocks));
        assert_eq!(by(&[("TERM", "xterm")]), None);
        assert_eq!(
            Images::Off.protocol(|_| Some("xterm-kitty".to_owned())),
            None
        );
    }

    #[test]
    fn kitty_is_given_pixels_in_whole_chunks() {
        let pixels = sample(60, 40);
        let drawn = Drawing::of(&pixels, Protocol::Kitty);
        let mut data = String::new();
        let parts: Vec<_> = drawn.as_str().trim_end().split("\u{1b}\\").collect();
        for (place, part) in parts.iter().filter(|part| !part.is_empty()).enumerate() {
            let (head, chunk) = part
                .strip_prefix("\u{1b}_G")
                .unwrap()
                .split_once(';')
                .unwrap();
            assert!(chunk.len() <= KITTY_CHUNK);
            assert!(
                head.ends_with("m=1") != (data.len() + chunk.len() == 9600),
                "{head}"
            );
            assert_eq!(head.starts_with("a=T,f=24,s=60,v=40,q=2"), place == 0);
            data.push_str(chunk);
        }
        assert_eq!(STANDARD.decode(data).unwrap(), pixels.rgb());
    }

    #[test]
    fn iterm2_is_given_a_picture_of_the_same_pixels() {
        let pixels = sample(20, 10);
        let drawn = Drawing::of(&pixels, Protocol::Iterm2);
        let data = drawn
            .as_str()
            .trim_end()
            .trim_end_matches('\u{7}')
            .rsplit(':')
            .next()
            .unwrap();
        let png = STANDARD.decode(data).unwrap();
        let read = image::load_from_memory(&png).unwrap().into_rgb8();
        assert_eq!(read.as_raw(), pixels.rgb());
    }

    #[test]
    fn blocks_have_a_line_for_two_rows() {
        let drawn = Drawing::of(&sample(3, 5), Protocol::Blocks);
        assert_eq!(drawn.as_str().lines().count(), 3);
        assert_eq!(drawn.as_str().matches('\u{2580}').count(), 9);
        assert!(
            drawn
                .as_str()
                .lines()
                .all(|line| line.ends_with("\u{1b}[0m"))
        );
    }

    #[test]
    fn sixels_paint_every_pixel_once() {
        let pixels = sample(33, 20);
        let drawn = Drawing::of(&pixels, Protocol::Sixel);
        let text = drawn.as_str().trim_end();
        assert!(text.starts_with("\u{1b}P0;1;0q\"1;1;33;20") && text.ends_with("\u{1b}\\"));
        let bands: Vec<_> = text.split('-').collect();
        let mut painted = 0;
        for band in &bands[..bands.len() - 1] {
            for row in band.split('$').filter(|row| !row.is_empty()) {
                painted += count(row.rsplit_once('#').map_or(row, |(_, row)| row));
            }
        }
        assert_eq!(painted, 33 * 20);
    }

    /// Pixels that one colour paints.
    fn count(row: &str) -> u32 {
        let body = row.trim_start_matches(|c: char| c.is_ascii_digit());
        let (mut sum, mut repeats, mut counting) = (0, String::new(), false);
        for c in body.chars() {
            match c {
                '!' => counting = true,
                '0'..='9' if counting => repeats.push(c),
                c => {
                    let times: u32 = if counting {
                        repeats.parse().unwrap()
                    } else {
                        1
                    };
                    sum += times * (u32::from(c) - 63).count_ones();
                    repeats.clear();
                    counting = false;
                }
            }
        }
        sum
    }
}
