//! Messages to a peer's people who are away, and what they get when they come back.
//!
//! A server of XMPP does not say when it has stored a message. It answers a ping of the same sender
//! when it has taken what came before, so one ping after every few messages stands for their
//! acknowledgements; it costs a peer less than acknowledging each.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Barrier;
use tokio::task::JoinSet;
use tokio::time::{timeout, timeout_at};

use crate::args::Args;
use crate::checker::{Checker, Tally};
use crate::clock::now;
use crate::cpu::CpuMeter;
use crate::error::BenchError;
use crate::pair::SHORT_TEXT;
use crate::report::{Report, Run};
use crate::xmpp::{self, Peer, XmppClient, XmppLane, message_id, number_of};

/// Messages for each ping, as a part of those that may be in flight.
const PINGS_IN_FLIGHT: u64 = 2;
/// Answers that have not come so long after the last send are missing.
const PATIENCE: Duration = Duration::from_secs(60);
/// Everybody is back and has everything within this.
const RETURN_LIMIT: Duration = Duration::from_secs(180);

/// One conversation while its receiver is away.
struct Away {
    lane: XmppLane,
    tag: u64,
    checker: Checker,
    stored: u64,
}

/// Stores with the receivers away, then lets all of them return at once.
///
/// # Errors
/// When the peer refuses or is silent.
pub(super) async fn run(args: &Args, peer: &Peer, report: &mut Report) -> Result<(), BenchError> {
    let pairs = (args.clients() / 2).max(1);
    for in_flight in args.in_flight_or(&[16]) {
        let lanes = xmpp::set_up(peer.target(), pairs).await?;
        let (away, stored) = store(args, peer, lanes, in_flight).await?;
        report.runs.push(stored);
        report.runs.push(come_back(peer, away).await?);
    }
    Ok(())
}

async fn store(
    args: &Args,
    peer: &Peer,
    lanes: Vec<XmppLane>,
    in_flight: u64,
) -> Result<(Vec<Away>, Run), BenchError> {
    let mut tasks = JoinSet::new();
    for mut lane in lanes {
        tasks.spawn(async move {
            lane.receiving.goodbye().await?;
            Ok::<_, BenchError>(lane)
        });
    }
    let mut lanes = Vec::new();
    while let Some(lane) = tasks.join_next().await {
        lanes.push(lane??);
    }
    let mut run = Run {
        name: super::super::offline::stored_name(in_flight),
        seconds: args.length().as_secs_f64(),
        ..Run::default()
    };
    let stop_at = now() + args.length();
    let meter = CpuMeter::of_peer(peer.kind().name(), peer.pid());
    let mut tasks = JoinSet::new();
    for lane in lanes {
        tasks.spawn(async move {
            let mut away = Away {
                lane,
                tag: rand::random(),
                checker: Checker::default(),
                stored: 0,
            };
            away.send(stop_at, in_flight).await?;
            Ok::<_, BenchError>(away)
        });
    }
    let mut all = Vec::new();
    while let Some(away) = tasks.join_next().await {
        all.push(away??);
    }
    let stored = all.iter().map(|away| away.stored).sum();
    meter.finish(&mut run, stored);
    run.per_s = stored as f64 / run.seconds;
    Ok((all, run))
}

impl Away {
    async fn send(&mut self, stop_at: Instant, in_flight: u64) -> Result<(), BenchError> {
        let to = self.lane.receiver.bare_jid();
        let step = (in_flight / PINGS_IN_FLIGHT).max(1);
        // How many messages each ping on its way stands for.
        let mut pings: VecDeque<u64> = VecDeque::new();
        loop {
            while now() < stop_at && pings.iter().sum::<u64>() + step <= in_flight {
                for _ in 0..step {
                    let id = message_id(self.tag, self.checker.send());
                    self.lane.sending.queue_message(&to, &id, SHORT_TEXT);
                }
                self.lane.sending.queue_ping("stored");
                pings.push_back(step);
            }
            if pings.is_empty() {
                return Ok(());
            }
            self.lane.sending.flush().await?;
            let next = timeout_at((stop_at + PATIENCE).into(), self.lane.sending.next());
            let element = next
                .await
                .map_err(|_| BenchError::TimedOut("answers of the peer"))??;
            if element.name == "message" {
                return Err(BenchError::Peer("a message was not stored".to_owned()));
            }
            if element.name == "iq" {
                let count = pings.pop_front().unwrap_or_default();
                (0..count).for_each(|_| self.checker.acknowledge());
                self.stored += if now() < stop_at { count } else { 0 };
            }
        }
    }

    async fn receive(&mut self, client: &mut XmppClient) -> Result<(), BenchError> {
        client.announce().await?;
        let mut arrived = 0;
        while self.checker.in_flight() > 0 {
            let element = client.next().await?;
            if let Some(number) = number_of(self.tag, &element) {
                arrived += 1;
                self.checker.deliver(number, arrived);
            }
        }
        Ok(())
    }
}

async fn come_back(peer: &Peer, away: Vec<Away>) -> Result<Run, BenchError> {
    let mut run = Run {
        name: "delivered on return".to_owned(),
        ..Run::default()
    };
    let barrier = Arc::new(Barrier::new(away.len() + 1));
    let mut tasks = JoinSet::new();
    for mut one in away {
        let (barrier, target) = (Arc::clone(&barrier), peer.target().clone());
        tasks.spawn(async move {
            let client = XmppClient::login(&target, &one.lane.receiver).await;
            // Also after a failure: the others must not wait for ever.
            barrier.wait().await;
            let mut client = client?;
            let received = timeout(RETURN_LIMIT, one.receive(&mut client)).await;
            // What is missing after that is lost, and the tally says so.
            if let Ok(received) = received {
                received?;
            }
            Ok::<_, BenchError>((one.checker.tally(), now()))
        });
    }
    timeout(RETURN_LIMIT, barrier.wait())
        .await
        .map_err(|_| BenchError::TimedOut("logging in again"))?;
    let returned_at = now();
    let meter = CpuMeter::of_peer(peer.kind().name(), peer.pid());
    let mut tally = Tally::default();
    let mut last = returned_at;
    while let Some(one) = tasks.join_next().await {
        let (one, at) = one??;
        tally.add(one);
        last = last.max(at);
    }
    meter.finish(&mut run, tally.delivered);
    run.seconds = last.saturating_duration_since(returned_at).as_secs_f64();
    run.per_s = tally.delivered as f64 / run.seconds;
    run.messages = Some(tally);
    Ok(run)
}
