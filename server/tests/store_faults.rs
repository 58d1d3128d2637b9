//! Bad days: Postgres killed in the middle, a commit whose replication was cancelled, hints lost.

#![allow(clippy::unwrap_used, reason = "a test ends at what it did not expect")]

mod store_support;

use std::collections::HashSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use sotto_protocol::ConversationId;
use sotto_server::bus::Wake;
use sotto_server::migrate::migrate;
use sotto_server::store::{AppendError, Store, StoreError};
use sotto_stack::postgres::Durability;
use sotto_stack::testing::TestCluster;
use store_support::*;

#[derive(Default)]
struct Heard(Mutex<HashSet<ConversationId>>);

impl Heard {
    fn take(&self, id: ConversationId) -> bool {
        self.0.lock().unwrap().remove(&id)
    }
}

impl Wake for Heard {
    fn wake(&self, conversation: ConversationId, _head: Option<u64>) {
        self.0.lock().unwrap().insert(conversation);
    }
}

#[tokio::test]
async fn a_hint_reaches_another_server_and_only_who_waits() {
    let World { store, database } = world().await;
    let other = open(database.url()).await;
    let alice = person(&store, "alice").await;
    let id = group(&store, &[&alice]).await;
    let quiet = group(&store, &[&alice]).await;
    let heard = Arc::new(Heard::default());
    let _subscribed = other.bus().subscribe(id, heard.clone());
    let second = other.bus().subscribe(quiet, heard.clone());
    eventually("the first poll is over", async || {
        heard.take(id) | heard.take(quiet)
    })
    .await;
    drop(second);
    for number in 0..20 {
        store
            .append(message(&alice, id, &number.to_string()))
            .await
            .unwrap();
        eventually("the hint", async || heard.take(id)).await;
    }
    store
        .append(message(&alice, quiet, "nobody waits"))
        .await
        .unwrap();
    assert!(!heard.take(quiet));
}

#[tokio::test]
async fn lost_hints_are_made_up_for() {
    let World { store, database } = world().await;
    let alice = person(&store, "alice").await;
    let id = group(&store, &[&alice]).await;
    let heard = Arc::new(Heard::default());
    let _subscribed = store.bus().subscribe(id, heard.clone());
    eventually("the first poll", async || heard.take(id)).await;
    let client = sql(database.url()).await;
    // An entry without a hint.
    client
        .execute(
            "UPDATE conversation SET head = head + 1 WHERE id = $1",
            &[&id.to_vec()],
        )
        .await
        .unwrap();
    eventually("the poll", async || heard.take(id)).await;
    // The listener's connection ends: everybody looks for themselves.
    let listener = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
         WHERE datname = current_database() AND pid <> pg_backend_pid()";
    client.query_one(listener, &[]).await.unwrap();
    eventually("everybody is woken", async || heard.take(id)).await;
    // All connections were ended; everything works again.
    eventually("appending", async || {
        store.append(message(&alice, id, "back")).await.is_ok()
    })
    .await;
    eventually("reading", async || store.read(id, 0, 9).await.is_ok()).await;
    eventually("asking", async || store.ping().await.is_ok()).await;
}

/// Sends 600 messages one after the other, each until it is acknowledged; returns the refusals.
async fn send_600(store: Store, alice: Person, id: ConversationId) -> u32 {
    let mut refused = 0;
    for number in 0..600 {
        let text = message(&alice, id, &number.to_string());
        loop {
            match store.append(text.clone()).await {
                Ok(appended) => break assert_eq!(appended.seq, number + 2),
                Err(_) => refused += 1,
            }
            assert!(refused < 10_000, "Postgres did not come back");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
    refused
}

/// Every message acknowledged is there once, in order, though Postgres is killed in the middle.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_postgres_loses_nothing_that_was_acknowledged() {
    let cluster = Arc::new(TestCluster::launch(Durability::Durable).unwrap());
    let database = cluster.create_database().unwrap();
    migrate(database.url()).await.unwrap();
    let store = open(database.url()).await;
    let alice = person(&store, "alice").await;
    let bob = person(&store, "bob").await;
    let id = group(&store, &[&alice, &bob]).await;
    let sending = tokio::spawn(send_600(store.clone(), alice.clone(), id));
    eventually("some are stored", async || {
        store
            .read(id, 50, 1)
            .await
            .is_ok_and(|read| !read.is_empty())
    })
    .await;
    let breaking = Arc::clone(&cluster);
    tokio::task::spawn_blocking(move || breaking.kill9())
        .await
        .unwrap();
    eventually("it is noticed", async || {
        matches!(store.ping().await, Err(StoreError::Unavailable(_)))
    })
    .await;
    // Backends outlive the postmaster by a moment; stale, so that none stores it in that moment.
    let mut stale = message(&bob, id, "while it is away");
    stale.epoch = 0;
    eventually("appends are refused", async || {
        let refused = store.append(stale.clone()).await;
        refused == Err(AppendError::Unavailable)
    })
    .await;
    eventually("reads and verbs are refused", async || {
        let (read, asked) = tokio::join!(store.read(id, 0, 1), store.credentials(&alice.name));
        let refused = |error: Option<StoreError>| matches!(error, Some(StoreError::Unavailable(_)));
        refused(read.err()) && refused(asked.err())
    })
    .await;
    let breaking = Arc::clone(&cluster);
    tokio::task::spawn_blocking(move || breaking.start())
        .await
        .unwrap()
        .unwrap();
    assert!(sending.await.unwrap() > 0);
    let mut after = 1;
    while let Some(last) = store
        .read(id, after, 64)
        .await
        .unwrap()
        .last()
        .map(|last| last.seq)
    {
        for entry in store.read(id, after, 64).await.unwrap().iter() {
            assert_eq!(entry.payload, (entry.seq - 2).to_string());
        }
        after = last;
    }
    assert_eq!(after, 601);
    drop((database, store));
    tokio::task::spawn_blocking(move || drop(cluster))
        .await
        .unwrap();
}

/// Postgres says that a commit whose wait for a standby was cancelled is done, with a warning.
/// It is not acknowledged, and neither is the retry that finds it stored.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_without_its_standby_is_not_acknowledged() {
    let cluster = TestCluster::launch(Durability::Durable).unwrap();
    let database = cluster.create_database().unwrap();
    migrate(database.url()).await.unwrap();
    let store = open(database.url()).await;
    let alice = person(&store, "alice").await;
    let id = group(&store, &[&alice]).await;
    let client = sql(database.url()).await;
    client
        .batch_execute("SET synchronous_commit = local")
        .await
        .unwrap();
    let standby = async |names: &str| {
        let set = format!("ALTER SYSTEM SET synchronous_standby_names = '{names}'");
        client.batch_execute(&set).await.unwrap();
        client
            .batch_execute("SELECT pg_reload_conf()")
            .await
            .unwrap();
        eventually("the setting", async || {
            let row = client
                .query_one("SHOW synchronous_standby_names", &[])
                .await
                .unwrap();
            row.get::<_, &str>(0) == names
        })
        .await;
    };
    standby("absent").await;
    // Backends read the setting at different moments; from the first that waits on, all wait.
    let cancel = "SELECT count(pg_cancel_backend(pid)) FROM pg_stat_activity
         WHERE wait_event = 'SyncRep' AND pid <> pg_backend_pid()";
    let cancelled = async |appending: tokio::task::JoinHandle<_>| {
        eventually("the wait is cancelled", async || {
            client.query_one(cancel, &[]).await.unwrap();
            appending.is_finished()
        })
        .await;
        appending.await.unwrap()
    };
    let text = message(&alice, id, "is it safe?");
    let sync_rep = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'";
    eventually("a commit waits", async || {
        let probe = tokio::spawn(store.append(message(&alice, id, "probe")));
        tokio::time::sleep(Duration::from_millis(20)).await;
        let waits: i64 = client.query_one(sync_rep, &[]).await.unwrap().get(0);
        let outcome = cancelled(probe).await;
        waits > 0 && outcome == Err(AppendError::OutcomeUnknown)
    })
    .await;
    for _ in 0..2 {
        let outcome = cancelled(tokio::spawn(store.append(text.clone()))).await;
        assert_eq!(outcome, Err(AppendError::OutcomeUnknown));
    }
    let committing = store.append_commit(commit(&alice, id));
    let committing =
        tokio::spawn(async move { committing.await.map_err(|_| AppendError::OutcomeUnknown) });
    assert_eq!(
        cancelled(committing).await,
        Err(AppendError::OutcomeUnknown)
    );
    standby("").await;
    let stored = store.append(text.clone()).await.unwrap();
    assert_eq!(store.append(text).await.unwrap(), stored);
    drop((client, database, store));
    tokio::task::spawn_blocking(move || drop(cluster))
        .await
        .unwrap();
}
