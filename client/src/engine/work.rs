//! What is going on for each person right now, in memory only: everything
//! here can be worked out again from the store after a restart.

use std::collections::BTreeSet;

use sotto_protocol::Username;

use super::api::{Event, Failure};
use super::flight::Room;
use super::session::Session;
use super::{Engine, EngineError, Reported};
use crate::history::Relation;

/// The first pause after a failure, in milliseconds; it doubles up to the last.
const PAUSE_MS_FIRST: u64 = 500;
const PAUSE_MS_LAST: u64 = 30_000;
/// Failures in a row after which a person's queue rests until the next session.
const FAILURES_MAX: u32 = 8;
/// How often things without a deadline of their own are looked at, in milliseconds.
const HOUSEKEEPING_MS: u64 = 30_000;

/// What happens for one person.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Step {
    /// Nothing: look what is next.
    #[default]
    Idle,
    /// A request waits for its answer.
    Busy,
    /// Resting until this time (monotonic milliseconds).
    Until(u64),
    /// Nothing more in this session, unless the person does something.
    Resting,
}

/// Whether the server was asked for a person's identity in this session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Asked {
    #[default]
    No,
    Yes,
}

/// One person's state.
#[derive(Default)]
pub(super) struct PeerWork {
    pub(super) step: Step,
    pub(super) identity: Asked,
    pub(super) failures: u32,
    /// A conversation exists that this device is not in; its welcome may still come.
    pub(super) welcome_awaited: Asked,
    /// Recovery by external commit did not work: build a new generation.
    pub(super) rebuild: Option<u32>,
    /// External commits tried since the last success.
    pub(super) rejoins: u32,
    /// The epoch that the server named when it refused one as stale.
    pub(super) behind: Option<u64>,
}

impl PeerWork {
    /// When this person's rest is over.
    pub(super) fn wakes_at(&self) -> Option<u64> {
        match self.step {
            Step::Until(at) => Some(at),
            _ => None,
        }
    }
}

impl Engine {
    pub(super) fn work_of(&mut self, peer: &Username) -> &mut PeerWork {
        self.work.entry(peer.clone()).or_default()
    }

    pub(super) fn set_step(&mut self, peer: &Username, step: Step) {
        self.work_of(peer).step = step;
    }

    /// Lets a person's queue rest for a while, longer each time; after some
    /// failures in a row until the next session. `at_least_ms` is what the
    /// server asked for.
    pub(super) fn rest(&mut self, peer: &Username, at_least_ms: u64) {
        let now_ms = self.now.monotonic_ms;
        let work = self.work_of(peer);
        work.failures += 1;
        let pause_ms = (PAUSE_MS_FIRST << (work.failures - 1).min(6)).min(PAUSE_MS_LAST);
        work.step = if work.failures > FAILURES_MAX {
            Step::Resting
        } else {
            Step::Until(now_ms + pause_ms.max(at_least_ms))
        };
    }

    /// Something worked for a person.
    pub(super) fn succeeded(&mut self, peer: &Username) {
        let work = self.work_of(peer);
        work.step = Step::Idle;
        work.failures = 0;
        work.behind = None;
    }

    /// Time passed: ends rests, notices answers that never came, looks after
    /// what has no deadline.
    pub(super) fn timeout(&mut self) -> Result<(), EngineError> {
        let now_ms = self.now.monotonic_ms;
        for work in self.work.values_mut() {
            if work.wakes_at().is_some_and(|at| at <= now_ms) {
                work.step = Step::Idle;
            }
        }
        if self.flight.deadline().is_some_and(|at| at <= now_ms) {
            self.answer_never_came();
        }
        self.send_due_receipts()?;
        if self.housekeeping_at <= now_ms {
            self.housekeeping_at = now_ms + HOUSEKEEPING_MS;
            self.keep_house()?;
        }
        Ok(())
    }

    /// Looks what can be done next for everybody; called at the end of every
    /// call, so no other place has to remember who waits for what.
    pub(super) fn pump(&mut self) -> Result<(), EngineError> {
        self.pump_commands();
        if self.session != Session::Live {
            return Ok(());
        }
        let awaited = self.store().awaited_peers()?;
        let mut peers: BTreeSet<Username> = awaited.iter().cloned().collect();
        peers.extend(self.store().unsettled_peers()?);
        peers.extend(self.store().update_due_peers(self.now.unix_ms)?);
        for peer in awaited.into_iter().chain(peers) {
            if self.work_of(&peer).step == Step::Idle && self.room() == Room::Some {
                self.drive(&peer)?;
            }
        }
        self.report_empty_outbox()
    }

    /// Takes the next step for one person, if nothing hinders.
    fn drive(&mut self, peer: &Username) -> Result<(), EngineError> {
        let Some(person) = self.store().peer(peer)? else {
            return Ok(());
        };
        if person.relation == Relation::Blocked {
            self.set_step(peer, Step::Resting);
            return Ok(());
        }
        if person.changed_identity.is_some() {
            self.refuse_queue(peer, &people_changed(peer))?;
            self.set_step(peer, Step::Resting);
            return Ok(());
        }
        if self.work_of(peer).identity == Asked::No {
            self.ask_identity(peer);
            return Ok(());
        }
        match self.store().conversation_with(peer)? {
            Some(row) => self.drive_conversation(row),
            None => self.ask_pair(peer),
        }
    }

    fn report_empty_outbox(&mut self) -> Result<(), EngineError> {
        let empty = self.store().outbox_len()? == 0;
        match (empty, self.outbox_reported_empty) {
            (true, Reported::No) => {
                self.outbox_reported_empty = Reported::Yes;
                self.emit(Event::OutboxEmpty);
            }
            (false, _) => self.outbox_reported_empty = Reported::No,
            _ => {}
        }
        Ok(())
    }
}

/// Why nothing is sent to somebody with another identity.
pub(super) fn people_changed(peer: &Username) -> Failure {
    Failure {
        code: "key_changed",
        message: format!(
            "{peer} has another identity than before; compare safety numbers with `verify {peer}`, \
             or accept it with `accept {peer}`"
        ),
        retry_after_ms: None,
    }
}
