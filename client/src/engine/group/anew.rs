//! Members who began anew with another identity: how the new one takes the old one's place.
//!
//! Where the roles allow it an admin's client puts the old devices out and the new ones in. Those of
//! somebody whom it may not put out are replaced by a new generation, which gives everybody the role
//! that they had. Where nobody with an office is left, any member's client makes that generation.
//! Refuses to act for an identity that was not accepted here.

use std::collections::BTreeMap;

use rand::RngExt as _;
use sotto_crypto::WelcomeSummary;
use sotto_protocol::{ConversationId, Username};
use sotto_roster::{DeviceCertificate, Role, Roster, authorize_rebuild, is_vacant};

use super::super::api::SecurityKind;
use super::super::work::{Rebuild, Why};
use super::super::{Engine, EngineError};
use super::chores::JITTER_MS;
use super::{Change, Job};
use crate::history::{ConversationRow, ConversationState, JoinRequestRow};
use crate::talk::Talk;

/// How long bringing somebody back waits for those who have not read, in milliseconds: 7 days.
const WAIT_MS: u64 = 7 * 24 * 60 * 60 * 1_000;

/// How long nothing is to have been said in a group before its next generation, in milliseconds.
const QUIET_MS: u64 = 20_000;
/// When that is looked at again, in milliseconds.
const RETURN_AGAIN_MS: u64 = 10_000;

impl Engine {
    /// A person's changed identity was accepted here: in the groups that this
    /// account may mend it takes the old one's place. That can take two commits, for
    /// nobody returns as somebody else in the one that puts them out; what is
    /// still to be done is durable in between.
    pub(in crate::engine) fn readmit(
        &mut self,
        name: &Username,
        identity: &[u8; 32],
    ) -> Result<(), EngineError> {
        for id in self.store().groups_of(name)? {
            let Some(row) = self.store().conversation(&id)? else {
                continue;
            };
            let Some(roster) = self.roster_of(&row)? else {
                continue;
            };
            let stale = roster.identity_of(name).is_some_and(|old| old != identity);
            if stale && self.turn_for_admission(&roster)?.is_some() {
                let wish = JoinRequestRow {
                    name: name.clone(),
                    identity: *identity,
                    waits: false,
                    received_at_ms: self.now.unix_ms,
                };
                self.store().put_join_request(&row.id, &wish)?;
                self.plan_admission(&row.talk, &roster)?;
            }
        }
        Ok(())
    }

    /// How long this member waits for others before it lets somebody in, in milliseconds; `None`
    /// for whom that is not.
    pub(super) fn turn_for_admission(
        &mut self,
        roster: &Roster,
    ) -> Result<Option<u64>, EngineError> {
        Ok(match self.turn(roster, 0) {
            None if self.is_vacant(roster)? => Some(self.rng.random_range(JITTER_MS)),
            turn => turn,
        })
    }

    /// Whether each account with an office has another identity by now, accepted here.
    fn is_vacant(&self, roster: &Roster) -> Result<bool, EngineError> {
        let names = roster.leaves.values().map(DeviceCertificate::username);
        let in_office = |name: &&Username| roster.policy.role_of(name) >= Some(Role::Admin);
        Ok(is_vacant(roster, &self.accepted(names.filter(in_office))?))
    }

    fn try_return_later(&mut self, talk: &Talk) {
        let again = self.now.monotonic_ms + RETURN_AGAIN_MS;
        self.work_of(talk).chores.admit_at = Some(again);
    }

    /// Puts a return off that was begun: something was said meanwhile. Whether it did.
    pub(super) fn is_put_off(&mut self, row: &ConversationRow) -> Result<bool, EngineError> {
        let roster = self.roster_of(row)?;
        let is_settled = match &roster {
            Some(roster) => self.is_settled(row, roster)?,
            None => false,
        };
        let wishes = self.store().join_requests(&row.id)?;
        let mine = wishes.iter().filter(|wish| !wish.waits);
        let oldest_ms = mine.map(|wish| wish.received_at_ms).min();
        let waited_ms = oldest_ms.map_or(0, |at_ms| self.now.unix_ms.saturating_sub(at_ms));
        if is_settled || waited_ms >= WAIT_MS {
            return Ok(false);
        }
        self.end_job(&row.talk, Ok(()));
        self.try_return_later(&row.talk);
        Ok(true)
    }

    /// Whether a group is quiet, and every device in it told that it has all of what was said
    /// here, but those whose identity is not the accepted one.
    fn is_settled(&self, row: &ConversationRow, roster: &Roster) -> Result<bool, EngineError> {
        let last_ms = self.store().last_said_ms(row.keep, &row.id)?;
        if self.now.unix_ms.saturating_sub(last_ms) < QUIET_MS {
            return Ok(false);
        }
        let accepted = self.accepted_in(roster)?;
        let me = self.profile.device().certificate();
        for leaf in roster.leaves.values() {
            let is_gone = accepted
                .get(leaf.username())
                .is_some_and(|identity| identity != leaf.identity_key());
            if leaf == me || is_gone {
                continue;
            }
            if !self.store().has_all(row.keep, &row.id, leaf.device_id())? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The identities that are pinned here, of those who are in a group.
    fn accepted_in(&self, roster: &Roster) -> Result<BTreeMap<Username, [u8; 32]>, EngineError> {
        self.accepted(roster.leaves.values().map(DeviceCertificate::username))
    }

    fn accepted<'a>(
        &self,
        names: impl Iterator<Item = &'a Username>,
    ) -> Result<BTreeMap<Username, [u8; 32]>, EngineError> {
        let mut accepted = BTreeMap::new();
        for name in names {
            if let Some(identity) = self.store().peer(name)?.and_then(|peer| peer.identity) {
                accepted.insert(name.clone(), identity);
            }
        }
        Ok(accepted)
    }

    /// Makes the next generation of a group that works, with those in it who began anew. Whoever
    /// comes into it can no longer read what was said before: it is put off until everybody has.
    pub(super) fn bring_back(
        &mut self,
        row: &ConversationRow,
        roster: &Roster,
        since_ms: u64,
    ) -> Result<(), EngineError> {
        let waited_ms = self.now.unix_ms.saturating_sub(since_ms);
        if waited_ms < WAIT_MS && !self.is_settled(row, roster)? {
            self.try_return_later(&row.talk);
            return Ok(());
        }
        let role = roster.policy.role_of(self.my_name());
        let why = match role.is_some_and(|role| role >= Role::Admin) {
            true => Why::Anew,
            false if self.is_vacant(roster)? => Why::Vacant,
            false => return self.forget_returns(&row.id),
        };
        let rebuild = Rebuild {
            generation: row.generation + 1,
            record: None,
            why,
        };
        // It goes on meanwhile: nothing may come of this.
        let jobs = self.jobs.entry(row.talk.clone()).or_default();
        jobs.push_back(Job::new(None, Change::Rebuild(rebuild)));
        Ok(())
    }

    /// Whether the next generation is made of a group that goes on meanwhile.
    pub(in crate::engine) fn is_bringing_back(&mut self, talk: &Talk) -> Option<Why> {
        match self.job(talk).map(|job| &job.change) {
            Some(Change::Rebuild(rebuild)) if rebuild.why != Why::Broken => Some(rebuild.why),
            _ => None,
        }
    }

    /// The group goes on as it was.
    pub(super) fn give_up_return(&mut self, row: &ConversationRow) -> Result<(), EngineError> {
        self.end_job(&row.talk, Ok(()));
        self.forget_returns(&row.id)
    }

    /// Nothing comes of a return: it is tried again when the person is accepted again.
    pub(super) fn forget_returns(&self, group: &ConversationId) -> Result<(), EngineError> {
        for wish in self.store().join_requests(group)? {
            if !wish.waits && self.store().member(group, &wish.name)?.is_some() {
                self.store().remove_join_request(group, &wish.name)?;
            }
        }
        Ok(())
    }

    /// Whether a member who is no admin may have made this of a group that is known here: by its
    /// last state, for servers and a member together could make up anything.
    pub(super) fn may_be_rebuilt_by_member(
        &mut self,
        row: &ConversationRow,
        summary: &WelcomeSummary,
    ) -> Result<bool, EngineError> {
        let mut known = row.clone();
        if row.state == ConversationState::Creating {
            // Its own next generation, which somebody was faster with.
            known.generation = known.generation.saturating_sub(1);
        }
        let Some(old) = self.roster_of(&known)? else {
            return Ok(false);
        };
        let accepted = self.accepted_in(&old)?;
        let mut shown = accepted.clone();
        for leaf in summary.roster.leaves.values() {
            if shown.contains_key(leaf.username()) {
                shown.insert(leaf.username().clone(), *leaf.identity_key());
            }
        }
        let by = &summary.inviter;
        let may = authorize_rebuild(&old, &summary.roster, by, &shown).is_ok();
        if may {
            // Whose identity is not accepted here stops what is sent until it is.
            // An open warning is nobody's to close by showing the old one.
            let other =
                |(name, identity): &(&Username, &[u8; 32])| accepted.get(*name) != Some(*identity);
            for (name, identity) in shown.iter().filter(other) {
                self.identity_shown(name, identity)?;
            }
        }
        Ok(may)
    }

    /// Somebody's identity was accepted, and devices of the one before are still in the group.
    pub(super) fn tell_of_earlier_devices(&mut self, talk: &Talk, name: &Username) {
        let group = talk.group().copied();
        self.security(
            SecurityKind::UnverifiedDevice,
            group,
            Some(name),
            "devices of the identity before are in the group until an admin's client puts them out; \
             servers give them nothing any more",
        );
    }
}
