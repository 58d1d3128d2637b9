//! NATS as the bus: hints across servers, and days on which it is killed, stopped, wrong or away.
//! No such day costs a message or holds up a sender.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests end at the first surprise"
)]

mod nats_support;
mod support;

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use nats_support::NatsServer;
use sotto_protocol::ConversationId;
use support::client::Client;
use support::person::{Person, append, appended};
use support::{Deployment, Process};

/// Within this every log is polled, hints or none.
const FLOOR: Duration = Duration::from_secs(4);
/// What a busy machine may add to that.
const SLACK: Duration = Duration::from_secs(6);
const CONNECTED: &str = "bus_connected{bus=\"nats\"}";

#[expect(clippy::disallowed_methods, reason = "a test acts in real time")]
fn now() -> Instant {
    Instant::now()
}

/// Alice on one server, bob on another, and their conversation.
struct Talk {
    alice: Client,
    bob: Client,
    conversation: ConversationId,
    next: u8,
}

impl Talk {
    async fn begin(deployment: &Deployment, first: &Process, second: &Process) -> Self {
        let (alice, mut alice_client) = Person::register("alice", deployment, first).await;
        let (bob, mut bob_client) = Person::register("bob", deployment, second).await;
        bob.publish(&mut bob_client, 1).await;
        alice_client.resume().await;
        bob_client.resume().await;
        let (conversation, _) = alice.converse(&mut alice_client, &bob.username).await;
        bob_client.deliveries(1).await;
        Self {
            alice: alice_client,
            bob: bob_client,
            conversation,
            next: 0,
        }
    }

    /// Alice says the next number; returns once it is acknowledged.
    async fn say(&mut self) {
        let number = self.next;
        self.next += 1;
        let text = append(self.conversation, 1, [number; 16], &[number]);
        appended(self.alice.ask(text).await);
    }

    /// Bob hears numbers up to the one that was said last: each once, in order.
    async fn hear_from(&mut self, first: u8) {
        let expected: Vec<_> = (first..self.next).map(|number| vec![number]).collect();
        let heard = self.bob.deliveries(expected.len()).await;
        let payloads: Vec<_> = heard.iter().map(|entry| entry.payload.to_vec()).collect();
        assert_eq!(payloads, expected);
    }

    /// Whether ten messages come sooner than polling could bring them.
    async fn assert_hinted(&mut self) {
        let began = now();
        for _ in 0..10 {
            self.say().await;
            self.hear_from(self.next - 1).await;
        }
        let took = began.elapsed();
        assert!(took < Duration::from_secs(8), "ten in {took:?}: polled");
    }
}

async fn connected(server: &Process, wanted: u64) {
    support::eventually("the bus's state", async || {
        server.metric(CONNECTED).await == wanted
    })
    .await;
}

#[tokio::test]
async fn hints_cross_servers_and_the_state_is_shown() {
    let nats = NatsServer::start(&[]);
    let deployment = Deployment::new();
    let first = deployment.start(&nats.as_bus());
    let second = deployment.start(&nats.as_bus());
    connected(&first, 1).await;
    connected(&second, 1).await;
    let mut talk = Talk::begin(&deployment, &first, &second).await;
    talk.assert_hinted().await;
    let (_, status) = first.get("/status.json").await;
    let status: serde_json::Value = serde_json::from_str(&status).unwrap();
    assert_eq!(status["bus"], "nats");
    assert_eq!(status["bus_connected"], true);
    assert!(first.metric("bus_messages_said_total").await >= 1);
    assert!(second.metric("bus_messages_heard_total").await >= 1);
    // The database carries no hints beside.
    let (database, connection) =
        tokio_postgres::connect(&deployment.database_url, tokio_postgres::NoTls)
            .await
            .unwrap();
    tokio::spawn(connection);
    let listening = "SELECT count(*) FROM pg_stat_activity
         WHERE datname = current_database() AND query LIKE ANY ('{LISTEN%,%pg_notify%}')
           AND pid <> pg_backend_pid()";
    let row = database.query_one(listening, &[]).await.unwrap();
    assert_eq!(row.get::<_, i64>(0), 0);
}

/// K6: a bus that is killed in the middle of a stream and comes back.
#[tokio::test]
async fn a_killed_nats_costs_time_and_no_message() {
    let mut nats = NatsServer::start(&[]);
    let deployment = Deployment::new();
    let first = deployment.start(&nats.as_bus());
    let second = deployment.start(&nats.as_bus());
    let mut talk = Talk::begin(&deployment, &first, &second).await;
    connected(&second, 1).await;
    let began = now();
    for number in 0..60 {
        match number {
            20 => nats.kill9(),
            40 => nats.restart(),
            _ => {}
        }
        talk.say().await;
    }
    talk.hear_from(0).await;
    let took = began.elapsed();
    assert!(took < FLOOR + SLACK + SLACK, "sixty in {took:?}");
    connected(&first, 1).await;
    connected(&second, 1).await;
    talk.assert_hinted().await;
    assert!(first.metric("bus_interruptions_total").await >= 1);
}

/// A stopped nats-server keeps its connections and takes bytes until its buffers are full.
#[tokio::test]
async fn a_stopped_nats_holds_up_nobody() {
    let nats = NatsServer::start(&[]);
    let deployment = Deployment::new();
    let first = deployment.start(&nats.as_bus());
    let second = deployment.start(&nats.as_bus());
    let mut talk = Talk::begin(&deployment, &first, &second).await;
    connected(&second, 1).await;
    nats.freeze();
    let began = now();
    for _ in 0..40 {
        talk.say().await;
    }
    let said = began.elapsed();
    assert!(said < SLACK, "forty acknowledged in {said:?}");
    talk.hear_from(0).await;
    let heard = began.elapsed();
    assert!(heard < said + FLOOR + SLACK, "forty heard in {heard:?}");
    // It is noticed, and the servers are as ready as before.
    connected(&first, 0).await;
    connected(&second, 0).await;
    assert_eq!(first.get("/readyz").await.0, 200);
    talk.say().await;
    talk.hear_from(talk.next - 1).await;
    nats.thaw();
    connected(&first, 1).await;
    connected(&second, 1).await;
    talk.assert_hinted().await;
}

#[tokio::test]
async fn a_nats_that_is_not_there_is_waited_for_while_messages_pass() {
    let mut nats = NatsServer::start(&[]);
    nats.kill9();
    let deployment = Deployment::new();
    let first = deployment.start(&nats.as_bus());
    let second = deployment.start(&nats.as_bus());
    connected(&first, 0).await;
    let mut talk = Talk::begin(&deployment, &first, &second).await;
    let began = now();
    for _ in 0..5 {
        talk.say().await;
    }
    talk.hear_from(0).await;
    assert!(began.elapsed() < FLOOR + SLACK);
    nats.restart();
    connected(&first, 1).await;
    connected(&second, 1).await;
    talk.assert_hinted().await;
}

/// Somebody else on the same NATS can wake, and nothing more.
#[tokio::test]
async fn nonsense_on_the_subject_harms_nobody() {
    let nats = NatsServer::start(&[]);
    let deployment = Deployment::new();
    let first = deployment.start(&nats.as_bus());
    let second = deployment.start(&nats.as_bus());
    let mut talk = Talk::begin(&deployment, &first, &second).await;
    let mut greeting = Client::connect(first.listen, &deployment.certificates.ca).await;
    let id = greeting.hello().await.deployment_id;
    let id: String = id.iter().map(|byte| format!("{byte:02x}")).collect();
    let mut stranger = TcpStream::connect(nats.address()).unwrap();
    let mut script = b"CONNECT {\"verbose\":false}\r\n".to_vec();
    for nonsense in [
        &b""[..],
        b"\xff\xfe",
        b"0123456789abcdef*",
        b"0123456789abcdef!AAAA",
        b"0123456789abcdefAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
        &[b'A'; 100_000],
    ] {
        let line = format!("PUB sotto.hints.{id} {}\r\n", nonsense.len());
        script.extend([line.as_bytes(), nonsense, b"\r\n"].concat());
    }
    script.extend(b"PING\r\n");
    stranger.write_all(&script).unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"PONG\r\n") {
        let mut byte = [0];
        stranger.read_exact(&mut byte).unwrap();
        answer.extend(byte);
    }
    talk.assert_hinted().await;
    assert_eq!(first.metric("bus_interruptions_total").await, 0);
    assert_eq!(second.metric(CONNECTED).await, 1);
}

/// A NATS that keeps the connection and lets nobody say or hear hints is shown as none.
#[tokio::test]
async fn a_nats_that_refuses_hints_is_shown_and_said_once() {
    let deployment = Deployment::new();
    let file = deployment.folder.path().join("nats.conf");
    let refusing = "authorization: { users: [ { user: sotto, password: c4n4ry, \
         permissions: { publish: \"others.>\", subscribe: \"others.>\" } } ] }\n";
    std::fs::write(&file, refusing).unwrap();
    let nats = NatsServer::start(&["--config", file.to_str().unwrap()]);
    let bus = format!("bus = \"nats://sotto:c4n4ry@127.0.0.1:{}\"", nats.port);
    let first = deployment.start(&bus);
    let second = deployment.start(&bus);
    for server in [&first, &second] {
        support::eventually("the refusal is logged", async || {
            server.log_text().contains("NATS refuses hints")
        })
        .await;
        connected(server, 0).await;
    }
    let mut talk = Talk::begin(&deployment, &first, &second).await;
    for _ in 0..5 {
        talk.say().await;
    }
    talk.hear_from(0).await;
    assert_eq!(first.log_text().matches("NATS refuses hints").count(), 1);
    assert_eq!(first.metric("bus_interruptions_total").await, 0);
    assert_eq!(first.metric(CONNECTED).await, 0);
    assert_eq!(first.get("/readyz").await.0, 200);
}

#[tokio::test]
async fn nats_is_verified_and_asks_for_its_password() {
    let deployment = Deployment::new();
    let certificates = &deployment.certificates;
    let nats = NatsServer::start(&[
        "--tls",
        "--tlscert",
        certificates.cert.to_str().unwrap(),
        "--tlskey",
        certificates.key.to_str().unwrap(),
        "--user",
        "sotto",
        "--pass",
        "c4n4ry",
    ]);
    let bus = |password: &str, host: &str, ca: &std::path::Path| {
        let port = nats.port;
        format!("bus = \"tls://sotto:{password}@{host}:{port}\"\nbus_ca = {ca:?}")
    };
    let right = deployment.start(&bus("c4n4ry", "localhost", &certificates.ca));
    let also = deployment.start(&bus("c4n4ry", "127.0.0.1", &certificates.ca));
    connected(&right, 1).await;
    connected(&also, 1).await;
    let stranger = sotto_stack::certs::Certificates::ensure(
        &deployment.folder.path().join("stranger"),
        support::now(),
    )
    .unwrap();
    let refused = [
        bus("wr0ng", "localhost", &certificates.ca),
        bus("c4n4ry", "localhost", &stranger.ca),
        bus(
            "c4n4ry",
            "localhost",
            &deployment.folder.path().join("none"),
        ),
        format!("bus = \"nats://sotto:c4n4ry@localhost:{}\"", nats.port),
    ];
    for wrong in refused {
        let server = deployment.start(&wrong);
        support::eventually("the refusal is logged", async || {
            server.log_text().contains("no connection for hints")
        })
        .await;
        assert_eq!(server.metric(CONNECTED).await, 0, "{wrong}");
        let log = server.log_text();
        assert!(!log.contains("c4n4ry") && !log.contains("wr0ng"), "{log}");
    }
    let mut talk = Talk::begin(&deployment, &right, &also).await;
    talk.assert_hinted().await;
}

#[tokio::test]
async fn a_bus_that_is_none_is_a_wrong_configuration() {
    let deployment = Deployment::new();
    for wrong in ["bus = \"nats\"", "bus = \"postgres\"\nbus_ca = \"ca.pem\""] {
        let (mut child, _, log) = deployment.launch(wrong);
        let status = sotto_stack::process::wait_for_exit(&mut child, support::PATIENCE)
            .unwrap()
            .unwrap();
        assert_eq!(status.code(), Some(2));
        let log = std::fs::read_to_string(&log).unwrap();
        assert!(log.contains("bus"), "{log}");
    }
}
