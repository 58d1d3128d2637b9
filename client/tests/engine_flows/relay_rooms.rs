//! The relay's rooms and invite links, and trees that travel apart.

use std::collections::{BTreeMap, BTreeSet};

use prost::Message as _;
use sotto_protocol::limits::RESTORED_LEAP;
use sotto_protocol::wire::server_frame::Body as Answer;
use sotto_protocol::wire::{self, EnvelopeKind, client_frame::Body as Ask};
use sotto_protocol::{ConversationId, DeviceId, ErrorCode};
use sotto_roster::{Access, Policy, PublicConversation, Role, holds_tree};

use crate::relay::{DEPLOYMENT, Log, Outcome, Relay, Stored, id, refuse};

/// The invite links of a group.
#[derive(Clone, Default)]
pub(crate) struct Links {
    /// Until when, and how often still.
    known: BTreeMap<Vec<u8>, (u64, u32)>,
    used: BTreeSet<(Vec<u8>, String)>,
}

impl Log {
    fn copied(&self, id: &ConversationId) -> Self {
        let group = self.group.as_ref().map(|group| {
            let bytes = group.to_bytes();
            PublicConversation::from_bytes(&bytes, &DEPLOYMENT, id, self.generation).unwrap()
        });
        Self {
            group,
            group_info: self.group_info.clone(),
            group_seq: self.group_seq,
            generation: self.generation,
            entries: self.entries.clone(),
            leapt: self.leapt,
            members: self.members.clone(),
            left: self.left.clone(),
            pair: self.pair.clone(),
            links: self.links.clone(),
            trees: self.trees.clone(),
        }
    }

    pub(crate) fn is_public(&self) -> bool {
        let roster = self.group.as_ref().map(PublicConversation::roster);
        let rules = roster.and_then(|roster| roster.policy.group_rules());
        rules.is_some_and(|rules| rules.access == Access::Public)
    }

    /// The present tree, where the group info does not hold it.
    pub(crate) fn tree_apart(&self) -> Vec<u8> {
        let group = self.group.as_ref();
        match holds_tree(&self.group_info) {
            true => Vec::new(),
            false => group.unwrap().export_tree().unwrap(),
        }
    }

    fn role_of(&self, name: &str) -> Option<Role> {
        let policy: &Policy = &self.group.as_ref()?.roster().policy;
        policy.role_of(&crate::world::name(name))
    }
}

impl Relay {
    pub(crate) fn answer_about_rooms(&mut self, client: usize, body: Ask) -> Outcome {
        match body {
            Ask::CreateJoinLink(ask) => {
                let log = self.as_admin(client, &ask.conversation_id)?;
                let link = (ask.expires_at_ms, ask.uses);
                log.links.known.entry(ask.link_id).or_insert(link);
                Ok(Answer::Done(wire::Done {}))
            }
            Ask::RevokeJoinLink(ask) => {
                let log = self.as_admin(client, &ask.conversation_id)?;
                match log.links.known.remove(&ask.link_id) {
                    Some(_) => Ok(Answer::Done(wire::Done {})),
                    None => Err(refuse(ErrorCode::UnknownInvite)),
                }
            }
            Ask::ListJoinLinks(ask) => {
                let now_ms = self.now_ms;
                let log = self.as_admin(client, &ask.conversation_id)?;
                let live = log.links.known.iter();
                let live = live.filter(|(_, (until, uses))| *until > now_ms && *uses > 0);
                let links = live.map(|(link, (until, uses))| wire::JoinLink {
                    link_id: link.clone(),
                    expires_at_ms: *until,
                    uses_left: *uses,
                });
                Ok(Answer::JoinLinks(wire::JoinLinks {
                    links: links.collect(),
                }))
            }
            Ask::RequestJoin(ask) => self.request_join(client, ask),
            Ask::GetTree(ask) => {
                let log = self.logs.get(&id(&ask.conversation_id));
                let tree = log.and_then(|log| log.trees.get(&(ask.generation, ask.epoch)));
                let tree = tree.ok_or_else(|| refuse(ErrorCode::UnknownConversation))?;
                Ok(Answer::Tree(wire::Tree {
                    ratchet_tree: tree.clone(),
                }))
            }
            Ask::SetRoom(_) => Ok(Answer::Done(wire::Done {})),
            _ => Err(refuse(ErrorCode::Malformed)),
        }
    }

    /// The same server once more, with everything that it has by now.
    pub(crate) fn split(&self) -> Self {
        let logs = self.logs.iter().map(|(id, log)| (*id, log.copied(id)));
        let mut relay = Self::default();
        relay.accounts = self.accounts.clone();
        relay.packages = self.packages.clone();
        relay.logs = logs.collect();
        relay
    }

    /// Does what an operator does to a database that was put back: numbers go on beyond all that
    /// were ever given out, and no key package is offered that may have been used.
    pub(crate) fn leap(&mut self) {
        self.packages.clear();
        for log in self.logs.values_mut() {
            log.leapt += RESTORED_LEAP;
        }
    }

    /// Puts a welcome into a device's mailbox that no commit came with.
    pub(crate) fn slip(&mut self, device: DeviceId, welcome: &wire::MailboxWelcome) {
        let (kind, payload) = (EnvelopeKind::Welcome, welcome.encode_to_vec());
        self.store(device.mailbox(), device, kind, 0, vec![0x51; 16], payload);
    }

    /// Puts an entry of another log into one.
    pub(crate) fn cross(&mut self, conversation: ConversationId, entry: &Stored) {
        let envelope = &entry.envelope;
        let kind = EnvelopeKind::try_from(envelope.kind).unwrap();
        let (client_id, payload) = (envelope.client_id.clone(), envelope.payload.to_vec());
        let epoch = envelope.epoch;
        self.store(conversation, entry.sender, kind, epoch, client_id, payload);
    }

    /// The server no longer counts a client's device into a group.
    pub(crate) fn forget_device(&mut self, client: usize, conversation: ConversationId) {
        let name = format!("m{client:04}");
        let account = &self.accounts[&name];
        let devices = account.certificates.keys();
        let log = self.logs.get_mut(&conversation).unwrap();
        for device in devices {
            log.members.remove(device);
        }
    }

    fn as_admin(&mut self, client: usize, conversation: &[u8]) -> Result<&mut Log, wire::Error> {
        let (name, _) = self.me(client)?;
        let log = self.logs.get_mut(&id(conversation));
        let log = log.ok_or_else(|| refuse(ErrorCode::UnknownConversation))?;
        match log.role_of(&name) {
            Some(Role::Admin | Role::Owner) => Ok(log),
            _ => Err(refuse(ErrorCode::NotAllowed)),
        }
    }

    fn request_join(&mut self, client: usize, ask: wire::RequestJoin) -> Outcome {
        let (name, device) = self.me(client)?;
        let now_ms = self.now_ms;
        let unknown = || refuse(ErrorCode::UnknownInvite);
        let identity_key = self.accounts[&name].identity.to_vec();
        let conversation = id(&ask.conversation_id);
        let log = self.logs.get_mut(&conversation).ok_or_else(unknown)?;
        let use_of = (ask.link_id.clone(), name.clone());
        let link = log.links.known.get_mut(&ask.link_id);
        let (until, uses) = link.ok_or_else(unknown)?;
        if log.links.used.contains(&use_of) {
            return Ok(Answer::Done(wire::Done {}));
        }
        if *until <= now_ms || *uses == 0 {
            return Err(unknown());
        }
        let policy = &log.group.as_ref().unwrap().roster().policy;
        let rules = policy.group_rules().unwrap();
        if rules.banned.contains(&crate::world::name(&name)) {
            return Err(refuse(ErrorCode::Banned));
        }
        if log.role_of(&name).is_some() {
            return Err(refuse(ErrorCode::ConversationExists));
        }
        *log.links
            .known
            .get_mut(&ask.link_id)
            .map(|(_, uses)| uses)
            .unwrap() -= 1;
        log.links.used.insert(use_of);
        let epoch = log.epoch();
        let payload = wire::JoinRequest {
            username: name,
            identity_key,
            link_id: ask.link_id,
            proof: ask.proof,
        };
        let kind = EnvelopeKind::JoinRequest;
        let payload = payload.encode_to_vec();
        self.store(conversation, device, kind, epoch, ask.client_id, payload);
        Ok(Answer::Done(wire::Done {}))
    }

    /// Whom the policy of a group names as put out.
    pub(crate) fn put_out(&self, conversation: ConversationId) -> Vec<sotto_protocol::Username> {
        let group = self.logs[&conversation].group.as_ref().unwrap();
        let rules = group.roster().policy.group_rules().unwrap();
        rules.put_out.iter().cloned().collect()
    }

    /// Hours later the same links may be used by the same people again.
    pub(crate) fn forget_uses(&mut self) {
        for log in self.logs.values_mut() {
            log.links.used.clear();
        }
    }

    /// What a server that forges requests puts into a log.
    pub(crate) fn forge_join_request(
        &mut self,
        conversation: ConversationId,
        request: &wire::JoinRequest,
    ) {
        let epoch = self.logs[&conversation].epoch();
        let payload = request.encode_to_vec();
        let device = sotto_protocol::DeviceId::from_bytes([0xfe; 16]);
        let client_id = vec![0xfd; 16];
        let kind = EnvelopeKind::JoinRequest;
        self.store(conversation, device, kind, epoch, client_id, payload);
    }
}
