//! Groups of several: made at once, left, declined, and held until somebody accepts.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests end at the first surprise"
)]

mod support;

use prost::Message as _;
use sotto_protocol::wire::client_frame::Body as Request;
use sotto_protocol::wire::server_frame::Body as Response;
use sotto_protocol::wire::{self, EnvelopeKind};
use sotto_protocol::{ConversationId, ErrorCode};
use sotto_roster::{LeaveStatement, Role};
use support::client::{Client, error};
use support::group::{AtDevice, NOTE, any_id, group_info};
use support::person::{Person, appended, code};
use support::{Deployment, Process};

struct Scene {
    alice: Person,
    bob: Person,
    carol: Person,
    at_alice: AtDevice,
    alice_client: Client,
    bob_client: Client,
    carol_client: Client,
}

/// Alice's group with Bob and Carol; Bob's and Carol's deliveries have not begun.
async fn scene(deployment: &Deployment, server: &Process) -> Scene {
    let (alice, mut alice_client) = Person::register("alice", deployment, server).await;
    let (bob, mut bob_client) = Person::register("bob", deployment, server).await;
    let (carol, mut carol_client) = Person::register("carol", deployment, server).await;
    bob.publish(&mut bob_client, 1).await;
    carol.publish(&mut carol_client, 1).await;
    let at_alice = alice.group_with(&mut alice_client, &[&bob, &carol]).await;
    Scene {
        alice,
        bob,
        carol,
        at_alice,
        alice_client,
        bob_client,
        carol_client,
    }
}

fn resume(cursors: &[(ConversationId, u64)], held: &[ConversationId]) -> Request {
    Request::Resume(wire::Resume {
        cursors: cursors
            .iter()
            .map(|(id, seq)| wire::Cursor {
                conversation_id: id.to_vec(),
                seq: *seq,
            })
            .collect(),
        held: held.iter().map(|id| id.to_vec()).collect(),
    })
}

/// What is pushed until the server says that that was all.
async fn all(client: &mut Client, request: Request) -> Vec<wire::Envelope> {
    let answer = client.ask(request).await;
    assert!(matches!(answer, Response::Done(_)), "{answer:?}");
    let mut found = Vec::new();
    loop {
        match client.push().await {
            Response::Deliver(deliver) => found.extend(deliver.envelopes),
            Response::CaughtUp(_) => return found,
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn a_group_is_made_with_several_at_once() {
    let deployment = Deployment::new();
    let server = deployment.start("");
    let mut scene = scene(&deployment, &server).await;
    let said = scene.at_alice.message(b"hello all");
    appended(scene.alice_client.ask(said).await);
    for client in [&mut scene.bob_client, &mut scene.carol_client] {
        let found = client.resume().await;
        assert_eq!(found[0].kind(), EnvelopeKind::Welcome);
        let welcome = wire::MailboxWelcome::decode(&*found[0].payload).unwrap();
        assert_eq!(welcome.note, NOTE);
        let said = match found.get(1) {
            Some(said) => said.clone(),
            None => client.deliveries(1).await.remove(0),
        };
        assert_eq!((said.seq, &said.payload[..]), (2, &b"hello all"[..]));
    }
    let endless = wire::Welcome {
        note: vec![0; 2_049],
        ..wire::Welcome::default()
    };
    let request = wire::CreateConversation {
        conversation_id: vec![9; 16],
        client_id: vec![9; 16],
        welcomes: vec![endless],
        ..wire::CreateConversation::default()
    };
    let refused = scene.alice_client.ask(Request::CreateConversation(request));
    assert_eq!(code(refused.await), ErrorCode::TooLarge);
    // A member who is no admin cannot change anything, whatever the client does.
    let (code, _) = error(
        scene
            .bob_client
            .ask(Request::CreateJoinLink(wire::CreateJoinLink {
                conversation_id: scene.at_alice.conversation.to_vec(),
                link_id: vec![1; 16],
                expires_at_ms: support::now_ms() + 1_000_000,
                uses: 1,
            }))
            .await,
    );
    assert_eq!(code, ErrorCode::NotAllowed);
}

/// A10: whoever leaves reads and says nothing from there on.
#[tokio::test]
async fn who_leaves_reads_no_further() {
    let deployment = Deployment::new();
    let server = deployment.start("");
    let mut scene = scene(&deployment, &server).await;
    let conversation = scene.at_alice.conversation;
    scene.bob_client.resume().await;
    scene.carol_client.resume().await;
    scene.alice_client.resume().await;
    let id = any_id();
    let leave = scene.bob.leave(conversation, id);
    let left = appended(scene.bob_client.ask(Request::Leave(leave.clone())).await);
    let again = appended(scene.bob_client.ask(Request::Leave(leave)).await);
    assert_eq!(left.seq, again.seq);
    let seen = scene.carol_client.deliveries(1).await.remove(0);
    assert_eq!((seen.seq, seen.kind()), (left.seq, EnvelopeKind::Leave));
    let statement = LeaveStatement::decode(&seen.payload).unwrap();
    let bobs = scene.bob.me.certificate();
    assert_eq!(statement.verify(bobs, &conversation, &id), Ok(()));
    let after = scene.at_alice.message(b"he is gone");
    appended(scene.alice_client.ask(after).await);
    assert_eq!(scene.carol_client.deliveries(1).await[0].seq, left.seq + 1);
    let late = scene.at_alice.message(b"me too");
    for request in [late, group_info(conversation)] {
        let refused = code(scene.bob_client.ask(request).await);
        assert_eq!(refused, ErrorCode::UnknownConversation);
    }
    let mut bob_again = scene.bob.log_in(&deployment, &server).await;
    let found = bob_again.resume().await;
    assert!(found.iter().all(|entry| entry.seq <= left.seq), "{found:?}");
}

/// A rebuilt group is no way to bring back somebody who left.
#[tokio::test]
async fn a_rebuilt_group_keeps_out_who_left() {
    let deployment = Deployment::new();
    let server = deployment.start("");
    let mut scene = scene(&deployment, &server).await;
    let conversation = scene.at_alice.conversation;
    let leave = Request::Leave(scene.bob.leave(conversation, any_id()));
    appended(scene.bob_client.ask(leave).await);
    scene.bob.publish(&mut scene.bob_client, 1).await;
    scene.carol.publish(&mut scene.carol_client, 2).await;
    let client = &mut scene.alice_client;
    let both = [&scene.bob, &scene.carol];
    let refused = scene.alice.rebuild(client, conversation, &both).await;
    assert_eq!(code(refused), ErrorCode::NotAllowed);
    let rebuilt = scene.alice.rebuild(client, conversation, &both[1..]).await;
    assert_eq!(appended(rebuilt).epoch, 1);
}

#[tokio::test]
async fn nobody_makes_others_leave() {
    let deployment = Deployment::new();
    let server = deployment.start("");
    let mut scene = scene(&deployment, &server).await;
    let conversation = scene.at_alice.conversation;
    let id = any_id();
    let bobs = scene.bob.leave(conversation, id);
    // Carol sends what Bob signed; Bob sends it under another id, or for another group, or cut.
    let refused = scene.carol_client.ask(Request::Leave(bobs.clone())).await;
    assert_eq!(code(refused), ErrorCode::Malformed);
    let mut other_id = bobs.clone();
    other_id.client_id = any_id().to_vec();
    let mut elsewhere = bobs.clone();
    elsewhere.conversation_id = vec![9; 16];
    let mut cut = bobs.clone();
    cut.statement.pop();
    for wrong in [other_id, elsewhere, cut] {
        let refused = scene.bob_client.ask(Request::Leave(wrong)).await;
        assert_eq!(code(refused), ErrorCode::Malformed);
    }
    let mut long = bobs;
    long.statement = vec![0; 513];
    let refused = scene.bob_client.ask(Request::Leave(long)).await;
    assert_eq!(code(refused), ErrorCode::TooLarge);
    // A stranger leaves nothing.
    let (dave, mut dave_client) = Person::register("dave", &deployment, &server).await;
    let request = Request::Leave(dave.leave(conversation, id));
    let refused = code(dave_client.ask(request).await);
    assert_eq!(refused, ErrorCode::UnknownConversation);
}

#[tokio::test]
async fn the_last_owner_hands_over_first() {
    let deployment = Deployment::new();
    let server = deployment.start("");
    let mut scene = scene(&deployment, &server).await;
    let conversation = scene.at_alice.conversation;
    let leave = || Request::Leave(scene.alice.leave(conversation, any_id()));
    let refused = code(scene.alice_client.ask(leave()).await);
    assert_eq!(refused, ErrorCode::NotAllowed);
    let mut rules = scene.at_alice.rules();
    rules.roles.insert(scene.bob.username.clone(), Role::Owner);
    let client = &mut scene.alice_client;
    let changed = scene
        .alice
        .change(client, &mut scene.at_alice, rules, &[])
        .await;
    appended(changed);
    appended(scene.alice_client.ask(leave()).await);
    // Bob is the last one now, and may go only when nobody is left behind.
    let bobs = || Request::Leave(scene.bob.leave(conversation, any_id()));
    let refused = code(scene.bob_client.ask(bobs()).await);
    assert_eq!(refused, ErrorCode::NotAllowed);
    let carols = Request::Leave(scene.carol.leave(conversation, any_id()));
    appended(scene.carol_client.ask(carols).await);
    appended(scene.bob_client.ask(bobs()).await);
}

/// Nothing of an invitation is delivered until it is accepted, also across reconnects.
#[tokio::test]
async fn an_invitation_waits_until_it_is_accepted() {
    let deployment = Deployment::new();
    let server = deployment.start("");
    let mut scene = scene(&deployment, &server).await;
    let conversation = scene.at_alice.conversation;
    for number in 0..3 {
        let said = scene.at_alice.message(&[number; 9]);
        appended(scene.alice_client.ask(said).await);
    }
    let found = all(&mut scene.bob_client, resume(&[], &[conversation])).await;
    assert!(
        found
            .iter()
            .all(|entry| entry.kind() == EnvelopeKind::Welcome)
    );
    let said = scene.at_alice.message(b"still there?");
    appended(scene.alice_client.ask(said).await);
    // Another resume does not forget that it is held; one that names it begins it.
    let found = all(&mut scene.bob_client, resume(&[], &[])).await;
    assert!(
        found
            .iter()
            .all(|entry| entry.kind() == EnvelopeKind::Welcome)
    );
    let found = all(&mut scene.bob_client, resume(&[(conversation, 1)], &[])).await;
    let of_group = |entry: &&wire::Envelope| entry.conversation_id == conversation.to_vec();
    assert_eq!(found.iter().filter(of_group).count(), 4);
    // Carol declines without ever having read.
    all(&mut scene.carol_client, resume(&[], &[conversation])).await;
    let declined = Request::Leave(scene.carol.leave(conversation, any_id()));
    let declined = appended(scene.carol_client.ask(declined).await);
    let seen = scene.bob_client.deliveries(1).await.remove(0);
    assert_eq!((seen.seq, seen.kind()), (declined.seq, EnvelopeKind::Leave));
    assert!(!scene.carol_client.has_pushes());
}

#[tokio::test]
async fn a_pair_is_not_left() {
    let deployment = Deployment::new();
    let server = deployment.start("");
    let (alice, mut alice_client) = Person::register("alice", &deployment, &server).await;
    let (bob, mut bob_client) = Person::register("bob", &deployment, &server).await;
    bob.publish(&mut bob_client, 1).await;
    let (conversation, _) = alice.converse(&mut alice_client, &bob.username).await;
    let request = Request::Leave(alice.leave(conversation, any_id()));
    assert_eq!(code(alice_client.ask(request).await), ErrorCode::NotAllowed);
}
