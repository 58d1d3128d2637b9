//! Beginnings, invitations and rebuilt conversations.

use std::collections::BTreeMap;

use super::super::{Denied, authorize_join, authorize_new, authorize_rebuild, is_vacant};
use super::{certificate, group_policy, name, pair_policy, roster};
use crate::roles::{GroupRules, Role, Rules};
use crate::state::{LeafIndex, Roster};

fn at_start(roster: Roster) -> Roster {
    Roster { epoch: 0, ..roster }
}

fn next(roster: Roster) -> Roster {
    Roster {
        generation: 1,
        epoch: 1,
        ..roster
    }
}

#[test]
fn a_conversation_begins_with_its_creator_alone() {
    let alone = at_start(roster(pair_policy(), &[(0, 0, 0)]));
    assert_eq!(authorize_new(&alone), Ok(&certificate((0, 0, 0))));
    let two = at_start(roster(pair_policy(), &[(0, 0, 0), (1, 0, 0)]));
    assert_eq!(authorize_new(&two), Err(Denied::BadOrigin));
    let foreign = at_start(roster(pair_policy(), &[(2, 0, 0)]));
    assert_eq!(authorize_new(&foreign), Err(Denied::NotInPolicy));
    let later = roster(pair_policy(), &[(0, 0, 0)]);
    assert_eq!(authorize_new(&later), Err(Denied::BadOrigin));
    let crowd = at_start(roster(
        group_policy(&[(0, Role::Owner), (1, Role::Member)]),
        &[(0, 0, 0)],
    ));
    assert_eq!(authorize_new(&crowd), Err(Denied::PolicyMembersDiffer));
}

#[test]
fn an_invitation_must_lead_to_a_state_that_obeys_the_rules() {
    let me = certificate((1, 0, 0));
    let join = |roster: &Roster, inviter| authorize_join(roster, &me, LeafIndex(inviter));
    assert_eq!(
        join(&roster(pair_policy(), &[(0, 0, 0), (1, 0, 0)]), 0),
        Ok(())
    );
    let ghost = roster(pair_policy(), &[(0, 0, 0), (1, 0, 0), (2, 0, 0)]);
    assert_eq!(join(&ghost, 0), Err(Denied::NotInPolicy));
    let twice = roster(pair_policy(), &[(0, 0, 0), (0, 1, 1), (1, 0, 0)]);
    assert_eq!(join(&twice, 0), Err(Denied::IdentityChanged));
    assert_eq!(
        join(&roster(pair_policy(), &[(0, 0, 0)]), 0),
        Err(Denied::NoSuchLeaf)
    );
    let group = roster(
        group_policy(&[(0, Role::Owner), (1, Role::Member), (2, Role::Member)]),
        &[(0, 0, 0), (1, 0, 0), (2, 0, 0)],
    );
    assert_eq!(join(&group, 0), Ok(()));
    assert_eq!(join(&group, 2), Err(Denied::RoleTooLow));
}

#[test]
fn a_rebuilt_pair_holds_the_same_two_people() {
    let old = roster(pair_policy(), &[(0, 0, 0), (1, 0, 0)]);
    let none = BTreeMap::new();
    let again = next(roster(pair_policy(), &[(1, 0, 1), (0, 0, 0)]));
    assert_eq!(
        authorize_rebuild(&old, &again, &certificate((1, 0, 1)), &none),
        Ok(())
    );
    let changed = next(roster(pair_policy(), &[(0, 0, 0), (1, 1, 0)]));
    let by = certificate((0, 0, 0));
    assert_eq!(
        authorize_rebuild(&old, &changed, &by, &none),
        Err(Denied::IdentityChanged)
    );
    let accepted = BTreeMap::from([(name(1), *certificate((1, 1, 0)).identity_key())]);
    assert_eq!(authorize_rebuild(&old, &changed, &by, &accepted), Ok(()));
    let same = roster(pair_policy(), &[(0, 0, 0), (1, 0, 0)]);
    assert_eq!(
        authorize_rebuild(&old, &same, &by, &none),
        Err(Denied::BadOrigin)
    );
}

#[test]
fn a_rebuilt_group_gives_nobody_a_higher_role() {
    let roles = [(0, Role::Owner), (1, Role::Admin), (2, Role::Member)];
    let tags = [(0, 0, 0), (1, 0, 0), (2, 0, 0)];
    let old = roster(group_policy(&roles), &tags);
    let same = next(old.clone());
    let none = BTreeMap::new();
    let by = |account| certificate((account, 0, 0));
    assert_eq!(authorize_rebuild(&old, &same, &by(1), &none), Ok(()));
    assert_eq!(
        authorize_rebuild(&old, &same, &by(2), &none),
        Err(Denied::RoleTooLow)
    );
    let raised = [(0, Role::Owner), (1, Role::Owner), (2, Role::Member)];
    let grab = next(roster(group_policy(&raised), &tags));
    assert_eq!(
        authorize_rebuild(&old, &grab, &by(1), &none),
        Err(Denied::RoleTooLow)
    );
}

/// Whoever had an office began anew: the members bring the group back, as it was and with them.
#[test]
fn members_rebuild_a_group_that_nobody_can_manage() {
    let roles = [
        (0, Role::Owner),
        (1, Role::Admin),
        (2, Role::Member),
        (3, Role::Member),
    ];
    let tags = [(0, 0, 0), (1, 0, 0), (2, 0, 0), (3, 0, 0)];
    let old = roster(group_policy(&roles), &tags);
    let anew = [(0, 1, 1), (1, 1, 1), (2, 0, 0), (3, 0, 0)];
    let again = next(roster(group_policy(&roles), &anew));
    let by = certificate((2, 0, 0));
    let identity = |account: usize| (name(account), *certificate((account, 1, 1)).identity_key());
    let one = BTreeMap::from([identity(0)]);
    let both = BTreeMap::from([identity(0), identity(1)]);
    assert!(!is_vacant(&old, &BTreeMap::new()) && !is_vacant(&old, &one) && is_vacant(&old, &both));
    assert_eq!(authorize_rebuild(&old, &again, &by, &both), Ok(()));
    let without_one = next(roster(group_policy(&roles[..3]), &anew[..3]));
    let raised = [roles[0], roles[1], (2, Role::Admin), roles[3]];
    let raised = next(roster(group_policy(&raised), &anew));
    for grab in [&without_one, &raised] {
        assert_eq!(
            authorize_rebuild(&old, grab, &by, &both),
            Err(Denied::RoleTooLow)
        );
    }
    // One of them is who they were.
    let half = [(0, 1, 1), (1, 0, 0), (2, 0, 0), (3, 0, 0)];
    let half = next(roster(group_policy(&roles), &half));
    assert_eq!(
        authorize_rebuild(&old, &half, &by, &one),
        Err(Denied::RoleTooLow)
    );
    let me = certificate((3, 0, 0));
    assert_eq!(authorize_join(&again, &me, LeafIndex(2)), Ok(()));
    let later = Roster { epoch: 2, ..again };
    assert_eq!(
        authorize_join(&later, &me, LeafIndex(2)),
        Err(Denied::RoleTooLow)
    );
}

/// A rebuild is no way around the rules of removals, bans and access.
#[test]
fn a_rebuilt_group_leaves_out_only_whom_the_builder_could_remove() {
    let roles = [
        (0, Role::Owner),
        (1, Role::Admin),
        (2, Role::Admin),
        (3, Role::Member),
    ];
    let tags = [(0, 0, 0), (1, 0, 0), (2, 0, 0), (3, 0, 0)];
    let old = roster(group_policy(&roles), &tags);
    let none = BTreeMap::new();
    let by = |account| certificate((account, 0, 0));
    let without_member = next(roster(group_policy(&roles[..3]), &tags[..3]));
    let without_admin = next(roster(
        group_policy(&[roles[0], roles[1], roles[3]]),
        &[tags[0], tags[1], tags[3]],
    ));
    assert_eq!(
        authorize_rebuild(&old, &without_member, &by(1), &none),
        Ok(())
    );
    assert_eq!(
        authorize_rebuild(&old, &without_admin, &by(1), &none),
        Err(Denied::RoleTooLow)
    );
    assert_eq!(
        authorize_rebuild(&old, &without_admin, &by(0), &none),
        Ok(())
    );
}

#[test]
fn a_rebuilt_group_keeps_access_and_bans() {
    let owner = || BTreeMap::from([(name(0), Role::Owner)]);
    let with = |rules: GroupRules| {
        let policy = group_policy(&[(0, Role::Owner)]);
        let policy = policy.next(Rules::Group(rules)).unwrap();
        roster(policy, &[(0, 0, 0)])
    };
    let mut banning = GroupRules::public(owner());
    banning.banned.insert(name(3));
    let by = certificate((0, 0, 0));
    let none = BTreeMap::new();
    let rebuilt = |old: &GroupRules, new: &GroupRules| {
        authorize_rebuild(&with(old.clone()), &next(with(new.clone())), &by, &none)
    };
    let (public, closed) = (GroupRules::public(owner()), GroupRules::closed(owner()));
    assert_eq!(rebuilt(&banning, &banning), Ok(()));
    assert_eq!(rebuilt(&banning, &public), Err(Denied::PolicyChange));
    assert_eq!(rebuilt(&closed, &public), Err(Denied::PolicyChange));
    let mut without = closed.clone();
    without.put_out.insert(name(3));
    assert_eq!(rebuilt(&without, &without), Ok(()));
    assert_eq!(rebuilt(&without, &closed), Err(Denied::PolicyChange));
    // In an older record, which a server was put back to, those who were put out or banned since
    // may be in, or may not be known.
    assert_eq!(rebuilt(&closed, &without), Ok(()));
    let mut older = closed.clone();
    older.roles.insert(name(3), Role::Member);
    assert_eq!(rebuilt(&older, &without), Ok(()));
    let mut banned = closed.clone();
    banned.banned.insert(name(3));
    assert_eq!(rebuilt(&older, &banned), Ok(()));
    assert_eq!(rebuilt(&closed, &banned), Ok(()));
    assert_eq!(rebuilt(&without, &banned), Ok(()));
    assert_eq!(rebuilt(&banned, &without), Err(Denied::PolicyChange));
}
