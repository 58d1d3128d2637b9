//! Members and strangers who use the MLS library without our rules. Servers
//! and honest members refuse what they make, and stay where they were.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test stops where it fails"
)]

mod common;

use std::collections::BTreeMap;

use common::{ADDRESS, Account, DEPLOYMENT, Device, Server, id, name, now_ms, pair, text_of};
use ed25519_dalek::{Signer as _, SigningKey};
use openmls::prelude::{
    CommitMessageBundle, CredentialWithKey, Extension, Extensions, KeyPackage, LeafNodeIndex,
    LeafNodeParameters, Lifetime, MlsGroup, MlsMessageBodyIn, MlsMessageIn, MlsMessageOut,
    ProtocolVersion, RequiredCapabilitiesExtension, SignatureScheme, tls_codec::Deserialize as _,
};
use openmls_traits::OpenMlsProvider as _;
use openmls_traits::signatures::{Signer, SignerError};
use sotto_crypto::{Address, Group, KeyPackageUse, KeyStore, OpenError, PendingCommit, Suite};
use sotto_protocol::DeviceId;
use sotto_protocol::wire::EnvelopeKind;
use sotto_roster::public_group::{commit_aad, profile};
use sotto_roster::{
    CommitError, Denied, DeviceCertificate, GroupRules, Policy, PublicConversation, Role, Rules,
    authorize_rebuild, inspect_key_package,
};

struct RawSigner(SigningKey);

impl RawSigner {
    fn of(device: &Device) -> Self {
        Self(SigningKey::from_bytes(device.me.key().to_secret().expose()))
    }
}

impl Signer for RawSigner {
    fn sign(&self, payload: &[u8]) -> Result<Vec<u8>, SignerError> {
        Ok(self.0.sign(payload).to_bytes().to_vec())
    }

    fn signature_scheme(&self) -> SignatureScheme {
        SignatureScheme::ED25519
    }
}

/// What an attacker commits.
#[derive(Default)]
struct Attack {
    relabel: Option<DeviceCertificate>,
    adds: Vec<KeyPackage>,
    removes: Vec<u32>,
    extensions: Option<Extensions<openmls::group::GroupContext>>,
}

/// Commits with the bare library, over a copy of the device's state.
fn raw_commit(device: &Device, client_id: u8, attack: Attack) -> PendingCommit {
    let store = device.store();
    let group_id = profile::group_id(&ADDRESS.conversation, ADDRESS.generation);
    let mut group = MlsGroup::load(store.storage(), &group_id).unwrap().unwrap();
    group.set_aad(commit_aad(&ADDRESS.conversation, &id(client_id)));
    let mut leaf = LeafNodeParameters::builder();
    if let Some(certificate) = attack.relabel {
        leaf = leaf.with_credential_with_key(CredentialWithKey {
            credential: profile::credential(&certificate),
            signature_key: device.me.certificate().device_key().as_slice().into(),
        });
    }
    let mut builder = group
        .commit_builder()
        .force_self_update(true)
        .leaf_node_parameters(leaf.build())
        .propose_adds(attack.adds)
        .propose_removals(attack.removes.into_iter().map(LeafNodeIndex::new));
    if let Some(extensions) = attack.extensions {
        builder = builder
            .propose_group_context_extensions(extensions)
            .unwrap();
    }
    let bundle = builder
        .load_psks(store.storage())
        .unwrap()
        .use_ratchet_tree_extension(true)
        .build(store.rand(), store.crypto(), &RawSigner::of(device), |_| {
            true
        })
        .unwrap()
        .stage_commit(&store)
        .unwrap();
    // The attacker's own store forgets it again, so that tests can go on.
    group.clear_pending_commit(store.storage()).unwrap();
    encoded(bundle)
}

fn encoded(bundle: CommitMessageBundle) -> PendingCommit {
    let (commit, welcome, group_info) = bundle.into_messages();
    let bytes = |message: MlsMessageOut| message.to_bytes().unwrap();
    PendingCommit {
        welcomes: Vec::new(),
        commit: bytes(commit),
        welcome: welcome.map(bytes),
        group_info: bytes(group_info.unwrap()),
        added: Vec::new(),
        epoch_after: 0,
    }
}

fn raw_package(device: &Device, bytes: &[u8]) -> KeyPackage {
    let MlsMessageBodyIn::KeyPackage(package) = MlsMessageIn::tls_deserialize_exact(bytes)
        .unwrap()
        .extract()
    else {
        panic!("a key package");
    };
    package
        .validate(device.store().crypto(), ProtocolVersion::Mls10)
        .unwrap()
}

fn refused_by_all(
    server: &mut Server,
    honest: &Device,
    group: &mut Group,
    client_id: u8,
    attack: &PendingCommit,
) -> OpenError {
    let before = (group.epoch(), group.authenticator(), group.roster().clone());
    assert!(server.apply(client_id, attack).is_err());
    let error = honest
        .open(group, EnvelopeKind::Commit, client_id, &attack.commit)
        .unwrap_err();
    assert_eq!(
        (group.epoch(), group.authenticator(), group.roster().clone()),
        before
    );
    let reloaded = honest.group();
    assert_eq!(reloaded.authenticator(), before.1);
    assert_eq!(server.0.epoch(), before.0);
    error
}

#[test]
fn a_leaf_that_takes_another_name_is_refused() {
    let mut it = pair(Suite::Classical);
    let key = *it.bob.me.certificate().device_key();
    let forged = Account::new("alice");
    let certificates = [
        // Alice's own certificate, which names another key.
        it.alice.me.certificate().clone(),
        // A certificate for Bob's key that says "alice", under a made-up identity.
        forged
            .identity
            .certify(
                DEPLOYMENT,
                &name("alice"),
                DeviceId::from_bytes([7; 16]),
                key,
                1,
            )
            .unwrap(),
        // Bob's own new certificate for the same key.
        it.bob_account
            .identity
            .certify(
                DEPLOYMENT,
                &name("bob"),
                DeviceId::from_bytes([8; 16]),
                key,
                2,
            )
            .unwrap(),
    ];
    for certificate in certificates {
        let attack = raw_commit(
            &it.bob,
            2,
            Attack {
                relabel: Some(certificate),
                ..Attack::default()
            },
        );
        refused_by_all(&mut it.server, &it.alice, &mut it.at_alice, 2, &attack);
    }
}

#[test]
fn a_standing_proposal_is_refused_before_it_can_block_anybody() {
    let mut it = pair(Suite::Classical);
    let store = it.bob.store();
    let group_id = profile::group_id(&ADDRESS.conversation, 0);
    let mut group = MlsGroup::load(store.storage(), &group_id).unwrap().unwrap();
    let (proposal, _) = group
        .propose_self_update(
            &store,
            &RawSigner::of(&it.bob),
            LeafNodeParameters::default(),
        )
        .unwrap();
    let bytes = proposal.to_bytes().unwrap();
    for kind in [EnvelopeKind::Commit, EnvelopeKind::Application] {
        let refused = it.alice.open(&mut it.at_alice, kind, 2, &bytes);
        assert!(matches!(refused, Err(OpenError::Malformed)));
    }
    let info = it
        .at_alice
        .group_info(&it.alice.store(), &it.alice.me)
        .unwrap();
    let refused = it.server.0.apply_commit(&bytes, &info, &id(2), now_ms());
    assert!(refused.is_err());
    let hello = it.alice.say(&mut it.at_alice, 3, "not blocked");
    assert_eq!(
        text_of(&it.bob.hear(&mut it.at_bob, 3, &hello)),
        "not blocked"
    );
}

#[test]
fn a_ghost_in_a_conversation_of_two_is_refused() {
    let mut it = pair(Suite::Classical);
    let ghost = Account::new("mallory").device(1);
    let package = raw_package(&it.bob, &ghost.package());
    let attack = raw_commit(
        &it.bob,
        2,
        Attack {
            adds: vec![package],
            ..Attack::default()
        },
    );
    let error = refused_by_all(&mut it.server, &it.alice, &mut it.at_alice, 2, &attack);
    let OpenError::Denied { reason, offender } = error else {
        panic!("{error}")
    };
    assert_eq!(reason, Denied::NotInPolicy);
    assert_eq!(offender.as_deref(), Some(it.bob.me.certificate()));
    // The ghost joins what it was sent, and can open nothing that Alice says afterwards.
    let mut at_ghost = match Group::join(
        &ghost.store(),
        &ghost.me,
        ADDRESS,
        attack.welcome.as_ref().unwrap(),
    ) {
        Ok((group, _)) => group,
        Err(_) => return, // our own client does not even enter such a group
    };
    for number in 0..100 {
        let sealed = it.alice.say(&mut it.at_alice, number, "secret");
        assert!(
            ghost
                .open(&mut at_ghost, EnvelopeKind::Application, number, &sealed)
                .is_err()
        );
    }
}

/// Alice owns a group in which Bob is a member.
fn group_of_two() -> (Device, Device, Group, Group, Server) {
    let alice = Account::new("alice").device(1);
    let bob = Account::new("bob").device(1);
    let first = Policy::group(BTreeMap::from([(name("alice"), Role::Owner)])).unwrap();
    let mut at_alice = alice.create(&first, Suite::Classical);
    let mut server = Server::new(&at_alice.group_info(&alice.store(), &alice.me).unwrap());
    let roles = BTreeMap::from([(name("alice"), Role::Owner), (name("bob"), Role::Member)]);
    let policy = first.next(Rules::Group(GroupRules::closed(roles))).unwrap();
    let commit = at_alice
        .stage_add(
            &alice.store(),
            &alice.me,
            &id(1),
            &[bob.package()],
            Some(&policy),
            now_ms(),
        )
        .unwrap();
    server.apply(1, &commit).unwrap();
    alice.merge(&mut at_alice, &commit);
    let at_bob = bob.join(commit.welcome.as_ref().unwrap());
    assert_eq!(at_bob.roster().policy, policy);
    (alice, bob, at_alice, at_bob, server)
}

#[test]
fn a_member_cannot_add_remove_or_promote_in_a_group() {
    let (alice, bob, mut at_alice, _, mut server) = group_of_two();
    let mallory = Account::new("mallory").device(1);
    let package = raw_package(&bob, &mallory.package());
    let policy = at_alice.roster().policy.clone();
    let with = |roles: &[(&str, Role)]| {
        let roles = roles.iter().map(|(who, role)| (name(who), *role)).collect();
        let rules = Rules::Group(GroupRules::closed(roles));
        profile::context_extensions(&policy.next(rules).unwrap()).unwrap()
    };
    let attacks = [
        (
            Attack {
                adds: vec![package.clone()],
                ..Attack::default()
            },
            Denied::RoleTooLow,
        ),
        (
            Attack {
                adds: vec![package],
                extensions: Some(with(&[
                    ("alice", Role::Owner),
                    ("bob", Role::Member),
                    ("mallory", Role::Member),
                ])),
                ..Attack::default()
            },
            Denied::RoleTooLow,
        ),
        (
            Attack {
                removes: vec![0],
                ..Attack::default()
            },
            Denied::RoleTooLow,
        ),
        (
            Attack {
                extensions: Some(with(&[("alice", Role::Owner), ("bob", Role::Owner)])),
                ..Attack::default()
            },
            Denied::RoleTooLow,
        ),
    ];
    for (number, (attack, expected)) in (2_u8..).zip(attacks) {
        let attack = raw_commit(&bob, number, attack);
        assert!(server.apply(number, &attack).is_err());
        let error = alice
            .open(&mut at_alice, EnvelopeKind::Commit, number, &attack.commit)
            .unwrap_err();
        assert!(
            matches!(&error, OpenError::Denied { reason, .. } if *reason == expected),
            "{number} {error}"
        );
        assert_eq!(at_alice.epoch(), 1);
    }
}

#[test]
fn settings_that_never_change_are_not_changed() {
    let (alice, bob, mut at_alice, _, mut server) = group_of_two();
    // An owner, too, may state nothing but the policy and what members must support.
    let policy = Extension::Unknown(
        profile::POLICY_EXTENSION_TYPE,
        openmls::prelude::UnknownExtension(at_alice.roster().policy.encode()),
    );
    let required = RequiredCapabilitiesExtension::new(
        &[openmls::prelude::ExtensionType::Unknown(
            profile::POLICY_EXTENSION_TYPE,
        )],
        &[],
        &[],
    );
    let fewer = Extensions::from_vec(vec![
        policy.clone(),
        Extension::RequiredCapabilities(required.clone()),
    ])
    .unwrap();
    // Somebody outside who may propose: the door that nobody must open.
    let outsider = openmls::prelude::ExternalSender::new(
        bob.me.certificate().device_key().as_slice().into(),
        profile::credential(bob.me.certificate()),
    );
    let other = Extensions::from_vec(vec![
        policy,
        Extension::RequiredCapabilities(required),
        Extension::ExternalSenders(vec![outsider]),
    ])
    .unwrap();
    for (number, extensions) in [(2, fewer), (3, other)] {
        let attack = raw_commit(
            &bob,
            number,
            Attack {
                extensions: Some(extensions),
                ..Attack::default()
            },
        );
        assert_eq!(
            server.apply(number, &attack).err(),
            Some(CommitError::Denied(Denied::UnknownProposal))
        );
        let error = alice
            .open(&mut at_alice, EnvelopeKind::Commit, number, &attack.commit)
            .unwrap_err();
        assert!(matches!(
            error,
            OpenError::Denied {
                reason: Denied::UnknownProposal,
                ..
            }
        ));
    }
}

#[test]
fn a_poisoned_group_is_rebuilt_and_goes_on() {
    let mut it = pair(Suite::Hybrid);
    // The membership tag is what a server cannot check: it lets the commit
    // pass, and no member can follow.
    let mut poison = raw_commit(&it.bob, 2, Attack::default());
    *poison.commit.last_mut().unwrap() ^= 1;
    it.server.apply(2, &poison).unwrap();
    assert!(
        it.alice
            .open(&mut it.at_alice, EnvelopeKind::Commit, 2, &poison.commit)
            .is_err()
    );

    let address = Address {
        generation: 1,
        ..ADDRESS
    };
    let old = it.at_alice.roster().clone();
    let store = it.alice.store();
    let mut rebuilt = Group::create(
        &store,
        &it.alice.me,
        address,
        &old.policy_of_new_generation(),
        Suite::Hybrid,
        now_ms(),
    )
    .unwrap();
    let info = rebuilt.group_info(&store, &it.alice.me).unwrap();
    let mut server =
        PublicConversation::create(&info, &DEPLOYMENT, &ADDRESS.conversation, 1).unwrap();
    let package = it.bob.key_package(Suite::Hybrid, KeyPackageUse::OneTime);
    let commit = rebuilt
        .stage_add(&store, &it.alice.me, &id(3), &[package], None, now_ms())
        .unwrap();
    let applied = server
        .apply_commit(&commit.commit, &commit.group_info, &id(3), now_ms())
        .unwrap();
    authorize_rebuild(&old, &applied.after, &applied.committer, &BTreeMap::new()).unwrap();
    it.alice.merge(&mut rebuilt, &commit);
    let (mut at_bob, summary) = Group::join(
        &it.bob.store(),
        &it.bob.me,
        address,
        commit.welcome.as_ref().unwrap(),
    )
    .unwrap();
    authorize_rebuild(
        it.at_bob.roster(),
        &summary.roster,
        &summary.inviter,
        &BTreeMap::new(),
    )
    .unwrap();
    it.at_bob.delete(&it.bob.store()).unwrap();
    let hello = it.alice.say(&mut rebuilt, 4, "on we go");
    assert_eq!(text_of(&it.bob.hear(&mut at_bob, 4, &hello)), "on we go");
    // Messages of the generation before are for another group.
    let old_hello = it.alice.say(&mut it.at_alice, 5, "old");
    let refused = it
        .bob
        .open(&mut at_bob, EnvelopeKind::Application, 5, &old_hello);
    assert!(matches!(refused, Err(OpenError::Misplaced)));
}

/// A pair's first policy serves every generation.
trait NewGeneration {
    fn policy_of_new_generation(&self) -> Policy;
}

impl NewGeneration for sotto_roster::Roster {
    fn policy_of_new_generation(&self) -> Policy {
        match self.policy.rules() {
            Rules::Pair { first, second } => Policy::pair(first.clone(), second.clone()).unwrap(),
            Rules::Group(_) => self.policy.clone(),
        }
    }
}

#[test]
fn a_key_package_of_absurd_life_or_under_a_borrowed_name_is_refused() {
    let attacker = Account::new("mallory").device(1);
    let victim = Account::new("alice").device(1);
    let make = |certificate: &DeviceCertificate, years: u64| {
        let now_s = now_ms() / 1000;
        let store: KeyStore<'_> = attacker.store();
        let bundle = KeyPackage::builder()
            .leaf_node_capabilities(profile::capabilities())
            .key_package_lifetime(Lifetime::init(
                now_s - 60,
                now_s + years * 365 * 24 * 3600 + 30 * 24 * 3600,
            ))
            .build(
                openmls::prelude::Ciphersuite::MLS_128_DHKEMX25519_CHACHA20POLY1305_SHA256_Ed25519,
                &store,
                &RawSigner::of(&attacker),
                CredentialWithKey {
                    credential: profile::credential(certificate),
                    signature_key: attacker.me.certificate().device_key().as_slice().into(),
                },
            )
            .unwrap();
        MlsMessageOut::from(bundle.into_key_package())
            .to_bytes()
            .unwrap()
    };
    let own = attacker.me.certificate();
    assert!(inspect_key_package(&make(own, 0), &DEPLOYMENT, now_ms()).is_ok());
    assert!(inspect_key_package(&make(own, 10), &DEPLOYMENT, now_ms()).is_err());
    assert!(inspect_key_package(&make(own, 100), &DEPLOYMENT, now_ms()).is_err());
    assert!(inspect_key_package(&make(victim.me.certificate(), 0), &DEPLOYMENT, now_ms()).is_err());
    let later = now_ms() + 91 * 24 * 3600 * 1000;
    assert!(inspect_key_package(&make(own, 0), &DEPLOYMENT, later).is_err());
}

/// MLS's SignWithLabel.
fn sign_with_label(key: &SigningKey, label: &str, content: &[u8]) -> Vec<u8> {
    let label = format!("MLS 1.0 {label}");
    let length = u16::try_from(content.len()).unwrap() | 0x4000;
    let mut input = vec![u8::try_from(label.len()).unwrap()];
    input.extend_from_slice(label.as_bytes());
    input.extend_from_slice(&length.to_be_bytes());
    input.extend_from_slice(content);
    key.sign(&input).to_bytes().to_vec()
}

/// Puts keys into a key package message and signs it afresh, as its owner could.
fn with_keys(
    package: &[u8],
    key: &SigningKey,
    init: Option<&[u8; 32]>,
    leaf: Option<&[u8; 32]>,
) -> Vec<u8> {
    // Message header 4, version 2, suite 2, then the init key and the leaf's key, each with a length byte.
    let mut bytes = package.to_vec();
    let end = bytes.len() - 66;
    if let Some(init) = init {
        bytes[9..41].copy_from_slice(init);
    }
    if let Some(leaf) = leaf {
        bytes[42..74].copy_from_slice(leaf);
        // The leaf ends with its signature, one byte (no extensions) before the package's.
        let leaf_end = end - 1 - 64;
        let signature = sign_with_label(key, "LeafNodeTBS", &bytes[41..leaf_end - 2]);
        bytes[leaf_end..end - 1].copy_from_slice(&signature);
    }
    let signature = sign_with_label(key, "KeyPackageTBS", &bytes[4..end]);
    bytes[end + 2..].copy_from_slice(&signature);
    bytes
}

#[test]
fn keys_of_low_order_are_refused_wherever_they_stand() {
    let mut it = pair(Suite::Classical);
    let phone = it.alice_account.device(2);
    let key = SigningKey::from_bytes(phone.me.key().to_secret().expose());
    let package = phone.package();
    // The forger's tools work: an honest key signed this way is accepted.
    let sound =
        x25519_dalek::PublicKey::from(&x25519_dalek::StaticSecret::from([3; 32])).to_bytes();
    let resigned = with_keys(&package, &key, Some(&sound), None);
    assert!(inspect_key_package(&resigned, &DEPLOYMENT, now_ms()).is_ok());
    let resigned = with_keys(&package, &key, None, Some(&sound));
    assert!(inspect_key_package(&resigned, &DEPLOYMENT, now_ms()).is_ok());
    let low_order = [
        "0000000000000000000000000000000000000000000000000000000000000000",
        "0100000000000000000000000000000000000000000000000000000000000000",
        "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
        "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    ];
    for text in low_order {
        for top_bit in [0, 0x80] {
            let mut point = [0; 32];
            for (place, byte) in point.iter_mut().enumerate() {
                *byte = u8::from_str_radix(&text[place * 2..place * 2 + 2], 16).unwrap();
            }
            point[31] |= top_bit;
            for (init, leaf) in [(Some(&point), None), (None, Some(&point))] {
                let bad = with_keys(&package, &key, init, leaf);
                assert!(inspect_key_package(&bad, &DEPLOYMENT, now_ms()).is_err());
                let added = it.at_alice.stage_add(
                    &it.alice.store(),
                    &it.alice.me,
                    &id(2),
                    &[bad],
                    None,
                    now_ms(),
                );
                assert!(added.is_err());
            }
        }
    }
}
