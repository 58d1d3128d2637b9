//! Known attacks, by what they try.

use super::super::{
    Committer, Denied, Freshness, LeafUpdate, MembershipChange, Proposer, Removal, authorize,
};
use super::{
    NOW_MS, add, certificate, commit_by, days_from_now, group_policy, name, pair_policy, removal,
    roster,
};
use crate::roles::{GroupRules, PolicyError, Role, Rules};
use crate::state::LeafIndex;

const GROUP: [(usize, Role); 3] = [(0, Role::Owner), (1, Role::Admin), (2, Role::Member)];

#[test]
fn a_member_who_is_no_admin_adds_nobody() {
    let roster = roster(group_policy(&GROUP), &[(0, 0, 0), (1, 0, 0), (2, 0, 0)]);
    let mut change = commit_by(&roster, 2);
    change.adds = vec![add((3, 0, 0))];
    assert_eq!(authorize(&roster, &change).err(), Some(Denied::RoleTooLow));
    // Naming the newcomer in a policy of their own does not help.
    let mut rules = roster.policy.group_rules().unwrap().clone();
    rules.roles.insert(name(3), Role::Member);
    change.policy = Some(roster.policy.next(Rules::Group(rules)).unwrap());
    assert_eq!(authorize(&roster, &change).err(), Some(Denied::RoleTooLow));
    // An admin may do the very same.
    change.committer = Committer::Member(LeafIndex(1));
    change.path_leaf = Some(certificate((1, 0, 0)));
    let allowed = authorize(&roster, &change).unwrap();
    assert_eq!(
        allowed.changes()[0],
        MembershipChange::Added(certificate((3, 0, 0)))
    );
}

#[test]
fn admins_are_never_used_up() {
    let roster = roster(group_policy(&GROUP), &[(0, 0, 0), (1, 0, 0), (2, 0, 0)]);
    let rules = |roles: &[(usize, Role)]| {
        let roles = roles.iter().map(|(account, role)| (name(*account), *role));
        Rules::Group(GroupRules::closed(roles.collect()))
    };
    // No owners at all: not even a policy.
    let none = rules(&[(0, Role::Member), (1, Role::Admin), (2, Role::Member)]);
    assert_eq!(roster.policy.next(none).err(), Some(PolicyError::BadGroup));
    // Somebody who is not in becomes the only owner.
    let mut change = commit_by(&roster, 0);
    let stranger = rules(&[
        (0, Role::Member),
        (1, Role::Admin),
        (2, Role::Member),
        (3, Role::Owner),
    ]);
    change.policy = Some(roster.policy.next(stranger).unwrap());
    assert_eq!(
        authorize(&roster, &change).err(),
        Some(Denied::PolicyMembersDiffer)
    );
    // The last owner's only device is removed by an admin.
    let mut change = commit_by(&roster, 1);
    change.removes = vec![removal(0)];
    assert_eq!(authorize(&roster, &change).err(), Some(Denied::RoleTooLow));
    // ... or at its own wish, while the policy still counts on it.
    change.removes = vec![Removal {
        leaf: LeafIndex(0),
        proposer: Proposer::Member(LeafIndex(0)),
    }];
    assert_eq!(
        authorize(&roster, &change).err(),
        Some(Denied::PolicyMembersDiffer)
    );
}

#[test]
fn no_leaf_changes_its_certificate() {
    let roster = roster(pair_policy(), &[(0, 0, 0), (1, 0, 0)]);
    let mut by_path = commit_by(&roster, 1);
    by_path.path_leaf = Some(certificate((0, 0, 1)));
    assert_eq!(
        authorize(&roster, &by_path).err(),
        Some(Denied::CertificateChanged)
    );
    // A newer certificate of the same device is another certificate too.
    by_path.path_leaf = Some(certificate((1, 1, 0)));
    assert_eq!(
        authorize(&roster, &by_path).err(),
        Some(Denied::CertificateChanged)
    );
    let mut by_proposal = commit_by(&roster, 0);
    by_proposal.updates = vec![LeafUpdate {
        leaf: LeafIndex(1),
        certificate: certificate((0, 0, 1)),
    }];
    assert_eq!(
        authorize(&roster, &by_proposal).err(),
        Some(Denied::CertificateChanged)
    );
    let mut external = commit_by(&roster, 0);
    external.committer = Committer::External(certificate((1, 1, 0)));
    external.path_leaf = Some(certificate((1, 1, 0)));
    external.removes = vec![removal(1)];
    assert_eq!(
        authorize(&roster, &external).err(),
        Some(Denied::IdentityChanged)
    );
}

#[test]
fn an_external_commit_removes_only_its_own_old_leaf() {
    let roster = roster(pair_policy(), &[(0, 0, 0), (1, 0, 0), (1, 0, 1)]);
    let joining = |tag, leaves: &[u32]| {
        let mut change = commit_by(&roster, 0);
        change.committer = Committer::External(certificate(tag));
        change.path_leaf = Some(certificate(tag));
        change.removes = leaves.iter().map(|leaf| removal(*leaf)).collect();
        authorize(&roster, &change).map(|allowed| allowed.into_changes().1)
    };
    assert_eq!(
        joining((1, 0, 0), &[1]),
        Ok(vec![MembershipChange::Rejoined(certificate((1, 0, 0)))])
    );
    assert_eq!(
        joining((1, 0, 2), &[]),
        Ok(vec![MembershipChange::Added(certificate((1, 0, 2)))])
    );
    assert_eq!(joining((1, 0, 0), &[]), Err(Denied::DuplicateDevice));
    assert_eq!(joining((1, 0, 2), &[2]), Err(Denied::BadExternalCommit));
    assert_eq!(joining((1, 0, 0), &[1, 0]), Err(Denied::BadExternalCommit));
    assert_eq!(joining((2, 0, 0), &[]), Err(Denied::BadExternalCommit));
}

#[test]
fn the_peers_devices_come_in_once_and_then_are_the_peers_own_business() {
    let alone = roster(pair_policy(), &[(0, 0, 0)]);
    let mut first = commit_by(&alone, 0);
    first.adds = vec![add((1, 0, 0)), add((1, 0, 1)), add((0, 0, 1))];
    assert!(authorize(&alone, &first).is_ok());
    first.adds = vec![add((1, 0, 0)), add((1, 1, 1))];
    assert_eq!(
        authorize(&alone, &first).err(),
        Some(Denied::IdentityChanged)
    );
    let both = roster(pair_policy(), &[(0, 0, 0), (1, 0, 0)]);
    let mut later = commit_by(&both, 0);
    later.adds = vec![add((1, 0, 1))];
    assert_eq!(authorize(&both, &later).err(), Some(Denied::RoleTooLow));
    later.adds = vec![add((2, 0, 0))];
    assert_eq!(authorize(&both, &later).err(), Some(Denied::NotInPolicy));
    later.adds = vec![];
    later.policy = Some(both.policy.next(both.policy.rules().clone()).unwrap());
    assert_eq!(authorize(&both, &later).err(), Some(Denied::PolicyChange));
}

#[test]
fn lifetimes_are_held_against_the_clock() {
    let roster = roster(pair_policy(), &[(0, 0, 0)]);
    let with = |from, to, freshness| {
        let mut change = commit_by(&roster, 0);
        let mut added = add((0, 0, 1));
        added.lifetime = days_from_now(from, to);
        change.adds = vec![added];
        change.freshness = freshness;
        authorize(&roster, &change).map(|_| ())
    };
    let live = Freshness::Live { now_ms: NOW_MS };
    let backlog = Freshness::Backlog { now_ms: NOW_MS };
    assert_eq!(with(0, 90, live), Ok(()));
    assert_eq!(with(0, 92, live), Err(Denied::BadLifetime));
    assert_eq!(with(0, 36_500, backlog), Err(Denied::BadLifetime));
    assert_eq!(with(-80, -1, live), Err(Denied::BadLifetime));
    assert_eq!(with(-1, 14, live), Err(Denied::BadLifetime));
    assert_eq!(with(-80, -1, backlog), Ok(()));
    assert_eq!(with(2, 30, backlog), Err(Denied::BadLifetime));
    assert_eq!(with(30, 20, live), Err(Denied::BadLifetime));
}

#[test]
fn what_no_rule_knows_is_denied() {
    let roster = roster(pair_policy(), &[(0, 0, 0), (1, 0, 0)]);
    let mut change = commit_by(&roster, 0);
    change.other_proposals = 1;
    assert_eq!(
        authorize(&roster, &change).err(),
        Some(Denied::UnknownProposal)
    );
    let nowhere = commit_by(&roster, 9);
    assert_eq!(authorize(&roster, &nowhere).err(), Some(Denied::NoSuchLeaf));
}

#[test]
fn an_authorization_is_for_one_state_only() {
    let roster = roster(pair_policy(), &[(0, 0, 0), (1, 0, 0)]);
    let allowed = authorize(&roster, &commit_by(&roster, 0)).unwrap();
    assert!(allowed.is_for(&roster.conversation, 0, 3));
    assert!(!allowed.is_for(&roster.conversation, 0, 4));
    assert!(!allowed.is_for(&roster.conversation, 1, 3));
}
