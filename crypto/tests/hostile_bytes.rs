//! Damaged and random bytes at every entrance: refused, never a panic, and
//! the state stays as it was.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test stops where it fails"
)]

mod common;

use std::cell::RefCell;

use common::{ADDRESS, DEPLOYMENT, Pair, id, now_ms, pair};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use sotto_crypto::{Group, Sealed, Suite, inspect_welcome};
use sotto_protocol::wire::EnvelopeKind;
use sotto_roster::{PublicConversation, inspect_key_package};

/// What happens to bytes on the way.
#[derive(Debug, Clone)]
enum Damage {
    Cut(usize),
    Set(usize, u8),
    Insert(usize, Vec<u8>),
    Replace(Vec<u8>),
}

fn damage() -> impl Strategy<Value = Damage> {
    prop_oneof![
        any::<usize>().prop_map(Damage::Cut),
        (any::<usize>(), any::<u8>()).prop_map(|(place, byte)| Damage::Set(place, byte)),
        (any::<usize>(), prop::collection::vec(any::<u8>(), 1..8))
            .prop_map(|(place, bytes)| Damage::Insert(place, bytes)),
        prop::collection::vec(any::<u8>(), 0..300).prop_map(Damage::Replace),
    ]
}

fn damaged(bytes: &[u8], damage: &Damage) -> Vec<u8> {
    let mut result = bytes.to_vec();
    match damage {
        Damage::Cut(place) => result.truncate(place % bytes.len()),
        Damage::Set(place, byte) => result[place % bytes.len()] = *byte,
        Damage::Insert(place, inserted) => {
            let place = place % bytes.len();
            result.splice(place..place, inserted.iter().copied());
        }
        Damage::Replace(other) => result.clone_from(other),
    }
    result
}

fn for_damages(cases: u32, check: impl Fn(&Damage)) {
    let config = Config {
        cases,
        failure_persistence: None,
        ..Config::default()
    };
    let checked = TestRunner::new(config).run(&damage(), |damage| {
        check(&damage);
        Ok(())
    });
    checked.unwrap();
}

#[test]
fn a_server_survives_damaged_group_infos_commits_and_key_packages() {
    for suite in [Suite::Hybrid, Suite::Classical] {
        let Pair {
            alice,
            bob,
            mut at_alice,
            server,
            ..
        } = pair(suite);
        let server = RefCell::new(server);
        let commit = at_alice
            .stage_self_update(&alice.store(), &alice.me, &id(2), now_ms())
            .unwrap();
        let package = bob.key_package(suite, sotto_crypto::KeyPackageUse::OneTime);
        for_damages(400, |damage| {
            let bytes = damaged(&commit.group_info, damage);
            let _ = PublicConversation::create(&bytes, &DEPLOYMENT, &ADDRESS.conversation, 0);
            let bytes = damaged(&package, damage);
            if bytes != package {
                assert!(inspect_key_package(&bytes, &DEPLOYMENT, now_ms()).is_err());
            }
            let bytes = damaged(&commit.commit[..commit.commit.len() - 32], damage);
            let applied =
                server
                    .borrow_mut()
                    .0
                    .apply_commit(&bytes, &commit.group_info, &id(2), now_ms());
            assert!(applied.is_err());
        });
        assert_eq!(server.borrow().0.epoch(), 1);
        server.borrow_mut().apply(2, &commit).unwrap();
    }
}

#[test]
fn a_device_survives_damaged_messages_welcomes_and_group_infos() {
    let mut it = pair(Suite::Classical);
    let sealed = it.alice.say(&mut it.at_alice, 2, "exact");
    let info = it
        .at_alice
        .group_info(&it.alice.store(), &it.alice.me)
        .unwrap();
    let phone = it.bob_account.device(2);
    let add = it
        .at_bob
        .stage_add(
            &it.bob.store(),
            &it.bob.me,
            &id(3),
            &[phone.package()],
            None,
            now_ms(),
        )
        .unwrap();
    let welcome = add.welcome.unwrap();
    it.at_bob.discard_pending(&it.bob.store()).unwrap();
    let at_bob = RefCell::new(it.at_bob);
    for_damages(400, |damage| {
        let bytes = damaged(&sealed, damage);
        if bytes != sealed {
            let entry = Sealed {
                kind: EnvelopeKind::Application,
                client_id: &id(2),
                payload: &bytes,
            };
            assert!(
                at_bob
                    .borrow_mut()
                    .open(&it.bob.store(), &entry, now_ms())
                    .is_err()
            );
        }
        let bytes = damaged(&welcome, damage);
        if bytes != welcome {
            assert!(inspect_welcome(&phone.store(), &phone.me, &bytes).is_err());
        }
        let bytes = damaged(&info, damage);
        if bytes != info {
            assert!(Group::rejoin(&phone.store(), &phone.me, ADDRESS, &bytes, &id(4)).is_err());
        }
    });
    // Nothing was used up.
    assert_eq!(
        common::text_of(&it.bob.hear(&mut at_bob.borrow_mut(), 2, &sealed)),
        "exact"
    );
    assert!(inspect_welcome(&phone.store(), &phone.me, &welcome).is_ok());
}

#[test]
fn damaged_stored_state_is_refused_or_harmless() {
    let it = pair(Suite::Classical);
    let stored = it.server.0.to_bytes();
    assert_eq!(stored.first(), Some(&1));
    for_damages(400, |damage| {
        let bytes = damaged(&stored, damage);
        let _ = PublicConversation::from_bytes(&bytes, &DEPLOYMENT, &ADDRESS.conversation, 0);
    });
    let elsewhere = PublicConversation::from_bytes(&stored, &DEPLOYMENT, &ADDRESS.conversation, 1);
    assert!(elsewhere.is_err());
}
