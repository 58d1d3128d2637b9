//! Titles and descriptions: sealed words of admins, sent whole at each change
//! and again by whoever brings somebody in, for whom everything before is shut.

use sotto_crypto::content::{GroupInfo, JoinLink, LINKS_MAX};
use sotto_crypto::{About, Body};
use sotto_protocol::{ClientMessageId, ConversationId};
use sotto_roster::{DeviceCertificate, Role};

use super::super::api::{Event, GroupNews};
use super::super::{Engine, EngineError};
use super::InfoChange;
use crate::history::{ConversationRow, OutboxKind, OutboxRow};

/// What is sealed about a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Words {
    Info(InfoChange),
    /// A link is there, or over.
    Link(JoinLink),
}

impl Engine {
    /// Says something about a group; gives the id under which it is said.
    pub(super) fn say(
        &mut self,
        row: &ConversationRow,
        words: Words,
    ) -> Result<ClientMessageId, EngineError> {
        match words {
            Words::Info(change) => self.change_info(row, change),
            Words::Link(link) => self.send_quietly(row, Body::JoinLink(link)),
        }
    }

    /// What is known of a group; empty while nothing is.
    pub(in crate::engine) fn group_info(
        &self,
        conversation: &ConversationId,
    ) -> Result<GroupInfo, EngineError> {
        let bytes = self.store().group_detail(conversation)?;
        let body = bytes.and_then(|bytes| Body::from_bytes(&bytes).ok());
        Ok(match body {
            Some(Body::GroupInfo(info)) => info,
            _ => GroupInfo::default(),
        })
    }

    /// What is said of a group to those who are invited to it.
    pub(super) fn about_group(&self, row: &ConversationRow) -> Result<About, EngineError> {
        let info = self.group_info(&row.id)?;
        let title = match info.title.is_empty() {
            true => row.title.clone().unwrap_or_default(),
            false => info.title,
        };
        Ok(About {
            title,
            description: info.description,
        })
    }

    pub(super) fn keep_info(
        &self,
        conversation: &ConversationId,
        info: &GroupInfo,
    ) -> Result<(), EngineError> {
        if let Ok(bytes) = Body::GroupInfo(info.clone()).to_bytes() {
            self.store().put_group_detail(conversation, &bytes)?;
            let title = (!info.title.is_empty()).then_some(info.title.as_str());
            self.store().set_title(conversation, title)?;
        }
        Ok(())
    }

    /// Keeps how a group is called, as of this revision; 0 for what others only say of it.
    pub(super) fn keep_title(
        &self,
        conversation: &ConversationId,
        title: &str,
        revision: u64,
    ) -> Result<(), EngineError> {
        if self.store().conversation(conversation)?.is_none() {
            return Ok(());
        }
        let mut info = self.group_info(conversation)?;
        title.clone_into(&mut info.title);
        info.revision = revision;
        self.keep_info(conversation, &info)
    }

    fn change_info(
        &mut self,
        row: &ConversationRow,
        change: InfoChange,
    ) -> Result<ClientMessageId, EngineError> {
        let mut info = self.group_info(&row.id)?;
        match change {
            InfoChange::Title(title) => info.title = title,
            InfoChange::Description(text) => info.description = text,
        }
        // By the clock, so that who came later and heard of no revision yet does not count as old.
        info.revision = self.now.unix_ms.max(info.revision.saturating_add(1));
        self.keep_info(&row.id, &info)?;
        self.send_info(row, info)
    }

    /// Says what is known of a group again; nothing where nothing is known.
    pub(super) fn say_info(
        &mut self,
        row: &ConversationRow,
    ) -> Result<Option<ClientMessageId>, EngineError> {
        let info = GroupInfo {
            expires_after_s: self.store().timer(row.keep, &row.id)?,
            ..self.group_info(&row.id)?
        };
        match info == GroupInfo::default() {
            true => Ok(None),
            false => self.send_info(row, info).map(Some),
        }
    }

    fn send_info(
        &mut self,
        row: &ConversationRow,
        info: GroupInfo,
    ) -> Result<ClientMessageId, EngineError> {
        // Timer and links are set by messages of their own; said along for newcomers.
        let mut links = self.store().live_links(&row.id, self.now.unix_ms)?;
        links.truncate(LINKS_MAX);
        let info = GroupInfo {
            expires_after_s: self.store().timer(row.keep, &row.id)?,
            links,
            ..info
        };
        self.send_quietly(row, Body::GroupInfo(info))
    }

    fn send_quietly(
        &mut self,
        row: &ConversationRow,
        body: Body,
    ) -> Result<ClientMessageId, EngineError> {
        let client_id = ClientMessageId::from_bytes(self.random_id());
        if let Ok(body) = body.to_bytes() {
            self.store().push_outbox(&OutboxRow {
                client_id,
                talk: row.talk.clone(),
                kind: OutboxKind::Quiet,
                body,
                created_at_ms: self.now.unix_ms,
                counter: None,
                sealed: None,
                refused: None,
            })?;
        }
        Ok(client_id)
    }

    /// Somebody said something about a group; it counts when an admin did.
    pub(in crate::engine) fn info_heard(
        &mut self,
        row: &ConversationRow,
        sender: &DeviceCertificate,
        info: GroupInfo,
    ) -> Result<(), EngineError> {
        let role = match self.take_group(row)? {
            Some(group) => {
                let role = group.roster().policy.role_of(sender.username());
                self.keep_group(group);
                role
            }
            None => None,
        };
        if row.talk.group().is_none() || role.is_none_or(|role| role < Role::Admin) {
            return Ok(());
        }
        for link in &info.links {
            self.store().put_link(&row.id, link)?;
        }
        // Whoever came in was told, and here nobody has to.
        self.store().take_greeting(&row.id)?;
        self.work_of(&row.talk).chores.greet_at = None;
        let info = GroupInfo {
            links: Vec::new(),
            ..info
        };
        let before = self.group_info(&row.id)?;
        if order(&info) < order(&before) {
            // Said before it heard of what is known here, or said again by somebody who had not.
            return Ok(());
        }
        self.keep_info(&row.id, &info)?;
        if (&before.title, &before.description) != (&info.title, &info.description) {
            self.emit(Event::Group(GroupNews {
                conversation: row.id,
                title: info.title,
                description: info.description,
                by: sender.username().clone(),
            }));
        }
        Ok(())
    }
}

/// Which of two things that were said about a group counts, whatever the order in which they come:
/// the greater one.
fn order(info: &GroupInfo) -> (u64, &str, &str) {
    (info.revision, &info.title, &info.description)
}
