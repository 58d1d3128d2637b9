//! How long to wait before the next attempt: exponential with full jitter, so
//! that thousands of clients of a server that died come back spread out.

/// The ceiling of the first wait, in milliseconds.
const FIRST_MS: u64 = 100;
/// The highest ceiling, in milliseconds.
const CEILING_MS: u64 = 10_000;

/// Counts failed attempts.
#[derive(Debug, Default)]
pub(crate) struct Backoff {
    attempts: u32,
}

impl Backoff {
    /// The next wait in milliseconds, chosen by `random` between 0 and a
    /// ceiling that doubles with each call.
    pub(crate) fn next_ms(&mut self, random: u64) -> u64 {
        let ceiling = FIRST_MS
            .saturating_mul(1 << self.attempts.min(16))
            .min(CEILING_MS);
        self.attempts = self.attempts.saturating_add(1);
        random % (ceiling + 1)
    }

    /// After a login: the next wait is a short one again.
    pub(crate) fn reset(&mut self) {
        self.attempts = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grows_to_its_ceiling_and_starts_over() {
        let mut backoff = Backoff::default();
        let mut ceilings = Vec::new();
        for _ in 0..9 {
            // The largest wait of each step: random = k*(ceiling+1) - 1.
            let attempts = backoff.attempts;
            let highest = (0..=CEILING_MS + 1)
                .map(|random| Backoff { attempts }.next_ms(random))
                .max()
                .unwrap();
            ceilings.push(highest);
            backoff.next_ms(0);
        }
        assert_eq!(
            ceilings,
            [100, 200, 400, 800, 1600, 3200, 6400, 10_000, 10_000]
        );
        backoff.reset();
        assert!(backoff.next_ms(u64::MAX) <= FIRST_MS);
        let mut tired = Backoff { attempts: u32::MAX };
        assert!(tired.next_ms(u64::MAX) <= CEILING_MS);
    }
}
