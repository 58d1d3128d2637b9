//! Prints how many messages a second one server's store appends, reads back and sweeps, on a
//! private Postgres whose commits reach the disk.

use std::error::Error;
use std::time::{Duration, Instant};

use bytes::Bytes;
use sotto_protocol::{ClientMessageId, ConversationId, DeviceId, Username};
use sotto_server::migrate::migrate;
use sotto_server::store::{
    AppendMessage, CommitPayload, NewConversation, NewDevice, Registration, Store, StoreConfig,
};
use sotto_stack::postgres::Durability;
use sotto_stack::testing::TestCluster;

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> Outcome<()> {
    let cluster = TestCluster::launch(Durability::Durable)?;
    let database = cluster.create_database()?;
    migrate(database.url()).await?;
    let store = Store::open(StoreConfig::new(database.url())).await?;
    let alice = Username::parse("alice")?;
    let device = DeviceId::from_bytes(rand::random());
    let registration = Registration {
        username: alice.clone(),
        authentication_hash: String::new(),
        identity_key: [0; 32],
        device: NewDevice {
            id: device,
            device_key: [0; 32],
            certificate: Bytes::new(),
        },
        invite: None,
    };
    store.register(registration).await?;
    let mut groups = Vec::new();
    for _ in 0..512 {
        let conversation = ConversationId::from_bytes(rand::random());
        let payload = CommitPayload {
            sender_device: device,
            inviter: alice.clone(),
            client_id: ClientMessageId::from_bytes(rand::random()),
            commit: Bytes::new(),
            group_state: Bytes::new(),
            group_info: Bytes::new(),
            policy: Bytes::new(),
            tree: None,
            welcomes: Vec::new(),
        };
        let new = NewConversation {
            conversation,
            generation: 0,
            before: sotto_server::store::Before::Nothing,
            members: vec![device],
            pair: None,
            access: sotto_roster::Access::Closed,
            payload,
        };
        store.create_conversation(new).await?;
        groups.push(conversation);
    }
    for (senders, in_flight) in [(1, 1), (64, 1), (512, 1), (512, 16)] {
        measure(&store, device, &groups[..senders], in_flight).await?;
    }
    drop((database, store));
    Ok(())
}

#[expect(clippy::disallowed_methods, reason = "measures time")]
fn now() -> Instant {
    Instant::now()
}

async fn measure(
    store: &Store,
    device: DeviceId,
    groups: &[ConversationId],
    in_flight: usize,
) -> Outcome<()> {
    let deadline = now() + Duration::from_secs(8);
    let mut tasks = tokio::task::JoinSet::new();
    for conversation in groups.iter().copied() {
        let store = store.clone();
        tasks.spawn(async move { send(&store, device, conversation, in_flight, deadline).await });
    }
    let began = now();
    let mut waits: Vec<Duration> = tasks.join_all().await.into_iter().flatten().collect();
    let seconds = began.elapsed().as_secs_f64();
    waits.sort_unstable();
    let at = |share: f64| waits[(waits.len() as f64 * share) as usize % waits.len()];
    println!(
        "{} senders, {in_flight} in flight: {:.0} appends/s, p50 {:?}, p99 {:?}",
        groups.len(),
        waits.len() as f64 / seconds,
        at(0.5),
        at(0.99),
    );
    Ok(())
}

async fn send(
    store: &Store,
    device: DeviceId,
    conversation: ConversationId,
    in_flight: usize,
    deadline: Instant,
) -> Vec<Duration> {
    let mut waits = Vec::new();
    while now() < deadline {
        let began = now();
        let answers: Vec<_> = (0..in_flight)
            .map(|_| {
                store.append(AppendMessage {
                    conversation,
                    generation: 0,
                    epoch: 1,
                    sender_device: device,
                    client_id: ClientMessageId::from_bytes(rand::random()),
                    payload: Bytes::from_static(&[7; 300]),
                })
            })
            .collect();
        for answer in answers {
            if let Ok(appended) = answer.await {
                waits.push(began.elapsed());
                store.advance(device, conversation, appended.seq);
            }
        }
    }
    waits
}
