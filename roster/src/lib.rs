//! Who is in a conversation and who may change it.
//!
//! Device certificates, roles, the one door to every membership change
//! ([`mod@authorize`]), and the public state of MLS groups as servers keep it.
//! Everything here verifies; nothing here can open a message, and no secret
//! key enters this crate. Only [`public_group`] names the MLS library.

pub mod authorize;
pub mod certificate;
pub mod leave;
pub mod login;
pub mod public_group;
pub mod roles;
pub mod state;

pub use authorize::{
    AddedLeaf, Authorized, Change, Committer, Denied, Freshness, LeafUpdate, Lifetime,
    MembershipChange, Removal, authorize, authorize_join, authorize_new, authorize_rebuild,
    is_vacant,
};
pub use certificate::{CertificateError, DeviceCertificate};
pub use leave::{LeaveError, LeaveFields, LeaveStatement};
pub use login::{login_signing_input, verify_login};
pub use public_group::{
    Applied, CommitError, KeyPackageError, KeyPackageInfo, PublicConversation,
    TREE_INSIDE_LEAVES_MAX, holds_tree, inspect_key_package, policy_shown,
};
pub use roles::{Access, GroupRules, Policy, PolicyError, Role, Rules};
pub use state::{LeafIndex, Roster};
