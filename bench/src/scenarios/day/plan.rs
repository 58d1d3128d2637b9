//! What each person does in a day that passes in a minute, and when: made from a seed, before
//! anything is sent. The same seed plans the same day; how it goes is the deployment's affair.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

/// Of a hundred things that people do: texts to one person.
const PAIR_TEXTS: u32 = 60;
/// Texts to the group.
const GROUP_TEXTS: u32 = 25;
/// Saying that they are typing.
const TYPING: u32 = 8;
/// Looking who is there; the rest are files.
const LOOKS: u32 = 6;
/// Of a hundred people, those who go away once and come back.
const LEAVING: u32 = 50;
/// Of a hundred of those, the ones whose connection is cut instead of closed.
const CUT: u32 = 50;
/// Files, in bytes.
const FILE_BYTES: std::ops::Range<u32> = 16 * 1024..2 * 1024 * 1024;

/// What somebody does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Act {
    /// A text to the other of the pair.
    PairText,
    /// A text to the group.
    GroupText,
    /// Typing, for the other of the pair.
    Typing,
    /// A list of who is there.
    Look,
    /// A file of so many bytes for the other of the pair.
    File(u32),
    /// Away for so long.
    Leave(Duration, Manner),
}

/// How somebody goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Manner {
    /// With a goodbye.
    Goodbye,
    /// As when the network goes.
    Cut,
}

/// Something to do, and when after the beginning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Planned {
    pub(super) due: Duration,
    pub(super) act: Act,
}

/// A day.
#[derive(Debug, Clone, Copy)]
pub(super) struct Day {
    /// How long it is.
    pub(super) length: Duration,
    /// Things that one person does a second, on average.
    pub(super) rate: f64,
    /// What it comes from.
    pub(super) seed: u64,
}

/// The day of one person: what is due, in order. Nobody does anything while they are away.
pub(super) fn of_person(day: Day, person: u32) -> Vec<Planned> {
    let mut random = StdRng::seed_from_u64(day.seed ^ (u64::from(person) << 32));
    let absence = absence(day.length, &mut random);
    let mut plan = Vec::new();
    if let Some((from, away, manner)) = absence {
        plan.push(Planned {
            due: from,
            act: Act::Leave(away, manner),
        });
    }
    let mut due = Duration::ZERO;
    loop {
        // Everybody acts on their own: exponential gaps.
        let gap = -(1.0 - random.random::<f64>()).ln() / day.rate.max(1e-9);
        due += Duration::from_secs_f64(gap.min(1e6));
        if due >= day.length {
            break;
        }
        let act = act(&mut random);
        let is_away = absence.is_some_and(|(from, away, _)| due >= from && due < from + away);
        if !is_away {
            plan.push(Planned { due, act });
        }
    }
    plan.sort_by_key(|planned| planned.due);
    plan
}

fn act(random: &mut StdRng) -> Act {
    let draw = random.random_range(0..100);
    match draw {
        _ if draw < PAIR_TEXTS => Act::PairText,
        _ if draw < PAIR_TEXTS + GROUP_TEXTS => Act::GroupText,
        _ if draw < PAIR_TEXTS + GROUP_TEXTS + TYPING => Act::Typing,
        _ if draw < PAIR_TEXTS + GROUP_TEXTS + TYPING + LOOKS => Act::Look,
        _ => Act::File(random.random_range(FILE_BYTES)),
    }
}

/// When somebody goes, for how long, and how.
fn absence(length: Duration, random: &mut StdRng) -> Option<(Duration, Duration, Manner)> {
    let (leaves, from, away, cut) = (
        random.random_range(0..100) < LEAVING,
        random.random_range(0.1..0.7),
        random.random_range(0.05..0.25),
        random.random_range(0..100) < CUT,
    );
    let manner = if cut { Manner::Cut } else { Manner::Goodbye };
    leaves.then(|| (length.mul_f64(from), length.mul_f64(away), manner))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Day = Day {
        length: Duration::from_secs(1_000),
        rate: 0.5,
        seed: 3,
    };

    #[test]
    fn the_same_seed_plans_the_same_day() {
        assert_eq!(of_person(DAY, 7), of_person(DAY, 7));
        assert_ne!(of_person(DAY, 7), of_person(DAY, 8));
        let other = Day { seed: 4, ..DAY };
        assert_ne!(of_person(DAY, 7), of_person(other, 7));
    }

    #[test]
    fn a_day_has_everything_in_its_share_and_nothing_while_away() {
        let days: Vec<Vec<Planned>> = (0..100).map(|person| of_person(DAY, person)).collect();
        for plan in &days {
            assert!(plan.is_sorted_by_key(|planned| planned.due));
            let leave = plan.iter().find_map(|planned| match planned.act {
                Act::Leave(away, _) => Some((planned.due, planned.due + away)),
                _ => None,
            });
            let acts = plan
                .iter()
                .filter(|planned| !matches!(planned.act, Act::Leave(..)));
            if let Some((from, to)) = leave {
                assert!(acts.clone().all(|p| p.due < from || p.due >= to));
            }
        }
        let all: Vec<Act> = days.iter().flatten().map(|planned| planned.act).collect();
        let count = |wanted: fn(&Act) -> bool| all.iter().filter(|act| wanted(act)).count();
        let acts = all.len() as f64;
        let texts = count(|act| *act == Act::PairText) as f64 / acts;
        assert!((0.57..0.63).contains(&texts), "{texts}");
        assert!(count(|act| matches!(act, Act::File(_))) > 100);
        let leaves = count(|act| matches!(act, Act::Leave(..)));
        assert!((30..70).contains(&leaves), "{leaves}");
        assert!(count(|act| matches!(act, Act::Leave(_, Manner::Cut))) > 10);
    }
}
