//! What a commit would change, and the answers that are given to it.

use std::collections::BTreeSet;

use sotto_protocol::{ConversationId, Username};

use crate::certificate::DeviceCertificate;
use crate::roles::{GroupRules, Policy, Role};
use crate::state::{LeafIndex, Roster};

/// Who made a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Committer {
    /// A device that is in the conversation: the authenticated sender.
    Member(LeafIndex),
    /// A device that puts itself in by external commit.
    External(DeviceCertificate),
}

/// Who proposed a removal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Proposer {
    /// The committer.
    Committer,
    /// Another member, whose proposal the committer took up.
    Member(LeafIndex),
}

/// How strictly lifetimes are held against the clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Freshness {
    /// The commit is being made or ordered now: what it adds must be valid now and for 15 days.
    Live {
        /// Milliseconds since 1970 UTC.
        now_ms: u64,
    },
    /// The commit was accepted earlier: only absurd lifetimes are refused.
    Backlog {
        /// Milliseconds since 1970 UTC.
        now_ms: u64,
    },
}

/// From when until when a key package may be used, in seconds since 1970 UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lifetime {
    /// Not before this second.
    pub not_before_s: u64,
    /// Not at or after this second.
    pub not_after_s: u64,
}

impl Lifetime {
    /// Whether a package of this lifetime may be added.
    #[must_use]
    pub fn allows(self, freshness: Freshness) -> bool {
        let (now_ms, left_s) = match freshness {
            Freshness::Live { now_ms } => (now_ms, Some(super::LIFETIME_LEFT_S_MIN)),
            Freshness::Backlog { now_ms } => (now_ms, None),
        };
        let now_s = now_ms / 1000;
        let span_s = self.not_after_s.checked_sub(self.not_before_s);
        span_s.is_some_and(|span| span <= super::LIFETIME_S_MAX + super::SKEW_S)
            && self.not_before_s <= now_s.saturating_add(super::SKEW_S)
            && left_s.is_none_or(|left| self.not_after_s >= now_s.saturating_add(left))
    }
}

/// A device that a commit adds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddedLeaf {
    /// The device.
    pub certificate: DeviceCertificate,
    /// The lifetime in its key package.
    pub lifetime: Lifetime,
}

/// A device that a commit removes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Removal {
    /// Its place.
    pub leaf: LeafIndex,
    /// Who wants it.
    pub proposer: Proposer,
}

/// A leaf that an Update proposal renews.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeafUpdate {
    /// Its place.
    pub leaf: LeafIndex,
    /// The certificate in the new leaf.
    pub certificate: DeviceCertificate,
}

/// Everything that a commit would change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Who made it.
    pub committer: Committer,
    /// Devices that it adds.
    pub adds: Vec<AddedLeaf>,
    /// Devices that it removes.
    pub removes: Vec<Removal>,
    /// Leaves that Update proposals renew.
    pub updates: Vec<LeafUpdate>,
    /// The certificate in the committer's renewed leaf, when the commit renews it.
    pub path_leaf: Option<DeviceCertificate>,
    /// The policy after it, when the commit states one.
    pub policy: Option<Policy>,
    /// Proposals of kinds that have no rule here; any is refused.
    pub other_proposals: usize,
    /// How lifetimes are judged.
    pub freshness: Freshness,
}

/// One thing that changed, for people and logs of events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MembershipChange {
    /// A device came in.
    Added(DeviceCertificate),
    /// A device is out.
    Removed(DeviceCertificate),
    /// A device came back with fresh keys.
    Rejoined(DeviceCertificate),
    /// An account's role is another; `None` stands for not being in.
    Role {
        /// The account.
        username: Username,
        /// The role before.
        from: Option<Role>,
        /// The role after.
        to: Option<Role>,
    },
    /// An account may no longer be in.
    Banned(Username),
    /// An account may come in again.
    Unbanned(Username),
}

/// The proof that a change was judged and allowed. Merging consumes it.
#[derive(Debug)]
#[must_use = "an authorization that is not merged changes nothing"]
pub struct Authorized {
    conversation: ConversationId,
    generation: u32,
    epoch: u64,
    committer: DeviceCertificate,
    changes: Vec<MembershipChange>,
}

impl Authorized {
    pub(super) fn new(
        roster: &Roster,
        change: &Change,
        committer: &DeviceCertificate,
        removed: &[(Removal, &DeviceCertificate)],
    ) -> Self {
        Self {
            conversation: roster.conversation,
            generation: roster.generation,
            epoch: roster.epoch,
            committer: committer.clone(),
            changes: changes(roster, change, removed),
        }
    }

    /// Whether this is about the very state that a commit is to be merged into.
    #[must_use]
    pub fn is_for(&self, conversation: &ConversationId, generation: u32, epoch: u64) -> bool {
        self.conversation == *conversation && self.generation == generation && self.epoch == epoch
    }

    /// The device that made the commit.
    #[must_use]
    pub fn committer(&self) -> &DeviceCertificate {
        &self.committer
    }

    /// What changes.
    #[must_use]
    pub fn changes(&self) -> &[MembershipChange] {
        &self.changes
    }

    /// Ends the proof and keeps what it told.
    #[must_use]
    pub fn into_changes(self) -> (DeviceCertificate, Vec<MembershipChange>) {
        (self.committer, self.changes)
    }
}

fn changes(
    roster: &Roster,
    change: &Change,
    removed: &[(Removal, &DeviceCertificate)],
) -> Vec<MembershipChange> {
    let mut all = Vec::new();
    if let Committer::External(joiner) = &change.committer {
        all.push(if removed.is_empty() {
            MembershipChange::Added(joiner.clone())
        } else {
            MembershipChange::Rejoined(joiner.clone())
        });
    } else {
        all.extend(
            removed
                .iter()
                .map(|(_, gone)| MembershipChange::Removed((*gone).clone())),
        );
    }
    all.extend(
        change
            .adds
            .iter()
            .map(|add| MembershipChange::Added(add.certificate.clone())),
    );
    if let (Some(before), Some(after)) = (
        roster.policy.group_rules(),
        change
            .policy
            .as_ref()
            .unwrap_or(&roster.policy)
            .group_rules(),
    ) {
        let gone: BTreeSet<_> = removed.iter().map(|(removal, _)| removal.leaf).collect();
        let stay = roster
            .leaves
            .iter()
            .filter(|(leaf, _)| !gone.contains(leaf));
        let came = change.adds.iter().map(|add| &add.certificate);
        let joiner = match &change.committer {
            Committer::External(joiner) => Some(joiner),
            Committer::Member(_) => None,
        };
        let stay = stay.map(|(_, certificate)| certificate);
        let accounts = stay
            .chain(came)
            .chain(joiner)
            .map(DeviceCertificate::username);
        all.extend(roles(
            before,
            &roster.accounts(),
            after,
            &accounts.collect(),
        ));
        all.extend(bans(before, after));
    }
    all
}

/// The accounts whose role is another, by name.
fn roles(
    before: &GroupRules,
    accounts_before: &BTreeSet<&Username>,
    after: &GroupRules,
    accounts_after: &BTreeSet<&Username>,
) -> Vec<MembershipChange> {
    let role = |rules: &GroupRules, accounts: &BTreeSet<&Username>, username| {
        let is_in = accounts.contains(username);
        is_in.then(|| rules.role_of(username)).flatten()
    };
    accounts_before
        .union(accounts_after)
        .filter_map(|username| {
            let from = role(before, accounts_before, *username);
            let to = role(after, accounts_after, *username);
            (from != to).then(|| MembershipChange::Role {
                username: (*username).clone(),
                from,
                to,
            })
        })
        .collect()
}

fn bans(before: &GroupRules, after: &GroupRules) -> Vec<MembershipChange> {
    let new = after.banned.difference(&before.banned).cloned();
    let lifted = before.banned.difference(&after.banned).cloned();
    new.map(MembershipChange::Banned)
        .chain(lifted.map(MembershipChange::Unbanned))
        .collect()
}

/// Why a change is not allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// The commit holds a proposal that no rule knows, or touches settings that never change.
    #[error("commit holds a proposal that no rule allows")]
    UnknownProposal,
    /// The committer, or a leaf that the commit names, is not in the conversation.
    #[error("commit names a leaf that is not there")]
    NoSuchLeaf,
    /// A leaf would change its certificate.
    #[error("a leaf's certificate would change")]
    CertificateChanged,
    /// A committer would remove itself, or one leaf would be removed twice.
    #[error("removal contradicts itself")]
    ContradictoryRemoval,
    /// Two leaves would belong to one device or share a key.
    #[error("a device would have two leaves")]
    DuplicateDevice,
    /// An account would be in under two identity keys.
    #[error("an account's identity key would change")]
    IdentityChanged,
    /// A key package is expired, soon to expire, or lives too long.
    #[error("a key package's lifetime is not acceptable")]
    BadLifetime,
    /// An account outside the policy would be in.
    #[error("account does not belong to the conversation")]
    NotInPolicy,
    /// The policy would name accounts that are not in, or leave out some that are.
    #[error("policy and members would differ")]
    PolicyMembersDiffer,
    /// The committer's role does not suffice.
    #[error("committer's role does not allow this")]
    RoleTooLow,
    /// An account that is banned would be in.
    #[error("account is banned from the group")]
    Banned,
    /// The policy would change in kind or access, skip a version, or may not change at all.
    #[error("policy may not change like this")]
    PolicyChange,
    /// More leaves than a conversation may have.
    #[error("too many leaves")]
    TooManyLeaves,
    /// An external commit that does more than put its device in, or from an
    /// account that is neither in nor may come in alone.
    #[error("external commit is only for members' own devices, and for newcomers to public groups")]
    BadExternalCommit,
    /// A first state or a rebuilt one that does not fit the rules.
    #[error("group state does not fit the conversation")]
    BadOrigin,
}
