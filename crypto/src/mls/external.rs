//! Coming back without an invitation: a device that lost its state, or a new
//! device of an account that is in, puts itself in by external commit.
//!
//! The MLS library merges such a commit at once. When the server refuses it,
//! roll the transaction back or delete the group, and begin again with fresh
//! group info.

use openmls::prelude::{
    LeafNodeParameters, MlsGroup, MlsMessageBodyIn, MlsMessageIn, tls_codec::Deserialize as _,
};
use openmls_traits::OpenMlsProvider as _;
use sotto_protocol::ClientMessageId;
use sotto_protocol::limits::HANDSHAKE_BYTES_MAX;
use sotto_roster::public_group::{commit_aad, profile, reading};
use sotto_roster::{DeviceCertificate, LeafIndex, authorize_join};

use super::commit::{PendingCommit, pending_commit};
use super::group::{Address, Group, GroupError, credential, join_config};
use super::split;
use super::store::{DeviceSigner, KeyStore};
use super::welcome::WithTree;
use crate::identity::LocalDevice;

/// A group entered by external commit, and the commit to send.
pub struct Rejoin {
    /// The group, one epoch ahead of the server until it accepts the commit.
    pub group: Group,
    /// The commit and the group info after it; there is no welcome.
    pub commit: PendingCommit,
    /// Who signed the state that was entered, which nothing but that signature
    /// vouches for; `None` when it was an old device of this account.
    pub vouched_by: Option<DeviceCertificate>,
}

impl Group {
    /// Enters the group that a group info (with its tree) describes, in place of any state of it here.
    ///
    /// # Errors
    /// When the group info does not verify, the account is not in, or the database refuses; nothing changes then.
    pub fn rejoin<'a>(
        store: &KeyStore<'_>,
        me: &LocalDevice,
        address: Address,
        group_info: impl Into<WithTree<'a>>,
        client_id: &ClientMessageId,
    ) -> Result<Rejoin, GroupError> {
        let group_info = group_info.into();
        store.attempt(|| {
            if let Some(old) = Self::load(store, me, address)? {
                old.delete(store)?;
            }
            enter(store, me, address, group_info, client_id)
        })
    }
}

fn enter(
    store: &KeyStore<'_>,
    me: &LocalDevice,
    address: Address,
    described: WithTree<'_>,
    client_id: &ClientMessageId,
) -> Result<Rejoin, GroupError> {
    let group_info = described.message;
    if group_info.len() > HANDSHAKE_BYTES_MAX {
        return Err(GroupError::Invalid);
    }
    let parsed = MlsMessageIn::tls_deserialize_exact(group_info).map(MlsMessageIn::extract);
    let Ok(MlsMessageBodyIn::GroupInfo(info)) = parsed else {
        return Err(GroupError::Invalid);
    };
    if *info.group_id() != profile::group_id(&address.conversation, address.generation) {
        return Err(GroupError::Misplaced);
    }
    let leaf = LeafNodeParameters::builder()
        .with_capabilities(profile::capabilities())
        .build();
    let tree = described.parse_tree();
    // What is large enough for its tree to travel apart stays so.
    let tree_inside = tree.is_none();
    let mut builder = MlsGroup::external_commit_builder();
    if let Some(tree) = tree {
        builder = builder.with_ratchet_tree(tree);
    }
    let (mls, bundle) = builder
        .with_config(join_config())
        .with_aad(commit_aad(&address.conversation, client_id))
        .skip_lifetime_validation()
        .build_group(store, info, credential(me.certificate()))
        .map_err(|_| GroupError::Invalid)?
        .leaf_node_parameters(leaf)
        .load_psks(store.storage())
        .map_err(|_| GroupError::Mls("external commit"))?
        .use_ratchet_tree_extension(tree_inside)
        .build(store.rand(), store.crypto(), &DeviceSigner(me), |_| true)
        .map_err(|_| GroupError::Mls("external commit"))?
        .finalize(store)
        .map_err(|_| GroupError::Mls("external commit"))?;
    let roster = reading::roster_of(mls.public_group(), me.certificate().deployment())?;
    let group = Group::over(mls, me)?;
    authorize_join(&roster, me.certificate(), group.own_leaf())?;
    let commit = pending_commit(bundle, Vec::new(), group.epoch())?;
    let signer = split::signer_of(group_info).ok_or(GroupError::Invalid)?;
    let vouched_by = roster.leaves.get(&LeafIndex(signer)).cloned();
    Ok(Rejoin {
        group,
        commit,
        vouched_by,
    })
}
