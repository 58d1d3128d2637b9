//! Invitations: a welcome to a group waits until the person says yes, and its
//! log stays at the server meanwhile. A repaired group is entered again
//! without asking, for there was consent.

use sotto_crypto::{About, Address, Group, WelcomeSummary, WithTree};
use sotto_protocol::ConversationId;
use sotto_roster::{GroupRules, Role};

use super::super::api::{CommandId, Event, Invitation, Keep, MembershipChange, SecurityKind};
use super::super::commands::refusal;
use super::super::error::welcome_failure;
use super::super::people::Trust;
use super::super::{Engine, EngineError};
use crate::history::{
    Baseline, ConversationRow, ConversationState, INVITATIONS_MAX, InvitationRow, Relation,
    RequestRow,
};
use crate::talk::Talk;

/// Invitations of one stranger that are kept: the newest.
const OF_STRANGER_MAX: u32 = 1;
/// Invitations of one contact that are kept: the newest.
const OF_CONTACT_MAX: u32 = 32;

/// What a welcome is to whoever follows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Entry {
    /// This account was not in the group, or left it.
    New,
    /// It is in the group, which somebody repaired.
    Back,
}

impl Engine {
    /// A welcome to a group was read.
    pub(in crate::engine) fn group_welcome(
        &mut self,
        request: RequestRow,
        (summary, about): (&WelcomeSummary, Option<About>),
        rules: &GroupRules,
    ) -> Result<(), EngineError> {
        let (title, description) = about
            .map(|about| (about.title, about.description))
            .unwrap_or_default();
        let invitation = InvitationRow {
            conversation: request.conversation,
            inviter: request.inviter,
            generation: request.generation,
            seq: request.seq,
            identity: *summary.inviter.identity_key(),
            members: summary.roster.accounts().len() as u64,
            access: rules.access,
            welcome: request.welcome,
            tree: request.tree,
            title,
            description,
            received_at_ms: request.received_at_ms,
        };
        if let Some(row) = self.store().conversation(&invitation.conversation)?
            && row.state != ConversationState::Ended
        {
            return self.welcome_back(row, invitation, summary);
        }
        if self.is_answer_to_wish(&invitation, summary)? {
            let row = self.store().conversation(&invitation.conversation)?;
            return self.enter_group(row, invitation);
        }
        let inviter = invitation.inviter.clone();
        let known = self.store().invitation(&invitation.conversation)?.is_some();
        if !known && self.store().invitations_len()? >= INVITATIONS_MAX {
            return Ok(());
        }
        self.store().put_invitation(&invitation)?;
        let kept = match self.person(&inviter)?.relation {
            Relation::Contact => OF_CONTACT_MAX,
            Relation::Known | Relation::Blocked => OF_STRANGER_MAX,
        };
        self.store().trim_invitations(&inviter, kept)?;
        if !known {
            self.emit(Event::Invitation(shown(invitation)));
        }
        Ok(())
    }

    /// A welcome to a group that this account is in still, as far as is known here: nobody is let in
    /// who is in, so that what put it out was not read, and perhaps never will be. Whether it did.
    pub(in crate::engine) fn end_earlier_stay(
        &mut self,
        request: &RequestRow,
    ) -> Result<bool, EngineError> {
        let row = self.store().conversation(&request.conversation)?;
        let is_later = |row: &ConversationRow| {
            row.talk.group().is_some()
                && row.state == ConversationState::Active
                && row.generation == request.generation
                && row.cursor < request.seq
        };
        let Some(mut row) = row.filter(is_later) else {
            return Ok(false);
        };
        let me = self.my_name().clone();
        self.membership(&row, MembershipChange::Removed, me.clone(), me, 0);
        self.end_group(&mut row)?;
        Ok(true)
    }

    /// Groups of which the server has more acknowledged than the store, and to which no invitation
    /// came meanwhile: the store is old.
    pub(in crate::engine) fn settle_ahead(&mut self) -> Result<(), EngineError> {
        for id in std::mem::take(&mut self.ahead) {
            let row = self.store().conversation(&id)?;
            if let Some(row) = row.filter(|row| row.state == ConversationState::Active) {
                let cursor = row.cursor;
                self.rolled_back(row)?;
                self.resume(&id, cursor);
            }
        }
        Ok(())
    }

    /// Whether an invitation to a conversation waits for its tree or for an answer: until then
    /// nothing of the log is passed.
    pub(in crate::engine) fn is_invited(
        &self,
        conversation: &ConversationId,
    ) -> Result<bool, EngineError> {
        if self.store().invitation(conversation)?.is_some() {
            return Ok(true);
        }
        let waiting = self.store().treeless()?;
        let mut waiting = waiting.iter();
        Ok(waiting.any(|(request, _)| request.conversation == *conversation))
    }

    /// Whether an admin lets this account in where it asked to be: there is consent.
    fn is_answer_to_wish(
        &self,
        invitation: &InvitationRow,
        summary: &WelcomeSummary,
    ) -> Result<bool, EngineError> {
        let role = summary.roster.policy.role_of(&invitation.inviter);
        let by_admin = role.is_some_and(|role| role >= Role::Admin);
        Ok(by_admin && self.store().is_joining(&invitation.conversation)?)
    }

    /// A welcome to a group that this account is in: a repair by an admin, or
    /// nothing worth following.
    fn welcome_back(
        &mut self,
        row: ConversationRow,
        invitation: InvitationRow,
        summary: &WelcomeSummary,
    ) -> Result<(), EngineError> {
        let by = self.store().member(&row.id, &invitation.inviter)?;
        let own = invitation.inviter == *self.my_name();
        if invitation.generation <= row.generation && row.state == ConversationState::Active {
            return Ok(());
        }
        if !own && self.identity_shown(&invitation.inviter, &invitation.identity)? == Trust::Changed
        {
            self.security(
                SecurityKind::PolicyRejected,
                Some(row.id),
                Some(&invitation.inviter),
                "somebody under another identity than the accepted one offered a repaired group; \
                 it was not entered",
            );
            return Ok(());
        }
        let may = match by {
            Some(member) if member.role >= Role::Admin => true,
            Some(_) => self.may_be_rebuilt_by_member(&row, summary)?,
            None => own,
        };
        if !may && !own {
            self.security(
                SecurityKind::PolicyRejected,
                Some(row.id),
                Some(&invitation.inviter),
                "somebody who is no admin offered a repaired group; it was not entered",
            );
            return Ok(());
        }
        self.enter_group(Some(row), invitation)
    }

    /// Follows the invitation to a group.
    pub(super) fn join_group(
        &mut self,
        id: CommandId,
        group: &ConversationId,
    ) -> Result<(), EngineError> {
        let Some(invitation) = self.store().invitation(group)? else {
            let failure = refusal("not_an_invitation", "there is no invitation to this group");
            self.emit(Event::Failed {
                command: Some(id),
                failure,
            });
            return Ok(());
        };
        self.store().remove_invitation(group)?;
        let row = self.store().conversation(group)?;
        self.enter_group(row, invitation)?;
        self.emit(Event::Done { command: id });
        Ok(())
    }

    /// Joins, with consent.
    fn enter_group(
        &mut self,
        known: Option<ConversationRow>,
        invitation: InvitationRow,
    ) -> Result<(), EngineError> {
        let talk = Talk::Group(invitation.conversation);
        let entry = match &known {
            Some(row) if row.state != ConversationState::Ended => Entry::Back,
            _ => Entry::New,
        };
        let mut row = match known {
            Some(row) => {
                self.delete_group(&row)?;
                self.store().remove_pending(&row.id)?;
                row
            }
            None => self.new_row(
                invitation.conversation,
                &talk,
                invitation.generation,
                ConversationState::Active,
            ),
        };
        row.generation = invitation.generation;
        row.keep = Keep::Saved;
        let address = Address {
            conversation: invitation.conversation,
            generation: invitation.generation,
        };
        let me = self.profile.device();
        let welcome = WithTree {
            message: &invitation.welcome,
            tree: &invitation.tree,
        };
        let joined = Group::join(&self.key_store(), me, address, welcome);
        let (group, summary) = match joined {
            Ok(joined) => joined,
            Err(error) => {
                welcome_failure(error)?;
                row.cursor = row.cursor.max(invitation.seq);
                return self.break_conversation(row, "its invitation cannot be used");
            }
        };
        if entry == Entry::New {
            // A newcomer counts from the beginning.
            row.own_counter = 0;
            row.baseline = match summary.roster.epoch {
                1 if row.generation == 0 => Baseline::FromStart,
                _ => Baseline::FirstSeen,
            };
            self.store().forget_sender_counters(&row.id)?;
        }
        let suite = group.suite();
        self.keep_group(group);
        self.entered_group(row, &invitation, (&summary, entry))?;
        self.replace_key_package(suite)?;
        Ok(())
    }

    fn entered_group(
        &mut self,
        mut row: ConversationRow,
        invitation: &InvitationRow,
        (summary, entry): (&WelcomeSummary, Entry),
    ) -> Result<(), EngineError> {
        self.store().remove_joining(&row.id)?;
        self.store().put_conversation(&row)?;
        self.entered_at(&row, invitation.seq)?;
        row.state = ConversationState::Active;
        row.cursor = row.cursor.max(invitation.seq);
        row.last_commit = Vec::new();
        row.own_since_update = 0;
        row.update_due_ms = self.update_after_join(summary.roster.leaves.len());
        row.updated_at_ms = self.now.unix_ms;
        self.store().put_conversation(&row)?;
        self.keep_what_was_said(&mut row, invitation)?;
        self.record_roster(&row, &summary.roster)?;
        self.store().unseal_for(&row.talk)?;
        self.forget_old_generations(&row)?;
        self.succeeded(&row.talk);
        let work = self.work_of(&row.talk);
        work.rejoins = 0;
        work.rebuild = None;
        // A first sign to the others that the invitation was followed.
        self.message_arrived(&row.id, invitation.seq)?;
        match entry {
            Entry::Back => self.security(
                SecurityKind::RecoveryDone,
                Some(row.id),
                None,
                "the conversation works again under fresh keys",
            ),
            Entry::New => {
                let me = self.my_name().clone();
                let (by, epoch) = (invitation.inviter.clone(), summary.roster.epoch);
                self.membership(&row, MembershipChange::Joined, me, by, epoch);
            }
        }
        let cursor = row.cursor;
        self.resume(&row.id, cursor);
        Ok(())
    }

    /// Until an admin says otherwise, the group is called what the inviter called it.
    fn keep_what_was_said(
        &self,
        row: &mut ConversationRow,
        invitation: &InvitationRow,
    ) -> Result<(), EngineError> {
        let mut info = self.group_info(&row.id)?;
        if !info.title.is_empty() || invitation.title.is_empty() {
            return Ok(());
        }
        info.title.clone_from(&invitation.title);
        info.description.clone_from(&invitation.description);
        row.title = Some(invitation.title.clone());
        self.keep_info(&row.id, &info)
    }
}

/// An invitation as people see it.
pub(super) fn shown(row: InvitationRow) -> Invitation {
    Invitation {
        conversation: row.conversation,
        from: row.inviter,
        title: (!row.title.is_empty()).then_some(row.title),
        description: row.description,
        members: row.members,
        received_at_ms: row.received_at_ms,
    }
}
