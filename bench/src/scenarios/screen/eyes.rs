//! Looks at what the screen writes: when a frame came, and what was in it.

use std::cell::RefCell;
use std::io::Write;
use std::num::NonZeroU16;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::clock::now;
use crate::error::BenchError;

/// Nothing takes longer.
const PATIENCE: Duration = Duration::from_secs(120);
/// Bytes that wait to be looked at; no stretch between two looks writes as many.
const PENDING_BYTES_MAX: usize = 256 * 1024 * 1024;

/// Between two looks at what stands on the screen.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// What was written so far.
#[derive(Default)]
struct Seen {
    /// Bytes that nobody put on the screen yet.
    pending: Vec<u8>,
    /// Bytes since the last flush.
    fresh: Vec<u8>,
    /// Flushes that had something to write.
    writes: u64,
    /// Frames: the library flushes once more, with nothing, after each.
    frames: u64,
    last: Option<Instant>,
    wanted: Vec<u8>,
    found: Option<Instant>,
}

fn holds(bytes: &[u8], wanted: &[u8]) -> bool {
    bytes
        .windows(wanted.len().max(1))
        .any(|window| window == wanted)
}

struct Shared {
    seen: Mutex<Seen>,
    written: Condvar,
}

impl Shared {
    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whoever looks.
pub(super) struct Eyes {
    shared: Arc<Shared>,
    /// What stands on the screen.
    terminal: RefCell<vt100::Parser>,
}

/// What is written to.
pub(super) struct Out(Arc<Shared>);

impl Eyes {
    /// Before a screen of so many columns and rows.
    pub(super) fn open((columns, rows): (u16, u16)) -> (Self, Out) {
        let shared = Arc::new(Shared {
            seen: Mutex::default(),
            written: Condvar::new(),
        });
        let cells = |count: u16| NonZeroU16::new(count).unwrap_or(NonZeroU16::MIN);
        let terminal = vt100::Parser::new(cells(rows), cells(columns), 0);
        let eyes = Self {
            shared: Arc::clone(&shared),
            terminal: RefCell::new(terminal),
        };
        (eyes, Out(shared))
    }

    fn wait<T>(&self, mut look: impl FnMut(&mut Seen) -> Option<T>) -> Result<T, BenchError> {
        let until = now() + PATIENCE;
        let mut seen = self.shared.seen();
        loop {
            if let Some(answer) = look(&mut seen) {
                return Ok(answer);
            }
            let left = until.saturating_duration_since(now());
            if left.is_zero() {
                return Err(BenchError::TimedOut("the screen did not show it"));
            }
            let waited = self.shared.written.wait_timeout(seen, left);
            seen = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// All words on the screen.
    pub(super) fn words(&self) -> String {
        let pending = std::mem::take(&mut self.shared.seen().pending);
        let mut terminal = self.terminal.borrow_mut();
        terminal.process(&pending);
        terminal.screen().contents()
    }

    /// Waits until these words are on the screen.
    pub(super) fn until(&self, words: &str) -> Result<(), BenchError> {
        let until = now() + PATIENCE;
        while !self.words().contains(words) {
            if now() >= until {
                return Err(BenchError::TimedOut("the screen did not show it"));
            }
            std::thread::park_timeout(LOOK_EVERY);
        }
        Ok(())
    }

    /// Waits until nothing was written for a while.
    pub(super) fn calm(&self, calm: Duration) -> Result<(), BenchError> {
        let until = now() + PATIENCE;
        loop {
            let last = self.shared.seen().last;
            let passed = last.map_or(calm, |last| now().saturating_duration_since(last));
            if passed >= calm {
                return Ok(());
            }
            if now() >= until {
                return Err(BenchError::TimedOut("the screen never comes to rest"));
            }
            std::thread::park_timeout(calm - passed);
        }
    }

    /// Begins to wait for a frame: when, and what was written before.
    pub(super) fn look(&self) -> (Instant, u64) {
        let writes = self.shared.seen().writes;
        (now(), writes)
    }

    /// How long the next frame took.
    pub(super) fn next_frame(
        &self,
        (pressed, writes): (Instant, u64),
    ) -> Result<Duration, BenchError> {
        let last = self.wait(|seen| seen.last.filter(|_| seen.writes > writes))?;
        Ok(last.saturating_duration_since(pressed))
    }

    /// Begins to wait for these bytes, which are written at once wherever they stand.
    pub(super) fn look_for(&self, wanted: &[u8]) -> Instant {
        let mut seen = self.shared.seen();
        seen.wanted = wanted.to_vec();
        seen.found = None;
        drop(seen);
        now()
    }

    /// How long they took.
    pub(super) fn found(&self, pressed: Instant) -> Result<Duration, BenchError> {
        let found = self.wait(|seen| seen.found)?;
        Ok(found.saturating_duration_since(pressed))
    }

    /// Frames so far.
    pub(super) fn frames(&self) -> u64 {
        self.shared.seen().frames
    }
}

impl Write for Out {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.seen().fresh.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        let written = now();
        let mut seen = self.0.seen();
        if seen.fresh.is_empty() {
            seen.frames += 1;
            return Ok(());
        }
        let fresh = std::mem::take(&mut seen.fresh);
        seen.writes += 1;
        seen.last = Some(written);
        if seen.found.is_none() && !seen.wanted.is_empty() && holds(&fresh, &seen.wanted) {
            seen.found = Some(written);
        }
        if seen.pending.len() + fresh.len() <= PENDING_BYTES_MAX {
            seen.pending.extend_from_slice(&fresh);
        }
        drop(seen);
        self.0.written.notify_all();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_seen_frame_by_frame() {
        let (eyes, mut out) = Eyes::open((20, 5));
        let pressed = eyes.look_for("β".as_bytes());
        let looked = eyes.look();
        out.write_all(b"\x1b[2;3Hm12.").unwrap();
        out.flush().unwrap();
        out.flush().unwrap();
        assert!(eyes.next_frame(looked).is_ok());
        // Only what changed is written.
        out.write_all("\x1b[2;5H3\x1b[4;1Hβ".as_bytes()).unwrap();
        out.flush().unwrap();
        assert!(eyes.found(pressed).is_ok());
        assert!(eyes.until("m13.").is_ok());
        assert_eq!(eyes.frames(), 1);
    }
}
