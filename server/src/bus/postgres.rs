//! Hints over Postgres: one connection that listens, notifies and polls.

use std::sync::Arc;

use tokio::sync::mpsc;
use tokio_postgres::{Client, Statement};

use super::heads::{self, ANSWER_LIMIT, HEADS, in_time};
use super::hub::{Carrier, Hub};
use crate::store::StoreError;
use crate::store::connect::{self, Database, Link};

/// Notifications that may wait to be read; beyond it everybody is woken instead.
const INBOX_MAX: usize = 4096;

const NOTIFY: &str = "SELECT pg_notify('sotto_hints', p) FROM unnest($1::text[]) AS i (p)";

/// The database as the bus.
pub(super) struct Postgres(pub(super) Arc<Database>);

/// A connection that listens, and what it heard.
pub(super) struct Line {
    link: Link,
    inbox: mpsc::Receiver<String>,
    notify: Statement,
    heads: Statement,
}

impl Carrier for Postgres {
    type Line = Line;
    type Error = StoreError;

    async fn open(&self) -> Result<Line, StoreError> {
        let (sender, inbox) = mpsc::channel(INBOX_MAX);
        let mut link = connect::open_listener(&self.0, sender).await?;
        let prepared = async {
            link.client()
                .batch_execute("LISTEN sotto_hints")
                .await
                .map_err(StoreError::from_db)?;
            Ok((link.prepare(NOTIFY).await?, link.prepare(HEADS).await?))
        };
        let (notify, heads) = tokio::time::timeout(ANSWER_LIMIT, prepared)
            .await
            .map_err(|_| StoreError::Unavailable("no answer".into()))??;
        Ok(Line {
            link,
            inbox,
            notify,
            heads,
        })
    }

    /// Hearing, saying and polling share the connection and do not wait for each other.
    async fn carry(&self, line: Line, hub: &Hub) {
        let client = line.link.client();
        tokio::select! {
            () = hear_all(line.inbox, hub) => {}
            () = say_all(client, &line.notify, hub) => {}
            () = heads::poll_all(client, &line.heads, &hub.subscriptions) => {}
        }
    }
}

async fn hear_all(mut inbox: mpsc::Receiver<String>, hub: &Hub) {
    while let Some(payload) = inbox.recv().await {
        hub.hear(&payload);
    }
}

/// One notification at a time: what comes meanwhile shares the next one.
async fn say_all(client: &Client, notify: &Statement, hub: &Hub) {
    loop {
        hub.outbox.filled().await;
        if !in_time(say(client, notify, hub)).await {
            return;
        }
    }
}

async fn say(client: &Client, notify: &Statement, hub: &Hub) -> Result<(), StoreError> {
    let payloads = hub.take_payloads();
    if payloads.is_empty() {
        return Ok(());
    }
    // Hints taken here and lost with the connection are found by the others' polls.
    client
        .execute(notify, &[&payloads])
        .await
        .map_err(StoreError::from_db)?;
    hub.count_said(payloads.len() as u64);
    Ok(())
}
