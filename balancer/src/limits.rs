//! Bounds on what clients may take: connections and their rate per network prefix, retries
//! over all, log lines per second.
//!
//! Pure: time is a parameter, the span since any fixed moment. Memory is bounded by the
//! connections that exist plus the prefixes seen within one burst's span.

use crate::affinity::AffinityKey;
use std::collections::HashMap;
use std::time::Duration;

/// Limits for one network prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PrefixSettings {
    /// Connections open at the same time.
    pub(crate) connections_max: u32,
    /// New connections a second, in the long run.
    pub(crate) rate: u32,
    /// New connections at once, before `rate` applies.
    pub(crate) burst: u32,
}

/// Why a prefix gets no further connection now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PrefixRefusal {
    TooMany,
    TooFast,
}

#[derive(Clone, Copy, Debug, Default)]
struct Prefix {
    connections: u32,
    /// When the prefix will have used up its arrivals (generic cell rate algorithm).
    arrival: Duration,
}

/// Who holds how many connections.
#[derive(Debug, Default)]
pub(crate) struct PrefixTable {
    prefixes: HashMap<AffinityKey, Prefix>,
    /// The size at which forgotten prefixes are looked for: twice what the last sweep left.
    sweep_at: usize,
}

const SWEEP_MIN: usize = 1_024;

impl PrefixTable {
    /// Counts a connection of `key` in, or says why not.
    pub(crate) fn admit(
        &mut self,
        key: AffinityKey,
        now: Duration,
        settings: &PrefixSettings,
    ) -> Result<(), PrefixRefusal> {
        if self.prefixes.len() >= self.sweep_at.max(SWEEP_MIN) {
            self.prefixes
                .retain(|_, prefix| prefix.connections > 0 || prefix.arrival > now);
            self.sweep_at = self.prefixes.len() * 2;
        }
        let spacing = Duration::from_secs(1) / settings.rate.max(1);
        let prefix = self.prefixes.entry(key).or_default();
        if prefix.connections >= settings.connections_max {
            return Err(PrefixRefusal::TooMany);
        }
        let arrival = prefix.arrival.max(now);
        if arrival - now > spacing * settings.burst.saturating_sub(1) {
            return Err(PrefixRefusal::TooFast);
        }
        prefix.arrival = arrival + spacing;
        prefix.connections += 1;
        Ok(())
    }

    /// Counts a connection of `key` out.
    pub(crate) fn release(&mut self, key: AffinityKey) {
        if let Some(prefix) = self.prefixes.get_mut(&key) {
            prefix.connections = prefix.connections.saturating_sub(1);
        }
    }
}

/// Keeps retries in proportion to clients, so that a sick pool is not hit three times as
/// hard as a healthy one: every new connection earns one retry, kept up to a reserve.
#[derive(Debug)]
pub(crate) struct RetryBudget {
    retries: u32,
    reserve: u32,
}

impl RetryBudget {
    pub(crate) fn new(reserve: u32) -> Self {
        Self {
            retries: reserve,
            reserve,
        }
    }

    pub(crate) fn earn(&mut self) {
        self.retries = self.retries.saturating_add(1).min(self.reserve);
    }

    /// Takes one retry; `None` when none is left.
    pub(crate) fn spend(&mut self) -> Option<()> {
        self.retries = self.retries.checked_sub(1)?;
        Some(())
    }
}

/// Lets one log line a second through, so that a flood of clients cannot flood the log.
#[derive(Debug, Default)]
pub(crate) struct LogGate {
    next: Duration,
    suppressed: u64,
}

impl LogGate {
    /// How many lines were kept back since the last one, if one may be written now.
    pub(crate) fn pass(&mut self, now: Duration) -> Option<u64> {
        if now < self.next {
            self.suppressed += 1;
            return None;
        }
        self.next = now + Duration::from_secs(1);
        Some(std::mem::take(&mut self.suppressed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::net::{IpAddr, Ipv4Addr};

    const SETTINGS: PrefixSettings = PrefixSettings {
        connections_max: 5,
        rate: 10,
        burst: 3,
    };

    fn key(n: u32) -> AffinityKey {
        AffinityKey::of(IpAddr::V4(Ipv4Addr::from(n)))
    }

    #[test]
    fn burst_then_rate_then_count() {
        let mut table = PrefixTable::default();
        let mut admit = |now_ms| table.admit(key(1), Duration::from_millis(now_ms), &SETTINGS);
        for _ in 0..3 {
            assert_eq!(admit(0), Ok(()));
        }
        assert_eq!(admit(0), Err(PrefixRefusal::TooFast));
        assert_eq!(admit(100), Ok(()));
        assert_eq!(admit(100), Err(PrefixRefusal::TooFast));
        assert_eq!(admit(10_000), Ok(()));
        assert_eq!(admit(10_000), Err(PrefixRefusal::TooMany));
        table.release(key(1));
        assert_eq!(
            table.admit(key(1), Duration::from_secs(10), &SETTINGS),
            Ok(())
        );
        assert_eq!(
            table.admit(key(2), Duration::from_secs(10), &SETTINGS),
            Ok(())
        );
    }

    #[test]
    fn forgets_prefixes_that_left() {
        let mut table = PrefixTable::default();
        for n in 0..100_000 {
            let now = Duration::from_millis(u64::from(n));
            table.admit(key(n), now, &SETTINGS).unwrap();
            table.release(key(n));
        }
        assert!(table.prefixes.len() <= 2 * SWEEP_MIN);
    }

    proptest! {
        #[test]
        fn never_more_than_the_limits(steps in prop::collection::vec((0_u64..300, any::<bool>()), 1..300)) {
            let mut table = PrefixTable::default();
            let (mut now, mut open, mut admitted) = (0, 0_u32, 0_u64);
            for (wait_ms, leaves) in steps {
                now += wait_ms;
                if leaves && open > 0 {
                    table.release(key(1));
                    open -= 1;
                }
                if table.admit(key(1), Duration::from_millis(now), &SETTINGS).is_ok() {
                    open += 1;
                    admitted += 1;
                }
                prop_assert!(open <= SETTINGS.connections_max);
                prop_assert!(admitted <= 3 + now * 10 / 1_000 + 1);
            }
        }
    }

    #[test]
    fn retries_follow_clients() {
        let mut budget = RetryBudget::new(2);
        assert!(budget.spend().is_some() && budget.spend().is_some());
        assert!(budget.spend().is_none());
        budget.earn();
        assert!(budget.spend().is_some() && budget.spend().is_none());
    }

    #[test]
    fn one_line_a_second() {
        let mut gate = LogGate::default();
        assert_eq!(gate.pass(Duration::from_secs(5)), Some(0));
        assert_eq!(gate.pass(Duration::from_millis(5_900)), None);
        assert_eq!(gate.pass(Duration::from_millis(6_100)), Some(1));
    }
}
