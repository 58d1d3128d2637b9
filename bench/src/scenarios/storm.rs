//! Everybody who was on one server comes back after it was killed.
//!
//! Each client sends one message just before the kill and one after it; whoever lost the
//! connection waits a random moment, logs in by the device's signature, sends what was not
//! acknowledged again under the same id, and follows its logs. A client is back when it is caught
//! up and holds both messages of its peer. Each message must be in the log once.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use sotto_protocol::wire::{ServerFrame, server_frame};
use tokio::sync::{Barrier, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::Context;
use crate::checker::{Checker, Tally, number_of};
use crate::clock::now;
use crate::connection::{Connection, answer_of};
use crate::cpu::CpuMeter;
use crate::deployment::Deployment;
use crate::error::BenchError;
use crate::lane::{self, Conversation};
use crate::latency::Latencies;
use crate::member::{Member, acknowledgement, resume};
use crate::report::{Report, Run};
use crate::target::Target;

/// Everybody is back within this.
const RETURN_LIMIT: Duration = Duration::from_secs(90);
/// The ceiling of the first wait before connecting again; it doubles with each attempt, as in
/// Sotto's own client.
pub(super) const FIRST_WAIT: Duration = Duration::from_millis(100);
/// Doublings of it.
pub(super) const DOUBLINGS_MAX: u32 = 6;
/// Attempts to come back.
pub(super) const ATTEMPTS_MAX: u32 = 60;
/// Messages of each client: one before the kill, one after.
const MESSAGES: u64 = 2;

/// One client of the storm.
struct Client {
    target: Target,
    member: Member,
    connection: Option<Connection>,
    conversation: Conversation,
    payload: Bytes,
    tag: u64,
    peer_tag: u64,
    /// Own messages handed out so far.
    sent: u64,
    /// Own messages that are not acknowledged, with the request that carries them now.
    pending: VecDeque<(u64, u64)>,
    /// What comes from the peer. The peer's acknowledgements are its own to count, so this one
    /// counts own ones: over both, every message is counted once.
    checker: Checker,
    story: Story,
}

/// What a client went through.
#[derive(Default)]
struct Story {
    tally: Tally,
    /// When its connection was lost, if it was.
    lost_at: Option<Instant>,
    /// When it was logged in again.
    logged_in_at: Option<Instant>,
    /// When it was caught up again.
    caught_up_at: Option<Instant>,
    /// When it held all messages of its peer.
    complete_at: Option<Instant>,
    attempts: u32,
    /// Held until all are back, so that nobody's leaving makes room for others.
    _connection: Option<Connection>,
}

/// Kills one server and waits until all are back.
pub(crate) async fn run(context: &Context<'_>, report: &mut Report) -> Result<(), BenchError> {
    let pairs = (context.args.clients() / 2).max(1);
    let clients = clients(context, pairs).await?;
    let count = clients.len();
    let victim = context.deployment.busiest_server()?;
    let checks_before = context.deployment.password_checks(Some(&victim));
    let (killed, watching) = watch::channel(false);
    let ready = Arc::new(Barrier::new(count + 1));
    let mut tasks = JoinSet::new();
    for client in clients {
        let (watching, ready) = (watching.clone(), Arc::clone(&ready));
        tasks.spawn(client.live(watching, ready));
    }
    ready.wait().await;
    let meter = CpuMeter::start(context.deployment);
    let killed_at = now();
    Deployment::kill(&victim)?;
    // Nobody left to tell is nobody to wait for.
    let _ = killed.send(true);
    let mut stories = Vec::with_capacity(count);
    let collecting = async {
        while let Some(one) = tasks.join_next().await {
            stories.push(one??);
        }
        Ok::<_, BenchError>(())
    };
    timeout(RETURN_LIMIT, collecting)
        .await
        .map_err(|_| BenchError::TimedOut("everybody back after the kill"))??;
    let mut run = summary(&stories, killed_at);
    meter.finish(&mut run, 0);
    // The killed server's count died with it; the one that took its place begins at zero.
    if let (Some(before), Some(after)) = (checks_before, context.deployment.password_checks(None)) {
        run.figures
            .insert("bcrypt checks in the storm", after - before);
        if after > before {
            report.failures.push("reconnecting ran bcrypt".to_owned());
        }
    }
    report.runs.push(run);
    Ok(())
}

async fn clients(context: &Context<'_>, pairs: u32) -> Result<Vec<Client>, BenchError> {
    let target = context.deployment.target();
    let payload = context.payload()?;
    let mut clients = Vec::new();
    for lane in lane::set_up(target, pairs).await? {
        let tags: [u64; 2] = rand::random();
        let [mine, other] = tags;
        let halves = [
            (lane.sender, lane.sending, mine, other),
            (lane.receiver, lane.receiving, other, mine),
        ];
        for (member, connection, tag, peer_tag) in halves {
            let mut checker = Checker::default();
            for _ in 0..MESSAGES {
                checker.send();
            }
            clients.push(Client {
                target: target.clone(),
                member,
                connection: Some(connection),
                conversation: lane.conversation,
                payload: payload.clone(),
                tag,
                peer_tag,
                sent: 0,
                pending: VecDeque::new(),
                checker,
                story: Story::default(),
            });
        }
    }
    Ok(clients)
}

impl Client {
    async fn live(
        mut self,
        mut killed: watch::Receiver<bool>,
        ready: Arc<Barrier>,
    ) -> Result<Story, BenchError> {
        ready.wait().await;
        let mut connection = self.connection.take().ok_or(BenchError::Closed)?;
        loop {
            let error = match self.follow(&mut connection, &mut killed).await {
                Ok(()) => {
                    self.story.tally = self.checker.tally();
                    self.story._connection = Some(connection);
                    return Ok(self.story);
                }
                Err(error) if error.is_passing() => error,
                Err(error) => return Err(error),
            };
            self.story.lost_at.get_or_insert_with(now);
            connection = self.come_back(error).await?;
        }
    }

    /// Sends what is due and takes what comes until nothing is missing.
    async fn follow(
        &mut self,
        connection: &mut Connection,
        killed: &mut watch::Receiver<bool>,
    ) -> Result<(), BenchError> {
        loop {
            let due = if *killed.borrow() { MESSAGES } else { 1 };
            while self.sent < due {
                self.sent += 1;
                self.queue(connection, self.sent - 1)?;
            }
            if self.is_complete() {
                self.story.complete_at = Some(now());
                return Ok(());
            }
            connection.flush().await?;
            tokio::select! {
                frame = connection.next() => self.take(connection, frame?)?,
                changed = killed.changed(), if due < MESSAGES => {
                    changed.map_err(|_| BenchError::TimedOut("the kill"))?;
                }
            }
        }
    }

    fn queue(&mut self, connection: &mut Connection, number: u64) -> Result<(), BenchError> {
        let append = self.conversation.append(self.tag, number, &self.payload);
        let request_id = connection.queue(append)?;
        self.pending.push_back((request_id, number));
        Ok(())
    }

    fn is_complete(&self) -> bool {
        let is_back = self.story.lost_at.is_none() || self.story.caught_up_at.is_some();
        is_back && self.sent == MESSAGES && self.pending.is_empty() && self.checker.in_flight() == 0
    }

    fn take(&mut self, connection: &mut Connection, frame: ServerFrame) -> Result<(), BenchError> {
        let request_id = frame.request_id;
        if request_id != 0 {
            answer_of("append or resume", frame)?;
            let waiting = self.pending.len();
            self.pending.retain(|(request, _)| *request != request_id);
            if self.pending.len() < waiting {
                self.checker.acknowledge();
            }
            return Ok(());
        }
        match frame.body {
            Some(server_frame::Body::Deliver(deliver)) => {
                for envelope in &deliver.envelopes {
                    if let Some(number) = number_of(self.peer_tag, &envelope.client_id) {
                        self.checker.deliver(number, envelope.seq);
                    }
                }
                connection.queue(acknowledgement(&deliver))?;
            }
            Some(server_frame::Body::CaughtUp(_)) => {
                self.story.caught_up_at.get_or_insert_with(now);
            }
            _ => {}
        }
        Ok(())
    }

    /// Connects again, asks for deliveries and sends again what was not acknowledged.
    async fn come_back(&mut self, mut error: BenchError) -> Result<Connection, BenchError> {
        for attempt in 0..ATTEMPTS_MAX {
            let ceiling = FIRST_WAIT * 2_u32.pow(attempt.min(DOUBLINGS_MAX));
            sleep(ceiling.mul_f64(rand::random())).await;
            self.story.attempts += 1;
            match self.member.login_once(&self.target).await {
                Ok(mut connection) => {
                    self.story.logged_in_at = Some(now());
                    self.story.caught_up_at = None;
                    connection.queue(resume())?;
                    let again: Vec<u64> =
                        self.pending.drain(..).map(|(_, number)| number).collect();
                    for number in again {
                        self.queue(&mut connection, number)?;
                    }
                    return Ok(connection);
                }
                Err(passing) if passing.is_passing() => error = passing,
                Err(other) => return Err(other),
            }
        }
        Err(error)
    }
}

fn summary(stories: &[Story], killed_at: Instant) -> Run {
    let mut run = Run {
        name: "clients back a second after a kill -9".to_owned(),
        clients: u32::try_from(stories.len()).unwrap_or(u32::MAX),
        ..Run::default()
    };
    let mut tally = Tally::default();
    let (mut login, mut back, mut untouched) =
        (Latencies::new(), Latencies::new(), Latencies::new());
    let (mut hit, mut attempts, mut last) = (0_u32, 0_u32, killed_at);
    for story in stories {
        tally.add(story.tally);
        let complete_at = story.complete_at.unwrap_or(killed_at);
        if story.lost_at.is_some() {
            hit += 1;
            attempts += story.attempts;
            last = last.max(complete_at);
            back.record(complete_at.saturating_duration_since(killed_at));
            let logged_in_at = story.logged_in_at.unwrap_or(killed_at);
            login.record(logged_in_at.saturating_duration_since(killed_at));
        } else {
            untouched.record(complete_at.saturating_duration_since(killed_at));
        }
    }
    run.seconds = last.saturating_duration_since(killed_at).as_secs_f64();
    run.per_s = f64::from(hit) / run.seconds.max(1e-9);
    run.messages = Some(tally);
    run.latency.insert("kill to logged in", login.percentiles());
    run.latency
        .insert("kill to back and receiving", back.percentiles());
    run.latency.insert(
        "kill to complete, untouched clients",
        untouched.percentiles(),
    );
    run.figures
        .insert("clients that lost their server", f64::from(hit));
    run.figures.insert(
        "login attempts each",
        f64::from(attempts) / f64::from(hit.max(1)),
    );
    run
}
