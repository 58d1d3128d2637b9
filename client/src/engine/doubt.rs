//! Whether everybody in a conversation has the same keys: what cannot be
//! opened where it stands in the log is a sign that servers show different
//! commits to different people, or that they lost some. The server's account of
//! the conversation then decides: where it is another one, this device leaves
//! its own and enters that, so that all come together again. An older one is
//! never entered, whatever the server says: whoever was removed since is a
//! member there. Such a conversation is made anew with today's members.

use sotto_crypto::Standing;
use sotto_protocol::wire;
use sotto_protocol::wire::client_frame::Body as Ask;
use sotto_protocol::wire::server_frame::Body as Answer;

use super::api::SecurityKind;
use super::flight::Purpose;
use super::session::Remote;
use super::work::Step;
use super::{Engine, EngineError};
use crate::history::{ConversationRow, ConversationState};
use crate::talk::Talk;

const OTHER_KEYS: &str = "a message was sealed under other keys than those of this device: the server \
     shows different things to different people, or somebody sent what nobody can open; \
     it is being compared";
const OTHER_HISTORY: &str = "the server's conversation came about by other changes than this device was \
     shown; this device leaves its own state and enters that one";
const OLDER_HISTORY: &str = "the server shows an older state of this conversation than this device \
     had; it goes on under new keys with the members whom it has here";
const SHORTER: &str = "the server has less of this conversation than this device has read; what is \
     missing there is kept here";

impl Engine {
    /// An entry cannot be opened by the keys of its place in the log. Told once
    /// for each state of the keys.
    pub(super) fn doubt(&mut self, row: &ConversationRow) -> Result<(), EngineError> {
        let Some(group) = self.take_group(row)? else {
            return Ok(());
        };
        let state = (row.generation, group.epoch());
        self.keep_group(group);
        let work = self.work_of(&row.talk);
        if work.doubted == Some(state) {
            return Ok(());
        }
        work.doubted = Some(state);
        self.compare(&row.talk);
        let person = row.talk.person();
        self.security(SecurityKind::Fork, Some(row.id), person, OTHER_KEYS);
        Ok(())
    }

    /// The server's account is to be compared with what is here.
    pub(super) fn compare(&mut self, talk: &Talk) {
        let now_ms = self.now.monotonic_ms;
        let chores = &mut self.work_of(talk).chores;
        chores.compare_at.get_or_insert(now_ms);
    }

    /// Asks for the server's account, when that is due.
    pub(super) fn compare_if_due(
        &mut self,
        talk: &Talk,
        row: &ConversationRow,
        epoch: u64,
    ) -> Step {
        let now_ms = self.now.monotonic_ms;
        let due = self
            .work_of(talk)
            .chores
            .compare_at
            .take_if(|at| *at <= now_ms);
        if due.is_none() {
            return Step::Idle;
        }
        self.set_step(talk, Step::Busy);
        let purpose = Purpose::Compare {
            talk: talk.clone(),
            epoch,
        };
        self.request(
            purpose,
            Ask::GetGroupInfo(wire::GetGroupInfo {
                conversation_id: row.id.to_vec(),
            }),
        );
        Step::Busy
    }

    pub(super) fn compared(
        &mut self,
        talk: &Talk,
        epoch: u64,
        answer: &Answer,
    ) -> Result<(), EngineError> {
        self.set_step(talk, Step::Idle);
        let row = self.store().conversation_with(talk)?;
        let Some(row) = row.filter(|row| row.state == ConversationState::Active) else {
            return Ok(());
        };
        let Answer::GroupInfo(info) = answer else {
            // Whatever is wrong shows when something is sent.
            return Ok(());
        };
        let Some(group) = self.take_group(&row)? else {
            return Ok(());
        };
        let (now, standing) = (group.epoch(), group.standing(&info.group_info));
        self.keep_group(group);
        if now != epoch {
            // The log went on meanwhile.
            self.compare(talk);
            return Ok(());
        }
        if self.is_older(&row, info.generation, info.epoch)? {
            let person = talk.person();
            self.security(SecurityKind::Fork, Some(row.id), person, OLDER_HISTORY);
            return self.make_anew(row);
        }
        if info.generation == row.generation && standing == Standing::Other {
            let person = talk.person();
            self.security(SecurityKind::Fork, Some(row.id), person, OTHER_HISTORY);
            return self.go_over(row, info.seq);
        }
        Ok(())
    }

    /// A server's log that is shorter than what this device read of it.
    pub(super) fn log_is_shorter(
        &mut self,
        mut row: ConversationRow,
        remote: Remote,
    ) -> Result<(), EngineError> {
        let person = row.talk.clone();
        self.security(SecurityKind::Fork, Some(row.id), person.person(), SHORTER);
        if self.is_older(&row, remote.generation, remote.epoch)? {
            self.read_from(&mut row, remote.head)?;
            return self.make_anew(row);
        }
        self.go_over(row, remote.head)
    }

    /// Leaves this device's state for the server's, whose log it reads from `seq` on.
    fn go_over(&mut self, mut row: ConversationRow, seq: u64) -> Result<(), EngineError> {
        self.read_from(&mut row, seq)?;
        self.delete_group(&row)?;
        self.break_conversation(row, "the server has another history of it")
    }

    /// The next entries that are read have the numbers after `seq`, though others had them before.
    fn read_from(&self, row: &mut ConversationRow, seq: u64) -> Result<(), EngineError> {
        if row.cursor > seq {
            self.store().make_way(row.keep, &row.id, seq)?;
            row.cursor = seq;
        }
        Ok(self.store().forget_sender_counters(&row.id)?)
    }
}
