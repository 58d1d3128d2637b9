//! The relay's logs: creating, appending, committing.

use prost::Message as _;
use sotto_protocol::wire::server_frame::Body as Answer;
use sotto_protocol::wire::{self, EnvelopeKind};
use sotto_protocol::{ClientMessageId, ConversationId, DeviceId, ErrorCode};
use sotto_roster::{Applied, PublicConversation, authorize_rebuild, holds_tree};

use crate::relay::{DEPLOYMENT, Log, Outcome, Relay, id, log_member, refuse, sorted};

impl Relay {
    pub(crate) fn create(&mut self, client: usize, ask: wire::CreateConversation) -> Outcome {
        let (name, device) = self.me(client)?;
        let id = id(&ask.conversation_id);
        if let Some(seq) = self.seq_of(id, device, &ask.client_id) {
            return Ok(self.appended(id, seq));
        }
        let mut group =
            PublicConversation::create(&ask.group_info, &DEPLOYMENT, &id, ask.generation)
                .map_err(|_| refuse(ErrorCode::CommitInvalid))?;
        let applied = group
            .apply_commit(
                &ask.commit,
                &ask.next_group_info,
                &ClientMessageId::from_slice(&ask.client_id).unwrap(),
                self.now_ms,
            )
            .map_err(|_| refuse(ErrorCode::CommitInvalid))?;
        let names: Vec<_> = applied
            .after
            .accounts()
            .into_iter()
            .map(ToString::to_string)
            .collect();
        let is_pair = applied.after.policy.group_rules().is_none();
        let other = names.iter().find(|other| **other != name);
        let pair = other
            .filter(|_| is_pair)
            .map(|other| sorted(name.clone(), other.clone()));
        self.judge_place(id, ask.generation, pair.as_ref(), &applied)?;
        let log = self.logs.entry(id).or_default();
        log.pair = pair;
        log.generation = ask.generation;
        let members: Vec<_> = applied
            .after
            .leaves
            .values()
            .map(|leaf| *leaf.device_id())
            .collect();
        log.members.retain(|device, _| members.contains(device));
        log.group = Some(group);
        Ok(self.commit_stored(
            client,
            (id, name, device),
            (ask.client_id, ask.commit, ask.next_group_info, ask.welcomes),
            0,
        ))
    }

    /// Whether a new conversation or generation may take this place.
    fn judge_place(
        &self,
        id: ConversationId,
        generation: u32,
        pair: Option<&(String, String)>,
        applied: &Applied,
    ) -> Result<(), wire::Error> {
        match self.logs.get(&id) {
            None if generation != 0 => return Err(refuse(ErrorCode::UnknownConversation)),
            None => {
                if let Some((exists, _)) = self
                    .logs
                    .iter()
                    .find(|(_, log)| pair.is_some() && log.pair.as_ref() == pair)
                {
                    let mut error = refuse(ErrorCode::ConversationExists);
                    error.conversation_id = exists.to_vec();
                    return Err(error);
                }
            }
            Some(log) if generation == log.generation + 1 => {
                let identities = self
                    .accounts
                    .iter()
                    .map(|(name, account)| {
                        (
                            sotto_protocol::Username::parse(name).unwrap(),
                            account.identity,
                        )
                    })
                    .collect();
                let old = log.group.as_ref().unwrap().roster();
                authorize_rebuild(old, &applied.after, &applied.committer, &identities)
                    .map_err(|_| refuse(ErrorCode::NotAllowed))?;
            }
            Some(log) => {
                let mut error = refuse(ErrorCode::StaleGeneration);
                error.current_generation = log.generation;
                return Err(error);
            }
        }
        Ok(())
    }

    pub(crate) fn append_commit(&mut self, client: usize, ask: wire::AppendCommit) -> Outcome {
        let (name, device) = self.me(client)?;
        let id = id(&ask.conversation_id);
        if let Some(seq) = self.seq_of(id, device, &ask.client_id) {
            return Ok(self.appended(id, seq));
        }
        let now_ms = self.now_ms;
        let may_send =
            |log: &Log| log.is_in(&device) || log.is_public() || self.is_account_in(log, &name);
        if !self.logs.get(&id).is_some_and(may_send) {
            return Err(refuse(ErrorCode::UnknownConversation));
        }
        let log = self
            .logs
            .get_mut(&id)
            .ok_or_else(|| refuse(ErrorCode::UnknownConversation))?;
        if ask.generation != log.generation {
            return Err(refuse(ErrorCode::StaleGeneration));
        }
        if ask.epoch != log.epoch() {
            let mut error = refuse(ErrorCode::StaleEpoch);
            error.current_epoch = log.epoch();
            return Err(error);
        }
        let client_id = ClientMessageId::from_slice(&ask.client_id).unwrap();
        let group = log.group.as_mut().unwrap();
        let applied = group
            .apply_commit(&ask.commit, &ask.group_info, &client_id, now_ms)
            .map_err(|_| refuse(ErrorCode::CommitInvalid))?;
        // Whoever goes reads up to the commit, and nothing after it.
        let after: Vec<_> = applied
            .after
            .leaves
            .values()
            .map(|leaf| *leaf.device_id())
            .collect();
        let head = log.head() + 1;
        for gone in &applied.removed {
            if !after.contains(gone.device_id()) && log.members.contains_key(gone.device_id()) {
                log.left.insert(*gone.device_id(), head);
            }
        }
        Ok(self.commit_stored(
            client,
            (id, name, device),
            (ask.client_id, ask.commit, ask.group_info, ask.welcomes),
            ask.epoch,
        ))
    }

    fn commit_stored(
        &mut self,
        client: usize,
        (id, name, device): (ConversationId, String, DeviceId),
        (client_id, commit, group_info, welcomes): (Vec<u8>, Vec<u8>, Vec<u8>, Vec<wire::Welcome>),
        epoch: u64,
    ) -> Answer {
        let seq = self.store(id, device, EnvelopeKind::Commit, epoch, client_id, commit);
        let log = self.logs.get_mut(&id).unwrap();
        if !welcomes.is_empty() && !holds_tree(&group_info) {
            let tree = log.group.as_ref().unwrap().export_tree().unwrap();
            log.trees.insert((log.generation, log.epoch()), tree);
        }
        log.group_info = group_info;
        log.group_seq = seq;
        if log.left.remove(&device).is_some() {
            log.members.insert(device, seq);
        }
        log.members.entry(device).or_insert(seq);
        let (generation, epoch) = (log.generation, log.epoch());
        for welcome in welcomes {
            let added = DeviceId::from_slice(&welcome.device_id).unwrap();
            let log = self.logs.get_mut(&id).unwrap();
            log.left.remove(&added);
            log_member(log, added, seq);
            let payload = wire::MailboxWelcome {
                conversation_id: id.to_vec(),
                generation,
                epoch,
                seq,
                inviter: name.clone(),
                welcome: welcome.welcome,
                note: welcome.note,
            }
            .encode_to_vec();
            let mailbox = added.mailbox();
            let client_id = seq.to_be_bytes().repeat(2);
            self.store(
                mailbox,
                device,
                EnvelopeKind::Welcome,
                0,
                client_id,
                payload,
            );
        }
        self.position_own(client, id, seq);
        self.appended(id, seq)
    }

    pub(crate) fn append(&mut self, client: usize, ask: wire::Append) -> Outcome {
        let (_, device) = self.me(client)?;
        let id = id(&ask.conversation_id);
        if let Some(seq) = self.seq_of(id, device, &ask.client_id) {
            return Ok(self.appended(id, seq));
        }
        let log = self
            .logs
            .get(&id)
            .filter(|log| log.is_in(&device))
            .ok_or_else(|| refuse(ErrorCode::UnknownConversation))?;
        if ask.generation != log.generation {
            return Err(refuse(ErrorCode::StaleGeneration));
        }
        if ask.epoch != log.epoch() {
            let mut error = refuse(ErrorCode::StaleEpoch);
            error.current_epoch = log.epoch();
            return Err(error);
        }
        let (epoch, payload) = (ask.epoch, ask.payload.to_vec());
        let seq = self.store(
            id,
            device,
            EnvelopeKind::Application,
            epoch,
            ask.client_id,
            payload,
        );
        self.position_own(client, id, seq);
        Ok(self.appended(id, seq))
    }

    /// The account is out from here on; an admin's commit takes its leaves out.
    pub(crate) fn leave(&mut self, client: usize, ask: wire::Leave) -> Outcome {
        let (name, device) = self.me(client)?;
        let id = id(&ask.conversation_id);
        if let Some(seq) = self.seq_of(id, device, &ask.client_id) {
            return Ok(self.appended(id, seq));
        }
        let log = self.logs.get(&id);
        let log = log
            .filter(|log| log.is_in(&device))
            .ok_or_else(|| refuse(ErrorCode::UnknownConversation))?;
        let roster = log.group.as_ref().unwrap().roster();
        let devices: Vec<_> = roster
            .leaves
            .values()
            .filter(|leaf| leaf.username().as_str() == name)
            .map(|leaf| *leaf.device_id())
            .collect();
        let epoch = log.epoch();
        let kind = EnvelopeKind::Leave;
        let seq = self.store(id, device, kind, epoch, ask.client_id, ask.statement);
        let log = self.logs.get_mut(&id).unwrap();
        log.left
            .extend(devices.into_iter().map(|device| (device, seq)));
        Ok(self.appended(id, seq))
    }
}
