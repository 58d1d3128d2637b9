//! Beginnings, invitations and rebuilt conversations.

use std::collections::BTreeMap;

use super::super::{Denied, authorize_join, authorize_new, authorize_rebuild};
use super::{certificate, group_policy, name, pair_policy, roster};
use crate::roles::Role;
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
