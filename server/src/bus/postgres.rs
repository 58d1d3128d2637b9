//! Hints over Postgres: one connection that listens, notifies and polls.
//!
//! A payload is 8 bytes of the sending server in hexadecimal and either `*` (everything may have
//! grown) or up to 200 hints in base64: an id, and the log's head in 8 bytes (0 where it is not
//! known); or `!` and one signal in base64: log, sending device, sealed bytes. Others' nonsense is
//! dropped: a hint can at most wake, and a signal proves itself to its readers or is nothing.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use bytes::Bytes;
use sotto_protocol::limits::SIGNAL_BYTES_MAX;
use sotto_protocol::{ConversationId, DeviceId};
use tokio::sync::{Notify, mpsc};
use tokio::time::MissedTickBehavior;
use tokio_postgres::{Client, Config, Statement};

use super::subscriptions::{SHARDS, Signal, Subscriptions};
use crate::store::StoreError;
use crate::store::connect::{self, Backoff, Link};

/// Hints of one notification; Postgres takes less than 8000 bytes.
const HINTS_MAX: usize = 200;
/// 24 bytes in base64.
const HINT_CHARACTERS: usize = 32;
/// Signals that may wait; more are forgotten.
const SIGNALS_MAX: usize = 256;
/// Hints that may wait; beyond it everybody is woken instead.
const WAITING_MAX: usize = 50_000;
/// Notifications that may wait to be read; beyond it everybody is woken instead.
const INBOX_MAX: usize = 4096;
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
    heads: HashMap<ConversationId, Option<u64>>,
    signals: Vec<Arc<Signal>>,
    overflowed: bool,
}

impl Outbox {
    pub(super) fn new() -> Self {
        Self {
            waiting: Mutex::default(),
            filled: Notify::new(),
        }
    }

    pub(super) fn put(&self, conversation: ConversationId, head: Option<u64>) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = waiting.heads.get_mut(&conversation) {
            *known = known.zip(head).map(|(known, head)| known.max(head));
        } else if waiting.heads.len() < WAITING_MAX {
            waiting.heads.insert(conversation, head);
        } else {
            waiting.overflowed = true;
        }
        drop(waiting);
        self.filled.notify_one();
    }

    pub(super) fn put_signal(&self, signal: Arc<Signal>) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.signals.len() < SIGNALS_MAX {
            waiting.signals.push(signal);
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

/// Returns when the connection is of no more use. Hearing, saying and polling share it and do not
/// wait for each other.
async fn serve(
    mut link: Link,
    inbox: mpsc::Receiver<String>,
    subscriptions: &Subscriptions,
    outbox: &Outbox,
    name: &str,
) {
    let prepared = async { Ok((link.prepare(NOTIFY).await?, link.prepare(HEADS).await?)) };
    let Ok(Ok((notify, heads))) = tokio::time::timeout(ANSWER_LIMIT, prepared)
        .await
        .map(|prepared: Result<_, StoreError>| prepared)
    else {
        return;
    };
    let client = link.client();
    tokio::select! {
        () = hear_all(inbox, subscriptions, name) => {}
        () = say_all(client, &notify, outbox, name) => {}
        () = poll_all(client, &heads, subscriptions) => {}
    }
}

async fn hear_all(mut inbox: mpsc::Receiver<String>, subscriptions: &Subscriptions, name: &str) {
    while let Some(payload) = inbox.recv().await {
        hear(&payload, subscriptions, name);
    }
}

/// One notification at a time: what comes meanwhile shares the next one.
async fn say_all(client: &Client, notify: &Statement, outbox: &Outbox, name: &str) {
    loop {
        outbox.filled.notified().await;
        if !in_time(say(client, notify, outbox, name)).await {
            return;
        }
    }
}

async fn poll_all(client: &Client, heads: &Statement, subscriptions: &Subscriptions) {
    let mut poll = tokio::time::interval(POLL / u32::try_from(SHARDS).unwrap_or(1));
    poll.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for shard in (0..SHARDS).cycle() {
        poll.tick().await;
        if !in_time(compare(client, heads, subscriptions, shard)).await {
            return;
        }
    }
}

async fn in_time(work: impl Future<Output = Result<(), StoreError>>) -> bool {
    matches!(tokio::time::timeout(ANSWER_LIMIT, work).await, Ok(Ok(())))
}

async fn say(
    client: &Client,
    notify: &Statement,
    outbox: &Outbox,
    name: &str,
) -> Result<(), StoreError> {
    let waiting = outbox.take();
    let payloads = payloads(&waiting, name);
    if payloads.is_empty() {
        return Ok(());
    }
    // Hints taken here and lost with the connection are found by the others' polls.
    client
        .execute(notify, &[&payloads])
        .await
        .map(drop)
        .map_err(StoreError::from_db)
}

fn payloads(waiting: &Waiting, name: &str) -> Vec<String> {
    if waiting.overflowed {
        return vec![format!("{name}*")];
    }
    let hints: Vec<_> = waiting.heads.iter().collect();
    let signals = waiting.signals.iter().map(|signal| {
        let parts: [&[u8]; 3] = [
            signal.conversation.as_bytes(),
            signal.device.as_bytes(),
            &signal.payload,
        ];
        let mut payload = format!("{name}!");
        STANDARD_NO_PAD.encode_string(parts.concat(), &mut payload);
        payload
    });
    hints
        .chunks(HINTS_MAX)
        .map(|chunk| {
            let mut payload = String::with_capacity(name.len() + chunk.len() * HINT_CHARACTERS);
            payload.push_str(name);
            for (id, head) in chunk {
                let mut hint = [0; 24];
                let (place, number) = hint.split_at_mut(16);
                place.copy_from_slice(id.as_bytes());
                number.copy_from_slice(&head.unwrap_or(0).to_be_bytes());
                STANDARD_NO_PAD.encode_string(hint, &mut payload);
            }
            payload
        })
        .chain(signals)
        .collect()
}

fn signal_of(encoded: &str) -> Option<Signal> {
    let mut bytes = Bytes::from(STANDARD_NO_PAD.decode(encoded).ok()?);
    let fits = (33..=32 + SIGNAL_BYTES_MAX).contains(&bytes.len());
    let head = fits.then(|| bytes.split_to(32))?;
    let (conversation, device) = head.split_at_checked(16)?;
    Some(Signal {
        conversation: ConversationId::from_slice(conversation).ok()?,
        device: DeviceId::from_slice(device).ok()?,
        payload: bytes,
    })
}

fn hear(payload: &str, subscriptions: &Subscriptions, name: &str) {
    let Some((sender, hints)) = payload.split_at_checked(name.len()) else {
        return;
    };
    if sender == name {
        return;
    }
    if hints == "*" {
        subscriptions.wake_all();
        return;
    }
    if let Some(encoded) = hints.strip_prefix('!') {
        if let Some(signal) = signal_of(encoded) {
            subscriptions.signal(&Arc::new(signal));
        }
        return;
    }
    for hint in hints.as_bytes().chunks(HINT_CHARACTERS) {
        let mut decoded = [0; 24];
        let Ok(24) = STANDARD_NO_PAD.decode_slice(hint, &mut decoded) else {
            continue;
        };
        let [id @ .., _, _, _, _, _, _, _, _] = decoded;
        let [.., a, b, c, d, e, f, g, h] = decoded;
        let head = u64::from_be_bytes([a, b, c, d, e, f, g, h]);
        subscriptions.wake(ConversationId::from_bytes(id), (head > 0).then_some(head));
    }
}

/// Asks for the heads of one shard's logs, and wakes for those that have grown. Also asks when
/// nobody waits for any: an answer shows that the connection lives.
async fn compare(
    client: &Client,
    heads: &Statement,
    subscriptions: &Subscriptions,
    shard: usize,
) -> Result<(), StoreError> {
    let logs = subscriptions.logs(shard);
    if logs.is_empty() && !shard.is_multiple_of(8) {
        return Ok(());
    }
    let batches = logs
        .chunks(POLL_BATCH)
        .chain(logs.is_empty().then_some(&[][..]));
    for batch in batches {
        let ids: Vec<&[u8]> = batch.iter().map(|id| id.as_bytes().as_slice()).collect();
        let rows = client
            .query(heads, &[&ids])
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
    struct Heard(
        Mutex<HashMap<ConversationId, Option<u64>>>,
        Mutex<Vec<Signal>>,
    );

    impl Wake for Heard {
        fn signal(&self, signal: &Arc<Signal>) {
            self.1.lock().unwrap().push(Signal::clone(signal));
        }

        fn wake(&self, conversation: ConversationId, head: Option<u64>) {
            self.0.lock().unwrap().insert(conversation, head);
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
        (0..450).for_each(|number| outbox.put(id(number), Some(7)));
        outbox.put(id(0), Some(3));
        outbox.put(id(1), None);
        outbox.put(id(2), Some(u64::MAX));
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
        let heard = heard.0.lock().unwrap();
        assert_eq!(heard.len(), 450);
        let heads = (0..4).map(|number| heard[&id(number)]);
        assert!(heads.eq([Some(7), None, Some(u64::MAX), Some(7)]));
    }

    #[test]
    fn signals_are_heard_by_those_who_wait_fit_and_are_bounded() {
        let outbox = Outbox::new();
        let signal = |number| Signal {
            conversation: id(number),
            device: DeviceId::from_bytes([9; 16]),
            payload: Bytes::from(vec![5; SIGNAL_BYTES_MAX]),
        };
        (0..1_000).for_each(|number| outbox.put_signal(Arc::new(signal(number))));
        let payloads = payloads(&outbox.take(), "0123456789abcdef");
        assert_eq!(payloads.len(), SIGNALS_MAX);
        let map = Arc::new(Subscriptions::new());
        let heard = Arc::new(Heard::default());
        let _subscribed = Subscriptions::subscribe(&map, id(7), heard.clone());
        for payload in &payloads {
            assert!(payload.len() < 8000);
            hear(payload, &map, "0123456789abcdef");
            hear(payload, &map, "fedcba9876543210");
        }
        assert_eq!(*heard.1.lock().unwrap(), [signal(7)]);
        let short = STANDARD_NO_PAD.encode([7; 32]);
        let long = STANDARD_NO_PAD.encode([7; 33 + SIGNAL_BYTES_MAX]);
        for nonsense in [short.as_str(), long.as_str(), "", "é", "'; --"] {
            assert!(signal_of(nonsense).is_none());
        }
    }

    #[test]
    fn an_overflow_wakes_everybody_and_nonsense_nobody() {
        let outbox = Outbox::new();
        (0..u16::MAX).for_each(|number| outbox.put(id(number), Some(1)));
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
