//! Public groups, bans and being put out: who comes in alone, who never, and who decides it.

use super::super::{Committer, Denied, MembershipChange, authorize, authorize_join};
use super::{Tag, add, certificate, commit_by, group_policy, name, removal, roster};
use crate::roles::{Access, GroupRules, Policy, Role, Rules};
use crate::state::{LeafIndex, Roster};

type Answer = Result<Vec<MembershipChange>, Denied>;

/// A room of alice (owner), bob (admin) and carol; dave is banned or not.
fn room(banned: &[usize]) -> Roster {
    let roles = [(name(0), Role::Owner), (name(1), Role::Admin)];
    let mut rules = GroupRules::public(roles.into());
    rules.banned = banned.iter().map(|account| name(*account)).collect();
    let first = Policy::public_group([(name(0), Role::Owner)].into()).unwrap();
    let policy = first.next(Rules::Group(rules)).unwrap();
    roster(policy, &[(0, 0, 0), (1, 0, 0), (2, 0, 0)])
}

fn rules_of(roster: &Roster) -> GroupRules {
    roster.policy.group_rules().unwrap().clone()
}

fn joining(roster: &Roster, tag: Tag) -> Answer {
    let mut change = commit_by(roster, 0);
    change.committer = Committer::External(certificate(tag));
    change.path_leaf = Some(certificate(tag));
    authorize(roster, &change).map(|allowed| allowed.into_changes().1)
}

/// A commit by one leaf that removes others and states other rules.
fn changing(roster: &Roster, by: u32, gone: &[u32], rules: GroupRules) -> Answer {
    let mut change = commit_by(roster, by);
    change.removes = gone.iter().map(|leaf| removal(*leaf)).collect();
    change.policy = Some(roster.policy.next(Rules::Group(rules)).unwrap());
    authorize(roster, &change).map(|allowed| allowed.into_changes().1)
}

#[test]
fn anybody_comes_into_a_public_group_as_a_member() {
    let came = joining(&room(&[]), (3, 0, 0)).unwrap();
    let as_member = MembershipChange::Role {
        username: name(3),
        from: None,
        to: Some(Role::Member),
    };
    let added = MembershipChange::Added(certificate((3, 0, 0)));
    assert_eq!(came, [added, as_member]);
    // Under the identity that is in, and no other.
    let other_identity = joining(&room(&[]), (2, 1, 1));
    assert_eq!(other_identity, Err(Denied::IdentityChanged));
    assert!(joining(&room(&[]), (2, 0, 1)).is_ok());
}

#[test]
fn a_newcomer_does_nothing_but_come_in() {
    let room = room(&[]);
    let mut change = commit_by(&room, 0);
    change.committer = Committer::External(certificate((3, 0, 0)));
    change.path_leaf = Some(certificate((3, 0, 0)));
    change.adds = vec![add((3, 0, 1))];
    let refused = Some(Denied::BadExternalCommit);
    assert_eq!(authorize(&room, &change).err(), refused);
    change.adds = vec![];
    change.removes = vec![removal(2)];
    assert_eq!(authorize(&room, &change).err(), refused);
    change.removes = vec![];
    let mut rules = rules_of(&room);
    rules.roles.insert(name(3), Role::Owner);
    change.policy = Some(room.policy.next(Rules::Group(rules)).unwrap());
    assert_eq!(authorize(&room, &change).err(), refused);
}

#[test]
fn who_is_banned_comes_in_by_no_way() {
    let room = room(&[3]);
    assert_eq!(joining(&room, (3, 0, 0)), Err(Denied::Banned));
    let mut change = commit_by(&room, 0);
    change.adds = vec![add((3, 0, 0))];
    assert_eq!(authorize(&room, &change).err(), Some(Denied::Banned));
    let mut invited = room;
    invited.leaves.insert(LeafIndex(3), certificate((3, 0, 0)));
    let joined = authorize_join(&invited, &certificate((3, 0, 0)), LeafIndex(0));
    assert_eq!(joined, Err(Denied::Banned));
}

#[test]
fn admins_ban_members_and_owners_ban_admins() {
    let room = room(&[]);
    let banning = |by, account: usize, leaf: Option<u32>| {
        let mut rules = rules_of(&room);
        rules.roles.remove(&name(account));
        rules.banned.insert(name(account));
        let gone: Vec<u32> = leaf.into_iter().collect();
        changing(&room, by, &gone, rules)
    };
    let out = MembershipChange::Role {
        username: name(2),
        from: Some(Role::Member),
        to: None,
    };
    let removed = MembershipChange::Removed(certificate((2, 0, 0)));
    assert_eq!(
        banning(1, 2, Some(2)),
        Ok(vec![removed, out, MembershipChange::Banned(name(2))])
    );
    // Also before they ever came; never while they stay in.
    assert!(banning(1, 3, None).is_ok());
    assert_eq!(banning(1, 2, None), Err(Denied::Banned));
    // Members ban nobody, admins no admins.
    assert_eq!(banning(2, 3, None), Err(Denied::RoleTooLow));
    assert!(banning(0, 1, Some(1)).is_ok());
    let carol_too = {
        let mut rules = rules_of(&room);
        rules.roles.insert(name(2), Role::Admin);
        let mut next = room.clone();
        next.policy = room.policy.next(Rules::Group(rules)).unwrap();
        next
    };
    let mut rules = rules_of(&carol_too);
    rules.roles.remove(&name(2));
    rules.banned.insert(name(2));
    assert_eq!(
        changing(&carol_too, 1, &[2], rules),
        Err(Denied::RoleTooLow)
    );
}

#[test]
fn admins_lift_bans() {
    let room = room(&[3]);
    let mut rules = rules_of(&room);
    rules.banned.clear();
    assert_eq!(
        changing(&room, 2, &[], rules.clone()),
        Err(Denied::RoleTooLow)
    );
    assert_eq!(
        changing(&room, 1, &[], rules),
        Ok(vec![MembershipChange::Unbanned(name(3))])
    );
}

#[test]
fn nobody_opens_or_closes_a_group() {
    let room = room(&[]);
    let mut closed = rules_of(&room);
    closed.access = Access::Closed;
    closed.roles.insert(name(2), Role::Member);
    assert_eq!(changing(&room, 0, &[], closed), Err(Denied::PolicyChange));
    let group = roster(super::group_policy(&[(0, Role::Owner)]), &[(0, 0, 0)]);
    let mut open = rules_of(&group);
    open.access = Access::Public;
    assert_eq!(changing(&group, 0, &[], open), Err(Denied::PolicyChange));
}

#[test]
fn roles_of_a_public_group_are_owners_to_give_and_to_take() {
    let room = room(&[]);
    let mut promoted = rules_of(&room);
    promoted.roles.insert(name(2), Role::Admin);
    assert_eq!(
        changing(&room, 1, &[], promoted.clone()),
        Err(Denied::RoleTooLow)
    );
    assert!(changing(&room, 0, &[], promoted).is_ok());
    // To be named no more, while still in, is to be a member.
    let mut lowered = rules_of(&room);
    lowered.roles.remove(&name(1));
    assert_eq!(
        changing(&room, 2, &[], lowered.clone()),
        Err(Denied::RoleTooLow)
    );
    assert!(changing(&room, 1, &[], lowered.clone()).is_ok());
    assert!(changing(&room, 0, &[], lowered).is_ok());
    // Somebody who is not in cannot be named.
    let mut absent = rules_of(&room);
    absent.roles.insert(name(3), Role::Admin);
    assert_eq!(
        changing(&room, 0, &[], absent),
        Err(Denied::PolicyMembersDiffer)
    );
}

#[test]
fn admins_note_and_forget_who_was_put_out() {
    let roles = [(0, Role::Owner), (1, Role::Admin), (2, Role::Member)];
    let group = roster(
        super::group_policy(&roles),
        &[(0, 0, 0), (1, 0, 0), (2, 0, 0)],
    );
    let mut without = rules_of(&group);
    without.roles.remove(&name(2));
    without.put_out.insert(name(2));
    let out = MembershipChange::Role {
        username: name(2),
        from: Some(Role::Member),
        to: None,
    };
    let removed = MembershipChange::Removed(certificate((2, 0, 0)));
    let done = changing(&group, 1, &[2], without.clone());
    assert_eq!(done, Ok(vec![removed, out]));
    // A member notes nobody, and forgets nobody.
    let mut noting = rules_of(&group);
    noting.put_out.insert(name(3));
    let too_low = Err(Denied::RoleTooLow);
    assert_eq!(changing(&group, 2, &[], noting.clone()), too_low);
    let mut later = group.clone();
    later.policy = group.policy.next(Rules::Group(noting)).unwrap();
    let forgetting = rules_of(&group);
    assert_eq!(changing(&later, 2, &[], forgetting.clone()), too_low);
    assert!(changing(&later, 1, &[], forgetting).is_ok());
    // Whom an admin adds is noted no longer: nobody is in and put out.
    let mut back = commit_by(&later, 1);
    back.adds = vec![add((3, 0, 0))];
    assert_eq!(authorize(&later, &back).err(), Some(Denied::NotInPolicy));
    let mut rules = rules_of(&later);
    rules.put_out.clear();
    rules.roles.insert(name(3), Role::Member);
    back.policy = Some(later.policy.next(Rules::Group(rules)).unwrap());
    assert!(authorize(&later, &back).is_ok());
}

#[test]
fn nobody_comes_into_a_closed_group_alone() {
    let policy = group_policy(&[(0, Role::Owner), (1, Role::Member)]);
    let closed = roster(policy, &[(0, 0, 0), (1, 0, 0)]);
    let refused = Err(Denied::BadExternalCommit);
    assert_eq!(joining(&closed, (3, 0, 0)), refused);
    assert!(joining(&closed, (1, 0, 1)).is_ok());
}
