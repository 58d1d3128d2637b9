//! What ends the engine: the local store failed. Everything that others do
//! wrong, or that the network does, is an event and never an error here.

use sotto_crypto::{GroupError, OpenError, WelcomeError};

use crate::history::HistoryError;
use crate::profile::ProfileError;

/// The engine cannot go on. What was acknowledged is safe; start again.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The local store failed.
    #[error(transparent)]
    History(#[from] HistoryError),
    /// A file of the profile failed.
    #[error(transparent)]
    Profile(#[from] ProfileError),
    /// The MLS state on disk cannot be used.
    #[error("the local state of a conversation failed")]
    Group(#[source] GroupError),
}

impl From<rusqlite::Error> for EngineError {
    fn from(error: rusqlite::Error) -> Self {
        Self::History(error.into())
    }
}

impl From<GroupError> for EngineError {
    fn from(error: GroupError) -> Self {
        match error {
            GroupError::Database(error) => error.into(),
            other => Self::Group(other),
        }
    }
}

/// Parts failures of the local store, which end the engine, from everything
/// that is about one group or message only.
pub(super) fn group_failure(error: GroupError) -> Result<GroupError, EngineError> {
    match error {
        GroupError::Database(error) => Err(error.into()),
        other => Ok(other),
    }
}

/// As [`group_failure`], for opening.
pub(super) fn open_failure(error: OpenError) -> Result<OpenError, EngineError> {
    match error {
        OpenError::Group(GroupError::Database(error)) => Err(error.into()),
        other => Ok(other),
    }
}

/// As [`group_failure`], for welcomes.
pub(super) fn welcome_failure(error: WelcomeError) -> Result<WelcomeError, EngineError> {
    match error {
        WelcomeError::Database(error) | WelcomeError::Group(GroupError::Database(error)) => {
            Err(error.into())
        }
        other => Ok(other),
    }
}
