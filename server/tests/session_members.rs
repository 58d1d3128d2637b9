//! Devices that come, go and come back, and conversations that are rebuilt.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests end at the first surprise"
)]

mod support;

use sotto_crypto::{Address, Group, KeyPackageUse, PendingCommit};
use sotto_protocol::wire::client_frame::Body as Request;
use sotto_protocol::wire::server_frame::Body as Response;
use sotto_protocol::wire::{self, EnvelopeKind};
use sotto_protocol::{ClientMessageId, ConversationId, ErrorCode};
use support::client::{Client, error};
use support::person::{Person, append, appended, code};
use support::{Deployment, Process, now_ms};

struct Scene {
    alice: Person,
    bob: Person,
    phone: Person,
    alice_client: Client,
    bob_client: Client,
    /// Bob's second device, logged in, not in the conversation.
    phone_client: Client,
    conversation: ConversationId,
}

async fn scene(deployment: &Deployment, server: &Process) -> Scene {
    let (alice, mut alice_client) = Person::register("alice", deployment, server).await;
    let (bob, mut bob_client) = Person::register("bob", deployment, server).await;
    bob.publish(&mut bob_client, 2).await;
    alice_client.resume().await;
    bob_client.resume().await;
    let (conversation, _) = alice.converse(&mut alice_client, &bob.username).await;
    bob_client.deliveries(1).await;
    let phone = bob.second_device();
    let mut phone_client = Client::connect(server.listen, &deployment.certificates.ca).await;
    phone_client.hello().await;
    let answer = phone_client.ask(phone.password_request()).await;
    assert!(matches!(answer, Response::LoggedIn(_)), "{answer:?}");
    phone_client.resume().await;
    Scene {
        alice,
        bob,
        phone,
        alice_client,
        bob_client,
        phone_client,
        conversation,
    }
}

fn id(number: u8) -> ClientMessageId {
    ClientMessageId::from_bytes([number; 16])
}

fn commit(
    conversation: ConversationId,
    number: u8,
    epoch: u64,
    pending: &PendingCommit,
    welcomed: Option<&Person>,
) -> Request {
    Request::AppendCommit(wire::AppendCommit {
        conversation_id: conversation.to_vec(),
        generation: 0,
        epoch,
        client_id: id(number).to_vec(),
        commit: pending.commit.clone(),
        group_info: pending.group_info.clone(),
        welcomes: welcomed
            .map(|person| wire::Welcome {
                device_id: person.device().to_vec(),
                welcome: pending.welcome.clone().unwrap(),
                note: Vec::new(),
            })
            .into_iter()
            .collect(),
    })
}

async fn say(scene: &mut Scene, epoch: u64, number: u8) {
    let text = append(scene.conversation, epoch, [number; 16], &[number; 20]);
    appended(scene.alice_client.ask(text).await);
}

/// Bob's first device rejoins, since it has no group of its own here, and adds his phone: epoch 3.
async fn add_phone(scene: &mut Scene) -> (Group, wire::Appended) {
    let bob = &scene.bob;
    let address = Address {
        conversation: scene.conversation,
        generation: 0,
    };
    let info = match scene.bob_client.ask(group_info(scene.conversation)).await {
        Response::GroupInfo(info) => info,
        other => panic!("{other:?}"),
    };
    let rejoin = Group::rejoin(&bob.store(), &bob.me, address, &info.group_info, &id(91)).unwrap();
    let request = commit(scene.conversation, 91, 1, &rejoin.commit, None);
    assert_eq!(appended(scene.bob_client.ask(request).await).epoch, 2);
    let mut group = rejoin.group;
    let packages = [scene.phone.key_package(KeyPackageUse::OneTime)];
    let add = group
        .stage_add(&bob.store(), &bob.me, &id(92), &packages, None, now_ms())
        .unwrap();
    let request = commit(scene.conversation, 92, 2, &add, Some(&scene.phone));
    let joined = appended(scene.bob_client.ask(request).await);
    group
        .merge_pending(&bob.store(), &add.commit, now_ms())
        .unwrap();
    (group, joined)
}

/// A10, A20: a removed device gets its removal and nothing after it.
#[tokio::test]
async fn a_removed_device_reads_no_further() {
    let deployment = Deployment::new();
    let server = deployment.start("");
    let mut scene = scene(&deployment, &server).await;
    let (mut group, joined) = add_phone(&mut scene).await;
    let welcome = scene.phone_client.deliveries(1).await.remove(0);
    assert_eq!(welcome.kind(), EnvelopeKind::Welcome);
    say(&mut scene, 3, 1).await;
    let first = scene.phone_client.deliveries(1).await.remove(0);
    assert_eq!((first.seq, first.payload.len()), (joined.seq + 1, 20));

    let gone = group.roster().leaf_of(&scene.phone.device()).unwrap();
    let removal = group
        .stage_remove(
            &scene.bob.store(),
            &scene.bob.me,
            &id(93),
            &[gone],
            None,
            now_ms(),
        )
        .unwrap();
    let request = commit(scene.conversation, 93, 3, &removal, None);
    let removed = appended(scene.bob_client.ask(request).await);
    say(&mut scene, 4, 2).await;
    let last = scene.phone_client.deliveries(1).await.remove(0);
    assert_eq!((last.seq, last.kind()), (removed.seq, EnvelopeKind::Commit));
    say(&mut scene, 4, 3).await;
    // Whoever is still in has it; the phone was told nothing more, and may say nothing.
    let mut bob_seen = 0;
    while bob_seen < removed.seq + 2 {
        bob_seen = scene.bob_client.deliveries(1).await.last().unwrap().seq;
    }
    let text = append(scene.conversation, 4, [7; 16], b"still here?");
    assert_eq!(
        code(scene.phone_client.ask(text).await),
        ErrorCode::UnknownConversation
    );
    assert!(!scene.phone_client.has_pushes());
    let mut again = scene.phone.log_in(&deployment, &server).await;
    let after = again.resume().await;
    assert!(
        after.iter().all(|envelope| envelope.seq <= removed.seq),
        "{after:?}"
    );
}

fn group_info(conversation: ConversationId) -> Request {
    Request::GetGroupInfo(wire::GetGroupInfo {
        conversation_id: conversation.to_vec(),
    })
}

#[tokio::test]
async fn a_new_device_of_a_member_joins_by_itself() {
    let deployment = Deployment::new();
    let server = deployment.start("");
    let mut scene = scene(&deployment, &server).await;
    say(&mut scene, 1, 1).await;
    let info = match scene.phone_client.ask(group_info(scene.conversation)).await {
        Response::GroupInfo(info) => info,
        other => panic!("{other:?}"),
    };
    let address = Address {
        conversation: scene.conversation,
        generation: 0,
    };
    let rejoin = Group::rejoin(
        &scene.phone.store(),
        &scene.phone.me,
        address,
        &info.group_info,
        &id(9),
    )
    .unwrap();
    let request = commit(scene.conversation, 9, 1, &rejoin.commit, None);
    // Sent by another device than the one that made it, it is refused.
    assert_eq!(
        code(scene.bob_client.ask(request.clone()).await),
        ErrorCode::NotAllowed
    );
    let joined = appended(scene.phone_client.ask(request.clone()).await);
    assert_eq!(joined.epoch, 2);
    assert_eq!(
        appended(scene.phone_client.ask(request).await).seq,
        joined.seq
    );
    say(&mut scene, 2, 2).await;
    let first = scene.phone_client.deliveries(1).await.remove(0);
    assert_eq!(
        (first.seq, first.payload.len()),
        (joined.seq + 1, 20),
        "nothing from before"
    );
}

/// A13: a conversation that cannot go on is rebuilt under its id and log.
#[tokio::test]
async fn a_conversation_is_rebuilt() {
    let deployment = Deployment::new();
    let server = deployment.start("");
    let mut scene = scene(&deployment, &server).await;
    say(&mut scene, 1, 1).await;
    assert_eq!(scene.bob_client.deliveries(1).await[0].seq, 2);
    let claimed = scene.alice.claim(&mut scene.alice_client, "bob").await;
    let only_first: Vec<_> = claimed
        .packages
        .into_iter()
        .filter(|package| package.device_id == scene.bob.device().to_vec())
        .collect();
    let claimed = wire::ClaimedKeyPackages {
        packages: only_first,
        ..Default::default()
    };
    let rebuild = |generation| {
        let (request, _) = scene.alice.creation_of(
            scene.conversation,
            generation,
            &scene.bob.username,
            &claimed,
        );
        Request::CreateConversation(request)
    };
    let (refused, stale) = error(scene.alice_client.ask(rebuild(2)).await);
    assert_eq!(
        (refused, stale.current_generation),
        (ErrorCode::StaleGeneration, 0)
    );
    let request = rebuild(1);
    let rebuilt = appended(scene.alice_client.ask(request.clone()).await);
    assert_eq!((rebuilt.seq, rebuilt.epoch), (3, 1));
    assert_eq!(appended(scene.alice_client.ask(request).await), rebuilt);
    let old = append(scene.conversation, 1, [8; 16], b"old");
    let (refused, stale) = error(scene.bob_client.ask(old).await);
    assert_eq!(
        (refused, stale.current_generation),
        (ErrorCode::StaleGeneration, 1)
    );
    // Bob gets the welcome and, on the same log, the commit that began the new generation.
    let both = scene.bob_client.deliveries(2).await;
    assert!(
        both.iter()
            .any(|envelope| envelope.kind() == EnvelopeKind::Welcome)
    );
    let commit = both
        .iter()
        .find(|envelope| envelope.kind() == EnvelopeKind::Commit)
        .unwrap();
    assert_eq!((commit.seq, commit.generation), (3, 1));
}

/// The only device that somebody has left may be one that was never in.
#[tokio::test]
async fn a_conversation_is_rebuilt_by_a_device_that_was_not_in_it_and_by_no_stranger() {
    let deployment = Deployment::new();
    let server = deployment.start("");
    let mut scene = scene(&deployment, &server).await;
    scene.alice.publish(&mut scene.alice_client, 2).await;
    let (carol, mut carol_client) = Person::register("carol", &deployment, &server).await;
    carol_client.resume().await;
    let (conversation, alice) = (scene.conversation, &scene.alice.username);
    let claimed = carol.claim(&mut carol_client, "alice").await;
    let (request, _) = carol.creation_of(conversation, 1, alice, &claimed);
    let refused = code(carol_client.ask(Request::CreateConversation(request)).await);
    assert_eq!(refused, ErrorCode::NotAllowed);
    let claimed = scene.phone.claim(&mut scene.phone_client, "alice").await;
    let (request, _) = scene.phone.creation_of(conversation, 1, alice, &claimed);
    let rebuilt = scene
        .phone_client
        .ask(Request::CreateConversation(request))
        .await;
    assert_eq!(appended(rebuilt).seq, 2);
}

/// Whoever is in a conversation with somebody takes them into groups more often than a stranger may.
#[tokio::test]
async fn companions_claim_more_often_than_strangers() {
    let deployment = Deployment::new();
    let server = deployment.start("");
    let mut scene = scene(&deployment, &server).await;
    for _ in 0..12 {
        let claimed = scene.alice.claim(&mut scene.alice_client, "bob").await;
        assert!(!claimed.packages.is_empty());
    }
}
