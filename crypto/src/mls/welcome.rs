//! Entering a conversation by invitation.

use openmls::prelude::{
    MlsMessageBodyIn, MlsMessageIn, StagedWelcome, Welcome, tls_codec::Deserialize as _,
};
use sotto_protocol::limits::HANDSHAKE_BYTES_MAX;
use sotto_roster::public_group::{ReadError, profile, reading};
use sotto_roster::{Denied, DeviceCertificate, LeafIndex, Roster, authorize_join};

use super::group::{Address, Group, GroupError, join_config};
use super::store::KeyStore;
use crate::identity::LocalDevice;

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
pub fn inspect_welcome(
    store: &KeyStore<'_>,
    me: &LocalDevice,
    welcome: &[u8],
) -> Result<WelcomeSummary, WelcomeError> {
    store.rehearse(|| enter(store, me, welcome, None).map(|(_, summary)| summary))
}

impl Group {
    /// Accepts an invitation to the group at `address`; its one-time key package is used up.
    ///
    /// # Errors
    /// See [`WelcomeError`]; nothing changes then.
    pub fn join(
        store: &KeyStore<'_>,
        me: &LocalDevice,
        address: Address,
        welcome: &[u8],
    ) -> Result<(Self, WelcomeSummary), WelcomeError> {
        store.attempt(|| enter(store, me, welcome, Some(address)))
    }
}

fn enter(
    store: &KeyStore<'_>,
    me: &LocalDevice,
    bytes: &[u8],
    expected: Option<Address>,
) -> Result<(Group, WelcomeSummary), WelcomeError> {
    let builder = StagedWelcome::build_from_welcome(store, &join_config(), parse(bytes)?)
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
        Mls::StorageError(error) => error.into(),
        _ => WelcomeError::Unverified,
    }
}
