//! Policies: who may be in a conversation and what each account may do.
//!
//! A policy travels in the MLS group context, so that every member and every
//! server judges by the same bytes. Encodings are canonical and bounded. What
//! a change of policy needs is decided in [`mod@crate::authorize`], not here.

use std::collections::BTreeMap;

use prost::Message as _;
use sotto_protocol::wire;
use sotto_protocol::{Username, limits::GROUP_LEAVES_MAX};

/// The largest encoded policy: one entry for each possible leaf.
pub const POLICY_BYTES_MAX: usize = 64 * GROUP_LEAVES_MAX;

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
    /// A group with a role for each account in it.
    Group {
        /// Every account of the group.
        roles: BTreeMap<Username, Role>,
    },
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
    /// A group without an owner, or with too many accounts.
    #[error("a group needs an owner and at most as many accounts as leaves")]
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

    /// The policy of a new group with these roles.
    ///
    /// # Errors
    /// Without an owner, or with more than 4,096 accounts.
    pub fn group(roles: BTreeMap<Username, Role>) -> Result<Self, PolicyError> {
        Self::checked(1, Rules::Group { roles })
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

    /// What an account may do here; `None` when it does not belong. Both
    /// accounts of a pair are members.
    #[must_use]
    pub fn role_of(&self, username: &Username) -> Option<Role> {
        match &self.rules {
            Rules::Pair { first, second } => {
                (username == first || username == second).then_some(Role::Member)
            }
            Rules::Group { roles } => roles.get(username).copied(),
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
            Rules::Group { roles } => wire::policy::Rules::Group(wire::GroupPolicy {
                roles: roles.iter().map(role_entry).collect(),
                access: wire::GroupAccess::Closed.into(),
                banned: Vec::new(),
            }),
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
            wire::policy::Rules::Group(group) => Rules::Group {
                roles: group
                    .roles
                    .iter()
                    .map(role_from)
                    .collect::<Result<_, _>>()?,
            },
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
            Rules::Group { roles }
                if roles.len() > GROUP_LEAVES_MAX
                    || !roles.values().any(|role| *role == Role::Owner) =>
            {
                return Err(PolicyError::BadGroup);
            }
            _ => {}
        }
        Ok(Self { version, rules })
    }
}

fn name(text: &str) -> Result<Username, PolicyError> {
    Username::parse(text).map_err(|_| PolicyError::Malformed)
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

    proptest! {
        #[test]
        fn policies_round_trip(roles in roles()) {
            if let Ok(policy) = Policy::group(roles) {
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
}
