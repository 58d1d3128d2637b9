//! A database that goes away, a certificate that changes, a server that stops.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests end at the first surprise"
)]

mod support;

use sotto_protocol::wire;
use sotto_protocol::wire::client_frame::Body as Request;
use sotto_protocol::wire::server_frame::Body as Response;
use sotto_protocol::{ConversationId, ErrorCode};
use sotto_stack::postgres::Durability;
use sotto_stack::testing::TestCluster;
use support::client::Client;
use support::person::{Person, append, appended};
use support::{Deployment, Signal};

/// K7, K8: requests are answered `unavailable`, sessions stay, and all goes on by itself.
fn is_unavailable(answer: &Response) -> bool {
    matches!(answer, Response::Error(error)
        if ErrorCode::from_number(error.code) == ErrorCode::Unavailable)
}

#[tokio::test]
async fn postgres_is_killed_and_comes_back() {
    let cluster = TestCluster::launch(Durability::Durable).unwrap();
    let deployment = Deployment::in_cluster(&cluster);
    let server = deployment.start("");
    let (alice, mut alice_client) = Person::register("alice", &deployment, &server).await;
    let (bob, mut bob_client) = Person::register("bob", &deployment, &server).await;
    bob.publish(&mut bob_client, 1).await;
    alice_client.resume().await;
    bob_client.resume().await;
    let (conversation, _) = alice.converse(&mut alice_client, &bob.username).await;
    bob_client.deliveries(1).await;
    appended(
        alice_client
            .ask(append(conversation, 1, [1; 16], b"before"))
            .await,
    );
    assert_eq!(bob_client.deliveries(1).await[0].payload, b"before"[..]);

    cluster.kill9();
    // A backend outlives its postmaster by a moment, and may still commit.
    support::eventually("appends are refused", async || {
        let during = append(conversation, 1, [2; 16], b"during");
        is_unavailable(&alice_client.ask(during).await)
    })
    .await;
    support::eventually("questions are refused", async || {
        let question = Request::GetSync(wire::GetSync::default());
        is_unavailable(&alice_client.ask(question).await)
    })
    .await;
    support::eventually("the server is not ready", async || {
        server.get("/readyz").await.0 == 503
    })
    .await;
    assert_eq!(server.get("/livez").await.0, 200);

    cluster.start().unwrap();
    support::eventually("the append is taken again", async || {
        let again = append(conversation, 1, [2; 16], b"during");
        matches!(alice_client.ask(again).await, Response::Appended(_))
    })
    .await;
    assert_eq!(bob_client.deliveries(1).await[0].payload, b"during"[..]);
    support::eventually("the server is ready", async || {
        server.get("/readyz").await.0 == 200
    })
    .await;
    assert_eq!(
        server.metric("sessions").await,
        2,
        "nobody had to reconnect"
    );
}

#[tokio::test]
async fn a_stopping_server_asks_its_clients_to_move_and_ends() {
    let deployment = Deployment::new();
    let mut server = deployment.start("drain_seconds = 20");
    let (_, mut client) = Person::register("alice", &deployment, &server).await;
    assert_eq!(server.get("/readyz").await, (200, "ready\n".to_owned()));
    server.signal(Signal::TERM);
    match client.push().await {
        Response::Move(moved) => assert!(moved.within_ms <= 20_000),
        other => panic!("{other:?}"),
    }
    let (status, _) = server.get("/readyz").await;
    assert_eq!(status, 503);
    // Requests are still answered until the client leaves.
    assert!(matches!(
        client.ask(Request::Ping(wire::Ping {})).await,
        Response::Pong(_)
    ));
    drop(client);
    assert_eq!(server.wait().code(), Some(0));
}

#[tokio::test]
async fn who_does_not_move_is_cut_off_in_the_end() {
    let deployment = Deployment::new();
    let mut server = deployment.start("drain_seconds = 1");
    let (_, mut client) = Person::register("alice", &deployment, &server).await;
    server.signal(Signal::TERM);
    assert!(matches!(client.push().await, Response::Move(_)));
    assert!(
        matches!(client.push().await, Response::Error(error) if error.code == ErrorCode::Unavailable as u32)
    );
    assert!(client.try_frame().await.is_none());
    assert_eq!(server.wait().code(), Some(0));
}

#[tokio::test]
async fn a_killed_server_loses_nothing_that_it_acknowledged() {
    let deployment = Deployment::new();
    let mut first = deployment.start("");
    let second = deployment.start("");
    let (alice, mut alice_client) = Person::register("alice", &deployment, &first).await;
    let (bob, mut bob_client) = Person::register("bob", &deployment, &second).await;
    bob.publish(&mut bob_client, 1).await;
    let (conversation, _) = alice.converse(&mut alice_client, &bob.username).await;
    let id = |number: u8| [number; 16];
    for number in 0..20 {
        appended(
            alice_client
                .ask(append(conversation, 1, id(number), &[number]))
                .await,
        );
    }
    for number in 20..40 {
        alice_client
            .send(append(conversation, 1, id(number), &[number]))
            .await;
    }
    first.kill();
    // Of the last twenty nothing is known: all are sent again, to the other server.
    let mut alice_client = alice.log_in(&deployment, &second).await;
    for number in 20..40 {
        appended(
            alice_client
                .ask(append(conversation, 1, id(number), &[number]))
                .await,
        );
    }
    let logs: Vec<_> = bob_client.resume().await;
    bob_client.deliveries(usize::from(logs.is_empty())).await;
    let mut seen: Vec<u8> = logs
        .iter()
        .filter(|envelope| envelope.conversation_id == conversation.to_vec())
        .map(|envelope| envelope.payload[0])
        .collect();
    while seen.len() < 40 {
        seen.extend(
            bob_client
                .deliveries(1)
                .await
                .iter()
                .map(|envelope| envelope.payload[0]),
        );
    }
    let mut sorted = seen.clone();
    sorted.sort_unstable();
    assert_eq!(sorted, (0..40).collect::<Vec<u8>>(), "each exactly once");
    assert_eq!(seen[..20], sorted[..20], "acknowledged ones in their order");
    let _ = ConversationId::from_bytes([0; 16]);
}

#[tokio::test]
async fn the_certificate_is_reloaded_on_hangup() {
    let deployment = Deployment::new();
    let server = deployment.start("");
    let mut early = Client::connect(server.listen, &deployment.certificates.ca).await;
    Client::connect(server.listen, &deployment.certificates.ca)
        .await
        .hello()
        .await;
    // A broken file keeps the old certificate.
    let good = std::fs::read(&deployment.certificates.cert).unwrap();
    std::fs::write(&deployment.certificates.cert, "nonsense").unwrap();
    server.signal(Signal::HUP);
    support::eventually("the refusal is logged", async || {
        server.log_text().contains("certificate not reloaded")
    })
    .await;
    Client::connect(server.listen, &deployment.certificates.ca)
        .await
        .hello()
        .await;
    std::fs::write(&deployment.certificates.cert, good).unwrap();
    let other = sotto_stack::certs::Certificates::ensure(
        &deployment.folder.path().join("other"),
        support::now(),
    )
    .unwrap();
    for (from, to) in [
        (&other.cert, &deployment.certificates.cert),
        (&other.key, &deployment.certificates.key),
    ] {
        std::fs::copy(from, to).unwrap();
    }
    server.signal(Signal::HUP);
    support::eventually("the new certificate serves", async || {
        Client::try_connect(server.listen, &other.ca).await.is_ok()
    })
    .await;
    assert!(
        Client::try_connect(server.listen, &deployment.certificates.ca)
            .await
            .is_err()
    );
    // Whoever was there before goes on.
    early.hello().await;
}

/// What whoever started the server heard last.
fn heard(supervisor: &std::os::unix::net::UnixDatagram) -> String {
    let mut message = [0; 256];
    let length = supervisor.recv(&mut message).unwrap();
    String::from_utf8_lossy(&message[..length])
        .trim()
        .to_owned()
}

#[tokio::test]
async fn a_supervisor_is_told_when_the_server_is_ready_and_when_it_stops() {
    let deployment = Deployment::new();
    let address = deployment.folder.path().join("notify");
    let supervisor = std::os::unix::net::UnixDatagram::bind(&address).unwrap();
    supervisor
        .set_read_timeout(Some(support::PATIENCE))
        .unwrap();
    let (child, ready, log) = deployment.launch_with("", &[("NOTIFY_SOCKET", &address)]);
    assert_eq!(heard(&supervisor), "READY=1");
    let server = support::wait_ready(child, &ready, log);
    Client::connect(server.listen, &deployment.certificates.ca)
        .await
        .hello()
        .await;
    server.signal(Signal::TERM);
    assert_eq!(heard(&supervisor), "STOPPING=1");
}

#[tokio::test]
async fn wrong_configurations_and_schemas_have_their_exit_codes() {
    let deployment = Deployment::new();
    let (mut child, _, log) = deployment.launch("no_such_key = 1");
    let status = sotto_stack::process::wait_for_exit(&mut child, support::PATIENCE)
        .unwrap()
        .unwrap();
    assert_eq!(status.code(), Some(2));
    assert!(
        std::fs::read_to_string(&log)
            .unwrap()
            .contains("no_such_key")
    );

    let empty = TestCluster::shared().create_database().unwrap();
    let unmigrated = Deployment::over(empty.url().to_owned(), Some(empty));
    let (mut child, _, log) = unmigrated.launch("");
    let status = sotto_stack::process::wait_for_exit(&mut child, support::PATIENCE)
        .unwrap()
        .unwrap();
    assert_eq!(
        status.code(),
        Some(70),
        "{}",
        std::fs::read_to_string(&log).unwrap()
    );
    assert!(
        std::fs::read_to_string(&log)
            .unwrap()
            .contains("sotto-server migrate")
    );
}
