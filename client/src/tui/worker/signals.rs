//! What ends the screen from outside: a signal, or a terminal that is gone. Whoever works for the
//! screen waits for it, so that the terminal is given back in all of these cases.

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::cli::inside::Interrupts;
use crate::exit::Failure;

/// SIGINT, SIGTERM and SIGHUP.
pub(in crate::tui) struct Signals {
    interrupts: Interrupts,
    hangup: Signal,
}

impl Signals {
    /// From now on they end nothing by themselves.
    pub(in crate::tui) fn listen() -> Result<Self, Failure> {
        let hangup = signal(SignalKind::hangup())
            .map_err(|error| Failure::named("internal", format!("no signals: {error}")))?;
        Ok(Self {
            interrupts: Interrupts::listen()?,
            hangup,
        })
    }

    /// Waits for one of them.
    pub(in crate::tui) async fn next(&mut self) {
        tokio::select! {
            () = self.interrupts.next() => {}
            _ = self.hangup.recv() => {}
        }
    }
}
