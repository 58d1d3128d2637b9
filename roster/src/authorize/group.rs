//! The rules of groups: owners, admins, members, and who is banned.

use std::collections::BTreeSet;

use sotto_protocol::Username;

use super::change::{Change, Denied, Proposer, Removal};
use crate::certificate::DeviceCertificate;
use crate::roles::{Access, GroupRules, Policy, Role, Rules};
use crate::state::Roster;

/// Judges a member's commit but for roles. That policy and members agree
/// afterwards, that nobody banned is in, and that an owner with a device
/// remains, follows from the caller's last check together with
/// [`crate::roles::Policy`], which cannot lack an owner.
pub(super) fn judge(
    roster: &Roster,
    change: &Change,
    committer: &DeviceCertificate,
    removed: &[(Removal, &DeviceCertificate)],
    rules: &GroupRules,
) -> Result<(), Denied> {
    let actor = rules
        .role_of(committer.username())
        .ok_or(Denied::NotInPolicy)?;
    for add in &change.adds {
        let is_own = add.certificate.username() == committer.username();
        if !is_own && actor < Role::Admin {
            return Err(Denied::RoleTooLow);
        }
    }
    for (removal, gone) in removed {
        judge_removal(roster, committer, *removal, gone, rules)?;
    }
    match &change.policy {
        None => Ok(()),
        Some(policy) => judge_policy(&roster.policy, policy, rules, actor),
    }
}

/// Everybody may remove devices of their own account, by a proposal of their
/// own too; admins remove members, owners anybody.
fn judge_removal(
    roster: &Roster,
    committer: &DeviceCertificate,
    removal: Removal,
    gone: &DeviceCertificate,
    rules: &GroupRules,
) -> Result<(), Denied> {
    let wanted_by = match removal.proposer {
        Proposer::Committer => committer,
        Proposer::Member(leaf) => roster.leaves.get(&leaf).ok_or(Denied::NoSuchLeaf)?,
    };
    if wanted_by.username() == gone.username() {
        return Ok(());
    }
    let role = |username| rules.role_of(username).unwrap_or(Role::Member);
    let may = removal.proposer == Proposer::Committer
        && role(committer.username()) >= above(role(gone.username()));
    if may { Ok(()) } else { Err(Denied::RoleTooLow) }
}

/// What it takes to put somebody of a role out.
pub(super) fn above(role: Role) -> Role {
    match role {
        Role::Member => Role::Admin,
        Role::Admin | Role::Owner => Role::Owner,
    }
}

/// Judges a new policy but for its roles: it follows the old one, the group
/// stays as open as it was, and bans are made and lifted by admins, those of
/// admins and owners by owners. Who was put out only an admin notes or forgets.
fn judge_policy(
    old: &Policy,
    new: &Policy,
    before: &GroupRules,
    actor: Role,
) -> Result<(), Denied> {
    let Rules::Group(after) = new.rules() else {
        return Err(Denied::PolicyChange);
    };
    if old.version().checked_add(1) != Some(new.version()) || before.access != after.access {
        return Err(Denied::PolicyChange);
    }
    let same_outside = before.banned == after.banned && before.put_out == after.put_out;
    if !same_outside && actor < Role::Admin {
        return Err(Denied::RoleTooLow);
    }
    for username in after.banned.difference(&before.banned) {
        let role = before.roles.get(username).copied();
        if actor < above(role.unwrap_or(Role::Member)) {
            return Err(Denied::RoleTooLow);
        }
    }
    Ok(())
}

/// Judges each account's role. One that is named no longer and has no device
/// left was put out by removals, each of which was judged; one that still has
/// a device in a public group became a member.
pub(super) fn judge_roles(
    before: &GroupRules,
    after: &GroupRules,
    actor: &Username,
    devices_after: &[&DeviceCertificate],
) -> Result<(), Denied> {
    let actor_role = before.role_of(actor).unwrap_or(Role::Member);
    let accounts: BTreeSet<_> = devices_after.iter().map(|leaf| leaf.username()).collect();
    let names: BTreeSet<_> = before.roles.keys().chain(after.roles.keys()).collect();
    for username in names {
        // Whoever comes into a public group is a member; nobody is one of a closed group unnamed.
        let unnamed = (before.access == Access::Public).then_some(Role::Member);
        let from = before.roles.get(username).copied().or(unnamed);
        let to = after.roles.get(username).copied();
        let is_out = to.is_none() && !accounts.contains(username);
        let allowed = match (from, to.or(unnamed)) {
            _ if is_out => true,
            (None, Some(Role::Member)) => actor_role >= Role::Admin,
            (None, Some(_)) => actor_role == Role::Owner,
            (Some(from), Some(to)) if from == to => true,
            (Some(from), Some(to)) => actor_role == Role::Owner || (username == actor && to < from),
            // The caller's last check finds that policy and members differ.
            (_, None) => true,
        };
        if !allowed {
            return Err(Denied::RoleTooLow);
        }
    }
    Ok(())
}
