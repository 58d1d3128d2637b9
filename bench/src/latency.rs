//! Latencies, counted in a histogram of three significant digits: no single values are kept.
//!
//! What is handed in decides what a percentile means: paced scenarios count from the time at which
//! a message was due, not from the time at which the generator got round to sending it.

use std::time::Duration;

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use crate::clock::micros;

/// Significant digits: a percentile is at most a thousandth too high.
const DIGITS: u8 = 3;
/// The longest that is told apart, in microseconds: an hour.
const LONGEST_US: u64 = 3_600_000_000;

/// Counts of latencies. Small while they are short: it grows with the longest.
#[derive(Debug, Clone)]
pub(crate) struct Latencies {
    /// The library refuses other numbers of digits only.
    counts: Option<Histogram<u64>>,
}

/// What is printed of them; microseconds.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
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
            counts: Histogram::new(DIGITS).ok(),
        }
    }

    /// Counts one.
    pub(crate) fn record(&mut self, latency: Duration) {
        if let Some(counts) = &mut self.counts {
            // Within the bound the histogram grows as it must.
            let _ = counts.record(micros(latency).min(LONGEST_US));
        }
    }

    /// Counts all of another.
    pub(crate) fn merge(&mut self, other: &Self) {
        if let (Some(mine), Some(theirs)) = (&mut self.counts, &other.counts) {
            // The only refusal is of values that do not fit, and this one grows.
            let _ = mine.add(theirs);
        }
    }

    /// How many.
    pub(crate) fn total(&self) -> u64 {
        self.counts.as_ref().map_or(0, Histogram::len)
    }

    /// The mean, in microseconds; 0 of none.
    pub(crate) fn mean_us(&self) -> f64 {
        match &self.counts {
            Some(counts) if !counts.is_empty() => counts.mean(),
            _ => 0.0,
        }
    }

    /// The usual figures; zeros of none.
    pub(crate) fn percentiles(&self) -> Percentiles {
        let at = |quantile| {
            let counts = self.counts.as_ref();
            counts.map_or(0, |counts| counts.value_at_quantile(quantile))
        };
        Percentiles {
            p50_us: at(0.5),
            p99_us: at(0.99),
            p999_us: at(0.999),
            max_us: self.counts.as_ref().map_or(0, Histogram::max),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn percentiles_match_a_sorted_list(mut all in prop::collection::vec(0u64..1 << 30, 1..500)) {
            let (mut one, mut other) = (Latencies::new(), Latencies::new());
            for (place, us) in all.iter().enumerate() {
                let half = if place % 2 == 0 { &mut one } else { &mut other };
                half.record(Duration::from_micros(*us));
            }
            one.merge(&other);
            prop_assert_eq!(one.total(), all.len() as u64);
            all.sort_unstable();
            let exact = all[(all.len() * 99).div_ceil(100) - 1];
            let found = one.percentiles().p99_us;
            prop_assert!(found >= exact && found <= exact + exact / 500 + 1, "{found} {exact}");
        }
    }

    #[test]
    fn nothing_recorded_is_nothing() {
        let none = Latencies::new();
        assert_eq!(none.percentiles().p99_us, 0);
        assert!(none.mean_us().abs() < f64::EPSILON);
    }

    #[test]
    fn a_latency_of_days_is_counted_as_the_longest() {
        let mut latencies = Latencies::new();
        latencies.record(Duration::from_secs(400_000));
        assert_eq!(latencies.total(), 1);
        assert!(latencies.percentiles().max_us >= LONGEST_US);
    }
}
