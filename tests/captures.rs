//! Captures of the full-screen client as it is: `sotto tui --demo` in a pseudo-terminal, at fixed
//! sizes, with keys as a person presses them.
//!
//! `cargo test --test captures -- --ignored` writes them into docs/captures, as text and as a
//! picture each. Every run of the tests drives the same scenes and looks whether they show what
//! they are for. Nothing is drawn here that a terminal was not given.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "helpers of tests, which clippy does not recognise as such"
)]

use std::fmt::Write as _;
use std::io::{Read, Write as _};
use std::num::NonZeroU16;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use portable_pty::{CommandBuilder, PtySize, native_pty_system};

/// The longest that a scene may take.
const DEADLINE: Duration = Duration::from_secs(60);

/// What is captured.
struct Scene {
    name: &'static str,
    /// Columns and rows.
    size: (u16, u16),
    /// Keys, and words that stand on the screen after them.
    steps: &'static [(&'static str, &'static str)],
}

const F1: &str = "\u{1b}OP";
const F5: &str = "\u{1b}[15~";
const CTRL_K: &str = "\u{b}";
const CTRL_UP: &str = "\u{1b}[1;5A";

const SCENES: &[Scene] = &[
    Scene {
        name: "conversation",
        size: (120, 30),
        steps: &[("", "thank you!"), ("I bring the can", "› I bring the can")],
    },
    Scene {
        name: "answer",
        size: (100, 24),
        steps: &[
            ("", "thank you!"),
            (CTRL_UP, "reply"),
            ("r", "answers carol"),
            ("both, and :droplet\t", "💧"),
        ],
    },
    Scene {
        name: "palette",
        size: (80, 24),
        steps: &[("", "thank you!"), (CTRL_K, "Go to"), ("no", "› no")],
    },
    Scene {
        name: "requests",
        size: (80, 24),
        steps: &[("", "thank you!"), (F5, "asks to talk")],
    },
    Scene {
        name: "search",
        size: (80, 24),
        steps: &[
            ("", "thank you!"),
            ("\u{1b}s", "Search everywhere"),
            ("sun", "who waters on Sunday?"),
        ],
    },
    Scene {
        name: "safety-number",
        size: (80, 24),
        steps: &[
            ("", "thank you!"),
            (CTRL_K, "Go to"),
            ("bob\r", "F1 shows"),
            ("\u{1b}v", "Nobody compared this number"),
        ],
    },
    Scene {
        name: "keys",
        size: (80, 40),
        steps: &[("", "thank you!"), (F1, "Keys that work here")],
    },
    Scene {
        name: "small",
        size: (50, 12),
        steps: &[("", "thank you!")],
    },
];

/// Drives a scene; what the terminal shows at its end.
fn capture(scene: &Scene) -> vt100::Parser {
    let (columns, rows) = scene.size;
    let size = PtySize {
        rows,
        cols: columns,
        pixel_width: 0,
        pixel_height: 0,
    };
    let home = tempfile::tempdir().unwrap();
    let mut command = CommandBuilder::new(env!("CARGO_BIN_EXE_sotto"));
    command.env_clear();
    command.env("HOME", home.path());
    command.env("TZ", "UTC");
    command.env("TERM", "xterm-256color");
    command.env("COLORTERM", "truecolor");
    command.args(["tui", "--demo"]);
    let pair = native_pty_system().openpty(size).unwrap();
    let mut child = pair.slave.spawn_command(command).unwrap();
    drop(pair.slave);
    let cells = |count| NonZeroU16::new(count).unwrap();
    let terminal = vt100::Parser::new(cells(rows), cells(columns), 0);
    let terminal = Arc::new(Mutex::new(terminal));
    let (filled, mut output) = (
        Arc::clone(&terminal),
        pair.master.try_clone_reader().unwrap(),
    );
    let reader = std::thread::spawn(move || {
        let mut buffer = [0; 8192];
        while let Ok(count @ 1..) = output.read(&mut buffer) {
            filled.lock().unwrap().process(&buffer[..count]);
        }
    });
    let mut keyboard = pair.master.take_writer().unwrap();
    for (keys, words) in scene.steps {
        keyboard.write_all(keys.as_bytes()).unwrap();
        let until = Instant::now() + DEADLINE;
        loop {
            let shown = terminal.lock().unwrap().screen().contents();
            if shown.contains(words) {
                break;
            }
            let late = Instant::now() > until;
            assert!(!late, "{}: no {words:?} in\n{shown}", scene.name);
            std::thread::park_timeout(Duration::from_millis(10));
        }
    }
    // What stands there now, before the screen is given back.
    let shown = terminal.lock().unwrap().screen().state_formatted();
    let mut last = vt100::Parser::new(cells(rows), cells(columns), 0);
    last.process(shown.as_bytes());
    child.kill().unwrap();
    child.wait().unwrap();
    drop((keyboard, pair.master));
    reader.join().unwrap();
    last
}

#[test]
fn every_scene_shows_what_it_is_for() {
    for scene in SCENES {
        let terminal = capture(scene);
        let (_, words) = scene.steps.last().unwrap();
        assert!(terminal.screen().contents().contains(words));
        let picture = svg::picture(terminal.screen());
        assert!(picture.len() > 2_000, "{}", scene.name);
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/captures");
        for end in ["txt", "svg"] {
            let file = folder.join(format!("{}.{end}", scene.name));
            assert!(file.is_file(), "{}: write it again", file.display());
        }
    }
}

#[test]
#[ignore = "writes docs/captures"]
fn write_captures() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/captures");
    std::fs::create_dir_all(&folder).unwrap();
    for scene in SCENES {
        let terminal = capture(scene);
        let mut text = String::new();
        for row in terminal.screen().rows(0, scene.size.0) {
            let _ = writeln!(text, "{}", row.trim_end());
        }
        std::fs::write(folder.join(format!("{}.txt", scene.name)), text).unwrap();
        let picture = svg::picture(terminal.screen());
        std::fs::write(folder.join(format!("{}.svg", scene.name)), picture).unwrap();
    }
}

/// A terminal as a picture: cells of one size, words where they stand.
mod svg {
    use std::fmt::Write as _;

    /// Of a cell, in pixels.
    const WIDTH: u16 = 9;
    const HEIGHT: u16 = 19;
    const BACKGROUND: &str = "#16181d";
    const TEXT: &str = "#d6d9df";
    /// The sixteen colours that a terminal has names for.
    const NAMED: [&str; 16] = [
        "#16181d", "#e06c75", "#98c379", "#e5c07b", "#61afef", "#c678dd", "#56b6c2", "#d6d9df",
        "#5c6370", "#ff7b86", "#b5e890", "#ffd68a", "#7cc4ff", "#dd92f5", "#6fd3e0", "#ffffff",
    ];

    fn colour(colour: vt100::Color, default: &str) -> String {
        match colour {
            vt100::Color::Default => default.to_owned(),
            vt100::Color::Rgb(red, green, blue) => format!("#{red:02x}{green:02x}{blue:02x}"),
            vt100::Color::Idx(place @ 0..16) => NAMED[usize::from(place)].to_owned(),
            vt100::Color::Idx(place @ 16..232) => {
                let level = |step: u8| if step == 0 { 0 } else { 55 + step * 40 };
                let place = place - 16;
                let [red, green, blue] = [place / 36, place / 6 % 6, place % 6].map(level);
                format!("#{red:02x}{green:02x}{blue:02x}")
            }
            vt100::Color::Idx(place) => {
                let grey = 8 + (place - 232) * 10;
                format!("#{grey:02x}{grey:02x}{grey:02x}")
            }
        }
    }

    /// What a cell looks like: colour of the text, of what is behind, and how it is written.
    fn look(cell: &vt100::Cell) -> (String, String, String) {
        let (mut text, mut behind) = (
            colour(cell.fgcolor(), TEXT),
            colour(cell.bgcolor(), BACKGROUND),
        );
        if cell.inverse() {
            std::mem::swap(&mut text, &mut behind);
        }
        let mut written = String::new();
        for (holds, attribute) in [
            (cell.bold(), " font-weight=\"bold\""),
            (cell.italic(), " font-style=\"italic\""),
            (cell.underline(), " text-decoration=\"underline\""),
            (cell.dim(), " opacity=\"0.6\""),
        ] {
            if holds {
                written.push_str(attribute);
            }
        }
        (text, behind, written)
    }

    fn escaped(text: &str) -> String {
        text.replace('&', "&amp;")
            .replace('<', "&lt;")
            .replace('>', "&gt;")
    }

    /// The picture.
    pub(super) fn picture(screen: &vt100::Screen) -> String {
        let (rows, columns) = screen.size();
        let (rows, columns) = (rows.get(), columns.get());
        let (width, height) = (columns * WIDTH + 16, rows * HEIGHT + 16);
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" \
             viewBox=\"0 0 {width} {height}\">\n\
             <rect width=\"100%\" height=\"100%\" rx=\"6\" fill=\"{BACKGROUND}\"/>\n\
             <g font-family=\"ui-monospace, 'DejaVu Sans Mono', Menlo, Consolas, monospace\" \
             font-size=\"15\" xml:space=\"preserve\">\n"
        );
        for row in 0..rows {
            draw_row(screen, row, &mut svg);
        }
        svg.push_str("</g>\n</svg>\n");
        svg
    }

    fn draw_row(screen: &vt100::Screen, row: u16, svg: &mut String) {
        let columns = screen.size().1.get();
        let (mut behinds, mut words) = (String::new(), String::new());
        let mut column = 0;
        while column < columns {
            let first = screen.cell(row, column).unwrap();
            let (text, behind, written) = look(first);
            let start = column;
            let mut run = String::new();
            // Cells that look alike are one piece; what is not plain stands for itself, so that
            // whatever font is there every cell is in its place.
            while column < columns {
                let cell = screen.cell(row, column).unwrap();
                let plain = cell.contents().is_ascii();
                if look(cell) != (text.clone(), behind.clone(), written.clone())
                    || !plain && column > start
                {
                    break;
                }
                run.push_str(if cell.has_contents() {
                    cell.contents()
                } else {
                    " "
                });
                column += if cell.is_wide() { 2 } else { 1 };
                if !plain {
                    break;
                }
            }
            let (x, y) = (8 + start * WIDTH, 8 + row * HEIGHT);
            if behind != BACKGROUND {
                let width = (column - start) * WIDTH;
                let _ = writeln!(
                    behinds,
                    "<rect x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{HEIGHT}\" fill=\"{behind}\"/>"
                );
            }
            if !run.trim().is_empty() {
                let cells = (column - start) * WIDTH;
                let base = y + 14;
                let _ = writeln!(
                    words,
                    "<text x=\"{x}\" y=\"{base}\" textLength=\"{cells}\" lengthAdjust=\"spacingAndGlyphs\" fill=\"{text}\"{written}>{}</text>",
                    escaped(&run)
                );
            }
        }
        svg.push_str(&behinds);
        svg.push_str(&words);
    }
}
