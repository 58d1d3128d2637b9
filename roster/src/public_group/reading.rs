//! Reads rosters and changes out of MLS state, for servers and members alike.

use std::collections::BTreeMap;

use openmls::prelude::{
    Ciphersuite, GroupContext, LeafNode, Proposal, PublicGroup, Sender, StagedCommit,
    tls_codec::{Deserialize as _, Serialize as _, VLBytes},
};
use openmls::treesync::LeafNodeSource;
use sotto_protocol::DeploymentId;

use super::low_order::is_sound_key;
use super::profile::{self, CREDENTIAL_TYPE};
use crate::authorize::{
    AddedLeaf, Change, Committer, Freshness, LeafUpdate, Lifetime, Proposer, Removal,
};
use crate::certificate::{CertificateError, DeviceCertificate};
use crate::state::{LeafIndex, Roster};

/// MLS state that is not a conversation of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// A leaf's certificate does not verify.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// A leaf has another type of credential, another signature key than its
    /// certificate states, or extensions.
    #[error("leaf does not match its certificate")]
    LeafMismatch,
    /// A leaf's or key package's encryption key is of low order.
    #[error("encryption key is not sound")]
    UnsoundKey,
    /// The group's id, suite or extensions are not those of a conversation.
    #[error("group is not a conversation")]
    NotAConversation,
    /// The sender may not commit.
    #[error("sender may not commit")]
    BadSender,
}

/// Reads and checks a leaf: credential, signature key, encryption key, no extensions.
///
/// # Errors
/// See [`ReadError`].
pub fn certificate_of(
    leaf: &LeafNode,
    suite: Ciphersuite,
    deployment: &DeploymentId,
) -> Result<DeviceCertificate, ReadError> {
    let credential = leaf.credential();
    if u16::from(credential.credential_type()) != CREDENTIAL_TYPE {
        return Err(ReadError::LeafMismatch);
    }
    let certificate = DeviceCertificate::verify(credential.serialized_content(), deployment)?;
    if leaf.signature_key().as_slice() != certificate.device_key()
        || leaf.extensions().iter().next().is_some()
    {
        return Err(ReadError::LeafMismatch);
    }
    let key = encryption_key_of(leaf).ok_or(ReadError::UnsoundKey)?;
    if is_sound_key(suite, key.as_slice()) {
        Ok(certificate)
    } else {
        Err(ReadError::UnsoundKey)
    }
}

/// The library shows a leaf's HPKE key only in its encoding.
fn encryption_key_of(leaf: &LeafNode) -> Option<VLBytes> {
    let encoded = leaf.encryption_key().tls_serialize_detached().ok()?;
    VLBytes::tls_deserialize_exact(&encoded).ok()
}

/// Reads the roster out of a group, verifying every leaf.
///
/// # Errors
/// See [`ReadError`].
pub fn roster_of(group: &PublicGroup, deployment: &DeploymentId) -> Result<Roster, ReadError> {
    let suite = group.ciphersuite();
    read_roster(group, |leaf| certificate_of(leaf, suite, deployment))
}

/// Reads the roster out of a group that this program itself verified and stored.
///
/// # Errors
/// See [`ReadError`].
pub fn roster_of_own_store(group: &PublicGroup) -> Result<Roster, ReadError> {
    read_roster(group, |leaf| {
        Ok(DeviceCertificate::from_own_store(
            leaf.credential().serialized_content(),
        )?)
    })
}

fn read_roster(
    group: &PublicGroup,
    read: impl Fn(&LeafNode) -> Result<DeviceCertificate, ReadError>,
) -> Result<Roster, ReadError> {
    let context = group.group_context();
    let not_ours = ReadError::NotAConversation;
    if !profile::is_known_suite(context.ciphersuite()) {
        return Err(not_ours);
    }
    let (conversation, generation) = profile::parse_group_id(context.group_id()).ok_or(not_ours)?;
    let leaves = group
        .treesync()
        .full_leaves()
        .map(|(index, leaf)| Ok((LeafIndex(index.u32()), read(leaf)?)))
        .collect::<Result<BTreeMap<_, _>, ReadError>>()?;
    Ok(Roster {
        conversation,
        generation,
        epoch: context.epoch().as_u64(),
        policy: profile::policy_of(context.extensions()).ok_or(not_ours)?,
        leaves,
    })
}

/// Reads what a staged commit would change. Kinds of proposals without a rule
/// are counted, and settings that never change count as such.
///
/// # Errors
/// When a leaf in it is not sound, or the sender may not commit at all.
pub fn change_of(
    context: &GroupContext,
    staged: &StagedCommit,
    sender: &Sender,
    deployment: &DeploymentId,
    freshness: Freshness,
) -> Result<Change, ReadError> {
    let suite = context.ciphersuite();
    let path_leaf = staged
        .update_path_leaf_node()
        .map(|leaf| certificate_of(leaf, suite, deployment))
        .transpose()?;
    let committer = match (sender, &path_leaf) {
        (Sender::Member(leaf), _) => Committer::Member(LeafIndex(leaf.u32())),
        (Sender::NewMemberCommit, Some(joiner)) => Committer::External(joiner.clone()),
        _ => return Err(ReadError::BadSender),
    };
    let mut change = Change {
        committer,
        adds: Vec::new(),
        removes: Vec::new(),
        updates: Vec::new(),
        path_leaf,
        policy: None,
        other_proposals: 0,
        freshness,
    };
    for queued in staged.queued_proposals() {
        read_proposal(
            &mut change,
            queued.proposal(),
            queued.sender(),
            sender,
            suite,
            deployment,
        )?;
    }
    Ok(change)
}

fn read_proposal(
    change: &mut Change,
    proposal: &Proposal,
    proposed_by: &Sender,
    committed_by: &Sender,
    suite: Ciphersuite,
    deployment: &DeploymentId,
) -> Result<(), ReadError> {
    match proposal {
        Proposal::Add(add) if proposed_by == committed_by => {
            let package = add.key_package();
            if !is_sound_key(suite, package.hpke_init_key().as_slice()) {
                return Err(ReadError::UnsoundKey);
            }
            change.adds.push(AddedLeaf {
                certificate: certificate_of(package.leaf_node(), suite, deployment)?,
                lifetime: lifetime_of(package.leaf_node()).ok_or(ReadError::LeafMismatch)?,
            });
        }
        Proposal::Remove(remove) => {
            let proposer = match proposed_by {
                same if same == committed_by => Proposer::Committer,
                Sender::Member(leaf) => Proposer::Member(LeafIndex(leaf.u32())),
                _ => return Err(ReadError::BadSender),
            };
            let leaf = LeafIndex(remove.removed().u32());
            change.removes.push(Removal { leaf, proposer });
        }
        Proposal::Update(update) => {
            let Sender::Member(leaf) = proposed_by else {
                return Err(ReadError::BadSender);
            };
            change.updates.push(LeafUpdate {
                leaf: LeafIndex(leaf.u32()),
                certificate: certificate_of(update.leaf_node(), suite, deployment)?,
            });
        }
        Proposal::GroupContextExtensions(stated) if proposed_by == committed_by => {
            match profile::policy_of(stated.extensions()) {
                Some(policy) if change.policy.is_none() => change.policy = Some(policy),
                _ => change.other_proposals += 1,
            }
        }
        Proposal::ExternalInit(_) if *committed_by == Sender::NewMemberCommit => {}
        _ => change.other_proposals += 1,
    }
    Ok(())
}

/// The lifetime of a leaf that came with a key package.
#[must_use]
pub fn lifetime_of(leaf: &LeafNode) -> Option<Lifetime> {
    match leaf.leaf_node_source() {
        LeafNodeSource::KeyPackage(lifetime) => Some(Lifetime {
            not_before_s: lifetime.not_before(),
            not_after_s: lifetime.not_after(),
        }),
        _ => None,
    }
}
