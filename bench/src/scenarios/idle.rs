//! Memory of authenticated connections that do nothing.
//!
//! Each is an account of its own that registered over it and follows its logs, as a client does
//! that waits for messages. The first look is taken after a few connections, so that what the
//! processes load once is not counted as a connection's.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::sleep;

use super::Context;
use crate::clock::now;
use crate::connection::Connection;
use crate::cpu::CpuMeter;
use crate::deployment::Kind;
use crate::error::BenchError;
use crate::member::{Member, catch_up};
use crate::procfs::{self, Memory};
use crate::report::{MemoryLine, Report, Run};
use crate::target::Target;

/// Connections before the first look.
const WARM: u32 = 96;
/// Registrations under way at the same time.
const SETUP_MAX: usize = 48;
/// Pings under way at the same time.
const PINGS_MAX: usize = 256;
/// Between two looks until memory is steady.
const SETTLE_STEP: Duration = Duration::from_secs(1);
/// Looks until it has to be.
const SETTLE_STEPS: u32 = 10;

/// Connects, looks, waits, and asks every connection whether it is alive.
pub(crate) async fn run(context: &Context<'_>, report: &mut Report) -> Result<(), BenchError> {
    let clients = context.args.clients();
    let target = context.deployment.target();
    let (done, watching) = watch::channel(false);
    let mut held = connect(target, 0..WARM, &watching).await?;
    settle(context).await;
    let before = memories(context);
    let started = now();
    held.extend(connect(target, WARM..WARM + clients, &watching).await?);
    let connecting_s = (now() - started).as_secs_f64();
    settle(context).await;
    let after = memories(context);
    let mut run = Run {
        name: "idle connections, logged in; connected a second".to_owned(),
        clients,
        per_s: f64::from(clients) / connecting_s,
        ..Run::default()
    };
    let meter = CpuMeter::start(context.deployment);
    let waiting = now();
    sleep(context.args.length()).await;
    meter.finish(&mut run, 0);
    run.seconds = (now() - waiting).as_secs_f64();
    done.send_replace(true);
    let silent = silent(held).await?;
    if silent > 0 {
        let failure = format!("{silent} connections no longer answered");
        report.failures.push(failure);
    }
    lines(report, &mut run, &before, &after, u64::from(clients));
    report.runs.push(run);
    Ok(())
}

/// A connection that answers pings until it is told to stop.
type Held = JoinHandle<Result<Connection, BenchError>>;

async fn connect(
    target: &Target,
    numbers: std::ops::Range<u32>,
    watching: &watch::Receiver<bool>,
) -> Result<Vec<Held>, BenchError> {
    let gate = Arc::new(Semaphore::new(SETUP_MAX));
    let mut tasks = JoinSet::new();
    for number in numbers {
        let (gate, target) = (Arc::clone(&gate), target.clone());
        let mut watching = watching.clone();
        tasks.spawn(async move {
            let _turn = gate.acquire_owned().await;
            let (_, mut connection) = Member::register(&target, number).await?;
            catch_up(&mut connection, |_| {}).await?;
            // Held by a task of its own: this one's end says that it is connected.
            let held: Held = tokio::spawn(async move {
                connection.hold(&mut watching).await?;
                Ok(connection)
            });
            Ok::<_, BenchError>(held)
        });
    }
    let mut held = Vec::with_capacity(tasks.len());
    while let Some(connection) = tasks.join_next().await {
        held.push(connection??);
    }
    Ok(held)
}

/// How many were closed or do not answer a ping.
async fn silent(held: Vec<Held>) -> Result<u32, BenchError> {
    let gate = Arc::new(Semaphore::new(PINGS_MAX));
    let mut tasks = JoinSet::new();
    for connection in held {
        let gate = Arc::clone(&gate);
        tasks.spawn(async move {
            let _turn = gate.acquire_owned().await;
            connection.await??.ping().await
        });
    }
    let mut silent = 0;
    while let Some(answer) = tasks.join_next().await {
        silent += u32::from(answer?.is_err());
    }
    Ok(silent)
}

/// Waits until memory has stopped changing by more than a hundredth, within a bound.
async fn settle(context: &Context<'_>) {
    let total = |all: BTreeMap<String, (Kind, Memory)>| -> u64 {
        all.values().map(|(_, memory)| memory.rss_bytes).sum()
    };
    let mut last = total(memories(context));
    for _ in 0..SETTLE_STEPS {
        sleep(SETTLE_STEP).await;
        let present = total(memories(context));
        if present.abs_diff(last) * 100 < present.max(1) {
            return;
        }
        last = present;
    }
}

fn memories(context: &Context<'_>) -> BTreeMap<String, (Kind, Memory)> {
    let processes = context.deployment.processes().into_iter();
    processes
        .filter(|process| process.kind != Kind::Postgres)
        .filter_map(|process| {
            let memory = procfs::memory(process.pid?)?;
            Some((process.name, (process.kind, memory)))
        })
        .collect()
}

fn lines(
    report: &mut Report,
    run: &mut Run,
    before: &BTreeMap<String, (Kind, Memory)>,
    after: &BTreeMap<String, (Kind, Memory)>,
    clients: u64,
) {
    let mut servers_grown = 0_i64;
    for (name, (kind, memory)) in after {
        let Some((_, earlier)) = before.get(name) else {
            continue;
        };
        let grown = memory.rss_bytes.cast_signed() - earlier.rss_bytes.cast_signed();
        if *kind == Kind::Server {
            servers_grown += grown;
        } else {
            let each = grown as f64 / clients as f64;
            run.figures.insert("balancer bytes per connection", each);
        }
        report.memory.push(MemoryLine {
            process: name.clone(),
            before_rss_bytes: earlier.rss_bytes,
            after_rss_bytes: memory.rss_bytes,
            after_pss_bytes: memory.pss_bytes,
        });
    }
    if !after.is_empty() {
        let each = servers_grown as f64 / clients as f64;
        run.figures.insert("server bytes per connection", each);
    }
}
