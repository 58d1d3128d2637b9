//! Leaving and declining: a signed statement in the log. Every member checks
//! it; the client of some admin then takes the devices out.

use rand::RngExt as _;
use sotto_protocol::wire::client_frame::Body as Ask;
use sotto_protocol::wire::server_frame::Body as Answer;
use sotto_protocol::{ClientMessageId, ConversationId, ErrorCode, wire};
use sotto_roster::{LeaveStatement, Role, Roster};

use super::super::api::{CommandId, Event, Failure, MembershipChange};
use super::super::commands::{ServerCommand, refusal};
use super::super::inbox::Entry;
use super::super::session::failure;
use super::super::{Engine, EngineError};
use super::change::last_owner;
use super::{Change, Job};
use crate::history::{ConversationRow, ConversationState};
use crate::talk::Talk;

const UNSIGNED: &str = "a statement of leaving that nobody signed was not believed";

impl Engine {
    pub(super) fn leave_group(
        &mut self,
        id: CommandId,
        group: &ConversationId,
    ) -> Result<(), EngineError> {
        let talk = Talk::Group(*group);
        let hindrance = match self.hindrance_to_write_in(&talk)? {
            Some(failure) => Some(failure),
            None => self.hindrance_to_leave(group)?,
        };
        match hindrance {
            Some(failure) => self.emit(Event::Failed {
                command: Some(id),
                failure,
            }),
            None => self.state_leave(id, *group),
        }
        Ok(())
    }

    /// The last owner stays, unless nobody else is left.
    fn hindrance_to_leave(&self, group: &ConversationId) -> Result<Option<Failure>, EngineError> {
        let members = self.store().members(group)?;
        let stays = |role| {
            let mut others = members.iter().filter(|member| {
                member.name != *self.my_name() && !member.leaving && member.role >= role
            });
            others.next().is_some()
        };
        let alone = !stays(Role::Member);
        Ok((!alone && !stays(Role::Owner)).then(last_owner))
    }

    pub(super) fn decline_group(
        &mut self,
        id: CommandId,
        group: &ConversationId,
    ) -> Result<(), EngineError> {
        if self.store().invitation(group)?.is_none() {
            if self.store().remove_joining(group)? {
                self.done(id);
                return Ok(());
            }
            let failure = refusal("not_an_invitation", "there is no invitation to this group");
            self.emit(Event::Failed {
                command: Some(id),
                failure,
            });
            return Ok(());
        }
        self.state_leave(id, *group);
        Ok(())
    }

    fn state_leave(&mut self, id: CommandId, group: ConversationId) {
        let client_id = ClientMessageId::from_bytes(self.random_id());
        self.ask_later(id, ServerCommand::Leave { group, client_id });
    }

    pub(in crate::engine) fn leave_request(
        &self,
        group: &ConversationId,
        client_id: &ClientMessageId,
    ) -> Ask {
        let statement = self.profile.device().sign_leave(group, client_id);
        Ask::Leave(wire::Leave {
            conversation_id: group.to_vec(),
            client_id: client_id.to_vec(),
            statement: statement.encode(),
        })
    }

    pub(super) fn leave_answered(
        &mut self,
        id: CommandId,
        group: &ConversationId,
        answer: &Answer,
    ) -> Result<(), EngineError> {
        match answer {
            // Out already, where the answer to an earlier statement was lost.
            Answer::Error(error)
                if ErrorCode::from_number(error.code) != ErrorCode::UnknownConversation =>
            {
                self.emit(Event::Failed {
                    command: Some(id),
                    failure: failure(error),
                });
            }
            _ => {
                self.left(group)?;
                self.done(id);
            }
        }
        Ok(())
    }

    /// The statement is in the log: this account is out.
    pub(in crate::engine) fn left(&mut self, group: &ConversationId) -> Result<(), EngineError> {
        self.store().remove_invitation(group)?;
        self.store().remove_joining(group)?;
        let Some(mut row) = self.store().conversation(group)? else {
            return Ok(());
        };
        if row.state != ConversationState::Ended {
            let me = self.my_name().clone();
            self.membership(&row, MembershipChange::Left, me.clone(), me, 0);
            self.end_group(&mut row)?;
        }
        Ok(())
    }

    /// A statement in the log. One that does not verify is nothing but a claim of the server.
    pub(in crate::engine) fn leave_heard(
        &mut self,
        row: &ConversationRow,
        entry: &Entry,
    ) -> Result<(), EngineError> {
        let Some(roster) = self.roster_of(row)? else {
            return Ok(());
        };
        let Ok(statement) = LeaveStatement::decode(&entry.payload) else {
            self.reject(row, UNSIGNED);
            return Ok(());
        };
        let device = &statement.fields().device;
        let leaf = roster
            .leaf_of(device)
            .and_then(|leaf| roster.leaves.get(&leaf));
        let Some(certificate) = leaf.filter(|certificate| {
            statement
                .verify(certificate, &row.id, &entry.client_id)
                .is_ok()
        }) else {
            self.reject(row, UNSIGNED);
            return Ok(());
        };
        let name = certificate.username().clone();
        let Some(member) = self.store().member(&row.id, &name)? else {
            return Ok(());
        };
        if member.leaving {
            return Ok(());
        }
        self.store().mark_leaving(&row.id, &name)?;
        let change = match member.seen {
            true => MembershipChange::Left,
            false => MembershipChange::Declined,
        };
        self.membership(row, change, name.clone(), name.clone(), roster.epoch);
        if name == *self.my_name() {
            // Another device of this account said so.
            let mut row = row.clone();
            return self.end_group(&mut row);
        }
        self.plan_tidying(row, &roster);
        Ok(())
    }

    /// Some admin's client is to take out who left; the first wins.
    fn plan_tidying(&mut self, row: &ConversationRow, roster: &Roster) {
        let me = self.my_name();
        if roster
            .policy
            .role_of(me)
            .is_some_and(|role| role >= Role::Admin)
        {
            let due = self.now.monotonic_ms + self.rng.random_range(super::chores::JITTER_MS);
            self.work_of(&row.talk).chores.tidy_at.get_or_insert(due);
        }
    }

    /// Those who left and are still in the tree are taken out.
    pub(super) fn tidy(
        &mut self,
        row: &ConversationRow,
        roster: &Roster,
    ) -> Result<(), EngineError> {
        let me = self.my_name().clone();
        let own = roster.policy.role_of(&me).unwrap_or(Role::Member);
        let may = |role| match role {
            Role::Member => own >= Role::Admin,
            Role::Admin | Role::Owner => own >= Role::Owner,
        };
        let members = self.store().members(&row.id)?;
        let left: Vec<_> = members
            .into_iter()
            .filter(|member| member.leaving && may(member.role))
            .map(|member| member.name)
            .collect();
        if !left.is_empty() {
            let jobs = self.jobs.entry(row.talk.clone()).or_default();
            jobs.push_back(Job::new(None, Change::Remove(left)));
        }
        Ok(())
    }

    /// After a start: who left while nobody was there to take them out.
    pub(super) fn tidy_all(&mut self) -> Result<(), EngineError> {
        for row in self.store().groups_with_leavers()? {
            if let Some(roster) = self.roster_of(&row)? {
                self.plan_tidying(&row, &roster);
            }
        }
        Ok(())
    }

    pub(in crate::engine) fn roster_of(
        &mut self,
        row: &ConversationRow,
    ) -> Result<Option<Roster>, EngineError> {
        let Some(group) = self.take_group(row)? else {
            return Ok(None);
        };
        let roster = group.roster().clone();
        self.keep_group(group);
        Ok(Some(roster))
    }
}
