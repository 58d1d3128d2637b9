//! Properties of placement: agreement, bounded load, minimal disruption, ejection bounds.

use super::*;
use proptest::prelude::*;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};

const NOW: Duration = Duration::from_secs(100);

fn settings() -> PoolSettings {
    PoolSettings {
        health: HealthSettings {
            fall: 2,
            rise: 2,
            eject_after: 3,
            eject_base: Duration::from_secs(1),
            eject_max: Duration::from_secs(30),
        },
        handshakes_max: 1_000_000,
    }
}

fn backend(number: usize, weight: u32) -> BackendConfig {
    BackendConfig {
        id: format!("s{number}"),
        address: format!("127.0.0.1:{}", 7_000 + number).parse().unwrap(),
        health: None,
        weight,
    }
}

fn backends(weights: &[u32]) -> Vec<BackendConfig> {
    weights
        .iter()
        .enumerate()
        .map(|(number, weight)| backend(number, *weight))
        .collect()
}

fn key(n: u32) -> AffinityKey {
    AffinityKey::of(IpAddr::V4(Ipv4Addr::from(0x0a00_0000 + n)))
}

fn serve(pool: &mut Pool, key: AffinityKey) -> Serial {
    let pick = pool.pick(key, NOW, &[]).unwrap();
    pool.handle_answered(pick.serial);
    pick.serial
}

fn id(pool: &Pool, serial: Serial) -> String {
    pool.members()
        .find(|(member, _)| *member == serial)
        .unwrap()
        .1
        .id
        .clone()
}

/// An attempt that fails and ends.
fn fail(pool: &mut Pool, serial: Serial, now: Duration) -> Option<(String, Duration)> {
    let ejected = pool.handle_failure(serial, now);
    pool.handle_ended(serial, now);
    ejected
}

/// Where a client lands that comes alone and leaves again.
fn lone(pool: &mut Pool, key: AffinityKey) -> String {
    let serial = serve(pool, key);
    pool.handle_closed(serial);
    id(pool, serial)
}

proptest! {
    #[test]
    fn two_balancers_agree_without_talking(
        weights in prop::collection::vec(1_u32..10, 1..12),
        clients in prop::collection::vec(0_u32..1_000, 1..300),
    ) {
        let configs = backends(&weights);
        let mut reversed = configs.clone();
        reversed.reverse();
        let mut here = Pool::new(settings(), &configs);
        let mut there = Pool::new(settings(), &reversed);
        for client in clients {
            // Alone: by the order only. Then with load, from the same history.
            prop_assert_eq!(lone(&mut here, key(client)), lone(&mut there, key(client)));
            let (a, b) = (serve(&mut here, key(client)), serve(&mut there, key(client)));
            prop_assert_eq!(id(&here, a), id(&there, b));
        }
    }

    #[test]
    fn no_backend_exceeds_its_bound(
        weights in prop::collection::vec(1_u32..10, 1..12),
        clients in prop::collection::vec((0_u32..30, any::<bool>()), 1..400),
    ) {
        let all: u64 = weights.iter().copied().map(u64::from).sum();
        let mut pool = Pool::new(settings(), &backends(&weights));
        let mut open = Vec::new();
        for (client, leaves) in clients {
            if leaves && let Some(serial) = open.pop() {
                pool.handle_closed(serial);
            }
            let serial = serve(&mut pool, key(client));
            open.push(serial);
            let index = pool.members().position(|(member, _)| member == serial).unwrap();
            let chosen = &pool.status(NOW)[index];
            let room = capacity(open.len() as u64, chosen.weight, all);
            prop_assert!(u64::from(chosen.connections) <= room);
        }
    }

    #[test]
    fn thousands_behind_one_address_spread(weights in prop::collection::vec(1_u32..5, 2..8)) {
        let all: u64 = weights.iter().copied().map(u64::from).sum();
        let mut pool = Pool::new(settings(), &backends(&weights));
        for _ in 0..3_000 {
            serve(&mut pool, key(1));
        }
        for status in pool.status(NOW) {
            prop_assert!(u64::from(status.connections) <= capacity(3_000, status.weight, all));
        }
    }

    #[test]
    fn a_changed_pool_moves_the_fewest_clients(
        weights in prop::collection::vec(1_u32..10, 2..12),
        added in 1_u32..10,
    ) {
        let before = backends(&weights);
        let mut after = before.clone();
        after.push(backend(99, added));
        let mut pool = Pool::new(settings(), &before);
        let old: HashMap<u32, String> = (0..300).map(|n| (n, lone(&mut pool, key(n)))).collect();
        prop_assert!(pool.apply(settings(), &after).is_empty());
        for (client, home) in &old {
            let new = lone(&mut pool, key(*client));
            prop_assert!(new == *home || new == "s99");
        }
        prop_assert_eq!(pool.apply(settings(), &before).len(), 1);
        for (client, home) in &old {
            prop_assert_eq!(&lone(&mut pool, key(*client)), home);
        }
    }

    #[test]
    fn counts_return_to_zero(steps in prop::collection::vec((0_u32..50, 0_u8..4), 1..300)) {
        let mut pool = Pool::new(settings(), &backends(&[1, 2, 3]));
        let mut open = Vec::new();
        for (client, end) in steps {
            let Ok(pick) = pool.pick(key(client), NOW, &[]) else { continue };
            match end {
                0 => { fail(&mut pool, pick.serial, NOW); }
                1 => pool.handle_ended(pick.serial, NOW),
                _ => { pool.handle_answered(pick.serial); open.push(pick.serial); }
            }
        }
        pool.apply(settings(), &backends(&[1]));
        for serial in open {
            pool.handle_closed(serial);
        }
        let status = pool.status(NOW);
        prop_assert_eq!(status.len(), 1);
        prop_assert!(status.iter().all(|one| one.connections == 0 && one.handshakes == 0));
    }
}

#[test]
fn never_ejects_more_than_half() {
    let mut pool = Pool::new(settings(), &backends(&[1, 1, 1, 1, 1]));
    let serials: Vec<Serial> = pool.members().map(|(serial, _)| serial).collect();
    let mut ejected = 0;
    for serial in serials {
        for _ in 0..10 {
            ejected += usize::from(pool.handle_failure(serial, NOW).is_some());
        }
    }
    assert_eq!(ejected, 2);
    assert_eq!(pool.available(NOW), 3);
}

#[test]
fn an_ejected_backend_returns_by_one_trial() {
    let mut pool = Pool::new(settings(), &backends(&[1, 1]));
    let pick = pool.pick(key(1), NOW, &[]).unwrap();
    for _ in 0..3 {
        fail(&mut pool, pick.serial, NOW);
    }
    assert_ne!(serve(&mut pool, key(1)), pick.serial);
    let later = NOW + Duration::from_secs(2);
    // One client is the trial; the next one goes elsewhere until it has succeeded.
    let mut clients = (0..200).map(|n| pool.pick(key(n), later, &[]).unwrap().serial);
    let trials = clients
        .by_ref()
        .filter(|serial| *serial == pick.serial)
        .count();
    assert_eq!(trials, 1);
    pool.handle_answered(pick.serial);
    assert_eq!(pool.available(later), 2);
}

#[test]
fn all_down_is_tried_in_hash_order_and_each_once() {
    let configs: Vec<BackendConfig> = backends(&[1, 1, 1])
        .into_iter()
        .map(|config| BackendConfig {
            health: Some("http://127.0.0.1:1/readyz".parse().unwrap()),
            ..config
        })
        .collect();
    let mut pool = Pool::new(settings(), &configs);
    assert_eq!(pool.available(NOW), 0);
    let mut tried = Vec::new();
    for _ in 0..3 {
        tried.push(pool.pick(key(7), NOW, &tried).unwrap().serial);
    }
    assert_eq!(pool.pick(key(7), NOW, &tried), Err(PickError::Exhausted));
    let mut assumed = Pool::new(settings(), &backends(&[1, 1, 1]));
    assert_eq!(id(&pool, tried[0]), lone(&mut assumed, key(7)));
}

#[test]
fn a_backend_that_went_down_gets_no_clients() {
    let mut pool = Pool::new(settings(), &backends(&[1, 1, 1]));
    let victim = serve(&mut pool, key(3));
    assert_eq!(pool.handle_probe(victim, ProbeOutcome::Failed), None);
    let (_, transition) = pool.handle_probe(victim, ProbeOutcome::Failed).unwrap();
    assert_eq!(transition, Transition::WentDown);
    for client in 0..300 {
        assert_ne!(serve(&mut pool, key(client)), victim);
    }
}

#[test]
fn handshakes_in_flight_are_limited() {
    let limited = PoolSettings {
        handshakes_max: 2,
        ..settings()
    };
    let mut pool = Pool::new(limited, &backends(&[1, 1]));
    let picks: Vec<Serial> = (0..4)
        .map(|_| pool.pick(key(1), NOW, &[]).unwrap().serial)
        .collect();
    assert_eq!(pool.pick(key(1), NOW, &[]), Err(PickError::Busy));
    pool.handle_answered(picks[0]);
    assert!(pool.pick(key(1), NOW, &[]).is_ok());
}

#[test]
fn a_removed_backend_is_drained_and_then_forgotten() {
    let mut pool = Pool::new(settings(), &backends(&[1, 1]));
    let clients: Vec<Serial> = (0..50).map(|n| serve(&mut pool, key(n))).collect();
    let left = pool.apply(settings(), &backends(&[1]));
    assert_eq!(left.len(), 1);
    assert!(
        pool.status(NOW)
            .iter()
            .any(|one| one.state == State::Draining)
    );
    for client in 0..50 {
        assert_ne!(serve(&mut pool, key(client)), left[0]);
    }
    for serial in clients {
        pool.handle_closed(serial);
    }
    assert!(pool.status(NOW).iter().all(|one| one.state == State::Up));
}
