//! The private port: whether the process lives, whether it can serve, what it counted.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde::Serialize;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior};

use crate::server::Server;

/// Between two questions to the database.
const ASK_EVERY: Duration = Duration::from_millis(500);
/// Without an answer of the database for this long, the server is not ready.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);

/// When the database answered last.
type LastAnswer = watch::Receiver<Instant>;

#[derive(Clone)]
struct Admin {
    server: Arc<Server>,
    last_answer: LastAnswer,
}

#[derive(Serialize)]
struct Status {
    name: String,
    version: &'static str,
    sessions: i64,
    connections: i64,
    draining: bool,
    ready: bool,
    /// What carries hints between servers.
    bus: &'static str,
    /// Whether it does so now; if not, messages come by polling, within seconds.
    bus_connected: bool,
}

/// Serves the private port until dropped.
pub(crate) async fn run(server: Arc<Server>, listener: TcpListener) -> std::io::Result<()> {
    let (answered, last_answer) = watch::channel(Instant::now());
    let asking = ask_database(Arc::clone(&server), answered);
    let routes = Router::new()
        .route("/livez", get(|| async { "alive\n" }))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .route("/status.json", get(status))
        .with_state(Admin {
            server,
            last_answer,
        });
    let serving = axum::serve(listener, routes);
    tokio::select! {
        () = asking => Ok(()),
        served = serving => served,
    }
}

async fn ask_database(server: Arc<Server>, answered: watch::Sender<Instant>) {
    let mut tick = tokio::time::interval(ASK_EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        let answer = tokio::time::timeout(ANSWER_WITHIN, server.store.ping()).await;
        if matches!(answer, Ok(Ok(()))) {
            answered.send_replace(Instant::now());
        }
    }
}

impl Admin {
    /// Why the server is not ready, if it is not.
    fn unready(&self) -> Option<&'static str> {
        let recent = self.last_answer.borrow().elapsed() < ASK_EVERY + ANSWER_WITHIN;
        if self.server.is_draining() {
            Some("draining\n")
        } else if !recent {
            Some("the database does not answer\n")
        } else {
            None
        }
    }
}

async fn ready(State(admin): State<Admin>) -> Response {
    match admin.unready() {
        None => "ready\n".into_response(),
        Some(reason) => (StatusCode::SERVICE_UNAVAILABLE, reason).into_response(),
    }
}

async fn metrics(State(admin): State<Admin>) -> Response {
    const FORMAT: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    let metrics = &admin.server.metrics;
    metrics.show_bus(admin.server.store.bus());
    match metrics.encode() {
        Ok(text) => ([(header::CONTENT_TYPE, FORMAT)], text).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

async fn status(State(admin): State<Admin>) -> Response {
    let server = &admin.server;
    let status = Status {
        name: server.config.name.clone(),
        version: env!("CARGO_PKG_VERSION"),
        sessions: server.metrics.sessions.get(),
        connections: server.metrics.connections.get(),
        draining: server.is_draining(),
        ready: admin.unready().is_none(),
        bus: server.store.bus().kind(),
        bus_connected: server.store.bus().is_connected(),
    };
    match serde_json::to_string(&status) {
        Ok(text) => ([(header::CONTENT_TYPE, "application/json")], text + "\n").into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}
