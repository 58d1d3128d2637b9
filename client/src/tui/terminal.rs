//! The terminal: taken at the start, given back however the program ends, and the only place of
//! the full-screen client that writes to it.
//!
//! What it writes besides cells: the alternate screen, bracketed paste, the mouse where it is
//! wanted, the bell, and what `clipboard` and `bell` make for it. Nothing of anybody else's
//! reaches it but through cells, which the view fills from safe text alone.

use std::io::{self, BufWriter, Stdout, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ratatui::backend::CrosstermBackend;
use ratatui::crossterm::event::{
    self, DisableBracketedPaste, DisableMouseCapture, EnableBracketedPaste, EnableMouseCapture,
};
use ratatui::crossterm::execute;
use ratatui::crossterm::terminal::{
    Clear, ClearType, EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode,
};
use ratatui::layout::Rect;
use ratatui::{Frame, Terminal, TerminalOptions, Viewport};

use super::settings::Mouse;
use super::unsure::{Careful, Rows};
use super::worker::Input;

/// Between two looks whether the keys are to be left to another program.
const POLL: Duration = Duration::from_millis(50);

/// Whether the terminal is taken: it is given back once, by whoever comes first.
static TAKEN: AtomicBool = AtomicBool::new(false);

/// Bytes of a frame that go to the terminal at once; larger frames go in several pieces.
const FRAME_BYTES: usize = 64 * 1024;

/// The terminal while it is taken.
pub(crate) struct Screen {
    terminal: Terminal<Careful<CrosstermBackend<BufWriter<Out>>>>,
    unsure: Rows,
    mouse: Mouse,
    /// Where there is no terminal, the cells that are drawn.
    stage: Option<Rect>,
}

/// Where the bytes of frames go.
enum Out {
    /// The terminal, as long as nobody gave it back.
    Terminal(Stdout),
    /// Somewhere else; there is no terminal.
    Stage(Box<dyn Write + Send>),
}

impl Write for Out {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            // What another thread's panic cut short is nothing for the screen behind.
            Self::Terminal(_) if !TAKEN.load(Ordering::SeqCst) => Ok(bytes.len()),
            Self::Terminal(stdout) => stdout.write(bytes),
            Self::Stage(out) => out.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Terminal(stdout) => stdout.flush(),
            Self::Stage(out) => out.flush(),
        }
    }
}

fn backend(out: Out) -> Careful<CrosstermBackend<BufWriter<Out>>> {
    let out = BufWriter::with_capacity(FRAME_BYTES, out);
    Careful(CrosstermBackend::new(out))
}

impl Screen {
    /// Takes the terminal.
    ///
    /// # Errors
    /// When it does not obey; it is given back then.
    pub(crate) fn take(mouse: Mouse) -> io::Result<Self> {
        let previous = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            give_back();
            previous(panic);
        }));
        enter(mouse)?;
        let terminal = Terminal::new(backend(Out::Terminal(io::stdout()))).inspect_err(|_| {
            give_back();
        })?;
        Ok(Self {
            terminal,
            unsure: Rows::default(),
            mouse,
            stage: None,
        })
    }

    /// A screen without a terminal: what would be written to one goes elsewhere.
    ///
    /// # Errors
    /// When that takes nothing.
    pub(super) fn on_stage(out: Box<dyn Write + Send>, area: Rect) -> io::Result<Self> {
        let viewport = Viewport::Fixed(area);
        let terminal =
            Terminal::with_options(backend(Out::Stage(out)), TerminalOptions { viewport })?;
        Ok(Self {
            terminal,
            unsure: Rows::default(),
            mouse: Mouse::Off,
            stage: Some(area),
        })
    }

    /// Cells across and rows.
    pub(crate) fn area(&self) -> io::Result<Rect> {
        if let Some(area) = self.stage {
            return Ok(area);
        }
        let size = self.terminal.size()?;
        Ok(Rect::new(0, 0, size.width, size.height))
    }

    /// Draws a frame; only what changed is written. Nothing is, once another thread's panic gave
    /// the terminal back.
    pub(crate) fn draw(&mut self, render: impl FnOnce(&mut Frame<'_>)) -> io::Result<()> {
        let unsure = &mut self.unsure;
        let drawn = self.terminal.draw(|frame| {
            render(frame);
            unsure.mark(frame.buffer_mut());
        });
        drawn.map(drop)
    }

    /// Everything is written anew with the next frame.
    pub(crate) fn redraw(&mut self) -> io::Result<()> {
        self.clear()
    }

    /// Clears without asking the terminal where its cursor is, as the library's own way does:
    /// its answer would come among the keys, which another thread reads.
    fn clear(&mut self) -> io::Result<()> {
        let area = self.area()?;
        self.unsure.forget();
        self.terminal.resize(area)
    }

    /// Writes a sequence of the client's own.
    pub(crate) fn write(&mut self, sequence: &str) -> io::Result<()> {
        let out = &mut self.terminal.backend_mut().0;
        out.write_all(sequence.as_bytes())?;
        Write::flush(out)
    }

    /// Follows the mouse, or leaves it to the terminal.
    pub(crate) fn set_mouse(&mut self, mouse: Mouse) {
        self.mouse = mouse;
        if self.stage.is_some() {
            return;
        }
        // A terminal that takes neither has no mouse.
        let _ = match mouse {
            Mouse::On => execute!(io::stdout(), EnableMouseCapture),
            Mouse::Off => execute!(io::stdout(), DisableMouseCapture),
        };
    }

    /// Gives the terminal to somebody else for a while.
    pub(crate) fn leave<T>(&mut self, meanwhile: impl FnOnce() -> T) -> io::Result<T> {
        give_back();
        let outcome = meanwhile();
        enter(self.mouse)?;
        self.clear()?;
        Ok(outcome)
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        give_back();
    }
}

fn enter(mouse: Mouse) -> io::Result<()> {
    TAKEN.store(true, Ordering::SeqCst);
    let entered = enable_raw_mode().and_then(|()| {
        // What another program left there, or this one when it was killed, is not cleared by all.
        let clear = Clear(ClearType::All);
        execute!(
            io::stdout(),
            EnterAlternateScreen,
            clear,
            EnableBracketedPaste
        )?;
        match mouse {
            Mouse::On => execute!(io::stdout(), EnableMouseCapture),
            Mouse::Off => Ok(()),
        }
    });
    entered.inspect_err(|_| give_back())
}

/// Gives the terminal back as it was. Safe to call at any time, from any thread.
pub(crate) fn give_back() {
    if !TAKEN.swap(false, Ordering::SeqCst) {
        return;
    }
    // Where one of these fails there is nobody to tell.
    let _ = execute!(
        io::stdout(),
        DisableMouseCapture,
        DisableBracketedPaste,
        LeaveAlternateScreen,
        ratatui::crossterm::cursor::Show
    );
    let _ = disable_raw_mode();
}

/// Whether keys are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Gate {
    Open,
    /// Another program wants them.
    Closing,
    /// It has them.
    Closed,
}

/// Reads keys on a thread of its own, and stops for other programs.
#[derive(Clone)]
pub(crate) struct Keyboard {
    gate: Arc<(Mutex<Gate>, Condvar)>,
}

impl Keyboard {
    /// Begins to read.
    ///
    /// # Errors
    /// When there is no thread for it.
    pub(crate) fn start(inputs: SyncSender<Input>) -> io::Result<Self> {
        let keyboard = Self::of_nobody();
        let reader = keyboard.clone();
        std::thread::Builder::new()
            .name("keyboard".to_owned())
            .spawn(move || reader.read(&inputs))?;
        Ok(keyboard)
    }

    /// Keys that nobody presses.
    pub(super) fn of_nobody() -> Self {
        Self {
            gate: Arc::new((Mutex::new(Gate::Open), Condvar::new())),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Gate> {
        self.gate.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read(&self, inputs: &SyncSender<Input>) {
        loop {
            self.wait_until_open();
            let event = match event::poll(POLL) {
                Ok(false) => continue,
                Ok(true) => event::read(),
                Err(error) => Err(error),
            };
            // Without a terminal nobody types any more; the worker hears of it as a hangup.
            let Ok(event) = event else {
                return;
            };
            if inputs.send(Input::Terminal(event)).is_err() {
                return;
            }
        }
    }

    fn wait_until_open(&self) {
        let mut gate = self.lock();
        while *gate != Gate::Open {
            if *gate == Gate::Closing {
                *gate = Gate::Closed;
                self.gate.1.notify_all();
            }
            gate = self
                .gate
                .1
                .wait(gate)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Nobody reads keys while `meanwhile` runs.
    pub(crate) fn pause<T>(&self, meanwhile: impl FnOnce() -> T) -> T {
        let mut gate = self.lock();
        *gate = Gate::Closing;
        // The reader looks every POLL; one that ended never answers.
        for _ in 0..4 {
            if *gate == Gate::Closed {
                break;
            }
            let waited = self.gate.1.wait_timeout(gate, POLL * 2);
            gate = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        drop(gate);
        let outcome = meanwhile();
        *self.lock() = Gate::Open;
        self.gate.1.notify_all();
        outcome
    }
}

#[cfg(test)]
#[path = "terminal_tests.rs"]
mod tests;
