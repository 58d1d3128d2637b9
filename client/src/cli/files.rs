//! Files on the command line: `send --file`, `save`, and pictures between the lines of
//! `history` and `listen`.

mod pictures;
mod save;
mod send;

use serde_json::json;

use super::app::App;
use super::output::Audience;
use crate::attachment::incoming::IncomingError;
use crate::attachment::outgoing::OutgoingError;
use crate::exit::{Exit, Failure};
use crate::net::TransferError;

pub(crate) use pictures::Pictures;
pub(crate) use save::{fetch, save};
pub(crate) use send::send;

/// Between two words about progress, in milliseconds.
const PROGRESS_EVERY_MS: u64 = 200;
/// Between two words at most, as a part of the file, however fast it goes.
const PROGRESS_EVERY_PART: u64 = 8;

/// Which way a file goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Up,
    Down,
}

/// Tells how far a transfer is: a bar for people, events for programs.
struct Progress<'a> {
    app: &'a mut App,
    way: Way,
    name: String,
    total: u64,
    told_at_ms: Option<u64>,
    told: u64,
}

impl<'a> Progress<'a> {
    fn new(app: &'a mut App, way: Way, name: &str, total: u64) -> Self {
        Self {
            app,
            way,
            name: name.to_owned(),
            total,
            told_at_ms: None,
            told: 0,
        }
    }

    /// Bytes that are there; the last word is always told.
    fn tell(&mut self, done: u64) {
        let now_ms = self.app.clock.now().monotonic_ms;
        let due = self
            .told_at_ms
            .is_none_or(|at| now_ms >= at + PROGRESS_EVERY_MS)
            || done >= self.told + self.total / PROGRESS_EVERY_PART;
        if !due && done < self.total {
            return;
        }
        self.told = done;
        self.told_at_ms = Some(now_ms);
        let printer = &mut self.app.printer;
        if printer.audience() == Audience::Programs {
            // A reader who went away is met by the result that follows.
            let _ = printer.json(&json!({
                "event": "progress",
                "direction": match self.way {
                    Way::Up => "up",
                    Way::Down => "down",
                },
                "file": self.name,
                "done": done,
                "total": self.total,
            }));
        } else {
            printer.progress(&self.name, done, self.total);
        }
    }
}

impl Drop for Progress<'_> {
    fn drop(&mut self) {
        self.app.printer.end_progress();
    }
}

impl From<OutgoingError> for Failure {
    fn from(error: OutgoingError) -> Self {
        Self::named(error.code(), error.to_string())
    }
}

impl From<IncomingError> for Failure {
    fn from(error: IncomingError) -> Self {
        Self::named(error.code(), error.to_string())
    }
}

impl<E: Into<Failure>> From<TransferError<E>> for Failure {
    fn from(error: TransferError<E>) -> Self {
        match error {
            TransferError::File(error) => error.into(),
            TransferError::Unreachable(error) => (&error).into(),
            TransferError::Stalled => Self::named(
                "timed_out",
                "the transfer does not get on; try again, and it goes on where it stands",
            ),
            TransferError::Refused(code, message, retry_after_ms) => {
                let refused = Self::named(code.name(), message).retry_after(Some(retry_after_ms));
                match code {
                    // Not a fault of the program here, but the deployment's rule.
                    sotto_protocol::ErrorCode::TooLarge => Self {
                        exit: Exit::Refused,
                        ..refused
                    },
                    _ => refused,
                }
            }
        }
    }
}
