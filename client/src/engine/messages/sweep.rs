//! Messages that disappear: each device counts from its own reading, and what
//! is over is emptied on disk, in the index and wherever it was quoted.

use super::api::Expired;
use crate::engine::api::Event;
use crate::engine::{Engine, EngineError};
use crate::history::Fate;

/// Messages that are read at a time; each round has fewer left.
const SWEEP_ROWS: u32 = 500;
/// How long a timer of the engine runs at most, in milliseconds; then it is set anew.
const WAIT_MS_MAX: u64 = 24 * 3_600_000;

impl Engine {
    /// Empties what is over, and notes when to look again.
    pub(in crate::engine) fn sweep(&mut self) -> Result<(), EngineError> {
        loop {
            let over = self.store().expired(self.now.unix_ms, SWEEP_ROWS)?;
            if over.is_empty() {
                break;
            }
            for (keep, row) in over {
                self.store().empty_message(keep, &row, Fate::Expired)?;
                self.emit(Event::Expired(Expired {
                    conversation: row.conversation,
                    message: row.reference(),
                    seq: row.seq,
                }));
            }
        }
        self.plan_expiry()
    }

    /// Notes when the next message is over.
    pub(in crate::engine) fn plan_expiry(&mut self) -> Result<(), EngineError> {
        let now = self.now;
        self.expiry_at = self.store().next_expiry()?.map(|at_ms| {
            let wait_ms = at_ms.saturating_sub(now.unix_ms).min(WAIT_MS_MAX);
            now.monotonic_ms + wait_ms
        });
        Ok(())
    }

    /// Part of a timeout: sweeps where something is over.
    pub(in crate::engine) fn sweep_if_due(&mut self) -> Result<(), EngineError> {
        match self.expiry_at {
            Some(at) if at <= self.now.monotonic_ms => self.sweep(),
            _ => Ok(()),
        }
    }
}
