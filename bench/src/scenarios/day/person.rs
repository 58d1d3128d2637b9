//! One person of a day: does what is planned when it is due, whatever became of what was done
//! before, takes what comes, and comes back after every absence.
//!
//! What was not acknowledged is sent again under the same id. What comes from the time of an
//! absence is counted and judged, and left out of the latencies: nobody was there to see it.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use bytes::Bytes;
use sotto_protocol::wire::{
    Deliver, Envelope, ListUsers, ServerFrame, Signal, UserFilter, client_frame, server_frame,
};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::super::storm::{ATTEMPTS_MAX, DOUBLINGS_MAX, FIRST_WAIT};
use super::files;
use super::plan::{Act, Manner, Planned};
use super::world::{FileInfo, Kind, Sent, Where, World, count, stream_of};
use crate::alarm::Alarm;
use crate::checker::{Checker, Delivery, Tally};
use crate::clock::{micros, now};
use crate::connection::{Connection, answer_of};
use crate::error::BenchError;
use crate::lane::Conversation;
use crate::member::{Member, acknowledgement, resume};
use crate::target::Target;

/// People in one answer of who is there.
const LOOK_MAX: u32 = 50;
/// Bytes of a sealed signal of typing.
const TYPING_BYTES: usize = 160;
/// A goodbye takes at most this.
const GOODBYE: Duration = Duration::from_secs(1);

/// Somebody, ready for the day.
pub(super) struct Person {
    pub(super) number: usize,
    pub(super) member: Arc<Member>,
    pub(super) target: Target,
    pub(super) connection: Option<Connection>,
    pub(super) pair: Conversation,
    pub(super) group: Option<Conversation>,
    /// The streams of others that this one reads.
    pub(super) inbound: Vec<usize>,
    pub(super) plan: VecDeque<Planned>,
    pub(super) payload: Bytes,
    pub(super) seed: u64,
}

/// A person's day as it goes.
pub(super) struct Life {
    person: Person,
    world: Arc<World>,
    pending: Vec<Pending>,
    checkers: HashMap<usize, Checker>,
    /// When it last began to come back, and when that was over.
    came_back: Option<(Instant, Option<Instant>)>,
    uploads: JoinSet<Result<(Instant, FileInfo), BenchError>>,
    fetches: JoinSet<Result<Instant, BenchError>>,
    sending: Sending,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sending {
    Going,
    Done,
}

/// A request without an answer yet.
struct Pending {
    request_id: u64,
    due: Instant,
    what: Asked,
}

#[derive(Clone, Copy)]
enum Asked {
    Message(Where, u64),
    Look,
    Typing,
}

/// What comes after a stretch on one connection.
enum Next {
    /// Nothing: the day is over.
    Home,
    /// Away until then.
    Away(Instant, Manner),
}

impl Life {
    /// Before anything happened.
    pub(super) fn new(person: Person, world: Arc<World>) -> Self {
        let checkers = person
            .inbound
            .iter()
            .map(|&stream| (stream, Checker::default()));
        Self {
            checkers: checkers.collect(),
            person,
            world,
            pending: Vec::new(),
            came_back: None,
            uploads: JoinSet::new(),
            fetches: JoinSet::new(),
            sending: Sending::Going,
        }
    }

    /// Lives the day and judges what came.
    ///
    /// # Errors
    /// When something fails that does not pass.
    pub(super) async fn live(mut self) -> Result<Tally, BenchError> {
        let mut alarm = Alarm::new()?;
        let mut over = self.world.over();
        let mut connection = self.person.connection.take().ok_or(BenchError::Closed)?;
        loop {
            match self.follow(&mut connection, &mut alarm, &mut over).await {
                Ok(Next::Home) => return Ok(self.judge()),
                Ok(Next::Away(until, manner)) => {
                    if manner == Manner::Goodbye {
                        // One that does not get through is a connection that was cut.
                        let _ = timeout(GOODBYE, connection.goodbye()).await;
                    }
                    drop(connection);
                    alarm.until(until).await;
                }
                Err(error) if error.is_passing() => count(&self.world.counts.unplanned),
                Err(error) => return Err(error),
            }
            connection = self.come_back().await?;
        }
    }

    async fn follow(
        &mut self,
        connection: &mut Connection,
        alarm: &mut Alarm,
        over: &mut watch::Receiver<bool>,
    ) -> Result<Next, BenchError> {
        loop {
            let at = now();
            while let Some(planned) = self.due(at) {
                if let Some(next) = self.act(connection, planned)? {
                    return Ok(next);
                }
            }
            self.note_done();
            connection.flush().await?;
            let is_over = *over.borrow();
            if at >= self.world.give_up_at || (is_over && self.is_complete()) {
                return Ok(Next::Home);
            }
            let wake = self
                .person
                .plan
                .front()
                .map(|next| self.world.start + next.due);
            tokio::select! {
                frame = connection.next() => self.take_all(connection, frame?)?,
                () = alarm.until(wake.unwrap_or(self.world.give_up_at)) => {}
                Some(uploaded) = self.uploads.join_next() => {
                    let (due, file) = uploaded??;
                    self.say(connection, Where::Pair, Sent { due, file: Some(file) })?;
                }
                Some(fetched) = self.fetches.join_next() => {
                    self.world.time(Kind::File, now().saturating_duration_since(fetched??));
                    self.world.file_closed();
                }
                // The world holds the sender.
                _ = over.changed() => {}
            }
        }
    }

    fn due(&mut self, at: Instant) -> Option<Planned> {
        let next = self.person.plan.front()?;
        (self.world.start + next.due <= at)
            .then(|| self.person.plan.pop_front())
            .flatten()
    }

    fn act(
        &mut self,
        connection: &mut Connection,
        planned: Planned,
    ) -> Result<Option<Next>, BenchError> {
        let due = self.world.start + planned.due;
        let text = Sent { due, file: None };
        match planned.act {
            Act::PairText => self.say(connection, Where::Pair, text)?,
            Act::GroupText if self.person.group.is_some() => {
                self.say(connection, Where::Group, text)?;
            }
            Act::GroupText => {}
            Act::Typing => {
                let mut payload = vec![0; TYPING_BYTES];
                let when = micros(planned.due).to_be_bytes();
                payload.splice(..when.len(), when);
                let signal = client_frame::Body::Signal(Signal {
                    conversation_id: self.person.pair.id().to_vec(),
                    payload,
                });
                self.ask(connection, signal, (due, Asked::Typing))?;
                count(&self.world.counts.typing);
            }
            Act::Look => {
                let look = client_frame::Body::ListUsers(ListUsers {
                    limit: LOOK_MAX,
                    filter: UserFilter::Online.into(),
                    ..ListUsers::default()
                });
                self.ask(connection, look, (due, Asked::Look))?;
                count(&self.world.counts.looks);
            }
            Act::File(bytes) => {
                let seed = self.person.seed ^ micros(planned.due);
                let (target, member) =
                    (self.person.target.clone(), Arc::clone(&self.person.member));
                self.uploads.spawn(async move {
                    let file = files::send(target, member, (bytes, seed)).await?;
                    Ok((due, file))
                });
            }
            Act::Leave(away, manner) => return Ok(Some(Next::Away(due + away, manner))),
        }
        Ok(None)
    }

    fn ask(
        &mut self,
        connection: &mut Connection,
        body: client_frame::Body,
        (due, what): (Instant, Asked),
    ) -> Result<(), BenchError> {
        let request_id = connection.queue(body)?;
        self.pending.push(Pending {
            request_id,
            due,
            what,
        });
        Ok(())
    }

    fn say(
        &mut self,
        connection: &mut Connection,
        place: Where,
        message: Sent,
    ) -> Result<(), BenchError> {
        let stream = stream_of(self.person.number, place);
        if message.file.is_some() {
            self.world.file_opened();
        }
        let number = self.world.send(stream, message);
        let append = self.append(place, number);
        self.ask(
            connection,
            append,
            (message.due, Asked::Message(place, number)),
        )
    }

    fn append(&self, place: Where, number: u64) -> client_frame::Body {
        let tag = self.world.tag(stream_of(self.person.number, place));
        let conversation = match place {
            Where::Group => self.person.group.as_ref().unwrap_or(&self.person.pair),
            Where::Pair => &self.person.pair,
        };
        conversation.append(tag, number, &self.person.payload)
    }

    fn take_all(
        &mut self,
        connection: &mut Connection,
        first: ServerFrame,
    ) -> Result<(), BenchError> {
        let mut next = Some(first);
        while let Some(frame) = next {
            self.take(connection, frame)?;
            next = connection.take()?;
        }
        Ok(())
    }

    fn take(&mut self, connection: &mut Connection, frame: ServerFrame) -> Result<(), BenchError> {
        let at = now();
        if frame.request_id != 0 {
            return self.answered(frame, at);
        }
        match frame.body {
            Some(server_frame::Body::Deliver(deliver)) => {
                self.delivered(&deliver, at);
                connection.queue(acknowledgement(&deliver))?;
            }
            Some(server_frame::Body::CaughtUp(_)) => {
                if let Some((began, over @ None)) = &mut self.came_back {
                    *over = Some(at);
                    self.world
                        .time(Kind::Return, at.saturating_duration_since(*began));
                }
            }
            Some(server_frame::Body::Signaled(signaled)) => {
                if let Some(when) = signaled.payload.first_chunk::<8>() {
                    let due = self.world.start + Duration::from_micros(u64::from_be_bytes(*when));
                    self.world
                        .time(Kind::Typing, at.saturating_duration_since(due));
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn answered(&mut self, frame: ServerFrame, at: Instant) -> Result<(), BenchError> {
        let place = self
            .pending
            .iter()
            .position(|pending| pending.request_id == frame.request_id);
        let Some(place) = place else {
            // Of a resume.
            return answer_of("resume", frame).map(drop);
        };
        let pending = self.pending.swap_remove(place);
        let waited = at.saturating_duration_since(pending.due);
        match pending.what {
            Asked::Message(place, _) => {
                answer_of("append", frame)?;
                let stream = stream_of(self.person.number, place);
                self.world.acknowledge(stream);
                self.world.time(Kind::Acknowledged, waited);
            }
            Asked::Look => {
                answer_of("who is there", frame)?;
                self.world.time(Kind::Look, waited);
            }
            // Nobody is told when too much of it is dropped.
            Asked::Typing => {}
        }
        Ok(())
    }

    fn delivered(&mut self, deliver: &Deliver, at: Instant) {
        for envelope in &deliver.envelopes {
            self.took(envelope, at);
        }
    }

    fn took(&mut self, envelope: &Envelope, at: Instant) {
        let Some((stream, number)) = self.world.read_id(&envelope.client_id) else {
            return;
        };
        let Some(checker) = self.checkers.get_mut(&stream) else {
            return;
        };
        if checker.deliver(number, envelope.seq) == Delivery::Again {
            return;
        }
        let Some(sent) = self.world.sent(stream, number) else {
            return;
        };
        if let Some(file) = sent.file {
            let (target, member) = (self.person.target.clone(), Arc::clone(&self.person.member));
            self.fetches.spawn(async move {
                files::fetch(target, member, file).await?;
                Ok(sent.due)
            });
            count(&self.world.counts.files);
            let bytes = u64::from(file.bytes);
            self.world
                .counts
                .file_bytes
                .fetch_add(bytes, Ordering::Relaxed);
            return;
        }
        let was_away = self.came_back.is_some_and(|(began, _)| sent.due < began);
        if was_away {
            count(&self.world.counts.backlog);
        } else {
            let kind = if stream % 2 == 0 {
                Kind::Pair
            } else {
                Kind::Group
            };
            self.world
                .time(kind, at.saturating_duration_since(sent.due));
        }
    }

    /// Connects again, asks for deliveries and sends again what was not acknowledged.
    async fn come_back(&mut self) -> Result<Connection, BenchError> {
        self.came_back = Some((now(), None));
        count(&self.world.counts.returns);
        let mut attempt = 0;
        let mut connection = loop {
            count(&self.world.counts.attempts);
            match self.person.member.login_once(&self.person.target).await {
                Ok(connection) => break connection,
                Err(error) if error.is_passing() && attempt < ATTEMPTS_MAX => {
                    let ceiling = FIRST_WAIT * 2_u32.pow(attempt.min(DOUBLINGS_MAX));
                    sleep(ceiling.mul_f64(rand::random())).await;
                    attempt += 1;
                }
                Err(error) => return Err(error),
            }
        };
        connection.queue(resume())?;
        let mut again = std::mem::take(&mut self.pending);
        // Appends go out in the order in which they went out before.
        again.sort_by_key(|pending| pending.request_id);
        for pending in again {
            if let Asked::Message(place, number) = pending.what {
                let append = self.append(place, number);
                self.ask(&mut connection, append, (pending.due, pending.what))?;
            }
        }
        Ok(connection)
    }

    fn is_waiting(&self) -> bool {
        let mut pending = self.pending.iter();
        pending.any(|pending| matches!(pending.what, Asked::Message(..)))
    }

    fn note_done(&mut self) {
        let is_done = self.person.plan.is_empty() && self.uploads.is_empty() && !self.is_waiting();
        if is_done && self.sending == Sending::Going {
            self.sending = Sending::Done;
            self.world.sender_done();
        }
    }

    /// Whether everything that was said has come, and every file with it.
    fn is_complete(&self) -> bool {
        let mut checkers = self.checkers.iter();
        self.fetches.is_empty()
            && checkers.all(|(stream, checker)| checker.delivered() >= self.world.totals(*stream).0)
    }

    fn judge(mut self) -> Tally {
        let mut tally = Tally::default();
        for (stream, checker) in &mut self.checkers {
            let (sent, acknowledged) = self.world.totals(*stream);
            checker.close(sent, acknowledged);
            tally.add(checker.tally());
        }
        tally
    }
}
