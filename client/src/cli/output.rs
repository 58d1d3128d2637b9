//! The only place that writes to stdout and stderr.
//!
//! For people: [`SafeText`] with the client's own colours, only on a terminal
//! and not under `NO_COLOR`. For programs (`--json`): one escaped object per
//! line on stdout. The sequences that this client ever sends to a terminal are
//! the ones in [`Style`], the bell, the bar of progress, drawings, which
//! `attachment::picture` makes of pixels alone, notifications, which `notice` makes, and, while a
//! line is edited, what moves its cursor and turns bracketed paste on and off.

use std::io::{self, IsTerminal, Write};
use std::os::fd::AsFd;

use rustyline::ExternalPrinter;
use serde_json::Value;

use crate::attachment::picture::Drawing;
use crate::daemon::Stream;
use crate::exit::{Exit, Failure};
use crate::notice::{Notice, Notify, Terminal};
use crate::safe_text::{SafeText, escape_json};

/// The shortest time between two bells, in milliseconds.
const BELL_EVERY_MS: u64 = 2_000;

/// Fields of a bar of progress.
const BAR_FIELDS: u64 = 24;
/// Cells of a file's name beside it.
const BAR_NAME_CELLS: usize = 32;

/// How a piece of a line looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Style {
    Plain,
    Faint,
    Own,
    Other,
    Warning,
    Good,
}

impl Style {
    const fn sequence(self) -> &'static str {
        match self {
            Self::Plain => "",
            Self::Faint => "\u{1b}[2m",
            Self::Own => "\u{1b}[36m",
            Self::Other => "\u{1b}[1;32m",
            Self::Warning => "\u{1b}[1;33m",
            Self::Good => "\u{1b}[32m",
        }
    }
}

/// A piece of a line with its look.
pub(crate) type Piece<'a> = (Style, &'a SafeText);

/// For whom the output is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Audience {
    People,
    Programs,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Colour {
    On,
    Off,
}

/// Takes words that go elsewhere than to this process' own streams: above a line that is being
/// edited, or to a program that a daemon serves.
pub(crate) type Sink = Box<dyn FnMut(Stream, String) -> io::Result<()> + Send>;

/// Hears how far something is: its name, bytes done and in all.
pub(crate) type ProgressSink = Box<dyn FnMut(&str, u64, u64) + Send>;

/// How words look that are shown elsewhere.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Look {
    /// Whether colours are wanted.
    pub(crate) coloured: bool,
    /// Cells of a line, on a terminal.
    pub(crate) width_cells: Option<usize>,
}

/// Ends bracketed paste, and the line that was being edited.
const LEAVE_EDITOR: &str = "\u{1b}[?2004l\n";

/// Writes what commands show.
pub(crate) struct Printer {
    /// Where both streams go, if not to this process' own.
    sink: Option<Sink>,
    /// The look of what is shown elsewhere.
    look: Option<Look>,
    audience: Audience,
    colour: Colour,
    error_colour: Colour,
    rung_at_ms: Option<u64>,
    bar: Bar,
    progress: Option<ProgressSink>,
}

/// Whether a bar of progress stands on the terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Bar {
    None,
    Drawn,
}

impl Printer {
    pub(crate) fn new(audience: Audience) -> Self {
        let wanted = audience == Audience::People
            && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
            && std::env::var_os("TERM").is_none_or(|term| term != "dumb");
        let colour = |terminal: bool| {
            if wanted && terminal {
                Colour::On
            } else {
                Colour::Off
            }
        };
        Self {
            sink: None,
            look: None,
            audience,
            colour: colour(io::stdout().is_terminal()),
            error_colour: colour(io::stderr().is_terminal()),
            rung_at_ms: None,
            bar: Bar::None,
            progress: None,
        }
    }

    /// A printer whose words go elsewhere.
    pub(crate) fn elsewhere(audience: Audience, look: Look, sink: Sink) -> Self {
        let colour = if look.coloured && audience == Audience::People {
            Colour::On
        } else {
            Colour::Off
        };
        Self {
            sink: Some(sink),
            look: Some(look),
            audience,
            colour,
            error_colour: colour,
            rung_at_ms: None,
            bar: Bar::None,
            progress: None,
        }
    }

    /// Whether lines have colours.
    pub(crate) fn is_coloured(&self) -> bool {
        self.colour == Colour::On
    }

    /// Shows words that a daemon made for this terminal.
    pub(crate) fn pass_on(&mut self, stream: Stream, text: &str) -> Result<(), Failure> {
        match stream {
            Stream::Out => self.show(text.to_owned()),
            Stream::Err => {
                self.remark(text.to_owned());
                Ok(())
            }
        }
    }

    /// Whether both ends are a terminal.
    pub(crate) fn is_terminal(&self) -> bool {
        io::stdin().is_terminal() && io::stdout().is_terminal()
    }

    /// From here on everything is shown above the line that is being edited.
    pub(crate) fn share_with_editor(&mut self, mut screen: impl ExternalPrinter + Send + 'static) {
        self.sink = Some(Box::new(move |_, text| {
            screen.print(text).map_err(io::Error::other)
        }));
    }

    /// The editor is done.
    pub(crate) fn end_editor(&mut self) {
        self.sink = None;
    }

    /// The editor is cut short in the middle of a line.
    pub(crate) fn take_back_from_editor(&mut self) {
        self.sink = None;
        // Whoever reads no more has no terminal to be put right.
        let _ = write_all(&mut io::stdout(), LEAVE_EDITOR);
    }

    fn show(&mut self, text: String) -> Result<(), Failure> {
        match &mut self.sink {
            Some(sink) => sink(Stream::Out, text).map_err(|error| output_failed(&error)),
            None => write_all(&mut io::stdout(), &text),
        }
    }

    /// On stderr, unless a line is being edited; where nobody can read it, that is no reason to stop.
    fn remark(&mut self, text: String) {
        match &mut self.sink {
            Some(sink) => drop(sink(Stream::Err, text)),
            None => drop(io::stderr().write_all(text.as_bytes())),
        }
    }

    pub(crate) fn audience(&self) -> Audience {
        self.audience
    }

    /// Cells of a line where stdout is a terminal.
    pub(crate) fn width_cells(&self) -> Option<usize> {
        if let Some(look) = self.look {
            return look.width_cells;
        }
        let stdout = io::stdout();
        if !stdout.is_terminal() {
            return None;
        }
        let size = rustix::termios::tcgetwinsize(stdout.as_fd()).ok()?;
        Some(usize::from(size.ws_col)).filter(|&cells| cells > 0)
    }

    /// One object for programs.
    pub(crate) fn json(&mut self, object: &Value) -> Result<(), Failure> {
        self.show(format!("{}\n", escape_json(&object.to_string())))
    }

    /// One line for people; nothing for programs.
    pub(crate) fn line(&mut self, pieces: &[Piece<'_>]) -> Result<(), Failure> {
        if self.audience == Audience::Programs {
            return Ok(());
        }
        self.show(render(pieces, self.colour))
    }

    /// A line of the client's own words for people.
    pub(crate) fn say(&mut self, text: &str) -> Result<(), Failure> {
        self.line(&[(Style::Plain, &own_words(text))])
    }

    /// A remark for people on stderr, so that it never mixes with results.
    pub(crate) fn note(&mut self, text: &str) {
        if self.audience == Audience::People {
            let line = render(&[(Style::Faint, &own_words(text))], self.error_colour);
            self.remark(line);
        }
    }

    /// Progress is told here too.
    pub(crate) fn hear_progress(&mut self, progress: ProgressSink) {
        self.progress = Some(progress);
    }

    /// How far something is: one line that stays in its place, for people at a terminal.
    pub(crate) fn progress(&mut self, name: &str, done: u64, total: u64) {
        if let Some(progress) = &mut self.progress {
            progress(name, done, total);
        }
        let elsewhere = self.look.is_some();
        if self.audience == Audience::Programs || elsewhere || !io::stderr().is_terminal() {
            return;
        }
        let done = done.min(total);
        let percent = (done * 100).checked_div(total).unwrap_or(100);
        let full = (done * BAR_FIELDS).checked_div(total).unwrap_or(BAR_FIELDS);
        let bar: String = (0..BAR_FIELDS)
            .map(|field| if field < full { '━' } else { '╌' })
            .collect();
        let name = SafeText::line(name, BAR_NAME_CELLS);
        let (done, total) = (mebibytes(done), mebibytes(total));
        let line = format!("\r\u{1b}[K{name} {bar} {percent:3}% {done} of {total}");
        // Nobody misses a bar that cannot be drawn.
        let _ = io::stderr().write_all(line.as_bytes());
        self.bar = Bar::Drawn;
    }

    /// Takes the bar away.
    pub(crate) fn end_progress(&mut self) {
        if self.bar == Bar::Drawn {
            let _ = io::stderr().write_all(b"\r\x1b[K");
            self.bar = Bar::None;
        }
    }

    /// A picture, where somebody looks at a terminal.
    pub(crate) fn picture(&mut self, drawing: &Drawing) -> Result<(), Failure> {
        let elsewhere = self.look.is_some();
        if self.audience == Audience::Programs || elsewhere || !io::stdout().is_terminal() {
            return Ok(());
        }
        write_all(&mut io::stdout(), drawing.as_str())
    }

    /// A failure, in the form that the audience reads.
    pub(crate) fn failure(&mut self, failure: &Failure) {
        let line = match self.audience {
            Audience::Programs => format!("{}\n", failure.to_json()),
            Audience::People => {
                let head = own_words("sotto: ");
                let lines = failure.to_lines();
                let lines = lines.iter().map(|line| {
                    let pieces = [(Style::Warning, &head), (Style::Plain, line)];
                    render(&pieces, self.error_colour)
                });
                lines.collect()
            }
        };
        // Stderr may be closed; the exit code still tells.
        self.remark(line);
    }

    /// Rings the bell on a terminal, and shows a notification where it can and `notify` says so,
    /// both at most once in two seconds.
    pub(crate) fn announce(
        &mut self,
        notice: &Notice,
        notify: Notify,
        now_ms: u64,
    ) -> Result<(), Failure> {
        let due = self
            .rung_at_ms
            .is_none_or(|at| now_ms >= at + BELL_EVERY_MS);
        let elsewhere = self.look.is_some();
        if self.audience == Audience::Programs || elsewhere || !due || !io::stdout().is_terminal() {
            return Ok(());
        }
        self.rung_at_ms = Some(now_ms);
        let terminal = Terminal::of(|name| std::env::var(name).ok());
        let sequence = terminal.and_then(|terminal| terminal.sequence(notice, notify));
        let told = format!("\u{7}{}", sequence.unwrap_or_default());
        write_all(&mut io::stdout(), &told)
    }
}

/// A size for people.
pub(crate) fn mebibytes(bytes: u64) -> String {
    let tenths = bytes * 10 / (1 << 20);
    format!("{}.{} MiB", tenths / 10, tenths % 10)
}

/// The client's own words, which may hold a name or a path: cleaned like everything else.
pub(crate) fn own_words(text: &str) -> SafeText {
    SafeText::line(text, 2_000)
}

fn render(pieces: &[Piece<'_>], colour: Colour) -> String {
    let mut line = String::new();
    for (style, text) in pieces {
        if colour == Colour::On && *style != Style::Plain {
            line.push_str(style.sequence());
            line.push_str(text.as_str());
            line.push_str("\u{1b}[0m");
        } else {
            line.push_str(text.as_str());
        }
    }
    line.push('\n');
    line
}

fn write_all(target: &mut impl Write, text: &str) -> Result<(), Failure> {
    target
        .write_all(text.as_bytes())
        .and_then(|()| target.flush())
        .map_err(|error| output_failed(&error))
}

fn output_failed(error: &io::Error) -> Failure {
    match error.kind() {
        // Whoever read the output has seen enough.
        io::ErrorKind::BrokenPipe => Failure::output_closed(),
        _ => Failure {
            exit: Exit::Unexpected,
            code: "output".to_owned(),
            message: format!("the output could not be written: {error}"),
            retry_after_ms: None,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colour_is_the_only_sequence() {
        let text = own_words("a\u{1b}[2Jb\n");
        let plain = render(&[(Style::Own, &text)], Colour::Off);
        assert_eq!(plain, "a\u{fffd}[2Jb \n");
        let coloured = render(&[(Style::Own, &text), (Style::Plain, &text)], Colour::On);
        assert_eq!(
            coloured,
            "\u{1b}[36ma\u{fffd}[2Jb \u{1b}[0ma\u{fffd}[2Jb \n"
        );
    }

    /// H1, H5, H6, H9: a second way to the terminal would be a way around `SafeText`.
    #[test]
    fn nothing_else_prints() {
        let mut folders = vec![std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src")];
        let mut files = 0;
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
                if entry.file_type().unwrap().is_dir() {
                    folders.push(entry.path());
                    continue;
                }
                // The full-screen client's terminal shows cells, which are filled from safe text.
                if entry.path().ends_with("cli/output.rs")
                    || entry.path().ends_with("tui/terminal.rs")
                {
                    continue;
                }
                files += 1;
                let text = std::fs::read_to_string(entry.path()).unwrap();
                for way in [
                    "println!",
                    "print!(",
                    "io::stdout()",
                    "io::stderr()",
                    "dbg!(",
                ] {
                    assert!(!text.contains(way), "{way} in {}", entry.path().display());
                }
            }
        }
        assert!(files > 10);
    }
}
