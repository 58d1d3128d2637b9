//! Conversations, appends and deliveries over real TLS and Postgres.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests end at the first surprise"
)]

mod support;

use std::time::Duration;

use prost::Message as _;
use sotto_protocol::wire::client_frame::Body as Request;
use sotto_protocol::wire::server_frame::Body as Response;
use sotto_protocol::wire::{self, EnvelopeKind, IdentityChange};
use sotto_protocol::{ConversationId, ErrorCode};
use support::client::{Client, error};
use support::person::{Person, append, appended, code};
use support::{Deployment, Process};

/// Alice and Bob with a conversation at epoch 1; Bob has acknowledged the welcome.
struct Pair {
    alice: Person,
    bob: Person,
    alice_client: Client,
    bob_client: Client,
    conversation: ConversationId,
}

async fn pair(deployment: &Deployment, of_alice: &Process, of_bob: &Process) -> Pair {
    let (alice, mut alice_client) = Person::register("alice", deployment, of_alice).await;
    let (bob, mut bob_client) = Person::register("bob", deployment, of_bob).await;
    bob.publish(&mut bob_client, 3).await;
    assert!(alice_client.resume().await.is_empty());
    assert!(bob_client.resume().await.is_empty());
    let (conversation, _) = alice.converse(&mut alice_client, &bob.username).await;
    let welcome = bob_client.deliveries(1).await.remove(0);
    assert_eq!(welcome.kind(), EnvelopeKind::Welcome);
    let welcome = wire::MailboxWelcome::decode(welcome.payload).unwrap();
    assert_eq!(welcome.conversation_id, conversation.to_vec());
    assert_eq!(welcome.inviter, "alice");
    Pair {
        alice,
        bob,
        alice_client,
        bob_client,
        conversation,
    }
}

fn id(number: u32) -> [u8; 16] {
    let mut id = [0; 16];
    id[..4].copy_from_slice(&number.to_be_bytes());
    id
}

#[tokio::test]
async fn messages_cross_two_servers_in_order_and_are_not_echoed() {
    let deployment = Deployment::new();
    let servers = [deployment.start(""), deployment.start("")];
    let Pair {
        mut alice_client,
        mut bob_client,
        conversation,
        alice,
        ..
    } = pair(&deployment, &servers[0], &servers[1]).await;
    let began = tokio::time::Instant::now();
    for number in 0..50 {
        let text = format!("message {number}");
        let answer = alice_client
            .ask(append(conversation, 1, id(number), text.as_bytes()))
            .await;
        assert_eq!(appended(answer).seq, u64::from(number) + 2);
    }
    let delivered = bob_client.deliveries(50).await;
    assert!(
        began.elapsed() < Duration::from_secs(5),
        "hints, not the polling floor, did this"
    );
    for (number, envelope) in delivered.iter().enumerate() {
        assert_eq!(envelope.payload, format!("message {number}").as_bytes());
        assert_eq!(envelope.seq, number as u64 + 2);
        assert_eq!(envelope.sender_device_id, alice.device().to_vec());
    }
    // And back: the sender's own session was told nothing but this.
    appended(
        bob_client
            .ask(append(conversation, 1, id(0), b"back"))
            .await,
    );
    loop {
        let envelope = alice_client.deliveries(1).await.remove(0);
        if envelope.payload == b"back"[..] {
            break;
        }
        assert!(
            envelope.payload.is_empty(),
            "an own entry comes without content"
        );
    }
}

/// C14: the same client id gets the same place, from any server.
#[tokio::test]
async fn a_repeated_append_is_answered_alike() {
    let deployment = Deployment::new();
    let servers = [deployment.start(""), deployment.start("")];
    let Pair {
        alice,
        mut alice_client,
        mut bob_client,
        conversation,
        ..
    } = pair(&deployment, &servers[0], &servers[0]).await;
    let first = appended(
        alice_client
            .ask(append(conversation, 1, id(1), b"once"))
            .await,
    );
    let again = appended(
        alice_client
            .ask(append(conversation, 1, id(1), b"once"))
            .await,
    );
    assert_eq!(first, again);
    let mut elsewhere = alice.log_in(&deployment, &servers[1]).await;
    let third = appended(elsewhere.ask(append(conversation, 1, id(1), b"once")).await);
    assert_eq!(first, third);
    appended(
        alice_client
            .ask(append(conversation, 1, id(2), b"twice"))
            .await,
    );
    let payloads: Vec<_> = bob_client
        .deliveries(2)
        .await
        .into_iter()
        .map(|e| e.payload)
        .collect();
    assert_eq!(payloads, [&b"once"[..], b"twice"]);
}

#[tokio::test]
async fn many_appends_at_once_keep_their_order() {
    let deployment = Deployment::new();
    let server = deployment.start("");
    let Pair {
        mut alice_client,
        mut bob_client,
        conversation,
        ..
    } = pair(&deployment, &server, &server).await;
    let mut sent = Vec::new();
    for number in 0..300 {
        let request = append(conversation, 1, id(number), &number.to_be_bytes());
        sent.push(alice_client.send(request).await);
    }
    for (number, request_id) in sent.into_iter().enumerate() {
        let answer = appended(alice_client.answer(request_id).await);
        assert_eq!(answer.seq, number as u64 + 2);
    }
    let delivered = bob_client.deliveries(300).await;
    assert!(
        (0..300u32)
            .zip(&delivered)
            .all(|(number, e)| e.payload == number.to_be_bytes()[..])
    );
}

#[tokio::test]
async fn what_does_not_fit_the_conversation_is_refused() {
    let deployment = Deployment::new();
    let server = deployment.start("");
    let Pair {
        mut alice_client,
        conversation,
        ..
    } = pair(&deployment, &server, &server).await;
    let (_, mut eve) = Person::register("eve", &deployment, &server).await;
    let (code_of_eve, _) = error(eve.ask(append(conversation, 1, id(1), b"hi")).await);
    assert_eq!(code_of_eve, ErrorCode::UnknownConversation);
    let info = Request::GetGroupInfo(wire::GetGroupInfo {
        conversation_id: conversation.to_vec(),
    });
    assert_eq!(
        code(eve.ask(info.clone()).await),
        ErrorCode::UnknownConversation
    );
    assert!(matches!(alice_client.ask(info).await, Response::GroupInfo(info) if info.epoch == 1));
    let (stale, error_frame) = error(
        alice_client
            .ask(append(conversation, 0, id(1), b"hi"))
            .await,
    );
    assert_eq!(
        (stale, error_frame.current_epoch),
        (ErrorCode::StaleEpoch, 1)
    );
    let mut rebuilt = append(conversation, 1, id(1), b"hi");
    if let Request::Append(append) = &mut rebuilt {
        append.generation = 3;
    }
    assert_eq!(
        code(alice_client.ask(rebuilt).await),
        ErrorCode::StaleGeneration
    );
    let empty = append(conversation, 1, id(1), b"");
    assert_eq!(code(alice_client.ask(empty).await), ErrorCode::Malformed);
    let large = append(conversation, 1, id(1), &vec![0; 128 * 1024 + 1]);
    assert_eq!(code(alice_client.ask(large).await), ErrorCode::TooLarge);
    appended(
        alice_client
            .ask(append(conversation, 1, id(1), &vec![0; 128 * 1024]))
            .await,
    );
}

#[tokio::test]
async fn two_accounts_have_one_conversation() {
    let deployment = Deployment::new();
    let server = deployment.start("");
    let Pair {
        alice,
        bob,
        mut alice_client,
        mut bob_client,
        conversation,
    } = pair(&deployment, &server, &server).await;
    alice.publish(&mut alice_client, 1).await;
    let claimed = bob.claim(&mut bob_client, "alice").await;
    let other = ConversationId::from_bytes([7; 16]);
    let (request, _) = bob.creation(other, &alice.username, &claimed);
    let (code, refusal) = error(bob_client.ask(Request::CreateConversation(request)).await);
    assert_eq!(code, ErrorCode::ConversationExists);
    assert_eq!(refusal.conversation_id, conversation.to_vec());
    let find = Request::FindPair(wire::FindPair {
        username: "alice".to_owned(),
    });
    match bob_client.ask(find).await {
        Response::PairFound(found) => assert_eq!(found.conversation_id, conversation.to_vec()),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_creation_is_repeated_safely_and_judged() {
    let deployment = Deployment::new();
    let server = deployment.start("");
    let (alice, mut alice_client) = Person::register("alice", &deployment, &server).await;
    let (bob, mut bob_client) = Person::register("bob", &deployment, &server).await;
    bob.publish(&mut bob_client, 2).await;
    let claimed = alice.claim(&mut alice_client, "bob").await;
    let conversation = ConversationId::from_bytes([5; 16]);
    let (request, _) = alice.creation(conversation, &bob.username, &claimed);
    let create = |change: fn(&mut wire::CreateConversation)| {
        let mut request = request.clone();
        change(&mut request);
        Request::CreateConversation(request)
    };
    let flipped = create(|request| {
        let middle = request.commit.len() / 2;
        request.commit[middle] ^= 1;
    });
    assert_eq!(
        code(alice_client.ask(flipped).await),
        ErrorCode::CommitInvalid
    );
    let uninvited = create(|request| request.welcomes.clear());
    assert_eq!(
        code(alice_client.ask(uninvited).await),
        ErrorCode::Malformed
    );
    let not_hers = create(|_| {});
    assert_eq!(code(bob_client.ask(not_hers).await), ErrorCode::NotAllowed);
    let first = appended(alice_client.ask(create(|_| {})).await);
    assert_eq!((first.seq, first.epoch), (1, 1));
    assert_eq!(appended(alice_client.ask(create(|_| {})).await), first);
    assert_eq!(
        code(bob_client.ask(create(|_| {})).await),
        ErrorCode::ConversationExists
    );
}

/// B3: an identity that nobody registered gets in nowhere, however well signed.
#[tokio::test]
async fn a_ghost_under_a_known_name_is_not_added() {
    let deployment = Deployment::new();
    let server = deployment.start("");
    let (alice, mut alice_client) = Person::register("alice", &deployment, &server).await;
    let (bob, _bob_client) = Person::register("bob", &deployment, &server).await;
    let ghost = Person::new("bob", *alice.me.certificate().deployment());
    let claimed = wire::ClaimedKeyPackages {
        identity_key: ghost.identity.public().to_vec(),
        packages: vec![wire::ClaimedKeyPackage {
            device_id: ghost.device().to_vec(),
            key_package: ghost.key_package(sotto_crypto::KeyPackageUse::OneTime),
        }],
    };
    let conversation = ConversationId::from_bytes([5; 16]);
    let (request, _) = alice.creation(conversation, &bob.username, &claimed);
    let answer = alice_client.ask(Request::CreateConversation(request)).await;
    assert_eq!(code(answer), ErrorCode::CommitInvalid);
}

fn commit_request(
    conversation: ConversationId,
    client_id: sotto_protocol::ClientMessageId,
    pending: &sotto_crypto::PendingCommit,
) -> wire::AppendCommit {
    wire::AppendCommit {
        conversation_id: conversation.to_vec(),
        generation: 0,
        epoch: 1,
        client_id: client_id.to_vec(),
        commit: pending.commit.clone(),
        group_info: pending.group_info.clone(),
        welcomes: Vec::new(),
    }
}

#[tokio::test]
async fn a_commit_moves_the_epoch_once() {
    let deployment = Deployment::new();
    let server = deployment.start("");
    let (mut alice, mut bob) = (
        Person::register("alice", &deployment, &server).await,
        Person::register("bob", &deployment, &server).await,
    );
    bob.0.publish(&mut bob.1, 2).await;
    alice.1.resume().await;
    bob.1.resume().await;
    let (conversation, mut group) = alice.0.converse(&mut alice.1, &bob.0.username).await;
    let (alice, mut alice_client, mut bob_client) = (alice.0, alice.1, bob.1);
    let welcome = bob_client.deliveries(1).await.remove(0);
    assert_eq!(welcome.kind(), EnvelopeKind::Welcome);
    let client_id = sotto_protocol::ClientMessageId::from_bytes(id(77));
    let pending = group
        .stage_self_update(&alice.store(), &alice.me, &client_id, support::now_ms())
        .unwrap();
    let commit = commit_request(conversation, client_id, &pending);
    let wrong_id = wire::AppendCommit {
        client_id: id(78).to_vec(),
        ..commit.clone()
    };
    assert_eq!(
        code(alice_client.ask(Request::AppendCommit(wrong_id)).await),
        ErrorCode::CommitInvalid
    );
    let other_info = wire::AppendCommit {
        group_info: pending.commit.clone(),
        ..commit.clone()
    };
    assert!(matches!(
        alice_client.ask(Request::AppendCommit(other_info)).await,
        Response::Error(_)
    ));
    assert_eq!(
        code(bob_client.ask(Request::AppendCommit(commit.clone())).await),
        ErrorCode::NotAllowed
    );
    let first = appended(
        alice_client
            .ask(Request::AppendCommit(commit.clone()))
            .await,
    );
    assert_eq!((first.seq, first.epoch), (2, 2));
    let again = appended(
        alice_client
            .ask(Request::AppendCommit(commit.clone()))
            .await,
    );
    assert_eq!(again.seq, 2);
    let delivered = bob_client.deliveries(1).await;
    assert_eq!(delivered[0].kind(), EnvelopeKind::Commit);
    assert_eq!(delivered[0].payload, pending.commit);
    let late = append(conversation, 1, id(5), b"sealed before");
    let (stale, refusal) = error(bob_client.ask(late).await);
    assert_eq!((stale, refusal.current_epoch), (ErrorCode::StaleEpoch, 2));
    let late_commit = wire::AppendCommit {
        client_id: id(79).to_vec(),
        ..commit
    };
    assert_eq!(
        code(alice_client.ask(Request::AppendCommit(late_commit)).await),
        ErrorCode::StaleEpoch
    );
}

#[tokio::test]
async fn who_was_away_gets_everything_once() {
    let deployment = Deployment::new();
    let servers = [deployment.start(""), deployment.start("")];
    let Pair {
        bob,
        mut alice_client,
        bob_client,
        conversation,
        ..
    } = pair(&deployment, &servers[0], &servers[1]).await;
    drop(bob_client);
    let text = vec![1; 3_000];
    for number in 0..700 {
        alice_client
            .send(append(conversation, 1, id(number), &text))
            .await;
        if number % 50 == 49 {
            // The last of each fifty is waited for.
            let last = append(conversation, 1, id(number), &text);
            alice_client.skip_to(last).await;
        }
    }
    let mut back = bob.log_in(&deployment, &servers[0]).await;
    let sync = match back.ask(Request::GetSync(wire::GetSync::default())).await {
        Response::Sync(sync) => sync,
        other => panic!("{other:?}"),
    };
    assert_eq!(
        sync.conversations.len(),
        2,
        "the conversation and the mailbox"
    );
    assert!(!back.has_pushes(), "nothing before Resume");
    let delivered = back.resume().await;
    let seqs: Vec<_> = delivered.iter().map(|envelope| envelope.seq).collect();
    assert_eq!(seqs, (2..=701).collect::<Vec<u64>>());
    // What was acknowledged does not come again, once the cursor is written.
    support::eventually("the cursor is written", async || {
        let mut again = bob.log_in(&deployment, &servers[1]).await;
        again.resume().await.is_empty()
    })
    .await;
}

#[tokio::test]
async fn what_was_not_acknowledged_comes_again() {
    let deployment = Deployment::new();
    let server = deployment.start("");
    let Pair {
        bob,
        mut alice_client,
        mut bob_client,
        conversation,
        ..
    } = pair(&deployment, &server, &server).await;
    for number in 0..3 {
        appended(
            alice_client
                .ask(append(conversation, 1, id(number), b"x"))
                .await,
        );
    }
    let mut seen = 0;
    while seen < 3 {
        if let Response::Deliver(deliver) = bob_client.push().await {
            seen += deliver.envelopes.len();
        }
    }
    drop(bob_client);
    let mut back = bob.log_in(&deployment, &server).await;
    assert_eq!(back.resume().await.len(), 3);
}

#[tokio::test]
async fn a_reader_that_does_not_acknowledge_is_given_no_more_than_the_window() {
    let deployment = Deployment::new();
    let server = deployment.start("");
    let Pair {
        mut alice_client,
        mut bob_client,
        conversation,
        ..
    } = pair(&deployment, &server, &server).await;
    for number in 0..600 {
        appended(
            alice_client
                .ask(append(conversation, 1, id(number), b"x"))
                .await,
        );
    }
    let mut unacknowledged = Vec::new();
    while unacknowledged.len() < 512 {
        if let Response::Deliver(deliver) = bob_client.push().await {
            unacknowledged.extend(deliver.envelopes);
        }
    }
    assert_eq!(unacknowledged.len(), 512);
    bob_client.ask(Request::Ping(wire::Ping {})).await;
    assert!(!bob_client.has_pushes(), "more than the window");
    bob_client.acknowledge(&unacknowledged[500..]).await;
    assert_eq!(bob_client.deliveries(88).await.len(), 88);
}

/// Who talks with somebody whose identity changes is told in the log, at once.
#[tokio::test]
async fn a_new_identity_is_told_in_every_log_that_the_old_one_was_in() {
    let deployment = Deployment::new();
    let servers = [deployment.start(""), deployment.start("")];
    let Pair {
        bob,
        mut alice_client,
        mut bob_client,
        conversation,
        ..
    } = pair(&deployment, &servers[0], &servers[1]).await;
    // One device was logged out before: its leaf is in the group still.
    let answer = bob_client.ask(Request::Logout(wire::Logout {})).await;
    assert!(matches!(answer, Response::Done(_)), "{answer:?}");
    let fresh = Person::new("bob", *bob.me.certificate().deployment());
    let mut again = Client::connect(servers[1].listen, &deployment.certificates.ca).await;
    again.hello().await;
    let mut login = fresh.password_login();
    login.identity_change = IdentityChange::Replace.into();
    let answer = again.ask(Request::PasswordLogin(login)).await;
    assert!(matches!(answer, Response::LoggedIn(_)), "{answer:?}");
    let told = alice_client.deliveries(1).await.remove(0);
    assert_eq!(told.conversation_id, conversation.to_vec());
    assert_eq!((told.kind(), told.seq), (EnvelopeKind::IdentityChanged, 2));
    let said = wire::IdentityChanged::decode(told.payload).unwrap();
    assert_eq!(said.username, "bob");
    // The log goes on behind it.
    let next = alice_client
        .ask(append(conversation, 1, id(1), b"on"))
        .await;
    assert_eq!(appended(next).seq, 3);
}
