//! Policies: who may be in a conversation and what each account may do.
//!
//! A policy travels in the MLS group context, so that every member and every
//! server judges by the same bytes. Encodings are canonical and bounded. What
//! a change of policy needs is decided in [`mod@crate::authorize`], not here.

use std::collections::{BTreeMap, BTreeSet};

use prost::Message as _;
use sotto_protocol::limits::{BANNED_MAX, GROUP_LEAVES_MAX, PUT_OUT_MAX};
use sotto_protocol::{Username, wire};

/// The largest encoded policy in bytes: one entry for each possible leaf, each possible ban and
/// each account that may be remembered as put out.
pub const POLICY_BYTES_MAX: usize = 64 * (GROUP_LEAVES_MAX + BANNED_MAX + PUT_OUT_MAX);

/// What an account may do in a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Reads and writes.
    Member,
    /// Also adds and removes members.
    Admin,
    /// Also names and dismisses admins and owners.
    Owner,
}

/// Who may enter a group without being added. It never changes: people spoke
/// in a closed group because it was closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Nobody.
    Closed,
    /// Every account that is not banned, by external commit.
    Public,
}

/// The rules of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupRules {
    /// In a closed group every account that is in; in a public one those that
    /// are more than members.
    pub roles: BTreeMap<Username, Role>,
    /// Who may come in alone.
    pub access: Access,
    /// Accounts that may not be in; none of them has a role.
    pub banned: BTreeSet<Username>,
    /// Accounts that an admin put out of a closed group: they come in again by
    /// an admin's word only. None of them has a role or is banned.
    pub put_out: BTreeSet<Username>,
}

impl GroupRules {
    /// A closed group in which nobody is banned.
    #[must_use]
    pub fn closed(roles: BTreeMap<Username, Role>) -> Self {
        Self {
            roles,
            access: Access::Closed,
            banned: BTreeSet::new(),
            put_out: BTreeSet::new(),
        }
    }

    /// A public group in which nobody is banned; `roles` names owners and admins only.
    #[must_use]
    pub fn public(roles: BTreeMap<Username, Role>) -> Self {
        Self {
            access: Access::Public,
            ..Self::closed(roles)
        }
    }

    /// What an account may do if it is in; `None` when it may not be in.
    #[must_use]
    pub fn role_of(&self, username: &Username) -> Option<Role> {
        match (self.roles.get(username), self.access) {
            (Some(role), _) => Some(*role),
            (None, Access::Public) if !self.banned.contains(username) => Some(Role::Member),
            (None, Access::Public | Access::Closed) => None,
        }
    }

    fn check(&self) -> Result<(), PolicyError> {
        let has_owner = self.roles.values().any(|role| *role == Role::Owner);
        let says_the_implied =
            self.access == Access::Public && self.roles.values().any(|role| *role == Role::Member);
        let mut outside = self.banned.iter().chain(&self.put_out);
        let contradicts_itself = outside.any(|name| self.roles.contains_key(name))
            || !self.banned.is_disjoint(&self.put_out)
            || self.access == Access::Public && !self.put_out.is_empty();
        if self.roles.len() > GROUP_LEAVES_MAX
            || self.banned.len() > BANNED_MAX
            || self.put_out.len() > PUT_OUT_MAX
            || !has_owner
            || says_the_implied
            || contradicts_itself
        {
            Err(PolicyError::BadGroup)
        } else {
            Ok(())
        }
    }
}

/// Who belongs to a conversation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rules {
    /// Two accounts and nobody else, for ever; `first < second`.
    Pair {
        /// The smaller name in byte order.
        first: Username,
        /// The larger name in byte order.
        second: Username,
    },
    /// A group with roles.
    Group(GroupRules),
}

/// Rules and their version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    version: u64,
    rules: Rules,
}

/// A policy that cannot be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// Not the canonical encoding of a known kind of policy.
    #[error("policy is malformed")]
    Malformed,
    /// Both places of a pair hold one account.
    #[error("a pair needs two different accounts")]
    SameAccount,
    /// A group without an owner, with too many accounts or bans, with a role
    /// for somebody banned or put out, or public and naming plain members.
    #[error("a group needs an owner, fewer accounts or bans, and no role for anybody banned")]
    BadGroup,
}

impl Policy {
    /// The policy of a conversation between two accounts.
    ///
    /// # Errors
    /// When the names are equal.
    pub fn pair(one: Username, other: Username) -> Result<Self, PolicyError> {
        let (first, second) = match one.cmp(&other) {
            std::cmp::Ordering::Less => (one, other),
            std::cmp::Ordering::Greater => (other, one),
            std::cmp::Ordering::Equal => return Err(PolicyError::SameAccount),
        };
        Ok(Self {
            version: 1,
            rules: Rules::Pair { first, second },
        })
    }

    /// The policy of a new closed group with these roles.
    ///
    /// # Errors
    /// Without an owner, or with more than 4,096 accounts.
    pub fn group(roles: BTreeMap<Username, Role>) -> Result<Self, PolicyError> {
        Self::checked(1, Rules::Group(GroupRules::closed(roles)))
    }

    /// The policy of a new public group; `roles` names owners and admins only.
    ///
    /// # Errors
    /// Without an owner, with a plain member, or with more than 4,096 accounts.
    pub fn public_group(roles: BTreeMap<Username, Role>) -> Result<Self, PolicyError> {
        Self::checked(1, Rules::Group(GroupRules::public(roles)))
    }

    /// The next version of a policy, with other rules.
    ///
    /// # Errors
    /// When the rules could not be a policy.
    pub fn next(&self, rules: Rules) -> Result<Self, PolicyError> {
        let version = self.version.checked_add(1).ok_or(PolicyError::Malformed)?;
        Self::checked(version, rules)
    }

    /// Counts the changes, from 1.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.version
    }

    /// The rules.
    #[must_use]
    pub fn rules(&self) -> &Rules {
        &self.rules
    }

    /// The rules of a group; `None` for a pair.
    #[must_use]
    pub fn group_rules(&self) -> Option<&GroupRules> {
        match &self.rules {
            Rules::Group(rules) => Some(rules),
            Rules::Pair { .. } => None,
        }
    }

    /// What an account may do here if it is in; `None` when it may not be in.
    /// Both accounts of a pair are members. In a public group everybody who is
    /// not banned may be in; who is, the leaves say.
    #[must_use]
    pub fn role_of(&self, username: &Username) -> Option<Role> {
        match &self.rules {
            Rules::Pair { first, second } => {
                (username == first || username == second).then_some(Role::Member)
            }
            Rules::Group(rules) => rules.role_of(username),
        }
    }

    /// The other account of a pair.
    #[must_use]
    pub fn peer_of(&self, username: &Username) -> Option<&Username> {
        match &self.rules {
            Rules::Pair { first, second } if first == username => Some(second),
            Rules::Pair { first, second } if second == username => Some(first),
            _ => None,
        }
    }

    /// The canonical encoding.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let rules = match &self.rules {
            Rules::Pair { first, second } => wire::policy::Rules::Pair(wire::PairPolicy {
                first: first.as_str().to_owned(),
                second: second.as_str().to_owned(),
            }),
            Rules::Group(rules) => wire::policy::Rules::Group(group_to_wire(rules)),
        };
        wire::Policy {
            version: self.version,
            rules: Some(rules),
        }
        .encode_to_vec()
    }

    /// Reads an encoded policy.
    ///
    /// # Errors
    /// When it is not canonical, not known, or could not be a policy.
    pub fn decode(bytes: &[u8]) -> Result<Self, PolicyError> {
        if bytes.len() > POLICY_BYTES_MAX {
            return Err(PolicyError::Malformed);
        }
        let sent = wire::Policy::decode(bytes).map_err(|_| PolicyError::Malformed)?;
        let rules = match sent.rules.ok_or(PolicyError::Malformed)? {
            wire::policy::Rules::Pair(pair) => Rules::Pair {
                first: name(&pair.first)?,
                second: name(&pair.second)?,
            },
            wire::policy::Rules::Group(group) => Rules::Group(group_from_wire(&group)?),
        };
        let policy = Self::checked(sent.version, rules)?;
        // Names out of order, twice, or with unknown fields do not encode to the same bytes.
        if policy.encode() == bytes {
            Ok(policy)
        } else {
            Err(PolicyError::Malformed)
        }
    }

    fn checked(version: u64, rules: Rules) -> Result<Self, PolicyError> {
        match &rules {
            _ if version == 0 => return Err(PolicyError::Malformed),
            Rules::Pair { first, second } if first >= second => {
                return Err(PolicyError::SameAccount);
            }
            Rules::Group(rules) => rules.check()?,
            Rules::Pair { .. } => {}
        }
        Ok(Self { version, rules })
    }
}

fn name(text: &str) -> Result<Username, PolicyError> {
    Username::parse(text).map_err(|_| PolicyError::Malformed)
}

fn group_to_wire(rules: &GroupRules) -> wire::GroupPolicy {
    let access = match rules.access {
        Access::Closed => wire::GroupAccess::Closed,
        Access::Public => wire::GroupAccess::Public,
    };
    wire::GroupPolicy {
        roles: rules.roles.iter().map(role_entry).collect(),
        access: access.into(),
        banned: texts(&rules.banned),
        put_out: texts(&rules.put_out),
    }
}

fn group_from_wire(group: &wire::GroupPolicy) -> Result<GroupRules, PolicyError> {
    let access = match wire::GroupAccess::try_from(group.access) {
        Ok(wire::GroupAccess::Closed) => Access::Closed,
        Ok(wire::GroupAccess::Public) => Access::Public,
        Err(_) => return Err(PolicyError::Malformed),
    };
    let roles = group.roles.iter().map(role_from).collect::<Result<_, _>>();
    Ok(GroupRules {
        roles: roles?,
        access,
        banned: names(&group.banned)?,
        put_out: names(&group.put_out)?,
    })
}

fn texts(names: &BTreeSet<Username>) -> Vec<String> {
    names.iter().map(|name| name.as_str().to_owned()).collect()
}

fn names(texts: &[String]) -> Result<BTreeSet<Username>, PolicyError> {
    texts.iter().map(|text| name(text)).collect()
}

fn role_entry((username, role): (&Username, &Role)) -> wire::RoleEntry {
    let role = match role {
        Role::Member => wire::Role::Member,
        Role::Admin => wire::Role::Admin,
        Role::Owner => wire::Role::Owner,
    };
    wire::RoleEntry {
        username: username.as_str().to_owned(),
        role: role.into(),
    }
}

fn role_from(entry: &wire::RoleEntry) -> Result<(Username, Role), PolicyError> {
    let role = match wire::Role::try_from(entry.role) {
        Ok(wire::Role::Member) => Role::Member,
        Ok(wire::Role::Admin) => Role::Admin,
        Ok(wire::Role::Owner) => Role::Owner,
        Ok(wire::Role::Unspecified) | Err(_) => return Err(PolicyError::Malformed),
    };
    Ok((name(&entry.username)?, role))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn roles() -> impl Strategy<Value = BTreeMap<Username, Role>> {
        let role = prop::sample::select(vec![Role::Member, Role::Admin, Role::Owner]);
        prop::collection::btree_map(
            "[a-z]{3,8}".prop_map(|text| Username::parse(&text).unwrap()),
            role,
            0..12,
        )
    }

    fn rules() -> impl Strategy<Value = GroupRules> {
        let access = prop::sample::select(vec![Access::Closed, Access::Public]);
        let names = || {
            let name = "[a-z]{4}".prop_map(|text| Username::parse(&text).unwrap());
            prop::collection::btree_set(name, 0..5)
        };
        (roles(), access, names(), names()).prop_map(|(roles, access, banned, put_out)| {
            GroupRules {
                roles,
                access,
                banned,
                put_out,
            }
        })
    }

    proptest! {
        #[test]
        fn policies_round_trip(rules in rules()) {
            let base = Policy::group([(Username::parse("amy").unwrap(), Role::Owner)].into()).unwrap();
            if let Ok(policy) = base.next(Rules::Group(rules)) {
                prop_assert_eq!(Policy::decode(&policy.encode()), Ok(policy));
            }
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(policy) = Policy::decode(&bytes) {
                prop_assert_eq!(policy.encode(), bytes);
            }
        }
    }

    #[test]
    fn names_of_a_pair_are_sorted_and_differ() {
        let name = |text| Username::parse(text).unwrap();
        let policy = Policy::pair(name("zoe"), name("amy")).unwrap();
        assert_eq!(policy, Policy::pair(name("amy"), name("zoe")).unwrap());
        assert_eq!(policy.peer_of(&name("amy")), Some(&name("zoe")));
        assert_eq!(
            Policy::pair(name("amy"), name("amy")),
            Err(PolicyError::SameAccount)
        );
        let swapped = wire::Policy {
            version: 1,
            rules: Some(wire::policy::Rules::Pair(wire::PairPolicy {
                first: "zoe".to_owned(),
                second: "amy".to_owned(),
            })),
        };
        assert!(Policy::decode(&swapped.encode_to_vec()).is_err());
    }

    #[test]
    fn there_is_one_way_to_say_who_is_a_member_or_banned() {
        let name = |text| Username::parse(text).unwrap();
        let owner = || BTreeMap::from([(name("amy"), Role::Owner)]);
        let mut plain = owner();
        plain.insert(name("bob"), Role::Member);
        assert_eq!(Policy::public_group(plain), Err(PolicyError::BadGroup));
        let room = Policy::public_group(owner()).unwrap();
        assert_eq!(room.role_of(&name("bob")), Some(Role::Member));
        let mut rules = GroupRules::public(owner());
        rules.banned.insert(name("bob"));
        let stricter = room.next(Rules::Group(rules.clone())).unwrap();
        assert_eq!(stricter.role_of(&name("bob")), None);
        rules.banned.insert(name("amy"));
        assert_eq!(
            room.next(Rules::Group(rules)),
            Err(PolicyError::BadGroup),
            "a banned owner"
        );
        let closed = Policy::group(owner()).unwrap();
        assert_eq!(closed.role_of(&name("bob")), None);
    }

    #[test]
    fn bans_are_bounded_sorted_and_without_doubles() {
        let owner = BTreeMap::from([(Username::parse("amy").unwrap(), Role::Owner)]);
        let policy = Policy::group(owner.clone()).unwrap();
        let mut rules = GroupRules::closed(owner);
        let names = (0..BANNED_MAX).map(|n| Username::parse(&format!("user{n:04}")).unwrap());
        rules.banned.extend(names);
        let full = policy.next(Rules::Group(rules.clone())).unwrap();
        assert_eq!(Policy::decode(&full.encode()), Ok(full.clone()));
        rules.banned.insert(Username::parse("one-more").unwrap());
        assert!(policy.next(Rules::Group(rules)).is_err());
        let mut sent = wire::Policy::decode(full.encode().as_slice()).unwrap();
        let Some(wire::policy::Rules::Group(group)) = &mut sent.rules else {
            panic!("a group");
        };
        group.banned.swap(3, 4);
        assert!(Policy::decode(&sent.encode_to_vec()).is_err());
    }

    #[test]
    fn who_was_put_out_of_a_closed_group_is_neither_in_nor_banned() {
        let name = |text: &str| Username::parse(text).unwrap();
        let owner = BTreeMap::from([(name("amy"), Role::Owner)]);
        let closed = Policy::group(owner.clone()).unwrap();
        let mut rules = GroupRules::closed(owner.clone());
        rules.put_out.insert(name("bob"));
        let next = closed.next(Rules::Group(rules.clone())).unwrap();
        assert_eq!(Policy::decode(&next.encode()), Ok(next));
        let refused = |rules: GroupRules, why| {
            let answer = closed.next(Rules::Group(rules));
            assert_eq!(answer, Err(PolicyError::BadGroup), "{why}");
        };
        let mut both = rules.clone();
        both.banned.insert(name("bob"));
        refused(both, "banned and put out");
        let mut inside = rules.clone();
        inside.roles.insert(name("bob"), Role::Member);
        refused(inside, "a member");
        let mut many = rules;
        let names = (0..PUT_OUT_MAX).map(|n| name(&format!("user{n:04}")));
        many.put_out.extend(names);
        refused(many, "one too many");
        let mut public = GroupRules::public(owner);
        public.put_out.insert(name("bob"));
        refused(public, "anybody may enter a public group");
    }
}
