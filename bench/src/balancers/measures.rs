//! What is measured of a front, each by itself and for a given time.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::task::JoinSet;
use tokio::time::{sleep_until, timeout};

use super::backend::{Backend, ECHO, Manner, POUR};
use super::front::Front;
use super::visitor::{PATIENCE, Visit, Visitors};
use crate::alarm::Alarm;
use crate::clock::now;
use crate::error::BenchError;
use crate::latency::{Latencies, Percentiles};

/// Clients that connect and leave at the same time.
const CONNECTORS: u32 = 64;
/// Connections over which small round trips go.
const TRIP_LANES: u32 = 200;
/// Bytes of a small round trip.
const TRIP_BYTES: usize = 256;
/// Round trips a second over all connections where latency is looked at.
const PACED_RATE: u32 = 1_000;
/// Connections before memory is looked at for the first time.
const WARM: u32 = 96;
/// Connections opened at the same time.
const OPENING_MAX: u32 = 64;
/// Clients that are connected when a backend falls silent.
const OLD_CLIENTS: u32 = 300;
/// Clients that come afterwards.
const NEW_CLIENTS: u32 = 1_500;
/// Of those, a second.
const NEW_RATE: u32 = 500;
/// An old client of a silent backend is let go within this, or never.
const RELEASE_LIMIT: Duration = Duration::from_secs(20);
/// Read at once where bytes are poured.
const POUR_BUFFER: usize = 64 * 1024;

/// A rate, and what it costs the front.
pub(crate) struct Cost {
    /// Times a second.
    pub(crate) per_s: f64,
    /// CPU of the front for each, in microseconds.
    pub(crate) cpu_us: f64,
}

/// Measures CPU of a front, if there is one, while something is done some number of times.
struct Meter<'a> {
    front: Option<&'a Front>,
    cpu: Duration,
    started: Instant,
}

impl<'a> Meter<'a> {
    fn start(front: Option<&'a Front>) -> Self {
        Self {
            front,
            cpu: front.map_or(Duration::ZERO, Front::cpu),
            started: now(),
        }
    }

    fn finish(self, count: u64) -> Cost {
        let seconds = now().saturating_duration_since(self.started).as_secs_f64();
        let cpu = self.front.map_or(Duration::ZERO, Front::cpu);
        let used = cpu.saturating_sub(self.cpu).as_secs_f64();
        Cost {
            per_s: count as f64 / seconds,
            cpu_us: used * 1e6 / count as f64,
        }
    }
}

/// Clients connect, are answered and leave, as fast as it goes.
///
/// # Errors
/// When a client is not answered.
pub(crate) async fn connections(
    visitors: &Visitors,
    front: Option<&Front>,
    length: Duration,
) -> Result<Cost, BenchError> {
    let meter = Meter::start(front);
    let until = meter.started + length;
    let mut tasks = JoinSet::new();
    for lane in 0..CONNECTORS {
        let visitors = visitors.clone();
        tasks.spawn(async move {
            let mut count: u32 = 0;
            while now() < until {
                visitors.visit(lane + count * CONNECTORS).await?;
                count += 1;
            }
            Ok::<_, BenchError>(count)
        });
    }
    let mut all = 0;
    while let Some(count) = tasks.join_next().await {
        all += u64::from(count??);
    }
    Ok(meter.finish(all))
}

/// Small round trips over many connections, as fast as they go.
///
/// # Errors
/// When a connection breaks.
pub(crate) async fn trips(
    visitors: &Visitors,
    front: Option<&Front>,
    length: Duration,
) -> Result<Cost, BenchError> {
    let lanes = open(visitors, TRIP_LANES, ECHO).await?;
    let meter = Meter::start(front);
    let until = meter.started + length;
    let mut tasks = JoinSet::new();
    for mut lane in lanes {
        tasks.spawn(async move {
            let mut count = 0;
            while now() < until {
                round_trip(&mut lane).await?;
                count += 1;
            }
            Ok::<u64, BenchError>(count)
        });
    }
    let mut all = 0;
    while let Some(count) = tasks.join_next().await {
        all += count??;
    }
    Ok(meter.finish(all))
}

/// Latency of round trips that are due at fixed times: one that is late delays no other's clock.
///
/// # Errors
/// When a connection breaks.
pub(crate) async fn paced(
    visitors: &Visitors,
    length: Duration,
) -> Result<Percentiles, BenchError> {
    let lanes = open(visitors, TRIP_LANES, ECHO).await?;
    let started = now();
    let interval = Duration::from_secs(1) * TRIP_LANES / PACED_RATE;
    let mut tasks = JoinSet::new();
    for (place, mut lane) in (0_u32..).zip(lanes) {
        tasks.spawn(async move {
            let mut latencies = Latencies::new();
            let mut alarm = Alarm::new()?;
            let mut due = started + interval * place / TRIP_LANES;
            while due < started + length {
                alarm.until(due).await;
                round_trip(&mut lane).await?;
                // From when it was due: a trip that waited for the one before it is late too.
                latencies.record(now().saturating_duration_since(due));
                due += interval;
            }
            Ok::<_, BenchError>(latencies)
        });
    }
    let mut all = Latencies::new();
    while let Some(latencies) = tasks.join_next().await {
        all.merge(&latencies??);
    }
    Ok(all.percentiles())
}

/// Bytes poured to so many clients: GB a second, and CPU of the front for each GB in seconds.
///
/// # Errors
/// When a connection breaks.
pub(crate) async fn bulk(
    visitors: &Visitors,
    front: Option<&Front>,
    flows: u32,
    length: Duration,
) -> Result<(f64, f64), BenchError> {
    let lanes = open(visitors, flows, POUR).await?;
    let meter = Meter::start(front);
    let until = meter.started + length;
    let bytes = Arc::new(AtomicU64::new(0));
    let mut tasks = JoinSet::new();
    for mut lane in lanes {
        let bytes = Arc::clone(&bytes);
        tasks.spawn(async move {
            let mut buffer = vec![0; POUR_BUFFER];
            while now() < until {
                let read = lane.stream.read(&mut buffer).await;
                let read = read.map_err(BenchError::io("reading what is poured"))?;
                if read == 0 {
                    return Err(BenchError::Closed);
                }
                bytes.fetch_add(read as u64, Ordering::Relaxed);
            }
            Ok(())
        });
    }
    while let Some(done) = tasks.join_next().await {
        done??;
    }
    let cost = meter.finish(bytes.load(Ordering::Relaxed));
    Ok((cost.per_s / 1e9, cost.cpu_us * 1e3))
}

/// What the front's memory grows by for each of so many connections that do nothing.
///
/// # Errors
/// When they cannot be made.
pub(crate) async fn idle(
    visitors: &Visitors,
    front: &Front,
    clients: u32,
) -> Result<f64, BenchError> {
    let _warm = open(visitors, WARM, ECHO).await?;
    let before = front.memory();
    let _held = open(visitors, clients, ECHO).await?;
    let after = front.memory();
    Ok((after as f64 - before as f64) / f64::from(clients))
}

/// What happened when one of the backends fell silent.
pub(crate) struct Hung {
    /// New clients that nobody answered within 5 s, of 1,500.
    pub(crate) failed: u32,
    /// How long those waited who were answered.
    pub(crate) waited: Percentiles,
    /// Until the last old client of the silent backend was let go; none if some never were.
    pub(crate) released_ms: Option<f64>,
}

/// One backend falls silent: its old clients should be let go, and no new one should notice.
///
/// # Errors
/// When the old clients cannot be connected.
pub(crate) async fn hung(visitors: &Visitors, victim: &Backend) -> Result<Hung, BenchError> {
    let old = open(visitors, OLD_CLIENTS, ECHO).await?;
    let silent_at = now();
    victim.behave(Manner::Silent);
    let mut releases = JoinSet::new();
    for visit in old.into_iter().filter(|visit| visit.backend == 0) {
        releases.spawn(released(visit, silent_at));
    }
    let mut visits = JoinSet::new();
    for client in 0..NEW_CLIENTS {
        let visitors = visitors.clone();
        let due = silent_at + Duration::from_secs(1) * client / NEW_RATE;
        visits.spawn(async move {
            sleep_until(due.into()).await;
            let begun = now();
            let visit = visitors.visit(10_000 + client).await;
            (visit, now().saturating_duration_since(begun))
        });
    }
    let mut failed = 0;
    let mut waited = Latencies::new();
    let mut held = Vec::new();
    while let Some(done) = visits.join_next().await {
        let (visit, time) = done?;
        match visit {
            Ok(visit) => {
                waited.record(time);
                held.push(visit);
            }
            Err(_) => failed += 1,
        }
    }
    let mut last = Some(Duration::ZERO);
    while let Some(release) = releases.join_next().await {
        last = last.zip(release?).map(|(last, one)| last.max(one));
    }
    victim.behave(Manner::Serve);
    Ok(Hung {
        failed,
        waited: waited.percentiles(),
        released_ms: last.map(|last| last.as_secs_f64() * 1e3),
    })
}

async fn released(mut visit: Visit, since: Instant) -> Option<Duration> {
    let mut buffer = [0];
    // Closed or reset, either tells the client to go elsewhere.
    let ended = timeout(RELEASE_LIMIT, visit.stream.read(&mut buffer)).await;
    ended.ok().map(|_| now().saturating_duration_since(since))
}

/// Of so many clients, the parts that move to the new backend and between old ones when the pool
/// grows from `before` to `after`.
///
/// # Errors
/// When a client is not answered.
pub(crate) async fn moved(
    before: &Visitors,
    after: &Visitors,
    clients: u32,
    new: u8,
) -> Result<(f64, f64), BenchError> {
    let was = places(before, clients).await?;
    let is = places(after, clients).await?;
    let part = |count: usize| count as f64 / f64::from(clients);
    let pairs = || was.iter().zip(&is).filter(|(was, is)| was != is);
    let to_new = pairs().filter(|(_, is)| **is == new).count();
    Ok((part(to_new), part(pairs().count() - to_new)))
}

/// Where each client lands while all others stay connected.
async fn places(visitors: &Visitors, clients: u32) -> Result<Vec<u8>, BenchError> {
    let mut held = Vec::new();
    // One after the other: bounded loads depend on the order.
    for client in 0..clients {
        held.push(visitors.visit(client).await?);
    }
    Ok(held.iter().map(|visit| visit.backend).collect())
}

async fn open(visitors: &Visitors, count: u32, wish: u8) -> Result<Vec<Visit>, BenchError> {
    let mut lanes = Vec::with_capacity(count as usize);
    let clients: Vec<u32> = (0..count).collect();
    for chunk in clients.chunks(OPENING_MAX as usize) {
        let mut tasks = JoinSet::new();
        for client in chunk {
            let (visitors, client) = (visitors.clone(), *client);
            tasks.spawn(async move {
                let mut visit = visitors.visit(client).await?;
                let wished = visit.stream.write_all(&[wish]).await;
                wished.map_err(BenchError::io("asking a backend"))?;
                Ok::<_, BenchError>(visit)
            });
        }
        while let Some(lane) = tasks.join_next().await {
            lanes.push(lane??);
        }
    }
    Ok(lanes)
}

async fn round_trip(lane: &mut Visit) -> Result<(), BenchError> {
    let mut bytes = [7; TRIP_BYTES];
    let trip = async {
        lane.stream.write_all(&bytes).await?;
        lane.stream.read_exact(&mut bytes).await.map(drop)
    };
    timeout(PATIENCE, trip)
        .await
        .map_err(|_| BenchError::TimedOut("a round trip"))?
        .map_err(BenchError::io("a round trip"))
}
