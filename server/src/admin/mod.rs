//! `sotto-server admin`: what an operator does, on the database, while servers run or not.
//!
//! Every change is one transaction with its entry in the audit log; servers are told through the
//! database. Refuses to show or change anything that people said: nothing here could open it.

mod accounts;
mod args;
mod deployment;
mod operator;
mod output;
mod temporary_password;

pub use args::AdminArgs;

use args::AdminCommand;
use deployment::DrainWish;
use output::{Audience, Output};

use crate::config::Config;
use crate::store::admin::{AdminError, AdminStore, Intent, StoreFailure, Which};

/// Why a command ended without being done.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// The wish itself cannot be fulfilled, or the store failed.
    #[error(transparent)]
    Admin(#[from] AdminError),
    /// What was given cannot be used.
    #[error("{0}")]
    Usage(String),
    /// The machine failed.
    #[error("{0}")]
    Internal(String),
    /// Nobody reads any more.
    #[error("stdout: {0}")]
    Output(#[from] std::io::Error),
}

impl Failure {
    /// The stable code and the exit code.
    fn codes(&self) -> (&'static str, u8) {
        match self {
            Self::Usage(_) => ("usage", 2),
            Self::Admin(AdminError::NotFound(_)) => ("not_found", 4),
            Self::Admin(AdminError::Ambiguous(_)) => ("ambiguous", 5),
            Self::Admin(AdminError::Refused(_)) => ("refused", 5),
            Self::Admin(AdminError::Store(StoreFailure::Away(_))) => ("unavailable", 69),
            Self::Admin(AdminError::Store(StoreFailure::Tls(_))) => ("configuration", 2),
            Self::Admin(AdminError::Store(StoreFailure::Schema(_))) => ("schema", 70),
            Self::Admin(AdminError::Store(StoreFailure::Broken(_)))
            | Self::Internal(_)
            | Self::Output(_) => ("internal", 1),
        }
    }
}

/// What commands share.
struct Admin {
    config: Config,
    store: AdminStore,
    intent: Intent,
    output: Output,
}

/// Carries a command out; the exit code.
pub(crate) async fn run(args: AdminArgs, config: Config) -> u8 {
    let audience = if args.json {
        Audience::Programs
    } else {
        Audience::People
    };
    match carry_out(args, config, audience).await {
        Ok(()) => 0,
        Err(failure) => {
            let (name, code) = failure.codes();
            output::failure(audience, name, &failure);
            code
        }
    }
}

async fn carry_out(args: AdminArgs, config: Config, audience: Audience) -> Result<(), Failure> {
    let intent = if args.dry_run {
        Intent::Rehearse
    } else {
        Intent::Change
    };
    let store = AdminStore::open(&config.database(), operator::name()).await?;
    let mut admin = Admin {
        config,
        store,
        intent,
        output: Output::new(audience, intent),
    };
    match args.command {
        AdminCommand::Users {
            search,
            disabled,
            banned,
            after,
            limit,
        } => {
            let which = match (banned, disabled) {
                (true, _) => Which::Banned,
                (_, true) => Which::Disabled,
                _ => Which::All,
            };
            accounts::users(&mut admin, &search, &after, which, limit).await
        }
        AdminCommand::Disable(whom) => accounts::disable(&mut admin, &whom).await,
        AdminCommand::Enable(whom) => accounts::enable(&mut admin, &whom).await,
        AdminCommand::Ban(whom) => accounts::ban(&mut admin, &whom).await,
        AdminCommand::Unban(whom) => accounts::unban(&mut admin, &whom).await,
        AdminCommand::ResetPassword(reset) => accounts::reset_password(&mut admin, &reset).await,
        AdminCommand::Invite(command) => deployment::invite(&mut admin, command).await,
        AdminCommand::Quota(command) => accounts::quota(&mut admin, command).await,
        AdminCommand::Retention(command) => deployment::retention(&mut admin, command).await,
        AdminCommand::Drain { node, cancel } => {
            let wish = if cancel {
                DrainWish::Serve
            } else {
                DrainWish::Drain
            };
            deployment::drain(&mut admin, &node, wish).await
        }
        AdminCommand::Restored => deployment::restored(&mut admin).await,
        AdminCommand::Stats => deployment::stats(&mut admin).await,
        AdminCommand::Audit { subject, last } => {
            deployment::audit(&mut admin, subject.as_deref(), last).await
        }
    }
}
