//! Servers killed, Postgres away, the balancer gone: nothing acknowledged is
//! lost, doubled or reordered. Each test has a deployment of its own.

#[path = "../support/mod.rs"]
mod support;

mod kills;
