//! A store on a database of its own, and short ways to fill it. Unverified bytes stand for
//! certificates, commits and payloads: the store carries them and looks at none.

#![allow(dead_code, reason = "each test program uses its part")]

use std::time::{Duration, Instant};

use bytes::Bytes;
use sotto_protocol::{ClientMessageId, ConversationId, DeviceId, Username};
use sotto_server::migrate::migrate;
use sotto_server::store::{
    AccountId, AppendMessage, Before, CommitAppend, CommitPayload, DeviceWelcome, NewConversation,
    NewDevice, Registration, Store, StoreConfig,
};
use sotto_stack::testing::{TestCluster, TestDatabase};

pub(crate) struct World {
    pub(crate) store: Store,
    pub(crate) database: TestDatabase,
}

/// A migrated database in the shared cluster.
pub(crate) fn database() -> TestDatabase {
    TestCluster::shared()
        .create_prepared(
            "sotto_store",
            |url| async move { migrate(&url).await.map(drop) },
        )
        .unwrap()
}

pub(crate) async fn world() -> World {
    let database = tokio::task::spawn_blocking(database).await.unwrap();
    let store = open(database.url()).await;
    World { store, database }
}

pub(crate) async fn open(url: &str) -> Store {
    let mut config = StoreConfig::new(url);
    config.pool_connections = 4;
    // What everybody has goes at once; `a_late_copy…` has the usual time.
    config.linger = std::time::Duration::ZERO;
    Store::open(config).await.unwrap()
}

/// A plain connection, for looking and for breaking things.
pub(crate) async fn sql(url: &str) -> tokio_postgres::Client {
    let (client, connection) = tokio_postgres::connect(url, tokio_postgres::NoTls)
        .await
        .unwrap();
    tokio::spawn(connection);
    client
}

pub(crate) fn name(text: &str) -> Username {
    Username::parse(text).unwrap()
}

pub(crate) fn device_id() -> DeviceId {
    DeviceId::from_bytes(rand::random())
}

pub(crate) fn conversation_id() -> ConversationId {
    ConversationId::from_bytes(rand::random())
}

pub(crate) fn client_id() -> ClientMessageId {
    ClientMessageId::from_bytes(rand::random())
}

pub(crate) fn new_device(id: DeviceId) -> NewDevice {
    NewDevice {
        id,
        device_key: [5; 32],
        certificate: Bytes::from_static(b"certificate"),
    }
}

pub(crate) fn registration(username: &str, device: DeviceId) -> Registration {
    Registration {
        username: name(username),
        authentication_hash: "hash".into(),
        identity_key: [9; 32],
        device: new_device(device),
        invite: None,
    }
}

/// An account with one device.
#[derive(Clone)]
pub(crate) struct Person {
    pub(crate) name: Username,
    pub(crate) account: AccountId,
    pub(crate) device: DeviceId,
}

pub(crate) async fn person(store: &Store, username: &str) -> Person {
    let device = device_id();
    let account = store
        .register(registration(username, device))
        .await
        .unwrap();
    Person {
        name: name(username),
        account,
        device,
    }
}

pub(crate) fn commit_payload(sender: &Person, welcomed: &[DeviceId]) -> CommitPayload {
    CommitPayload {
        sender_device: sender.device,
        inviter: sender.name.clone(),
        client_id: client_id(),
        commit: Bytes::from_static(b"commit"),
        group_state: Bytes::from_static(b"state"),
        group_info: Bytes::from_static(b"info"),
        policy: Bytes::new(),
        tree: None,
        welcomes: welcomed
            .iter()
            .map(|device| DeviceWelcome {
                device: *device,
                welcome: Bytes::from_static(b"welcome"),
                note: Bytes::from_static(b"note"),
            })
            .collect(),
    }
}

/// A first commit by the first of `people` that adds the others.
pub(crate) fn conversation(people: &[&Person]) -> NewConversation {
    let others: Vec<DeviceId> = people.iter().skip(1).map(|p| p.device).collect();
    NewConversation {
        conversation: conversation_id(),
        generation: 0,
        before: Before::Nothing,
        members: people.iter().map(|p| p.device).collect(),
        pair: None,
        access: sotto_roster::Access::Closed,
        payload: commit_payload(people[0], &others),
    }
}

pub(crate) async fn group(store: &Store, people: &[&Person]) -> ConversationId {
    let new = conversation(people);
    let id = new.conversation;
    let appended = store.create_conversation(new).await.unwrap();
    assert_eq!((appended.seq, appended.epoch), (1, 1));
    id
}

/// A commit of epoch 1 that changes nothing yet.
pub(crate) fn commit(sender: &Person, conversation: ConversationId) -> CommitAppend {
    CommitAppend {
        conversation,
        generation: 0,
        epoch: 1,
        added: Vec::new(),
        removed: Vec::new(),
        payload: commit_payload(sender, &[]),
    }
}

/// A message of epoch 1.
pub(crate) fn message(sender: &Person, conversation: ConversationId, text: &str) -> AppendMessage {
    AppendMessage {
        conversation,
        generation: 0,
        epoch: 1,
        sender_device: sender.device,
        client_id: client_id(),
        payload: Bytes::copy_from_slice(text.as_bytes()),
    }
}

/// Waits until something is so, a minute at most.
pub(crate) async fn eventually(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    #[expect(clippy::disallowed_methods, reason = "the deadline of a wait")]
    let now = Instant::now;
    let deadline = now() + Duration::from_secs(60);
    while !is_so().await {
        assert!(now() < deadline, "not in time: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
