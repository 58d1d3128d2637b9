//! Devices with real key stores, and a server's view of their conversations.
#![allow(dead_code, unreachable_pub, reason = "each test binary uses its part")]

use rusqlite::Connection;
use sotto_crypto::{
    Address, Body, Content, DeviceKey, Group, IdentityKey, KeyPackageUse, KeyStore, LocalDevice,
    Message, OpenError, Opened, PendingCommit, Sealed, Suite, make_key_package, migrate_key_store,
};
use sotto_protocol::wire::EnvelopeKind;
use sotto_protocol::{ClientMessageId, ConversationId, DeploymentId, DeviceId, Username};
use sotto_roster::{Applied, CommitError, Policy, PublicConversation};

pub const DEPLOYMENT: DeploymentId = DeploymentId::from_bytes([0xd1; 16]);
pub const ADDRESS: Address = Address {
    conversation: ConversationId::from_bytes([0xc0; 16]),
    generation: 0,
};

#[expect(
    clippy::disallowed_methods,
    reason = "the MLS library compares lifetimes with the system's clock"
)]
pub fn now_ms() -> u64 {
    let since = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap();
    u64::try_from(since.as_millis()).unwrap()
}

pub fn name(text: &str) -> Username {
    Username::parse(text).unwrap()
}

pub fn id(byte: u8) -> ClientMessageId {
    ClientMessageId::from_bytes([byte; 16])
}

/// An account's identity, from which devices are made.
pub struct Account {
    pub username: Username,
    pub identity: IdentityKey,
}

impl Account {
    pub fn new(username: &str) -> Self {
        Self {
            username: name(username),
            identity: IdentityKey::generate().unwrap(),
        }
    }

    pub fn device(&self, number: u8) -> Device {
        Device::over(self, number, Connection::open_in_memory().unwrap())
    }
}

/// A device with its key store.
pub struct Device {
    pub me: LocalDevice,
    pub connection: Connection,
}

impl Device {
    /// The commit of this number that takes a device in.
    pub fn stage_add(&self, group: &mut Group, number: u8, package: Vec<u8>) -> PendingCommit {
        group
            .stage_add(
                &self.store(),
                &self.me,
                &id(number),
                &[package],
                None,
                now_ms(),
            )
            .unwrap()
    }

    pub fn over(account: &Account, number: u8, mut connection: Connection) -> Self {
        migrate_key_store(&mut connection).unwrap();
        let key = DeviceKey::generate().unwrap();
        let mut device = [number; 16];
        device[..2].copy_from_slice(&account.username.as_str().as_bytes()[..2]);
        let certificate = account
            .identity
            .certify(
                DEPLOYMENT,
                &account.username,
                DeviceId::from_bytes(device),
                key.public(),
                1,
            )
            .unwrap();
        Self {
            me: LocalDevice::new(certificate, key).unwrap(),
            connection,
        }
    }

    pub fn store(&self) -> KeyStore<'_> {
        KeyStore::new(&self.connection)
    }

    pub fn key_package(&self, suite: Suite, purpose: KeyPackageUse) -> Vec<u8> {
        make_key_package(&self.store(), &self.me, suite, purpose, now_ms())
            .unwrap()
            .bytes
    }

    pub fn package(&self) -> Vec<u8> {
        self.key_package(Suite::Classical, KeyPackageUse::OneTime)
    }

    pub fn group(&self) -> Group {
        Group::load(&self.store(), &self.me, ADDRESS)
            .unwrap()
            .unwrap()
    }

    pub fn create(&self, policy: &Policy, suite: Suite) -> Group {
        Group::create(&self.store(), &self.me, ADDRESS, policy, suite, now_ms()).unwrap()
    }

    pub fn join(&self, welcome: &[u8]) -> Group {
        Group::join(&self.store(), &self.me, ADDRESS, welcome)
            .unwrap()
            .0
    }

    pub fn say(&self, group: &mut Group, client_id: u8, text: &str) -> Vec<u8> {
        group
            .seal(&self.store(), &self.me, &id(client_id), &content(text))
            .unwrap()
    }

    pub fn open(
        &self,
        group: &mut Group,
        kind: EnvelopeKind,
        client_id: u8,
        payload: &[u8],
    ) -> Result<Opened, OpenError> {
        let sealed = Sealed {
            kind,
            client_id: &id(client_id),
            payload,
        };
        group.open(&self.store(), &sealed, now_ms())
    }

    pub fn hear(&self, group: &mut Group, client_id: u8, payload: &[u8]) -> Message {
        match self
            .open(group, EnvelopeKind::Application, client_id, payload)
            .unwrap()
        {
            Opened::Message(message) => *message,
            other => panic!("expected a message, got {other:?}"),
        }
    }

    pub fn follow(&self, group: &mut Group, client_id: u8, commit: &PendingCommit) {
        let opened = self
            .open(group, EnvelopeKind::Commit, client_id, &commit.commit)
            .unwrap();
        assert!(matches!(opened, Opened::Commit(_)));
    }

    pub fn merge(&self, group: &mut Group, commit: &PendingCommit) {
        group
            .merge_pending(&self.store(), &commit.commit, now_ms())
            .unwrap();
    }
}

pub fn content(text: &str) -> Content {
    Content {
        sender_counter: 1,
        highest_seq_seen: 2,
        last_commit_hash: None,
        sent_at_ms: 3,
        body: Body::text(text),
    }
}

pub fn text_of(message: &Message) -> &str {
    match &message.content.body {
        Body::Text(text) => &text.text,
        other => panic!("expected a text, got {other:?}"),
    }
}

/// The server's view.
pub struct Server(pub PublicConversation);

impl Server {
    pub fn new(group_info: &[u8]) -> Self {
        Self(PublicConversation::create(group_info, &DEPLOYMENT, &ADDRESS.conversation, 0).unwrap())
    }

    pub fn apply(&mut self, client_id: u8, commit: &PendingCommit) -> Result<Applied, CommitError> {
        self.0
            .apply_commit(&commit.commit, &commit.group_info, &id(client_id), now_ms())
    }

    /// As if read back from Postgres.
    pub fn reload(&mut self) {
        let bytes = self.0.to_bytes();
        self.0 =
            PublicConversation::from_bytes(&bytes, &DEPLOYMENT, &ADDRESS.conversation, 0).unwrap();
    }
}

/// Alice and Bob in a conversation at epoch 1, with the server's view.
pub struct Pair {
    pub alice: Device,
    pub bob: Device,
    pub alice_account: Account,
    pub bob_account: Account,
    pub at_alice: Group,
    pub at_bob: Group,
    pub server: Server,
}

pub fn pair(suite: Suite) -> Pair {
    let (alice_account, bob_account) = (Account::new("alice"), Account::new("bob"));
    let (alice, bob) = (alice_account.device(1), bob_account.device(1));
    pair_of(suite, alice_account, bob_account, alice, bob)
}

pub fn pair_of(
    suite: Suite,
    alice_account: Account,
    bob_account: Account,
    alice: Device,
    bob: Device,
) -> Pair {
    let policy = Policy::pair(name("alice"), name("bob")).unwrap();
    let mut at_alice = alice.create(&policy, suite);
    let mut server = Server::new(&at_alice.group_info(&alice.store(), &alice.me).unwrap());
    let package = bob.key_package(suite, KeyPackageUse::OneTime);
    let commit = alice.stage_add(&mut at_alice, 1, package);
    server.apply(1, &commit).unwrap();
    alice.merge(&mut at_alice, &commit);
    let at_bob = bob.join(commit.welcome.as_ref().unwrap());
    Pair {
        alice,
        bob,
        alice_account,
        bob_account,
        at_alice,
        at_bob,
        server,
    }
}
