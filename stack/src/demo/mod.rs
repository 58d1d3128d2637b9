//! The demonstration: three people and a deployment of real processes, from registration over a
//! group and an image to a server killed in the middle of a talk, with every promise checked as it is shown.
//!
//! Ends with an error the moment anything does not hold. Everything lies in a temporary folder,
//! which is removed at the end, or kept and named when something failed.

mod group;
mod person;
mod scan;
mod steps;
mod stream;

use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::deployment::{Cancel, DatabaseSource, Deployment, DeploymentError, Options, PublicPort};
use crate::postgres::{Durability, Install};
use crate::sql::SqlError;
use crate::terminal::{Palette, Tone};
use person::Person;

/// How many servers the demonstration has: one dies, and the others still balance.
const SERVERS: u16 = 3;

/// Why the demonstration failed.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    /// The deployment does not run.
    #[error(transparent)]
    Deployment(#[from] DeploymentError),
    /// The database could not be asked what it holds.
    #[error("asking the database what it holds: {0}")]
    Sql(#[from] SqlError),
    /// A process or a file could not be handled.
    #[error(transparent)]
    System(#[from] io::Error),
    /// A promise does not hold, or a client failed.
    #[error("{0}")]
    Failed(String),
}

impl DemoError {
    fn failed(text: impl Into<String>) -> Self {
        Self::Failed(text.into())
    }
}

/// What the steps work with.
struct Stage {
    deployment: Deployment,
    /// Where Postgres keeps everything.
    data: PathBuf,
    alice: Person,
    bob: Person,
    carol: Person,
    /// For the files of the demonstration.
    folder: PathBuf,
    /// Everything that was ever written, for the search at the end.
    written: Vec<String>,
    cancel: Cancel,
    palette: Palette,
    step: u32,
}

impl Stage {
    /// A heading.
    fn chapter(&mut self, title: &str) -> Result<(), DemoError> {
        self.cancel.check()?;
        self.step += 1;
        let heading = format!("{}. {title}", self.step);
        say(&format!("\n{}", self.palette.paint(Tone::Strong, &heading)));
        Ok(())
    }

    /// Something that was found to hold.
    fn holds(&self, text: &str) {
        say(&format!(
            "   {} {text}",
            self.palette.paint(Tone::Good, "✓")
        ));
    }

    /// Something to look at.
    fn show(&self, text: &str) {
        say(&format!("   {text}"));
    }

    /// Lets `limit` pass at most while the deployment is watched, until `done` says so.
    fn watch_until(
        &mut self,
        limit: Duration,
        mut done: impl FnMut(&mut Self) -> Result<bool, DemoError>,
    ) -> Result<bool, DemoError> {
        let deadline = crate::process::now() + limit;
        loop {
            self.cancel.check()?;
            if done(self)? {
                return Ok(true);
            }
            if crate::process::now() >= deadline {
                return Ok(false);
            }
            self.watch();
            crate::process::wait_until(crate::process::POLL_INTERVAL, || false);
        }
    }

    /// Starts again what died, and says so.
    fn watch(&mut self) {
        for notice in self.deployment.watch(crate::process::now()) {
            let text = crate::cli::describe(&notice, Palette::Plain);
            self.show(&self.palette.paint(Tone::Faint, &text));
        }
    }
}

/// Runs the demonstration with a `sotto` program.
///
/// # Errors
/// The first promise that did not hold.
pub fn run(program: &Path, install: Install, cancel: &Cancel) -> Result<(), DemoError> {
    let folder = tempfile::Builder::new()
        .prefix("sotto-demo-")
        .permissions(std::fs::Permissions::from_mode(0o711))
        .tempdir()?;
    let outcome = perform(program, folder.path(), install, cancel);
    if outcome.is_err() {
        let kept = folder.keep();
        say(&format!(
            "\nEverything is kept for looking at: {}",
            kept.display()
        ));
    } else {
        folder.close()?;
    }
    outcome
}

fn perform(
    program: &Path,
    folder: &Path,
    install: Install,
    cancel: &Cancel,
) -> Result<(), DemoError> {
    let palette = Palette::of_stdout();
    let options = Options {
        dir: folder.join("up"),
        program: program.to_owned(),
        servers: SERVERS,
        port: PublicPort::Any,
        database: DatabaseSource::Private {
            install,
            durability: Durability::Durable,
        },
        cancel: cancel.clone(),
    };
    say(&palette.paint(
        Tone::Strong,
        "Sotto: two people, a balancer, three servers, one Postgres",
    ));
    let deployment = Deployment::start(options, &mut |line| {
        say(&format!(
            "   {}",
            palette.paint(Tone::Faint, &format!("{line} …"))
        ));
    })?;
    say(&format!(
        "\n{}",
        crate::cli::process_table(&deployment.state(), palette)
    ));
    let data = deployment
        .postgres_data()
        .ok_or_else(|| DemoError::failed("the deployment has no Postgres of its own"))?;
    let server = deployment.server().to_string();
    let person = |name| Person::new(name, program, folder, &server, deployment.ca());
    let (alice, bob, carol) = (person("alice")?, person("bob")?, person("carol")?);
    let mut stage = Stage {
        deployment,
        data,
        alice,
        bob,
        carol,
        folder: folder.to_owned(),
        written: Vec::new(),
        cancel: cancel.clone(),
        palette,
        step: 0,
    };
    stage.register()?;
    stage.become_acquainted()?;
    stage.talk_both_ways()?;
    stage.write_to_somebody_offline()?;
    stage.meet_in_a_group()?;
    stage.send_an_image()?;
    stage.kill_servers_in_a_stream()?;
    stage.search_for_plaintext()?;
    stage.clean_up()?;
    say(&format!(
        "\n{}",
        palette.paint(Tone::Good, "Everything held.")
    ));
    Ok(())
}

/// A reader that went away must not end the demonstration before it has cleaned up.
fn say(text: &str) {
    let mut stdout = io::stdout().lock();
    let _ = writeln!(stdout, "{text}").and_then(|()| stdout.flush());
}
