//! How long people waited for things to go on after each fault.
//!
//! For every device two times: from the moment that the fault was lifted to its next
//! acknowledgement, and the longest stretch without one that touches the fault.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::history::{Record, Stage, What};

/// Figures of one kind of fault, over all its strikes and all devices; milliseconds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct FaultFigures {
    /// How often it struck.
    pub strikes: usize,
    /// How long it lasted, each time on average.
    pub lasted_ms: u64,
    /// From its end to a device's next acknowledgement: half of them.
    pub recovery_p50_ms: u64,
    /// 99 of a hundred.
    pub recovery_p99_ms: u64,
    /// All of them.
    pub recovery_max_ms: u64,
    /// The longest that a device went without an acknowledgement, fault included.
    pub pause_max_ms: u64,
}

/// One strike.
#[derive(Debug)]
struct Strike {
    name: &'static str,
    from_ms: u64,
    to_ms: u64,
}

/// The figures by the fault's name.
pub(crate) fn figures(records: &[Record], devices: usize) -> BTreeMap<&'static str, FaultFigures> {
    let mut acks: Vec<Vec<u64>> = vec![Vec::new(); devices];
    let mut strikes: BTreeMap<usize, Strike> = BTreeMap::new();
    for record in records {
        let at_ms = record.at_ms;
        match &record.what {
            What::Acked { token, .. } => {
                if let Some(own) = acks.get_mut(token.device) {
                    own.push(at_ms);
                }
            }
            What::Fault {
                number,
                name,
                stage: Stage::Strikes,
                ..
            } => {
                let strike = Strike {
                    name,
                    from_ms: at_ms,
                    to_ms: at_ms,
                };
                strikes.insert(*number, strike);
            }
            What::Fault {
                number,
                stage: Stage::Lifted,
                ..
            } => {
                if let Some(strike) = strikes.get_mut(number) {
                    strike.to_ms = at_ms;
                }
            }
            _ => {}
        }
    }
    let mut samples: BTreeMap<&'static str, Vec<u64>> = BTreeMap::new();
    let mut figures: BTreeMap<&'static str, FaultFigures> = BTreeMap::new();
    for strike in strikes.values() {
        let own = figures.entry(strike.name).or_default();
        own.strikes += 1;
        own.lasted_ms += strike.to_ms - strike.from_ms;
        for acks in &acks {
            let (recovery, pause) = waited(acks, strike);
            samples.entry(strike.name).or_default().extend(recovery);
            own.pause_max_ms = own.pause_max_ms.max(pause.unwrap_or(0));
        }
    }
    for (name, own) in &mut figures {
        own.lasted_ms /= own.strikes.max(1) as u64;
        let mut samples = samples.remove(name).unwrap_or_default();
        samples.sort_unstable();
        own.recovery_p50_ms = quantile(&samples, 50);
        own.recovery_p99_ms = quantile(&samples, 99);
        own.recovery_max_ms = quantile(&samples, 100);
    }
    figures
}

/// A device's wait after a strike, and its longest pause around it.
fn waited(acks: &[u64], strike: &Strike) -> (Option<u64>, Option<u64>) {
    let after = acks.partition_point(|at| *at < strike.to_ms);
    let recovery = acks.get(after).map(|at| at - strike.to_ms);
    let before = acks.partition_point(|at| *at <= strike.from_ms);
    let around = &acks[before.saturating_sub(1)..(after + 1).min(acks.len())];
    let pause = around.windows(2).map(|pair| pair[1] - pair[0]).max();
    (recovery, pause)
}

/// The value that `percent` of the samples do not exceed; 0 where there is none.
fn quantile(sorted: &[u64], percent: usize) -> u64 {
    let rank = (sorted.len() * percent).div_ceil(100).max(1) - 1;
    sorted.get(rank).copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_begins_where_the_fault_ends() {
        let strike = Strike {
            name: "x",
            from_ms: 1_000,
            to_ms: 3_000,
        };
        let acks = [100, 900, 1_200, 3_700, 3_800];
        assert_eq!(waited(&acks, &strike), (Some(700), Some(2_500)));
        assert_eq!(waited(&[100], &strike), (None, None));
        assert_eq!(waited(&[], &strike), (None, None));
    }

    #[test]
    fn quantiles_are_of_what_was_measured() {
        let samples: Vec<u64> = (1..=200).collect();
        assert_eq!(quantile(&samples, 50), 100);
        assert_eq!(quantile(&samples, 99), 198);
        assert_eq!(quantile(&samples, 100), 200);
        assert_eq!(quantile(&[7], 99), 7);
        assert_eq!(quantile(&[], 99), 0);
    }
}
