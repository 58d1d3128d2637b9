//! What a group's new generation begins with where the server's record of it is older than what is
//! known here, and which changes follow, each an ordinary commit that everybody judges.
//!
//! Refuses to put into the first state what the record does not allow: nobody who is not in it, no
//! role that it does not give. A restored server could not tell that from a theft of the group.

use std::collections::{BTreeMap, BTreeSet};

use sotto_protocol::Username;
use sotto_roster::{Access, GroupRules, Role};

use super::{Change, RoleWish};

/// How a group begins anew.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Refounding {
    /// What each has who may be in it from the start.
    pub(super) roles: BTreeMap<Username, Role>,
    /// Its rules but for the roles.
    pub(super) rules: GroupRules,
    /// What is to be changed then, so that it is as it is known here.
    pub(super) later: Vec<Change>,
}

impl Refounding {
    /// The rules of the first state, with `me` and these in it.
    pub(super) fn rules_for(&self, me: &Username, names: &[Username]) -> GroupRules {
        let named = |role: Role| self.rules.access == Access::Closed || role > Role::Member;
        let roles = self.roles.iter();
        let roles = roles
            .filter(|(name, role)| (*name == me || names.contains(name)) && named(**role))
            .map(|(name, role)| (name.clone(), *role))
            .collect();
        GroupRules {
            roles,
            ..self.rules.clone()
        }
    }
}

/// The beginning of a group for `me`, who knows its members and rules, and what a server's older
/// record says of it, if it is older.
pub(super) fn refound(
    me: &Username,
    members: &BTreeMap<Username, Role>,
    rules: GroupRules,
    record: Option<&GroupRules>,
) -> Refounding {
    let Some(record) = record.filter(|record| record.access == rules.access) else {
        return Refounding {
            roles: members.clone(),
            rules,
            later: Vec::new(),
        };
    };
    let recorded = |name: &Username| match (record.roles.get(name), record.access) {
        (Some(role), _) => Some(*role),
        (None, Access::Public) if !record.banned.contains(name) => Some(Role::Member),
        (None, _) => None,
    };
    let roles: BTreeMap<_, _> = members
        .keys()
        .filter_map(|name| Some((name.clone(), recorded(name)?)))
        .collect();
    let outside = |old: &BTreeSet<Username>, new: &BTreeSet<Username>| -> BTreeSet<Username> {
        let new = new.iter().filter(|name| !roles.contains_key(*name));
        old.iter().chain(new).cloned().collect()
    };
    let banned = outside(&record.banned, &rules.banned);
    let mut put_out = outside(&record.put_out, &rules.put_out);
    put_out.retain(|name| !banned.contains(name));
    let later = changes((me, members), &roles, &rules, record);
    let rules = GroupRules {
        roles: BTreeMap::new(),
        access: rules.access,
        banned,
        put_out,
    };
    Refounding {
        roles,
        rules,
        later,
    }
}

/// What the record misses: who came in since, who has another role, who is banned no more.
fn changes(
    (me, members): (&Username, &BTreeMap<Username, Role>),
    first: &BTreeMap<Username, Role>,
    rules: &GroupRules,
    record: &GroupRules,
) -> Vec<Change> {
    let names = |wanted: &dyn Fn(&Username, Role) -> bool| -> Vec<Username> {
        let found = members.iter().filter(|(name, role)| wanted(name, **role));
        found.map(|(name, _)| name.clone()).collect()
    };
    let begins = |name: &Username| first.get(name).copied().unwrap_or(Role::Member);
    let pardoned = record.banned.difference(&rules.banned).cloned().collect();
    let added = names(&|name, _| !first.contains_key(name));
    let promoted = names(&|name, role| role == Role::Admin && begins(name) == Role::Member);
    let demoted =
        names(&|name, role| role == Role::Member && begins(name) == Role::Admin && name != me);
    // Handing over costs one's own role, so it is the last.
    let heirs = names(&|name, role| role == Role::Owner && begins(name) < Role::Owner);
    let all = [
        Change::Unban(pardoned),
        Change::Add(added),
        Change::Roles(promoted, RoleWish::Promote),
        Change::Roles(demoted, RoleWish::Demote),
        Change::Roles(heirs, RoleWish::HandOver),
    ];
    let says = |change: &Change| match change {
        Change::Unban(names) | Change::Add(names) | Change::Roles(names, _) => !names.is_empty(),
        _ => true,
    };
    all.into_iter().filter(says).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Username {
        Username::parse(text).unwrap()
    }

    fn roles(all: &[(&str, Role)]) -> BTreeMap<Username, Role> {
        all.iter().map(|(text, role)| (name(text), *role)).collect()
    }

    fn set(all: &[&str]) -> BTreeSet<Username> {
        all.iter().map(|text| name(text)).collect()
    }

    #[test]
    fn without_an_older_record_everybody_is_in_at_once() {
        let members = roles(&[("alice", Role::Owner), ("bob", Role::Member)]);
        let rules = GroupRules::closed(members.clone());
        let begun = refound(&name("alice"), &members, rules.clone(), None);
        assert_eq!((&begun.roles, &begun.rules), (&members, &rules));
        assert!(begun.later.is_empty());
    }

    #[test]
    fn what_the_record_misses_follows() {
        let members = roles(&[
            ("alice", Role::Owner),
            ("bob", Role::Admin),
            ("carol", Role::Member),
            ("dave", Role::Admin),
        ]);
        let mut rules = GroupRules::closed(members.clone());
        rules.banned = set(&["mallory"]);
        rules.put_out = set(&["erin"]);
        let mut record = GroupRules::closed(roles(&[
            ("alice", Role::Owner),
            ("bob", Role::Member),
            ("carol", Role::Admin),
            ("erin", Role::Member),
        ]));
        record.banned = set(&["frank"]);
        let begun = refound(&name("alice"), &members, rules, Some(&record));
        let first = roles(&[
            ("alice", Role::Owner),
            ("bob", Role::Member),
            ("carol", Role::Admin),
        ]);
        assert_eq!(begun.roles, first);
        assert_eq!(begun.rules.banned, set(&["frank", "mallory"]));
        assert_eq!(begun.rules.put_out, set(&["erin"]));
        assert_eq!(
            begun.later,
            [
                Change::Unban(vec![name("frank")]),
                Change::Add(vec![name("dave")]),
                Change::Roles(vec![name("bob"), name("dave")], RoleWish::Promote),
                Change::Roles(vec![name("carol")], RoleWish::Demote),
            ]
        );
    }

    #[test]
    fn whoever_handed_the_group_over_does_so_again() {
        let members = roles(&[("alice", Role::Admin), ("bob", Role::Owner)]);
        let rules = GroupRules::closed(members.clone());
        let record = GroupRules::closed(roles(&[("alice", Role::Owner), ("bob", Role::Member)]));
        let begun = refound(&name("alice"), &members, rules, Some(&record));
        assert_eq!(begun.roles, record.roles);
        let hand_over = Change::Roles(vec![name("bob")], RoleWish::HandOver);
        assert_eq!(begun.later, [hand_over]);
    }

    #[test]
    fn a_public_room_takes_members_in_that_its_record_does_not_name() {
        let members = roles(&[("alice", Role::Owner), ("bob", Role::Member)]);
        let rules = GroupRules::public(roles(&[("alice", Role::Owner)]));
        let begun = refound(&name("alice"), &members, rules.clone(), Some(&rules));
        assert_eq!(begun.roles, members);
        assert!(begun.later.is_empty());
    }
}
