//! Status and metrics over HTTP, on loopback only (the configuration refuses anything else).
//!
//! Read-only: nothing can be changed here.

use crate::core::{Core, Phase};
use crate::pool::BackendStatus;
use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;
use tokio::net::TcpListener;

const TEXT: &str = "text/plain; charset=utf-8";
const JSON: &str = "application/json";
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Answers until the task is ended.
pub(crate) async fn run(core: Arc<Core>, listener: TcpListener) {
    let router = Router::new()
        .route("/", get(status))
        .route("/status", get(status))
        .route("/status.json", get(status_json))
        .route("/metrics", get(metrics))
        .route("/livez", get(|| async { (StatusCode::OK, "alive\n") }))
        .route("/readyz", get(readyz))
        .with_state(core);
    if let Err(error) = axum::serve(listener, router).await {
        tracing::warn!(%error, "the admin port stopped");
    }
}

async fn readyz(State(core): State<Arc<Core>>) -> impl IntoResponse {
    if core.is_ready() {
        (StatusCode::OK, "ready\n")
    } else {
        (
            StatusCode::SERVICE_UNAVAILABLE,
            "not ready: draining, or no backend is up\n",
        )
    }
}

async fn metrics(State(core): State<Arc<Core>>) -> Response {
    match core.metrics.render(core.connections(), &core.backends()) {
        Ok(text) => ([(header::CONTENT_TYPE, OPEN_METRICS)], text).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

#[derive(Serialize)]
struct Status {
    version: &'static str,
    phase: &'static str,
    ready: bool,
    uptime_seconds: u64,
    backends: Vec<Backend>,
    totals: Totals,
}

#[derive(Serialize)]
struct Backend {
    id: String,
    address: String,
    state: &'static str,
    weight: u32,
    connections: u32,
    handshakes: u32,
    total: u64,
    failures: u64,
}

#[derive(Serialize)]
struct Totals {
    /// Clients there now.
    connections: u32,
    connections_max: u32,
    accepted: u64,
    /// Clients that a backend has served.
    served: u64,
    /// Attempts at backends that failed.
    failures: u64,
    retries: u64,
    refused: BTreeMap<&'static str, u64>,
}

impl Status {
    fn of(core: &Core) -> Self {
        let phase = match *core.phase.borrow() {
            Phase::Serving => "serving",
            Phase::Draining => "draining",
        };
        let backends = core.backends();
        let totals = Totals {
            connections: core.connections(),
            connections_max: core.connections_max,
            accepted: core.metrics.accepted.get(),
            served: backends.iter().map(|backend| backend.total).sum(),
            failures: backends.iter().map(|backend| backend.failures).sum(),
            retries: core.metrics.retries.get(),
            refused: core.metrics.refusals().collect(),
        };
        Self {
            version: env!("CARGO_PKG_VERSION"),
            phase,
            ready: core.is_ready(),
            uptime_seconds: core.now().as_secs(),
            backends: backends.into_iter().map(Backend::from).collect(),
            totals,
        }
    }
}

impl From<BackendStatus> for Backend {
    fn from(status: BackendStatus) -> Self {
        Self {
            id: status.id,
            address: status.address,
            state: status.state.as_str(),
            weight: status.weight,
            connections: status.connections,
            handshakes: status.handshakes,
            total: status.total,
            failures: status.failures,
        }
    }
}

async fn status_json(State(core): State<Arc<Core>>) -> Response {
    match serde_json::to_string(&Status::of(&core)) {
        Ok(text) => ([(header::CONTENT_TYPE, JSON)], text + "\n").into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

async fn status(State(core): State<Arc<Core>>) -> Response {
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _ = describe(&Status::of(&core), &mut text);
    ([(header::CONTENT_TYPE, TEXT)], text).into_response()
}

fn describe(status: &Status, out: &mut String) -> std::fmt::Result {
    let Totals {
        connections,
        connections_max,
        accepted,
        retries,
        ..
    } = status.totals;
    writeln!(out, "sotto-balancer {} · {}", status.version, status.phase)?;
    writeln!(
        out,
        "{connections} of {connections_max} connections · {accepted} accepted · {retries} retries · up {} s\n",
        status.uptime_seconds
    )?;
    writeln!(
        out,
        "{:<16} {:<22} {:<10} {:>6} {:>8} {:>10} {:>8}",
        "BACKEND", "ADDRESS", "STATE", "WEIGHT", "CLIENTS", "SERVED", "FAILED"
    )?;
    for backend in &status.backends {
        let Backend {
            id,
            address,
            state,
            weight,
            connections,
            total,
            failures,
            ..
        } = backend;
        writeln!(
            out,
            "{id:<16} {address:<22} {state:<10} {weight:>6} {connections:>8} {total:>10} {failures:>8}"
        )?;
    }
    let refused: Vec<String> = status
        .totals
        .refused
        .iter()
        .filter(|(_, count)| **count > 0)
        .map(|(reason, count)| format!("{reason} {count}"))
        .collect();
    if !refused.is_empty() {
        writeln!(out, "\nclosed without a server: {}", refused.join(", "))?;
    }
    Ok(())
}
