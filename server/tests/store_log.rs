//! The log: order, idempotency, compare-and-swap of commits, reading, cursors, deletion.

#![allow(clippy::unwrap_used, reason = "a test ends at what it did not expect")]

mod store_support;

use std::collections::HashSet;

use bytes::Bytes;
use prost::Message as _;
use sotto_protocol::limits::RESTORED_LEAP;
use sotto_protocol::wire::{EnvelopeKind, MailboxWelcome};
use sotto_server::store::{AppendError, Before, CommitError, NewConversation, Store};
use store_support::*;

async fn log(store: &Store, conversation: sotto_protocol::ConversationId) -> Vec<String> {
    let mut texts = Vec::new();
    let mut after = 0;
    loop {
        let entries = store.read(conversation, after, 64).await.unwrap();
        let Some(last) = entries.last() else {
            return texts;
        };
        for (entry, seq) in entries.iter().zip(after + 1..) {
            assert_eq!(entry.seq, seq, "seqs are dense");
            texts.push(String::from_utf8(entry.payload.to_vec()).unwrap());
        }
        after = last.seq;
    }
}

#[tokio::test]
async fn a_repeated_message_is_answered_like_the_first() {
    let World { store, database } = world().await;
    let other = open(database.url()).await;
    let alice = person(&store, "alice").await;
    let bob = person(&store, "bob").await;
    let id = group(&store, &[&alice, &bob]).await;
    let hello = message(&alice, id, "hello");
    let first = store.append(hello.clone()).await.unwrap();
    assert_eq!((first.seq, first.epoch), (2, 1));
    for server in [&store, &other] {
        assert_eq!(server.append(hello.clone()).await.unwrap(), first);
    }
    // The same id by another sender is another message.
    let mut from_bob = message(&bob, id, "hello too");
    from_bob.client_id = hello.client_id;
    assert_eq!(store.append(from_bob).await.unwrap().seq, 3);
    // Ids count within a conversation.
    let second = group(&store, &[&alice, &bob]).await;
    let mut elsewhere = message(&alice, second, "elsewhere");
    elsewhere.client_id = hello.client_id;
    assert_eq!(store.append(elsewhere).await.unwrap().seq, 2);
    // Also after the epoch went on, and twice in one batch.
    store.append_commit(commit(&alice, id)).await.unwrap();
    let (one, two) = (store.append(hello.clone()), store.append(hello));
    assert_eq!((one.await.unwrap(), two.await.unwrap()), (first, first));
    assert_eq!(
        log(&store, id).await,
        ["commit", "hello", "hello too", "commit"]
    );
}

#[tokio::test]
async fn concurrent_retries_on_two_servers_are_stored_once() {
    let World { store, database } = world().await;
    let other = open(database.url()).await;
    let alice = person(&store, "alice").await;
    let id = group(&store, &[&alice]).await;
    let messages: Vec<_> = (0..200)
        .map(|n| message(&alice, id, &n.to_string()))
        .collect();
    let mut tasks = tokio::task::JoinSet::new();
    for server in [&store, &other, &store] {
        for message in &messages {
            tasks.spawn(server.append(message.clone()));
        }
    }
    let mut seqs = HashSet::new();
    for appended in tasks.join_all().await {
        seqs.insert(appended.unwrap().seq);
    }
    assert_eq!(seqs.len(), 200);
    assert_eq!(log(&store, id).await.len(), 201);
}

#[tokio::test]
async fn many_senders_in_many_conversations_keep_their_order() {
    let World { store, database } = world().await;
    let other = open(database.url()).await;
    let alice = person(&store, "alice").await;
    let bob = person(&store, "bob").await;
    let mut groups = Vec::new();
    for _ in 0..12 {
        groups.push(group(&store, &[&alice, &bob]).await);
    }
    let mut answers = Vec::new();
    for number in 0..100 {
        for id in &groups {
            answers.push(store.append(message(&alice, *id, &format!("a{number}"))));
            answers.push(other.append(message(&bob, *id, &format!("b{number}"))));
        }
    }
    for answer in answers {
        answer.await.unwrap();
    }
    for id in groups {
        let texts = log(&store, id).await;
        for sender in ["a", "b"] {
            let sent: Vec<_> = texts.iter().filter(|t| t.starts_with(sender)).collect();
            let wanted: Vec<_> = (0..100).map(|n| format!("{sender}{n}")).collect();
            assert!(sent.into_iter().eq(&wanted));
        }
    }
}

/// Messages that share a transaction do not share their fate.
#[tokio::test]
async fn what_is_wrong_with_one_message_concerns_no_other() {
    let World {
        store,
        database: _database,
    } = world().await;
    let alice = person(&store, "alice").await;
    let bob = person(&store, "bob").await;
    let eve = person(&store, "eve").await;
    let id = group(&store, &[&alice, &bob]).await;
    let other = group(&store, &[&bob]).await;
    let first = message(&alice, id, "first");
    let known = store.append(first.clone()).await.unwrap();
    for round in 0..20_u64 {
        let mut stale = message(&alice, id, "stale");
        stale.epoch = 0;
        let mut future = message(&bob, other, "another generation");
        future.generation = 9;
        let good = message(&alice, id, &format!("alice {round}"));
        // Handed in together, so stored together.
        let answers = [
            store.append(good.clone()),
            store.append(stale),
            store.append(message(&eve, id, "intruder")),
            store.append(first.clone()),
            store.append(message(&bob, other, &format!("bob {round}"))),
            store.append(future),
            store.append(good),
            store.append(message(&bob, id, &format!("bob {round}"))),
        ];
        let mut outcomes = Vec::new();
        for answer in answers {
            outcomes.push(answer.await.map(|appended| appended.seq));
        }
        let wanted = [
            Ok(3 + 2 * round),
            Err(AppendError::StaleEpoch { epoch: 1 }),
            Err(AppendError::NotMember),
            Ok(known.seq),
            Ok(2 + 10 * round),
            Err(AppendError::StaleGeneration {
                generation: 0,
                epoch: 1,
            }),
            Ok(3 + 2 * round),
            Ok(4 + 2 * round),
        ];
        assert_eq!(outcomes, wanted);
        // Batches without a fault in between, so that both ways are gone.
        for number in 0..9 {
            let text = format!("between {round} {number}");
            store.append(message(&bob, other, &text)).await.unwrap();
        }
    }
}

#[tokio::test]
async fn only_members_at_the_present_epoch_append() {
    let World {
        store,
        database: _database,
    } = world().await;
    let alice = person(&store, "alice").await;
    let eve = person(&store, "eve").await;
    let id = group(&store, &[&alice]).await;
    let mut stale = message(&alice, id, "stale");
    stale.epoch = 0;
    let mut future = message(&alice, id, "future");
    future.epoch = u64::MAX;
    let mut generation = message(&alice, id, "other generation");
    generation.generation = u32::MAX;
    let mailbox = alice.device.mailbox();
    let cases = [
        (stale, AppendError::StaleEpoch { epoch: 1 }),
        (future, AppendError::StaleEpoch { epoch: 1 }),
        (
            generation,
            AppendError::StaleGeneration {
                generation: 0,
                epoch: 1,
            },
        ),
        (message(&eve, id, "intruder"), AppendError::NotMember),
        (
            message(&alice, conversation_id(), "nowhere"),
            AppendError::NotMember,
        ),
        (
            message(&alice, mailbox, "into a mailbox"),
            AppendError::NotMember,
        ),
    ];
    // In one batch with a good one, which they do not spoil.
    let good = store.append(message(&alice, id, "good"));
    for (message, refusal) in cases {
        assert_eq!(store.append(message).await, Err(refusal));
    }
    assert_eq!(good.await.unwrap().seq, 2);
    assert_eq!(log(&store, id).await, ["commit", "good"]);
}

#[tokio::test]
async fn of_competing_commits_one_wins() {
    let World { store, database } = world().await;
    let other = open(database.url()).await;
    let alice = person(&store, "alice").await;
    let bob = person(&store, "bob").await;
    let id = group(&store, &[&alice, &bob]).await;
    let (one, two) = (commit(&alice, id), commit(&bob, id));
    let (first, second) = tokio::join!(store.append_commit(one.clone()), other.append_commit(two));
    let won = [&first, &second].into_iter().flatten().count();
    assert_eq!(won, 1, "{first:?} {second:?}");
    let lost = first.clone().err().or(second.err()).unwrap();
    assert_eq!(
        lost,
        CommitError::Append(AppendError::StaleEpoch { epoch: 2 })
    );
    // Asked again, the winner gets its place, not a refusal.
    if let Ok(first) = first {
        assert_eq!(other.append_commit(one).await.unwrap(), first);
    }
    let state = store.group_state(id).await.unwrap().unwrap();
    assert_eq!((state.epoch, state.seq), (2, 2));
    let late = store.append(message(&alice, id, "late")).await;
    assert_eq!(late, Err(AppendError::StaleEpoch { epoch: 2 }));
}

#[tokio::test]
async fn a_commit_changes_members_state_and_mailboxes_at_once() {
    let World {
        store,
        database: _database,
    } = world().await;
    let alice = person(&store, "alice").await;
    let bob = person(&store, "bob").await;
    let carol = person(&store, "carol").await;
    let id = group(&store, &[&alice, &bob]).await;
    let welcome = store.read(bob.device.mailbox(), 0, 64).await.unwrap();
    assert_eq!(
        (welcome.len(), welcome[0].seq, welcome[0].kind),
        (1, 1, EnvelopeKind::Welcome)
    );
    let welcome = MailboxWelcome::decode(&*welcome[0].payload).unwrap();
    assert_eq!(
        (welcome.seq, welcome.epoch, welcome.inviter.as_str()),
        (1, 1, "alice")
    );
    assert_eq!(
        (welcome.conversation_id, &welcome.welcome[..]),
        (id.to_vec(), &b"welcome"[..])
    );
    let mut change = commit(&alice, id);
    change.added = vec![carol.device];
    change.removed = vec![bob.device];
    change.payload = commit_payload(&alice, &[carol.device]);
    change.payload.group_state = Bytes::from_static(b"second state");
    let appended = store.append_commit(change).await.unwrap();
    assert_eq!((appended.seq, appended.epoch), (2, 2));
    let state = store.group_state(id).await.unwrap().unwrap();
    assert_eq!(
        (&state.group_state[..], state.seq),
        (&b"second state"[..], 2)
    );
    let mut late = message(&bob, id, "still here?");
    late.epoch = 2;
    assert_eq!(store.append(late).await, Err(AppendError::NotMember));
    let joined = store.member_state(carol.device, id).await.unwrap().unwrap();
    assert_eq!((joined.cursor, joined.head, joined.left_at), (2, 2, None));
    let mut next = message(&alice, id, "without bob");
    next.epoch = 2;
    store.append(next).await.unwrap();
    // Bob reads up to the commit that removed him.
    let left = store.member_state(bob.device, id).await.unwrap().unwrap();
    assert_eq!((left.cursor, left.head, left.left_at), (1, 2, Some(2)));
    assert!(!store.is_account_in(id, bob.account).await.unwrap());
    assert!(store.is_account_in(id, carol.account).await.unwrap());
    let listed = store.member_states(bob.device, None, 10).await.unwrap();
    assert_eq!(listed.len(), 2);
    store.advance(bob.device, id, 2);
    eventually("the removal is read", async || {
        store
            .member_states(bob.device, None, 10)
            .await
            .unwrap()
            .len()
            == 1
    })
    .await;
}

#[tokio::test]
async fn a_bad_commit_changes_nothing() {
    let World {
        store,
        database: _database,
    } = world().await;
    let alice = person(&store, "alice").await;
    let bob = person(&store, "bob").await;
    let eve = person(&store, "eve").await;
    let id = group(&store, &[&alice]).await;
    let unknown = device_id();
    let mut ghost = commit(&alice, id);
    ghost.added = vec![bob.device, unknown];
    ghost.payload = commit_payload(&alice, &[bob.device]);
    let mut no_mailbox = commit(&alice, id);
    no_mailbox.payload = commit_payload(&alice, &[bob.device, unknown]);
    let mut twice = commit(&alice, id);
    twice.added = vec![bob.device];
    twice.payload = commit_payload(&alice, &[bob.device, bob.device]);
    let mut joins = commit(&eve, id);
    joins.added = vec![eve.device];
    let not_member = CommitError::Append(AppendError::NotMember);
    let cases = [
        (ghost, CommitError::UnknownDevice { device: unknown }),
        (no_mailbox, CommitError::UnknownDevice { device: unknown }),
        (twice, CommitError::UnknownDevice { device: bob.device }),
        (commit(&eve, id), not_member.clone()),
        (joins, not_member.clone()),
        (commit(&alice, bob.device.mailbox()), not_member),
    ];
    for (bad, refusal) in cases {
        assert_eq!(store.append_commit(bad).await, Err(refusal));
    }
    assert_eq!(store.group_state(id).await.unwrap().unwrap().epoch, 1);
    assert!(
        store
            .read(bob.device.mailbox(), 0, 64)
            .await
            .unwrap()
            .is_empty()
    );
    assert!(store.member_state(bob.device, id).await.unwrap().is_none());
    assert_eq!(log(&store, id).await, ["commit"]);
}

#[tokio::test]
async fn a_pair_has_one_conversation() {
    let World { store, database } = world().await;
    let other = open(database.url()).await;
    let alice = person(&store, "alice").await;
    let bob = person(&store, "bob").await;
    assert_eq!(
        store.find_pair(alice.account, bob.account).await.unwrap(),
        None
    );
    let by_alice = NewConversation {
        pair: Some((alice.account, bob.account)),
        ..conversation(&[&alice, &bob])
    };
    let by_bob = NewConversation {
        pair: Some((bob.account, alice.account)),
        ..conversation(&[&bob, &alice])
    };
    let (one, two) = tokio::join!(
        store.create_conversation(by_alice.clone()),
        other.create_conversation(by_bob.clone())
    );
    let id = match (&one, &two) {
        (Ok(_), Err(_)) => by_alice.conversation,
        (Err(_), Ok(_)) => by_bob.conversation,
        _ => panic!("{one:?} {two:?}"),
    };
    let refused = one.clone().err().or(two.err()).unwrap();
    assert_eq!(refused, CommitError::PairExists { conversation: id });
    assert_eq!(
        store.find_pair(bob.account, alice.account).await.unwrap(),
        Some(id)
    );
    if let Ok(created) = one {
        assert_eq!(
            other.create_conversation(by_alice.clone()).await.unwrap(),
            created
        );
    }
    // Somebody else's id, or a mailbox's, is taken.
    let mut taken = conversation(&[&alice]);
    taken.conversation = id;
    assert_eq!(
        store.create_conversation(taken.clone()).await,
        Err(CommitError::IdTaken)
    );
    taken.conversation = bob.device.mailbox();
    assert_eq!(
        store.create_conversation(taken).await,
        Err(CommitError::IdTaken)
    );
}

#[tokio::test]
async fn a_rebuild_keeps_the_log_and_the_cursors_of_who_stays() {
    let World {
        store,
        database: _database,
    } = world().await;
    let alice = person(&store, "alice").await;
    let bob = person(&store, "bob").await;
    let carol = person(&store, "carol").await;
    let id = group(&store, &[&alice, &bob]).await;
    store.append(message(&alice, id, "before")).await.unwrap();
    let mut rebuilt = conversation(&[&bob, &alice, &carol]);
    rebuilt.conversation = id;
    rebuilt.generation = 2;
    rebuilt.before = Before::Generation;
    let stale = AppendError::StaleGeneration {
        generation: 0,
        epoch: 1,
    };
    assert_eq!(
        store.create_conversation(rebuilt.clone()).await,
        Err(stale.into())
    );
    rebuilt.generation = 1;
    let appended = store.create_conversation(rebuilt.clone()).await.unwrap();
    assert_eq!((appended.seq, appended.epoch), (3, 1));
    assert_eq!(store.create_conversation(rebuilt).await.unwrap(), appended);
    let cursor = async |device| {
        store
            .member_state(device, id)
            .await
            .unwrap()
            .unwrap()
            .cursor
    };
    assert_eq!(cursor(alice.device).await, 0);
    assert_eq!(cursor(bob.device).await, 1);
    assert_eq!(cursor(carol.device).await, 3);
    let refused = store.append(message(&alice, id, "old generation")).await;
    assert_eq!(
        refused,
        Err(AppendError::StaleGeneration {
            generation: 1,
            epoch: 1
        })
    );
    let mut next = message(&carol, id, "after");
    next.generation = 1;
    assert_eq!(store.append(next).await.unwrap().seq, 4);
}

/// An older database was restored: devices have numbers of a log that it never heard of.
#[tokio::test]
async fn a_conversation_that_is_not_known_any_more_begins_beyond_its_old_numbers() {
    let World {
        store,
        database: _database,
    } = world().await;
    let alice = person(&store, "alice").await;
    let bob = person(&store, "bob").await;
    let mut again = conversation(&[&alice, &bob]);
    again.generation = 3;
    let appended = store.create_conversation(again.clone()).await.unwrap();
    assert_eq!(appended.seq, 3 * RESTORED_LEAP + 1);
    assert_eq!(
        store.create_conversation(again.clone()).await.unwrap(),
        appended
    );
    // Whoever says that there is none must be right.
    let mut other = conversation(&[&bob, &alice]);
    other.conversation = again.conversation;
    other.generation = 4;
    assert_eq!(
        store.create_conversation(other.clone()).await,
        Err(CommitError::IdTaken)
    );
    other.before = Before::Generation;
    let appended = store.create_conversation(other).await.unwrap();
    assert_eq!(appended.seq, 3 * RESTORED_LEAP + 2);
}

#[tokio::test]
async fn an_account_joins_again_after_its_only_device_logged_out() {
    let World {
        store,
        database: _database,
    } = world().await;
    let alice = person(&store, "alice").await;
    let bob = person(&store, "bob").await;
    let id = group(&store, &[&alice, &bob]).await;
    store.remove_device(bob.device).await.unwrap();
    assert!(store.device(bob.device).await.unwrap().is_none());
    assert_eq!(
        store.append(message(&bob, id, "gone")).await,
        Err(AppendError::NotMember)
    );
    assert!(
        store
            .read(bob.device.mailbox(), 0, 9)
            .await
            .unwrap()
            .is_empty()
    );
    assert!(store.is_account_in(id, bob.account).await.unwrap());
    let fresh = Person {
        device: device_id(),
        ..bob.clone()
    };
    store
        .add_device(bob.account, new_device(fresh.device))
        .await
        .unwrap();
    let mut join = commit(&fresh, id);
    join.added = vec![fresh.device];
    join.removed = vec![bob.device];
    assert_eq!(store.append_commit(join).await.unwrap().seq, 2);
    // It has not seen its own commit stored, so it reads it.
    let state = store.member_state(fresh.device, id).await.unwrap().unwrap();
    assert_eq!((state.cursor, state.head), (1, 2));
    let mut next = message(&fresh, id, "back");
    next.epoch = 2;
    assert_eq!(store.append(next).await.unwrap().seq, 3);
}

#[tokio::test]
async fn reads_are_bounded_in_entries_and_bytes() {
    let World {
        store,
        database: _database,
    } = world().await;
    let alice = person(&store, "alice").await;
    let id = group(&store, &[&alice]).await;
    let large = "x".repeat(120 * 1024);
    for _ in 0..6 {
        store.append(message(&alice, id, &large)).await.unwrap();
    }
    let answers: Vec<_> = (0..100)
        .map(|n| store.append(message(&alice, id, &format!("{n}"))))
        .collect();
    for answer in answers {
        answer.await.unwrap();
    }
    let read = store.read(id, 1, 64).await.unwrap();
    assert!((2..=3).contains(&read.len()), "{}", read.len());
    assert_eq!(store.read(id, 7, 1000).await.unwrap().len(), 64);
    assert_eq!(store.read(id, 7, 3).await.unwrap().len(), 3);
    assert_eq!(store.read(id, 7, 0).await.unwrap().len(), 1);
    assert!(store.read(id, 107, 64).await.unwrap().is_empty());
    assert!(store.read(id, u64::MAX, 64).await.unwrap().is_empty());
    assert!(
        store
            .read(conversation_id(), 0, 64)
            .await
            .unwrap()
            .is_empty()
    );
    assert_eq!(log(&store, id).await.len(), 107);
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..300 {
        let store = store.clone();
        tasks.spawn(async move { store.read(id, 7 + number % 50, 20).await.unwrap().len() });
    }
    assert!(tasks.join_all().await.into_iter().all(|count| count == 20));
}
