//! Does what operators ordered through the database: ends sessions, stands aside, comes back.
//!
//! Each server looks once a second; a look that fails is made again. Whether a device may come
//! back is not decided here: its login is refused.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;

use crate::run;
use crate::server::Server;
use crate::store::admin::Order;

/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Obeys orders after number `seen` until dropped.
pub(crate) async fn run(server: Arc<Server>, mut seen: i64) {
    let mut tick = tokio::time::interval(LOOK_EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut moving: Option<JoinHandle<()>> = None;
    loop {
        tick.tick().await;
        let orders = match server.store.orders(seen).await {
            Ok((last, orders)) => {
                seen = last;
                orders
            }
            Err(error) => {
                tracing::debug!(%error, "orders wait for the database");
                continue;
            }
        };
        let mut ended = HashSet::new();
        for order in orders {
            match order {
                Order::EndDevice(device) => drop(ended.insert(device)),
                Order::Drain(node) if node == server.store.node_id() => {
                    tracing::info!("draining, as ordered");
                    let server = Arc::clone(&server);
                    let next = tokio::spawn(async move { run::move_clients(&server).await });
                    if let Some(before) = moving.replace(next) {
                        before.abort();
                    }
                }
                Order::Serve(node) if node == server.store.node_id() => {
                    tracing::info!("serving again, as ordered");
                    if let Some(before) = moving.take() {
                        before.abort();
                    }
                    server.end_draining();
                }
                Order::Drain(_) | Order::Serve(_) => {}
            }
        }
        if !ended.is_empty() {
            server.sessions.end(&ended);
        }
    }
}
