//! Repairing a conversation without anybody's help: entering it again from
//! outside, and if that cannot be, building a new generation of it.

use prost::Message as _;
use sotto_crypto::{Address, Group, Rejoin, WithTree};
use sotto_protocol::wire::client_frame::Body as Ask;
use sotto_protocol::wire::server_frame::Body as Answer;
use sotto_protocol::{ClientMessageId, ErrorCode, wire};
use sotto_roster::{DeviceCertificate, Policy, policy_shown};

use super::api::{Event, MembershipChange, SecurityEvent, SecurityKind};
use super::error::group_failure;
use super::flight::Purpose;
use super::group::shut_out;
use super::people::Mismatch;
use super::restored::Leap;
use super::work::{Rebuild, Step, Why};
use super::{Engine, EngineError};
use crate::history::{Baseline, ConversationRow, ConversationState, PendingCommitRow, PendingKind};
use crate::talk::Talk;

/// External commits tried in a row before a new generation is built.
const REJOINS_MAX: u32 = 3;
/// How long to wait for somebody to vouch for a group, in milliseconds.
const VOUCHED_MS: u64 = 5_000;

impl Engine {
    /// A conversation cannot go on as it is. Its keys here are not used again.
    pub(super) fn break_conversation(
        &mut self,
        mut row: ConversationRow,
        why: &str,
    ) -> Result<(), EngineError> {
        self.groups.remove(&row.id);
        self.store().remove_pending(&row.id)?;
        self.store().unseal_for(&row.talk)?;
        let announced = row.state == ConversationState::Broken;
        row.state = ConversationState::Broken;
        row.baseline = Baseline::FirstSeen;
        self.store().put_conversation(&row)?;
        let work = self.work_of(&row.talk);
        work.behind = None;
        if work.step == Step::Busy {
            work.step = Step::Idle;
        }
        if !announced {
            self.security(
                SecurityKind::RecoveryStarted,
                Some(row.id),
                row.talk.clone().person(),
                &format!("repairing the conversation: {why}"),
            );
        }
        Ok(())
    }

    /// The local store is older than what this device did: its keys may have
    /// been used for other messages, so none of them seals again.
    pub(super) fn rolled_back(&mut self, row: ConversationRow) -> Result<(), EngineError> {
        self.security(
            SecurityKind::Rollback,
            Some(row.id),
            row.talk.clone().person(),
            "the local store was put back to an older state, or a copy of it is in use; \
             the keys are replaced and queued messages are sealed anew",
        );
        self.delete_group(&row)?;
        self.break_conversation(row, "its keys were older than its log")
    }

    /// The next step for a conversation without usable keys.
    pub(super) fn drive_broken(&mut self, row: &ConversationRow) -> Result<(), EngineError> {
        if let Some(rebuild) = self.work_of(&row.talk).rebuild.clone() {
            return match &row.talk {
                Talk::Person(peer) => {
                    self.claim(peer, rebuild.generation);
                    Ok(())
                }
                Talk::Group(_) => self.drive_rebuild(row, rebuild),
            };
        }
        self.set_step(&row.talk, Step::Busy);
        self.request(
            Purpose::GroupInfo(row.talk.clone()),
            Ask::GetGroupInfo(wire::GetGroupInfo {
                conversation_id: row.id.to_vec(),
            }),
        );
        Ok(())
    }

    pub(super) fn group_info_answered(
        &mut self,
        talk: &Talk,
        answer: Answer,
    ) -> Result<(), EngineError> {
        let row = self.store().conversation_with(talk)?;
        let Some(row) = row.filter(|row| row.state == ConversationState::Broken) else {
            self.set_step(talk, Step::Idle);
            return Ok(());
        };
        match answer {
            Answer::GroupInfo(info) if self.is_older(&row, info.generation, info.epoch)? => {
                // Whoever was removed since is in that one.
                let generation = row.generation.max(info.generation) + 1;
                let shown = policy_shown(&info.group_info);
                let record = shown.as_ref().and_then(Policy::group_rules).cloned();
                let why = Why::Broken;
                let rebuild = Rebuild {
                    generation,
                    record,
                    why,
                };
                self.rebuild_beside(&row, rebuild);
                Ok(())
            }
            Answer::GroupInfo(info) => self.rejoin(row, &info),
            Answer::Error(error) => {
                match ErrorCode::from_number(error.code) {
                    _ if self.is_entering(talk) && !is_passing(&error) => {
                        return self.entry_refused(talk, &error);
                    }
                    ErrorCode::UnknownConversation | ErrorCode::NotAllowed | ErrorCode::Banned => {
                        return self.not_let_in(row);
                    }
                    _ => self.server_refused(talk, &error),
                }
                Ok(())
            }
            _ => {
                self.rest(talk, 0);
                Ok(())
            }
        }
    }

    /// The server does not know this account in a conversation: two people
    /// begin anew; out of a group one stays out.
    fn not_let_in(&mut self, mut row: ConversationRow) -> Result<(), EngineError> {
        if row.talk.group().is_none() {
            self.rebuild(&row, row.generation + 1);
            return Ok(());
        }
        let me = self.my_name().clone();
        self.membership(&row, MembershipChange::Removed, me.clone(), me, 0);
        self.end_group(&mut row)
    }

    fn rebuild(&mut self, row: &ConversationRow, generation: u32) {
        let record = None;
        let why = Why::Broken;
        let rebuild = Rebuild {
            generation,
            record,
            why,
        };
        self.rebuild_beside(row, rebuild);
    }

    fn rebuild_beside(&mut self, row: &ConversationRow, rebuild: Rebuild) {
        self.rest(&row.talk, 0);
        let work = self.work_of(&row.talk);
        work.rebuild = Some(rebuild);
        if work.failures <= 1 {
            work.step = Step::Idle;
        }
    }

    /// Enters the group that the server describes, if the right people are in it.
    fn rejoin(
        &mut self,
        mut row: ConversationRow,
        info: &wire::GroupInfo,
    ) -> Result<(), EngineError> {
        let work = self.work_of(&row.talk);
        work.rejoins += 1;
        if work.rejoins > REJOINS_MAX {
            self.rebuild(&row, info.generation + 1);
            return Ok(());
        }
        self.delete_group(&row)?;
        self.make_room(&row, info.generation)?;
        let client_id = ClientMessageId::from_bytes(self.random_id());
        let address = Address {
            conversation: row.id,
            generation: info.generation,
        };
        let entered = Group::rejoin(
            &self.key_store(),
            self.profile.device(),
            address,
            WithTree {
                message: &info.group_info,
                tree: &info.ratchet_tree,
            },
            &client_id,
        );
        let Rejoin {
            group,
            commit,
            vouched_by,
        } = match entered {
            Ok(entered) => entered,
            Err(error) => {
                group_failure(error)?;
                return self.not_entered(&row, info.generation + 1);
            }
        };
        if let Err(mismatch) = self.check_members(group.roster(), &row.talk)? {
            group.delete(&self.key_store())?;
            return self.wrong_members(&row, mismatch, info.generation + 1);
        }
        if !self.is_vouched_for(&row, vouched_by.as_ref())? {
            group.delete(&self.key_store())?;
            return self.nobody_vouches(&row);
        }
        let epoch = group.epoch().saturating_sub(1);
        self.keep_group(group);
        row.state = ConversationState::Rejoining;
        row.generation = info.generation;
        self.store().put_conversation(&row)?;
        let request = wire::ClientFrame {
            request_id: 0,
            body: Some(Ask::AppendCommit(wire::AppendCommit {
                conversation_id: row.id.to_vec(),
                generation: info.generation,
                epoch,
                client_id: client_id.to_vec(),
                commit: commit.commit.clone(),
                group_info: commit.group_info,
                welcomes: Vec::new(),
            })),
        };
        self.store().put_pending(&PendingCommitRow {
            conversation: row.id,
            client_id,
            kind: PendingKind::Rejoin,
            generation: info.generation,
            epoch,
            commit_hash: sotto_crypto::commit_hash(&commit.commit),
            request: request.encode_to_vec(),
        })?;
        self.send_pending(&row)
    }

    /// What the server shows of a group is not to be entered by this device.
    fn not_entered(&mut self, row: &ConversationRow, next: u32) -> Result<(), EngineError> {
        if self.is_entering(&row.talk) {
            return self.entry_ended(&row.talk, shut_out());
        }
        self.rebuild(row, next);
        Ok(())
    }

    /// A group is entered as the server shows it only where somebody who is
    /// known to be in it signed that state: a server cannot make one up.
    fn is_vouched_for(
        &self,
        row: &ConversationRow,
        signer: Option<&DeviceCertificate>,
    ) -> Result<bool, EngineError> {
        let Some(signer) = signer.filter(|_| row.talk.group().is_some()) else {
            return Ok(true);
        };
        let name = signer.username();
        if name == self.my_name() || self.is_entering(&row.talk) {
            return Ok(true);
        }
        let known = self.store().member(&row.id, name)?.is_some();
        Ok(known && self.person(name)?.identity == Some(*signer.identity_key()))
    }

    /// Waits until somebody known changes the group, or repairs it.
    fn nobody_vouches(&mut self, row: &ConversationRow) -> Result<(), EngineError> {
        self.security(
            SecurityKind::PolicyRejected,
            Some(row.id),
            None,
            "nobody known to be in the group vouches for what the server shows of it; it was not entered yet",
        );
        self.rest(&row.talk, VOUCHED_MS);
        Ok(())
    }

    /// The server's group has somebody in it who does not belong.
    fn wrong_members(
        &mut self,
        row: &ConversationRow,
        mismatch: Mismatch,
        generation: u32,
    ) -> Result<(), EngineError> {
        match mismatch {
            // The person's identity as the account shows it decides, not the
            // group: it was asked for and is the pinned one, so the group is old.
            Mismatch::Identity(_) => {}
            Mismatch::Members => self.security(
                SecurityKind::PolicyRejected,
                Some(row.id),
                row.talk.person(),
                "the server's group has members who do not belong there; it was not entered",
            ),
        }
        self.rebuild(row, generation);
        Ok(())
    }

    pub(super) fn rejoin_refused(
        &mut self,
        mut row: ConversationRow,
        code: ErrorCode,
        error: &wire::Error,
    ) -> Result<(), EngineError> {
        // The library merged the commit at once; that state never came to be.
        self.delete_group(&row)?;
        self.store().remove_pending(&row.id)?;
        row.state = ConversationState::Broken;
        self.store().put_conversation(&row)?;
        match code {
            ErrorCode::StaleEpoch => self.set_step(&row.talk, Step::Idle),
            _ if self.is_entering(&row.talk) && !is_passing(error) => {
                return self.entry_refused(&row.talk, error);
            }
            ErrorCode::NotAllowed | ErrorCode::UnknownConversation
                if row.talk.group().is_some() =>
            {
                return self.not_let_in(row);
            }
            ErrorCode::NotAllowed | ErrorCode::UnknownConversation => {
                let generation = row.generation + 1;
                self.rebuild(&row, generation);
            }
            _ => self.rest(&row.talk, error.retry_after_ms),
        }
        Ok(())
    }

    /// Entries of the log itself are missing.
    pub(super) fn entries_missing(
        &mut self,
        row: &ConversationRow,
        first: u64,
        missing: u64,
    ) -> Result<(), EngineError> {
        self.readable_from(row, first + missing)?;
        if self.is_leap(row, missing) == Leap::Yes {
            return Ok(());
        }
        self.store()
            .insert_gap(&row.id, None, (first, missing), self.now.unix_ms)?;
        self.emit(Event::Security(SecurityEvent {
            kind: SecurityKind::Gap,
            conversation: Some(row.id),
            subject: row.talk.person().cloned(),
            action: "entries of the conversation did not arrive or can no longer be opened"
                .to_owned(),
            count: missing,
        }));
        Ok(())
    }
}

/// Whether time may cure a refusal.
fn is_passing(error: &wire::Error) -> bool {
    matches!(
        ErrorCode::from_number(error.code),
        ErrorCode::Internal | ErrorCode::Unavailable | ErrorCode::NotLoggedIn
    )
}
