//! How a conversation begins, is entered, and is rebuilt.

use std::collections::BTreeMap;

use sotto_protocol::Username;

use super::change::Denied;
use super::{group, judge};
use crate::certificate::DeviceCertificate;
use crate::roles::{GroupRules, Policy, Role, Rules};
use crate::state::{LeafIndex, Roster};

/// Judges the first state of a conversation's MLS group, of any generation:
/// epoch 0 with its creator alone. Returns the creator.
///
/// # Errors
/// When anything else is in it, or the policy is not the creator's to make.
pub fn authorize_new(roster: &Roster) -> Result<&DeviceCertificate, Denied> {
    check(roster)?;
    let mut leaves = roster.leaves.values();
    match (leaves.next(), leaves.next()) {
        (Some(creator), None) if roster.epoch == 0 && roster.policy.version() == 1 => Ok(creator),
        _ => Err(Denied::BadOrigin),
    }
}

/// Judges the state that a welcome leads to, for the device that was invited.
///
/// # Errors
/// When the roster breaks a rule that every state obeys, `me` is not in it, or
/// the inviter could not have added `me`.
pub fn authorize_join(
    roster: &Roster,
    me: &DeviceCertificate,
    inviter: LeafIndex,
) -> Result<(), Denied> {
    check(roster)?;
    let inviter = roster.leaves.get(&inviter).ok_or(Denied::NoSuchLeaf)?;
    if !roster.leaves.values().any(|leaf| leaf == me) {
        return Err(Denied::NoSuchLeaf);
    }
    let role = roster
        .policy
        .role_of(inviter.username())
        .ok_or(Denied::NotInPolicy)?;
    let may = match roster.policy.rules() {
        Rules::Pair { .. } => true,
        // An inviter may have handed its role on in the same commit, as a rebuild does. Whoever is in
        // the group already asks besides whether that member may have rebuilt it.
        Rules::Group(_) => {
            let is_rebuilt = roster.generation > 0 && roster.epoch == 1;
            role >= Role::Admin || inviter.same_account(me) || is_rebuilt
        }
    };
    if may { Ok(()) } else { Err(Denied::RoleTooLow) }
}

/// Judges a new generation of a conversation by its roster after the first
/// commit. `accepted` holds identity keys that stand for accounts instead of
/// those in the old roster (a person accepted a changed identity; for a server:
/// the keys of its accounts).
///
/// # Errors
/// When somebody would come in who was not in, would gain a role, would be left
/// out whom `by` may not remove, access would change, anybody's ban would end or
/// their having been put out, or `by` may not rebuild: admins may, and where
/// [`is_vacant`] any member, who then changes nothing.
pub fn authorize_rebuild(
    old: &Roster,
    new: &Roster,
    by: &DeviceCertificate,
    accepted: &BTreeMap<Username, [u8; 32]>,
) -> Result<(), Denied> {
    check(new)?;
    if new.conversation != old.conversation || new.generation <= old.generation {
        return Err(Denied::BadOrigin);
    }
    for leaf in new.leaves.values().chain([by]) {
        let known = accepted
            .get(leaf.username())
            .or_else(|| old.identity_of(leaf.username()));
        if known != Some(leaf.identity_key()) {
            return Err(Denied::IdentityChanged);
        }
    }
    let role = old
        .policy
        .role_of(by.username())
        .ok_or(Denied::NotInPolicy)?;
    match (old.policy.rules(), new.policy.rules()) {
        (Rules::Pair { .. }, _) if same_rules(&old.policy, &new.policy) => Ok(()),
        (Rules::Group(before), Rules::Group(after))
            if role < Role::Admin && before == after && is_vacant(old, accepted) =>
        {
            Ok(())
        }
        (Rules::Group(before), Rules::Group(after)) => rebuilt_group(before, after, role),
        _ => Err(Denied::PolicyChange),
    }
}

/// Whether nobody is left who could manage a group: each account that has an office has begun
/// anew with another identity than its devices in it, by the `accepted` identity keys. Its members
/// then may bring it back under the same rules.
#[must_use]
pub fn is_vacant(roster: &Roster, accepted: &BTreeMap<Username, [u8; 32]>) -> bool {
    let has_office = |leaf: &&DeviceCertificate| {
        let role = roster.policy.role_of(leaf.username());
        role.is_some_and(|role| role >= Role::Admin)
    };
    let is_old = |leaf: &DeviceCertificate| {
        let now = accepted.get(leaf.username());
        now.is_some_and(|identity| identity != leaf.identity_key())
    };
    roster.leaves.values().filter(has_office).all(is_old)
}

/// Access stays, and so does whoever is banned or was put out. More may be, who are not in: what
/// the new state is judged by may be older than what its maker knows (a server's record that was
/// restored), and an admin may ban anybody who is out. Nobody gains a role; whoever rebuilds may
/// leave out only those whom they could also remove (their devices may all be gone).
fn rebuilt_group(before: &GroupRules, after: &GroupRules, by: Role) -> Result<(), Denied> {
    // That none of them has a role is a rule of every policy.
    let out = |name: &Username| after.put_out.contains(name) || after.banned.contains(name);
    let outside_stays = before.banned.is_subset(&after.banned) && before.put_out.iter().all(out);
    if before.access != after.access || !outside_stays {
        return Err(Denied::PolicyChange);
    }
    let kept = |(name, role)| before.roles.get(name) == Some(role);
    let may_go = |(name, role): (&Username, &Role)| {
        after.roles.contains_key(name) || by >= group::above(*role)
    };
    if by >= Role::Admin && after.roles.iter().all(kept) && before.roles.iter().all(may_go) {
        Ok(())
    } else {
        Err(Denied::RoleTooLow)
    }
}

fn same_rules(one: &Policy, other: &Policy) -> bool {
    one.rules() == other.rules()
}

/// What holds in every state.
fn check(roster: &Roster) -> Result<(), Denied> {
    let leaves: Vec<_> = roster.leaves.values().collect();
    judge::one_identity_each(leaves.iter().copied())?;
    judge::distinct_devices(&leaves)?;
    judge::accounts_fit_policy(&leaves, &roster.policy)
}
