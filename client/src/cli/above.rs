//! What is shown above the line that is being edited, without ever waiting for the editor.
//!
//! The editor takes what is to be shown while it reads, one text at a time; between two lines it
//! takes nothing. Whoever waited for it there would never let it read again: with a line ended
//! while two texts were on their way, both sides stood still for ever. So a thread of its own
//! waits. It refuses to reorder or drop what is shown while the chat goes on.

use std::io;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustyline::ExternalPrinter;
use rustyline::error::ReadlineError;

/// Texts that may wait to be shown.
const WAITING_MAX: usize = 8_192;
/// Between two looks whether a full queue moves.
const LOOK: Duration = Duration::from_millis(100);
/// How long what was said before a line may take to be shown before the line is read; what still
/// waits then is shown above it.
const BEFORE_LINE: Duration = Duration::from_millis(50);
/// How long the end waits for what was said.
const AT_END: Duration = Duration::from_secs(1);

/// How much waits, and whether the terminal still takes it.
#[derive(Debug, Default)]
struct Queue {
    waiting: usize,
    gone: Option<io::ErrorKind>,
}

/// How much waits to be shown, for those who wait for it.
#[derive(Debug, Clone, Default)]
pub(super) struct Waiting(Arc<(Mutex<Queue>, Condvar)>);

impl Waiting {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until fewer than so many texts wait; whether that is so.
    fn below(&self, count: usize, patience: Duration) -> bool {
        let busy = |queue: &mut Queue| queue.waiting >= count && queue.gone.is_none();
        let waited = self.0.1.wait_timeout_while(self.lock(), patience, busy);
        let (queue, _) = waited.unwrap_or_else(PoisonError::into_inner);
        queue.waiting < count
    }

    /// Before a line is read.
    pub(super) fn before_line(&self) {
        self.below(1, BEFORE_LINE);
    }

    /// Before the editor ends: where something hangs, one more line lets it go on.
    pub(super) fn at_end(&self, go: &SyncSender<()>) {
        if !self.below(1, BEFORE_LINE) {
            let _ = go.try_send(());
            self.below(1, AT_END);
        }
    }
}

/// The way to the terminal.
pub(super) struct Above {
    texts: SyncSender<String>,
    waiting: Waiting,
    /// Lets the editor read one more line.
    go: SyncSender<()>,
}

impl Above {
    /// Begins to show.
    pub(super) fn start(
        screen: impl ExternalPrinter + Send + 'static,
        go: SyncSender<()>,
    ) -> (Self, Waiting) {
        let (texts, taken) = sync_channel(WAITING_MAX);
        let waiting = Waiting::default();
        let shown = waiting.clone();
        std::thread::spawn(move || show(screen, &taken, &shown));
        let above = Self {
            texts,
            waiting: waiting.clone(),
            go,
        };
        (above, waiting)
    }
}

fn show(mut screen: impl ExternalPrinter, texts: &Receiver<String>, waiting: &Waiting) {
    while let Ok(text) = texts.recv() {
        let shown = screen.print(text);
        let mut queue = waiting.lock();
        queue.waiting = queue.waiting.saturating_sub(1);
        if let Err(error) = shown {
            queue.gone = Some(match error {
                ReadlineError::Io(error) => error.kind(),
                _ => io::ErrorKind::Other,
            });
        }
        let gone = queue.gone.is_some();
        drop(queue);
        waiting.0.1.notify_all();
        if gone {
            return;
        }
    }
}

impl ExternalPrinter for Above {
    fn print(&mut self, text: String) -> rustyline::Result<()> {
        while !self.waiting.below(WAITING_MAX, LOOK) {
            if let Some(kind) = self.waiting.lock().gone {
                return Err(io::Error::from(kind).into());
            }
            // Between two lines nothing is taken: the next one begins early.
            let _ = self.go.try_send(());
        }
        let mut queue = self.waiting.lock();
        if let Some(kind) = queue.gone {
            return Err(io::Error::from(kind).into());
        }
        queue.waiting += 1;
        drop(queue);
        let closed = |_| io::Error::from(io::ErrorKind::BrokenPipe);
        Ok(self.texts.send(text).map_err(closed)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An editor that takes a text only when it may.
    struct Editor {
        may: Receiver<()>,
        shown: Arc<Mutex<Vec<String>>>,
    }

    impl ExternalPrinter for Editor {
        fn print(&mut self, text: String) -> rustyline::Result<()> {
            let closed = |_| io::Error::from(io::ErrorKind::BrokenPipe);
            self.may.recv().map_err(closed)?;
            self.shown.lock().unwrap().push(text);
            Ok(())
        }
    }

    /// What waits for an editor between two lines holds nobody up, and is shown in its order.
    #[test]
    fn nobody_waits_for_an_editor_that_reads_nothing() {
        let (let_it, may) = sync_channel(WAITING_MAX);
        let shown = Arc::new(Mutex::new(Vec::new()));
        let editor = Editor {
            may,
            shown: Arc::clone(&shown),
        };
        let (go, _asked) = sync_channel(1);
        let (mut above, waiting) = Above::start(editor, go);
        let texts: Vec<String> = (0..100).map(|number| number.to_string()).collect();
        for text in &texts {
            above.print(text.clone()).unwrap();
        }
        waiting.before_line();
        assert!(shown.lock().unwrap().is_empty());
        for _ in &texts {
            let_it.send(()).unwrap();
        }
        assert!(waiting.below(1, Duration::from_secs(30)));
        assert_eq!(*shown.lock().unwrap(), texts);
    }

    #[test]
    fn a_full_queue_lets_the_editor_go_on_and_a_terminal_that_is_gone_is_told() {
        let (let_it, may) = sync_channel(0);
        let editor = Editor {
            may,
            shown: Arc::default(),
        };
        let (go, asked) = sync_channel(1);
        let (mut above, waiting) = Above::start(editor, go);
        let writer = std::thread::spawn(move || {
            (0..=WAITING_MAX).try_for_each(|number| above.print(number.to_string()))
        });
        asked.recv_timeout(Duration::from_secs(30)).unwrap();
        drop(let_it);
        assert!(writer.join().unwrap().is_err());
        assert!(waiting.lock().gone.is_some());
    }
}
