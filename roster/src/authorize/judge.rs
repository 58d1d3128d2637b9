//! The rules that hold in every kind of conversation, and those of pairs.

use std::collections::{BTreeMap, BTreeSet};

use sotto_protocol::Username;
use sotto_protocol::limits::GROUP_LEAVES_MAX;

use super::PAIR_LEAVES_MAX;
use super::change::{Change, Committer, Denied, Proposer, Removal};
use crate::certificate::DeviceCertificate;
use crate::roles::{Access, Policy, Rules};
use crate::state::Roster;

/// No leaf changes its certificate: neither by an update nor by the committer's path.
pub(super) fn leaves_keep_their_certificates(
    roster: &Roster,
    change: &Change,
) -> Result<(), Denied> {
    for update in &change.updates {
        match roster.leaves.get(&update.leaf) {
            None => return Err(Denied::NoSuchLeaf),
            Some(before) if *before != update.certificate => {
                return Err(Denied::CertificateChanged);
            }
            Some(_) => {}
        }
    }
    match (&change.committer, &change.path_leaf) {
        (Committer::Member(leaf), Some(path)) => match roster.leaves.get(leaf) {
            Some(before) if before == path => Ok(()),
            Some(_) => Err(Denied::CertificateChanged),
            None => Err(Denied::NoSuchLeaf),
        },
        (Committer::External(joiner), Some(path)) if joiner == path => Ok(()),
        (Committer::External(_), _) => Err(Denied::BadExternalCommit),
        (Committer::Member(_), None) => Ok(()),
    }
}

/// The committing device.
pub(super) fn committer<'a>(
    roster: &'a Roster,
    change: &'a Change,
) -> Result<&'a DeviceCertificate, Denied> {
    match &change.committer {
        Committer::Member(leaf) => roster.leaves.get(leaf).ok_or(Denied::NoSuchLeaf),
        Committer::External(joiner) => Ok(joiner),
    }
}

/// The removals with the certificates that they concern.
pub(super) fn removed<'a>(
    roster: &'a Roster,
    change: &Change,
) -> Result<Vec<(Removal, &'a DeviceCertificate)>, Denied> {
    let mut seen = BTreeSet::new();
    change
        .removes
        .iter()
        .map(|removal| {
            let certificate = roster.leaves.get(&removal.leaf).ok_or(Denied::NoSuchLeaf)?;
            if !seen.insert(removal.leaf) || change.committer == Committer::Member(removal.leaf) {
                return Err(Denied::ContradictoryRemoval);
            }
            Ok((*removal, certificate))
        })
        .collect()
}

/// The devices after the change; refuses impossible sets of them.
pub(super) fn after<'a>(
    roster: &'a Roster,
    change: &'a Change,
    removed: &[(Removal, &DeviceCertificate)],
) -> Result<Vec<&'a DeviceCertificate>, Denied> {
    if !change
        .adds
        .iter()
        .all(|add| add.lifetime.allows(change.freshness))
    {
        return Err(Denied::BadLifetime);
    }
    let added = change.adds.iter().map(|add| &add.certificate);
    let joiner = match &change.committer {
        Committer::External(joiner) => Some(joiner),
        Committer::Member(_) => None,
    };
    let newcomers: Vec<_> = added.chain(joiner).collect();
    // An account whose devices all leave in this commit may not return in it as somebody else.
    one_identity_each(roster.leaves.values().chain(newcomers.iter().copied()))?;
    let gone: BTreeSet<_> = removed.iter().map(|(removal, _)| removal.leaf).collect();
    let after: Vec<_> = roster
        .leaves
        .iter()
        .filter(|(leaf, _)| !gone.contains(leaf))
        .map(|(_, certificate)| certificate)
        .chain(newcomers)
        .collect();
    distinct_devices(&after)?;
    let leaves_max = match roster.policy.rules() {
        Rules::Pair { .. } => PAIR_LEAVES_MAX,
        Rules::Group(_) => GROUP_LEAVES_MAX,
    };
    if after.len() > leaves_max {
        Err(Denied::TooManyLeaves)
    } else {
        Ok(after)
    }
}

/// An external commit puts one device in and does nothing else; the only leaf
/// that it may remove is the same device's old one. The device's account is in
/// already, or the group is public and the account is not banned.
pub(super) fn external(
    roster: &Roster,
    change: &Change,
    joiner: &DeviceCertificate,
    removed: &[(Removal, &DeviceCertificate)],
) -> Result<(), Denied> {
    let is_member = roster.leaves.values().any(|leaf| leaf.same_account(joiner));
    let only_itself = removed.iter().all(|(removal, gone)| {
        removal.proposer == Proposer::Committer
            && gone.device_id() == joiner.device_id()
            && gone.same_account(joiner)
    });
    if !only_itself || !change.adds.is_empty() || change.policy.is_some() {
        return Err(Denied::BadExternalCommit);
    }
    match roster.policy.rules() {
        _ if is_member => Ok(()),
        Rules::Group(rules) if rules.access == Access::Public => {
            may_be_in(&roster.policy, joiner.username())
        }
        Rules::Group(_) | Rules::Pair { .. } => Err(Denied::BadExternalCommit),
    }
}

/// In a pair each account manages its own devices; the other's come in
/// together once, while none of them is in.
pub(super) fn pair(
    roster: &Roster,
    change: &Change,
    committer: &DeviceCertificate,
    removed: &[(Removal, &DeviceCertificate)],
) -> Result<(), Denied> {
    if change.policy.is_some() {
        return Err(Denied::PolicyChange);
    }
    for add in &change.adds {
        let username = add.certificate.username();
        if roster.policy.role_of(username).is_none() {
            return Err(Denied::NotInPolicy);
        }
        let is_own = username == committer.username();
        if !is_own && roster.identity_of(username).is_some() {
            return Err(Denied::RoleTooLow);
        }
    }
    let own_only = removed.iter().all(|(removal, gone)| {
        removal.proposer == Proposer::Committer && gone.username() == committer.username()
    });
    if own_only {
        Ok(())
    } else {
        Err(Denied::RoleTooLow)
    }
}

/// Whether an account may be in under a policy.
fn may_be_in(policy: &Policy, username: &Username) -> Result<(), Denied> {
    match policy.group_rules() {
        Some(rules) if rules.banned.contains(username) => Err(Denied::Banned),
        _ if policy.role_of(username).is_none() => Err(Denied::NotInPolicy),
        _ => Ok(()),
    }
}

/// Exactly the accounts of a closed group's policy are in. In a public group
/// all that it names are, and nobody banned is. In a pair nobody else is.
pub(super) fn accounts_fit_policy(
    after: &[&DeviceCertificate],
    policy: &Policy,
) -> Result<(), Denied> {
    let accounts: BTreeSet<_> = after.iter().map(|leaf| leaf.username()).collect();
    for username in &accounts {
        may_be_in(policy, username)?;
    }
    match policy.rules() {
        Rules::Group(rules) if rules.roles.keys().any(|name| !accounts.contains(name)) => {
            Err(Denied::PolicyMembersDiffer)
        }
        _ => Ok(()),
    }
}

pub(super) fn one_identity_each<'a>(
    certificates: impl Iterator<Item = &'a DeviceCertificate>,
) -> Result<(), Denied> {
    let mut identities = BTreeMap::new();
    for certificate in certificates {
        let known = identities
            .entry(certificate.username())
            .or_insert(certificate.identity_key());
        if *known != certificate.identity_key() {
            return Err(Denied::IdentityChanged);
        }
    }
    Ok(())
}

pub(super) fn distinct_devices(certificates: &[&DeviceCertificate]) -> Result<(), Denied> {
    let devices: BTreeSet<_> = certificates.iter().map(|leaf| leaf.device_id()).collect();
    let keys: BTreeSet<_> = certificates.iter().map(|leaf| leaf.device_key()).collect();
    if devices.len() == certificates.len() && keys.len() == certificates.len() {
        Ok(())
    } else {
        Err(Denied::DuplicateDevice)
    }
}
