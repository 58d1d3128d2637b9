//! Where the lines of a chat come from: an editor on a terminal, else plain lines of stdin.
//!
//! The editor redraws what is being typed below whatever arrives, keeps what was sent at the arrow
//! keys (in memory only), and takes a paste of many lines into the line without sending it. It
//! refuses to put anything but [`SafeText`] on the screen, pasted words included, and gives the
//! terminal back as it was, however the chat ends.

use std::borrow::Cow;
use std::io::{BufRead as _, IsTerminal as _, Read as _};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use rustix::termios::{InputModes, LocalModes, OptionalActions, SpecialCodeIndex, Termios};
use rustyline::completion::Completer;
use rustyline::config::{BellStyle, ColorMode, Configurer as _};
use rustyline::error::ReadlineError;
use rustyline::highlight::{CmdKind, Highlighter};
use rustyline::hint::Hinter;
use rustyline::history::MemHistory;
use rustyline::validate::Validator;
use rustyline::{Config, Editor, Helper};
use tokio::sync::mpsc;

use super::above::{Above, Waiting};
use super::output::{Audience, Printer};
use super::send::TEXT_BYTES_MAX;
use crate::safe_text::SafeText;

/// Lines that may wait to be handled.
const LINES_QUEUED_MAX: usize = 16;
/// Lines at the arrow keys.
const HISTORY_LINES_MAX: usize = 500;
/// A terminal takes lines of at most 4,096 bytes with their end and drops the rest silently
/// (termios(3), canonical mode).
const TERMINAL_LINE_BYTES: usize = 4096;
/// What stands before the line that is edited.
const PROMPT: &str = "> ";

/// What was typed.
pub(crate) enum Typed {
    /// A line.
    Line(String),
    /// A line of which the terminal dropped a part.
    Cut,
}

/// Lines as they are typed.
pub(crate) struct Lines {
    typed: mpsc::Receiver<Typed>,
    editing: Option<Editing>,
}

/// The editor's side.
struct Editing {
    /// Lets it read one more line.
    go: SyncSender<()>,
    /// What is not shown yet.
    waiting: Waiting,
    reading: Reading,
    before: Termios,
}

/// Whether the editor has the terminal.
#[derive(PartialEq, Eq)]
enum Reading {
    Yes,
    No,
}

impl Drop for Editing {
    fn drop(&mut self) {
        let _ = rustix::termios::tcsetattr(std::io::stdin(), OptionalActions::Now, &self.before);
    }
}

impl Lines {
    /// An editor where there is a terminal that can show one, else plain lines.
    pub(crate) fn open(printer: &mut Printer) -> Self {
        Self::edited(printer).unwrap_or_else(|| Self {
            typed: plain(),
            editing: None,
        })
    }

    fn edited(printer: &mut Printer) -> Option<Self> {
        let capable = std::env::var("TERM").is_ok_and(|term| !term.is_empty() && term != "dumb");
        if printer.audience() == Audience::Programs || !capable || !printer.is_terminal() {
            return None;
        }
        let before = rustix::termios::tcgetattr(std::io::stdin()).ok()?;
        let config = Config::builder()
            .max_history_size(HISTORY_LINES_MAX)
            .ok()?
            .auto_add_history(true)
            .bell_style(BellStyle::None)
            .color_mode(ColorMode::Forced)
            .build();
        let history = MemHistory::with_config(&config);
        let mut editor = Editor::<Cleaner, MemHistory>::with_history(config, history).ok()?;
        editor.enable_synchronized_output(false);
        editor.set_helper(Some(Cleaner));
        let screen = editor.create_external_printer().ok()?;
        hush(&before)?;
        let (go, may_go) = sync_channel(1);
        let (above, waiting) = Above::start(screen, go.clone());
        printer.share_with_editor(above);
        let (sender, typed) = mpsc::channel(LINES_QUEUED_MAX);
        let said = waiting.clone();
        std::thread::spawn(move || edit(editor, (&may_go, &said), &sender));
        let editing = Some(Editing {
            go,
            waiting,
            reading: Reading::No,
            before,
        });
        Some(Self { typed, editing })
    }

    /// The next line; `None` at the end. Dropping the future loses nothing.
    pub(crate) async fn next(&mut self) -> Option<Typed> {
        if let Some(editing) = &mut self.editing
            && editing.reading == Reading::No
        {
            // Only now: after the last line nothing reads, and nothing draws.
            editing.reading = Reading::Yes;
            let _ = editing.go.try_send(());
        }
        let typed = self.typed.recv().await;
        if let Some(editing) = &mut self.editing {
            editing.reading = Reading::No;
        }
        typed
    }

    /// Gives the terminal back.
    pub(crate) fn close(self, printer: &mut Printer) {
        let Some(editing) = self.editing else {
            return;
        };
        let cut_short = editing.reading == Reading::Yes;
        editing.waiting.at_end(&editing.go);
        drop(editing);
        if cut_short {
            printer.take_back_from_editor();
        } else {
            printer.end_editor();
        }
    }
}

/// What is typed between two lines is neither echoed nor cut into lines: the next one begins with it.
fn hush(before: &Termios) -> Option<()> {
    let mut quiet = before.clone();
    quiet.local_modes &= !(LocalModes::ECHO | LocalModes::ECHONL | LocalModes::ICANON);
    quiet.input_modes &= !(InputModes::ICRNL | InputModes::IXON);
    quiet.special_codes[SpecialCodeIndex::VMIN] = 1;
    quiet.special_codes[SpecialCodeIndex::VTIME] = 0;
    rustix::termios::tcsetattr(std::io::stdin(), OptionalActions::Now, &quiet).ok()
}

/// Reads lines until the end of input, or until nobody wants one.
fn edit(
    mut editor: Editor<Cleaner, MemHistory>,
    (may_go, said): (&Receiver<()>, &Waiting),
    sender: &mpsc::Sender<Typed>,
) {
    while may_go.recv().is_ok() {
        said.before_line();
        match editor.readline(PROMPT) {
            Ok(line) => {
                if sender.blocking_send(Typed::Line(line)).is_err() {
                    return;
                }
            }
            // The window has another size: the line is shown anew.
            Err(ReadlineError::Signal(_)) => {
                if sender.blocking_send(Typed::Line(String::new())).is_err() {
                    return;
                }
            }
            // Ctrl-C, Ctrl-D, or a terminal that is gone.
            Err(_) => return,
        }
    }
}

/// Shows what is typed, or pasted, as safely as what others wrote.
struct Cleaner;

impl Helper for Cleaner {}

impl Completer for Cleaner {
    type Candidate = String;
}

impl Hinter for Cleaner {
    type Hint = String;
}

impl Validator for Cleaner {}

impl Highlighter for Cleaner {
    fn highlight<'l>(&self, line: &'l str, _: usize) -> Cow<'l, str> {
        clean(line)
    }

    fn highlight_char(&self, _: &str, _: usize, _: CmdKind) -> bool {
        true
    }
}

fn clean(line: &str) -> Cow<'_, str> {
    let rows = line
        .split('\n')
        .map(|row| SafeText::line(row, TEXT_BYTES_MAX));
    let rows: Vec<String> = rows.map(|row| row.as_str().to_owned()).collect();
    Cow::Owned(rows.join("\n"))
}

/// Lines of stdin, from a thread of their own: reading blocks.
fn plain() -> mpsc::Receiver<Typed> {
    let (sender, receiver) = mpsc::channel(LINES_QUEUED_MAX);
    std::thread::spawn(move || {
        let terminal = std::io::stdin().is_terminal();
        let mut input = std::io::stdin().lock();
        loop {
            let mut bytes = Vec::new();
            let read = input
                .by_ref()
                .take(TEXT_BYTES_MAX as u64)
                .read_until(b'\n', &mut bytes);
            if !matches!(read, Ok(1..)) {
                return;
            }
            let typed = if terminal && bytes.len() >= TERMINAL_LINE_BYTES {
                Typed::Cut
            } else {
                Typed::Line(String::from_utf8_lossy(&bytes).into_owned())
            };
            if sender.blocking_send(typed).is_err() {
                return;
            }
        }
    });
    receiver
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pasted_sequences_are_shown_and_not_obeyed() {
        assert_eq!(clean("plain ä 日本"), "plain ä 日本");
        let shown = clean("a\u{1b}[2Jb\u{202e}\u{7}\nc\r");
        assert!(!shown.contains(['\u{1b}', '\u{202e}', '\u{7}', '\r']));
        assert_eq!(shown.matches('\n').count(), 1);
    }
}
