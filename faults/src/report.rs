//! What a run found, for people and for programs.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;

use serde::Serialize;

use crate::checker::{FaultFigures, Tally};

/// The verdict of one run.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// Runs it again.
    pub seed: u64,
    /// How long it took, the beginning and the end included.
    pub seconds: u64,
    /// Clients.
    pub devices: usize,
    /// Faults that struck.
    pub strikes: usize,
    /// From the last message after the last fault until everything was on every screen.
    pub settled_ms: u64,
    /// What became of the messages.
    pub tally: Tally,
    /// How long each kind of fault was felt.
    pub faults: BTreeMap<&'static str, FaultFigures>,
    /// What this machine cannot do, and why.
    pub skipped: Vec<String>,
    /// What is wrong; nothing where everything held.
    pub violations: Vec<String>,
    /// What happened, line by line.
    pub history: PathBuf,
}

impl Report {
    /// Whether nothing was lost, doubled, reordered, read by the wrong people, or otherwise wrong.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.violations.is_empty()
    }

    /// As a page of text.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut text = String::new();
        let tally = &self.tally;
        // Writing to a string does not fail.
        let _ = writeln!(
            text,
            "seed {}: {} faults in {} s, {} clients",
            self.seed, self.strikes, self.seconds, self.devices
        );
        let _ = writeln!(
            text,
            "{} messages: {} acknowledged, {} queued, {} of open outcome; shown {} times, {} once more \
             after a kill; all there {} ms after the last",
            tally.sent,
            tally.acknowledged,
            tally.queued,
            tally.open,
            tally.shown,
            tally.shown_after_kill,
            self.settled_ms
        );
        let _ = writeln!(
            text,
            "lost {}, duplicated {}, reordered {}, read by the wrong people {}, disagreed {}\n",
            tally.lost, tally.duplicated, tally.reordered, tally.leaked, tally.disagreed
        );
        let _ = writeln!(
            text,
            "| fault | times | lasted, ms | next ack after its end, ms: p50 | p99 | max | longest pause, ms |\n\
             |---|---:|---:|---:|---:|---:|---:|"
        );
        for (name, own) in &self.faults {
            let _ = writeln!(
                text,
                "| {name} | {} | {} | {} | {} | {} | {} |",
                own.strikes,
                own.lasted_ms,
                own.recovery_p50_ms,
                own.recovery_p99_ms,
                own.recovery_max_ms,
                own.pause_max_ms
            );
        }
        for line in &self.skipped {
            let _ = writeln!(text, "{line}");
        }
        match self.holds() {
            true => text.push_str("\nverdict: holds\n"),
            false => {
                text.push_str("\nverdict: VIOLATED\n");
                for sentence in &self.violations {
                    let _ = writeln!(text, "- {sentence}");
                }
            }
        }
        let _ = writeln!(text, "history: {}", self.history.display());
        text
    }
}
