//! Watching a running deployment, breaking it on purpose, and stopping it.

use std::process::ExitStatus;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::config::DRAIN_SECS;
use super::database::Database;
use super::state::{Kind, Phase};
use super::{Deployment, DeploymentError, POSTGRES};
use crate::process;

/// What servers and balancer get beyond their own drain time before they are killed.
const STOP_GRACE: Duration = Duration::from_secs(DRAIN_SECS + 5);

/// Between two attempts to start a Postgres that does not come back.
const POSTGRES_RETRY: Duration = Duration::from_secs(5);

/// Something that happened to a process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// It ended by itself.
    Ended {
        /// Which process.
        name: String,
        /// How it ended.
        status: Option<ExitStatus>,
        /// After how long it is started again.
        restart_in: Duration,
    },
    /// It was started again.
    Restarted {
        /// Which process.
        name: String,
        /// Its new process id.
        pid: u32,
    },
    /// It serves again.
    Back {
        /// Which process.
        name: String,
    },
    /// Starting it again failed; it will be tried again.
    Trouble {
        /// Which process.
        name: String,
        /// Why.
        reason: String,
    },
}

impl Deployment {
    /// Looks at every process once: notices ends, starts again what is due, and says what
    /// happened. Call it several times a second; a deployment whose owner does not call it
    /// leaves dead what is killed.
    pub fn watch(&mut self, now: Instant) -> Vec<Notice> {
        let mut notices = Vec::new();
        self.watch_postgres(now, &mut notices);
        for process in &mut self.processes {
            let name = process.spec().name.clone();
            match process.poll_exit(now) {
                Ok(Some((status, restart_in))) => {
                    self.returning.retain(|returning| *returning != name);
                    let status = Some(status);
                    notices.push(Notice::Ended {
                        name: name.clone(),
                        status,
                        restart_in,
                    });
                }
                Ok(None) => {}
                Err(error) => notices.push(trouble(&name, &error)),
            }
            match process.poll_restart(now) {
                Ok(Some(pid)) => {
                    self.returning.push(name.clone());
                    notices.push(Notice::Restarted {
                        name: name.clone(),
                        pid,
                    });
                }
                Ok(None) => {}
                Err(error) => notices.push(trouble(&name, &error)),
            }
            if self.returning.contains(&name) && process.is_ready() {
                self.returning.retain(|returning| *returning != name);
                notices.push(Notice::Back { name });
            }
        }
        if !notices.is_empty() {
            // The file is for others; what runs does not depend on it.
            let _ = self.save_state();
        }
        notices
    }

    fn watch_postgres(&mut self, now: Instant, notices: &mut Vec<Notice>) {
        let Database::Private { cluster, .. } = &mut self.database else {
            return;
        };
        if cluster.is_running() || self.postgres_start_at.is_some_and(|due| now < due) {
            return;
        }
        let name = POSTGRES.to_owned();
        if self.postgres_start_at.is_none() {
            let restart_in = Duration::ZERO;
            notices.push(Notice::Ended {
                name: name.clone(),
                status: None,
                restart_in,
            });
        }
        self.postgres_restarts = self.postgres_restarts.saturating_add(1);
        self.postgres_start_at = match cluster.start() {
            Ok(()) => {
                notices.push(Notice::Back { name });
                None
            }
            Err(error) => {
                notices.push(trouble(&name, &error));
                Some(now + POSTGRES_RETRY)
            }
        };
    }

    /// Sends a signal to a server or the balancer.
    ///
    /// # Errors
    /// Fails when there is no such process or it does not run.
    pub fn signal(&self, name: &str, signal: Signal) -> Result<(), DeploymentError> {
        Ok(self.process(name)?.signal(signal)?)
    }

    /// Kills a server or the balancer with SIGKILL and reaps it. It stays down until
    /// [`Deployment::start_again`]; to see it come back by itself, use [`Deployment::signal`]
    /// and go on watching.
    ///
    /// # Errors
    /// Fails when there is no such process.
    pub fn kill(&mut self, name: &str) -> Result<(), DeploymentError> {
        let process = self.process_mut(name)?;
        // Not running is what is wanted.
        let _ = process.signal(Signal::KILL);
        process.finish(STOP_GRACE);
        Ok(self.save_state()?)
    }

    /// Starts a process that was killed, and waits until everything is ready.
    ///
    /// # Errors
    /// Fails when there is no such process or it does not become ready.
    pub fn start_again(&mut self, name: &str) -> Result<(), DeploymentError> {
        let process = self.process_mut(name)?;
        if process.pid().is_none() {
            process.start(process::now())?;
        }
        self.wait_until_ready()?;
        Ok(self.save_state()?)
    }

    /// Stops everything in the reverse order of starting and reaps it. Clients are asked to
    /// leave; what does not stop in time is killed.
    pub fn stop(&mut self) {
        if self.phase == Phase::Stopped {
            return;
        }
        self.phase = Phase::Stopping;
        // These files are for others; stopping does not depend on them.
        let _ = self.save_state();
        let _ = std::fs::remove_file(self.layout.env());
        for kind in [Kind::Balancer, Kind::Server] {
            self.stop_all(kind);
        }
        if let Database::Private { cluster, .. } = &mut self.database {
            cluster.stop();
        }
        self.phase = Phase::Stopped;
        let _ = self.save_state();
    }

    /// Asks all processes of a kind first, so that they drain side by side.
    fn stop_all(&mut self, kind: Kind) {
        for process in self
            .processes
            .iter()
            .filter(|process| process.spec().kind == kind)
        {
            // What does not run needs no signal.
            let _ = process.signal(Signal::TERM);
        }
        let deadline = process::now() + STOP_GRACE;
        let of_kind = |process: &&mut super::Managed| process.spec().kind == kind;
        for process in self.processes.iter_mut().rev().filter(of_kind) {
            process.finish(deadline.saturating_duration_since(process::now()));
        }
    }
}

impl Drop for Deployment {
    fn drop(&mut self) {
        self.stop();
    }
}

fn trouble(name: &str, error: &dyn std::error::Error) -> Notice {
    Notice::Trouble {
        name: name.to_owned(),
        reason: error.to_string(),
    }
}
