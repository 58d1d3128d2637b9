//! Commits of this device: sent from the store, so that a repetition is the
//! same to the byte, and settled once the log has them.

use prost::Message as _;
use rand::RngExt as _;
use sotto_crypto::{Address, CommitSummary, Group, PendingCommit};
use sotto_protocol::wire::client_frame::Body as Ask;
use sotto_protocol::wire::server_frame::Body as Answer;
use sotto_protocol::{ClientMessageId, ConversationId, ErrorCode, wire};

use super::api::{MembershipChange, SecurityKind};
use super::error::group_failure;
use super::flight::Purpose;
use super::work::Step;
use super::{Engine, EngineError};
use crate::history::{Baseline, ConversationRow, ConversationState, PendingCommitRow, PendingKind};
use crate::talk::Talk;

/// Own keys are renewed at least this often, in milliseconds: a day.
const UPDATE_MS: u64 = 24 * 3_600_000;
/// And at least after so many own messages.
pub(super) const UPDATE_MESSAGES: u64 = 100;
/// After joining: within this many milliseconds, at random, so that not everybody commits at once.
const JOIN_JITTER_MS: std::ops::Range<u64> = 20_000..90_000;
/// Of each so many devices, one renews its keys in that time.
const CROWD: u64 = 10;
/// A self-update that is refused for another reason than its epoch waits so long, in milliseconds.
const UPDATE_REFUSED_MS: u64 = 600_000;
/// How long the log may take to show what the server says it holds, in milliseconds.
const LOG_MS: u64 = 2_000;
/// Groups of this many generations before the present one are looked for when cleaning up.
pub(super) const GENERATIONS_CLEANED: u32 = 4;

impl Engine {
    /// The group of a conversation, out of memory or the store.
    pub(super) fn take_group(
        &mut self,
        row: &ConversationRow,
    ) -> Result<Option<Group>, EngineError> {
        let cached = self.groups.remove(&row.id);
        if let Some(group) = cached.filter(|group| group.address().generation == row.generation) {
            return Ok(Some(group));
        }
        let address = Address {
            conversation: row.id,
            generation: row.generation,
        };
        match Group::load(&self.key_store(), self.profile.device(), address) {
            Ok(group) => Ok(group),
            Err(error) => {
                group_failure(error)?;
                Ok(None)
            }
        }
    }

    /// Deletes the group of a conversation with all keys, if there is one.
    pub(super) fn delete_group(&mut self, row: &ConversationRow) -> Result<(), EngineError> {
        if let Some(group) = self.take_group(row)? {
            group.delete(&self.key_store())?;
        }
        Ok(())
    }

    /// Sends the commit that is on its way, again or for the first time.
    pub(super) fn send_pending(&mut self, row: &ConversationRow) -> Result<(), EngineError> {
        let Some(pending) = self.store().pending(&row.id)? else {
            // Nothing is on its way after all: begin again.
            return self.break_conversation(row.clone(), "its commit was lost");
        };
        let Ok(frame) = wire::ClientFrame::decode(pending.request.as_slice()) else {
            return self.break_conversation(row.clone(), "its commit cannot be read");
        };
        self.set_step(&row.talk, Step::Busy);
        if let Some(body) = frame.body {
            let purpose = Purpose::Commit {
                talk: row.talk.clone(),
                conversation: row.id,
                client_id: pending.client_id,
            };
            self.request(purpose, body);
        }
        Ok(())
    }

    /// Renews this device's keys in a conversation.
    pub(super) fn stage_update(&mut self, row: ConversationRow) -> Result<(), EngineError> {
        let client_id = ClientMessageId::from_bytes(self.random_id());
        let Some(mut group) = self.take_group(&row)? else {
            return self.break_conversation(row, "its keys are not here");
        };
        let epoch = group.epoch();
        let staged = group.stage_self_update(
            &self.key_store(),
            self.profile.device(),
            &client_id,
            self.now.unix_ms,
        );
        let staged = match staged {
            Ok(staged) => staged,
            Err(error) => {
                group_failure(error)?;
                return self.break_conversation(row, "its keys cannot be renewed");
            }
        };
        self.keep_group(group);
        self.put_update(&row, epoch, client_id, staged)?;
        self.send_pending(&row)
    }

    /// Keeps an update of keys as the commit that is on its way, before it is sent.
    pub(super) fn put_update(
        &mut self,
        row: &ConversationRow,
        epoch: u64,
        client_id: ClientMessageId,
        staged: PendingCommit,
    ) -> Result<(), EngineError> {
        let commit_hash = sotto_crypto::commit_hash(&staged.commit);
        let request = wire::ClientFrame {
            request_id: 0,
            body: Some(Ask::AppendCommit(wire::AppendCommit {
                conversation_id: row.id.to_vec(),
                generation: row.generation,
                epoch,
                client_id: client_id.to_vec(),
                commit: staged.commit,
                group_info: staged.group_info,
                welcomes: Vec::new(),
            })),
        };
        self.store().put_pending(&PendingCommitRow {
            conversation: row.id,
            client_id,
            kind: PendingKind::Update,
            generation: row.generation,
            epoch,
            commit_hash,
            request: request.encode_to_vec(),
        })?;
        Ok(())
    }

    pub(super) fn commit_answered(
        &mut self,
        talk: &Talk,
        conversation: &ConversationId,
        client_id: &ClientMessageId,
        answer: Answer,
    ) -> Result<(), EngineError> {
        let row = self.store().conversation(conversation)?;
        let pending = self.store().pending(conversation)?;
        let (Some(row), Some(pending)) = (row, pending.filter(|row| row.client_id == *client_id))
        else {
            // The log showed it first.
            self.set_step(talk, Step::Idle);
            return Ok(());
        };
        match answer {
            Answer::Appended(appended) => self.commit_stored(row, &pending, appended.seq),
            Answer::Error(error) => self.commit_refused(row, &pending, &error),
            _ => {
                self.rest(talk, 0);
                Ok(())
            }
        }
    }

    fn commit_stored(
        &mut self,
        row: ConversationRow,
        pending: &PendingCommitRow,
        seq: u64,
    ) -> Result<(), EngineError> {
        let of_member = matches!(pending.kind, PendingKind::Update | PendingKind::Change);
        if of_member && seq > row.cursor + 1 {
            // Entries before it are still to come and need the old epoch's
            // keys; the log will show the commit in its place.
            let until = self.now.monotonic_ms + LOG_MS;
            self.set_step(&row.talk, Step::Until(until));
            return Ok(());
        }
        self.settle(row, pending, seq)
    }

    /// A commit of this device is in the log: the group moves on.
    pub(super) fn settle(
        &mut self,
        mut row: ConversationRow,
        pending: &PendingCommitRow,
        seq: u64,
    ) -> Result<(), EngineError> {
        let mut done = None;
        if pending.kind != PendingKind::Rejoin {
            match self.merge(&row, pending)? {
                Some(summary) => {
                    self.tell_members(&mut row, &summary)?;
                    done = Some(summary);
                }
                None => return self.break_conversation(row, "its commit cannot be merged"),
            }
        }
        let entered = matches!(pending.kind, PendingKind::Create | PendingKind::Rejoin);
        if entered && row.cursor > 0 && seq > row.cursor + 1 {
            // Whoever left and comes in again was to read nothing in between.
            if !self.is_entering(&row.talk) {
                self.entries_missing(&row, row.cursor + 1, seq - row.cursor - 1)?;
            }
        }
        if entered && row.cursor > 0 && (seq > row.cursor + 1 || row.generation > 0) {
            // To the new generation everybody's messages begin somewhere.
            self.store().forget_sender_counters(&row.id)?;
            row.baseline = Baseline::FirstSeen;
        }
        if entered {
            self.entered_at(&row, seq)?;
        }
        let was = row.state;
        row.state = ConversationState::Active;
        row.cursor = row.cursor.max(seq);
        row.last_commit = pending.commit_hash.to_vec();
        row.own_since_update = 0;
        row.update_due_ms = self.now.unix_ms + UPDATE_MS;
        row.updated_at_ms = self.now.unix_ms;
        self.store().put_conversation(&row)?;
        self.store().remove_pending(&row.id)?;
        self.store().unseal_for(&row.talk)?;
        self.acknowledge.insert(row.id, row.cursor);
        self.forget_old_generations(&row)?;
        if row.talk.group().is_some() {
            self.group_settled(&row, pending.kind, done.as_ref())?;
        }
        self.succeeded(&row.talk);
        let work = self.work_of(&row.talk);
        work.rejoins = 0;
        work.rebuild = None;
        if self.is_entering(&row.talk) {
            let me = self.my_name().clone();
            let epoch = pending.epoch + 1;
            self.membership(&row, MembershipChange::Joined, me.clone(), me, epoch);
        } else if was != ConversationState::Active
            && (row.generation > 0 || pending.kind == PendingKind::Rejoin)
        {
            self.security(
                SecurityKind::RecoveryDone,
                Some(row.id),
                row.talk.person(),
                "the conversation works again under fresh keys",
            );
        }
        Ok(())
    }

    /// Merges the own commit that the group holds staged.
    fn merge(
        &mut self,
        row: &ConversationRow,
        pending: &PendingCommitRow,
    ) -> Result<Option<CommitSummary>, EngineError> {
        let Some(mut group) = self.take_group(row)? else {
            return Ok(None);
        };
        let commit = commit_of(pending);
        match group.merge_pending(&self.key_store(), &commit, self.now.unix_ms) {
            Ok(summary) => {
                self.keep_group(group);
                Ok(Some(summary))
            }
            Err(error) => {
                group_failure(error)?;
                Ok(None)
            }
        }
    }

    fn commit_refused(
        &mut self,
        row: ConversationRow,
        pending: &PendingCommitRow,
        error: &wire::Error,
    ) -> Result<(), EngineError> {
        let code = ErrorCode::from_number(error.code);
        let passing = matches!(
            code,
            ErrorCode::Internal
                | ErrorCode::Unavailable
                | ErrorCode::RateLimited
                | ErrorCode::NotLoggedIn
        );
        if passing {
            self.server_refused(&row.talk, error);
            return Ok(());
        }
        match pending.kind {
            PendingKind::Update | PendingKind::Change => {
                self.update_refused(row, pending, code, error)
            }
            PendingKind::Create => self.create_refused(row, code, error),
            PendingKind::Rejoin => self.rejoin_refused(row, code, error),
        }
    }

    fn update_refused(
        &mut self,
        mut row: ConversationRow,
        pending: &PendingCommitRow,
        code: ErrorCode,
        error: &wire::Error,
    ) -> Result<(), EngineError> {
        self.store().remove_pending(&row.id)?;
        if let Some(mut group) = self.take_group(&row)? {
            if let Err(error) = group.discard_pending(&self.key_store()) {
                group_failure(error)?;
            }
            self.keep_group(group);
        }
        match code {
            ErrorCode::StaleEpoch => self.epoch_is_stale(row, pending.epoch, error.current_epoch),
            ErrorCode::StaleGeneration | ErrorCode::UnknownConversation => {
                self.break_conversation(row, "the server has another generation of it")
            }
            _ if pending.kind == PendingKind::Change => {
                self.change_refused(&row, code, error);
                self.set_step(&row.talk, Step::Idle);
                Ok(())
            }
            _ => {
                row.update_due_ms = self.now.unix_ms + UPDATE_REFUSED_MS;
                row.own_since_update = 0;
                self.store().put_conversation(&row)?;
                match self.store().removals_due(&row.id)?.is_empty() {
                    true => self.set_step(&row.talk, Step::Idle),
                    // It would be staged again at once.
                    false => self.rest(&row.talk, error.retry_after_ms),
                }
                Ok(())
            }
        }
    }

    fn create_refused(
        &mut self,
        mut row: ConversationRow,
        code: ErrorCode,
        error: &wire::Error,
    ) -> Result<(), EngineError> {
        let talk = row.talk.clone();
        self.delete_group(&row)?;
        self.store().remove_pending(&row.id)?;
        if row.generation == 0 {
            self.store().delete_conversation(&row.id)?;
        } else {
            row.state = match self.is_bringing_back(&talk) {
                // It was not the first: the way in is the newer one.
                Some(_) if code != ErrorCode::StaleGeneration => ConversationState::Active,
                _ => ConversationState::Broken,
            };
            // The refused number counts for nothing: refusals in a row would put the newest state
            // out of sight, and with it what tells an older one apart.
            if let Some((generation, _)) = self.newest_kept(&row)? {
                row.generation = generation;
            }
            self.store().put_conversation(&row)?;
            if row.state == ConversationState::Active {
                // What came meanwhile was not passed.
                self.resume(&row.id, row.cursor);
            }
        }
        self.work_of(&talk).rebuild = None;
        if talk.group().is_some() && code != ErrorCode::StaleGeneration {
            return self.group_refused(&talk, error);
        }
        match (
            code,
            &talk,
            ConversationId::from_slice(&error.conversation_id),
        ) {
            (ErrorCode::ConversationExists, Talk::Person(peer), Ok(id)) => {
                self.conversation_elsewhere(peer, id)
            }
            (ErrorCode::StaleGeneration, ..) => {
                self.set_step(&talk, Step::Idle);
                Ok(())
            }
            _ => {
                self.rest(&talk, error.retry_after_ms);
                Ok(())
            }
        }
    }

    /// The server's epoch is another than the one that was `tried`. If the log
    /// brings the commit, sealing begins again; if it does not, the
    /// conversation is repaired. A server that is further back shows another
    /// history, or lost some.
    pub(super) fn epoch_is_stale(
        &mut self,
        row: ConversationRow,
        tried: u64,
        current_epoch: u64,
    ) -> Result<(), EngineError> {
        self.store().unseal_for(&row.talk)?;
        if current_epoch < tried {
            self.compare(&row.talk);
            self.rest(&row.talk, 0);
            return Ok(());
        }
        let reached = match self.take_group(&row)? {
            Some(group) => {
                let epoch = group.epoch();
                self.keep_group(group);
                epoch
            }
            None => 0,
        };
        let until = self.now.monotonic_ms + LOG_MS;
        let work = self.work_of(&row.talk);
        if reached >= current_epoch {
            work.step = Step::Idle;
        } else {
            work.behind = Some(current_epoch);
            work.step = Step::Until(until);
        }
        Ok(())
    }

    /// When the keys of a conversation just joined are renewed.
    pub(super) fn update_after_join(&mut self, leaves: usize) -> u64 {
        let crowd = (leaves as u64 / CROWD).max(1);
        self.now.unix_ms + self.rng.random_range(JOIN_JITTER_MS) * crowd
    }

    /// Groups that a newer generation replaced are of no use and hold keys.
    pub(super) fn forget_old_generations(
        &mut self,
        row: &ConversationRow,
    ) -> Result<(), EngineError> {
        let first = row.generation.saturating_sub(GENERATIONS_CLEANED);
        for generation in first..row.generation {
            let address = Address {
                conversation: row.id,
                generation,
            };
            let store = self.key_store();
            match Group::load(&store, self.profile.device(), address) {
                Ok(Some(group)) => group.delete(&store)?,
                Ok(None) => {}
                Err(error) => {
                    group_failure(error)?;
                }
            }
        }
        Ok(())
    }
}

fn commit_of(pending: &PendingCommitRow) -> Vec<u8> {
    let frame = wire::ClientFrame::decode(pending.request.as_slice()).ok();
    match frame.and_then(|frame| frame.body) {
        Some(Ask::CreateConversation(create)) => create.commit,
        Some(Ask::AppendCommit(append)) => append.commit,
        _ => Vec::new(),
    }
}
