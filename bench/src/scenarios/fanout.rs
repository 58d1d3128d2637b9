//! One writes, everybody in a large group reads: deliveries a second, and the
//! time from sending to the last reader's.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use sotto_protocol::wire::server_frame;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::sleep_until;

use super::Context;
use crate::alarm::Alarm;
use crate::checker::{Tally, number_of};
use crate::clock::now;
use crate::connection::{Connection, answer_of};
use crate::cpu::CpuMeter;
use crate::crowd;
use crate::error::BenchError;
use crate::lane::Conversation;
use crate::latency::Latencies;
use crate::member::{Member, acknowledgement, catch_up};
use crate::pace::{self, Schedule};
use crate::report::{Report, Run};
use crate::target::Target;

/// Registrations under way at the same time.
pub(super) const SETUP_MAX: usize = 24;
/// What has not arrived so long after the last send is lost.
const PATIENCE: Duration = Duration::from_secs(30);
/// The rate of the run for latency, in messages a second.
const CALM_PER_S: u32 = 5;
/// Messages of one run.
const MESSAGES_MAX: usize = 100_000;

/// How a run's messages are sent.
#[derive(Debug, Clone, Copy)]
enum Pace {
    /// So many on their way at the same time.
    InFlight(u64),
    /// When they are due.
    Rhythm(pace::Pace),
}

/// What was asked for.
#[derive(Debug, Clone, Copy)]
enum Wanted {
    /// So many on their way at the same time.
    InFlight(u64),
    /// So many a second.
    PerSecond(u32),
}

/// Runs with one and eight in flight and one at five messages a second; or what was asked.
pub(crate) async fn run(context: &Context<'_>, report: &mut Report) -> Result<(), BenchError> {
    let target = context.deployment.target().clone();
    let started = now();
    let mut readers = register(&target, context.args.clients()).await?;
    let Some((creator, mut sending)) = readers.pop() else {
        return Ok(());
    };
    let others: Vec<_> = readers.iter().map(|(member, _)| member.device()).collect();
    let registered = now();
    let conversation = crowd::make(creator.device(), &mut sending, &others).await?;
    report.notes.push(format!(
        "{} accounts registered in {:.1} s; their group made in {:.1} s",
        others.len() + 1,
        (registered - started).as_secs_f64(),
        (now() - registered).as_secs_f64(),
    ));
    let mut reading = Vec::new();
    for (_, mut connection) in readers {
        catch_up(&mut connection, |_| {}).await?;
        reading.push(connection);
    }
    catch_up(&mut sending, |_| {}).await?;
    let mut wanted: Vec<_> = match context.args.rate {
        Some(rate) => vec![Wanted::PerSecond(rate.max(1))],
        None => context
            .args
            .in_flight_or(&[1, 8])
            .into_iter()
            .map(Wanted::InFlight)
            .collect(),
    };
    if context.args.rate.is_none() && context.args.in_flight.is_empty() {
        wanted.push(Wanted::PerSecond(CALM_PER_S));
    }
    let payload = context.payload()?;
    for wanted in wanted {
        let start = now();
        let sender = Sender {
            conversation,
            tag: rand::random(),
            payload: payload.clone(),
            stop_at: start + context.args.length(),
        };
        let pace = match wanted {
            Wanted::InFlight(many) => Pace::InFlight(many),
            Wanted::PerSecond(rate) => Pace::Rhythm(pace::Pace::shared(
                (start, rate),
                (0, 1),
                (context.args.arrivals, context.args.seed),
            )),
        };
        let run;
        (sending, reading, run) =
            measure(context, sender, (pace, wanted), (sending, reading)).await?;
        report.runs.push(run);
    }
    Ok(())
}

/// Registers so many accounts, several at a time.
///
/// # Errors
/// When the deployment does not take one.
pub(super) async fn register(
    target: &Target,
    count: u32,
) -> Result<Vec<(Member, Connection)>, BenchError> {
    let gate = Arc::new(Semaphore::new(SETUP_MAX));
    let mut tasks = JoinSet::new();
    for number in 0..count {
        let (gate, target) = (Arc::clone(&gate), target.clone());
        tasks.spawn(async move {
            let _permit = gate.acquire().await;
            Member::register(&target, number).await
        });
    }
    let mut all = Vec::new();
    while let Some(one) = tasks.join_next().await {
        all.push(one??);
    }
    Ok(all)
}

/// What one run sends.
#[derive(Clone)]
struct Sender {
    conversation: Conversation,
    tag: u64,
    payload: Bytes,
    stop_at: Instant,
}

type Sides = (Connection, Vec<Connection>);

async fn measure(
    context: &Context<'_>,
    sender: Sender,
    (pace, wanted): (Pace, Wanted),
    (mut sending, reading): Sides,
) -> Result<(Connection, Vec<Connection>, Run), BenchError> {
    let readers = reading.len();
    let give_up_at = sender.stop_at + PATIENCE;
    let (sent, count) = watch::channel(None);
    let meter = CpuMeter::start(context.deployment);
    let started = now();
    let mut tasks = JoinSet::new();
    for connection in reading {
        let (tag, count) = (sender.tag, count.clone());
        tasks.spawn(read(connection, tag, count, give_up_at));
    }
    let times = send(&mut sending, &sender, pace).await?;
    // Whoever is gone already reads nothing more.
    let _ = sent.send(Some(times.sent.len()));
    let mut last = times.sent.clone();
    // Each message counts once for each reader.
    let mut tally = Tally {
        sent: (times.sent.len() * readers) as u64,
        acknowledged: times.acknowledged * readers as u64,
        ..Tally::default()
    };
    let mut connections = Vec::new();
    let mut ended = started;
    while let Some(done) = tasks.join_next().await {
        let (connection, arrivals, reordered) = done??;
        tally.delivered += arrivals.len() as u64;
        tally.lost += times.sent.len().saturating_sub(arrivals.len()) as u64;
        tally.reordered += reordered;
        for (latest, at) in last.iter_mut().zip(arrivals) {
            *latest = (*latest).max(at);
            ended = ended.max(at);
        }
        connections.push(connection);
    }
    let mut run = Run {
        name: match wanted {
            Wanted::InFlight(many) => format!("deliveries to {readers}, {many} in flight"),
            Wanted::PerSecond(rate) => {
                format!("deliveries to {readers}, {rate} messages a second")
            }
        },
        clients: u32::try_from(readers + 1).unwrap_or(u32::MAX),
        seconds: (ended - started).as_secs_f64(),
        ..Run::default()
    };
    meter.finish(&mut run, tally.delivered);
    run.per_s = tally.delivered as f64 / run.seconds.max(1e-9);
    let mut latencies = Latencies::new();
    for (latest, sent) in last.iter().zip(&times.sent) {
        latencies.record(latest.saturating_duration_since(*sent));
    }
    run.messages = Some(tally);
    run.latency.insert("last reader", latencies.percentiles());
    Ok((sending, connections, run))
}

/// When messages were sent, or due where they have a rhythm, by number.
struct Times {
    sent: Vec<Instant>,
    acknowledged: u64,
}

async fn send(
    connection: &mut Connection,
    sender: &Sender,
    pace: Pace,
) -> Result<Times, BenchError> {
    let mut times = Times {
        sent: Vec::new(),
        acknowledged: 0,
    };
    let mut alarm = Alarm::new()?;
    let mut rhythm = match pace {
        Pace::InFlight(_) => None,
        Pace::Rhythm(pace) => Some(Schedule::new(pace)),
    };
    let give_up_at = sender.stop_at + PATIENCE;
    loop {
        let at = now();
        while times.may_send(at, (pace, rhythm.as_ref()), sender.stop_at) {
            let number = times.sent.len() as u64;
            let from = rhythm.as_mut().map_or(at, Schedule::advance);
            times.sent.push(from);
            let append = sender
                .conversation
                .append(sender.tag, number, &sender.payload);
            connection.queue(append)?;
        }
        connection.flush().await?;
        let is_stopped = at >= sender.stop_at || times.sent.len() >= MESSAGES_MAX;
        if is_stopped && times.acknowledged >= times.sent.len() as u64 {
            return Ok(times);
        }
        if at >= give_up_at {
            return Err(BenchError::TimedOut("acknowledgements"));
        }
        let wake = match &rhythm {
            Some(rhythm) if !is_stopped => rhythm.due().min(sender.stop_at),
            _ if !is_stopped => sender.stop_at,
            _ => give_up_at,
        };
        let frame = tokio::select! {
            frame = connection.next() => frame?,
            () = alarm.until(wake) => continue,
        };
        if frame.request_id != 0
            && let server_frame::Body::Appended(appended) = answer_of("append", frame)?
        {
            times.acknowledged += 1;
            connection.queue(sender.conversation.own_cursor(appended.seq))?;
        }
    }
}

impl Times {
    fn may_send(
        &self,
        at: Instant,
        (pace, rhythm): (Pace, Option<&Schedule>),
        stop_at: Instant,
    ) -> bool {
        if at >= stop_at || self.sent.len() >= MESSAGES_MAX {
            return false;
        }
        match (pace, rhythm) {
            (Pace::InFlight(many), _) => self.sent.len() as u64 - self.acknowledged < many,
            (Pace::Rhythm(_), rhythm) => {
                rhythm.is_some_and(|rhythm| at >= rhythm.due() && rhythm.due() < stop_at)
            }
        }
    }
}

/// Reads until everything that was sent is here, or the time is up.
async fn read(
    mut connection: Connection,
    tag: u64,
    mut count: watch::Receiver<Option<usize>>,
    give_up_at: Instant,
) -> Result<(Connection, Vec<Instant>, u64), BenchError> {
    let mut arrivals = Vec::new();
    let mut reordered = 0;
    loop {
        if count.borrow().is_some_and(|all| arrivals.len() >= all) {
            return Ok((connection, arrivals, reordered));
        }
        let frame = tokio::select! {
            frame = connection.next() => frame?,
            changed = count.changed() => match changed {
                Ok(()) => continue,
                Err(_) => return Ok((connection, arrivals, reordered)),
            },
            () = sleep_until(give_up_at.into()) => return Ok((connection, arrivals, reordered)),
        };
        let Some(server_frame::Body::Deliver(deliver)) = frame.body else {
            continue;
        };
        let at = now();
        for envelope in &deliver.envelopes {
            let Some(number) = number_of(tag, &envelope.client_id) else {
                continue;
            };
            reordered += u64::from(number != arrivals.len() as u64);
            arrivals.push(at);
        }
        connection.queue(acknowledgement(&deliver))?;
        connection.flush().await?;
    }
}
