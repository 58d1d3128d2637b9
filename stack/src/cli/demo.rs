//! `sotto demo`: the demonstration as a command.

use std::process::ExitCode;

use super::signals::StopRequests;
use super::{DemoArgs, FAILED, fail};
use crate::demo::{self, DemoError};
use crate::deployment::Cancel;
use crate::postgres::Install;

/// Runs the command.
#[must_use]
pub fn demo(args: &DemoArgs) -> ExitCode {
    let install = if args.no_install {
        Install::Refused
    } else {
        Install::Allowed
    };
    let cancel = Cancel::default();
    let outcome = StopRequests::listen(cancel.clone())
        .and_then(|_requests| std::env::current_exe())
        .map_err(DemoError::from)
        .and_then(|program| demo::run(&program, install, &cancel));
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(DemoError::Deployment(error)) => fail(&error),
        Err(error) => {
            eprintln!("sotto demo: {error}");
            ExitCode::from(FAILED)
        }
    }
}
