//! How Sotto uses MLS: suites, the credential and extension types of its own,
//! and what every leaf must support.

use openmls::prelude::{
    Capabilities, Ciphersuite, Credential, CredentialType, Extension, ExtensionType, Extensions,
    GroupContext, GroupId, ProposalType, ProtocolVersion, RequiredCapabilitiesExtension,
    UnknownExtension,
};
use sotto_protocol::ConversationId;

use crate::certificate::DeviceCertificate;
use crate::roles::Policy;

/// Type of a credential that holds a device certificate (private range).
pub const CREDENTIAL_TYPE: u16 = 0xF0C1;
/// Type of the group-context extension that holds the policy (private range).
pub const POLICY_EXTENSION_TYPE: u16 = 0xF0C2;
/// X-Wing (X25519 and ML-KEM-768), AES-256-GCM, SHA-384, Ed25519; a provisional number. The
/// variant with ChaCha20-Poly1305 (0x004D) is named by the MLS library but refused by its provider.
pub const SUITE_HYBRID: u16 = 0x004E;
/// X25519, ChaCha20-Poly1305, SHA-256, Ed25519.
pub const SUITE_CLASSICAL: u16 = 0x0003;

const SUITES: [Ciphersuite; 2] = [
    Ciphersuite::MLS_128_MLKEM768X25519_AES256GCM_SHA384_Ed25519,
    Ciphersuite::MLS_128_DHKEMX25519_CHACHA20POLY1305_SHA256_Ed25519,
];

/// Whether a conversation may use a suite.
#[must_use]
pub fn is_known_suite(suite: Ciphersuite) -> bool {
    SUITES.contains(&suite)
}

/// The MLS group id of a generation: conversation id, then the generation in four bytes, big-endian.
#[must_use]
pub fn group_id(conversation: &ConversationId, generation: u32) -> GroupId {
    GroupId::from_slice(
        &[
            conversation.as_bytes().as_slice(),
            &generation.to_be_bytes(),
        ]
        .concat(),
    )
}

/// Reads an MLS group id.
#[must_use]
pub fn parse_group_id(id: &GroupId) -> Option<(ConversationId, u32)> {
    let (conversation, generation) = id.as_slice().split_at_checked(16)?;
    Some((
        ConversationId::from_slice(conversation).ok()?,
        u32::from_be_bytes(generation.try_into().ok()?),
    ))
}

/// The credential of a device's leaves.
#[must_use]
pub fn credential(certificate: &DeviceCertificate) -> Credential {
    Credential::new(
        CredentialType::Other(CREDENTIAL_TYPE),
        certificate.as_bytes().to_vec(),
    )
}

/// What each leaf says that it supports.
#[must_use]
pub fn capabilities() -> Capabilities {
    Capabilities::builder()
        .versions(vec![ProtocolVersion::Mls10])
        .ciphersuites(SUITES.to_vec())
        .extensions(vec![
            ExtensionType::Unknown(POLICY_EXTENSION_TYPE),
            ExtensionType::LastResort,
        ])
        .proposals(Vec::<ProposalType>::new())
        .credentials(vec![CredentialType::Other(CREDENTIAL_TYPE)])
        .build()
}

/// The group-context extensions of a conversation: what members must support, and the policy.
/// `None` when the library would not have them, which does not happen.
#[must_use]
pub fn context_extensions(policy: &Policy) -> Option<Extensions<GroupContext>> {
    let required = RequiredCapabilitiesExtension::new(
        &[ExtensionType::Unknown(POLICY_EXTENSION_TYPE)],
        &[],
        &[CredentialType::Other(CREDENTIAL_TYPE)],
    );
    Extensions::from_vec(vec![
        Extension::RequiredCapabilities(required),
        Extension::Unknown(POLICY_EXTENSION_TYPE, UnknownExtension(policy.encode())),
    ])
    .ok()
}

/// Reads the policy out of group-context extensions; `None` unless they are exactly ours.
#[must_use]
pub fn policy_of(extensions: &Extensions<GroupContext>) -> Option<Policy> {
    let policy = Policy::decode(&extensions.unknown(POLICY_EXTENSION_TYPE)?.0).ok()?;
    (context_extensions(&policy)? == *extensions).then_some(policy)
}
