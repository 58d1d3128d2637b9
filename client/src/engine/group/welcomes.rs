//! How people are brought in: how many by one commit, and what each of their
//! devices is given beside it. It decides nothing about who may come.

use std::collections::BTreeMap;

use sotto_crypto::{About, Group, GroupError, KeyStore, LocalDevice, PendingCommit};
use sotto_protocol::{Username, wire};
use sotto_roster::TREE_INSIDE_LEAVES_MAX;

/// Devices that one commit adds at most.
const BATCH_DEVICES_MAX: usize = 64;
/// Bytes that the welcomes of one commit may take together.
const BATCH_BYTES_MAX: usize = 600_000;
/// What a welcome holds for one device whatever the group, roughly, in bytes.
const WELCOME_BYTES: usize = 5_000;
/// What an account adds to the policy in each welcome, roughly, in bytes.
const ACCOUNT_BYTES: usize = 32;
/// What a device adds to a tree with the hybrid suite, roughly, in bytes.
const LEAF_BYTES: usize = 4_000;

/// As many people as one request can welcome; at least one.
pub(super) fn batch(
    names: &[&Username],
    claimed: &BTreeMap<Username, Vec<Vec<u8>>>,
    leaves: usize,
) -> Vec<Username> {
    let mut devices = 0;
    let mut chosen = Vec::new();
    for name in names {
        let more = claimed.get(*name).map_or(0, Vec::len);
        let all = devices + more;
        let leaves_after = leaves + all;
        let tree_bytes = match leaves_after <= TREE_INSIDE_LEAVES_MAX {
            true => leaves_after * LEAF_BYTES,
            false => 0,
        };
        let bytes = all * (WELCOME_BYTES + leaves_after * ACCOUNT_BYTES + tree_bytes);
        let full = all > BATCH_DEVICES_MAX || bytes > BATCH_BYTES_MAX;
        if full && !chosen.is_empty() {
            break;
        }
        devices = all;
        chosen.push((*name).clone());
    }
    chosen
}

/// What those learn of a group whom a staged commit brings in, sealed for them.
pub(super) fn invitation_note(
    group: &Group,
    store: &KeyStore<'_>,
    me: &LocalDevice,
    (staged, about): (&PendingCommit, &About),
) -> Result<Vec<u8>, GroupError> {
    match staged.added.is_empty() || about.title.is_empty() {
        true => Ok(Vec::new()),
        false => group.seal_invitation(store, me, about),
    }
}

/// A commit for each of the devices that it adds, with its own welcome.
pub(super) fn welcomes(staged: &PendingCommit, note: &[u8]) -> Vec<wire::Welcome> {
    let of = |(certificate, welcome): (&sotto_roster::DeviceCertificate, &Vec<u8>)| wire::Welcome {
        device_id: certificate.device_id().to_vec(),
        welcome: welcome.clone(),
        note: note.to_vec(),
    };
    staged.added.iter().zip(&staged.welcomes).map(of).collect()
}
