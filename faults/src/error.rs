//! Why a fault run could not be made. What it finds wrong is no error but its verdict.

use std::io;
use std::path::Path;

use sotto_stack::deployment::DeploymentError;
use sotto_stack::postgres::PostgresError;
use sotto_stack::sql::SqlError;

/// The end of a run without a verdict.
#[derive(Debug, thiserror::Error)]
pub enum FaultsError {
    /// The system refused something.
    #[error("{what}: {source}")]
    System {
        /// What was tried.
        what: String,
        /// The system's reason.
        source: io::Error,
    },
    /// The deployment does not start, or not again.
    #[error(transparent)]
    Deployment(#[from] DeploymentError),
    /// The database does not start, or not again.
    #[error(transparent)]
    Postgres(#[from] PostgresError),
    /// The database did not do what a fault needs.
    #[error(transparent)]
    Sql(#[from] SqlError),
    /// A client did not do what a run begins with; nothing was broken yet.
    #[error("{who}: {what}; run it again, and look at the deployment's logs if it stays so")]
    Client {
        /// Which client.
        who: String,
        /// What it said.
        what: String,
    },
    /// Something that has to come did not come.
    #[error("waited too long for {0}")]
    TimedOut(String),
}

impl FaultsError {
    /// For `map_err` on input and output.
    pub(crate) fn system(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        move |source| Self::System { what, source }
    }

    /// For `map_err` on input and output about a file.
    pub(crate) fn file(path: &Path) -> impl FnOnce(io::Error) -> Self {
        Self::system(path.display().to_string())
    }

    /// For what a client said.
    pub(crate) fn client(who: &str, what: impl Into<String>) -> Self {
        Self::Client {
            who: who.to_owned(),
            what: what.into(),
        }
    }
}
