//! From a name to a conversation: which one exists, whose devices go into a
//! new one, and making it.

use prost::Message as _;
use rand::RngExt as _;
use sotto_crypto::{Address, Group, PendingCommit, Suite};
use sotto_protocol::wire::client_frame::Body as Ask;
use sotto_protocol::wire::server_frame::Body as Answer;
use sotto_protocol::{ClientMessageId, ConversationId, ErrorCode, Username, limits, wire};
use sotto_roster::{Policy, inspect_key_package};

use super::api::{Failure, Keep, SecurityKind};
use super::error::group_failure;
use super::flight::Purpose;
use super::people::Trust;
use super::session::failure;
use super::work::{Asked, Step, people_changed};
use super::{Engine, EngineError};
use crate::history::{
    Baseline, ConversationRow, ConversationState, PeerRow, PendingCommitRow, PendingKind,
};
use crate::talk::Talk;

/// How long the welcome to a conversation that exists may take, in milliseconds.
const WELCOME_MS: u64 = 3_000;

impl Engine {
    pub(super) fn random_id(&mut self) -> [u8; 16] {
        self.rng.random()
    }

    /// There is no conversation here: is there one at the server?
    pub(super) fn ask_pair(&mut self, peer: &Username) -> Result<(), EngineError> {
        if let Some(request) = self.store().request(peer)? {
            return self.enter_request(request, Keep::Saved);
        }
        self.set_step(&peer.into(), Step::Busy);
        let username = peer.as_str().to_owned();
        self.request(
            Purpose::Pair(peer.clone()),
            Ask::FindPair(wire::FindPair { username }),
        );
        Ok(())
    }

    pub(super) fn pair_answered(
        &mut self,
        peer: &Username,
        answer: Answer,
    ) -> Result<(), EngineError> {
        match answer {
            Answer::PairFound(found) if found.conversation_id.is_empty() => {
                self.claim(peer, 0);
                Ok(())
            }
            Answer::PairFound(found) => match ConversationId::from_slice(&found.conversation_id) {
                Ok(id) => self.conversation_elsewhere(peer, id),
                Err(_) => {
                    self.rest(&peer.into(), 0);
                    Ok(())
                }
            },
            Answer::Error(error) => {
                self.server_refused(&peer.into(), &error);
                Ok(())
            }
            _ => {
                self.rest(&peer.into(), 0);
                Ok(())
            }
        }
    }

    /// The two people have a conversation that this device does not know: its
    /// welcome may be on the way; if not, this device puts itself in.
    pub(super) fn conversation_elsewhere(
        &mut self,
        peer: &Username,
        id: ConversationId,
    ) -> Result<(), EngineError> {
        if self.store().conversation_with(&peer.into())?.is_some() {
            self.set_step(&peer.into(), Step::Idle);
            return Ok(());
        }
        if let Some(request) = self
            .store()
            .request(peer)?
            .filter(|row| row.conversation == id)
        {
            return self.enter_request(request, Keep::Saved);
        }
        let until = self.now.monotonic_ms + WELCOME_MS;
        let work = self.work_of(&peer.into());
        if work.welcome_awaited == Asked::No {
            work.welcome_awaited = Asked::Yes;
            work.step = Step::Until(until);
            return Ok(());
        }
        let row = self.new_row(id, &peer.into(), 0, ConversationState::Broken);
        self.store().put_conversation(&row)?;
        self.set_step(&peer.into(), Step::Idle);
        Ok(())
    }

    pub(super) fn new_row(
        &self,
        id: ConversationId,
        talk: &Talk,
        generation: u32,
        state: ConversationState,
    ) -> ConversationRow {
        ConversationRow {
            id,
            talk: talk.clone(),
            title: None,
            generation,
            state,
            keep: Keep::Saved,
            baseline: Baseline::FirstSeen,
            cursor: 0,
            last_commit: Vec::new(),
            own_counter: 0,
            own_since_update: 0,
            update_due_ms: u64::MAX >> 1,
            updated_at_ms: self.now.unix_ms,
        }
    }

    /// Asks for a key package of each of a person's devices, to make the
    /// conversation's MLS group of this generation.
    pub(super) fn claim(&mut self, peer: &Username, generation: u32) {
        self.set_step(&peer.into(), Step::Busy);
        let body = Ask::ClaimKeyPackages(wire::ClaimKeyPackages {
            username: peer.as_str().to_owned(),
            ciphersuite: u32::from(Suite::Hybrid.number()),
        });
        let peer = peer.clone();
        self.request(Purpose::Claim { peer, generation }, body);
    }

    pub(super) fn claim_answered(
        &mut self,
        peer: &Username,
        generation: u32,
        answer: Answer,
    ) -> Result<(), EngineError> {
        match answer {
            Answer::ClaimedKeyPackages(claimed) => self.claimed(peer, generation, &claimed),
            Answer::Error(error) => {
                match ErrorCode::from_number(error.code) {
                    ErrorCode::UnknownUser => {
                        self.turn_back_queue(&peer.into(), &failure(&error))?;
                        self.set_step(&peer.into(), Step::Resting);
                    }
                    ErrorCode::NoKeyPackage => self.no_key_package(peer, &error)?,
                    _ => self.server_refused(&peer.into(), &error),
                }
                Ok(())
            }
            _ => {
                self.rest(&peer.into(), 0);
                Ok(())
            }
        }
    }

    fn no_key_package(&mut self, peer: &Username, error: &wire::Error) -> Result<(), EngineError> {
        self.refuse_queue(
            &peer.into(),
            &Failure {
                code: ErrorCode::NoKeyPackage.name(),
                message: format!(
                    "{peer} cannot be reached now: no device of theirs has a key package; the message is queued"
                ),
                retry_after_ms: (error.retry_after_ms > 0).then_some(error.retry_after_ms),
            },
        )?;
        self.rest(&peer.into(), error.retry_after_ms.max(10_000));
        Ok(())
    }

    fn claimed(
        &mut self,
        peer: &Username,
        generation: u32,
        claimed: &wire::ClaimedKeyPackages,
    ) -> Result<(), EngineError> {
        if !self.is_still_to_make(peer, generation)? {
            self.set_step(&peer.into(), Step::Idle);
            return Ok(());
        }
        let Ok(identity) = <[u8; 32]>::try_from(claimed.identity_key.as_slice()) else {
            self.rest(&peer.into(), 0);
            return Ok(());
        };
        if self.identity_shown(peer, &identity)? == Trust::Changed {
            self.refuse_queue(&peer.into(), &people_changed(peer))?;
            self.set_step(&peer.into(), Step::Resting);
            return Ok(());
        }
        let (packages, refused) = self.sound_packages(peer, &identity, claimed);
        if refused > 0 {
            self.security(
                SecurityKind::PolicyRejected,
                None,
                Some(peer),
                "the server offered a key package that is not this person's, or not sound; it was not used",
            );
        }
        if packages.is_empty() {
            self.rest(&peer.into(), 0);
            return Ok(());
        }
        let person = self.person(peer)?;
        self.create(&person, generation, &packages)
    }

    /// Whether nobody else made the conversation, or this generation of it, while key packages were
    /// asked for: a group in use is never replaced by one that the server will refuse.
    fn is_still_to_make(&self, peer: &Username, generation: u32) -> Result<bool, EngineError> {
        let row = self.store().conversation_with(&peer.into())?;
        Ok(match row.map(|row| (row.state, row.generation)) {
            None => generation == 0,
            Some((ConversationState::Broken, _)) => generation > 0,
            Some((ConversationState::Active, present)) => generation > present,
            Some(_) => false,
        })
    }

    /// The key packages that verify, are of that person and that identity, one
    /// a device; and how many were not.
    pub(super) fn sound_packages(
        &self,
        peer: &Username,
        identity: &[u8; 32],
        claimed: &wire::ClaimedKeyPackages,
    ) -> (Vec<Vec<u8>>, usize) {
        let mut devices = std::collections::BTreeSet::new();
        let mut sound = Vec::new();
        for package in claimed
            .packages
            .iter()
            .take(limits::DEVICES_PER_ACCOUNT_MAX)
        {
            let info = inspect_key_package(
                &package.key_package,
                self.profile.deployment(),
                self.now.unix_ms,
            );
            let fits = info.is_ok_and(|info| {
                info.certificate.username() == peer
                    && info.certificate.identity_key() == identity
                    && devices.insert(*info.certificate.device_id())
            });
            if fits {
                sound.push(package.key_package.clone());
            }
        }
        let refused = claimed.packages.len() - sound.len();
        (sound, refused)
    }

    /// Makes the group and stages the commit that brings the person in.
    fn create(
        &mut self,
        person: &PeerRow,
        generation: u32,
        packages: &[Vec<u8>],
    ) -> Result<(), EngineError> {
        let known = self.store().conversation_with(&Talk::from(&person.name))?;
        let mut row = match known {
            Some(row) => row,
            None => {
                let id = ConversationId::from_bytes(self.random_id());
                let mut row = self.new_row(
                    id,
                    &Talk::from(&person.name),
                    generation,
                    ConversationState::Creating,
                );
                row.baseline = Baseline::FromStart;
                row
            }
        };
        let client_id = ClientMessageId::from_bytes(self.random_id());
        self.make_room(&row, generation)?;
        let address = Address {
            conversation: row.id,
            generation,
        };
        let made = match self.make_group(person, address, &client_id, packages) {
            Ok(made) => made,
            Err(error) => {
                group_failure(error)?;
                self.rest(&Talk::from(&person.name), 0);
                return Ok(());
            }
        };
        row.generation = generation;
        row.state = ConversationState::Creating;
        self.store().put_conversation(&row)?;
        let request = create_request(&row, &client_id, &made);
        self.store().put_pending(&PendingCommitRow {
            conversation: row.id,
            client_id,
            kind: PendingKind::Create,
            generation,
            epoch: 0,
            commit_hash: sotto_crypto::commit_hash(&made.staged.commit),
            request: request.encode_to_vec(),
        })?;
        self.send_pending(&row)
    }

    fn make_group(
        &mut self,
        person: &PeerRow,
        address: Address,
        client_id: &ClientMessageId,
        packages: &[Vec<u8>],
    ) -> Result<Made, sotto_crypto::GroupError> {
        let policy = Policy::pair(self.my_name().clone(), person.name.clone())
            .map_err(|_| sotto_crypto::GroupError::Invalid)?;
        let now_ms = self.now.unix_ms;
        let me = self.profile.device();
        let store = self.key_store();
        if let Some(left) = Group::load(&store, me, address)? {
            left.delete(&store)?;
        }
        let mut group = Group::create(&store, me, address, &policy, Suite::Hybrid, now_ms)?;
        let group_info = group.group_info(&store, me)?;
        match group.stage_add(&store, me, client_id, packages, None, now_ms) {
            Ok(staged) => {
                self.keep_group(group);
                Ok(Made { group_info, staged })
            }
            Err(error) => {
                group.delete(&store)?;
                Err(error)
            }
        }
    }
}

/// A new group with its first commit.
struct Made {
    group_info: Vec<u8>,
    staged: PendingCommit,
}

fn create_request(
    row: &ConversationRow,
    client_id: &ClientMessageId,
    made: &Made,
) -> wire::ClientFrame {
    let welcome = made.staged.welcome.clone().unwrap_or_default();
    let welcomes = made
        .staged
        .added
        .iter()
        .map(|certificate| wire::Welcome {
            device_id: certificate.device_id().to_vec(),
            welcome: welcome.clone(),
            note: Vec::new(),
        })
        .collect();
    wire::ClientFrame {
        request_id: 0,
        body: Some(Ask::CreateConversation(wire::CreateConversation {
            conversation_id: row.id.to_vec(),
            generation: row.generation,
            group_info: made.group_info.clone(),
            commit: made.staged.commit.clone(),
            next_group_info: made.staged.group_info.clone(),
            welcomes,
            client_id: client_id.to_vec(),
        })),
    }
}
