//! The door against a small reference model, and the attacks that it is for.

mod attacks;
mod model;
mod origin;
mod rooms;

use std::collections::BTreeMap;
use std::sync::OnceLock;

use ed25519_dalek::{Signer as _, SigningKey};
use sotto_protocol::{ConversationId, DeploymentId, DeviceId, Username};

use super::{
    AddedLeaf, Change, Committer, Denied, Freshness, LIFETIME_LEFT_S_MIN, LIFETIME_S_MAX, Lifetime,
    PAIR_LEAVES_MAX, Proposer, Removal, SKEW_S, authorize,
};
use crate::certificate::{CertificateFields, DeviceCertificate, signing_input};
use crate::roles::{Policy, Role};
use crate::state::{LeafIndex, Roster};

pub(super) const NOW_MS: u64 = 1_800_000_000_000;
pub(super) const NAMES: usize = 4;
pub(super) const IDENTITIES: usize = 2;
pub(super) const DEVICES: usize = 3;

/// A device by numbers: account, which identity of the account, which device.
pub(super) type Tag = (usize, usize, usize);

pub(super) fn name(number: usize) -> Username {
    Username::parse(["alice", "bob", "carol", "dave"][number]).unwrap()
}

fn make(tag: Tag) -> DeviceCertificate {
    let (account, identity, device) = tag;
    let byte = |number: usize| u8::try_from(number).unwrap();
    let identity_key = SigningKey::from_bytes(&[byte(account * IDENTITIES + identity + 1); 32]);
    let key_number = byte(100 + (account * IDENTITIES + identity) * DEVICES + device);
    let fields = CertificateFields {
        deployment: DeploymentId::from_bytes([1; 16]),
        username: name(account),
        device: DeviceId::from_bytes([byte(account * DEVICES + device); 16]),
        device_key: SigningKey::from_bytes(&[key_number; 32])
            .verifying_key()
            .to_bytes(),
        identity_key: identity_key.verifying_key().to_bytes(),
        issued_at_ms: 5,
    };
    let signature = identity_key
        .sign(&signing_input(&fields.to_tbs()))
        .to_bytes();
    DeviceCertificate::assemble(&fields, signature).unwrap()
}

pub(super) fn certificate(tag: Tag) -> DeviceCertificate {
    static ALL: OnceLock<BTreeMap<Tag, DeviceCertificate>> = OnceLock::new();
    let all = ALL.get_or_init(|| {
        (0..NAMES)
            .flat_map(|account| (0..IDENTITIES).map(move |identity| (account, identity)))
            .flat_map(|(account, identity)| {
                (0..DEVICES).map(move |device| (account, identity, device))
            })
            .map(|tag| (tag, make(tag)))
            .collect()
    });
    all[&tag].clone()
}

pub(super) fn roster(policy: Policy, tags: &[Tag]) -> Roster {
    let leaves = tags
        .iter()
        .enumerate()
        .map(|(index, tag)| (LeafIndex(u32::try_from(index).unwrap()), certificate(*tag)));
    Roster {
        conversation: ConversationId::from_bytes([2; 16]),
        generation: 0,
        epoch: 3,
        policy,
        leaves: leaves.collect(),
    }
}

pub(super) fn pair_policy() -> Policy {
    Policy::pair(name(0), name(1)).unwrap()
}

pub(super) fn group_policy(roles: &[(usize, Role)]) -> Policy {
    Policy::group(
        roles
            .iter()
            .map(|(account, role)| (name(*account), *role))
            .collect(),
    )
    .unwrap()
}

/// A commit by a member that changes nothing but its own keys.
pub(super) fn commit_by(roster: &Roster, leaf: u32) -> Change {
    let leaf = LeafIndex(leaf);
    Change {
        committer: Committer::Member(leaf),
        adds: Vec::new(),
        removes: Vec::new(),
        updates: Vec::new(),
        path_leaf: roster.leaves.get(&leaf).cloned(),
        policy: None,
        other_proposals: 0,
        freshness: Freshness::Live { now_ms: NOW_MS },
    }
}

pub(super) fn days_from_now(from: i64, to: i64) -> Lifetime {
    let second = |days: i64| {
        u64::try_from(i64::try_from(NOW_MS / 1000).unwrap() + days * 24 * 3600).unwrap()
    };
    Lifetime {
        not_before_s: second(from),
        not_after_s: second(to),
    }
}

pub(super) fn add(tag: Tag) -> AddedLeaf {
    AddedLeaf {
        certificate: certificate(tag),
        lifetime: days_from_now(-1, 30),
    }
}

pub(super) fn removal(leaf: u32) -> Removal {
    Removal {
        leaf: LeafIndex(leaf),
        proposer: Proposer::Committer,
    }
}

#[test]
fn durations_are_what_the_documents_say() {
    let durations = [SKEW_S, LIFETIME_S_MAX, LIFETIME_LEFT_S_MIN];
    assert_eq!(durations, [86_400, 7_776_000, 1_296_000]);
}

#[test]
fn a_pair_has_as_many_leaves_as_it_may_and_no_more() {
    let mut roster = roster(pair_policy(), &[(1, 0, 0)]);
    let device = |number: usize| make((0, 0, 10 + number));
    for number in 1..PAIR_LEAVES_MAX - 1 {
        let leaf = LeafIndex(u32::try_from(number).unwrap());
        roster.leaves.insert(leaf, device(number));
    }
    let mut change = commit_by(&roster, 1);
    let lifetime = days_from_now(-1, 30);
    let added = |number| AddedLeaf {
        certificate: device(number),
        lifetime,
    };
    change.adds = vec![added(PAIR_LEAVES_MAX)];
    assert!(authorize(&roster, &change).is_ok());
    change.adds.push(added(PAIR_LEAVES_MAX + 1));
    let refused = Some(Denied::TooManyLeaves);
    assert_eq!(authorize(&roster, &change).err(), refused);
}
