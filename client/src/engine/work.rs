//! What is going on in each talk right now, in memory only: everything
//! here can be worked out again from the store after a restart.

use std::collections::BTreeSet;

use sotto_protocol::Username;
use sotto_roster::GroupRules;

use super::api::{Event, Failure};
use super::flight::Room;
use super::session::Session;
use super::{Engine, EngineError, Reported};
use crate::history::Relation;
use crate::talk::Talk;

/// The first pause after a failure, in milliseconds; it doubles up to the last.
const PAUSE_MS_FIRST: u64 = 500;
const PAUSE_MS_LAST: u64 = 30_000;
/// Failures in a row after which a person's queue rests until the next session.
const FAILURES_MAX: u32 = 8;
/// How often things without a deadline of their own are looked at, in milliseconds.
const HOUSEKEEPING_MS: u64 = 30_000;

/// What happens in one talk.
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

/// One talk's state.
#[derive(Default)]
pub(super) struct TalkWork {
    pub(super) step: Step,
    pub(super) identity: Asked,
    pub(super) failures: u32,
    /// A conversation exists that this device is not in; its welcome may still come.
    pub(super) welcome_awaited: Asked,
    /// Recovery by external commit did not work: build a new generation.
    pub(super) rebuild: Option<Rebuild>,
    /// External commits tried since the last success.
    pub(super) rejoins: u32,
    /// The epoch that the server named when it refused one as stale.
    pub(super) behind: Option<u64>,
    /// The generation and epoch of a group whose members are all whom they should be.
    pub(super) vetted: Option<(u32, u64)>,
    /// What is done here by itself, when it is time.
    pub(super) chores: Chores,
    /// The generation and epoch whose keys could not open what stood there.
    pub(super) doubted: Option<(u32, u64)>,
}

/// A new generation of a conversation that is to be built.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Rebuild {
    pub(super) generation: u32,
    /// What the server has of the group, where that is older than what is known here.
    pub(super) record: Option<GroupRules>,
    pub(super) why: Why,
}

/// Why a conversation is built anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Why {
    /// It cannot go on.
    Broken,
    /// Somebody began anew whom this admin may not put out.
    Anew,
    /// So did everybody with an office: any member builds it, changing nothing.
    Vacant,
}

/// When a client is to do what needs nobody's word (monotonic milliseconds).
/// Where it takes an admin, others may be faster: then nothing is left to do.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Chores {
    /// Take out those who left.
    pub(super) tidy_at: Option<u64>,
    /// Let in those who came by a link.
    pub(super) admit_at: Option<u64>,
    /// Tell newcomers what the group is called.
    pub(super) greet_at: Option<u64>,
    /// Any member's: compare the server's account of the conversation with its own.
    pub(super) compare_at: Option<u64>,
}

impl Chores {
    /// When the first is due.
    pub(super) fn at(&self) -> Option<u64> {
        let all = [self.tidy_at, self.admit_at, self.greet_at, self.compare_at];
        all.into_iter().flatten().min()
    }
}

impl TalkWork {
    /// When there is something to do without anything coming in. What waits
    /// for an answer goes on with the answer.
    pub(super) fn wakes_at(&self) -> Option<u64> {
        match self.step {
            Step::Until(at) => Some(at),
            Step::Idle => self.chores.at(),
            Step::Busy | Step::Resting => None,
        }
    }
}

impl Engine {
    pub(super) fn work_of(&mut self, talk: &Talk) -> &mut TalkWork {
        self.work.entry(talk.clone()).or_default()
    }

    pub(super) fn set_step(&mut self, talk: &Talk, step: Step) {
        self.work_of(talk).step = step;
    }

    /// Lets a talk's queue rest for a while, longer each time; after some
    /// failures in a row until the next session. `at_least_ms` is what the
    /// server asked for.
    pub(super) fn rest(&mut self, talk: &Talk, at_least_ms: u64) {
        let now_ms = self.now.monotonic_ms;
        let work = self.work_of(talk);
        work.failures += 1;
        let pause_ms = (PAUSE_MS_FIRST << (work.failures - 1).min(6)).min(PAUSE_MS_LAST);
        work.step = if work.failures > FAILURES_MAX {
            Step::Resting
        } else {
            Step::Until(now_ms + pause_ms.max(at_least_ms))
        };
    }

    /// Something worked in a talk.
    pub(super) fn succeeded(&mut self, talk: &Talk) {
        let work = self.work_of(talk);
        work.step = Step::Idle;
        work.failures = 0;
        work.behind = None;
    }

    /// Time passed: ends rests, notices answers that never came, looks after
    /// what has no deadline.
    pub(super) fn timeout(&mut self) -> Result<(), EngineError> {
        let now_ms = self.now.monotonic_ms;
        for work in self.work.values_mut() {
            if matches!(work.step, Step::Until(at) if at <= now_ms) {
                work.step = Step::Idle;
            }
        }
        if self.flight.deadline().is_some_and(|at| at <= now_ms) {
            self.answer_never_came();
        }
        self.send_due_receipts()?;
        self.sweep_if_due()?;
        if self.housekeeping_at <= now_ms {
            self.housekeeping_at = now_ms + HOUSEKEEPING_MS;
            self.keep_house()?;
        }
        Ok(())
    }

    /// Looks what can be done next everywhere; called at the end of every
    /// call, so no other place has to remember who waits for what.
    pub(super) fn pump(&mut self) -> Result<(), EngineError> {
        self.pump_commands();
        if self.session != Session::Live {
            return Ok(());
        }
        let awaited = self.store().awaited_talks()?;
        let mut talks: BTreeSet<Talk> = awaited.iter().cloned().collect();
        talks.extend(self.store().unsettled_talks()?);
        talks.extend(self.store().update_due_talks(self.now.unix_ms)?);
        talks.extend(self.store().removal_talks()?);
        talks.extend(self.jobs.keys().cloned());
        let now_ms = self.now.monotonic_ms;
        let due = |work: &TalkWork| work.chores.at().is_some_and(|at| at <= now_ms);
        let with_chores = self.work.iter().filter(|(_, work)| due(work));
        talks.extend(with_chores.map(|(talk, _)| talk.clone()));
        for talk in awaited.into_iter().chain(talks) {
            if self.work_of(&talk).step == Step::Idle && self.room() == Room::Some {
                self.drive(&talk)?;
            }
        }
        self.drop_blobs()?;
        self.report_revoked()?;
        self.report_empty_outbox()
    }

    /// Takes the next step in one talk, if nothing hinders.
    fn drive(&mut self, talk: &Talk) -> Result<(), EngineError> {
        match talk {
            Talk::Person(peer) => self.drive_person(peer, talk),
            Talk::Group(_) => match self.store().conversation_with(talk)? {
                Some(row) => self.drive_conversation(row),
                None => self.drive_new_group(talk),
            },
        }
    }

    fn drive_person(&mut self, peer: &Username, talk: &Talk) -> Result<(), EngineError> {
        let Some(person) = self.store().peer(peer)? else {
            return Ok(());
        };
        if person.relation == Relation::Blocked {
            self.set_step(talk, Step::Resting);
            return Ok(());
        }
        if person.changed_identity.is_some() {
            self.refuse_queue(talk, &people_changed(peer))?;
            self.set_step(talk, Step::Resting);
            return Ok(());
        }
        if self.work_of(talk).identity == Asked::No {
            self.ask_identity(peer);
            return Ok(());
        }
        match self.store().conversation_with(talk)? {
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
