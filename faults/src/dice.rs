//! The randomness of a run: one seed, one sequence for each part, the same with every version.
//!
//! SplitMix64, written out, so that a seed that found a fault still finds it after an update of a
//! library. Not for keys.

/// A sequence of choices.
#[derive(Debug, Clone)]
pub(crate) struct Dice(u64);

impl Dice {
    /// The sequence of one part of a run.
    pub(crate) const fn new(seed: u64, part: u64) -> Self {
        Self(seed ^ part.wrapping_mul(0xd134_2543_de82_ef95))
    }

    /// Any number.
    pub(crate) const fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number from `low` to below `high`; `low` where there is none.
    pub(crate) const fn within(&mut self, low: u64, high: u64) -> u64 {
        if high <= low {
            return low;
        }
        low + self.number() % (high - low)
    }

    /// An index below `len`; 0 where there is none.
    pub(crate) fn index(&mut self, len: usize) -> usize {
        usize::try_from(self.within(0, len as u64)).unwrap_or(0)
    }

    /// Whether something happens that happens `per_mille` times in a thousand.
    pub(crate) const fn chance(&mut self, per_mille: u64) -> bool {
        self.number() % 1_000 < per_mille
    }

    /// One of them.
    pub(crate) fn pick<'a, T>(&mut self, from: &'a [T]) -> Option<&'a T> {
        let index = self.index(from.len());
        from.get(index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_means_the_same_sequence_for_ever() {
        let mut dice = Dice::new(1, 2);
        let first: Vec<u64> = (0..3).map(|_| dice.number()).collect();
        let mut again = Dice::new(1, 2);
        assert_eq!(first, [again.number(), again.number(), again.number()]);
        assert_ne!(first[0], Dice::new(1, 3).number());
        let mut known = Dice::new(0, 0);
        assert_eq!(
            known.number(),
            0xe220_a839_7b1d_cdaf,
            "SplitMix64 of seed 0"
        );
    }

    #[test]
    fn choices_stay_in_their_bounds() {
        let mut dice = Dice::new(7, 0);
        for _ in 0..1_000 {
            assert!((3..9).contains(&dice.within(3, 9)));
        }
        assert_eq!(dice.within(5, 5), 5);
        assert_eq!(dice.pick::<u8>(&[]), None);
        assert!(!dice.chance(0) && dice.chance(1_000));
    }
}
