//! Messages between pairs that are both connected: as many as possible with a number in flight, or
//! at a fixed rate for the latency.

use std::time::Duration;

use bytes::Bytes;
use tokio::task::JoinSet;

use super::Context;
use crate::args::Args;
use crate::clock::now;
use crate::cpu::CpuMeter;
use crate::error::BenchError;
use crate::lane::{self, Driven, Outcome, Plan};
use crate::pace::{Arrivals, Pace};
use crate::report::{Report, Run};

/// Not measured: the first messages of every connection.
const WARM_UP: Duration = Duration::from_secs(1);
/// What has not arrived so long after the last send is lost.
const PATIENCE: Duration = Duration::from_secs(15);
/// The rate of the run for latency, in messages a second over all pairs.
const CALM_PER_S: u32 = 100;

/// Runs with one and sixteen in flight, and one at 100 messages a second; or what was asked.
pub(crate) async fn run(context: &Context<'_>, report: &mut Report) -> Result<(), BenchError> {
    let pairs = (context.args.clients() / 2).max(1);
    let lanes = lane::set_up(context.deployment.target(), pairs).await?;
    let meter = || CpuMeter::start(context.deployment);
    over(context.args, lanes, context.payload()?, meter, report).await
}

/// The same runs over lanes of whatever protocol.
///
/// # Errors
/// When a task fails; what went wrong on a lane is in the report.
pub(crate) async fn over<L: Driven>(
    args: &Args,
    mut lanes: Vec<L>,
    payload: Bytes,
    meter: impl Fn() -> CpuMeter,
    report: &mut Report,
) -> Result<(), BenchError> {
    let mut wanted: Vec<(u64, Option<u32>)> = match args.rate {
        Some(rate) => vec![(1, Some(rate.max(1)))],
        None => args
            .in_flight_or(&[1, 16])
            .into_iter()
            .map(|in_flight| (in_flight, None))
            .collect(),
    };
    if args.rate.is_none() && args.in_flight.is_empty() {
        wanted.push((1, Some(CALM_PER_S)));
    }
    for (in_flight, rate) in wanted {
        let times = [WARM_UP, args.length(), PATIENCE];
        let plan = Plan::from(now(), times, (in_flight, payload.clone()));
        let (outcome, run);
        let rhythm = rate.map(|rate| (rate, args.arrivals, args.seed));
        (lanes, outcome, run) = measure(meter(), lanes, &plan, rhythm).await?;
        report
            .failures
            .extend(outcome.failure.map(|e| e.to_string()));
        report.runs.push(run);
    }
    Ok(())
}

/// What a run with so many in flight is called.
pub(super) fn name(in_flight: u64) -> String {
    format!("one to one, {in_flight} in flight each")
}

/// Messages a second over all lanes, how they are spread, and their seed.
pub(super) type Rhythm = (u32, Arrivals, u64);

/// One run over all lanes, as fast as it goes or in a rhythm.
///
/// # Errors
/// When a task fails.
pub(super) async fn measure<L: Driven>(
    meter: CpuMeter,
    lanes: Vec<L>,
    plan: &Plan,
    rhythm: Option<Rhythm>,
) -> Result<(Vec<L>, Outcome, Run), BenchError> {
    let pairs = u32::try_from(lanes.len()).unwrap_or(u32::MAX);
    let start = now();
    let mut tasks = JoinSet::new();
    for (place, mut lane) in (0_u32..).zip(lanes) {
        let pace = rhythm.map(|(rate, arrivals, seed)| {
            Pace::shared((start, rate), (place, pairs), (arrivals, seed))
        });
        let plan = Plan {
            pace,
            ..plan.clone()
        };
        tasks.spawn(async move {
            let outcome = lane.drive(&plan).await;
            (lane, outcome)
        });
    }
    let mut run = Run {
        name: match rhythm {
            Some((rate, ..)) => format!("one to one, {rate} messages a second"),
            None => name(plan.in_flight),
        },
        clients: pairs * 2,
        ..Run::default()
    };
    tokio::time::sleep_until(plan.stop_at.into()).await;
    let mut halves = Vec::new();
    let mut stopped = Some(meter);
    while let Some(done) = tasks.join_next().await {
        halves.push(done?);
        if let Some(meter) = stopped.take() {
            meter.finish(&mut run, 0);
        }
    }
    let (lanes, outcomes): (Vec<L>, Vec<Outcome>) = halves.into_iter().unzip();
    let outcome = Outcome::sum(outcomes);
    run.seconds = plan
        .stop_at
        .saturating_duration_since(plan.measure_from)
        .as_secs_f64();
    run.per_s = outcome.measured as f64 / run.seconds;
    for (process, cores) in &run.cpu_cores {
        run.cpu_us_each
            .insert(process, cores * 1e6 / run.per_s.max(1e-9));
    }
    run.messages = Some(outcome.tally);
    run.latency
        .insert("delivered", outcome.delivery.percentiles());
    run.latency
        .insert("acknowledged", outcome.acknowledgement.percentiles());
    Ok((lanes, outcome, run))
}
