//! Real two-person conversations: MLS groups whose first commit servers verify.
//!
//! The key store of each is in memory and forgotten: the load itself is random bytes of a sealed
//! message's size, which a server cannot tell from one.

use rusqlite::Connection;
use sotto_crypto::{
    Address, Body, Content, Group, KeyPackageUse, KeyStore, LocalDevice, Suite, make_key_package,
    migrate_key_store,
};
use sotto_protocol::wire::{CreateConversation, Welcome};
use sotto_protocol::{ClientMessageId, ConversationId, DeploymentId};
use sotto_roster::Policy;

use crate::clock::unix_ms;
use crate::error::BenchError;
use crate::member::make_device;

/// What a short message says.
pub(crate) const SHORT_TEXT: &str = "See you at the station at half past seven, platform four.";

/// A key store in memory.
pub(crate) fn key_database() -> Result<Connection, BenchError> {
    let mut connection = Connection::open_in_memory()?;
    migrate_key_store(&mut connection).map_err(BenchError::crypto("making a key store"))?;
    Ok(connection)
}

/// The request that makes a conversation of two devices of different accounts.
///
/// # Errors
/// When the MLS library or the rules refuse.
pub(crate) fn create(
    creator: &LocalDevice,
    peer: &LocalDevice,
) -> Result<CreateConversation, BenchError> {
    Ok(found(&key_database()?, creator, peer)?.0)
}

fn found(
    database: &Connection,
    creator: &LocalDevice,
    peer: &LocalDevice,
) -> Result<(CreateConversation, Group), BenchError> {
    let now_ms = unix_ms();
    let peer_database = key_database()?;
    let peer_store = KeyStore::new(&peer_database);
    let package = make_key_package(
        &peer_store,
        peer,
        Suite::Hybrid,
        KeyPackageUse::OneTime,
        now_ms,
    )
    .map_err(BenchError::crypto("making a key package"))?;
    let store = KeyStore::new(database);
    let conversation = ConversationId::from_bytes(rand::random());
    let names = (
        creator.certificate().username(),
        peer.certificate().username(),
    );
    let policy = Policy::pair(names.0.clone(), names.1.clone())
        .map_err(BenchError::crypto("making a policy"))?;
    let address = Address {
        conversation,
        generation: 0,
    };
    let mls = BenchError::crypto::<sotto_crypto::GroupError>;
    let mut group = Group::create(&store, creator, address, &policy, Suite::Hybrid, now_ms)
        .map_err(mls("making a group"))?;
    let group_info = group
        .group_info(&store, creator)
        .map_err(mls("exporting a group"))?;
    let client_id = ClientMessageId::from_bytes(rand::random());
    let pending = group
        .stage_add(&store, creator, &client_id, &[package.bytes], None, now_ms)
        .map_err(mls("adding the peer"))?;
    group
        .merge_pending(&store, &pending.commit, now_ms)
        .map_err(mls("merging the first commit"))?;
    let welcome = Welcome {
        device_id: peer.certificate().device_id().to_vec(),
        welcome: pending.welcome.unwrap_or_default(),
        note: Vec::new(),
    };
    let create = CreateConversation {
        conversation_id: conversation.to_vec(),
        generation: 0,
        group_info,
        commit: pending.commit,
        next_group_info: pending.group_info,
        welcomes: vec![welcome],
        client_id: client_id.to_vec(),
    };
    Ok((create, group))
}

/// The size of a short message, sealed.
///
/// # Errors
/// When the MLS library refuses.
pub(crate) fn sealed_bytes() -> Result<usize, BenchError> {
    let deployment = DeploymentId::from_bytes([0; 16]);
    let creator = make_device(deployment, 1)?;
    let peer = make_device(deployment, 2)?;
    let database = key_database()?;
    let (_, mut group) = found(&database, &creator, &peer)?;
    let client_id = ClientMessageId::from_bytes(rand::random());
    let content = short_message(1);
    let sealed = group
        .seal(&KeyStore::new(&database), &creator, &client_id, &content)
        .map_err(BenchError::crypto("sealing"))?;
    Ok(sealed.len())
}

/// A short message, as people write them.
pub(crate) fn short_message(sender_counter: u64) -> Content {
    Content {
        sender_counter,
        highest_seq_seen: sender_counter,
        last_commit_hash: Some([7; 32]),
        sent_at_ms: unix_ms(),
        body: Body::text(SHORT_TEXT),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_message_has_a_stable_size() {
        let sizes = [sealed_bytes().unwrap(), sealed_bytes().unwrap()];
        assert_eq!(sizes[0], sizes[1]);
        assert!(sizes[0] > SHORT_TEXT.len() && sizes[0] < 1_024);
    }
}
