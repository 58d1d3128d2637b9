//! A lane: two connected members with a conversation, and messages that flow from one to the other.
//!
//! One task drives both ends, so a message counts as delivered when the receiver's frame was read,
//! and only then is the next one let out. Every wait has a deadline.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use sotto_protocol::ConversationId;
use sotto_protocol::wire::{Acknowledge, Append, Cursor, ServerFrame, client_frame, server_frame};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

use crate::alarm::Alarm;
use crate::checker::{Checker, Delivery, Tally, client_id, number_of};
use crate::clock::now;
use crate::connection::{Connection, answer_of};
use crate::error::BenchError;
use crate::latency::Latencies;
use crate::member::{Member, acknowledgement, catch_up};
use crate::pace::{Pace, Schedule};
use crate::pair;
use crate::target::Target;

/// Own messages after which the sender tells the server that it has passed them.
const OWN_STEP: u64 = 64;
/// Set-ups under way at the same time.
const SETUP_MAX: usize = 24;

/// What an append needs of a conversation.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Conversation {
    id: ConversationId,
    epoch: u64,
}

impl Conversation {
    /// A conversation that was made and has this epoch.
    pub(crate) const fn at(id: ConversationId, epoch: u64) -> Self {
        Self { id, epoch }
    }

    /// Its id.
    pub(crate) const fn id(&self) -> ConversationId {
        self.id
    }

    /// An append of message `number`.
    pub(crate) fn append(&self, tag: u64, number: u64, payload: &Bytes) -> client_frame::Body {
        client_frame::Body::Append(Append {
            conversation_id: self.id.to_vec(),
            generation: 0,
            epoch: self.epoch,
            client_id: client_id(tag, number).to_vec(),
            payload: payload.clone(),
        })
    }

    /// Acknowledges the log up to `seq`, as a client does for its own messages.
    pub(crate) fn own_cursor(&self, seq: u64) -> client_frame::Body {
        client_frame::Body::Acknowledge(Acknowledge {
            cursors: vec![Cursor {
                conversation_id: self.id.to_vec(),
                seq,
            }],
        })
    }
}

/// Sender, receiver and their conversation.
pub(crate) struct Lane {
    pub(crate) sender: Member,
    pub(crate) sending: Connection,
    pub(crate) receiver: Member,
    pub(crate) receiving: Connection,
    pub(crate) conversation: Conversation,
}

/// One run over a lane.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    /// Deliveries from here on are measured.
    pub(crate) measure_from: Instant,
    /// No message is sent later.
    pub(crate) stop_at: Instant,
    /// What has not arrived by then is lost.
    pub(crate) give_up_at: Instant,
    /// Messages on their way at the same time.
    pub(crate) in_flight: u64,
    /// A fixed rhythm instead of as fast as possible.
    pub(crate) pace: Option<Pace>,
    /// What is sent; a sealed message as far as a server can tell.
    pub(crate) payload: Bytes,
}

impl Plan {
    /// As fast as possible from `start` on: so long to warm up, so long to measure, and so long to
    /// wait for what is on its way then.
    pub(crate) fn from(
        start: Instant,
        [warm_up, length, patience]: [Duration; 3],
        (in_flight, payload): (u64, Bytes),
    ) -> Self {
        let measure_from = start + warm_up;
        let stop_at = measure_from + length;
        Self {
            measure_from,
            stop_at,
            give_up_at: stop_at + patience,
            in_flight,
            pace: None,
            payload,
        }
    }
}

/// What a run over a lane found.
pub(crate) struct Outcome {
    pub(crate) tally: Tally,
    /// Deliveries between the start of measuring and the stop; of a fixed rhythm those that were
    /// due then, whenever they came.
    pub(crate) measured: u64,
    /// From sending, or from when it was due, to the receiver's reading.
    pub(crate) delivery: Latencies,
    /// The same to the sender's reading of the acknowledgement.
    pub(crate) acknowledgement: Latencies,
    pub(crate) failure: Option<BenchError>,
}

impl Outcome {
    fn new() -> Self {
        Self {
            tally: Tally::default(),
            measured: 0,
            delivery: Latencies::new(),
            acknowledgement: Latencies::new(),
            failure: None,
        }
    }

    /// All lanes of a run together.
    pub(crate) fn sum(all: Vec<Self>) -> Self {
        let mut sum = Self::new();
        for one in all {
            sum.tally.add(one.tally);
            sum.measured += one.measured;
            sum.delivery.merge(&one.delivery);
            sum.acknowledgement.merge(&one.acknowledgement);
            sum.failure = sum.failure.or(one.failure);
        }
        sum
    }
}

impl Lane {
    /// Registers both, makes their conversation and follows it on both sides.
    async fn set_up(target: Target, number: u32) -> Result<Self, BenchError> {
        let (sender, mut sending) = Member::register(&target, 2 * number).await?;
        let (receiver, mut receiving) = Member::register(&target, 2 * number + 1).await?;
        let create = pair::create(sender.device(), receiver.device())?;
        let id = ConversationId::from_slice(&create.conversation_id)
            .map_err(BenchError::crypto("reading a conversation id"))?;
        let create = client_frame::Body::CreateConversation(create);
        let server_frame::Body::Appended(made) = sending.call("create", create).await? else {
            return Err(BenchError::Protocol("another answer to create"));
        };
        catch_up(&mut sending, |_| {}).await?;
        catch_up(&mut receiving, |_| {}).await?;
        Ok(Self {
            sender,
            sending,
            receiver,
            receiving,
            conversation: Conversation {
                id,
                epoch: made.epoch,
            },
        })
    }

    async fn follow(&mut self, run: &mut Progress<'_>) -> Result<(), BenchError> {
        let mut alarm = Alarm::new()?;
        loop {
            let at = now();
            if run.is_over(at) {
                return Ok(());
            }
            self.fill(run, at)?;
            self.sending.flush().await?;
            tokio::select! {
                frame = self.sending.next() => run.on_sender(frame?)?,
                frame = self.receiving.next() => {
                    let frame = frame?;
                    self.receive(run, frame)?;
                }
                () = alarm.until(run.wake(at)) => {}
            }
            while let Some(frame) = self.sending.take()? {
                run.on_sender(frame)?;
            }
            while let Some(frame) = self.receiving.take()? {
                self.receive(run, frame)?;
            }
            if run.own_seq >= run.own_seq_told + OWN_STEP {
                run.own_seq_told = run.own_seq;
                let cursor = self.conversation.own_cursor(run.own_seq);
                self.sending.queue(cursor)?;
            }
            self.receiving.flush().await?;
        }
    }

    fn fill(&mut self, run: &mut Progress<'_>, at: Instant) -> Result<(), BenchError> {
        while run.may_send(at) {
            let number = run.send(at);
            let append = self.conversation.append(run.tag, number, &run.plan.payload);
            let request_id = self.sending.queue(append)?;
            run.first_request.get_or_insert(request_id);
        }
        Ok(())
    }

    fn receive(&mut self, run: &mut Progress<'_>, frame: ServerFrame) -> Result<(), BenchError> {
        let Some(server_frame::Body::Deliver(deliver)) = frame.body else {
            return Ok(());
        };
        let at = now();
        for envelope in &deliver.envelopes {
            if let Some(number) = number_of(run.tag, &envelope.client_id) {
                run.on_delivery(number, envelope.seq, at);
            }
        }
        self.receiving.queue(acknowledgement(&deliver))?;
        Ok(())
    }
}

/// What messages can be sent over, in whatever protocol.
pub(crate) trait Driven: Send + 'static {
    /// Sends by the plan until its end and checks what arrives.
    fn drive(&mut self, plan: &Plan) -> impl Future<Output = Outcome> + Send;
}

impl Driven for Lane {
    async fn drive(&mut self, plan: &Plan) -> Outcome {
        let mut run = Progress::new(plan);
        let failure = self.follow(&mut run).await.err();
        run.finish(failure)
    }
}

/// The state of one run over one lane.
pub(crate) struct Progress<'a> {
    plan: &'a Plan,
    tag: u64,
    checker: Checker,
    schedule: Option<Schedule>,
    /// When each message was sent or due, from number `forgotten` on.
    sent_at: VecDeque<Instant>,
    forgotten: u64,
    acknowledged_to: u64,
    own_seq: u64,
    own_seq_told: u64,
    first_request: Option<u64>,
    arrived: u64,
    outcome: Outcome,
}

impl<'a> Progress<'a> {
    /// Nothing sent yet.
    pub(crate) fn new(plan: &'a Plan) -> Self {
        Self {
            plan,
            schedule: plan.pace.map(Schedule::new),
            tag: rand::random(),
            checker: Checker::default(),
            sent_at: VecDeque::new(),
            forgotten: 0,
            acknowledged_to: 0,
            own_seq: 0,
            own_seq_told: 0,
            first_request: None,
            arrived: 0,
            outcome: Outcome::new(),
        }
    }

    /// What the ids of this run's messages carry.
    pub(crate) fn tag(&self) -> u64 {
        self.tag
    }

    /// Whether there is nothing more to do or to wait for.
    pub(crate) fn is_over(&self, at: Instant) -> bool {
        let is_stopped = at >= self.plan.stop_at;
        at >= self.plan.give_up_at || (is_stopped && self.checker.is_settled())
    }

    /// The number of the next message, which is sent now; its time runs from when it was due.
    pub(crate) fn send(&mut self, at: Instant) -> u64 {
        let from = self.schedule.as_mut().map_or(at, Schedule::advance);
        self.sent_at.push_back(from);
        self.checker.send()
    }

    /// The run as a whole.
    pub(crate) fn finish(self, failure: Option<BenchError>) -> Outcome {
        Outcome {
            tally: self.checker.tally(),
            failure,
            ..self.outcome
        }
    }

    /// Whether the plan lets a message out.
    pub(crate) fn may_send(&self, at: Instant) -> bool {
        if at >= self.plan.stop_at {
            return false;
        }
        match &self.schedule {
            // At a fixed rhythm a late answer holds no message back.
            Some(schedule) => at >= schedule.due() && schedule.due() < self.plan.stop_at,
            None => self.checker.in_flight() < self.plan.in_flight,
        }
    }

    /// When to look again though nothing arrived.
    pub(crate) fn wake(&self, at: Instant) -> Instant {
        if at >= self.plan.stop_at {
            return self.plan.give_up_at;
        }
        match &self.schedule {
            Some(schedule) => schedule.due().min(self.plan.stop_at),
            None => self.plan.stop_at,
        }
    }

    fn on_sender(&mut self, frame: ServerFrame) -> Result<(), BenchError> {
        let request_id = frame.request_id;
        if request_id == 0 {
            return Ok(());
        }
        let server_frame::Body::Appended(appended) = answer_of("append", frame)? else {
            return Err(BenchError::Protocol("another answer to append"));
        };
        self.checker.acknowledge();
        self.own_seq = self.own_seq.max(appended.seq);
        let number = request_id - self.first_request.unwrap_or(request_id);
        self.acknowledged_to = self.acknowledged_to.max(number + 1);
        let at = now();
        if let Some(sent_at) = self.sent_at_of(number)
            && self.is_measured(sent_at, at)
        {
            let latency = at.saturating_duration_since(sent_at);
            self.outcome.acknowledgement.record(latency);
        }
        self.forget();
        Ok(())
    }

    /// A delivery where neither senders are told anything nor entries have numbers: it settles the
    /// message, and one that comes again is a duplicate.
    pub(crate) fn on_only_delivery(&mut self, number: u64, at: Instant) {
        self.arrived += 1;
        self.checker.acknowledge();
        self.acknowledged_to = self.acknowledged_to.max(number + 1);
        self.on_delivery(number, self.arrived, at);
    }

    fn on_delivery(&mut self, number: u64, seq: u64, at: Instant) {
        if self.checker.deliver(number, seq) == Delivery::Again {
            return;
        }
        if let Some(sent_at) = self.sent_at_of(number)
            && self.is_measured(sent_at, at)
        {
            self.outcome.measured += 1;
            let latency = at.saturating_duration_since(sent_at);
            self.outcome.delivery.record(latency);
        }
        self.forget();
    }

    /// Of a fixed rhythm everything counts that was due in the stretch, and most of all what comes
    /// late; of a run as fast as it goes, what arrived in it.
    fn is_measured(&self, from: Instant, at: Instant) -> bool {
        let counts = if self.schedule.is_some() { from } else { at };
        counts >= self.plan.measure_from && counts < self.plan.stop_at
    }

    fn sent_at_of(&self, number: u64) -> Option<Instant> {
        let place = number.checked_sub(self.forgotten)?;
        self.sent_at.get(usize::try_from(place).ok()?).copied()
    }

    /// Drops the times of messages that are both acknowledged and delivered.
    fn forget(&mut self) {
        let delivered = self.checker.tally().sent - self.checker.in_flight();
        let done = delivered.min(self.acknowledged_to);
        while self.forgotten < done && self.sent_at.pop_front().is_some() {
            self.forgotten += 1;
        }
    }
}

/// Sets up so many lanes, several at a time.
///
/// # Errors
/// When one cannot be set up.
pub(crate) async fn set_up(target: &Target, count: u32) -> Result<Vec<Lane>, BenchError> {
    let gate = Arc::new(Semaphore::new(SETUP_MAX));
    let left = Arc::new(AtomicU32::new(count));
    let (all_ready, watching) = watch::channel(false);
    let all_ready = Arc::new(all_ready);
    let mut tasks = JoinSet::new();
    for number in 0..count {
        let (gate, target) = (Arc::clone(&gate), target.clone());
        let (left, all_ready) = (Arc::clone(&left), Arc::clone(&all_ready));
        let mut watching = watching.clone();
        tasks.spawn(async move {
            let turn = gate.acquire_owned().await;
            let mut lane = Lane::set_up(target, number).await?;
            drop(turn);
            if left.fetch_sub(1, Ordering::AcqRel) == 1 {
                all_ready.send_replace(true);
            }
            let mut also_watching = watching.clone();
            tokio::try_join!(
                lane.sending.hold(&mut watching),
                lane.receiving.hold(&mut also_watching)
            )?;
            Ok::<_, BenchError>(lane)
        });
    }
    let mut lanes = Vec::with_capacity(count as usize);
    while let Some(lane) = tasks.join_next().await {
        lanes.push(lane??);
    }
    Ok(lanes)
}

#[cfg(test)]
mod tests {

    use super::*;
    use crate::pace::Arrivals;

    /// A receiver that stands still for a second: every message that was due meanwhile is late by
    /// what is left of that second, not only the first.
    #[test]
    fn what_was_due_while_all_stood_still_counts_from_its_own_time() {
        let start = now();
        let plan = Plan {
            measure_from: start,
            stop_at: start + Duration::from_secs(2),
            give_up_at: start + Duration::from_secs(3),
            in_flight: 1,
            pace: Some(Pace::shared((start, 10), (0, 1), (Arrivals::Constant, 0))),
            payload: Bytes::new(),
        };
        let mut run = Progress::new(&plan);
        let stall_ends = start + Duration::from_secs(1);
        while run.may_send(stall_ends) {
            run.send(stall_ends);
        }
        // Due at 0, 100, … 1,000 ms.
        for number in 0..11 {
            run.on_only_delivery(number, stall_ends);
        }
        let outcome = run.finish(None);
        assert_eq!((outcome.tally.sent, outcome.measured), (11, 11));
        let found = outcome.delivery.percentiles();
        assert!((499_000..=501_000).contains(&found.p50_us), "{found:?}");
        assert!((999_000..=1_001_000).contains(&found.max_us), "{found:?}");
    }

    #[test]
    fn what_comes_after_the_stop_still_counts_where_it_was_due_before() {
        let start = now();
        let stop_at = start + Duration::from_millis(100);
        let plan = Plan {
            measure_from: start,
            stop_at,
            give_up_at: start + Duration::from_secs(3),
            in_flight: 1,
            pace: Some(Pace::shared((start, 10), (0, 1), (Arrivals::Constant, 0))),
            payload: Bytes::new(),
        };
        let mut run = Progress::new(&plan);
        run.send(start);
        assert!(!run.may_send(stop_at), "the next one is due at the stop");
        run.on_only_delivery(0, start + Duration::from_millis(900));
        assert!(run.finish(None).delivery.percentiles().max_us >= 900_000);
    }
}
