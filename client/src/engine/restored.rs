//! A server whose database was put back to an older state: noticed by comparing its account of each
//! conversation with the local one, and mended without undoing what was changed since.
//!
//! Refuses to enter a group in an older state than this device knew it in, for whoever was removed
//! since is a member there: what cannot go on becomes a new generation with today's members.

use std::collections::BTreeMap;

use sotto_protocol::ConversationId;
use sotto_protocol::limits::RESTORED_LEAP;

use super::api::SecurityKind;
use super::commits::GENERATIONS_CLEANED;
use super::session::Remote;
use super::{Engine, EngineError};
use crate::history::{ConversationRow, ConversationState};

impl Engine {
    /// Whether logs end before what this device has read of them: the database is an older one, and
    /// nobody made it ready to be served from. New entries would get numbers that were given before
    /// and be taken for old ones.
    pub(super) fn look_for_lost_logs(
        &mut self,
        states: &BTreeMap<ConversationId, Remote>,
        mailbox_cursor: u64,
    ) -> Result<(), EngineError> {
        let mailbox = self.profile.device().certificate().device_id().mailbox();
        let read_further = |id: &ConversationId, cursor: u64| {
            states.get(id).is_some_and(|remote| remote.head < cursor)
        };
        let mut lost = read_further(&mailbox, mailbox_cursor);
        for row in self.store().conversations()? {
            let counts = row.state != ConversationState::Ended;
            lost |= counts && read_further(&row.id, row.cursor);
        }
        if lost {
            self.security(
                SecurityKind::Rollback,
                None,
                None,
                "the server has less than this device got from it: it was put back to an older state. \
                 New messages may get lost until its operator has run `sotto-server admin restored`",
            );
        }
        Ok(())
    }

    /// Whether the server has a group in an older state than this device.
    pub(super) fn look_for_older_group(
        &mut self,
        row: ConversationRow,
        remote: Remote,
    ) -> Result<(), EngineError> {
        let told = matches!(
            row.state,
            ConversationState::Active | ConversationState::Broken
        );
        // A group's state changes by entries of its log only: where the server knows that all which
        // is here was acknowledged, it has them too. Loading each group would be dear.
        let suspicious = remote.cursor < row.cursor || remote.generation < row.generation;
        if !told || !suspicious || !self.is_older(&row, remote.generation, remote.epoch)? {
            return Ok(());
        }
        if row.state == ConversationState::Active {
            self.security(
                SecurityKind::Rollback,
                Some(row.id),
                row.talk.clone().person(),
                "the server was put back to an older state; the conversation goes on under new keys \
                 with the members whom it has here",
            );
        }
        self.make_anew(row)
    }

    /// A conversation goes on as a new generation with the members whom it has here, once the
    /// server has told what it has of it.
    pub(super) fn make_anew(&mut self, row: ConversationRow) -> Result<(), EngineError> {
        self.break_conversation(row, "the server has an older state of it")
    }

    /// Whether a state of a group is older than the newest that is stored here. That one stays until
    /// a newer one has replaced it, also while a new generation is tried and refused.
    pub(super) fn is_older(
        &mut self,
        row: &ConversationRow,
        generation: u32,
        epoch: u64,
    ) -> Result<bool, EngineError> {
        let newest = self.newest_kept(row)?;
        Ok(newest.is_some_and(|newest| (generation, epoch) < newest))
    }

    /// Generation and epoch of the newest state of a group that is stored here.
    pub(super) fn newest_kept(
        &mut self,
        row: &ConversationRow,
    ) -> Result<Option<(u32, u64)>, EngineError> {
        let first = row.generation.saturating_sub(GENERATIONS_CLEANED);
        for known in (first..=row.generation).rev() {
            if let Some(epoch) = self.epoch_at(row, known)? {
                return Ok(Some((known, epoch)));
            }
        }
        Ok(None)
    }

    fn epoch_at(
        &mut self,
        row: &ConversationRow,
        generation: u32,
    ) -> Result<Option<u64>, EngineError> {
        let at = ConversationRow {
            generation,
            ..row.clone()
        };
        let Some(group) = self.take_group(&at)? else {
            return Ok(None);
        };
        let epoch = group.epoch();
        self.keep_group(group);
        Ok(Some(epoch))
    }

    /// Deletes the group that another of this generation is about to replace, and no older one.
    pub(super) fn make_room(
        &mut self,
        row: &ConversationRow,
        generation: u32,
    ) -> Result<(), EngineError> {
        let at = ConversationRow {
            generation,
            ..row.clone()
        };
        self.delete_group(&at)
    }

    /// Tells of a log that jumped as only a restored one does. Which messages are missing is seen by
    /// their senders' counters.
    pub(super) fn is_leap(&mut self, row: &ConversationRow, missing: u64) -> Leap {
        if missing < RESTORED_LEAP / 2 {
            return Leap::No;
        }
        self.security(
            SecurityKind::Rollback,
            Some(row.id),
            row.talk.person(),
            "the server was put back to an older state; what it had stored since may not have reached \
             everybody",
        );
        Leap::Yes
    }
}

/// Whether a log jumped because an older database was restored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Leap {
    Yes,
    No,
}
