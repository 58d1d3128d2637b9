//! Large groups, whose ratchet tree travels apart from commits and welcomes: what servers accept,
//! and that a newcomer gets in by the tree that a server kept.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test stops where it fails"
)]

mod common;

use std::collections::BTreeMap;

use common::{ADDRESS, Account, Device, Server, id, name, now_ms};
use ed25519_dalek::{Signer as _, SigningKey};
use openmls::prelude::{
    KeyPackage, MlsGroup, MlsGroupJoinConfig, MlsMessageBodyIn, MlsMessageIn, MlsMessageOut,
    ProtocolVersion, RatchetTreeIn, SignatureScheme, StagedWelcome, tls_codec::Deserialize as _,
};
use openmls_traits::OpenMlsProvider as _;
use openmls_traits::signatures::{Signer, SignerError};
use sotto_crypto::Suite;
use sotto_protocol::limits::HANDSHAKE_BYTES_MAX;
use sotto_roster::public_group::{commit_aad, profile};
use sotto_roster::{
    CommitError, GroupRules, Policy, Role, Rules, TREE_INSIDE_LEAVES_MAX, holds_tree,
};

struct RawSigner(SigningKey);

impl Signer for RawSigner {
    fn sign(&self, payload: &[u8]) -> Result<Vec<u8>, SignerError> {
        Ok(self.0.sign(payload).to_bytes().to_vec())
    }

    fn signature_scheme(&self) -> SignatureScheme {
        SignatureScheme::ED25519
    }
}

/// The messages of a commit.
struct Made {
    commit: Vec<u8>,
    group_info: Vec<u8>,
    welcome: Vec<u8>,
}

/// A group that grows by commits whose group infos hold the tree or not.
struct Growing {
    alice: Device,
    server: Server,
    policy: Policy,
    people: usize,
}

fn account(number: usize) -> Account {
    let letter = |number: usize| char::from(b"abcdefghijklmnopqrstuvwxyz0123456789"[number % 36]);
    Account::new(&format!("{}{}x", letter(number / 36), letter(number)))
}

impl Growing {
    fn new() -> Self {
        let alice = Account::new("9z-alice").device(1);
        let owner = BTreeMap::from([(name("9z-alice"), Role::Owner)]);
        let policy = Policy::group(owner).unwrap();
        let group = alice.create(&policy, Suite::Classical);
        let server = Server::new(&group.group_info(&alice.store(), &alice.me).unwrap());
        Self {
            alice,
            server,
            policy,
            people: 0,
        }
    }

    fn group(&self) -> MlsGroup {
        let group_id = profile::group_id(&ADDRESS.conversation, ADDRESS.generation);
        let group = MlsGroup::load(self.alice.store().storage(), &group_id);
        group.unwrap().unwrap()
    }

    /// Stages a commit that adds so many people, the tree inside or apart.
    fn stage(&mut self, count: usize, inside: Inside) -> (Made, Vec<Device>, Policy) {
        let newcomers: Vec<_> = (0..count).map(|n| account(self.people + n)).collect();
        let devices: Vec<_> = newcomers.iter().map(|person| person.device(1)).collect();
        let packages: Vec<_> = devices.iter().map(package).collect();
        let mut roles = self.policy.group_rules().unwrap().roles.clone();
        roles.extend(newcomers.iter().map(|n| (n.username.clone(), Role::Member)));
        let rules = Rules::Group(GroupRules::closed(roles));
        let policy = self.policy.next(rules).unwrap();
        let store = self.alice.store();
        let mut group = self.group();
        group.set_aad(commit_aad(&ADDRESS.conversation, &id(1)));
        let signer = RawSigner(SigningKey::from_bytes(
            self.alice.me.key().to_secret().expose(),
        ));
        let bundle = group
            .commit_builder()
            .force_self_update(true)
            .propose_adds(packages)
            .propose_group_context_extensions(profile::context_extensions(&policy).unwrap())
            .unwrap()
            .load_psks(store.storage())
            .unwrap()
            .create_group_info(true)
            .use_ratchet_tree_extension(inside == Inside::Yes)
            .build(store.rand(), store.crypto(), &signer, |_| true)
            .unwrap()
            .stage_commit(&store)
            .unwrap();
        let (commit, welcome, group_info) = bundle.into_messages();
        let bytes = |message: MlsMessageOut| message.to_bytes().unwrap();
        let made = Made {
            commit: bytes(commit),
            group_info: bytes(group_info.unwrap()),
            welcome: bytes(welcome.unwrap()),
        };
        (made, devices, policy)
    }

    fn apply(&mut self, made: &Made) -> Result<(), CommitError> {
        self.server
            .0
            .apply_commit(&made.commit, &made.group_info, &id(1), now_ms())
            .map(drop)
    }

    /// Takes a staged commit over.
    fn merge(&mut self, count: usize, policy: Policy) {
        self.group()
            .merge_pending_commit(&self.alice.store())
            .unwrap();
        self.policy = policy;
        self.people += count;
    }

    fn discard(&mut self) {
        let store = self.alice.store();
        self.group().clear_pending_commit(store.storage()).unwrap();
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Inside {
    Yes,
    No,
}

fn package(device: &Device) -> KeyPackage {
    let message = MlsMessageIn::tls_deserialize_exact(device.package()).unwrap();
    let MlsMessageBodyIn::KeyPackage(package) = message.extract() else {
        panic!("a key package");
    };
    package
        .validate(device.store().crypto(), ProtocolVersion::Mls10)
        .unwrap()
}

#[test]
fn a_tree_may_stay_out_of_large_groups_only() {
    let mut growing = Growing::new();
    let (small, _, _) = growing.stage(3, Inside::No);
    assert!(!holds_tree(&small.group_info));
    let refused = growing.apply(&small);
    assert_eq!(refused.err(), Some(CommitError::GroupInfoMismatch));
    growing.discard();
    let (large, devices, policy) = growing.stage(TREE_INSIDE_LEAVES_MAX, Inside::No);
    growing.apply(&large).unwrap();
    growing.server.reload();
    growing.merge(TREE_INSIDE_LEAVES_MAX, policy);
    // A newcomer comes in by the tree that the server has, and none without it.
    let newcomer = devices.last().unwrap();
    let store = newcomer.store();
    let config = MlsGroupJoinConfig::builder().build();
    let welcome = || {
        let message = MlsMessageIn::tls_deserialize_exact(&large.welcome).unwrap();
        match message.extract() {
            MlsMessageBodyIn::Welcome(welcome) => welcome,
            _ => panic!("a welcome"),
        }
    };
    let tree = growing.server.0.export_tree().unwrap();
    let tree = RatchetTreeIn::tls_deserialize_exact(&tree).unwrap();
    let joined = StagedWelcome::new_from_welcome(&store, &config, welcome(), Some(tree));
    let joined = joined.unwrap().into_group(&store).unwrap();
    let tag = |group: &MlsGroup| group.epoch_authenticator().as_slice().to_vec();
    assert_eq!(tag(&joined), tag(&growing.group()));
    // One that is damaged is found out by its hash.
    let (next, _, _) = growing.stage(1, Inside::Yes);
    assert!(holds_tree(&next.group_info));
    let mut other = next.group_info.clone();
    let place = other.len() / 2;
    other[place] ^= 1;
    let mixed = Made {
        group_info: other,
        ..next
    };
    assert!(growing.apply(&mixed).is_err());
}

/// Figures for the documents: `cargo test -p sotto-crypto --test tree_apart -- --ignored --nocapture`.
#[test]
#[ignore = "prints figures of a group of a thousand; takes a minute"]
#[expect(clippy::disallowed_methods, reason = "a measurement")]
#[expect(clippy::print_stdout, reason = "a measurement")]
fn figures_at_a_thousand_leaves() {
    let mut growing = Growing::new();
    for round in 0..20 {
        let count = if round == 0 { 49 } else { 50 };
        let inside = if round == 0 { Inside::Yes } else { Inside::No };
        let (made, _, policy) = growing.stage(count, inside);
        let began = std::time::Instant::now();
        growing.apply(&made).unwrap();
        let judged = began.elapsed();
        growing.merge(count, policy);
        if round % 5 == 4 {
            let began = std::time::Instant::now();
            growing.server.reload();
            println!(
                "{} leaves: commit {} B, welcome {} B, group info {} B, tree {} B, state {} B, \
                 judged in {judged:?}, state written and read in {:?}",
                growing.people + 1,
                made.commit.len(),
                made.welcome.len(),
                made.group_info.len(),
                growing.server.0.export_tree().unwrap().len(),
                growing.server.0.to_bytes().len(),
                began.elapsed(),
            );
        }
    }
    let (with_tree, _, _) = growing.stage(1, Inside::Yes);
    println!("group info with its tree: {} B", with_tree.group_info.len());
    assert!(growing.server.0.export_tree().unwrap().len() <= 2 * HANDSHAKE_BYTES_MAX);
}
