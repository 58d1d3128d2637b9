//! Accepts clients: never more than there are permits, never faster than a prefix may.
//!
//! At the limit it stops accepting; the system's queue holds the next ones.

use crate::affinity::AffinityKey;
use crate::connect;
use crate::core::{Core, Phase};
use crate::metrics::Refusal;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};

/// Rest after a failed accept (out of descriptors or memory), so that it does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Accepts until the balancer drains; dropping the listener then refuses further clients.
pub(crate) async fn run(core: Arc<Core>, listener: TcpListener) {
    let mut phase = core.phase.subscribe();
    tokio::select! {
        () = accept_all(&core, &listener) => {}
        _ = phase.wait_for(|phase| *phase == Phase::Draining) => {}
    }
}

async fn accept_all(core: &Arc<Core>, listener: &TcpListener) {
    loop {
        // The semaphore is never closed; if it were, there would be nothing left to do.
        let Ok(permit) = core.permits.acquire().await else {
            return;
        };
        match listener.accept().await {
            Ok((client, address)) => {
                permit.forget();
                admit(core, client, AffinityKey::of(address.ip()));
            }
            Err(error) => {
                drop(permit);
                if let Some(suppressed) = core.may_log() {
                    tracing::warn!(%error, suppressed, "cannot accept a connection");
                }
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

fn admit(core: &Arc<Core>, client: TcpStream, key: AffinityKey) {
    core.metrics.accepted.inc();
    match core.admit(key) {
        Ok(admission) => {
            tokio::spawn(connect::serve(Arc::clone(core), client, admission));
        }
        Err(refusal) => {
            core.metrics.refuse(refusal.into());
            if let Some(suppressed) = core.may_log() {
                let reason = Refusal::from(refusal).as_str();
                tracing::warn!(reason, suppressed, "a prefix is over its limit; closed");
            }
        }
    }
}
