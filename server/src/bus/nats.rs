//! Hints over NATS: one connection, one subject for each deployment.
//!
//! Nothing is asked of NATS but to pass on: no stream, no storage, no answer. A NATS that is slow
//! or away costs hints, and those are made up for by polling (`heads`), which goes on beside it.
//! Appends never wait for it: what is to be said waits in the outbox, which is bounded. The
//! library's own reconnecting is cut short, so that one rule spaces all attempts.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_nats::connection::State;
use async_nats::{Client, ConnectOptions, Event, Subscriber};
use futures_util::Stream as _;
use sotto_protocol::DeploymentId;
use tokio::sync::Notify;

use super::address::{Credentials, NatsAddress};
use super::heads::in_time;
use super::hub::{Carrier, Hub};
use crate::trust::{self, TrustError};

/// How long connecting to one server may take, greeting and TLS included.
const CONNECT_LIMIT: Duration = Duration::from_secs(3);
/// How long opening may take in all, whatever the number of servers.
const OPEN_LIMIT: Duration = Duration::from_secs(10);
/// Between two signs of life that are asked for. The library gives up at the third without one.
const PING_EVERY: Duration = Duration::from_secs(1);
/// Between two looks whether the connection is still the one that was opened.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// Messages that may wait to be heard; beyond it everybody is woken instead.
const INBOX_MAX: usize = 4096;
/// Commands that may wait for the connection.
const COMMANDS_MAX: usize = 256;

/// Why there is no connection to NATS.
#[derive(Debug, thiserror::Error)]
pub(super) enum NatsError {
    /// The authority's certificate cannot be used.
    #[error(transparent)]
    Trust(#[from] TrustError),
    /// NATS does not answer, or refuses.
    #[error("NATS: {0}")]
    Connect(#[from] async_nats::ConnectError),
    /// It refused the subscription.
    #[error("NATS: {0}")]
    Subscribe(#[from] async_nats::SubscribeError),
    /// It ended at once.
    #[error("NATS: {0}")]
    Flush(#[from] async_nats::client::FlushError),
    /// It took too long.
    #[error("NATS did not answer in time")]
    TimedOut,
}

/// NATS as the bus of one deployment.
pub(super) struct Nats {
    address: NatsAddress,
    subject: String,
}

/// A connection that listens.
pub(super) struct Line {
    client: Client,
    subscriber: Subscriber,
    news: Arc<News>,
}

/// What the library tells beside messages.
#[derive(Default)]
struct News {
    /// Messages came faster than they were read.
    lagging: Notify,
    /// NATS does not let this server say or hear hints.
    refused: AtomicBool,
}

impl News {
    fn take_in(&self, event: &Event) {
        match event {
            Event::SlowConsumer(_) => self.lagging.notify_one(),
            // NATS repeats it for each message: said once for each connection.
            Event::ServerError(error) if !self.refused.swap(true, Ordering::Relaxed) => {
                tracing::warn!(%error, "NATS refuses hints; logs are polled meanwhile");
            }
            _ => {}
        }
    }
}

impl Nats {
    pub(super) fn new(address: NatsAddress, deployment: DeploymentId) -> Self {
        let subject = format!("sotto.hints.{deployment}");
        Self { address, subject }
    }

    async fn connect(&self) -> Result<Line, NatsError> {
        let news = Arc::new(News::default());
        let told = Arc::clone(&news);
        let trusted = if self.address.is_encrypted() {
            trust::client_config(self.address.authority.as_deref())?
        } else {
            // A NATS that wants TLS wants tls:// addresses.
            trust::nobody()?
        };
        let options = match self.address.credentials.clone() {
            Credentials::None => ConnectOptions::new(),
            Credentials::Token(token) => ConnectOptions::with_token(token),
            Credentials::User { name, password } => {
                ConnectOptions::with_user_and_password(name, password)
            }
        };
        let options = options
            .tls_client_config(trusted)
            .require_tls(self.address.is_encrypted())
            .name("sotto-server")
            .no_echo()
            .ignore_discovered_servers()
            .connection_timeout(CONNECT_LIMIT)
            .ping_interval(PING_EVERY)
            .subscription_capacity(INBOX_MAX)
            .client_capacity(COMMANDS_MAX)
            .max_reconnects(self.address.servers.len())
            .reconnect_delay_callback(|_| Duration::ZERO)
            .event_callback(move |event| {
                told.take_in(&event);
                std::future::ready(())
            });
        let client = options.connect(self.address.servers.as_slice()).await?;
        let subscriber = client.subscribe(self.subject.clone()).await?;
        client.flush().await?;
        Ok(Line {
            client,
            subscriber,
            news,
        })
    }
}

impl Carrier for Nats {
    type Line = Line;
    type Error = NatsError;

    async fn open(&self) -> Result<Line, NatsError> {
        let line = tokio::time::timeout(OPEN_LIMIT, self.connect()).await;
        line.map_err(|_| NatsError::TimedOut)?
    }

    async fn carry(&self, line: Line, hub: &Hub) {
        let Line {
            client,
            subscriber,
            news,
        } = line;
        tokio::select! {
            () = hear_all(subscriber, hub) => {}
            () = say_all(&client, &self.subject, hub) => {}
            () = until_lost(&client, &news, hub) => {}
            () = wake_when_lagging(&news.lagging, hub) => {}
        }
    }
}

async fn hear_all(mut subscriber: Subscriber, hub: &Hub) {
    let next = |subscriber: &mut Subscriber, context: &mut std::task::Context<'_>| {
        Pin::new(subscriber).poll_next(context)
    };
    while let Some(message) = std::future::poll_fn(|context| next(&mut subscriber, context)).await {
        if let Ok(payload) = std::str::from_utf8(&message.payload) {
            hub.hear(payload);
        }
    }
}

async fn say_all(client: &Client, subject: &str, hub: &Hub) {
    loop {
        hub.outbox.filled().await;
        let saying = async {
            // Hints taken here and lost with the connection are found by the others' polls.
            for payload in hub.take_payloads() {
                client.publish(subject.to_owned(), payload.into()).await?;
                hub.count_said(1);
            }
            Ok::<(), async_nats::PublishError>(())
        };
        if !in_time(saying).await {
            return;
        }
    }
}

/// Returns when the connection is another than was opened, or none: what was said between the two
/// was not heard. One that NATS keeps open and refuses hints on is kept, and shown as none.
async fn until_lost(client: &Client, news: &News, hub: &Hub) {
    let statistics = client.statistics();
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        let same = statistics.connects.load(Ordering::Relaxed) == 1;
        if !same || client.connection_state() != State::Connected {
            return;
        }
        if news.refused.load(Ordering::Relaxed) {
            hub.refused();
        }
    }
}

async fn wake_when_lagging(lagging: &Notify, hub: &Hub) {
    loop {
        lagging.notified().await;
        hub.subscriptions.wake_all();
        // One look at everything covers all that was lost up to it.
        tokio::time::sleep(LOOK_EVERY).await;
    }
}
