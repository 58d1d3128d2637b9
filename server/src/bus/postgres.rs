//! Hints over Postgres: one connection that listens, notifies and polls.
//!
//! A payload is 8 bytes of the sending server in hexadecimal and either `*` (everything may have
//! grown) or up to 200 ids in base64. Others' nonsense is dropped: a hint can at most wake.

use std::collections::HashSet;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use sotto_protocol::ConversationId;
use tokio::sync::{Notify, mpsc};
use tokio::time::MissedTickBehavior;
use tokio_postgres::Config;

use super::subscriptions::{SHARDS, Subscriptions};
use crate::store::StoreError;
use crate::store::connect::{self, Backoff, Link};

/// Ids of one notification; Postgres takes less than 8000 bytes.
const IDS_MAX: usize = 200;
/// Ids that may wait; beyond it everybody is woken instead.
const WAITING_MAX: usize = 50_000;
/// Notifications that may wait to be read; beyond it everybody is woken instead.
const INBOX_MAX: usize = 4096;
/// After a notification, so that many hints share the next one. The first is not delayed.
const PAUSE: Duration = Duration::from_millis(2);
/// Within this every log that somebody waits for is compared with the database.
const POLL: Duration = Duration::from_secs(4);
/// Logs of one comparison.
const POLL_BATCH: usize = 2_000;
/// How long a statement may take before the connection counts as dead; polls come often enough
/// to notice that.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);

const NOTIFY: &str = "SELECT pg_notify('sotto_hints', p) FROM unnest($1::text[]) AS i (p)";
const HEADS: &str = "SELECT id, head FROM conversation WHERE id = ANY($1::bytea[])";

/// Hints that wait to be sent.
pub(super) struct Outbox {
    waiting: Mutex<Waiting>,
    filled: Notify,
}

#[derive(Default)]
struct Waiting {
    ids: HashSet<ConversationId>,
    overflowed: bool,
}

impl Outbox {
    pub(super) fn new() -> Self {
        Self {
            waiting: Mutex::default(),
            filled: Notify::new(),
        }
    }

    pub(super) fn put(&self, conversation: ConversationId) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.ids.len() < WAITING_MAX {
            waiting.ids.insert(conversation);
        } else {
            waiting.overflowed = true;
        }
        drop(waiting);
        self.filled.notify_one();
    }

    fn take(&self) -> Waiting {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *waiting)
    }
}

/// Serves the bus for ever.
pub(super) async fn run(
    config: Arc<Config>,
    subscriptions: Arc<Subscriptions>,
    outbox: Arc<Outbox>,
) {
    let mut name = String::with_capacity(16);
    for byte in rand::random::<[u8; 8]>() {
        // Writing to a string cannot fail.
        let _ = write!(name, "{byte:02x}");
    }
    let mut backoff = Backoff::new();
    loop {
        backoff.wait().await;
        let (sender, inbox) = mpsc::channel(INBOX_MAX);
        match listen(&config, sender).await {
            Ok(link) => {
                backoff.succeeded();
                // Whatever was said since the last connection was not heard.
                subscriptions.wake_all();
                serve(link, inbox, &subscriptions, &outbox, &name).await;
                tracing::warn!("hints interrupted");
            }
            Err(error) => tracing::debug!(%error, "hints wait for the database"),
        }
        backoff.failed();
    }
}

async fn listen(config: &Config, sender: mpsc::Sender<String>) -> Result<Link, StoreError> {
    let link = connect::open_listener(config, sender).await?;
    link.client()
        .batch_execute("LISTEN sotto_hints")
        .await
        .map_err(StoreError::from_db)?;
    Ok(link)
}

/// Returns when the connection is of no more use.
async fn serve(
    mut link: Link,
    mut inbox: mpsc::Receiver<String>,
    subscriptions: &Subscriptions,
    outbox: &Outbox,
    name: &str,
) {
    let mut poll = tokio::time::interval(POLL / u32::try_from(SHARDS).unwrap_or(1));
    poll.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut shard = 0;
    loop {
        let answered = tokio::select! {
            payload = inbox.recv() => match payload {
                Some(payload) => {
                    hear(&payload, subscriptions, name);
                    true
                }
                None => false,
            },
            () = outbox.filled.notified() => {
                let said = in_time(say(&mut link, outbox, name)).await;
                tokio::time::sleep(PAUSE).await;
                said
            }
            _ = poll.tick() => {
                shard = (shard + 1) % SHARDS;
                in_time(compare(&mut link, subscriptions, shard)).await
            }
        };
        if !answered {
            return;
        }
    }
}

async fn in_time(work: impl Future<Output = Result<(), StoreError>>) -> bool {
    matches!(tokio::time::timeout(ANSWER_LIMIT, work).await, Ok(Ok(())))
}

async fn say(link: &mut Link, outbox: &Outbox, name: &str) -> Result<(), StoreError> {
    let waiting = outbox.take();
    let payloads = payloads(&waiting, name);
    if payloads.is_empty() {
        return Ok(());
    }
    let statement = link.prepare(NOTIFY).await?;
    // Hints taken here and lost with the connection are found by the others' polls.
    link.client()
        .execute(&statement, &[&payloads])
        .await
        .map(drop)
        .map_err(StoreError::from_db)
}

fn payloads(waiting: &Waiting, name: &str) -> Vec<String> {
    if waiting.overflowed {
        return vec![format!("{name}*")];
    }
    let ids: Vec<&ConversationId> = waiting.ids.iter().collect();
    ids.chunks(IDS_MAX)
        .map(|chunk| {
            let mut payload = name.to_owned();
            for id in chunk {
                STANDARD_NO_PAD.encode_string(id.as_bytes(), &mut payload);
            }
            payload
        })
        .collect()
}

fn hear(payload: &str, subscriptions: &Subscriptions, name: &str) {
    let Some((sender, ids)) = payload.split_at_checked(name.len()) else {
        return;
    };
    if sender == name {
        return;
    }
    if ids == "*" {
        subscriptions.wake_all();
        return;
    }
    // 22 characters are 16 bytes.
    for id in ids.as_bytes().chunks(22) {
        let decoded = STANDARD_NO_PAD.decode(id).ok();
        let id = decoded.and_then(|bytes| ConversationId::from_slice(&bytes).ok());
        if let Some(id) = id {
            subscriptions.wake(id, None);
        }
    }
}

/// Asks for the heads of one shard's logs, and wakes for those that have grown. Also asks when
/// nobody waits for any: an answer shows that the connection lives.
async fn compare(
    link: &mut Link,
    subscriptions: &Subscriptions,
    shard: usize,
) -> Result<(), StoreError> {
    let logs = subscriptions.logs(shard);
    if logs.is_empty() && !shard.is_multiple_of(8) {
        return Ok(());
    }
    let statement = link.prepare(HEADS).await?;
    let batches = logs
        .chunks(POLL_BATCH)
        .chain(logs.is_empty().then_some(&[][..]));
    for batch in batches {
        let ids: Vec<&[u8]> = batch.iter().map(|id| id.as_bytes().as_slice()).collect();
        let rows = link
            .client()
            .query(&statement, &[&ids])
            .await
            .map_err(StoreError::from_db)?;
        for row in &rows {
            let id: &[u8] = row.try_get(0).map_err(StoreError::from_db)?;
            let head: i64 = row.try_get(1).map_err(StoreError::from_db)?;
            if let Ok(id) = ConversationId::from_slice(id) {
                subscriptions.polled(id, head);
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bus::Wake;

    #[derive(Default)]
    struct Heard(Mutex<HashSet<ConversationId>>);

    impl Wake for Heard {
        fn wake(&self, conversation: ConversationId, _head: Option<u64>) {
            self.0.lock().unwrap().insert(conversation);
        }
    }

    fn id(number: u16) -> ConversationId {
        let [high, low] = number.to_be_bytes();
        let mut bytes = [7; 16];
        (bytes[0], bytes[15]) = (high, low);
        ConversationId::from_bytes(bytes)
    }

    #[test]
    fn what_is_said_is_heard_by_others_and_fits() {
        let outbox = Outbox::new();
        (0..450).for_each(|number| outbox.put(id(number)));
        let payloads = payloads(&outbox.take(), "0123456789abcdef");
        assert_eq!(payloads.len(), 3);
        let map = Arc::new(Subscriptions::new());
        let heard = Arc::new(Heard::default());
        let _subscribed: Vec<_> = (0..500)
            .map(|number| Subscriptions::subscribe(&map, id(number), heard.clone()))
            .collect();
        for payload in &payloads {
            assert!(payload.len() < 8000);
            hear(payload, &map, "0123456789abcdef");
        }
        assert!(heard.0.lock().unwrap().is_empty(), "own hints are dropped");
        for payload in &payloads {
            hear(payload, &map, "fedcba9876543210");
        }
        assert_eq!(heard.0.lock().unwrap().len(), 450);
    }

    #[test]
    fn an_overflow_wakes_everybody_and_nonsense_nobody() {
        let outbox = Outbox::new();
        (0..u16::MAX).for_each(|number| outbox.put(id(number)));
        let payloads = payloads(&outbox.take(), "0123456789abcdef");
        assert_eq!(payloads, ["0123456789abcdef*"]);
        let map = Arc::new(Subscriptions::new());
        let heard = Arc::new(Heard::default());
        let subscribed = Subscriptions::subscribe(&map, id(3), heard.clone());
        for nonsense in [
            "",
            "é",
            "0123",
            "ffffffffffffffff'; DROP TABLE envelope",
            "ffffffffffffffff**",
        ] {
            hear(nonsense, &map, "0123456789abcdef");
        }
        assert!(heard.0.lock().unwrap().is_empty());
        hear(&payloads[0], &map, "ffffffffffffffff");
        assert_eq!(heard.0.lock().unwrap().len(), 1);
        drop(subscribed);
        assert!(
            map.logs(3).is_empty(),
            "a dropped subscription leaves nothing"
        );
    }
}
