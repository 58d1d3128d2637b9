//! A log server in memory, for faults that a real one would never commit.
//! It orders, stores and forwards as the documents of the wire say and judges
//! commits with `sotto-roster`; the whole-system tests run the real server.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use sotto_protocol::wire::client_frame::Body as Ask;
use sotto_protocol::wire::server_frame::Body as Answer;
use sotto_protocol::wire::{self, EnvelopeKind};
use sotto_protocol::{ConversationId, DeploymentId, DeviceId, ErrorCode};
use sotto_roster::{DeviceCertificate, PublicConversation};

use crate::relay_rooms::Links;

pub(crate) const DEPLOYMENT: DeploymentId = DeploymentId::from_bytes([0xd5; 16]);

#[derive(Clone)]
pub(crate) struct Account {
    authentication_key: String,
    pub(crate) identity: [u8; 32],
    pub(crate) certificates: BTreeMap<DeviceId, Vec<u8>>,
}

#[derive(Clone, Default)]
pub(crate) struct Packages {
    one_time: VecDeque<(u16, Vec<u8>)>,
    /// By suite.
    last_resort: BTreeMap<u16, Vec<u8>>,
}

/// As it stands in the encoding, behind the heads of message and key package.
fn suite_of(package: &[u8]) -> u16 {
    u16::from_be_bytes([package[6], package[7]])
}

#[derive(Clone)]
pub(crate) struct Stored {
    pub(crate) envelope: wire::Envelope,
    pub(crate) sender: DeviceId,
}

#[derive(Default)]
pub(crate) struct Log {
    pub(crate) group: Option<PublicConversation>,
    pub(crate) group_info: Vec<u8>,
    pub(crate) group_seq: u64,
    pub(crate) generation: u32,
    pub(crate) entries: Vec<Stored>,
    /// Numbers that were given before and are not given again.
    pub(crate) leapt: u64,
    pub(crate) members: BTreeMap<DeviceId, u64>,
    /// Devices that are out, and the last entry that they read.
    pub(crate) left: BTreeMap<DeviceId, u64>,
    pub(crate) pair: Option<(String, String)>,
    pub(crate) links: Links,
    pub(crate) trees: BTreeMap<(u32, u64), Vec<u8>>,
}

impl Log {
    pub(crate) fn epoch(&self) -> u64 {
        self.group.as_ref().map_or(0, PublicConversation::epoch)
    }
    pub(crate) fn has_account(&self, name: &str) -> bool {
        let roster = self.group.as_ref().map(PublicConversation::roster);
        roster.is_some_and(|roster| roster.accounts().iter().any(|own| own.as_str() == name))
    }
    pub(crate) fn is_in(&self, device: &DeviceId) -> bool {
        self.members.contains_key(device) && !self.left.contains_key(device)
    }
    pub(crate) fn head(&self) -> u64 {
        self.leapt + self.entries.len() as u64
    }
}

#[derive(Default)]
struct Session {
    device: Option<(String, DeviceId)>,
    positions: Option<BTreeMap<ConversationId, u64>>,
    /// Logs that are not delivered now.
    held: BTreeSet<ConversationId>,
    out: VecDeque<wire::ServerFrame>,
}

#[derive(Default)]
pub(crate) struct Relay {
    pub(crate) accounts: BTreeMap<String, Account>,
    pub(crate) packages: BTreeMap<DeviceId, Packages>,
    pub(crate) logs: BTreeMap<ConversationId, Log>,
    sessions: BTreeMap<usize, Session>,
    pub(crate) now_ms: u64,
    /// Links under way and backups.
    pub(crate) shelf: crate::relay_devices::Shelf,
    /// Requests by kind, for tests that count what leaves a client.
    pub(crate) asked: BTreeMap<usize, Vec<&'static str>>,
}

pub(crate) type Outcome = Result<Answer, wire::Error>;

pub(crate) fn refuse(code: ErrorCode) -> wire::Error {
    wire::Error {
        code: code as u32,
        message: code.name().to_owned(),
        ..wire::Error::default()
    }
}

impl Relay {
    pub(crate) fn connect(&mut self, client: usize) {
        self.sessions.insert(client, Session::default());
    }

    pub(crate) fn disconnect(&mut self, client: usize) {
        self.sessions.remove(&client);
    }

    pub(crate) fn take(&mut self, client: usize) -> Option<wire::ServerFrame> {
        self.sessions.get_mut(&client)?.out.pop_front()
    }

    pub(crate) fn log_of_pair(&self) -> (&ConversationId, &Log) {
        self.logs
            .iter()
            .find(|(_, log)| log.pair.is_some())
            .unwrap()
    }

    /// Another relay with the same accounts and nothing that was said.
    pub(crate) fn fork(&self) -> Self {
        let mailboxes = self.logs.iter().filter(|(_, log)| log.group.is_none());
        let logs = mailboxes.map(|(id, log)| {
            let members = log.members.clone();
            (
                *id,
                Log {
                    members,
                    ..Log::default()
                },
            )
        });
        Self {
            accounts: self.accounts.clone(),
            packages: self.packages.clone(),
            logs: logs.collect(),
            ..Self::default()
        }
    }

    pub(crate) fn handle(&mut self, client: usize, frame: wire::ClientFrame) {
        let Some(body) = frame.body else { return };
        let session = self.sessions.get(&client);
        let own = session.and_then(|session| session.device.as_ref());
        let kind = kind_of(&body, own.map(|(name, _)| name.as_str()));
        self.asked.entry(client).or_default().push(kind);
        if let Ask::Acknowledge(acknowledge) = body {
            self.acknowledge(client, &acknowledge);
            return;
        }
        let resumed = matches!(body, Ask::Resume(_));
        let answer = self.answer(client, body).unwrap_or_else(Answer::Error);
        self.push(client, frame.request_id, answer);
        self.pump();
        if resumed {
            self.push(client, 0, Answer::CaughtUp(wire::CaughtUp {}));
        }
    }

    fn push(&mut self, client: usize, request_id: u64, body: Answer) {
        if let Some(session) = self.sessions.get_mut(&client) {
            session.out.push_back(wire::ServerFrame {
                request_id,
                body: Some(body),
            });
        }
    }

    pub(crate) fn me(&self, client: usize) -> Result<(String, DeviceId), wire::Error> {
        let session = self.sessions.get(&client);
        session
            .and_then(|session| session.device.clone())
            .ok_or_else(|| refuse(ErrorCode::NotLoggedIn))
    }

    fn answer(&mut self, client: usize, body: Ask) -> Outcome {
        match body {
            Ask::Register(ask) => self.register(client, ask),
            Ask::PasswordLogin(ask) => self.password_login(client, ask),
            Ask::DeviceLogin(ask) => self.device_login(client, ask),
            Ask::ChangePassword(ask) => {
                let (name, _) = self.me(client)?;
                let account = self.accounts.get_mut(&name).unwrap();
                if account.authentication_key != ask.current_authentication_key {
                    return Err(refuse(ErrorCode::WrongCredentials));
                }
                account.authentication_key = ask.new_authentication_key;
                Ok(Answer::Done(wire::Done {}))
            }
            Ask::Logout(_) => {
                let (name, device) = self.me(client)?;
                self.remove_device(&name, device);
                Ok(Answer::Done(wire::Done {}))
            }
            Ask::ListUsers(ask) => Ok(Answer::Users(wire::Users {
                users: self
                    .accounts
                    .keys()
                    .filter(|name| name.starts_with(&ask.prefix))
                    .map(|name| wire::User {
                        username: name.clone(),
                        online: true,
                        ..wire::User::default()
                    })
                    .collect(),
                more: false,
            })),
            Ask::ClaimKeyPackages(ask) => self.claim(&ask.username, ask.ciphersuite),
            Ask::Leave(ask) => self.leave(client, ask),
            Ask::CreateConversation(ask) => self.create(client, ask),
            Ask::Append(ask) => self.append(client, ask),
            Ask::AppendCommit(ask) => self.append_commit(client, ask),
            Ask::GetSync(_) => self.sync(client),
            Ask::Resume(ask) => self.resume(client, ask),
            Ask::AddDevice(_)
            | Ask::RevokeDevice(_)
            | Ask::PutLinkOffer(_)
            | Ask::GetLinkOffer(_)
            | Ask::PutLinkAnswer(_)
            | Ask::GetLinkAnswer(_)
            | Ask::PutBackup(_) => self.answer_about_devices(client, body),
            other => self.answer_question(client, other),
        }
    }

    /// What changes nothing.
    fn answer_question(&mut self, client: usize, body: Ask) -> Outcome {
        match body {
            Ask::GetAccount(ask) => {
                let account = self
                    .accounts
                    .get(&ask.username)
                    .ok_or_else(|| refuse(ErrorCode::UnknownUser))?;
                Ok(Answer::Account(wire::Account {
                    username: ask.username.clone(),
                    identity_key: account.identity.to_vec(),
                    certificates: account.certificates.values().cloned().collect(),
                    online: true,
                    ..wire::Account::default()
                }))
            }
            Ask::PublishKeyPackages(ask) => {
                let (_, device) = self.me(client)?;
                let packages = self.packages.entry(device).or_default();
                let with_suite = |package: Vec<u8>| (suite_of(&package), package);
                let one_time = ask.one_time.into_iter().map(with_suite);
                packages.one_time.extend(one_time);
                if !ask.last_resort.is_empty() {
                    let (suite, package) = with_suite(ask.last_resort);
                    packages.last_resort.insert(suite, package);
                }
                let one_time_left = u32::try_from(packages.one_time.len()).unwrap();
                Ok(Answer::KeyPackagesStored(wire::KeyPackagesStored {
                    one_time_left,
                }))
            }
            Ask::GetGroupInfo(ask) => {
                let (name, _) = self.me(client)?;
                let log = self
                    .logs
                    .get(&id(&ask.conversation_id))
                    .filter(|log| self.is_account_in(log, &name) || log.is_public())
                    .ok_or_else(|| refuse(ErrorCode::UnknownConversation))?;
                Ok(Answer::GroupInfo(wire::GroupInfo {
                    generation: log.generation,
                    epoch: log.epoch(),
                    group_info: log.group_info.clone(),
                    seq: log.group_seq,
                    ratchet_tree: log.tree_apart(),
                }))
            }
            Ask::FindPair(ask) => {
                let (name, _) = self.me(client)?;
                let pair = sorted(name, ask.username);
                let found = self
                    .logs
                    .iter()
                    .find(|(_, log)| log.pair.as_ref() == Some(&pair));
                Ok(Answer::PairFound(wire::PairFound {
                    conversation_id: found.map(|(id, _)| id.to_vec()).unwrap_or_default(),
                }))
            }
            other => self.answer_about_rooms(client, other),
        }
    }

    fn register(&mut self, client: usize, ask: wire::Register) -> Outcome {
        if self.accounts.contains_key(&ask.username) {
            return Err(refuse(ErrorCode::NameTaken));
        }
        let certificate = DeviceCertificate::verify(&ask.certificate, &DEPLOYMENT)
            .map_err(|_| refuse(ErrorCode::CertificateInvalid))?;
        self.accounts.insert(
            ask.username.clone(),
            Account {
                authentication_key: ask.authentication_key,
                identity: *certificate.identity_key(),
                certificates: BTreeMap::new(),
            },
        );
        Ok(self.enter(client, &ask.username, &certificate))
    }

    fn password_login(&mut self, client: usize, ask: wire::PasswordLogin) -> Outcome {
        let certificate = DeviceCertificate::verify(&ask.certificate, &DEPLOYMENT)
            .map_err(|_| refuse(ErrorCode::CertificateInvalid))?;
        let account = self
            .accounts
            .get_mut(&ask.username)
            .filter(|account| account.authentication_key == ask.authentication_key)
            .ok_or_else(|| refuse(ErrorCode::WrongCredentials))?;
        if account.identity != *certificate.identity_key() {
            if ask.identity_change != i32::from(wire::IdentityChange::Replace) {
                return Err(refuse(ErrorCode::IdentityMismatch));
            }
            self.replace_identity(&ask.username, *certificate.identity_key());
        }
        Ok(self.enter(client, &ask.username, &certificate))
    }

    fn enter(&mut self, client: usize, name: &str, certificate: &DeviceCertificate) -> Answer {
        let device = *certificate.device_id();
        let account = self.accounts.get_mut(name).unwrap();
        account
            .certificates
            .insert(device, certificate.as_bytes().to_vec());
        let mailbox = self.logs.entry(device.mailbox()).or_default();
        mailbox.members.entry(device).or_insert(0);
        let packages = self.packages.entry(device).or_default();
        let answer = wire::LoggedIn {
            certificate: certificate.as_bytes().to_vec(),
            key_packages_left: u32::try_from(packages.one_time.len()).unwrap(),
            last_resort_present: !packages.last_resort.is_empty(),
        };
        let session = self.sessions.entry(client).or_default();
        session.device = Some((name.to_owned(), device));
        Answer::LoggedIn(answer)
    }

    fn device_login(&mut self, client: usize, ask: wire::DeviceLogin) -> Outcome {
        let device = DeviceId::from_slice(&ask.device_id).unwrap();
        let certificate = self
            .accounts
            .get(&ask.username)
            .and_then(|account| account.certificates.get(&device))
            .and_then(|bytes| DeviceCertificate::verify(bytes, &DEPLOYMENT).ok())
            .ok_or_else(|| refuse(ErrorCode::WrongCredentials))?;
        Ok(self.enter(client, &ask.username, &certificate))
    }

    pub(crate) fn claim(&mut self, name: &str, suite: u32) -> Outcome {
        let account = self
            .accounts
            .get(name)
            .ok_or_else(|| refuse(ErrorCode::UnknownUser))?;
        let mut claimed = Vec::new();
        for device in account.certificates.keys() {
            let packages = self.packages.entry(*device).or_default();
            let fits = |number: &u16| u32::from(*number) == suite;
            let first = packages
                .one_time
                .iter()
                .position(|(number, _)| fits(number));
            let one_time = first.and_then(|place| packages.one_time.remove(place));
            let last_resort = packages.last_resort.iter().find(|(number, _)| fits(number));
            let package = one_time
                .map(|(_, package)| package)
                .or(last_resort.map(|(_, package)| package.clone()));
            if let Some(key_package) = package {
                claimed.push(wire::ClaimedKeyPackage {
                    device_id: device.to_vec(),
                    key_package,
                });
            }
        }
        if claimed.is_empty() {
            return Err(refuse(ErrorCode::NoKeyPackage));
        }
        Ok(Answer::ClaimedKeyPackages(wire::ClaimedKeyPackages {
            identity_key: account.identity.to_vec(),
            packages: claimed,
        }))
    }

    pub(crate) fn store(
        &mut self,
        id: ConversationId,
        sender: DeviceId,
        kind: EnvelopeKind,
        epoch: u64,
        client_id: Vec<u8>,
        payload: Vec<u8>,
    ) -> u64 {
        let stored_at_ms = self.now_ms;
        let log = self.logs.entry(id).or_default();
        let seq = log.head() + 1;
        log.entries.push(Stored {
            envelope: wire::Envelope {
                conversation_id: id.to_vec(),
                generation: log.generation,
                seq,
                epoch,
                kind: kind.into(),
                sender_device_id: sender.to_vec(),
                client_id,
                payload: payload.into(),
                stored_at_ms,
            },
            sender,
        });
        seq
    }

    /// An entry of a session's own at the next place needs no delivery to it.
    pub(crate) fn position_own(&mut self, client: usize, id: ConversationId, seq: u64) {
        let session = self.sessions.get_mut(&client);
        if let Some(positions) = session.and_then(|session| session.positions.as_mut()) {
            let position = positions.entry(id).or_insert(seq);
            if *position + 1 == seq {
                *position = seq;
            }
        }
    }

    pub(crate) fn seq_of(
        &self,
        id: ConversationId,
        device: DeviceId,
        client_id: &[u8],
    ) -> Option<u64> {
        let log = self.logs.get(&id)?;
        let found = log
            .entries
            .iter()
            .find(|stored| stored.sender == device && stored.envelope.client_id == client_id);
        found.map(|stored| stored.envelope.seq)
    }

    pub(crate) fn appended(&self, id: ConversationId, seq: u64) -> Answer {
        Answer::Appended(wire::Appended {
            seq,
            epoch: self.logs[&id].epoch(),
            stored_at_ms: self.now_ms,
        })
    }

    fn sync(&mut self, client: usize) -> Outcome {
        let (_, device) = self.me(client)?;
        let conversations = self
            .logs
            .iter()
            .filter_map(|(id, log)| {
                let cursor = *log.members.get(&device)?;
                let left = log.left.get(&device).copied();
                left.is_none_or(|left| cursor < left)
                    .then(|| wire::ConversationState {
                        conversation_id: id.to_vec(),
                        generation: log.generation,
                        epoch: log.epoch(),
                        cursor,
                        head: left.map_or(log.head(), |left| left.min(log.head())),
                    })
            })
            .collect();
        Ok(Answer::Sync(wire::Sync {
            conversations,
            more: false,
        }))
    }

    fn resume(&mut self, client: usize, ask: wire::Resume) -> Outcome {
        let (_, device) = self.me(client)?;
        let own: BTreeMap<_, _> = ask
            .cursors
            .iter()
            .map(|cursor| (id(&cursor.conversation_id), cursor.seq))
            .collect();
        let session = self.sessions.get_mut(&client).unwrap();
        session.held.extend(ask.held.iter().map(|bytes| id(bytes)));
        session.held.retain(|id| !own.contains_key(id));
        let mut positions = session.positions.take().unwrap_or_default();
        for (id, log) in &self.logs {
            if let Some(cursor) = log.members.get(&device) {
                let present = positions.get(id).copied().unwrap_or(*cursor);
                let position = own.get(id).map_or(present, |own| present.min(*own));
                positions.insert(*id, position);
            }
        }
        session.positions = Some(positions);
        Ok(Answer::Done(wire::Done {}))
    }

    fn acknowledge(&mut self, client: usize, ask: &wire::Acknowledge) {
        let Ok((_, device)) = self.me(client) else {
            return;
        };
        for cursor in &ask.cursors {
            let log = self.logs.get_mut(&id(&cursor.conversation_id));
            if let Some(present) = log.and_then(|log| log.members.get_mut(&device)) {
                *present = (*present).max(cursor.seq);
            }
        }
    }

    /// Delivers what is new to everybody, mailboxes first.
    fn pump(&mut self) {
        for session in self.sessions.values_mut() {
            let (Some((_, device)), Some(positions)) =
                (session.device.clone(), session.positions.as_mut())
            else {
                continue;
            };
            let mailbox = device.mailbox();
            let others = self.logs.iter().filter(|(id, _)| **id != mailbox);
            for (id, log) in self.logs.get_key_value(&mailbox).into_iter().chain(others) {
                if session.held.contains(id) {
                    continue;
                }
                let Some(cursor) = log.members.get(&device) else {
                    continue;
                };
                let position = positions.entry(*id).or_insert(*cursor);
                let new: Vec<_> = log
                    .entries
                    .iter()
                    .filter(|stored| stored.envelope.seq > *position)
                    .filter(|stored| {
                        let last = log.left.get(&device);
                        last.is_none_or(|last| stored.envelope.seq <= *last)
                    })
                    .map(|stored| for_device(stored, &device))
                    .collect();
                *position = log.head().max(*position);
                if !new.is_empty() {
                    session.out.push_back(wire::ServerFrame {
                        request_id: 0,
                        body: Some(Answer::Deliver(wire::Deliver { envelopes: new })),
                    });
                }
            }
        }
    }
}

pub(crate) fn log_member(log: &mut Log, device: DeviceId, seq: u64) {
    log.members.insert(device, seq);
}

fn for_device(stored: &Stored, device: &DeviceId) -> wire::Envelope {
    let mut envelope = stored.envelope.clone();
    let welcome = envelope.kind == i32::from(EnvelopeKind::Welcome);
    if stored.sender == *device && !welcome {
        envelope.payload.clear();
    }
    envelope
}

pub(crate) fn id(bytes: &[u8]) -> ConversationId {
    ConversationId::from_slice(bytes).unwrap()
}

pub(crate) fn sorted(one: String, other: String) -> (String, String) {
    if one < other {
        (one, other)
    } else {
        (other, one)
    }
}

/// What a request of the account `own` is counted as.
fn kind_of(body: &Ask, own: Option<&str>) -> &'static str {
    match body {
        Ask::GetAccount(asked) if own == Some(&asked.username) => "get_own_account",
        Ask::Acknowledge(_) => "acknowledge",
        Ask::Append(_) => "append",
        Ask::AppendCommit(_) => "append_commit",
        Ask::CreateConversation(_) => "create",
        Ask::GetGroupInfo(_) => "get_group_info",
        Ask::GetAccount(_) => "get_account",
        Ask::ClaimKeyPackages(_) => "claim",
        Ask::PublishKeyPackages(_) => "publish",
        Ask::Resume(_) => "resume",
        Ask::AddDevice(_) => "add_device",
        Ask::RevokeDevice(_) => "revoke_device",
        Ask::PutLinkAnswer(_) => "put_link_answer",
        Ask::PutBackup(_) => "put_backup",
        _ => "other",
    }
}
