//! What an admin's client does by itself: takes out who left, lets in who
//! came by a link or under an accepted new identity, tells newcomers what the
//! group is called. Several admins'
//! clients plan the same; each waits a while of its own, and whoever is first
//! leaves the others nothing to do. What is due is durable, and looked at
//! again when a session begins.

use rand::RngExt as _;
use sotto_protocol::Username;
use sotto_roster::{GroupRules, Role, Roster};

use super::super::{Engine, EngineError};
use super::{Change, Job};
use crate::history::ConversationRow;
use crate::talk::Talk;

/// How long an admin's client lets others go first, in milliseconds.
pub(super) const JITTER_MS: std::ops::Range<u64> = 200..4_000;
/// The same where nobody else could: newcomers who come together are told at once.
const ALONE_MS: u64 = 200;
/// When letting somebody in is tried again, in milliseconds.
const AGAIN_MS: u64 = 60_000;

impl Engine {
    /// What is due is done when it is time.
    pub(in crate::engine) fn do_chores(
        &mut self,
        row: &ConversationRow,
        roster: &Roster,
    ) -> Result<(), EngineError> {
        let now_ms = self.now.monotonic_ms;
        let mut due = |which: fn(&mut super::super::work::Chores) -> &mut Option<u64>| {
            let at = which(&mut self.work_of(&row.talk).chores);
            at.take_if(|at| *at <= now_ms).is_some()
        };
        let (tidy, admit, greet) = (
            due(|chores| &mut chores.tidy_at),
            due(|chores| &mut chores.admit_at),
            due(|chores| &mut chores.greet_at),
        );
        if tidy {
            self.tidy(row, roster)?;
        }
        if admit {
            self.admit(row, roster)?;
        }
        if greet && self.store().take_greeting(&row.id)? {
            self.say_info(row)?;
        }
        Ok(())
    }

    /// When a session begins: what was left over from before.
    pub(in crate::engine) fn plan_chores(&mut self) -> Result<(), EngineError> {
        self.tidy_all()?;
        for id in self.store().groups_with_chores()? {
            let Some(row) = self.store().conversation(&id)? else {
                continue;
            };
            if let Some(roster) = self.roster_of(&row)? {
                self.plan_admission(&row.talk, &roster)?;
                self.plan_greeting(&row.talk, &roster);
            }
        }
        Ok(())
    }

    /// Somebody may come in without an admin's word.
    pub(super) fn plan_admission(
        &mut self,
        talk: &Talk,
        roster: &Roster,
    ) -> Result<(), EngineError> {
        if let Some(wait_ms) = self.turn_for_admission(roster)? {
            let due = self.now.monotonic_ms + wait_ms;
            self.work_of(talk).chores.admit_at.get_or_insert(due);
        }
        Ok(())
    }

    /// A device came in by itself, and everything said before is shut for it.
    pub(super) fn note_newcomer(
        &mut self,
        row: &ConversationRow,
        roster: &Roster,
    ) -> Result<(), EngineError> {
        if self.turn(roster, ALONE_MS).is_some() {
            self.store().put_greeting(&row.id)?;
            self.plan_greeting(&row.talk, roster);
        }
        Ok(())
    }

    fn plan_greeting(&mut self, talk: &Talk, roster: &Roster) {
        if let Some(wait_ms) = self.turn(roster, ALONE_MS) {
            let due = self.now.monotonic_ms + wait_ms;
            self.work_of(talk).chores.greet_at.get_or_insert(due);
        }
    }

    /// How long this admin waits for others, in milliseconds; `None` for who is no admin.
    pub(super) fn turn(&mut self, roster: &Roster, alone_ms: u64) -> Option<u64> {
        let is_admin = |role: Option<Role>| role.is_some_and(|role| role >= Role::Admin);
        if !is_admin(roster.policy.role_of(self.my_name())) {
            return None;
        }
        let admins = roster.leaves.values();
        let admins = admins.filter(|leaf| is_admin(roster.policy.role_of(leaf.username())));
        Some(match admins.count() {
            0 | 1 => alone_ms,
            _ => self.rng.random_range(JITTER_MS),
        })
    }

    /// Those who need no admin's word are let in: they proved to hold a link
    /// that asks nobody, or come back under an identity that was accepted.
    fn admit(&mut self, row: &ConversationRow, roster: &Roster) -> Result<(), EngineError> {
        let mut names = Vec::new();
        let (mut stale, mut since) = (Vec::new(), None);
        for wish in self.store().join_requests(&row.id)? {
            let inside = roster.identity_of(&wish.name);
            let pinned = self.person(&wish.name)?.identity == Some(wish.identity);
            let other = inside.is_some_and(|identity| *identity != wish.identity);
            // Whoever was put out since they asked needs an admin's word now.
            let put_out = |rules: &GroupRules| rules.put_out.contains(&wish.name);
            let waits = wish.waits || roster.policy.group_rules().is_some_and(put_out);
            if waits && inside.is_none() {
                continue;
            }
            if inside == Some(&wish.identity) || !pinned {
                self.store().remove_join_request(&row.id, &wish.name)?;
                continue;
            }
            if other && !self.may_put_out(roster, &wish.name) {
                since = since.or(Some(wish.received_at_ms));
                continue;
            }
            if other {
                stale.push((wish.name.clone(), wish.identity));
            }
            names.push(wish.name);
        }
        if !names.is_empty() {
            let again = self.now.monotonic_ms + AGAIN_MS;
            self.work_of(&row.talk).chores.admit_at = Some(again);
            let jobs = self.jobs.entry(row.talk.clone()).or_default();
            if !stale.is_empty() {
                jobs.push_back(Job::new(None, Change::Evict(stale)));
            }
            jobs.push_back(Job::new(None, Change::Add(names)));
        } else if let Some(since_ms) = since {
            return self.bring_back(row, roster, since_ms);
        }
        Ok(())
    }

    fn may_put_out(&self, roster: &Roster, name: &Username) -> bool {
        let role = |name| roster.policy.role_of(name).unwrap_or(Role::Member);
        match role(name) {
            Role::Member => role(self.my_name()) >= Role::Admin,
            Role::Admin | Role::Owner => role(self.my_name()) >= Role::Owner,
        }
    }
}
