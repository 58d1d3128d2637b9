//! A team's day in a minute: pairs and groups of twenty, texts, typing, looking who is there, a few
//! files, people who leave or are cut off and come back. Everything is due at a time of its own,
//! planned from a seed, and counts from that time.
//!
//! Fails when a message is lost, repeated or out of order, or a file is not what was sent.

mod files;
mod person;
mod plan;
mod world;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::task::JoinSet;

use super::Context;
use crate::checker::Tally;
use crate::clock::now;
use crate::connection::Connection;
use crate::cpu::CpuMeter;
use crate::crowd;
use crate::error::BenchError;
use crate::lane::{self, Conversation};
use crate::member::Member;
use crate::postgres::PostgresMeter;
use crate::processes::ProcessMeter;
use crate::report::{Report, Run};
use person::{Life, Person};
use plan::Day;
use world::{Where, World, stream_of};

/// Members of a group.
const GROUP: usize = 20;
/// What has not come so long after the day is lost.
const PATIENCE: Duration = Duration::from_secs(60);
/// Between the end of the preparations and the beginning of the day.
const BREATH: Duration = Duration::from_millis(500);
/// People for each thing that is done in a second, when no rate is said.
const PEOPLE_FOR_ONE_A_SECOND: u32 = 10;

/// Somebody registered, with a pair.
struct Registered {
    member: Arc<Member>,
    connection: Connection,
    pair: Conversation,
    group: Option<Conversation>,
}

/// Prepares everybody, lets the day pass and judges it.
///
/// # Errors
/// When something fails that does not pass.
pub(crate) async fn run(context: &Context<'_>, report: &mut Report) -> Result<(), BenchError> {
    let pairs = (context.args.clients() / 2).max(1);
    let people = 2 * pairs;
    let rate = context
        .args
        .rate
        .unwrap_or(people / PEOPLE_FOR_ONE_A_SECOND)
        .max(1);
    let day = Day {
        length: context.args.length(),
        rate: f64::from(rate) / f64::from(people),
        seed: context.args.seed,
    };
    let everybody = prepare(context, pairs).await?;
    let postgres = match context.deployment.database_url() {
        Some(url) => Some(PostgresMeter::start(url).await?),
        None => None,
    };
    let persons = ready(context, everybody, day)?;
    let start = now() + BREATH;
    let world = Arc::new(World::new(persons.len(), start, day.length, PATIENCE));
    let meters = (
        CpuMeter::start(context.deployment),
        ProcessMeter::start(context.deployment),
    );
    let mut tasks = JoinSet::new();
    for person in persons {
        tasks.spawn(Life::new(person, Arc::clone(&world)).live());
    }
    let mut tally = Tally::default();
    let mut failures = Vec::new();
    while let Some(one) = tasks.join_next().await {
        match one? {
            Ok(one) => tally.add(one),
            Err(error) => failures.push(error.to_string()),
        }
    }
    let mut run = Run {
        name: format!("a day, {rate} things done a second; messages delivered a second"),
        clients: people,
        seconds: now().saturating_duration_since(start).as_secs_f64(),
        messages: Some(tally),
        ..Run::default()
    };
    meters.0.finish(&mut run, tally.delivered);
    report.tables.push(meters.1.finish());
    if let Some(postgres) = postgres {
        let counted = postgres.finish(run.seconds).await?;
        report.tables.push(counted.table(tally.delivered));
        run.figures
            .insert("Postgres: deadlocks", counted.deadlocks() as f64);
        let hits = counted.cache_hits();
        run.figures
            .insert("Postgres: share of pages found in its cache", hits);
    }
    summarise(&mut run, &world, day);
    if world.files_open() > 0 {
        let open = world.files_open();
        failures.push(format!("{open} files were told of and never fetched whole"));
    }
    // One of each kind is enough to go by.
    failures.sort();
    failures.dedup();
    report.failures.extend(failures.into_iter().take(10));
    report.runs.push(run);
    Ok(())
}

/// Registers everybody in pairs, and makes their groups.
async fn prepare(context: &Context<'_>, pairs: u32) -> Result<Vec<Registered>, BenchError> {
    let lanes = lane::set_up(context.deployment.target(), pairs).await?;
    let mut everybody: Vec<Registered> = Vec::with_capacity(lanes.len() * 2);
    for lane in lanes {
        let halves = [(lane.sender, lane.sending), (lane.receiver, lane.receiving)];
        everybody.extend(halves.map(|(member, connection)| Registered {
            member: Arc::new(member),
            connection,
            pair: lane.conversation,
            group: None,
        }));
    }
    let mut tasks = JoinSet::new();
    let mut place = 0_usize;
    while !everybody.is_empty() {
        let mut team: Vec<_> = everybody.drain(..everybody.len().min(GROUP)).collect();
        let runtime = Handle::current();
        // The key store of a group stays on one thread.
        tasks.spawn_blocking(move || {
            runtime.block_on(make_group(&mut team))?;
            Ok::<_, BenchError>((place, team))
        });
        place += 1;
    }
    let mut teams = Vec::with_capacity(place);
    while let Some(team) = tasks.join_next().await {
        teams.push(team??);
    }
    teams.sort_by_key(|(place, _)| *place);
    Ok(teams.into_iter().flat_map(|(_, team)| team).collect())
}

async fn make_group(team: &mut [Registered]) -> Result<(), BenchError> {
    let Some((creator, others)) = team.split_first_mut() else {
        return Ok(());
    };
    // Two are a pair already.
    if others.len() < 2 {
        return Ok(());
    }
    let devices: Vec<_> = others.iter().map(|one| one.member.device()).collect();
    let group = crowd::make(creator.member.device(), &mut creator.connection, &devices).await?;
    for one in team {
        one.group = Some(group);
    }
    Ok(())
}

/// Everybody with a plan, and with what to expect.
fn ready(
    context: &Context<'_>,
    everybody: Vec<Registered>,
    day: Day,
) -> Result<Vec<Person>, BenchError> {
    let payload = context.payload()?;
    let count = everybody.len();
    let mut persons = Vec::with_capacity(count);
    for (number, one) in everybody.into_iter().enumerate() {
        let first = number / GROUP * GROUP;
        let team = first..(first + GROUP).min(count);
        // Pairs are neighbours.
        let mut inbound = vec![stream_of(number ^ 1, Where::Pair)];
        if one.group.is_some() {
            let others = team.filter(|other| *other != number);
            inbound.extend(others.map(|other| stream_of(other, Where::Group)));
        }
        let place = u32::try_from(number).unwrap_or(u32::MAX);
        persons.push(Person {
            number,
            member: one.member,
            target: context.deployment.target().clone(),
            connection: Some(one.connection),
            pair: one.pair,
            group: one.group,
            inbound,
            plan: plan::of_person(day, place).into(),
            payload: payload.clone(),
            seed: day.seed.rotate_left(17) ^ number as u64,
        });
    }
    Ok(persons)
}

fn summarise(run: &mut Run, world: &World, day: Day) {
    run.per_s = run.messages.map_or(0, |tally| tally.delivered) as f64 / run.seconds.max(1e-9);
    for (name, latencies) in world.latencies() {
        if latencies.total() > 0 {
            run.latency.insert(name, latencies.percentiles());
        }
    }
    let counts = &world.counts;
    let figures: [(&'static str, &AtomicU64); 8] = [
        ("messages that waited for somebody away", &counts.backlog),
        ("people who came back", &counts.returns),
        (
            "of them after a connection lost for no plan",
            &counts.unplanned,
        ),
        ("login attempts", &counts.attempts),
        ("files", &counts.files),
        ("file bytes", &counts.file_bytes),
        ("typing", &counts.typing),
        ("looks who is there", &counts.looks),
    ];
    for (name, figure) in figures {
        run.figures
            .insert(name, figure.load(Ordering::Relaxed) as f64);
    }
    run.figures
        .insert("seconds planned", day.length.as_secs_f64());
}
