//! The rules of groups: owners, admins, members.

use std::collections::{BTreeMap, BTreeSet};

use sotto_protocol::Username;

use super::change::{Change, Denied, Proposer, Removal};
use crate::certificate::DeviceCertificate;
use crate::roles::{Role, Rules};
use crate::state::Roster;

type Roles = BTreeMap<Username, Role>;

/// Judges a member's commit. That policy and members agree afterwards, and
/// that an owner with a device remains, follows from the caller's last check
/// together with [`crate::roles::Policy`], which cannot lack an owner.
pub(super) fn judge(
    roster: &Roster,
    change: &Change,
    committer: &DeviceCertificate,
    removed: &[(Removal, &DeviceCertificate)],
    roles: &Roles,
) -> Result<(), Denied> {
    let actor = *roles.get(committer.username()).ok_or(Denied::NotInPolicy)?;
    for add in &change.adds {
        let is_own = add.certificate.username() == committer.username();
        if !is_own && actor < Role::Admin {
            return Err(Denied::RoleTooLow);
        }
    }
    for (removal, gone) in removed {
        judge_removal(roster, committer, *removal, gone, roles)?;
    }
    match &change.policy {
        None => Ok(()),
        Some(policy) if roster.policy.version().checked_add(1) != Some(policy.version()) => {
            Err(Denied::PolicyChange)
        }
        Some(policy) => match policy.rules() {
            Rules::Group { roles: after } => judge_roles(roles, after, committer.username()),
            Rules::Pair { .. } => Err(Denied::PolicyChange),
        },
    }
}

/// Everybody may remove devices of their own account, by a proposal of their
/// own too; admins remove members, owners anybody.
fn judge_removal(
    roster: &Roster,
    committer: &DeviceCertificate,
    removal: Removal,
    gone: &DeviceCertificate,
    roles: &Roles,
) -> Result<(), Denied> {
    let wanted_by = match removal.proposer {
        Proposer::Committer => committer,
        Proposer::Member(leaf) => roster.leaves.get(&leaf).ok_or(Denied::NoSuchLeaf)?,
    };
    if wanted_by.username() == gone.username() {
        return Ok(());
    }
    let role = |username| roles.get(username).copied().unwrap_or(Role::Member);
    let needed = match role(gone.username()) {
        Role::Member => Role::Admin,
        Role::Admin | Role::Owner => Role::Owner,
    };
    let may = removal.proposer == Proposer::Committer && role(committer.username()) >= needed;
    if may { Ok(()) } else { Err(Denied::RoleTooLow) }
}

/// Judges each account's role. An account that vanishes from the policy has
/// lost every device, and each of those removals was judged.
fn judge_roles(before: &Roles, after: &Roles, actor: &Username) -> Result<(), Denied> {
    let actor_role = before.get(actor).copied().unwrap_or(Role::Member);
    let names: BTreeSet<_> = before.keys().chain(after.keys()).collect();
    for username in names {
        let allowed = match (before.get(username), after.get(username)) {
            (None, Some(Role::Member)) => actor_role >= Role::Admin,
            (None, Some(_)) => actor_role == Role::Owner,
            (Some(from), Some(to)) if from == to => true,
            (Some(from), Some(to)) => actor_role == Role::Owner || (username == actor && to < from),
            (Some(_), None) | (None, None) => true,
        };
        if !allowed {
            return Err(Denied::RoleTooLow);
        }
    }
    Ok(())
}
