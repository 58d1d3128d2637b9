//! Commits of this device: staged, sent by the caller, then merged or discarded.

use openmls::prelude::{CommitMessageBundle, LeafNodeIndex, MlsMessageOut, Sender};
use openmls_traits::OpenMlsProvider as _;
use sha2::{Digest as _, Sha256};
use sotto_protocol::ClientMessageId;
use sotto_roster::public_group::{commit_aad, profile, read_key_package, reading};
use sotto_roster::{
    Authorized, DeviceCertificate, Freshness, LeafIndex, MembershipChange, Policy,
    TREE_INSIDE_LEAVES_MAX, authorize,
};

use super::group::{Group, GroupError};
use super::split::split_welcome;
use super::store::{DeviceSigner, KeyStore};
use crate::identity::LocalDevice;

/// A staged commit, ready to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PendingCommit {
    /// The encoded commit.
    pub commit: Vec<u8>,
    /// The encoded welcome for all devices in `added`; `None` when it adds nobody.
    pub welcome: Option<Vec<u8>>,
    /// The same for each device alone, in the order of `added`: what a device
    /// receives does not grow with those that come in beside it.
    pub welcomes: Vec<Vec<u8>>,
    /// The encoded group info after the commit; up to 32 leaves with the ratchet tree.
    pub group_info: Vec<u8>,
    /// The devices that it adds.
    pub added: Vec<DeviceCertificate>,
    /// The epoch that it leads to.
    pub epoch_after: u64,
}

/// What a merged commit did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommitSummary {
    /// The device that made it.
    pub committer: DeviceCertificate,
    /// Who came, went or changed roles; empty for a self-update.
    pub changes: Vec<MembershipChange>,
    /// The epoch after it.
    pub epoch: u64,
    /// SHA-256 of the commit's bytes, as content carries it.
    pub hash: [u8; 32],
    /// Whether it removed this device.
    pub removed_me: bool,
}

/// SHA-256 of a commit's bytes.
#[must_use]
pub fn commit_hash(commit: &[u8]) -> [u8; 32] {
    Sha256::digest(commit).into()
}

/// What to commit, all of it or nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Plan<'a> {
    /// Encoded key packages of the devices that come in.
    pub key_packages: &'a [Vec<u8>],
    /// Places of the devices that go.
    pub removals: &'a [LeafIndex],
    /// The policy from then on, where it changes.
    pub policy: Option<&'a Policy>,
}

impl Group {
    /// Stages a commit that adds the devices of these key packages, under a
    /// new policy where one is given.
    ///
    /// # Errors
    /// When a key package is not sound, the rules do not allow it, or a commit is pending.
    pub fn stage_add(
        &mut self,
        store: &KeyStore<'_>,
        me: &LocalDevice,
        client_id: &ClientMessageId,
        key_packages: &[Vec<u8>],
        policy: Option<&Policy>,
        now_ms: u64,
    ) -> Result<PendingCommit, GroupError> {
        let plan = Plan {
            key_packages,
            policy,
            ..Plan::default()
        };
        self.stage(store, me, client_id, &plan, now_ms)
    }

    /// Stages a commit that removes devices, under a new policy where one is given.
    ///
    /// # Errors
    /// When the rules do not allow it, or a commit is pending.
    pub fn stage_remove(
        &mut self,
        store: &KeyStore<'_>,
        me: &LocalDevice,
        client_id: &ClientMessageId,
        removals: &[LeafIndex],
        policy: Option<&Policy>,
        now_ms: u64,
    ) -> Result<PendingCommit, GroupError> {
        let plan = Plan {
            removals,
            policy,
            ..Plan::default()
        };
        self.stage(store, me, client_id, &plan, now_ms)
    }

    /// Stages a commit that changes the policy and nothing else.
    ///
    /// # Errors
    /// When the rules do not allow it, or a commit is pending.
    pub fn stage_policy(
        &mut self,
        store: &KeyStore<'_>,
        me: &LocalDevice,
        client_id: &ClientMessageId,
        policy: &Policy,
        now_ms: u64,
    ) -> Result<PendingCommit, GroupError> {
        let plan = Plan {
            policy: Some(policy),
            ..Plan::default()
        };
        self.stage(store, me, client_id, &plan, now_ms)
    }

    /// Stages a commit that renews this device's keys and nothing else.
    ///
    /// # Errors
    /// When a commit is pending.
    pub fn stage_self_update(
        &mut self,
        store: &KeyStore<'_>,
        me: &LocalDevice,
        client_id: &ClientMessageId,
        now_ms: u64,
    ) -> Result<PendingCommit, GroupError> {
        self.stage(store, me, client_id, &Plan::default(), now_ms)
    }

    /// Merges the pending commit after the server accepted it. `commit` is what was sent.
    ///
    /// # Errors
    /// When nothing is pending or the database refuses.
    pub fn merge_pending(
        &mut self,
        store: &KeyStore<'_>,
        commit: &[u8],
        now_ms: u64,
    ) -> Result<CommitSummary, GroupError> {
        let authorized = self.authorize_pending(Freshness::Backlog { now_ms })?;
        self.merge_authorized(authorized, commit, |mls| {
            mls.merge_pending_commit(store)
                .map_err(|_| GroupError::Mls("merge"))
        })
    }

    /// Discards the pending commit after the server refused it.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn discard_pending(&mut self, store: &KeyStore<'_>) -> Result<(), GroupError> {
        Ok(self.mls.clear_pending_commit(store.storage())?)
    }

    /// The only way to a merge: it consumes the proof that the change was
    /// judged, and the proof must be about this very state.
    pub(super) fn merge_authorized(
        &mut self,
        authorized: Authorized,
        commit: &[u8],
        merge: impl FnOnce(&mut openmls::prelude::MlsGroup) -> Result<(), GroupError>,
    ) -> Result<CommitSummary, GroupError> {
        let Group { roster, .. } = self;
        if !authorized.is_for(&roster.conversation, roster.generation, roster.epoch) {
            return Err(GroupError::Mls("stale authorization"));
        }
        merge(&mut self.mls)?;
        self.refresh()?;
        let (committer, changes) = authorized.into_changes();
        Ok(CommitSummary {
            committer,
            changes,
            epoch: self.epoch(),
            hash: commit_hash(commit),
            removed_me: !self.mls.is_active(),
        })
    }

    fn authorize_pending(&self, freshness: Freshness) -> Result<Authorized, GroupError> {
        let staged = self
            .mls
            .pending_commit()
            .ok_or(GroupError::NothingPending)?;
        let change = reading::change_of(
            self.mls.public_group().group_context(),
            staged,
            &Sender::Member(self.mls.own_leaf_index()),
            &self.deployment,
            freshness,
        )?;
        Ok(authorize(&self.roster, &change)?)
    }

    /// Stages a commit that does everything in `plan`; an empty plan renews
    /// this device's keys.
    ///
    /// # Errors
    /// When a key package is not sound, the rules do not allow it, or a commit is pending.
    pub fn stage(
        &mut self,
        store: &KeyStore<'_>,
        me: &LocalDevice,
        client_id: &ClientMessageId,
        plan: &Plan<'_>,
        now_ms: u64,
    ) -> Result<PendingCommit, GroupError> {
        if !self.mls.is_active() {
            return Err(GroupError::Removed);
        }
        if self.has_pending() {
            return Err(GroupError::CommitPending);
        }
        let mut packages = Vec::new();
        let mut added = Vec::new();
        let mut references = Vec::new();
        for bytes in plan.key_packages {
            let (info, package) =
                read_key_package(store.crypto(), bytes, &self.deployment, now_ms)?;
            packages.push(package);
            references.push(info.reference);
            added.push(info.certificate);
        }
        let bundle = self.build(store, me, client_id, packages, plan)?;
        if let Err(refused) = self.authorize_pending(Freshness::Live { now_ms }) {
            self.discard_pending(store)?;
            return Err(refused);
        }
        let mut pending = pending_commit(bundle, added, self.epoch() + 1)?;
        if let Some(welcome) = &pending.welcome {
            let one_each = split_welcome(welcome).ok_or(GroupError::Mls("welcome"))?;
            let of = |reference| one_each.get(reference).cloned();
            let all: Option<Vec<_>> = references.iter().map(of).collect();
            pending.welcomes = all.ok_or(GroupError::Mls("welcome"))?;
        }
        Ok(pending)
    }

    fn build(
        &mut self,
        store: &KeyStore<'_>,
        me: &LocalDevice,
        client_id: &ClientMessageId,
        packages: Vec<openmls::prelude::KeyPackage>,
        plan: &Plan<'_>,
    ) -> Result<CommitMessageBundle, GroupError> {
        self.mls
            .set_aad(commit_aad(&self.roster.conversation, client_id));
        // In a large group the tree would be most of every commit and welcome.
        let leaves = self.roster.leaves.len() + packages.len();
        let leaves_after = leaves.saturating_sub(plan.removals.len());
        let tree_inside = leaves_after <= TREE_INSIDE_LEAVES_MAX;
        let mut builder = self
            .mls
            .commit_builder()
            .consume_proposal_store(false)
            .force_self_update(true)
            .propose_adds(packages)
            .propose_removals(plan.removals.iter().map(|leaf| LeafNodeIndex::new(leaf.0)));
        if let Some(policy) = plan.policy {
            let extensions =
                profile::context_extensions(policy).ok_or(GroupError::Mls("policy"))?;
            builder = builder
                .propose_group_context_extensions(extensions)
                .map_err(|_| GroupError::Mls("policy"))?;
        }
        builder
            .load_psks(store.storage())
            .map_err(|_| GroupError::Mls("stage"))?
            .use_ratchet_tree_extension(tree_inside)
            .build(store.rand(), store.crypto(), &DeviceSigner(me), |_| true)
            .map_err(|_| GroupError::Mls("build"))?
            .stage_commit(store)
            .map_err(|_| GroupError::Mls("stage"))
    }
}

pub(super) fn pending_commit(
    bundle: CommitMessageBundle,
    added: Vec<DeviceCertificate>,
    epoch_after: u64,
) -> Result<PendingCommit, GroupError> {
    let encode = |message: MlsMessageOut| message.to_bytes().map_err(|_| GroupError::Mls("encode"));
    let (commit, welcome, group_info) = bundle.into_messages();
    Ok(PendingCommit {
        commit: encode(commit)?,
        welcome: welcome.map(encode).transpose()?,
        welcomes: Vec::new(),
        group_info: encode(group_info.ok_or(GroupError::Mls("group info"))?)?,
        added,
        epoch_after,
    })
}
