//! Who is in a group: as the store keeps it beside the keys, and as events tell.

use std::collections::BTreeSet;

use sotto_crypto::CommitSummary;
use sotto_protocol::{ConversationId, Username};
use sotto_roster::{Access, DeviceCertificate, MembershipChange as Change, Roster};

use super::super::api::{
    Event, Failure, GroupMember, GroupView, Invitation, MemberTrust, Membership, MembershipChange,
    SecurityKind,
};
use super::super::commands::refusal;
use super::super::people::Trust;
use super::super::work::people_changed;
use super::super::{Engine, EngineError};
use crate::history::{Baseline, ConversationRow, ConversationState, MemberRow, PendingKind};
use crate::talk::Talk;

impl Engine {
    /// Writes down who is in a group just entered, and pins whom it shows first.
    pub(in crate::engine) fn record_roster(
        &mut self,
        row: &ConversationRow,
        roster: &Roster,
    ) -> Result<(), EngineError> {
        let accounts = roster.accounts();
        for member in self.store().members(&row.id)? {
            if !accounts.contains(&member.name) {
                self.store().remove_member(&row.id, &member.name)?;
            }
        }
        for name in accounts {
            if let Some(role) = roster.policy.role_of(name) {
                self.store().put_member(&row.id, name, role)?;
            }
        }
        for certificate in roster.leaves.values() {
            self.pin_member(certificate)?;
        }
        Ok(self.store().put_policy(&row.id, &roster.policy.encode())?)
    }

    /// A commit of this device changed a group, made it or entered it.
    pub(in crate::engine) fn group_settled(
        &mut self,
        row: &ConversationRow,
        kind: PendingKind,
        summary: Option<&CommitSummary>,
    ) -> Result<(), EngineError> {
        if matches!(kind, PendingKind::Create | PendingKind::Rejoin)
            && let Some(roster) = self.roster_of(row)?
        {
            self.record_roster(row, &roster)?;
        }
        match (kind, summary) {
            (PendingKind::Create | PendingKind::Change, Some(summary)) => {
                self.job_settled(row, summary, kind)
            }
            _ => Ok(()),
        }
    }

    fn pin_member(&mut self, certificate: &DeviceCertificate) -> Result<(), EngineError> {
        if certificate.username() != self.my_name() {
            self.identity_shown(certificate.username(), certificate.identity_key())?;
        }
        Ok(())
    }

    /// What a merged commit did in a group: written down, pinned, told.
    pub(in crate::engine) fn tell_group(
        &mut self,
        row: &mut ConversationRow,
        summary: &CommitSummary,
    ) -> Result<(), EngineError> {
        let by = summary.committer.username();
        let moved: BTreeSet<&Username> = summary
            .changes
            .iter()
            .filter_map(|change| match change {
                Change::Role { username, from, to } if from.is_none() || to.is_none() => {
                    Some(username)
                }
                _ => None,
            })
            .collect();
        for change in &summary.changes {
            if let Some((subject, told)) = self.change_told(row, change, &moved)? {
                let subject = subject.clone();
                self.membership(row, told, subject, by.clone(), summary.epoch);
            }
        }
        // Whoever commits is in, also who came in by this very commit.
        self.store().mark_seen(&row.id, by)?;
        if summary.changes.is_empty() || summary.removed_me {
            return Ok(());
        }
        let Some(roster) = self.roster_of(row)? else {
            return Ok(());
        };
        self.store().put_policy(&row.id, &roster.policy.encode())?;
        let itself = summary.committer.device_id();
        let came_alone =
            |change: &Change| matches!(change, Change::Added(leaf) if leaf.device_id() == itself);
        if summary.changes.iter().any(came_alone) {
            self.note_newcomer(row, &roster)?;
        }
        Ok(())
    }

    fn change_told<'a>(
        &mut self,
        row: &mut ConversationRow,
        change: &'a Change,
        moved: &BTreeSet<&Username>,
    ) -> Result<Option<(&'a Username, MembershipChange)>, EngineError> {
        Ok(match change {
            Change::Role {
                username,
                to: Some(role),
                from,
            } => {
                self.store().put_member(&row.id, username, *role)?;
                self.store().remove_join_request(&row.id, username)?;
                let told = match from {
                    None => MembershipChange::Joined,
                    Some(_) => MembershipChange::Role(*role),
                };
                Some((username, told))
            }
            Change::Role { username, .. } => {
                let left = self.store().member(&row.id, username)?;
                self.store().remove_member(&row.id, username)?;
                let announced = left.is_some_and(|member| member.leaving);
                (!announced).then_some((username, MembershipChange::Removed))
            }
            Change::Added(certificate) => {
                self.pin_member(certificate)?;
                // Whoever comes in counts from the beginning.
                self.store()
                    .forget_sender_counter(&row.id, certificate.device_id())?;
                let name = certificate.username();
                if moved.contains(name) {
                    return Ok(None);
                }
                self.security(
                    SecurityKind::DeviceAdded,
                    Some(row.id),
                    Some(name),
                    "a further device of this person reads from now on",
                );
                Some((name, MembershipChange::DeviceAdded))
            }
            Change::Removed(certificate) => {
                let name = certificate.username();
                (!moved.contains(name)).then_some((name, MembershipChange::DeviceRemoved))
            }
            Change::Rejoined(certificate) => {
                self.store()
                    .forget_sender_counter(&row.id, certificate.device_id())?;
                row.baseline = Baseline::FirstSeen;
                None
            }
            Change::Banned(username) => {
                self.store().remove_join_request(&row.id, username)?;
                Some((username, MembershipChange::Banned))
            }
            Change::Unbanned(username) => Some((username, MembershipChange::Unbanned)),
        })
    }

    pub(in crate::engine) fn membership(
        &mut self,
        row: &ConversationRow,
        change: MembershipChange,
        subject: Username,
        by: Username,
        epoch: u64,
    ) {
        self.emit(Event::Membership(Membership {
            conversation: row.id,
            talk: row.talk.clone(),
            title: row.title.clone(),
            change,
            subject,
            by,
            epoch,
        }));
    }

    /// This account is out of a group: no keys stay, the history does.
    pub(in crate::engine) fn end_group(
        &mut self,
        row: &mut ConversationRow,
    ) -> Result<(), EngineError> {
        self.delete_group(row)?;
        self.store().remove_pending(&row.id)?;
        row.state = ConversationState::Ended;
        row.baseline = Baseline::FirstSeen;
        self.store().put_conversation(row)?;
        let me = self.my_name().clone();
        self.store().remove_member(&row.id, &me)?;
        let failure = super::no_member();
        self.drop_queue(&row.talk, &failure)?;
        self.end_jobs(&row.talk, &failure);
        self.store().remove_receipt_due(&row.id)?;
        self.work.remove(&row.talk);
        Ok(())
    }

    /// Whether everybody in a closed group is who they were: nothing is sealed for
    /// an identity that nobody here agreed to. Where a person's new one was accepted,
    /// devices of the one before may still be in, which was agreed to as well.
    pub(in crate::engine) fn hindrance_of_members(
        &mut self,
        talk: &Talk,
        roster: &Roster,
    ) -> Result<Option<Failure>, EngineError> {
        if self.work_of(talk).vetted == Some((roster.generation, roster.epoch)) {
            return Ok(None);
        }
        if roster
            .policy
            .group_rules()
            .is_some_and(|rules| rules.access == Access::Public)
        {
            // Anybody may enter and read: whom it is sealed for protects nothing.
            return Ok(None);
        }
        let me = self.my_name().clone();
        let mut earlier = BTreeSet::new();
        for certificate in roster.leaves.values() {
            let name = certificate.username();
            if *name == me {
                continue;
            }
            let person = self.person(name)?;
            let pinned = match person.identity {
                None => self.identity_shown(name, certificate.identity_key())? == Trust::Pinned,
                Some(pinned) => pinned == *certificate.identity_key(),
            };
            if person.changed_identity.is_some() {
                return Ok(Some(people_changed(name)));
            }
            if pinned {
                continue;
            }
            if !self
                .store()
                .was_identity(name, certificate.identity_key())?
            {
                let message = format!(
                    "{name} is in this group under an identity that you never accepted; \
                     an admin must remove and add {name} again"
                );
                return Ok(Some(refusal("key_changed", &message)));
            }
            earlier.insert(name.clone());
        }
        for name in &earlier {
            self.tell_of_earlier_devices(talk, name);
        }
        self.work_of(talk).vetted = Some((roster.generation, roster.epoch));
        Ok(None)
    }

    /// A group as known here; `None` when it is not.
    ///
    /// # Errors
    /// When the local store fails.
    pub fn group(&self, conversation: &ConversationId) -> Result<Option<GroupView>, EngineError> {
        let row = self.store().conversation(conversation)?;
        let Some(row) = row.filter(|row| row.talk.group().is_some()) else {
            return Ok(None);
        };
        let rows = self.store().members(conversation)?;
        let me = self.my_name();
        let role = rows
            .iter()
            .find(|member| member.name == *me && row.state != ConversationState::Ended)
            .map(|member| member.role);
        let members = rows
            .into_iter()
            .map(|member| self.group_member(member))
            .collect::<Result<_, _>>()?;
        Ok(Some(GroupView {
            conversation: row.id,
            title: row.title,
            description: self.group_info(conversation)?.description,
            members,
            role,
        }))
    }

    fn group_member(&self, member: MemberRow) -> Result<GroupMember, EngineError> {
        let person = self.person(&member.name)?;
        let trust = match (person.changed_identity, person.verified_at_ms) {
            _ if member.name == *self.my_name() => MemberTrust::Own,
            (Some(_), _) => MemberTrust::Changed,
            (None, Some(_)) => MemberTrust::Verified,
            (None, None) => MemberTrust::Pinned,
        };
        Ok(GroupMember {
            name: member.name,
            role: member.role,
            trust,
            seen: member.seen,
        })
    }

    /// The invitations that wait for an answer, oldest first.
    ///
    /// # Errors
    /// When the local store fails.
    pub fn invitations(&self) -> Result<Vec<Invitation>, EngineError> {
        let rows = self.store().invitations()?;
        Ok(rows.into_iter().map(super::invite::shown).collect())
    }
}
