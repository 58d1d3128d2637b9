//! What an inviter says of a group before anybody comes in: opened by whom the
//! commit invites, as the inviter signed it, and by nobody else.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test stops where it fails"
)]

mod common;

use common::{Account, Device, name};
use sotto_crypto::{
    About, Group, KeyPackageUse, LocalDevice, PendingCommit, Suite, WithTree, inspect_invitation,
};
use sotto_roster::Policy;

fn about(title: &str) -> About {
    About {
        title: title.to_owned(),
        description: "on Thursdays".to_owned(),
    }
}

/// Alice's group with the commit that brings Bob in still pending.
fn inviting(suite: Suite) -> (Device, Device, Group, PendingCommit) {
    let (alice, bob) = (Account::new("alice"), Account::new("bob"));
    let (alice, bob) = (alice.device(1), bob.device(1));
    let policy = Policy::pair(name("alice"), name("bob")).unwrap();
    let mut group = alice.create(&policy, suite);
    let package = bob.key_package(suite, KeyPackageUse::OneTime);
    let pending = alice.stage_add(&mut group, 1, package);
    (alice, bob, group, pending)
}

fn opened(bob: &Device, pending: &PendingCommit, note: &[u8]) -> Option<About> {
    let welcome = WithTree::from(pending.welcome.as_ref().unwrap());
    let looked = inspect_invitation(&bob.store(), &bob.me, welcome, note);
    looked.unwrap().1
}

fn sealed(by: &Device, me: &LocalDevice, group: &Group, about: &About) -> Vec<u8> {
    group.seal_invitation(&by.store(), me, about).unwrap()
}

#[test]
fn the_invited_read_what_the_inviter_says_before_they_come_in() {
    for suite in [Suite::Hybrid, Suite::Classical] {
        let (alice, bob, mut group, pending) = inviting(suite);
        let note = sealed(&alice, &alice.me, &group, &about("Chess club"));
        assert_eq!(opened(&bob, &pending, &note), Some(about("Chess club")));
        assert!(!note.windows(5).any(|bytes| bytes == b"Chess"));
        // As often as they look, and the invitation still stands.
        assert_eq!(opened(&bob, &pending, &note), Some(about("Chess club")));
        assert_eq!(opened(&bob, &pending, &[]), None);
        alice.merge(&mut group, &pending);
        bob.join(pending.welcome.as_ref().unwrap());
        let nothing = group.seal_invitation(&alice.store(), &alice.me, &about("late"));
        assert!(nothing.is_err(), "only for those whom a commit brings in");
    }
}

#[test]
fn a_note_that_was_changed_or_is_of_another_group_says_nothing() {
    let (alice, bob, group, pending) = inviting(Suite::Classical);
    let note = sealed(&alice, &alice.me, &group, &about("Chess club"));
    for place in (0..note.len()).step_by(7).chain([0, note.len() - 1]) {
        let mut bent = note.clone();
        bent[place] ^= 1;
        assert_eq!(opened(&bob, &pending, &bent), None, "{place}");
        assert_eq!(opened(&bob, &pending, &note[..place]), None, "{place}");
    }
    let longer = [note.as_slice(), &[0; 4096]].concat();
    assert_eq!(opened(&bob, &pending, &longer), None);
    let (other, _, elsewhere, _) = inviting(Suite::Classical);
    let foreign = sealed(&other, &other.me, &elsewhere, &about("Chess club"));
    assert_eq!(opened(&bob, &pending, &foreign), None);
    // Sealed with the right key, and not by the device that invites.
    let carol = Account::new("carol").device(1);
    let not_hers = sealed(&alice, &carol.me, &group, &about("Chess club"));
    assert_eq!(opened(&bob, &pending, &not_hers), None);
}

/// The length of a title does not show, and nothing is too long to be said.
#[test]
fn notes_have_few_sizes() {
    let (alice, bob, group, pending) = inviting(Suite::Classical);
    let size = |title: &str, description: &str| {
        let about = About {
            title: title.to_owned(),
            description: description.to_owned(),
        };
        let note = sealed(&alice, &alice.me, &group, &about);
        assert_eq!(opened(&bob, &pending, &note), Some(about));
        note.len()
    };
    assert_eq!(size("a", ""), 512);
    assert_eq!(size(&"a".repeat(128), &"b".repeat(200)), 512);
    assert_eq!(size(&"a".repeat(128), &"b".repeat(1_024)), 2_048);
    let endless = About {
        title: "a".repeat(129),
        description: String::new(),
    };
    let refused = group.seal_invitation(&alice.store(), &alice.me, &endless);
    assert!(refused.is_err());
}
