//! The one door to every change of who is in a conversation.
//!
//! [`authorize`] is a pure function of the roster before a commit, the change
//! that the commit makes, and the time. What no rule allows is denied. The
//! committer, the servers and every receiving device ask it; merging consumes
//! the [`Authorized`] that only this module can make, so nothing merges that
//! was not judged. It does not verify signatures: certificates and the commit
//! were verified before a [`Change`] could be read out of them.

mod change;
mod group;
mod judge;
mod origin;

pub use change::{
    AddedLeaf, Authorized, Change, Committer, Denied, Freshness, LeafUpdate, Lifetime,
    MembershipChange, Proposer, Removal,
};
pub use origin::{authorize_join, authorize_new, authorize_rebuild, is_vacant};

use crate::roles::{Policy, Rules};
use crate::state::Roster;

/// How far a clock may be ahead of another: one day, in seconds.
pub const SKEW_S: u64 = 24 * 3600;
/// The longest lifetime of a key package, in seconds: 90 days. One day of skew is granted on top.
pub const LIFETIME_S_MAX: u64 = 90 * 24 * 3600;
/// How long a key package must still live when it is added, in seconds: 15
/// days. A device that reads the log later than the others, at most by the 14
/// days that logs are kept, then never meets an expired one.
pub const LIFETIME_LEFT_S_MIN: u64 = 15 * 24 * 3600;
/// Leaves of a conversation between two accounts.
pub const PAIR_LEAVES_MAX: usize = 32;

/// Decides whether a commit may change a conversation.
///
/// # Errors
/// The first reason found why it may not.
pub fn authorize(roster: &Roster, change: &Change) -> Result<Authorized, Denied> {
    if change.other_proposals != 0 {
        return Err(Denied::UnknownProposal);
    }
    judge::leaves_keep_their_certificates(roster, change)?;
    let committer = judge::committer(roster, change)?;
    let removed = judge::removed(roster, change)?;
    let after = judge::after(roster, change, &removed)?;
    match (&change.committer, roster.policy.rules()) {
        (Committer::External(joiner), _) => judge::external(roster, change, joiner, &removed)?,
        (Committer::Member(_), Rules::Pair { .. }) => {
            judge::pair(roster, change, committer, &removed)?;
        }
        (Committer::Member(_), Rules::Group(rules)) => {
            group::judge(roster, change, committer, &removed, rules)?;
            let next = change.policy.as_ref().and_then(Policy::group_rules);
            group::judge_roles(rules, next.unwrap_or(rules), committer.username(), &after)?;
        }
    }
    judge::accounts_fit_policy(&after, change.policy.as_ref().unwrap_or(&roster.policy))?;
    Ok(Authorized::new(roster, change, committer, &removed))
}

#[cfg(test)]
mod tests;
