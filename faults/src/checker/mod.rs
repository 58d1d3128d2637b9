//! The verdict over a history: what must never happen, whatever broke.
//!
//! Reads the history, and at the end what each device keeps; knows no engine, no server and no time
//! but that of the records. What it holds against them is `rules`; who had to read what is `places`.

mod places;
mod recovery;
mod rules;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use serde::Serialize;

use crate::history::{Cast, Record, Stores, Token, What};
pub use recovery::FaultFigures;
pub(crate) use recovery::figures;

/// Sentences of one kind that are told; the rest is counted.
const SENTENCES_MAX: usize = 20;

/// What became of the messages.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Tally {
    /// Given to a client.
    pub sent: u64,
    /// Acknowledged as durable.
    pub acknowledged: u64,
    /// Only queued when the command ended; the client promised to send them.
    pub queued: u64,
    /// The command ended without a word about them.
    pub open: u64,
    /// Shown on a screen for the first time.
    pub shown: u64,
    /// Shown once more by a client that had been killed.
    pub shown_after_kill: u64,
    /// Acknowledged, or promised, and not there.
    pub lost: u64,
    /// Twice in a log, or on a screen without a kill between.
    pub duplicated: u64,
    /// Against the order of their sender, of the log, or of what they answer.
    pub reordered: u64,
    /// Read by somebody who was not in.
    pub leaked: u64,
    /// Other differences between what devices show or keep.
    pub disagreed: u64,
}

/// What was found.
#[derive(Debug, Clone, Default)]
pub(crate) struct Verdict {
    pub(crate) tally: Tally,
    /// A sentence for each thing that is wrong, up to a number of each kind.
    pub(crate) violations: Vec<String>,
}

/// What can be wrong with a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Wrong {
    Lost,
    Duplicated,
    Reordered,
    Leaked,
    Disagreed,
}

impl Verdict {
    fn add(&mut self, wrong: Wrong, sentence: String) {
        let count = match wrong {
            Wrong::Lost => &mut self.tally.lost,
            Wrong::Duplicated => &mut self.tally.duplicated,
            Wrong::Reordered => &mut self.tally.reordered,
            Wrong::Leaked => &mut self.tally.leaked,
            Wrong::Disagreed => &mut self.tally.disagreed,
        };
        *count += 1;
        if *count <= SENTENCES_MAX as u64 {
            self.violations.push(sentence);
        }
    }
}

/// A message as the history tells of it.
#[derive(Debug, Clone)]
struct Fate {
    talk: usize,
    parent: Option<String>,
    asked_ms: u64,
    /// Id, place and when the sender learned of it.
    acked: Option<(String, u64, u64)>,
    queued: bool,
}

/// All messages of the workload.
type Fates = BTreeMap<Token, Fate>;

fn fates(records: &[Record]) -> Fates {
    let mut fates = Fates::new();
    for record in records {
        match &record.what {
            What::Send {
                token,
                talk,
                parent,
            } => {
                let fate = Fate {
                    talk: *talk,
                    parent: parent.clone(),
                    asked_ms: record.at_ms,
                    acked: None,
                    queued: false,
                };
                fates.insert(*token, fate);
            }
            What::Acked { token, id, seq } => {
                if let Some(fate) = fates.get_mut(token) {
                    fate.acked = Some((id.clone(), *seq, record.at_ms));
                }
            }
            What::Queued { token } => {
                if let Some(fate) = fates.get_mut(token) {
                    fate.queued = true;
                }
            }
            _ => {}
        }
    }
    fates
}

/// Messages that a device has to show and has not shown, as device and message.
pub(crate) fn missing(cast: &Cast, records: &[Record]) -> Vec<(usize, Token)> {
    places::missing(cast, records, &fates(records))
}

/// Everything that is wrong.
pub(crate) fn judge(cast: &Cast, records: &[Record], stores: &Stores) -> Verdict {
    let fates = fates(records);
    let mut verdict = Verdict::default();
    count(records, &mut verdict.tally);
    let log = rules::logs(cast, records, &fates, &mut verdict);
    rules::screens(cast, records, &fates, &mut verdict);
    rules::senders(cast, &log, &fates, &mut verdict);
    rules::answers(cast, &log, &fates, &mut verdict);
    rules::stores(cast, stores, &log, &mut verdict);
    rules::promises(cast, stores, &fates, &mut verdict);
    for (device, token) in places::missing(cast, records, &fates) {
        let sentence = format!("{} never showed {token:?}", cast.device_name(device));
        verdict.add(Wrong::Lost, sentence);
    }
    for (device, token) in places::leaked(cast, records, &fates) {
        let sentence = format!(
            "{} showed {token:?} without being in",
            cast.device_name(device)
        );
        verdict.add(Wrong::Leaked, sentence);
    }
    for record in records {
        match &record.what {
            What::Wrong { sentence } => verdict.violations.push(sentence.clone()),
            What::Security { device, kind } if is_alarm(kind) => {
                let device = cast.device_name(*device);
                verdict
                    .violations
                    .push(format!("{device} reported {kind} at {} ms", record.at_ms));
            }
            _ => {}
        }
    }
    verdict
}

/// Reports that no fault of machines or links may cause.
fn is_alarm(kind: &str) -> bool {
    !matches!(kind, "device_added" | "recovery_done")
}

fn count(records: &[Record], tally: &mut Tally) {
    for record in records {
        match &record.what {
            What::Send { .. } => tally.sent += 1,
            What::Acked { .. } => tally.acknowledged += 1,
            What::Queued { .. } => tally.queued += 1,
            What::Open { .. } => tally.open += 1,
            _ => {}
        }
    }
}
