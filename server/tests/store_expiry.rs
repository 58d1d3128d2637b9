//! What leaves the log, and when: cursors, deletion after delivery, expiry.

#![allow(clippy::unwrap_used, reason = "a test ends at what it did not expect")]

mod store_support;

use sotto_server::store::{Store, StoreConfig};
use store_support::*;

#[tokio::test]
async fn an_entry_goes_when_every_device_has_it_and_not_before() {
    let World { store, database } = world().await;
    let alice = person(&store, "alice").await;
    let bob = person(&store, "bob").await;
    let id = group(&store, &[&alice, &bob]).await;
    let hello = message(&alice, id, "hello");
    let first = store.append(hello.clone()).await.unwrap();
    store.append(message(&bob, id, "hi")).await.unwrap();
    let client = sql(database.url()).await;
    let kept = async || -> i64 {
        let count = "SELECT count(*) FROM envelope WHERE conversation_id = $1";
        client
            .query_one(count, &[&id.to_vec()])
            .await
            .unwrap()
            .get(0)
    };
    store.advance(bob.device, id, 3);
    store.advance(alice.device, id, 1);
    eventually("what both have is gone", async || kept().await == 2).await;
    // The sender does not know yet that it was stored: its retry is still recognised.
    assert_eq!(store.append(hello).await.unwrap(), first);
    store.advance(alice.device, id, 3);
    // Cursors never go back.
    store.advance(alice.device, id, 2);
    eventually("all is gone", async || kept().await == 0).await;
    let state = store.member_state(alice.device, id).await.unwrap().unwrap();
    assert_eq!((state.cursor, state.head), (3, 3));
    assert_eq!(
        store.append(message(&bob, id, "next")).await.unwrap().seq,
        4
    );
}

#[tokio::test]
async fn a_device_that_logged_out_holds_nothing_back() {
    let World { store, database } = world().await;
    let alice = person(&store, "alice").await;
    let bob = person(&store, "bob").await;
    let id = group(&store, &[&alice, &bob]).await;
    store.append(message(&alice, id, "hello")).await.unwrap();
    store.remove_device(bob.device).await.unwrap();
    // Acknowledged on a server that has since ended: the walk over all logs finds it.
    let client = sql(database.url()).await;
    let update = "UPDATE member SET cursor = 2 WHERE device_id = $1 AND conversation_id = $2";
    client
        .execute(update, &[&alice.device.to_vec(), &id.to_vec()])
        .await
        .unwrap();
    eventually("all is gone", async || {
        store.read(id, 0, 9).await.unwrap().is_empty()
    })
    .await;
}

#[tokio::test]
async fn close_writes_cursors() {
    let World { store, database } = world().await;
    let alice = person(&store, "alice").await;
    let id = group(&store, &[&alice]).await;
    store.advance(alice.device, id, 1);
    store.close().await.unwrap();
    let other = open(database.url()).await;
    let states = other.member_states(alice.device, None, 10).await.unwrap();
    assert!(
        states
            .iter()
            .any(|state| state.conversation == id && state.cursor == 1)
    );
    let after = states.first().map(|state| state.conversation);
    assert_eq!(
        other.member_states(alice.device, after, 10).await.unwrap(),
        states[1..]
    );
    assert_eq!(
        other.member_states(alice.device, None, 1).await.unwrap(),
        states[..1]
    );
}

#[tokio::test]
async fn what_has_expired_goes() {
    let World { store, database } = world().await;
    let alice = person(&store, "alice").await;
    let bob = person(&store, "bob").await;
    let id = group(&store, &[&alice, &bob]).await;
    let mut leave = commit(&alice, id);
    leave.removed = vec![bob.device];
    store.append_commit(leave).await.unwrap();
    store.remove_device(bob.device).await.unwrap();
    drop(store);
    let client = sql(database.url()).await;
    client
        .batch_execute(
            "UPDATE envelope SET stored_at = now() - interval '15 days' WHERE seq = 1;
             INSERT INTO node (id, name, address, heartbeat_at)
                 VALUES ('\\x00112233445566778899aabbccddeeff', 'dead', '', now() - interval '5 minutes');
             INSERT INTO session (device_id, node_id)
                 SELECT id, '\\x00112233445566778899aabbccddeeff' FROM device;
             INSERT INTO key_package (reference, device_id, ciphersuite, data, last_resort, not_after)
                 SELECT 'old', id, 1, '', false, now() - interval '1 hour' FROM device;
             INSERT INTO rate_limit VALUES ('old', 1, now() - interval '1 hour');",
        )
        .await
        .unwrap();
    let store = open(database.url()).await;
    let left = "SELECT (SELECT count(*) FROM node WHERE name = 'dead') || ' '
        || (SELECT count(*) FROM session) || ' ' || (SELECT count(*) FROM key_package) || ' '
        || (SELECT count(*) FROM rate_limit) || ' '
        || (SELECT count(*) FROM member WHERE left_at_seq IS NOT NULL)";
    eventually("the old is gone", async || {
        let row = client.query_one(left, &[]).await.unwrap();
        row.get::<_, String>(0) == "0 0 0 0 0"
    })
    .await;
    // What is young and unread stays.
    let entries = store.read(id, 0, 9).await.unwrap();
    assert_eq!(
        entries.iter().map(|entry| entry.seq).collect::<Vec<_>>(),
        [2]
    );
}

#[tokio::test]
async fn a_late_copy_of_a_delivered_message_is_recognised() {
    let World { store, database } = world().await;
    let mut config = StoreConfig::new(database.url());
    config.pool_connections = 4;
    drop(store);
    let lingering = Store::open(config).await.unwrap();
    let alice = person(&lingering, "alice").await;
    let bob = person(&lingering, "bob").await;
    let id = group(&lingering, &[&alice, &bob]).await;
    let quiet = group(&lingering, &[&alice, &bob]).await;
    let hello = message(&alice, id, "hello");
    let stored = lingering.append(hello.clone()).await.unwrap();
    let client = sql(database.url()).await;
    let old = "UPDATE envelope SET stored_at = now() - interval '3 minutes' \
               WHERE conversation_id = $1";
    client.execute(old, &[&quiet.to_vec()]).await.unwrap();
    for log in [id, quiet] {
        let head = if log == id { stored.seq } else { 1 };
        lingering.advance(alice.device, log, head);
        lingering.advance(bob.device, log, head);
    }
    // A round of the sweeper has been over both logs when the old entry is gone.
    eventually("the old entry is gone", async || {
        lingering.read(quiet, 0, 9).await.unwrap().is_empty()
    })
    .await;
    // A server that was stopped for a while now appends what it had taken up.
    assert_eq!(lingering.append(hello).await.unwrap(), stored);
}
