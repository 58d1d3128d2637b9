//! Signals: heard by members who are there, on whichever server, and by nobody else.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests end at the first surprise"
)]

mod support;

use sotto_protocol::wire::client_frame::Body as Request;
use sotto_protocol::wire::server_frame::Body as Response;
use sotto_protocol::{ConversationId, ErrorCode, wire};
use support::Deployment;
use support::client::error;
use support::person::{Person, appended, code};

fn signal(conversation: ConversationId, payload: &[u8]) -> Request {
    Request::Signal(wire::Signal {
        conversation_id: conversation.to_vec(),
        payload: payload.to_vec(),
    })
}

#[tokio::test]
async fn members_who_are_there_hear_a_signal_and_nobody_else() {
    let deployment = Deployment::new();
    let servers = [deployment.start(""), deployment.start("")];
    let (alice, mut alice_client) = Person::register("alice", &deployment, &servers[0]).await;
    let (bob, mut bob_client) = Person::register("bob", &deployment, &servers[1]).await;
    let (_eve, mut eve_client) = Person::register("eve", &deployment, &servers[1]).await;
    bob.publish(&mut bob_client, 1).await;
    for client in [&mut alice_client, &mut bob_client, &mut eve_client] {
        client.resume().await;
    }
    let at_alice = alice.group_with(&mut alice_client, &[&bob]).await;
    let group = at_alice.conversation;
    // Bob's device has acknowledged the welcome once it gets what follows it.
    bob_client.deliveries(1).await;
    appended(alice_client.ask(at_alice.message(b"one")).await);
    bob_client.deliveries(1).await;
    let done = alice_client.ask(signal(group, b"typing")).await;
    assert!(matches!(done, Response::Done(_)), "{done:?}");
    match bob_client.push().await {
        Response::Signaled(heard) => {
            assert_eq!(heard.payload, b"typing");
            assert_eq!(heard.conversation_id, group.to_vec());
            assert_eq!(heard.sender_device_id, alice.device().to_vec());
        }
        other => panic!("{other:?}"),
    }
    // Strangers say nothing there; nor does anybody in their own mailbox, or too much.
    let refused = code(eve_client.ask(signal(group, b"x")).await);
    assert_eq!(refused, ErrorCode::UnknownConversation);
    for (request, refused) in [
        (
            signal(bob.device().mailbox(), b"x"),
            ErrorCode::UnknownConversation,
        ),
        (signal(group, &[0; 1025]), ErrorCode::TooLarge),
        (signal(group, b""), ErrorCode::Malformed),
    ] {
        assert_eq!(code(bob_client.ask(request).await), refused);
    }
    // An answer comes after what was said before it: nobody else heard anything.
    assert!(matches!(
        eve_client.ask(signal(group, b"x")).await,
        Response::Error(_)
    ));
    assert!(!eve_client.has_pushes() && !alice_client.has_pushes());
    // Nothing was stored.
    let mut again = bob.log_in(&deployment, &servers[0]).await;
    let found = again.resume().await;
    assert!(found.iter().all(|entry| entry.payload != b"typing"[..]));
}

#[tokio::test]
async fn who_says_too_many_signals_is_refused() {
    let deployment = Deployment::new();
    let server = deployment.start("");
    let (alice, mut client) = Person::register("alice", &deployment, &server).await;
    let group = alice.group_with(&mut client, &[]).await.conversation;
    // Before deliveries have begun there is nothing to signal to.
    assert_eq!(
        code(client.ask(signal(group, b"x")).await),
        ErrorCode::UnknownConversation
    );
    client.resume().await;
    for _ in 0..60 {
        if let Response::Error(refused) = client.ask(signal(group, b"x")).await {
            let (code, refused) = error(Response::Error(refused));
            assert_eq!(code, ErrorCode::RateLimited);
            assert!(refused.retry_after_ms > 0 && refused.retry_after_ms <= 1_000);
            return;
        }
    }
    panic!("sixty signals at once were taken");
}
