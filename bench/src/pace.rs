//! When messages are due, in an open loop: at fixed times or at random ones, whatever became of
//! the messages before. A server that stands still for a second gets everything that was due in
//! it, and each of those messages counts from its own time: nothing is left out because the
//! generator waited too.

use std::time::{Duration, Instant};

use clap::ValueEnum;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

/// No gap is longer than so many mean ones.
const LONGEST_GAP: f64 = 50.0;

/// How the gaps between messages are spread.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Arrivals {
    /// All gaps are alike.
    Constant,
    /// As if everybody acted on their own: exponential gaps.
    Poisson,
}

/// A rhythm.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pace {
    /// The first message of a constant rhythm; a random one begins here.
    pub(crate) first: Instant,
    /// Between two, on average.
    pub(crate) interval: Duration,
    /// How they are spread.
    pub(crate) arrivals: Arrivals,
    /// What a random one comes from.
    pub(crate) seed: u64,
}

impl Pace {
    /// The rhythm of source `place` of `sources` that together send `rate` messages a second.
    pub(crate) fn shared(
        (start, rate): (Instant, u32),
        (place, sources): (u32, u32),
        (arrivals, seed): (Arrivals, u64),
    ) -> Self {
        let sources = sources.max(1);
        let interval = Duration::from_secs(1) * sources / rate.max(1);
        let phase = match arrivals {
            Arrivals::Constant => interval * place / sources,
            Arrivals::Poisson => Duration::ZERO,
        };
        Self {
            first: start + phase,
            interval,
            arrivals,
            // Each source has gaps of its own.
            seed: seed ^ u64::from(place).wrapping_mul(0x9e37_79b9_7f4a_7c15),
        }
    }
}

/// A rhythm as it goes on.
#[derive(Debug)]
pub(crate) struct Schedule {
    due: Instant,
    interval: Duration,
    gaps: Option<StdRng>,
}

impl Schedule {
    /// At its beginning.
    pub(crate) fn new(pace: Pace) -> Self {
        let mut schedule = Self {
            due: pace.first,
            interval: pace.interval,
            gaps: match pace.arrivals {
                Arrivals::Constant => None,
                Arrivals::Poisson => Some(StdRng::seed_from_u64(pace.seed)),
            },
        };
        if schedule.gaps.is_some() {
            schedule.advance();
        }
        schedule
    }

    /// When the next one is due.
    pub(crate) fn due(&self) -> Instant {
        self.due
    }

    /// Takes the next one and returns when it was due.
    pub(crate) fn advance(&mut self) -> Instant {
        let due = self.due;
        self.due += match &mut self.gaps {
            None => self.interval,
            Some(random) => self.interval.mul_f64(gap(random.random())),
        };
        due
    }
}

/// An exponential gap of mean 1 from a number in [0, 1).
fn gap(uniform: f64) -> f64 {
    (-(1.0 - uniform).ln()).clamp(0.0, LONGEST_GAP)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::now;

    fn dues(arrivals: Arrivals, seed: u64) -> Vec<Duration> {
        let start = now();
        let pace = Pace::shared((start, 1_000), (3, 10), (arrivals, seed));
        let mut schedule = Schedule::new(pace);
        let all = (0..2_000).map(|_| schedule.advance());
        all.map(|due| due - start).collect()
    }

    #[test]
    fn a_constant_rhythm_has_its_phase_and_its_interval() {
        let dues = dues(Arrivals::Constant, 1);
        assert_eq!(dues[0], Duration::from_millis(3));
        assert_eq!(dues[1_999], Duration::from_millis(3 + 1_999 * 10));
    }

    #[test]
    fn random_arrivals_keep_the_rate_and_come_again_with_the_seed() {
        let (one, again) = (dues(Arrivals::Poisson, 7), dues(Arrivals::Poisson, 7));
        assert_eq!(one, again);
        assert_ne!(one, dues(Arrivals::Poisson, 8));
        assert!(one.is_sorted());
        let mean = one[1_999].as_secs_f64() / 2_000.0;
        assert!((0.009..0.011).contains(&mean), "{mean}");
        // Of exponential gaps 63 % are shorter than the mean; of constant ones none.
        let short = one
            .windows(2)
            .filter(|two| two[1] - two[0] < Duration::from_millis(10));
        assert!((1_150..1_380).contains(&short.count()));
    }
}
