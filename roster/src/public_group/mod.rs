//! The public side of a conversation's MLS group, as a server keeps it.
//!
//! [`PublicConversation`] follows a group by its public commits: it verifies
//! each, asks [`mod@crate::authorize`], and only then moves on. It has no secrets,
//! so it cannot tell whether members can decrypt what a commit holds. This
//! directory is the only place in the crate that names the MLS library; the
//! modules marked so are shared with the sealed side.

mod key_package;
mod low_order;
pub mod profile;
pub mod reading;
mod snapshot;

use openmls::prelude::{
    ExtensionType, LeafNodeIndex, MlsMessageBodyIn, MlsMessageIn, ProcessedMessageContent,
    ProposalStore, ProtocolMessage, PublicGroup, Sender, StagedCommit, Verifiable as _,
    group_info::VerifiableGroupInfo,
    tls_codec::{Deserialize as _, Serialize as _},
};
use openmls_rust_crypto::RustCrypto;
use prost::Message as _;
use sotto_protocol::limits::HANDSHAKE_BYTES_MAX;
use sotto_protocol::{ClientMessageId, ConversationId, DeploymentId, wire};

pub use key_package::{KeyPackageError, KeyPackageInfo, inspect_key_package, read_key_package};
pub use reading::ReadError;

use crate::authorize::{Authorized, Committer, Denied, Freshness, authorize, authorize_new};
use crate::certificate::DeviceCertificate;
use crate::roles::Policy;
use crate::state::{LeafIndex, Roster};
use snapshot::Snapshot;

/// Up to so many leaves a group info holds the ratchet tree; in larger groups the tree may travel
/// apart, as it would be most of every commit and welcome.
pub const TREE_INSIDE_LEAVES_MAX: usize = 32;

/// A commit, group info or stored state that was not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CommitError {
    /// More than 512 KiB.
    #[error("message is too large")]
    TooLarge,
    /// Not the MLS message that belongs here.
    #[error("message is malformed")]
    Malformed,
    /// For another conversation, generation or envelope.
    #[error("message belongs elsewhere")]
    Misplaced,
    /// Made in another epoch than the conversation's.
    #[error("commit is for another epoch")]
    WrongEpoch,
    /// A signature, hash or rule of MLS does not hold.
    #[error("commit does not verify")]
    Invalid,
    /// The group info does not describe the state after the commit, or its signature does not verify.
    #[error("group info does not match the commit")]
    GroupInfoMismatch,
    /// A leaf is not sound.
    #[error(transparent)]
    Leaf(#[from] ReadError),
    /// The rules of the conversation do not allow it.
    #[error(transparent)]
    Denied(#[from] Denied),
}

/// What an accepted commit did.
#[derive(Debug, Clone)]
pub struct Applied {
    /// The device that made the commit.
    pub committer: DeviceCertificate,
    /// Membership before.
    pub before: Roster,
    /// Membership after; its epoch is the conversation's new one.
    pub after: Roster,
    /// Devices in `after` that were not in `before`, whoever put them in.
    pub added: Vec<DeviceCertificate>,
    /// Devices in `before` that are not in `after`.
    pub removed: Vec<DeviceCertificate>,
    /// Whether the committer put itself in, without a welcome.
    pub external: bool,
}

/// The public state of one conversation's current MLS group.
#[derive(Debug)]
pub struct PublicConversation {
    deployment: DeploymentId,
    group: PublicGroup,
    roster: Roster,
    snapshot: Snapshot,
}

impl PublicConversation {
    /// Reads and judges the first state of a group: epoch 0, the creator
    /// alone, with the ratchet tree inside the group info.
    ///
    /// # Errors
    /// See [`CommitError`].
    pub fn create(
        group_info: &[u8],
        deployment: &DeploymentId,
        conversation: &ConversationId,
        generation: u32,
    ) -> Result<Self, CommitError> {
        let info = parse_group_info(group_info)?;
        if *info.group_id() != profile::group_id(conversation, generation) {
            return Err(CommitError::Misplaced);
        }
        let tree = info
            .extensions()
            .ratchet_tree()
            .ok_or(CommitError::Malformed)?;
        let tree = tree.ratchet_tree().clone();
        let snapshot = Snapshot::default();
        let (group, _) = PublicGroup::from_external(
            &RustCrypto::default(),
            &snapshot,
            tree,
            info,
            ProposalStore::new(),
        )
        .map_err(|_| CommitError::Invalid)?;
        let roster = reading::roster_of(&group, deployment)?;
        authorize_new(&roster)?;
        Ok(Self {
            deployment: *deployment,
            group,
            roster,
            snapshot,
        })
    }

    /// Reads state that [`Self::to_bytes`] wrote.
    ///
    /// # Errors
    /// [`CommitError::Malformed`] when the bytes are of another version or damaged.
    pub fn from_bytes(
        bytes: &[u8],
        deployment: &DeploymentId,
        conversation: &ConversationId,
        generation: u32,
    ) -> Result<Self, CommitError> {
        let snapshot = Snapshot::from_bytes(bytes).map_err(|_| CommitError::Malformed)?;
        let id = profile::group_id(conversation, generation);
        let group = PublicGroup::load(&snapshot, &id)
            .map_err(|_| CommitError::Malformed)?
            .ok_or(CommitError::Malformed)?;
        if *group.group_id() != id {
            return Err(CommitError::Misplaced);
        }
        let roster = reading::roster_of_own_store(&group)?;
        Ok(Self {
            deployment: *deployment,
            group,
            roster,
            snapshot,
        })
    }

    /// The state as opaque bytes; the first is the format's version.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        self.snapshot.to_bytes()
    }

    /// Who is in, at the present epoch.
    #[must_use]
    pub fn roster(&self) -> &Roster {
        &self.roster
    }

    /// The present epoch.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.roster.epoch
    }

    /// The MLS ciphersuite (RFC 9420 17.1).
    #[must_use]
    pub fn suite(&self) -> u16 {
        u16::from(self.group.ciphersuite())
    }

    /// The encoded public ratchet tree.
    ///
    /// # Errors
    /// [`CommitError::Malformed`] when it is too large to encode.
    pub fn export_tree(&self) -> Result<Vec<u8>, CommitError> {
        self.group
            .export_ratchet_tree()
            .tls_serialize_detached()
            .map_err(|_| CommitError::Malformed)
    }

    /// Verifies and judges a commit and the group info that comes with it, and
    /// moves on to the state after it. `client_id` is the id of the envelope
    /// that carries the commit: the commit authenticates it. After an error
    /// the state is as before.
    ///
    /// # Errors
    /// See [`CommitError`].
    pub fn apply_commit(
        &mut self,
        commit: &[u8],
        group_info: &[u8],
        client_id: &ClientMessageId,
        now_ms: u64,
    ) -> Result<Applied, CommitError> {
        let message = parse_commit(commit)?;
        self.check_address(&message)?;
        let crypto = RustCrypto::default();
        let processed = self
            .group
            .process_message(&crypto, message)
            .map_err(|_| CommitError::Invalid)?;
        let expected = commit_aad(&self.roster.conversation, client_id);
        if processed.aad() != expected.as_slice() {
            return Err(CommitError::Misplaced);
        }
        let sender = processed.sender().clone();
        let ProcessedMessageContent::StagedCommitMessage(staged) = processed.into_content() else {
            return Err(CommitError::Malformed);
        };
        let change = reading::change_of(
            self.group.group_context(),
            &staged,
            &sender,
            &self.deployment,
            Freshness::Live { now_ms },
        )?;
        let authorized = authorize(&self.roster, &change)?;
        let signer = self.committer_index(&sender, &staged)?;
        let applied = self.merge(&crypto, authorized, *staged, group_info, signer)?;
        let external = matches!(change.committer, Committer::External(_));
        Ok(Applied {
            external,
            ..applied
        })
    }

    /// Where the committer's leaf is after the commit.
    fn committer_index(
        &self,
        sender: &Sender,
        staged: &StagedCommit,
    ) -> Result<LeafIndex, CommitError> {
        match sender {
            Sender::Member(leaf) => Ok(LeafIndex(leaf.u32())),
            _ => self
                .group
                .ext_commit_sender_index(staged)
                .map(|leaf| LeafIndex(leaf.u32()))
                .map_err(|_| CommitError::Invalid),
        }
    }

    fn check_address(&self, message: &ProtocolMessage) -> Result<(), CommitError> {
        if message.group_id() != self.group.group_id() {
            return Err(CommitError::Misplaced);
        }
        if message.epoch() != self.group.group_context().epoch() {
            return Err(CommitError::WrongEpoch);
        }
        Ok(())
    }

    /// Merges into a copy, checks the group info against it, and only then takes it over.
    fn merge(
        &mut self,
        crypto: &RustCrypto,
        authorized: Authorized,
        staged: StagedCommit,
        group_info: &[u8],
        signer: LeafIndex,
    ) -> Result<Applied, CommitError> {
        let before = &self.roster;
        if !authorized.is_for(&before.conversation, before.generation, before.epoch) {
            return Err(CommitError::Invalid);
        }
        let mut next = Self::from_bytes(
            &self.to_bytes(),
            &self.deployment,
            &before.conversation,
            before.generation,
        )?;
        next.group
            .merge_commit(&next.snapshot, staged)
            .map_err(|_| CommitError::Invalid)?;
        next.roster = reading::roster_of_own_store(&next.group)?;
        next.check_group_info(crypto, group_info, signer)?;
        let (committer, _) = authorized.into_changes();
        let before = std::mem::replace(self, next).roster;
        Ok(applied(committer, before, self.roster.clone()))
    }

    /// The group info must be signed by the committer and state exactly this context, tag and tree.
    fn check_group_info(
        &self,
        crypto: &RustCrypto,
        group_info: &[u8],
        signer: LeafIndex,
    ) -> Result<(), CommitError> {
        let info = parse_group_info(group_info)?;
        let leaf = self
            .group
            .leaf(LeafNodeIndex::new(signer.0))
            .ok_or(CommitError::GroupInfoMismatch)?;
        let key = leaf
            .signature_key()
            .clone()
            .into_signature_public_key_enriched(self.group.ciphersuite().signature_algorithm());
        let matches = self.describes(&info, signer) == Some(true);
        if matches && info.verify_no_out(crypto, &key).is_ok() {
            Ok(())
        } else {
            Err(CommitError::GroupInfoMismatch)
        }
    }

    fn describes(&self, info: &VerifiableGroupInfo, signer: LeafIndex) -> Option<bool> {
        let extensions = info.extensions();
        let only_known = extensions.iter().all(|extension| {
            matches!(
                extension.extension_type(),
                ExtensionType::RatchetTree | ExtensionType::ExternalPub
            )
        });
        // Without the tree inside, the context's tree hash binds the one that is kept here.
        let tree_matches = match extensions.ratchet_tree() {
            Some(tree) => {
                tree.ratchet_tree().tls_serialize_detached().ok()?
                    == self
                        .group
                        .export_ratchet_tree()
                        .tls_serialize_detached()
                        .ok()?
            }
            None => self.roster.leaves.len() > TREE_INSIDE_LEAVES_MAX,
        };
        let expected = [
            self.group.group_context().tls_serialize_detached().ok()?,
            extensions.tls_serialize_detached().ok()?,
            self.group
                .confirmation_tag()
                .tls_serialize_detached()
                .ok()?,
            signer.0.to_be_bytes().to_vec(),
        ]
        .concat();
        let payload_matches = info.unsigned_payload().ok()? == expected;
        Some(only_known && tree_matches && payload_matches && extensions.external_pub().is_some())
    }
}

/// The policy that a group info states; `None` where it is none, or states no policy. Nothing is
/// verified: it tells what whoever shows it would have one believe.
#[must_use]
pub fn policy_shown(group_info: &[u8]) -> Option<Policy> {
    let info = parse_group_info(group_info).ok()?;
    profile::policy_of(info.group_context().extensions())
}

/// Whether a group info holds the ratchet tree; also where it is no group info at all.
#[must_use]
pub fn holds_tree(group_info: &[u8]) -> bool {
    parse_group_info(group_info).map_or(true, |info| info.extensions().ratchet_tree().is_some())
}

/// What a commit authenticates besides itself: the envelope that carries it.
#[must_use]
pub fn commit_aad(conversation: &ConversationId, client_id: &ClientMessageId) -> Vec<u8> {
    envelope_aad(conversation, wire::EnvelopeKind::Commit, client_id)
}

/// What any sealed payload authenticates besides itself: the envelope that carries it.
#[must_use]
pub fn envelope_aad(
    conversation: &ConversationId,
    kind: wire::EnvelopeKind,
    client_id: &ClientMessageId,
) -> Vec<u8> {
    wire::EnvelopeAad {
        conversation_id: conversation.to_vec(),
        kind: kind as u32,
        client_id: client_id.to_vec(),
    }
    .encode_to_vec()
}

fn applied(committer: DeviceCertificate, before: Roster, after: Roster) -> Applied {
    let missing_in = |of: &Roster, from: &Roster| -> Vec<DeviceCertificate> {
        of.leaves
            .values()
            .filter(|leaf| from.leaf_of(leaf.device_id()).is_none())
            .cloned()
            .collect()
    };
    Applied {
        added: missing_in(&after, &before),
        removed: missing_in(&before, &after),
        external: false,
        committer,
        before,
        after,
    }
}

fn parse_message(bytes: &[u8]) -> Result<MlsMessageBodyIn, CommitError> {
    if bytes.len() > HANDSHAKE_BYTES_MAX {
        return Err(CommitError::TooLarge);
    }
    MlsMessageIn::tls_deserialize_exact(bytes)
        .map(MlsMessageIn::extract)
        .map_err(|_| CommitError::Malformed)
}

fn parse_commit(bytes: &[u8]) -> Result<ProtocolMessage, CommitError> {
    match parse_message(bytes)? {
        MlsMessageBodyIn::PublicMessage(message) => Ok(message.into()),
        _ => Err(CommitError::Malformed),
    }
}

fn parse_group_info(bytes: &[u8]) -> Result<VerifiableGroupInfo, CommitError> {
    match parse_message(bytes)? {
        MlsMessageBodyIn::GroupInfo(info) => Ok(info),
        _ => Err(CommitError::Malformed),
    }
}
