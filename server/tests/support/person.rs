//! Somebody with an identity, a device, and real MLS groups.

use rusqlite::Connection;
use sotto_crypto::{
    Address, DeviceKey, Group, IdentityKey, KeyPackageUse, KeyStore, LocalDevice, LoginChallenge,
    Suite, make_key_package, migrate_key_store,
};
use sotto_protocol::wire;
use sotto_protocol::wire::client_frame::Body as Request;
use sotto_protocol::wire::server_frame::Body as Response;
use sotto_protocol::{ConversationId, DeploymentId, DeviceId, ErrorCode, Username};
use sotto_roster::Policy;

use super::client::{Client, error};
use super::{Deployment, Process, now_ms};

pub struct Person {
    pub username: Username,
    pub identity: IdentityKey,
    pub me: LocalDevice,
    pub keys: Connection,
    pub password: char,
}

pub fn authentication_key(password: char) -> String {
    password.to_string().repeat(43)
}

impl Person {
    pub fn new(username: &str, deployment: DeploymentId) -> Self {
        Self::with_identity(username, deployment, IdentityKey::generate().unwrap())
    }

    pub fn with_identity(username: &str, deployment: DeploymentId, identity: IdentityKey) -> Self {
        let username = Username::parse(username).unwrap();
        let mut keys = Connection::open_in_memory().unwrap();
        migrate_key_store(&mut keys).unwrap();
        let key = DeviceKey::generate().unwrap();
        let device = DeviceId::from_bytes(rand::random());
        let certificate = identity
            .certify(deployment, &username, device, key.public(), now_ms())
            .unwrap();
        let me = LocalDevice::new(certificate, key).unwrap();
        Self {
            username,
            identity,
            me,
            keys,
            password: 'p',
        }
    }

    /// Another device of the same account.
    pub fn second_device(&self) -> Self {
        let identity = IdentityKey::from_secret(&self.identity.to_secret());
        let deployment = *self.me.certificate().deployment();
        Self::with_identity(self.username.as_str(), deployment, identity)
    }

    /// Connects, makes an account, and leaves the connection logged in.
    pub async fn register(
        username: &str,
        deployment: &Deployment,
        server: &Process,
    ) -> (Self, Client) {
        let mut client = Client::connect(server.listen, &deployment.certificates.ca).await;
        let hello = client.hello().await;
        let id = DeploymentId::from_slice(&hello.deployment_id).unwrap();
        let person = Self::new(username, id);
        let answer = client.ask(person.register_request()).await;
        assert!(matches!(answer, Response::LoggedIn(_)), "{answer:?}");
        (person, client)
    }

    pub fn register_request(&self) -> Request {
        Request::Register(wire::Register {
            username: self.username.to_string(),
            authentication_key: authentication_key(self.password),
            certificate: self.me.certificate().as_bytes().to_vec(),
            invite_code: String::new(),
        })
    }

    pub fn password_request(&self) -> Request {
        Request::PasswordLogin(self.password_login())
    }

    pub fn password_login(&self) -> wire::PasswordLogin {
        wire::PasswordLogin {
            username: self.username.to_string(),
            authentication_key: authentication_key(self.password),
            certificate: self.me.certificate().as_bytes().to_vec(),
            identity_change: 0,
        }
    }

    pub fn device_login(&self, hello: &wire::HelloOk, client: &Client) -> wire::DeviceLogin {
        let challenge = LoginChallenge {
            nonce: hello.nonce.clone().try_into().unwrap(),
            exporter: client.exporter(),
        };
        wire::DeviceLogin {
            username: self.username.to_string(),
            device_id: self.device().to_vec(),
            signature: self.me.sign_login(&challenge).to_vec(),
        }
    }

    pub fn device(&self) -> DeviceId {
        *self.me.certificate().device_id()
    }

    /// Connects and logs in by the device's signature.
    pub async fn log_in(&self, deployment: &Deployment, server: &Process) -> Client {
        let mut client = Client::connect(server.listen, &deployment.certificates.ca).await;
        let hello = client.hello().await;
        let login = self.device_login(&hello, &client);
        let answer = client.ask(Request::DeviceLogin(login)).await;
        assert!(matches!(answer, Response::LoggedIn(_)), "{answer:?}");
        client
    }

    pub fn store(&self) -> KeyStore<'_> {
        KeyStore::new(&self.keys)
    }

    pub fn key_package(&self, purpose: KeyPackageUse) -> Vec<u8> {
        make_key_package(&self.store(), &self.me, Suite::Classical, purpose, now_ms())
            .unwrap()
            .bytes
    }

    pub async fn publish(&self, client: &mut Client, count: usize) -> u32 {
        let request = wire::PublishKeyPackages {
            one_time: (0..count)
                .map(|_| self.key_package(KeyPackageUse::OneTime))
                .collect(),
            last_resort: self.key_package(KeyPackageUse::LastResort),
        };
        match client.ask(Request::PublishKeyPackages(request)).await {
            Response::KeyPackagesStored(stored) => stored.one_time_left,
            other => panic!("not stored: {other:?}"),
        }
    }

    pub async fn claim(&self, client: &mut Client, whom: &str) -> wire::ClaimedKeyPackages {
        let request = wire::ClaimKeyPackages {
            username: whom.to_owned(),
            ciphersuite: 3,
        };
        match client.ask(Request::ClaimKeyPackages(request)).await {
            Response::ClaimedKeyPackages(claimed) => claimed,
            other => panic!("not claimed: {other:?}"),
        }
    }

    /// What creates a conversation with somebody whose key packages are at hand.
    pub fn creation(
        &self,
        conversation: ConversationId,
        with: &Username,
        claimed: &wire::ClaimedKeyPackages,
    ) -> (wire::CreateConversation, Group) {
        self.creation_of(conversation, 0, with, claimed)
    }

    /// What makes a generation of a conversation.
    pub fn creation_of(
        &self,
        conversation: ConversationId,
        generation: u32,
        with: &Username,
        claimed: &wire::ClaimedKeyPackages,
    ) -> (wire::CreateConversation, Group) {
        let policy = Policy::pair(self.username.clone(), with.clone()).unwrap();
        let address = Address {
            conversation,
            generation,
        };
        let store = self.store();
        let mut group = Group::create(
            &store,
            &self.me,
            address,
            &policy,
            Suite::Classical,
            now_ms(),
        )
        .unwrap();
        let group_info = group.group_info(&store, &self.me).unwrap();
        let client_id = sotto_protocol::ClientMessageId::from_bytes(rand::random());
        let packages: Vec<_> = claimed
            .packages
            .iter()
            .map(|one| one.key_package.clone())
            .collect();
        let pending = group
            .stage_add(&store, &self.me, &client_id, &packages, None, now_ms())
            .unwrap();
        let welcome = pending.welcome.clone().unwrap();
        let request = wire::CreateConversation {
            conversation_id: conversation.to_vec(),
            generation,
            group_info,
            commit: pending.commit.clone(),
            next_group_info: pending.group_info.clone(),
            welcomes: claimed
                .packages
                .iter()
                .map(|one| wire::Welcome {
                    device_id: one.device_id.clone(),
                    welcome: welcome.clone(),
                    note: Vec::new(),
                })
                .collect(),
            client_id: client_id.to_vec(),
        };
        group
            .merge_pending(&store, &pending.commit, now_ms())
            .unwrap();
        (request, group)
    }

    /// Makes a conversation with somebody who has published key packages.
    pub async fn converse(&self, client: &mut Client, with: &Username) -> (ConversationId, Group) {
        let claimed = self.claim(client, with.as_str()).await;
        let conversation = ConversationId::from_bytes(rand::random());
        let (request, group) = self.creation(conversation, with, &claimed);
        let answer = client.ask(Request::CreateConversation(request)).await;
        assert!(matches!(answer, Response::Appended(_)), "{answer:?}");
        (conversation, group)
    }
}

/// An append of some bytes: servers cannot tell them from a sealed message.
pub fn append(
    conversation: ConversationId,
    epoch: u64,
    client_id: [u8; 16],
    text: &[u8],
) -> Request {
    Request::Append(wire::Append {
        conversation_id: conversation.to_vec(),
        generation: 0,
        epoch,
        client_id: client_id.to_vec(),
        payload: text.to_vec().into(),
    })
}

pub fn appended(answer: Response) -> wire::Appended {
    match answer {
        Response::Appended(appended) => appended,
        other => panic!("not appended: {:?}", error(other)),
    }
}

pub fn code(answer: Response) -> ErrorCode {
    error(answer).0
}
