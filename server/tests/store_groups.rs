//! Trees, links, the relay of linked devices and backups: bounded, once, and gone in time.

#![allow(clippy::unwrap_used, reason = "a test ends at what it did not expect")]

mod store_support;

use bytes::Bytes;
use sotto_server::store::{
    BackupError, CommitAppend, CommitPayload, JoinError, NewConversation, NewJoinLink,
};
use store_support::*;

#[tokio::test]
async fn trees_are_for_members_and_of_one_group_the_last_ones() {
    let World {
        store,
        database: _database,
    } = world().await;
    let alice = person(&store, "alice").await;
    let bob = person(&store, "bob").await;
    let eve = person(&store, "eve").await;
    let with_tree = |payload: CommitPayload, epoch: u64| CommitPayload {
        tree: Some(Bytes::from(format!("tree {epoch}"))),
        ..payload
    };
    let new = conversation(&[&alice, &bob]);
    let id = new.conversation;
    let payload = with_tree(new.payload.clone(), 1);
    store
        .create_conversation(NewConversation { payload, ..new })
        .await
        .unwrap();
    let tree = async |epoch: u64, device| store.tree(id, (0, epoch), device).await.unwrap();
    assert_eq!(tree(1, bob.device).await, Some(Bytes::from("tree 1")));
    assert_eq!(tree(1, eve.device).await, None);
    assert_eq!(tree(2, bob.device).await, None);
    for epoch in 1..=70 {
        let commit = CommitAppend {
            conversation: id,
            generation: 0,
            epoch,
            added: Vec::new(),
            removed: Vec::new(),
            payload: with_tree(commit_payload(&alice, &[]), epoch + 1),
        };
        store.append_commit(commit).await.unwrap();
    }
    assert_eq!(tree(7, bob.device).await, None);
    assert!(tree(8, bob.device).await.is_some() && tree(71, bob.device).await.is_some());
    let removal = CommitAppend {
        conversation: id,
        generation: 0,
        epoch: 71,
        added: Vec::new(),
        removed: vec![bob.device],
        payload: commit_payload(&alice, &[]),
    };
    store.append_commit(removal).await.unwrap();
    assert_eq!(tree(71, bob.device).await, None, "he is out");
}

#[tokio::test]
async fn links_end_in_time_and_are_bounded() {
    let World { store, database } = world().await;
    let alice = person(&store, "alice").await;
    let bob = person(&store, "bob").await;
    let id = group(&store, &[&alice]).await;
    let link = |number: u8| NewJoinLink {
        conversation: id,
        link: [number; 16],
        expires_at_ms: 4_000_000_000_000,
        uses: 5,
    };
    for number in 0..100 {
        store.put_join_link(link(number)).await.unwrap();
    }
    let more = store.put_join_link(link(100)).await;
    assert!(matches!(more, Err(JoinError::TooManyLinks)));
    store.put_join_link(link(7)).await.unwrap();
    let ask = async |number: u8| {
        let who = (bob.account, bob.device);
        let place = (id, [number; 16]);
        store.request_join(place, who, client_id(), b"please").await
    };
    ask(1).await.unwrap();
    ask(1).await.unwrap();
    let uses = async || {
        let known = store.join_links(id).await.unwrap();
        let one = known.into_iter().find(|known| known.link == [1; 16]);
        one.map(|known| known.uses_left)
    };
    assert_eq!(uses().await, Some(4));
    let entries = store.read(id, 1, 64).await.unwrap();
    assert_eq!(entries.len(), 1, "asked once");
    // An hour later the request enters again, and takes no further use.
    let sql = sql(database.url()).await;
    let back = "UPDATE join_use SET asked_at = now() - interval '2 hours'";
    sql.batch_execute(back).await.unwrap();
    ask(1).await.unwrap();
    assert_eq!(uses().await, Some(4));
    assert_eq!(store.read(id, 1, 64).await.unwrap().len(), 2);
    let ended = "UPDATE join_link SET expires_at = now() - interval '1 second'";
    sql.batch_execute(ended).await.unwrap();
    for number in [1, 2] {
        assert!(matches!(ask(number).await, Err(JoinError::UnknownLink)));
    }
    assert!(!store.has_used(id, [1; 16], bob.account).await.unwrap());
    assert!(store.join_links(id).await.unwrap().is_empty());
    store.put_join_link(link(101)).await.unwrap();
}

#[tokio::test]
async fn of_two_backups_at_once_one_is_stored() {
    let World { store, database } = world().await;
    let other = open(database.url()).await;
    let alice = person(&store, "alice").await.account;
    for previous in 0..4 {
        let (one, two) = tokio::join!(
            store.put_backup(alice, previous, Bytes::from_static(b"one")),
            other.put_backup(alice, previous, Bytes::from_static(b"two"))
        );
        let stale = |backup: &Result<_, BackupError>| matches!(backup, Err(BackupError::Stale { number }) if *number == previous + 1);
        let (kept, lost) = if one.is_ok() {
            (&one, &two)
        } else {
            (&two, &one)
        };
        assert!(stale(lost));
        assert_eq!(kept.as_ref().unwrap().number, previous + 1);
    }
}
