//! Groups of several people, as their devices make and change them.

use std::collections::BTreeMap;

use ed25519_dalek::{Signer as _, SigningKey};
use sotto_crypto::{Address, Group, PendingCommit, Suite};
use sotto_protocol::wire::client_frame::Body as Request;
use sotto_protocol::wire::server_frame::Body as Response;
use sotto_protocol::{ClientMessageId, ConversationId, DeviceId, wire};
use sotto_roster::{GroupRules, LeaveFields, LeaveStatement, Policy, Role, Rules};

use super::client::Client;
use super::now_ms;
use super::person::{Person, append, appended};

/// A group as one device has it.
pub struct AtDevice {
    pub conversation: ConversationId,
    pub group: Group,
}

/// What stands for a sealed note beside each welcome.
pub const NOTE: &[u8] = &[0x6e; 512];

pub fn any_id() -> ClientMessageId {
    ClientMessageId::from_bytes(rand::random())
}

impl AtDevice {
    pub fn rules(&self) -> GroupRules {
        self.group.roster().policy.group_rules().unwrap().clone()
    }

    pub fn next(&self, rules: GroupRules) -> Policy {
        let policy = &self.group.roster().policy;
        policy.next(Rules::Group(rules)).unwrap()
    }

    /// What sends a commit.
    pub fn request(
        &self,
        client_id: ClientMessageId,
        pending: &PendingCommit,
        welcomed: &[DeviceId],
    ) -> Request {
        Request::AppendCommit(wire::AppendCommit {
            conversation_id: self.conversation.to_vec(),
            generation: 0,
            epoch: self.group.epoch(),
            client_id: client_id.to_vec(),
            commit: pending.commit.clone(),
            group_info: pending.group_info.clone(),
            welcomes: welcomes(pending, welcomed),
        })
    }

    pub fn message(&self, text: &[u8]) -> Request {
        append(
            self.conversation,
            self.group.epoch(),
            *any_id().as_bytes(),
            text,
        )
    }
}

fn welcomes(pending: &PendingCommit, welcomed: &[DeviceId]) -> Vec<wire::Welcome> {
    welcomed
        .iter()
        .map(|device| wire::Welcome {
            device_id: device.to_vec(),
            welcome: pending.welcome.clone().unwrap(),
            note: NOTE.to_vec(),
        })
        .collect()
}

impl Person {
    /// Makes a closed group with others, in one commit.
    pub async fn group_with(&self, client: &mut Client, others: &[&Person]) -> AtDevice {
        let owner = BTreeMap::from([(self.username.clone(), Role::Owner)]);
        let at = (ConversationId::from_bytes(rand::random()), 0);
        let (group, answer) = self
            .found(client, at, Policy::group(owner).unwrap(), others)
            .await;
        appended(answer);
        group
    }

    /// Tries to build a group anew, with these others.
    pub async fn rebuild(
        &self,
        client: &mut Client,
        conversation: ConversationId,
        others: &[&Person],
    ) -> Response {
        let owner = BTreeMap::from([(self.username.clone(), Role::Owner)]);
        let policy = Policy::group(owner).unwrap();
        let at = (conversation, 1);
        let (group, answer) = self.found(client, at, policy, others).await;
        if matches!(answer, Response::Error(_)) {
            group.group.delete(&self.store()).unwrap();
        }
        answer
    }

    /// Makes a public group, alone in it.
    pub async fn room(&self, client: &mut Client) -> AtDevice {
        let owner = BTreeMap::from([(self.username.clone(), Role::Owner)]);
        let policy = Policy::public_group(owner).unwrap();
        let at = (ConversationId::from_bytes(rand::random()), 0);
        let (group, answer) = self.found(client, at, policy, &[]).await;
        appended(answer);
        group
    }

    async fn found(
        &self,
        client: &mut Client,
        (conversation, generation): (ConversationId, u32),
        policy: Policy,
        others: &[&Person],
    ) -> (AtDevice, Response) {
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
        let mut packages = Vec::new();
        let mut rules = policy.group_rules().unwrap().clone();
        for other in others {
            let claimed = self.claim(client, other.username.as_str()).await;
            packages.extend(claimed.packages.into_iter().map(|one| one.key_package));
            rules.roles.insert(other.username.clone(), Role::Member);
        }
        let id = any_id();
        let next = policy.next(Rules::Group(rules)).unwrap();
        let pending = if others.is_empty() {
            group.stage_self_update(&store, &self.me, &id, now_ms())
        } else {
            group.stage_add(&store, &self.me, &id, &packages, Some(&next), now_ms())
        };
        let pending = pending.unwrap();
        let devices: Vec<_> = others.iter().map(|other| other.device()).collect();
        let request = wire::CreateConversation {
            conversation_id: conversation.to_vec(),
            generation,
            group_info,
            commit: pending.commit.clone(),
            next_group_info: pending.group_info.clone(),
            welcomes: welcomes(&pending, &devices),
            client_id: id.to_vec(),
        };
        let answer = client.ask(Request::CreateConversation(request)).await;
        group
            .merge_pending(&store, &pending.commit, now_ms())
            .unwrap();
        let at = AtDevice {
            conversation,
            group,
        };
        (at, answer)
    }

    /// Commits other rules, and the removal of everybody of these names.
    pub async fn change(
        &self,
        client: &mut Client,
        at: &mut AtDevice,
        rules: GroupRules,
        gone: &[&Person],
    ) -> Response {
        let id = any_id();
        let policy = at.next(rules);
        let store = self.store();
        let roster = at.group.roster().clone();
        let leaves: Vec<_> = gone
            .iter()
            .flat_map(|person| roster.devices_of(&person.username))
            .map(|(leaf, _)| leaf)
            .collect();
        let pending = if leaves.is_empty() {
            at.group
                .stage_policy(&store, &self.me, &id, &policy, now_ms())
        } else {
            at.group
                .stage_remove(&store, &self.me, &id, &leaves, Some(&policy), now_ms())
        };
        let pending = pending.unwrap();
        let answer = client.ask(at.request(id, &pending, &[])).await;
        if matches!(answer, Response::Appended(_)) {
            at.group
                .merge_pending(&store, &pending.commit, now_ms())
                .unwrap();
        } else {
            at.group.discard_pending(&store).unwrap();
        }
        answer
    }

    /// Comes in by external commit.
    pub async fn enter(&self, client: &mut Client, conversation: ConversationId) -> AtDevice {
        let info = match client.ask(group_info(conversation)).await {
            Response::GroupInfo(info) => info,
            other => panic!("{other:?}"),
        };
        let (at, request) = self.entry(conversation, &info);
        appended(client.ask(request).await);
        at
    }

    /// The external commit that a group info leads to.
    pub fn entry(
        &self,
        conversation: ConversationId,
        info: &wire::GroupInfo,
    ) -> (AtDevice, Request) {
        let address = Address {
            conversation,
            generation: info.generation,
        };
        let id = any_id();
        let rejoin =
            Group::rejoin(&self.store(), &self.me, address, &info.group_info, &id).unwrap();
        let request = Request::AppendCommit(wire::AppendCommit {
            conversation_id: conversation.to_vec(),
            generation: info.generation,
            epoch: info.epoch,
            client_id: id.to_vec(),
            commit: rejoin.commit.commit.clone(),
            group_info: rejoin.commit.group_info.clone(),
            welcomes: Vec::new(),
        });
        let at = AtDevice {
            conversation,
            group: rejoin.group,
        };
        (at, request)
    }

    /// What this person signs to leave.
    pub fn leave(&self, conversation: ConversationId, client_id: ClientMessageId) -> wire::Leave {
        let fields = LeaveFields {
            deployment: *self.me.certificate().deployment(),
            conversation,
            username: self.username.clone(),
            device: self.device(),
            client_id,
        };
        let key = SigningKey::from_bytes(self.me.key().to_secret().expose());
        let signature = key.sign(&fields.signing_input()).to_bytes();
        wire::Leave {
            conversation_id: conversation.to_vec(),
            client_id: client_id.to_vec(),
            statement: LeaveStatement::new(fields, signature).encode(),
        }
    }
}

pub fn group_info(conversation: ConversationId) -> Request {
    Request::GetGroupInfo(wire::GetGroupInfo {
        conversation_id: conversation.to_vec(),
    })
}
