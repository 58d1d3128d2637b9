//! Weighted rendezvous hashing: which backend a key prefers, computed, never remembered.
//!
//! Each backend has a SipHash key made from its id, so every balancer that knows the same
//! ids ranks them alike without talking, whatever their order in the file. A backend's
//! *distance* from a client is an exponential variate of rate `weight`: the nearest wins, and
//! each backend is nearest for its weight's share of all clients. Adding or removing one
//! moves only the clients that it wins or loses.
//!
//! This module knows nothing of health or load; `pool` does.

use crate::affinity::AffinityKey;
use siphasher::sip::SipHasher13;
use siphasher::sip128;
use std::hash::Hasher as _;

/// Separates these hashes from every other use of SipHash. Changing it moves every client.
const DOMAIN: [u8; 16] = *b"sotto-balancer/1";

/// A backend's SipHash key, made from its id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Seed {
    key0: u64,
    key1: u64,
}

impl Seed {
    pub(crate) fn of(id: &str) -> Self {
        let hash = sip128::SipHasher13::new_with_key(&DOMAIN).hash(id.as_bytes());
        Self {
            key0: hash.h1,
            key1: hash.h2,
        }
    }

    /// How far this backend, of the given weight (≥ 1), is from `key`; the nearest wins.
    pub(crate) fn distance(self, weight: u32, key: AffinityKey) -> f64 {
        let mut hasher = SipHasher13::new_with_keys(self.key0, self.key1);
        hasher.write(&key.to_bytes());
        // 53 bits, centred: strictly between 0 and 1, so the logarithm is finite and negative.
        let uniform = ((hasher.finish() >> 11) as f64 + 0.5) / (1_u64 << 53) as f64;
        -uniform.ln() / f64::from(weight)
    }
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

    fn nearest(backends: &BTreeMap<String, u32>, key: AffinityKey) -> &str {
        backends
            .iter()
            .min_by(|(a, x), (b, y)| {
                Seed::of(a)
                    .distance(**x, key)
                    .total_cmp(&Seed::of(b).distance(**y, key))
            })
            .map(|(id, _)| id.as_str())
            .unwrap()
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
                let before = nearest(&backends, key);
                if before != leaver {
                    prop_assert_eq!(before, nearest(&fewer, key));
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
                let (before, after) = (nearest(&backends, key), nearest(&heavier, key));
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
            *counts.entry(nearest(&backends, key)).or_default() += 1;
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
    fn placement_is_a_published_constant() {
        // A changed hash moves every client of a mixed fleet of balancers; do it knowingly.
        let key = AffinityKey::of("192.0.2.7".parse().unwrap());
        let placed = Seed::of("s1").distance(1, key);
        assert_eq!(format!("{placed:.12}"), PLACED);
    }

    const PLACED: &str = "0.357280287738";
}
