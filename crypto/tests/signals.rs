//! Signals open in their own epoch and group, from members only.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test stops where it fails"
)]

mod common;

use common::{id, now_ms, pair};
use sotto_crypto::{SignalKind, Suite};

#[test]
fn a_signal_is_opened_by_the_other_and_only_as_it_was_made() {
    for suite in [Suite::Hybrid, Suite::Classical] {
        let it = pair(suite);
        let made = (SignalKind::Typing, 7);
        let sealed = it
            .at_alice
            .seal_signal(&it.alice.store(), &it.alice.me, made)
            .unwrap();
        let signal = it.at_bob.open_signal(&it.bob.store(), &sealed).unwrap();
        assert_eq!(signal.sender, *it.alice.me.certificate());
        assert_eq!((signal.kind, signal.made_at_ms), made);
        for place in 0..sealed.len() {
            let mut bent = sealed.clone();
            bent[place] ^= 1;
            assert!(it.at_bob.open_signal(&it.bob.store(), &bent).is_err());
        }
        for length in [0, 23, sealed.len() - 1] {
            let cut = &sealed[..length];
            assert!(it.at_bob.open_signal(&it.bob.store(), cut).is_err());
        }
    }
}

/// A member cannot speak in the name of another's device.
#[test]
fn a_signal_names_who_signed_it() {
    let it = pair(Suite::Classical);
    let sealed = it
        .at_alice
        .seal_signal(&it.alice.store(), &it.bob.me, (SignalKind::Typing, 7))
        .unwrap();
    let signal = it.at_bob.open_signal(&it.bob.store(), &sealed).unwrap();
    assert_eq!(signal.sender, *it.bob.me.certificate());
}

#[test]
fn a_signal_of_a_former_epoch_says_nothing() {
    let mut it = pair(Suite::Classical);
    let sealed = it
        .at_alice
        .seal_signal(&it.alice.store(), &it.alice.me, (SignalKind::Typing, 7))
        .unwrap();
    let commit = it
        .at_bob
        .stage_self_update(&it.bob.store(), &it.bob.me, &id(2), now_ms())
        .unwrap();
    it.server.reload();
    it.server.apply(2, &commit).unwrap();
    it.bob.merge(&mut it.at_bob, &commit);
    assert!(it.at_bob.open_signal(&it.bob.store(), &sealed).is_err());
}
