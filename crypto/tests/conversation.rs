//! The life of a conversation between two people, with a server following it.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test stops where it fails"
)]

mod common;

use common::{ADDRESS, Account, id, name, now_ms, pair, text_of};
use sotto_crypto::{
    Group, KeyPackageUse, OpenError, Opened, Sealed, Suite, WelcomeError, inspect_welcome,
};
use sotto_protocol::wire::EnvelopeKind;
use sotto_roster::{CommitError, Denied, MembershipChange, Policy};

#[test]
fn two_people_write_to_each_other_in_both_suites() {
    for suite in [Suite::Hybrid, Suite::Classical] {
        let mut it = pair(suite);
        assert_eq!(it.at_bob.suite(), Some(suite));
        assert_eq!(it.at_alice.authenticator(), it.at_bob.authenticator());
        for round in 0..5 {
            let hello = it.alice.say(&mut it.at_alice, round, "hello");
            let message = it.bob.hear(&mut it.at_bob, round, &hello);
            assert_eq!(text_of(&message), "hello");
            assert_eq!(message.sender, *it.alice.me.certificate());
            let answer = it.bob.say(&mut it.at_bob, round, "hi");
            assert_eq!(
                text_of(&it.alice.hear(&mut it.at_alice, round, &answer)),
                "hi"
            );
        }
    }
}

#[test]
fn a_self_update_moves_everybody_to_the_next_epoch() {
    let mut it = pair(Suite::Hybrid);
    let commit = it
        .at_bob
        .stage_self_update(&it.bob.store(), &it.bob.me, &id(2), now_ms())
        .unwrap();
    it.server.reload();
    let applied = it.server.apply(2, &commit).unwrap();
    assert_eq!(applied.after.epoch, 2);
    assert!(applied.added.is_empty() && applied.removed.is_empty() && !applied.external);
    it.bob.merge(&mut it.at_bob, &commit);
    it.alice.follow(&mut it.at_alice, 2, &commit);
    assert_eq!(it.at_alice.authenticator(), it.at_bob.authenticator());
    assert_eq!(it.at_alice.roster(), it.server.0.roster());
    let hello = it.alice.say(&mut it.at_alice, 3, "after");
    assert_eq!(text_of(&it.bob.hear(&mut it.at_bob, 3, &hello)), "after");
}

#[test]
fn a_refused_commit_is_discarded_and_a_stale_message_sealed_again() {
    let mut it = pair(Suite::Classical);
    let stale = it.alice.say(&mut it.at_alice, 5, "stale");
    let mine = it
        .at_alice
        .stage_self_update(&it.alice.store(), &it.alice.me, &id(2), now_ms())
        .unwrap();
    let theirs = it
        .at_bob
        .stage_self_update(&it.bob.store(), &it.bob.me, &id(3), now_ms())
        .unwrap();
    it.server.apply(3, &theirs).unwrap();
    assert_eq!(
        it.server.apply(2, &mine).err(),
        Some(CommitError::WrongEpoch)
    );
    it.bob.merge(&mut it.at_bob, &theirs);
    // Alice's pending commit survives a restart, and goes when the other's arrives.
    it.at_alice = it.alice.group();
    assert!(it.at_alice.has_pending());
    it.at_alice.discard_pending(&it.alice.store()).unwrap();
    it.alice.follow(&mut it.at_alice, 3, &theirs);
    let refused = it
        .bob
        .open(&mut it.at_bob, EnvelopeKind::Application, 5, &stale);
    assert!(matches!(refused, Err(OpenError::PastEpoch)));
    let again = it.alice.say(&mut it.at_alice, 5, "stale");
    assert_eq!(text_of(&it.bob.hear(&mut it.at_bob, 5, &again)), "stale");
}

#[test]
fn another_device_is_added_by_its_owner_and_removed_again() {
    let mut it = pair(Suite::Classical);
    let phone = it.bob_account.device(2);
    let add = it.bob.stage_add(&mut it.at_bob, 2, phone.package());
    let applied = it.server.apply(2, &add).unwrap();
    assert_eq!(applied.added, vec![phone.me.certificate().clone()]);
    it.bob.merge(&mut it.at_bob, &add);
    let opened = it
        .alice
        .open(&mut it.at_alice, EnvelopeKind::Commit, 2, &add.commit)
        .unwrap();
    let Opened::Commit(summary) = opened else {
        panic!("expected a commit")
    };
    assert_eq!(
        summary.changes,
        vec![MembershipChange::Added(phone.me.certificate().clone())]
    );
    let mut at_phone = phone.join(add.welcome.as_ref().unwrap());
    let hello = it.alice.say(&mut it.at_alice, 3, "to all");
    assert_eq!(text_of(&phone.hear(&mut at_phone, 3, &hello)), "to all");

    let gone = at_phone.own_leaf();
    let removal = it
        .at_bob
        .stage_remove(&it.bob.store(), &it.bob.me, &id(4), &[gone], None, now_ms())
        .unwrap();
    it.server.apply(4, &removal).unwrap();
    it.bob.merge(&mut it.at_bob, &removal);
    it.alice.follow(&mut it.at_alice, 4, &removal);
    phone.follow(&mut at_phone, 4, &removal);
    assert!(!at_phone.is_active());
    let after = it.alice.say(&mut it.at_alice, 5, "without the phone");
    assert!(
        phone
            .open(&mut at_phone, EnvelopeKind::Application, 5, &after)
            .is_err()
    );
}

#[test]
fn nobody_adds_a_third_person_or_removes_the_other() {
    let mut it = pair(Suite::Classical);
    let mallory = common::Account::new("mallory").device(1);
    let add = it.at_alice.stage_add(
        &it.alice.store(),
        &it.alice.me,
        &id(2),
        &[mallory.package()],
        None,
        now_ms(),
    );
    assert!(matches!(
        add,
        Err(sotto_crypto::GroupError::Denied(Denied::NotInPolicy))
    ));
    assert!(!it.at_alice.has_pending());
    let bob = it.at_bob.own_leaf();
    let removal = it.at_alice.stage_remove(
        &it.alice.store(),
        &it.alice.me,
        &id(2),
        &[bob],
        None,
        now_ms(),
    );
    assert!(matches!(
        removal,
        Err(sotto_crypto::GroupError::Denied(Denied::RoleTooLow))
    ));
    // The refusals left the group usable.
    let hello = it.alice.say(&mut it.at_alice, 3, "still here");
    assert_eq!(
        text_of(&it.bob.hear(&mut it.at_bob, 3, &hello)),
        "still here"
    );
}

#[test]
fn a_welcome_can_be_looked_at_many_times_and_accepted_once() {
    let alice_account = common::Account::new("alice");
    let bob_account = common::Account::new("bob");
    let (alice, bob) = (alice_account.device(1), bob_account.device(1));
    let policy = Policy::pair(name("alice"), name("bob")).unwrap();
    let mut at_alice = alice.create(&policy, Suite::Hybrid);
    let package = bob.key_package(Suite::Hybrid, KeyPackageUse::OneTime);
    let commit = alice.stage_add(&mut at_alice, 1, package);
    let welcome = commit.welcome.as_ref().unwrap();
    for _ in 0..2 {
        let summary = inspect_welcome(&bob.store(), &bob.me, welcome).unwrap();
        assert_eq!(summary.address, ADDRESS);
        assert_eq!(summary.inviter, *alice.me.certificate());
        assert_eq!(summary.roster.epoch, 1);
    }
    assert!(
        Group::load(&bob.store(), &bob.me, ADDRESS)
            .unwrap()
            .is_none()
    );
    bob.join(welcome);
    let again = inspect_welcome(&bob.store(), &bob.me, welcome);
    assert!(matches!(again, Err(WelcomeError::NoKeyPackage)));
}

#[test]
fn a_last_resort_package_serves_twice_and_a_one_time_package_once() {
    for (purpose, expected) in [
        (KeyPackageUse::LastResort, true),
        (KeyPackageUse::OneTime, false),
    ] {
        let bob = common::Account::new("bob").device(1);
        let package = bob.key_package(Suite::Classical, purpose);
        let policy = Policy::pair(name("alice"), name("bob")).unwrap();
        let mut joined = Vec::new();
        for generation in 0..2_u8 {
            let alice = common::Account::new("alice").device(generation);
            let address = sotto_crypto::Address {
                generation: u32::from(generation),
                ..ADDRESS
            };
            let mut group = Group::create(
                &alice.store(),
                &alice.me,
                address,
                &policy,
                Suite::Classical,
                now_ms(),
            )
            .unwrap();
            let commit = alice.stage_add(&mut group, 1, package.clone());
            let welcome = commit.welcome.unwrap();
            joined.push(Group::join(&bob.store(), &bob.me, address, &welcome).is_ok());
        }
        assert_eq!(joined, vec![true, expected]);
    }
}

#[test]
fn a_device_that_lost_its_state_comes_back_by_itself() {
    let mut it = pair(Suite::Hybrid);
    it.at_bob.delete(&it.bob.store()).unwrap();
    let info = it
        .at_alice
        .group_info(&it.alice.store(), &it.alice.me)
        .unwrap();
    let rejoin = Group::rejoin(&it.bob.store(), &it.bob.me, ADDRESS, &info, &id(7)).unwrap();
    it.server.reload();
    let applied = it.server.apply(7, &rejoin.commit).unwrap();
    assert!(applied.external);
    assert!(applied.added.is_empty() && applied.removed.is_empty());
    it.alice.follow(&mut it.at_alice, 7, &rejoin.commit);
    let mut at_bob = rejoin.group;
    assert_eq!(at_bob.roster(), it.server.0.roster());
    assert_eq!(at_bob.roster().leaves.len(), 2);
    let hello = it.alice.say(&mut it.at_alice, 8, "welcome back");
    assert_eq!(
        text_of(&it.bob.hear(&mut at_bob, 8, &hello)),
        "welcome back"
    );
    let answer = it.bob.say(&mut at_bob, 9, "thanks");
    assert_eq!(
        text_of(&it.alice.hear(&mut it.at_alice, 9, &answer)),
        "thanks"
    );
}

#[test]
fn a_new_device_of_a_member_enters_by_itself_and_a_strangers_does_not() {
    let mut it = pair(Suite::Classical);
    let info = it
        .at_alice
        .group_info(&it.alice.store(), &it.alice.me)
        .unwrap();
    let phone = it.bob_account.device(2);
    let rejoin = Group::rejoin(&phone.store(), &phone.me, ADDRESS, &info, &id(7)).unwrap();
    let applied = it.server.apply(7, &rejoin.commit).unwrap();
    assert_eq!(applied.added, vec![phone.me.certificate().clone()]);
    it.alice.follow(&mut it.at_alice, 7, &rejoin.commit);
    it.bob.follow(&mut it.at_bob, 7, &rejoin.commit);
    assert_eq!(it.at_alice.roster().leaves.len(), 3);

    // The same name under another identity is somebody else.
    let info = it
        .at_alice
        .group_info(&it.alice.store(), &it.alice.me)
        .unwrap();
    let other_bob = common::Account::new("bob").device(3);
    let refused = Group::rejoin(&other_bob.store(), &other_bob.me, ADDRESS, &info, &id(8));
    assert!(refused.is_err());
    assert!(
        Group::load(&other_bob.store(), &other_bob.me, ADDRESS)
            .unwrap()
            .is_none()
    );
}

#[test]
fn replays_and_splices_are_refused_and_cost_nothing() {
    let mut it = pair(Suite::Classical);
    let first = it.alice.say(&mut it.at_alice, 2, "one");
    let second = it.alice.say(&mut it.at_alice, 3, "two");
    // Under another client id it is not opened, nor is its key used up.
    let spliced = it
        .bob
        .open(&mut it.at_bob, EnvelopeKind::Application, 9, &first);
    assert!(matches!(spliced, Err(OpenError::Misplaced)));
    let mislabelled = it.bob.open(&mut it.at_bob, EnvelopeKind::Commit, 2, &first);
    assert!(matches!(mislabelled, Err(OpenError::Malformed)));
    assert_eq!(text_of(&it.bob.hear(&mut it.at_bob, 2, &first)), "one");
    for _ in 0..5 {
        let replay = it
            .bob
            .open(&mut it.at_bob, EnvelopeKind::Application, 2, &first);
        assert!(matches!(replay, Err(OpenError::Replayed)), "{replay:?}");
    }
    it.at_bob = it.bob.group();
    let replay = it
        .bob
        .open(&mut it.at_bob, EnvelopeKind::Application, 2, &first);
    assert!(matches!(replay, Err(OpenError::Replayed)));
    assert_eq!(text_of(&it.bob.hear(&mut it.at_bob, 3, &second)), "two");
}

#[test]
fn a_lost_message_does_not_stop_the_next() {
    let mut it = pair(Suite::Classical);
    for lost in 0..50 {
        let _ = it.alice.say(&mut it.at_alice, lost, "lost");
    }
    let heard = it.alice.say(&mut it.at_alice, 60, "heard");
    assert_eq!(text_of(&it.bob.hear(&mut it.at_bob, 60, &heard)), "heard");
}

#[test]
fn a_message_of_another_conversation_is_refused() {
    let mut here = pair(Suite::Classical);
    let mut there = pair(Suite::Classical);
    let foreign = there.alice.say(&mut there.at_alice, 2, "not yours");
    assert!(
        here.bob
            .open(&mut here.at_bob, EnvelopeKind::Application, 2, &foreign)
            .is_err()
    );
    let own = here.alice.say(&mut here.at_alice, 2, "yours");
    assert_eq!(text_of(&here.bob.hear(&mut here.at_bob, 2, &own)), "yours");
}

#[test]
fn every_flipped_bit_of_a_message_and_a_commit_is_noticed() {
    let mut it = pair(Suite::Classical);
    let sealed = it.alice.say(&mut it.at_alice, 2, "exact");
    let commit = it
        .at_alice
        .stage_self_update(&it.alice.store(), &it.alice.me, &id(3), now_ms())
        .unwrap();
    let before = it.at_bob.authenticator();
    for (kind, client_id, bytes) in [
        (EnvelopeKind::Application, 2, &sealed),
        (EnvelopeKind::Commit, 3, &commit.commit),
    ] {
        for place in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[place] ^= 1 << (place % 8);
            let sealed = Sealed {
                kind,
                client_id: &id(client_id),
                payload: &damaged,
            };
            let opened = it.at_bob.open(&it.bob.store(), &sealed, now_ms());
            assert!(opened.is_err(), "bit at {place} of {kind:?} passed");
        }
    }
    // The membership tag at the end (a length and 32 bytes) needs a key that a
    // server does not have; it checks everything before.
    for place in 0..commit.commit.len() - 32 {
        let mut damaged = commit.commit.clone();
        damaged[place] ^= 1 << (place % 8);
        let accepted = it
            .server
            .0
            .apply_commit(&damaged, &commit.group_info, &id(3), now_ms());
        assert!(accepted.is_err(), "server passed a bit at {place}");
    }
    for place in 0..commit.group_info.len() {
        let mut damaged = commit.group_info.clone();
        damaged[place] ^= 1 << (place % 8);
        let accepted = it
            .server
            .0
            .apply_commit(&commit.commit, &damaged, &id(3), now_ms());
        assert!(
            accepted.is_err(),
            "server passed a bit of the group info at {place}"
        );
    }
    it.server.apply(3, &commit).unwrap();
    assert_eq!(it.at_bob.authenticator(), before);
    assert_eq!(text_of(&it.bob.hear(&mut it.at_bob, 2, &sealed)), "exact");
}

#[test]
fn texts_up_to_four_kib_have_at_most_six_sizes_on_the_wire() {
    let mut it = pair(Suite::Classical);
    let mut sizes = std::collections::BTreeSet::new();
    for length in (1..=4096).step_by(37).chain([4096]) {
        sizes.insert(it.alice.say(&mut it.at_alice, 2, &"x".repeat(length)).len());
    }
    assert!(sizes.len() <= 6, "{sizes:?}");
}

#[test]
fn an_expired_or_absurd_key_package_is_not_added() {
    let it = pair(Suite::Classical);
    let mut at_alice = it.at_alice;
    let phone = it.alice_account.device(2);
    for days in [46_u64, 91] {
        let later = now_ms() + days * 24 * 3600 * 1000;
        let refused = at_alice.stage_add(
            &it.alice.store(),
            &it.alice.me,
            &id(2),
            &[phone.package()],
            None,
            later,
        );
        assert!(
            matches!(refused, Err(sotto_crypto::GroupError::KeyPackage(_))),
            "{days}"
        );
    }
}

#[test]
fn a_commit_survives_a_restart_and_passes_the_door_again() {
    let mut it = pair(Suite::Classical);
    let commit = it
        .at_alice
        .stage_self_update(&it.alice.store(), &it.alice.me, &id(2), now_ms())
        .unwrap();
    drop(it.at_alice);
    it.server.apply(2, &commit).unwrap();
    let mut at_alice = it.alice.group();
    // Sealing waits for the answer; the log's copy of the commit is known as one's own.
    let sealed = at_alice.seal(
        &it.alice.store(),
        &it.alice.me,
        &id(3),
        &common::content("too early"),
    );
    assert!(matches!(
        sealed,
        Err(sotto_crypto::GroupError::CommitPending)
    ));
    let own = it
        .alice
        .open(&mut at_alice, EnvelopeKind::Commit, 2, &commit.commit);
    assert!(matches!(own, Ok(Opened::OwnCommit)));
    let summary = at_alice
        .merge_pending(&it.alice.store(), &commit.commit, now_ms())
        .unwrap();
    assert_eq!((summary.epoch, summary.removed_me), (2, false));
    assert_eq!(summary.hash, sotto_crypto::commit_hash(&commit.commit));
    it.bob.follow(&mut it.at_bob, 2, &commit);
    assert_eq!(at_alice.authenticator(), it.at_bob.authenticator());
}

#[test]
fn what_is_rolled_back_never_happened() {
    let mut it = pair(Suite::Classical);
    let sealed = it.alice.say(&mut it.at_alice, 2, "once more");
    it.bob.connection.execute_batch("BEGIN").unwrap();
    it.bob.hear(&mut it.at_bob, 2, &sealed);
    it.bob.connection.execute_batch("ROLLBACK").unwrap();
    let mut at_bob = it.bob.group();
    assert_eq!(text_of(&it.bob.hear(&mut at_bob, 2, &sealed)), "once more");
}

#[test]
fn login_signatures_are_for_one_nonce_and_one_connection() {
    let bob = common::Account::new("bob").device(1);
    let challenge = sotto_crypto::LoginChallenge {
        nonce: [1; 32],
        exporter: [2; 32],
    };
    let signature = bob.me.sign_login(&challenge);
    let verify = |nonce, exporter| {
        sotto_roster::verify_login(bob.me.certificate(), &nonce, &exporter, &signature)
    };
    assert!(verify([1; 32], [2; 32]));
    assert!(!verify([3; 32], [2; 32]));
    assert!(!verify([1; 32], [3; 32]));
}

/// D12: a sealed invitation by the hybrid suite needs both of its shares. With the lattice share
/// or the curve share of another one in its place it does not open.
#[test]
fn either_share_of_the_hybrid_suite_counts() {
    // ML-KEM-768 ciphertext, then X25519 public key, behind the length of both in two bytes.
    const LATTICE: usize = 1088;
    const BOTH: usize = LATTICE + 32;
    let shares = |welcome: &[u8]| {
        let length = u16::try_from(0x4000 | BOTH).unwrap().to_be_bytes();
        let mut at = welcome.windows(2).enumerate();
        let found = at.find(|(_, window)| *window == length).unwrap().0 + 2;
        found..found + BOTH
    };
    let policy = Policy::pair(name("alice"), name("bob")).unwrap();
    let bob = Account::new("bob").device(1);
    let package = bob.key_package(Suite::Hybrid, KeyPackageUse::LastResort);
    let invited = || {
        let alice = Account::new("alice").device(1);
        let mut group = alice.create(&policy, Suite::Hybrid);
        let packages = [package.clone()];
        let staged = group.stage_add(&alice.store(), &alice.me, &id(1), &packages, None, now_ms());
        staged.unwrap().welcome.unwrap()
    };
    let (welcome, other) = (invited(), invited());
    assert!(inspect_welcome(&bob.store(), &bob.me, &welcome).is_ok());
    let (here, there) = (shares(&welcome), shares(&other));
    for part in [0..LATTICE, LATTICE..BOTH, 0..BOTH] {
        let mut mixed = welcome.clone();
        mixed[here.start + part.start..here.start + part.end]
            .copy_from_slice(&other[there.start + part.start..there.start + part.end]);
        assert_ne!(mixed, welcome);
        assert!(
            inspect_welcome(&bob.store(), &bob.me, &mixed).is_err(),
            "{part:?}"
        );
    }
}
