//! Weighted rendezvous hashing: which backend a key prefers, computed, never remembered.
//!
//! The client's key is hashed once (SipHash) and mixed with a seed made from each backend's
//! id (SipHash too), so every balancer that knows the same ids ranks them alike without
//! talking, whatever their order in the file. A backend's *distance* from a client is an
//! exponential variate of rate `weight`: the nearest wins, and each backend is nearest for
//! its weight's share of all clients. Adding or removing one moves only the clients that it
//! wins or loses.
//!
//! This module knows nothing of health or load; `pool` does.

use crate::affinity::AffinityKey;
use siphasher::sip::SipHasher13;
use siphasher::sip128;

/// Separates these hashes from every other use of SipHash. Changing it moves every client.
const DOMAIN: [u8; 16] = *b"sotto-balancer/1";

/// A client's place among all clients: its key, hashed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place(u64);

impl Place {
    pub(crate) fn of(key: AffinityKey) -> Self {
        Self(SipHasher13::new_with_key(&DOMAIN).hash(&key.to_bytes()))
    }
}

/// A backend's part in the hash, made from its id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Seed {
    outer: u64,
    inner: u64,
}

impl Seed {
    pub(crate) fn of(id: &str) -> Self {
        let hash = sip128::SipHasher13::new_with_key(&DOMAIN).hash(id.as_bytes());
        Self {
            outer: hash.h1,
            inner: hash.h2,
        }
    }

    /// A number strictly between 0 and 1 (53 bits, centred), so its logarithm is finite.
    fn uniform(self, place: Place) -> f64 {
        let mixed = mix(mix(place.0 ^ self.outer) ^ self.inner);
        ((mixed >> 11) as f64 + 0.5) / (1_u64 << 53) as f64
    }
}

/// A backend that may be chosen.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Candidate {
    /// What the caller calls it.
    pub(crate) index: usize,
    pub(crate) seed: Seed,
    /// At least 1.
    pub(crate) weight: u32,
}

/// The candidate nearest to `place`; equally near ones (there are none in practice) are
/// decided by their order.
pub(crate) fn nearest(
    place: Place,
    candidates: impl IntoIterator<Item = Candidate>,
) -> Option<usize> {
    let mut best = (f64::INFINITY, None);
    for candidate in candidates {
        let uniform = candidate.seed.uniform(place);
        let weight = f64::from(candidate.weight);
        // −ln u ≥ 1 − u: most candidates are out before their logarithm is needed.
        if (1.0 - uniform) / weight >= best.0 {
            continue;
        }
        let distance = -uniform.ln() / weight;
        if distance < best.0 {
            best = (distance, Some(candidate.index));
        }
    }
    best.1
}

/// The finaliser of MurmurHash3: every input bit reaches every output bit.
fn mix(mut bits: u64) -> u64 {
    bits = (bits ^ (bits >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    bits = (bits ^ (bits >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    bits ^ (bits >> 33)
}

/// The most connections that a backend of `weight` may hold when `total` of them (the new
/// one included) are spread over backends of `weights_total`: a quarter more than its fair
/// share (ε = 0.25), rounded up.
pub(crate) fn capacity(total: u64, weight: u32, weights_total: u64) -> u64 {
    let share = u128::from(total) * u128::from(weight) * 5;
    let capacity = share.div_ceil(u128::from(weights_total.max(1)) * 4);
    u64::try_from(capacity).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::{BTreeMap, BTreeSet};
    use std::net::{IpAddr, Ipv4Addr};

    fn home(backends: &BTreeMap<String, u32>, key: AffinityKey) -> &str {
        let candidates = backends
            .iter()
            .enumerate()
            .map(|(index, (id, weight))| Candidate {
                index,
                seed: Seed::of(id),
                weight: *weight,
            });
        let index = nearest(Place::of(key), candidates).unwrap();
        backends.keys().nth(index).unwrap()
    }

    fn keys(count: u32) -> impl Iterator<Item = AffinityKey> {
        (0..count).map(|n| AffinityKey::of(IpAddr::V4(Ipv4Addr::from(0x0a00_0000 + n * 7))))
    }

    fn some_backends() -> impl Strategy<Value = BTreeMap<String, u32>> {
        prop::collection::btree_map("[a-z]{1,6}", 1_u32..20, 2..12)
    }

    proptest! {
        #[test]
        fn a_leaving_backend_moves_only_its_own_clients(
            backends in some_backends(),
            leaver in any::<prop::sample::Index>(),
        ) {
            let ids: BTreeSet<String> = backends.keys().cloned().collect();
            let leaver = ids.iter().nth(leaver.index(ids.len())).unwrap();
            let mut fewer = backends.clone();
            fewer.remove(leaver);
            for key in keys(200) {
                let before = home(&backends, key);
                if before != leaver {
                    prop_assert_eq!(before, home(&fewer, key));
                }
            }
        }

        #[test]
        fn a_raised_weight_only_attracts(
            backends in some_backends(),
            raised in any::<prop::sample::Index>(),
        ) {
            let ids: BTreeSet<String> = backends.keys().cloned().collect();
            let raised = ids.iter().nth(raised.index(ids.len())).unwrap();
            let mut heavier = backends.clone();
            *heavier.get_mut(raised).unwrap() += 5;
            for key in keys(200) {
                let (before, after) = (home(&backends, key), home(&heavier, key));
                prop_assert!(before == after || after == raised);
            }
        }

        #[test]
        fn capacities_hold_everybody(
            total in 1_u64..5_000_000,
            weights in prop::collection::vec(1_u32..1_000, 1..100),
        ) {
            let all: u64 = weights.iter().copied().map(u64::from).sum();
            let room: u64 = weights.iter().map(|weight| capacity(total, *weight, all)).sum();
            prop_assert!(room >= total);
        }
    }

    #[test]
    fn shares_follow_weights() {
        let backends: BTreeMap<String, u32> = [("a", 1), ("b", 2), ("c", 5)]
            .map(|(id, weight)| (id.to_owned(), weight))
            .into();
        let mut counts: BTreeMap<&str, u32> = BTreeMap::new();
        for key in keys(80_000) {
            *counts.entry(home(&backends, key)).or_default() += 1;
        }
        for (id, weight) in &backends {
            let expected = 10_000 * weight;
            let found = counts[id.as_str()];
            assert!(
                found.abs_diff(expected) < expected / 20,
                "{id}: {found} of {expected}"
            );
        }
    }

    #[test]
    fn the_nearest_is_the_one_of_least_distance() {
        let backends: Vec<Candidate> = (0..50)
            .map(|index| Candidate {
                index,
                seed: Seed::of(&format!("s{index}")),
                weight: 1 + (index % 7) as u32,
            })
            .collect();
        for key in keys(2_000) {
            let place = Place::of(key);
            let distance = |one: &Candidate| -one.seed.uniform(place).ln() / f64::from(one.weight);
            let least = backends
                .iter()
                .min_by(|a, b| distance(a).total_cmp(&distance(b)))
                .unwrap();
            assert_eq!(nearest(place, backends.iter().copied()), Some(least.index));
        }
    }

    #[test]
    fn placement_is_a_published_constant() {
        // A changed hash moves every client of a mixed fleet of balancers; do it knowingly.
        let place = Place::of(AffinityKey::of("192.0.2.7".parse().unwrap()));
        let uniform = Seed::of("s1").uniform(place);
        assert_eq!(format!("{uniform:.12}"), "0.955526119789");
    }
}
