//! `sotto down`: ask the launcher of a deployment to stop, and wait until it has.

use std::process::ExitCode;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use super::{DownArgs, FAILED, fail};
use crate::deployment::{DeploymentError, Layout};
use crate::process;

/// How long stopping everything may take; the launcher's own limits are shorter.
const STOP_LIMIT: Duration = Duration::from_secs(90);

/// Runs the command. Nothing running is a success: it is what was wanted.
#[must_use]
pub fn down(args: &DownArgs) -> ExitCode {
    match stop(args) {
        Ok(code) => code,
        Err(error) => fail(&error),
    }
}

fn stop(args: &DownArgs) -> Result<ExitCode, DeploymentError> {
    let layout = Layout::new(&args.dir)?;
    let Some(launcher) = layout.launcher()? else {
        println!("Nothing runs in {}.", args.dir.display());
        return Ok(ExitCode::SUCCESS);
    };
    let pid = i32::try_from(launcher).ok().and_then(Pid::from_raw);
    match pid.map(|pid| kill_process(pid, Signal::TERM)) {
        Some(Ok(())) => {}
        // Gone between our two looks: the wait below finds the lock free.
        Some(Err(rustix::io::Errno::SRCH)) | None => {}
        Some(Err(error)) => return Err(std::io::Error::from(error).into()),
    }
    let stopped = process::wait_until(STOP_LIMIT, || matches!(layout.launcher(), Ok(None)));
    if stopped {
        println!("Stopped.");
        return Ok(ExitCode::SUCCESS);
    }
    eprintln!(
        "sotto: process {launcher} did not stop within {} seconds",
        STOP_LIMIT.as_secs()
    );
    Ok(ExitCode::from(FAILED))
}
