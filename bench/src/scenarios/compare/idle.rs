//! Memory of a peer's connections that do nothing, taken as Sotto's is: logged in, available.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::error::BenchError;
use crate::procfs;
use crate::xmpp::{Account, Peer, XmppClient};

/// Connections before the first look.
const WARM: u32 = 96;
/// Registrations under way at the same time.
const SETUP_MAX: usize = 48;
/// Between two looks until memory is steady.
const SETTLE_STEP: Duration = Duration::from_secs(1);
/// Looks until it has to be.
const SETTLE_STEPS: u32 = 10;

/// What the process grows by for each of so many connections.
///
/// # Errors
/// When they cannot be made, or one is gone in the end.
pub(super) async fn bytes_each(peer: &Peer, clients: u32) -> Result<f64, BenchError> {
    let mut held = connect(peer, 0..WARM).await?;
    let before = settled(peer).await;
    held.extend(connect(peer, WARM..WARM + clients).await?);
    let after = settled(peer).await;
    for client in &mut held {
        client.settle().await?;
    }
    Ok((after as f64 - before as f64) / f64::from(clients))
}

async fn connect(
    peer: &Peer,
    numbers: std::ops::Range<u32>,
) -> Result<Vec<XmppClient>, BenchError> {
    let gate = Arc::new(Semaphore::new(SETUP_MAX));
    let mut tasks = JoinSet::new();
    for number in numbers {
        let (gate, target) = (Arc::clone(&gate), peer.target().clone());
        tasks.spawn(async move {
            let _turn = gate.acquire_owned().await;
            let mut client = XmppClient::register(&target, &Account::new(number)).await?;
            client.announce().await?;
            client.settle().await?;
            Ok::<_, BenchError>(client)
        });
    }
    let mut held = Vec::with_capacity(tasks.len());
    while let Some(client) = tasks.join_next().await {
        held.push(client??);
    }
    Ok(held)
}

/// Memory when it has stopped changing by more than a hundredth, within a bound.
async fn settled(peer: &Peer) -> u64 {
    let look = || procfs::memory(peer.pid()).unwrap_or_default().rss_bytes;
    let mut last = look();
    for _ in 0..SETTLE_STEPS {
        sleep(SETTLE_STEP).await;
        let present = look();
        if present.abs_diff(last) * 100 < present.max(1) {
            return present;
        }
        last = present;
    }
    last
}
