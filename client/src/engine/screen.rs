//! What an interface needs that shows many conversations at once: messages
//! page by page, what a conversation is like, and a way to say which messages
//! the person saw. Answers come from the store alone and in a time that does
//! not grow with the length of a conversation.

use sotto_crypto::Suite;
use sotto_protocol::{ConversationId, Username};
use sotto_roster::Role;

use super::api::{GroupMember, MemberTrust, Message, Now};
use super::{Engine, EngineError, Listening};
use crate::history::{ConversationRow, ConversationState, Relation};
use crate::talk::Talk;

/// The most messages of one page.
pub const PAGE_MESSAGES_MAX: u32 = 500;

/// How a conversation stands, as far as this device knows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Overview {
    /// The conversation; none before the first message could be sent.
    pub conversation: Option<ConversationId>,
    /// Whether its keys withstand a later quantum computer; unknown while there is no group.
    pub post_quantum: Option<bool>,
    /// Everybody in a group, this account too; nobody in a conversation of two.
    pub members: Vec<GroupMember>,
    /// What this account may do in a group; `None` in a conversation of two, and once it is out.
    pub role: Option<Role>,
    /// Other people in it.
    pub others: usize,
    /// Those among them whose safety number was compared.
    pub verified: usize,
    /// Those whose identity changed and was not accepted: nothing is sent before.
    pub changed: Vec<Username>,
    /// The first message that the person did not see yet.
    pub first_unseen: Option<u64>,
    /// Whether one can write here.
    pub standing: Standing,
    /// An admin's words about a group.
    pub description: String,
}

/// Whether one can write in a conversation.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Standing {
    /// Yes; where there is no conversation yet, writing makes one.
    #[default]
    Open,
    /// The person was blocked here.
    Blocked,
    /// It is being repaired; what is written waits.
    Repairing,
    /// This account is out of it.
    Ended,
}

impl Engine {
    /// As [`Self::listen`], for an interface that shows one conversation and knows of others: what
    /// arrives is handed over and counts as unread until [`Self::seen_up_to`] says otherwise, and
    /// nothing of before is handed over.
    ///
    /// # Errors
    /// When the local store fails.
    pub fn watch(&mut self, now: Now) -> Result<(), EngineError> {
        self.transact(now, |engine| {
            engine.listening = Listening::Watching;
            Ok(())
        })
    }

    /// The person saw everything of a talk up to a place in its log.
    ///
    /// # Errors
    /// When the local store fails.
    pub fn seen_up_to(&mut self, talk: &Talk, seq: u64, now: Now) -> Result<(), EngineError> {
        self.transact(now, |engine| {
            let Some(row) = engine.store().conversation_with(talk)? else {
                return Ok(());
            };
            let last = engine
                .store()
                .mark_shown_up_to(row.keep, &row.id, seq, now.unix_ms)?;
            if let Some(last) = last {
                engine.read_up_to(&row.id, last)?;
                engine.plan_expiry()?;
            }
            Ok(())
        })
    }

    /// The last messages of a talk before a place in its log, oldest first, at most `limit`
    /// ([`PAGE_MESSAGES_MAX`]). Those that wait to be sent are not among them.
    ///
    /// # Errors
    /// When the local store fails.
    pub fn messages_before(
        &self,
        talk: &Talk,
        before: u64,
        limit: u32,
    ) -> Result<Vec<Message>, EngineError> {
        let Some(row) = self.store().conversation_with(talk)? else {
            return Ok(Vec::new());
        };
        let limit = limit.min(PAGE_MESSAGES_MAX);
        self.store()
            .messages_before(row.keep, &row.id, before, limit)?
            .into_iter()
            .map(|message| self.to_message(&row, message))
            .collect()
    }

    /// The messages of a talk that were never sent, and those that wait to be, in the order of writing.
    ///
    /// # Errors
    /// When the local store fails.
    pub fn waiting(&self, talk: &Talk) -> Result<Vec<Message>, EngineError> {
        let row = self.store().conversation_with(talk)?;
        let mut messages = self.unsent_messages(talk, row.as_ref())?;
        messages.extend(self.queued_messages(talk, row.as_ref())?);
        Ok(messages)
    }

    /// The pinned messages of a talk, the newest first, at most `limit` ([`PAGE_MESSAGES_MAX`]).
    ///
    /// # Errors
    /// When the local store fails.
    pub fn pinned(&self, talk: &Talk, limit: u32) -> Result<Vec<Message>, EngineError> {
        let Some(row) = self.store().conversation_with(talk)? else {
            return Ok(Vec::new());
        };
        let limit = limit.min(PAGE_MESSAGES_MAX);
        self.store()
            .pinned_messages(row.keep, &row.id, limit)?
            .into_iter()
            .map(|message| self.to_message(&row, message))
            .collect()
    }

    /// How a talk stands.
    ///
    /// # Errors
    /// When the local store fails.
    pub fn overview(&mut self, talk: &Talk) -> Result<Overview, EngineError> {
        let row = self.store().conversation_with(talk)?;
        let mut overview = match &row {
            Some(row) => self.overview_of(row)?,
            None => Overview::default(),
        };
        match talk {
            Talk::Person(name) => {
                let person = self.person(name)?;
                overview.others = 1;
                overview.verified = usize::from(person.verified_at_ms.is_some());
                if person.relation == Relation::Blocked {
                    overview.standing = Standing::Blocked;
                }
                if person.changed_identity.is_some() {
                    overview.verified = 0;
                    overview.changed.push(name.clone());
                }
            }
            Talk::Group(id) => {
                if let Some(group) = self.group(id)? {
                    let with = |trust: MemberTrust| {
                        let members = group.members.iter();
                        members.filter(move |member| member.trust == trust)
                    };
                    overview.verified = with(MemberTrust::Verified).count();
                    overview.others = group.members.len() - with(MemberTrust::Own).count();
                    overview.changed = with(MemberTrust::Changed)
                        .map(|member| member.name.clone())
                        .collect();
                    overview.role = group.role;
                    overview.description = group.description;
                    overview.members = group.members;
                }
            }
        }
        Ok(overview)
    }

    fn overview_of(&mut self, row: &ConversationRow) -> Result<Overview, EngineError> {
        let active = row.state == ConversationState::Active;
        let post_quantum = match active {
            true => Some(self.suite_of(row)? == Suite::Hybrid),
            false => None,
        };
        Ok(Overview {
            conversation: Some(row.id),
            post_quantum,
            first_unseen: self.store().first_unshown(row.keep, &row.id)?,
            standing: match row.state {
                ConversationState::Ended => Standing::Ended,
                ConversationState::Broken | ConversationState::Rejoining => Standing::Repairing,
                ConversationState::Active | ConversationState::Creating => Standing::Open,
            },
            ..Overview::default()
        })
    }
}
