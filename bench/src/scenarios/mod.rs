//! The scenarios, one file each, and what they share.

mod attachment;
mod balancers;
mod compare;
mod day;
mod fanout;
mod idle;
mod machine;
mod offline;
mod one_to_one;
mod path;
mod screen;
mod sealing;
mod storm;

use bytes::Bytes;

use crate::args::{Args, Scenario};
use crate::deployment::Deployment;
use crate::error::BenchError;
use crate::pair;
use crate::report::Report;

/// Connections that a scenario may hold beside its clients.
pub(crate) const CONNECTIONS_BESIDE: u32 = 128;

/// What a scenario works with.
pub(crate) struct Context<'a> {
    /// The command line.
    pub(crate) args: &'a Args,
    /// The deployment under load.
    pub(crate) deployment: &'a Deployment,
}

impl Context<'_> {
    /// Random bytes of the wanted size.
    pub(crate) fn payload(&self) -> Result<Bytes, BenchError> {
        let size = match self.args.payload_bytes {
            Some(size) => size.clamp(1, sotto_protocol::limits::PAYLOAD_BYTES_MAX),
            None => pair::sealed_bytes()?,
        };
        Ok((0..size).map(|_| rand::random::<u8>()).collect())
    }
}

/// Whether the scenario needs a deployment.
pub(crate) fn needs_deployment(scenario: Scenario) -> bool {
    !matches!(
        scenario,
        Scenario::Sealing | Scenario::Screen | Scenario::Balancers
    )
}

/// Runs a scenario against a deployment.
///
/// # Errors
/// When it could not be carried out; what it found wrong is in the report.
pub(crate) async fn run(context: &Context<'_>, report: &mut Report) -> Result<(), BenchError> {
    if !context.args.no_machine && context.args.scenario != Scenario::Compare {
        report.machine = Some(machine::measure(context).await?);
    }
    match context.args.scenario {
        Scenario::Idle => idle::run(context, report).await,
        Scenario::OneToOne => one_to_one::run(context, report).await,
        Scenario::Offline => offline::run(context, report).await,
        Scenario::Storm => storm::run(context, report).await,
        Scenario::Fanout100 | Scenario::Fanout1000 => fanout::run(context, report).await,
        Scenario::Compare => compare::run(context, report).await,
        Scenario::Attachment => attachment::run(context, report).await,
        Scenario::Day => day::run(context, report).await,
        Scenario::Path => path::run(context, report).await,
        Scenario::Machine | Scenario::Sealing | Scenario::Screen | Scenario::Balancers => Ok(()),
    }
}

/// Runs a scenario that needs no deployment.
///
/// # Errors
/// When it could not be carried out.
pub(crate) fn run_alone(args: &Args, report: &mut Report) -> Result<(), BenchError> {
    match args.scenario {
        Scenario::Balancers => balancers::run(args, report),
        Scenario::Screen => screen::run(args, report),
        _ => sealing::run(args, report),
    }
}
