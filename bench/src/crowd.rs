//! A real group of many devices: MLS commits that servers verify, made by one
//! of them. The others' keys are forgotten: a server cannot tell random bytes
//! of a sealed message's size from one.

use std::collections::BTreeMap;

use sotto_crypto::{
    Address, Group, GroupError, KeyPackageUse, KeyStore, LocalDevice, PendingCommit, Plan, Suite,
    make_key_package,
};
use sotto_protocol::wire::{
    AppendCommit, Appended, CreateConversation, Welcome, client_frame, server_frame,
};
use sotto_protocol::{ClientMessageId, ConversationId};
use sotto_roster::{GroupRules, Policy, Role, Rules};

use crate::clock::unix_ms;
use crate::connection::Connection;
use crate::error::BenchError;
use crate::lane::Conversation;
use crate::pair::key_database;

/// Devices that one commit adds: their welcomes fit into a frame also in a group of thousands.
const BATCH: usize = 20;

/// Makes a group of `creator` and all of `others` at the deployment.
///
/// # Errors
/// When the MLS library, the rules or a server refuse.
pub(crate) async fn make(
    creator: &LocalDevice,
    connection: &mut Connection,
    others: &[&LocalDevice],
) -> Result<Conversation, BenchError> {
    let mls = BenchError::crypto::<GroupError>;
    let database = key_database()?;
    let address = Address {
        conversation: ConversationId::from_bytes(rand::random()),
        generation: 0,
    };
    let suite = Suite::for_leaves(others.len() + 1);
    let owner = creator.certificate().username().clone();
    let mut roles = BTreeMap::from([(owner, Role::Owner)]);
    let mut policy = Policy::group(roles.clone()).map_err(BenchError::crypto("making a policy"))?;
    let store = KeyStore::new(&database);
    let mut group = Group::create(&store, creator, address, &policy, suite, unix_ms())
        .map_err(mls("making a group"))?;
    let mut alone = Some(
        group
            .group_info(&store, creator)
            .map_err(mls("exporting a group"))?,
    );
    for batch in others.chunks(BATCH) {
        let packages = batch
            .iter()
            .map(|device| package(device, suite))
            .collect::<Result<Vec<_>, _>>()?;
        let names = batch.iter().map(|one| one.certificate().username().clone());
        roles.extend(names.map(|name| (name, Role::Member)));
        policy = policy
            .next(Rules::Group(GroupRules::closed(roles.clone())))
            .map_err(BenchError::crypto("making a policy"))?;
        let client_id = ClientMessageId::from_bytes(rand::random());
        let plan = Plan {
            key_packages: &packages,
            policy: Some(&policy),
            ..Plan::default()
        };
        let epoch = group.epoch();
        let pending = group
            .stage(&store, creator, &client_id, &plan, unix_ms())
            .map_err(mls("adding members"))?;
        let commit = pending.commit.clone();
        let request = request(address, epoch, (client_id, alone.take()), pending);
        let server_frame::Body::Appended(Appended { .. }) =
            connection.call("changing a group", request).await?
        else {
            return Err(BenchError::Protocol("another answer to a commit"));
        };
        group
            .merge_pending(&store, &commit, unix_ms())
            .map_err(mls("merging a commit"))?;
    }
    Ok(Conversation::at(address.conversation, group.epoch()))
}

fn package(device: &LocalDevice, suite: Suite) -> Result<Vec<u8>, BenchError> {
    let database = key_database()?;
    let store = KeyStore::new(&database);
    make_key_package(&store, device, suite, KeyPackageUse::OneTime, unix_ms())
        .map(|made| made.bytes)
        .map_err(BenchError::crypto("making a key package"))
}

/// The first commit comes with the group info of epoch 0.
fn request(
    address: Address,
    epoch: u64,
    (client_id, alone): (ClientMessageId, Option<Vec<u8>>),
    pending: PendingCommit,
) -> client_frame::Body {
    let welcomes = pending
        .added
        .iter()
        .zip(pending.welcomes)
        .map(|(device, welcome)| Welcome {
            device_id: device.device_id().to_vec(),
            welcome,
            note: Vec::new(),
        })
        .collect();
    match alone {
        Some(group_info) => client_frame::Body::CreateConversation(CreateConversation {
            conversation_id: address.conversation.to_vec(),
            generation: address.generation,
            group_info,
            commit: pending.commit,
            next_group_info: pending.group_info,
            welcomes,
            client_id: client_id.to_vec(),
        }),
        None => client_frame::Body::AppendCommit(AppendCommit {
            conversation_id: address.conversation.to_vec(),
            generation: address.generation,
            epoch,
            client_id: client_id.to_vec(),
            commit: pending.commit,
            group_info: pending.group_info,
            welcomes,
        }),
    }
}
