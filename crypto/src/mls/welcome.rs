//! Entering a conversation by invitation.

use openmls::prelude::{
    MlsMessageBodyIn, MlsMessageIn, RatchetTreeIn, StagedWelcome, Welcome,
    tls_codec::Deserialize as _,
};
use sotto_protocol::limits::{FRAME_BYTES_MAX, HANDSHAKE_BYTES_MAX};
use sotto_roster::public_group::{ReadError, profile, reading};
use sotto_roster::{Denied, DeviceCertificate, LeafIndex, Roster, authorize_join};

use super::group::{Address, Group, GroupError, join_config};
use super::invitation::About;
use super::store::KeyStore;
use crate::identity::LocalDevice;

/// A welcome or group info, with the ratchet tree where it travels apart.
#[derive(Debug, Clone, Copy)]
pub struct WithTree<'a> {
    /// The message.
    pub message: &'a [u8],
    /// The encoded tree; empty where it is inside the message.
    pub tree: &'a [u8],
}

impl<'a> From<&'a [u8]> for WithTree<'a> {
    fn from(message: &'a [u8]) -> Self {
        Self { message, tree: &[] }
    }
}

impl<'a> From<&'a Vec<u8>> for WithTree<'a> {
    fn from(message: &'a Vec<u8>) -> Self {
        message.as_slice().into()
    }
}

impl WithTree<'_> {
    /// The tree that came apart; `None` also where it cannot be read.
    pub(super) fn parse_tree(&self) -> Option<RatchetTreeIn> {
        if self.tree.is_empty() || self.tree.len() > FRAME_BYTES_MAX {
            return None;
        }
        RatchetTreeIn::tls_deserialize_exact(self.tree).ok()
    }
}

/// What an invitation leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WelcomeSummary {
    /// Which group.
    pub address: Address,
    /// Who is in it, all certificates verified and the rules held against them.
    pub roster: Roster,
    /// The device that invited.
    pub inviter: DeviceCertificate,
}

/// Why an invitation leads nowhere. Nothing of it is kept.
#[derive(Debug, thiserror::Error)]
pub enum WelcomeError {
    /// Not an MLS welcome, or too large.
    #[error("welcome is malformed")]
    Malformed,
    /// For a key package whose private parts are not here: used before, forgotten, or not ours.
    #[error("welcome is for a key package that is not here")]
    NoKeyPackage,
    /// This device is in that group already.
    #[error("this device is in the conversation already")]
    AlreadyIn,
    /// It leads to another conversation or generation than it was said to.
    #[error("welcome belongs to another conversation")]
    Misplaced,
    /// The ratchet tree is not inside it, and was not given.
    #[error("welcome comes without its tree")]
    NeedsTree,
    /// It does not decrypt or verify.
    #[error("welcome does not verify")]
    Unverified,
    /// A leaf of the group is not sound.
    #[error(transparent)]
    Leaf(#[from] ReadError),
    /// The group breaks the rules.
    #[error(transparent)]
    Denied(#[from] Denied),
    /// The group itself failed.
    #[error(transparent)]
    Group(#[from] GroupError),
    /// The database refused.
    #[error("key store: {0}")]
    Database(#[from] rusqlite::Error),
}

/// Looks at an invitation without accepting it: the key package stays as it was.
///
/// # Errors
/// See [`WelcomeError`].
pub fn inspect_welcome<'a>(
    store: &KeyStore<'_>,
    me: &LocalDevice,
    welcome: impl Into<WithTree<'a>>,
) -> Result<WelcomeSummary, WelcomeError> {
    let welcome = welcome.into();
    store.rehearse(|| enter(store, me, welcome, None).map(|(_, summary)| summary))
}

/// The same, with what the inviter says of the group in the note beside it;
/// `None` for a note that does not verify as the inviter's, or none.
///
/// # Errors
/// See [`WelcomeError`].
pub fn inspect_invitation(
    store: &KeyStore<'_>,
    me: &LocalDevice,
    welcome: WithTree<'_>,
    note: &[u8],
) -> Result<(WelcomeSummary, Option<About>), WelcomeError> {
    store.rehearse(|| {
        let (group, summary) = enter(store, me, welcome, None)?;
        let about = group.open_invitation(store, &summary.inviter, note);
        Ok((summary, about))
    })
}

impl Group {
    /// Accepts an invitation to the group at `address`; its one-time key package is used up.
    ///
    /// # Errors
    /// See [`WelcomeError`]; nothing changes then.
    pub fn join<'a>(
        store: &KeyStore<'_>,
        me: &LocalDevice,
        address: Address,
        welcome: impl Into<WithTree<'a>>,
    ) -> Result<(Self, WelcomeSummary), WelcomeError> {
        let welcome = welcome.into();
        store.attempt(|| enter(store, me, welcome, Some(address)))
    }
}

fn enter(
    store: &KeyStore<'_>,
    me: &LocalDevice,
    welcome: WithTree<'_>,
    expected: Option<Address>,
) -> Result<(Group, WelcomeSummary), WelcomeError> {
    let parsed = parse(welcome.message)?;
    let mut builder = StagedWelcome::build_from_welcome(store, &join_config(), parsed)
        .map_err(refusal)?
        // Lifetimes of others' leaves were judged when they were added; one that
        // expired since must not keep this device out.
        .skip_lifetime_validation();
    let offered = builder.processed_welcome();
    let address = profile::parse_group_id(offered.unverified_group_info().group_id())
        .map(|(conversation, generation)| Address {
            conversation,
            generation,
        })
        .filter(|address| expected.is_none_or(|expected| expected == *address))
        .ok_or(WelcomeError::Misplaced)?;
    if !offered.psks().is_empty() {
        return Err(WelcomeError::Unverified);
    }
    if let Some(tree) = welcome.parse_tree() {
        builder = builder.with_ratchet_tree(tree);
    }
    let staged = builder.build().map_err(refusal)?;
    let inviter = LeafIndex(staged.welcome_sender_index().u32());
    let mls = staged.into_group(store).map_err(refusal)?;
    let roster = reading::roster_of(mls.public_group(), me.certificate().deployment())?;
    authorize_join(&roster, me.certificate(), inviter)?;
    let inviter = roster
        .leaves
        .get(&inviter)
        .cloned()
        .ok_or(WelcomeError::Unverified)?;
    let summary = WelcomeSummary {
        address,
        roster,
        inviter,
    };
    Ok((Group::over(mls, me)?, summary))
}

fn parse(bytes: &[u8]) -> Result<Welcome, WelcomeError> {
    if bytes.len() > HANDSHAKE_BYTES_MAX {
        return Err(WelcomeError::Malformed);
    }
    match MlsMessageIn::tls_deserialize_exact(bytes).map(MlsMessageIn::extract) {
        Ok(MlsMessageBodyIn::Welcome(welcome)) => Ok(welcome),
        _ => Err(WelcomeError::Malformed),
    }
}

fn refusal(error: openmls::prelude::WelcomeError<rusqlite::Error>) -> WelcomeError {
    use openmls::prelude::WelcomeError as Mls;
    match error {
        Mls::NoMatchingKeyPackage => WelcomeError::NoKeyPackage,
        Mls::GroupAlreadyExists => WelcomeError::AlreadyIn,
        Mls::MissingRatchetTree => WelcomeError::NeedsTree,
        Mls::StorageError(error) => error.into(),
        _ => WelcomeError::Unverified,
    }
}
