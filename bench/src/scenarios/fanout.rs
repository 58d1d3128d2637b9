//! One writes, everybody in a large group reads: deliveries a second, and the
//! time from sending to the last reader's.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use sotto_protocol::wire::server_frame;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep_until, timeout_at};

use super::Context;
use crate::checker::{Tally, number_of};
use crate::clock::now;
use crate::connection::{Connection, answer_of};
use crate::cpu::CpuMeter;
use crate::crowd;
use crate::error::BenchError;
use crate::lane::Conversation;
use crate::latency::Latencies;
use crate::member::{Member, acknowledgement, catch_up};
use crate::report::{Report, Run};
use crate::target::Target;

/// Registrations under way at the same time.
const SETUP_MAX: usize = 24;
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
    let mut paces: Vec<_> = match context.args.rate {
        Some(rate) => vec![Pace::PerSecond(rate.max(1))],
        None => context
            .args
            .in_flight_or(&[1, 8])
            .into_iter()
            .map(Pace::InFlight)
            .collect(),
    };
    if context.args.rate.is_none() && context.args.in_flight.is_empty() {
        paces.push(Pace::PerSecond(CALM_PER_S));
    }
    for pace in paces {
        let sender = Sender {
            conversation,
            tag: rand::random(),
            payload: context.payload()?,
            stop_at: now() + context.args.length(),
        };
        let run;
        (sending, reading, run) = measure(context, sender, pace, (sending, reading)).await?;
        report.runs.push(run);
    }
    Ok(())
}

async fn register(target: &Target, count: u32) -> Result<Vec<(Member, Connection)>, BenchError> {
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
    pace: Pace,
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
        name: match pace {
            Pace::InFlight(many) => format!("deliveries to {readers}, {many} in flight"),
            Pace::PerSecond(rate) => {
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

/// When messages were sent, by number.
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
    let first = now();
    loop {
        let number = times.sent.len() as u64;
        let over = now() >= sender.stop_at || times.sent.len() >= MESSAGES_MAX;
        let waiting = number - times.acknowledged;
        let room = match pace {
            Pace::InFlight(many) => waiting < many,
            Pace::PerSecond(_) => waiting == 0,
        };
        if over && waiting == 0 {
            return Ok(times);
        }
        if !over && room {
            if let Pace::PerSecond(rate) = pace {
                let due = Duration::from_secs(1) / rate * u32::try_from(number).unwrap_or(u32::MAX);
                sleep_until((first + due).into()).await;
            }
            let append = sender
                .conversation
                .append(sender.tag, number, &sender.payload);
            connection.queue(append)?;
            connection.flush().await?;
            times.sent.push(now());
            continue;
        }
        let next = timeout_at((sender.stop_at + PATIENCE).into(), connection.next());
        let frame = next
            .await
            .map_err(|_| BenchError::TimedOut("acknowledgements"))??;
        if frame.request_id != 0
            && let server_frame::Body::Appended(appended) = answer_of("append", frame)?
        {
            times.acknowledged += 1;
            connection.queue(sender.conversation.own_cursor(appended.seq))?;
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
