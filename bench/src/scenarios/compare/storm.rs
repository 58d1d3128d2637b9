//! Everybody who was on a peer comes back after it was killed and started again at once.
//!
//! Each client waits a random moment that doubles with each attempt, as Sotto's do, logs in, says
//! that it is there and sends its peer one message. It is back when it holds the other's: messages
//! to people who are not back yet wait in the server.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{Barrier, Semaphore};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::super::storm::{ATTEMPTS_MAX, DOUBLINGS_MAX, FIRST_WAIT};
use crate::clock::now;
use crate::error::BenchError;
use crate::latency::Latencies;
use crate::pair::SHORT_TEXT;
use crate::report::{Report, Run};
use crate::target::Target;
use crate::xmpp::{self, Account, Peer, XmppClient, XmppLane, message_id, number_of};

/// Logins under way at the same time before the kill.
const LOGINS_MAX: usize = 24;
/// Everybody is back within this.
const RETURN_LIMIT: Duration = Duration::from_secs(60);

/// Kills the peer and waits until all are back.
///
/// # Errors
/// When somebody cannot log in again; whoever is only late is named in the report.
pub(super) async fn run(
    clients: u32,
    peer: &mut Peer,
    report: &mut Report,
) -> Result<(), BenchError> {
    let lanes = xmpp::set_up(peer.target(), (clients / 2).max(1)).await?;
    peer.restart()?;
    let lanes = connect_again(peer.target(), lanes).await?;
    let ready = Arc::new(Barrier::new(lanes.len() * 2 + 1));
    let mut tasks = JoinSet::new();
    for lane in lanes {
        let tags: [u64; 2] = rand::random();
        let [mine, other] = tags;
        let (sender, receiver) = (lane.sender.clone(), lane.receiver.clone());
        let halves = [
            (lane.sending, lane.sender, receiver, mine, other),
            (lane.receiving, lane.receiver, sender, other, mine),
        ];
        for (connection, account, other, tag, other_tag) in halves {
            let client = Client {
                target: peer.target().clone(),
                account,
                other,
                tag,
                other_tag,
            };
            tasks.spawn(client.live(connection, Arc::clone(&ready)));
        }
    }
    let everybody = tasks.len();
    ready.wait().await;
    let killed_at = now();
    peer.kill_and_restart()?;
    let mut back = Latencies::new();
    let mut held = Vec::new();
    let collecting = async {
        while let Some(one) = tasks.join_next().await {
            let (connection, at) = one??;
            back.record(at.saturating_duration_since(killed_at));
            held.push(connection);
        }
        Ok::<_, BenchError>(())
    };
    let all_back = timeout(RETURN_LIMIT, collecting).await;
    if let Ok(failed) = all_back {
        failed?;
    } else {
        let missing = everybody - held.len();
        report.notes.push(format!(
            "{}: {missing} of {everybody} clients were not back or lacked their message after {} s",
            peer.kind().name(),
            RETURN_LIMIT.as_secs()
        ));
    }
    let mut run = Run {
        name: "clients back a second after a kill -9".to_owned(),
        clients,
        ..Run::default()
    };
    let mut back = back.percentiles();
    if held.len() < everybody {
        // The last ones never came.
        back.max_us = u64::MAX;
    }
    run.latency.insert("kill to back and receiving", back);
    report.runs.push(run);
    Ok(())
}

/// Everybody logs in again, several at a time.
async fn connect_again(target: &Target, lanes: Vec<XmppLane>) -> Result<Vec<XmppLane>, BenchError> {
    let gate = Arc::new(Semaphore::new(LOGINS_MAX));
    let mut tasks = JoinSet::new();
    for mut lane in lanes {
        let (gate, target) = (Arc::clone(&gate), target.clone());
        tasks.spawn(async move {
            let _turn = gate.acquire_owned().await;
            lane.sending = available(&target, &lane.sender).await?;
            lane.receiving = available(&target, &lane.receiver).await?;
            Ok::<_, BenchError>(lane)
        });
    }
    let mut connected = Vec::with_capacity(tasks.len());
    while let Some(lane) = tasks.join_next().await {
        connected.push(lane??);
    }
    Ok(connected)
}

async fn available(target: &Target, account: &Account) -> Result<XmppClient, BenchError> {
    let mut client = XmppClient::login(target, account).await?;
    client.announce().await?;
    client.settle().await?;
    Ok(client)
}

/// One client of the storm.
struct Client {
    target: Target,
    account: Account,
    other: Account,
    tag: u64,
    other_tag: u64,
}

impl Client {
    /// Until it holds the other's message; its connection is held until all are back.
    async fn live(
        self,
        mut connection: XmppClient,
        ready: Arc<Barrier>,
    ) -> Result<(XmppClient, Instant), BenchError> {
        ready.wait().await;
        // Nobody has anything to say before the kill.
        while connection.next().await.is_ok() {}
        let mut last = BenchError::Closed;
        for attempt in 0..ATTEMPTS_MAX {
            let ceiling = FIRST_WAIT * 2_u32.pow(attempt.min(DOUBLINGS_MAX));
            sleep(ceiling.mul_f64(rand::random())).await;
            match self.come_back().await {
                Ok(connection) => return Ok((connection, now())),
                // A server that is starting may refuse what it takes a moment later.
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    async fn come_back(&self) -> Result<XmppClient, BenchError> {
        let mut connection = XmppClient::login(&self.target, &self.account).await?;
        connection.announce().await?;
        let id = message_id(self.tag, 0);
        connection.queue_message(&self.other.bare_jid(), &id, SHORT_TEXT);
        connection.flush().await?;
        loop {
            let element = connection.next().await?;
            if number_of(self.other_tag, &element).is_some() {
                return Ok(connection);
            }
        }
    }
}
