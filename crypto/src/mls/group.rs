//! A conversation as this device sees it: one MLS group and its roster.
//!
//! | state               | allowed                                             |
//! |---------------------|-----------------------------------------------------|
//! | nothing pending     | seal, open, stage a commit                          |
//! | commit pending      | open, merge it, discard it; no second, no sealing   |
//! | removed from group  | read the roster, delete                             |
//!
//! After a transaction is rolled back, drop the `Group` and load it again: its
//! memory would be ahead of the store.

use openmls::prelude::{
    CredentialWithKey, MlsGroup, MlsGroupCreateConfig, MlsGroupJoinConfig,
    PURE_PLAINTEXT_WIRE_FORMAT_POLICY, SenderRatchetConfiguration,
};
use openmls_traits::OpenMlsProvider as _;
use sotto_protocol::{ConversationId, DeploymentId};
use sotto_roster::public_group::{KeyPackageError, ReadError, profile, reading};
use sotto_roster::{Denied, DeviceCertificate, LeafIndex, Policy, Roster, authorize_new};

use super::key_package::{LEAF_LIFETIME_S, lifetime};
use super::split;
use super::store::{DeviceSigner, KeyStore, ciphersuite};
use crate::content::ContentError;
use crate::identity::LocalDevice;
use crate::suite::Suite;

/// Messages of one sender that may be missing before the next: a gap beyond this cannot be opened.
const FORWARD_DISTANCE_MAX: u32 = 2_000;

/// Which MLS group of which conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Address {
    /// The conversation.
    pub conversation: ConversationId,
    /// 0 for its first group, one more at each rebuild.
    pub generation: u32,
}

/// Something that a group could not do. None of these changes what is stored.
#[derive(Debug, thiserror::Error)]
pub enum GroupError {
    /// The database refused.
    #[error("key store: {0}")]
    Database(#[from] rusqlite::Error),
    /// A key package cannot be used.
    #[error(transparent)]
    KeyPackage(#[from] KeyPackageError),
    /// A leaf is not sound.
    #[error(transparent)]
    Leaf(#[from] ReadError),
    /// The rules of the conversation do not allow it.
    #[error(transparent)]
    Denied(#[from] Denied),
    /// The message cannot be encoded.
    #[error(transparent)]
    Content(#[from] ContentError),
    /// A commit waits for the server's answer.
    #[error("a commit is pending")]
    CommitPending,
    /// No commit waits.
    #[error("no commit is pending")]
    NothingPending,
    /// This device is no longer in the group.
    #[error("this device was removed from the conversation")]
    Removed,
    /// A message from elsewhere is malformed or does not verify.
    #[error("message does not verify")]
    Invalid,
    /// A message is for another conversation or generation.
    #[error("message belongs to another conversation")]
    Misplaced,
    /// The MLS library refused; the step is named.
    #[error("mls: {0}")]
    Mls(&'static str),
}

/// How a group as somebody describes it stands to the one here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It is the same one.
    Same,
    /// It may be a later state of this one.
    Later,
    /// Other commits led to it, or fewer.
    Other,
}

/// A conversation's MLS group on this device.
pub struct Group {
    pub(super) mls: MlsGroup,
    pub(super) deployment: DeploymentId,
    pub(super) roster: Roster,
}

impl Group {
    /// Makes the first state of a group: epoch 0, this device alone.
    ///
    /// # Errors
    /// When the policy is not this account's to make, or the group exists.
    pub fn create(
        store: &KeyStore<'_>,
        me: &LocalDevice,
        address: Address,
        policy: &Policy,
        suite: Suite,
        now_ms: u64,
    ) -> Result<Self, GroupError> {
        let extensions = profile::context_extensions(policy).ok_or(GroupError::Mls("policy"))?;
        let config = MlsGroupCreateConfig::builder()
            .wire_format_policy(PURE_PLAINTEXT_WIRE_FORMAT_POLICY)
            .max_past_epochs(0)
            .number_of_resumption_psks(0)
            .use_ratchet_tree_extension(true)
            .sender_ratchet_configuration(sender_ratchet())
            .capabilities(profile::capabilities())
            .lifetime(lifetime(now_ms, LEAF_LIFETIME_S))
            .ciphersuite(ciphersuite(suite))
            .with_group_context_extensions(extensions)
            .build();
        let group = store.attempt(|| {
            let mls = MlsGroup::new_with_group_id(
                store,
                &DeviceSigner(me),
                &config,
                profile::group_id(&address.conversation, address.generation),
                credential(me.certificate()),
            )
            .map_err(|_| GroupError::Mls("create"))?;
            let group = Self::over(mls, me)?;
            authorize_new(&group.roster)?;
            Ok::<_, GroupError>(group)
        })?;
        Ok(group)
    }

    /// Loads a group; `None` when there is none.
    ///
    /// # Errors
    /// When the store is damaged.
    pub fn load(
        store: &KeyStore<'_>,
        me: &LocalDevice,
        address: Address,
    ) -> Result<Option<Self>, GroupError> {
        let id = profile::group_id(&address.conversation, address.generation);
        MlsGroup::load(store.storage(), &id)?
            .map(|mls| Self::over(mls, me))
            .transpose()
    }

    pub(super) fn over(mls: MlsGroup, me: &LocalDevice) -> Result<Self, GroupError> {
        let roster = reading::roster_of_own_store(mls.public_group())?;
        Ok(Self {
            mls,
            deployment: *me.certificate().deployment(),
            roster,
        })
    }

    /// Deletes the group and every key of it.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn delete(mut self, store: &KeyStore<'_>) -> Result<(), GroupError> {
        self.mls.delete(store.storage())?;
        Ok(())
    }

    /// The encoded group info of the present epoch, with the ratchet tree.
    ///
    /// # Errors
    /// When this device was removed.
    pub fn group_info(
        &self,
        store: &KeyStore<'_>,
        me: &LocalDevice,
    ) -> Result<Vec<u8>, GroupError> {
        let tree_inside = true;
        self.mls
            .export_group_info(store.crypto(), &DeviceSigner(me), tree_inside)
            .map_err(|_| GroupError::Mls("group info"))?
            .to_bytes()
            .map_err(|_| GroupError::Mls("encode"))
    }

    /// Which group this is.
    #[must_use]
    pub fn address(&self) -> Address {
        Address {
            conversation: self.roster.conversation,
            generation: self.roster.generation,
        }
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

    /// This device's place.
    #[must_use]
    pub fn own_leaf(&self) -> LeafIndex {
        LeafIndex(self.mls.own_leaf_index().u32())
    }

    /// Whether this device is still in the group.
    #[must_use]
    pub fn is_active(&self) -> bool {
        self.mls.is_active()
    }

    /// Whether a commit of this device waits for the server's answer.
    #[must_use]
    pub fn has_pending(&self) -> bool {
        self.mls.pending_commit().is_some()
    }

    /// The suite.
    #[must_use]
    pub fn suite(&self) -> Option<Suite> {
        Suite::from_number(u16::from(self.mls.ciphersuite()))
    }

    /// The first 32 bytes of the epoch authenticator: members of one epoch agree on it, and nobody else knows it.
    #[must_use]
    pub fn authenticator(&self) -> [u8; 32] {
        let mut bytes = [0; 32];
        let authenticator = self.mls.epoch_authenticator().as_slice();
        for (to, from) in bytes.iter_mut().zip(authenticator) {
            *to = *from;
        }
        bytes
    }

    /// Compares this state with the one that a group info describes, by the hash
    /// over all commits since the first. Nothing but that is looked at: who
    /// signed it does not matter for telling that it is another.
    #[must_use]
    pub fn standing(&self, group_info: &[u8]) -> Standing {
        let own = self.mls.public_group().group_context();
        match split::history_of(group_info) {
            Some((epoch, _)) if epoch > self.epoch() => Standing::Later,
            Some((epoch, history))
                if epoch == self.epoch() && history == own.confirmed_transcript_hash() =>
            {
                Standing::Same
            }
            _ => Standing::Other,
        }
    }

    pub(super) fn refresh(&mut self) -> Result<(), GroupError> {
        self.roster = reading::roster_of_own_store(self.mls.public_group())?;
        Ok(())
    }
}

/// How groups that this device enters are kept.
pub(super) fn join_config() -> MlsGroupJoinConfig {
    MlsGroupJoinConfig::builder()
        .wire_format_policy(PURE_PLAINTEXT_WIRE_FORMAT_POLICY)
        .max_past_epochs(0)
        .number_of_resumption_psks(0)
        .use_ratchet_tree_extension(true)
        .sender_ratchet_configuration(sender_ratchet())
        .build()
}

/// The log's order is the order of opening, so no skipped key is kept.
fn sender_ratchet() -> SenderRatchetConfiguration {
    SenderRatchetConfiguration::new(0, FORWARD_DISTANCE_MAX)
}

pub(super) fn credential(certificate: &DeviceCertificate) -> CredentialWithKey {
    CredentialWithKey {
        credential: profile::credential(certificate),
        signature_key: certificate.device_key().as_slice().into(),
    }
}
