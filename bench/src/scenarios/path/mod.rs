//! Where the time and the CPU of one message go.
//!
//! Each stage is measured where it happens: sealing, opening and storing in the client's own
//! database, trips of a ping with and without the balancer, the servers' own histograms, Postgres's
//! own counts, CPU by process from the scheduler. Means, since means add up. What the stages do not
//! explain of the whole is printed as the rest and never shared out; between pairs on one server
//! and pairs on two it grows by what a hint to the other server takes.

mod cpu;
mod stages;

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::task::spawn_blocking;
use tokio::time::sleep;

use super::sealing::{self, Costs};
use super::{Context, one_to_one};
use crate::clock::now;
use crate::connection::Connection;
use crate::cpu::CpuMeter;
use crate::deployment::Kind;
use crate::error::BenchError;
use crate::lane::{self, Lane, Plan};
use crate::latency::Latencies;
use crate::member::Member;
use crate::postgres::PostgresMeter;
use crate::report::Report;
use crate::server_metrics;
use stages::{Profile, Stretch};

/// Messages a second where time is looked at.
const CALM_PER_S: u32 = 100;
/// In flight where CPU is looked at under load.
const BUSY_IN_FLIGHT: u64 = 16;
/// Not measured: the first messages.
const WARM_UP: Duration = Duration::from_millis(500);
/// What has not arrived so long after the last send is lost.
const PATIENCE: Duration = Duration::from_secs(15);
/// Pings for each way.
const PINGS: u32 = 300;
/// Between two of them: as far apart as messages are.
const PING_GAP: Duration = Duration::from_millis(4);
/// The client's own work is measured for at most so long.
const COSTS_MAX: Duration = Duration::from_secs(4);

/// Measures every stage and puts them together.
///
/// # Errors
/// When something cannot be measured.
pub(crate) async fn run(context: &Context<'_>, report: &mut Report) -> Result<(), BenchError> {
    let Some(url) = context.deployment.database_url() else {
        let reason = "the database is not known; with --server, give --state too";
        return Err(BenchError::Deployment(reason.to_owned()));
    };
    let mut postgres = PostgresMeter::start(url).await?;
    if context.deployment.is_own() {
        postgres.time_syncs().await;
    }
    let length = context.args.length();
    let costs: Costs = spawn_blocking(move || sealing::costs(length.min(COSTS_MAX))).await??;
    let (trip_us, direct_us) = trips(context).await?;
    let pairs = (context.args.clients() / 2).max(1);
    let lanes = lane::set_up(context.deployment.target(), pairs).await?;
    let before = cpu::look(context.deployment, &postgres).await?;
    sleep(length.min(COSTS_MAX)).await;
    let idle = cpu::look(context.deployment, &postgres)
        .await?
        .since(&before);
    let (together, apart): (Vec<_>, Vec<_>) = lanes
        .into_iter()
        .partition(|lane| lane.sending.node() == lane.receiving.node());
    let rate = context.args.rate.unwrap_or(CALM_PER_S).max(1);
    let calm = Speed::Calm(rate);
    let one = stretch(
        context,
        report,
        &mut postgres,
        (together, "on one server", calm),
    )
    .await?;
    let two = stretch(
        context,
        report,
        &mut postgres,
        (apart, "on two servers", calm),
    )
    .await?;
    let mut all = one.lanes;
    all.extend(two.lanes);
    let busy = (all, "all pairs", Speed::Busy);
    let busy = stretch(context, report, &mut postgres, busy).await?;
    let profile = Profile {
        costs,
        trip_us,
        direct_us,
        one_server: one.stretch,
        two_servers: two.stretch,
        idle,
        busy: busy.stretch,
    };
    report.tables.extend(profile.tables(rate));
    report.notes.extend(profile.verdict());
    Ok(())
}

/// How a stretch is driven.
#[derive(Debug, Clone, Copy)]
enum Speed {
    /// So many messages a second.
    Calm(u32),
    /// As fast as it goes.
    Busy,
}

/// A stretch and the lanes that it leaves.
struct Done {
    lanes: Vec<Lane>,
    stretch: Option<Stretch>,
}

async fn stretch(
    context: &Context<'_>,
    report: &mut Report,
    postgres: &mut PostgresMeter,
    (lanes, name, speed): (Vec<Lane>, &str, Speed),
) -> Result<Done, BenchError> {
    if lanes.is_empty() {
        report.notes.push(format!("no pairs {name}"));
        return Ok(Done {
            lanes,
            stretch: None,
        });
    }
    // Before the clock runs: its size is found by sealing.
    let payload = context.payload()?;
    postgres.again().await?;
    let steps = server_metrics::Steps::now(context.deployment);
    let before = cpu::look(context.deployment, postgres).await?;
    let start = now();
    let times = [WARM_UP, context.args.length(), PATIENCE];
    let plan = Plan::from(start, times, (BUSY_IN_FLIGHT, payload));
    let rhythm = match speed {
        Speed::Calm(rate) => Some((rate, context.args.arrivals, context.args.seed)),
        Speed::Busy => None,
    };
    let meter = CpuMeter::start(context.deployment);
    let (lanes, outcome, mut run) = one_to_one::measure(meter, lanes, &plan, rhythm).await?;
    let seconds = (now() - start).as_secs_f64();
    let cores: BTreeMap<_, _> = cpu::look(context.deployment, postgres)
        .await?
        .since(&before);
    let steps = server_metrics::Steps::now(context.deployment).since(steps);
    let counted = postgres.finish(seconds).await?;
    run.name = format!("{}, {name}", run.name);
    report
        .failures
        .extend(outcome.failure.map(|error| error.to_string()));
    let stretch = Stretch {
        // Of all messages, the warm-up's too: so the steps' and the CPU's are.
        per_s: outcome.tally.delivered as f64 / seconds,
        whole_us: outcome.delivery.mean_us(),
        acknowledged_us: outcome.acknowledgement.mean_us(),
        steps,
        sync_us: counted.sync_us(),
        cores,
    };
    push_table(report, name, &counted, outcome.tally.delivered);
    report.runs.push(run);
    Ok(Done {
        lanes,
        stretch: Some(stretch),
    })
}

fn push_table(report: &mut Report, name: &str, counted: &crate::postgres::Counted, messages: u64) {
    let mut table = counted.table(messages);
    table.title = format!("{}, {name}", table.title);
    report.tables.push(table);
}

/// Mean trip of a ping there and back, in microseconds: through the balancer, and without it.
async fn trips(context: &Context<'_>) -> Result<(f64, f64), BenchError> {
    let target = context.deployment.target();
    let (member, mut connection) = Member::register(target, 0).await?;
    let mut balanced = Latencies::new();
    ping(&mut connection, &mut balanced).await?;
    drop(connection);
    let mut direct = Latencies::new();
    for process in context.deployment.processes() {
        if process.kind == Kind::Server {
            let target = context.deployment.server_target(&process)?;
            let mut connection = member.login(&target).await?;
            ping(&mut connection, &mut direct).await?;
        }
    }
    Ok((balanced.mean_us(), direct.mean_us()))
}

async fn ping(connection: &mut Connection, latencies: &mut Latencies) -> Result<(), BenchError> {
    for number in 0..PINGS {
        sleep(PING_GAP).await;
        let asked_at = now();
        connection.ping().await?;
        // The first ones find everything cold.
        if number >= PINGS / 10 {
            latencies.record(now().saturating_duration_since(asked_at));
        }
    }
    Ok(())
}
