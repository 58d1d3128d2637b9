//! Latencies in buckets of bounded number and bounded relative error.
//!
//! Each power of two is cut into 64 buckets, so a percentile is at most 1.6 % too high. Keeps no
//! single values and allocates once.

use std::time::Duration;

use serde::Serialize;

use crate::clock::micros;

/// Buckets for each power of two.
const STEPS: u64 = 64;
/// Bits of `STEPS`.
const STEP_BITS: u32 = 6;
/// Enough for every latency below 2^36 µs, about 19 hours.
const BUCKETS: usize = 64 * 32;

/// Counts of latencies.
#[derive(Debug, Clone)]
pub(crate) struct Latencies {
    counts: Vec<u64>,
    total: u64,
    max_us: u64,
}

/// What is printed of them; microseconds.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Percentiles {
    /// The median.
    pub(crate) p50_us: u64,
    /// 99 of 100 were not longer.
    pub(crate) p99_us: u64,
    /// 999 of 1,000 were not longer.
    pub(crate) p999_us: u64,
    /// The longest.
    pub(crate) max_us: u64,
}

impl Default for Latencies {
    fn default() -> Self {
        Self::new()
    }
}

impl Latencies {
    /// None yet.
    pub(crate) fn new() -> Self {
        Self {
            counts: vec![0; BUCKETS],
            total: 0,
            max_us: 0,
        }
    }

    /// Counts one.
    pub(crate) fn record(&mut self, latency: Duration) {
        let us = micros(latency);
        if let Some(count) = self.counts.get_mut(bucket(us)) {
            *count += 1;
        }
        self.total += 1;
        self.max_us = self.max_us.max(us);
    }

    /// Counts all of another.
    pub(crate) fn merge(&mut self, other: &Self) {
        for (mine, theirs) in self.counts.iter_mut().zip(&other.counts) {
            *mine += theirs;
        }
        self.total += other.total;
        self.max_us = self.max_us.max(other.max_us);
    }

    /// How many.
    pub(crate) fn total(&self) -> u64 {
        self.total
    }

    /// The usual figures.
    pub(crate) fn percentiles(&self) -> Percentiles {
        Percentiles {
            p50_us: self.quantile_us(500),
            p99_us: self.quantile_us(990),
            p999_us: self.quantile_us(999),
            max_us: self.max_us,
        }
    }

    /// The upper end of the bucket below which `per_mille` of 1,000 lie.
    fn quantile_us(&self, per_mille: u64) -> u64 {
        let rank = self.total.saturating_mul(per_mille).div_ceil(1_000);
        let mut seen = 0;
        for (place, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= rank && seen > 0 {
                return upper_us(place).min(self.max_us);
            }
        }
        self.max_us
    }
}

fn bucket(us: u64) -> usize {
    let place = if us < STEPS {
        us
    } else {
        let exponent = us.ilog2() - STEP_BITS;
        u64::from(exponent) * STEPS + (us >> exponent)
    };
    usize::try_from(place).unwrap_or(BUCKETS).min(BUCKETS - 1)
}

fn upper_us(place: usize) -> u64 {
    let place = place as u64;
    if place < 2 * STEPS {
        return place;
    }
    let exponent = place / STEPS - 1;
    let step = place - exponent * STEPS;
    ((step + 1) << exponent) - 1
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_bucket_holds_its_value_within_two_per_cent(us in 0u64..1 << 35) {
            let upper = upper_us(bucket(us));
            prop_assert!(upper >= us);
            prop_assert!(upper - us <= us / 60 + 1);
        }

        #[test]
        fn percentiles_match_a_sorted_list(mut all in prop::collection::vec(0u64..1 << 30, 1..500)) {
            let mut latencies = Latencies::new();
            for us in &all {
                latencies.record(Duration::from_micros(*us));
            }
            all.sort_unstable();
            let exact = all[(all.len() * 99).div_ceil(100) - 1];
            let found = latencies.percentiles().p99_us;
            prop_assert!(found >= exact && found <= exact + exact / 60 + 1);
        }
    }

    #[test]
    fn nothing_recorded_is_nothing() {
        assert_eq!(Latencies::new().percentiles().p99_us, 0);
    }
}
