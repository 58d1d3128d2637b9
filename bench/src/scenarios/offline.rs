//! Messages to people who are away, and what they get when they come back.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::Barrier;
use tokio::task::JoinSet;
use tokio::time::{timeout, timeout_at};

use super::Context;
use crate::checker::{Checker, Tally, number_of};
use crate::clock::now;
use crate::connection::{Connection, answer_of};
use crate::cpu::CpuMeter;
use crate::error::BenchError;
use crate::lane::{self, Lane};
use crate::latency::Latencies;
use crate::member::catch_up;
use crate::report::{Report, Run};
use crate::target::Target;

/// Acknowledgements that have not come so long after the last send are missing.
const PATIENCE: Duration = Duration::from_secs(15);
/// Everybody is back and has everything within this.
const RETURN_LIMIT: Duration = Duration::from_secs(180);

/// One conversation while its receiver is away.
struct Away {
    lane: Lane,
    tag: u64,
    checker: Checker,
    acknowledgement: Latencies,
    stored: u64,
}

/// Stores with the receivers away, then lets all of them return at once.
pub(crate) async fn run(context: &Context<'_>, report: &mut Report) -> Result<(), BenchError> {
    let pairs = (context.args.clients() / 2).max(1);
    let target = context.deployment.target().clone();
    for in_flight in context.args.in_flight_or(&[16]) {
        let lanes = lane::set_up(&target, pairs).await?;
        let (away, stored) = store(context, lanes, in_flight).await?;
        report.runs.push(stored);
        report.runs.push(come_back(context, &target, away).await?);
    }
    Ok(())
}

/// What the storing run is called.
pub(super) fn stored_name(in_flight: u64) -> String {
    format!("stored for people who are away, {in_flight} in flight each")
}

async fn store(
    context: &Context<'_>,
    lanes: Vec<Lane>,
    in_flight: u64,
) -> Result<(Vec<Away>, Run), BenchError> {
    let payload = context.payload()?;
    let mut run = Run {
        name: stored_name(in_flight),
        clients: u32::try_from(lanes.len()).unwrap_or(u32::MAX),
        seconds: context.args.length().as_secs_f64(),
        ..Run::default()
    };
    let stop_at = now() + context.args.length();
    let meter = CpuMeter::start(context.deployment);
    let mut tasks = JoinSet::new();
    for lane in lanes {
        let payload = payload.clone();
        tasks.spawn(async move {
            let mut away = Away {
                lane,
                tag: rand::random(),
                checker: Checker::default(),
                acknowledgement: Latencies::new(),
                stored: 0,
            };
            away.send(stop_at, in_flight, &payload).await?;
            Ok::<_, BenchError>(away)
        });
    }
    let mut all = Vec::new();
    let mut latencies = Latencies::new();
    while let Some(away) = tasks.join_next().await {
        let away = away??;
        latencies.merge(&away.acknowledgement);
        all.push(away);
    }
    let stored = all.iter().map(|away| away.stored).sum();
    meter.finish(&mut run, stored);
    run.per_s = stored as f64 / run.seconds;
    run.latency.insert("acknowledged", latencies.percentiles());
    Ok((all, run))
}

impl Away {
    async fn send(
        &mut self,
        stop_at: Instant,
        in_flight: u64,
        payload: &Bytes,
    ) -> Result<(), BenchError> {
        close_receiver(&mut self.lane).await;
        let mut sent_at = std::collections::VecDeque::new();
        loop {
            let at = now();
            while at < stop_at && (sent_at.len() as u64) < in_flight {
                let append = self
                    .lane
                    .conversation
                    .append(self.tag, self.checker.send(), payload);
                self.lane.sending.queue(append)?;
                sent_at.push_back(at);
            }
            if sent_at.is_empty() {
                return Ok(());
            }
            self.lane.sending.flush().await?;
            let next = timeout_at((stop_at + PATIENCE).into(), self.lane.sending.next());
            let mut frame = Some(
                next.await
                    .map_err(|_| BenchError::TimedOut("acknowledgements"))??,
            );
            while let Some(answer) = frame {
                if answer.request_id != 0 {
                    answer_of("append", answer)?;
                    self.checker.acknowledge();
                    let at = now();
                    self.stored += u64::from(at < stop_at);
                    if let Some(sent) = sent_at.pop_front() {
                        self.acknowledgement
                            .record(at.saturating_duration_since(sent));
                    }
                }
                frame = self.lane.sending.take()?;
            }
        }
    }

    /// Takes everything that is stored.
    async fn receive(&mut self, connection: &mut Connection) -> Result<(), BenchError> {
        let (tag, checker) = (self.tag, &mut self.checker);
        catch_up(connection, |envelope| {
            if let Some(number) = number_of(tag, &envelope.client_id) {
                checker.deliver(number, envelope.seq);
            }
        })
        .await
    }
}

/// The receiver goes away; the lane keeps its side for the way back.
async fn close_receiver(lane: &mut Lane) {
    // A goodbye that does not get through is a connection that was cut: away all the same.
    let _ = timeout(PATIENCE, lane.receiving.goodbye()).await;
}

async fn come_back(
    context: &Context<'_>,
    target: &Target,
    away: Vec<Away>,
) -> Result<Run, BenchError> {
    let mut run = Run {
        name: "delivered on return".to_owned(),
        clients: u32::try_from(away.len()).unwrap_or(u32::MAX),
        ..Run::default()
    };
    let barrier = Arc::new(Barrier::new(away.len() + 1));
    let mut tasks = JoinSet::new();
    let returning_at = now();
    for mut one in away {
        let (barrier, target) = (Arc::clone(&barrier), target.clone());
        tasks.spawn(async move {
            let connection = one.lane.receiver.login(&target).await;
            // Also after a failure: the others must not wait for ever.
            barrier.wait().await;
            one.receive(&mut connection?).await?;
            Ok::<_, BenchError>(one.checker.tally())
        });
    }
    timeout(RETURN_LIMIT, barrier.wait())
        .await
        .map_err(|_| BenchError::TimedOut("logging in again"))?;
    let resumed_at = now();
    let meter = CpuMeter::start(context.deployment);
    let mut tally = Tally::default();
    while let Some(one) = tasks.join_next().await {
        tally.add(one??);
    }
    meter.finish(&mut run, tally.delivered);
    run.seconds = (now() - resumed_at).as_secs_f64();
    run.per_s = tally.delivered as f64 / run.seconds;
    run.messages = Some(tally);
    let login_s = (resumed_at - returning_at).as_secs_f64();
    run.figures
        .insert("seconds until all were logged in", login_s);
    Ok(run)
}
