//! Starting a deployment: database, schema, servers, balancer, each ready before the next.

use std::fs::File;
use std::io;
use std::process::ExitStatus;
use std::time::{Duration, SystemTime};

use super::config::{self, BalancerConfig, Ports, ServerConfig, Settings};
use super::database::Database;
use super::layout::Layout;
use super::managed::{self, Managed, Spec};
use super::ports::Lease;
use super::state::{Kind, Phase};
use super::{BALANCER, Deployment, DeploymentError, Options, PublicPort, SERVERS_MAX, ports};
use crate::certs::Certificates;
use crate::files::{self, Access};
use crate::process;

/// How long the migrations may take.
const MIGRATION_LIMIT: Duration = Duration::from_secs(120);

/// How long the servers, and then the balancer, may take until they are ready.
const READY_LIMIT: Duration = Duration::from_secs(60);

impl Deployment {
    /// Starts everything and waits until clients can connect. `progress` is told what happens,
    /// a line at a time. What was started is stopped again if anything fails.
    ///
    /// # Errors
    /// Fails when the folder is in use, there is no database or port, or a process does not
    /// become ready.
    pub fn start(
        options: Options,
        progress: &mut dyn FnMut(&str),
    ) -> Result<Self, DeploymentError> {
        if !(1..=SERVERS_MAX).contains(&options.servers) {
            return Err(DeploymentError::ServerCount);
        }
        let layout = Layout::create(&options.dir)?;
        let lock = take(&layout)?;
        // Scripts wait for this file; an earlier run's must not answer for this one.
        remove_if_there(&layout.env())?;
        let mut settings = Settings::load(&layout.settings())?;
        let leases = choose_ports(&options, &mut settings)?;

        progress("starting Postgres");
        let database = Database::start(&options.database, &layout, &mut settings)?;
        settings.save(&layout.settings())?;
        let certificates = Certificates::ensure(&layout.certs(), wall_clock())?;

        let mut deployment = Self {
            public: port_of(&settings, BALANCER),
            layout,
            options,
            settings,
            database,
            certificates,
            processes: Vec::new(),
            returning: Vec::new(),
            postgres_restarts: 0,
            postgres_start_at: None,
            phase: Phase::Starting,
            _leases: leases,
            _lock: lock,
        };
        deployment.launch(progress)?;
        Ok(deployment)
    }

    fn launch(&mut self, progress: &mut dyn FnMut(&str)) -> Result<(), DeploymentError> {
        self.options.cancel.check()?;
        self.write_configs()?;
        self.save_state()?;
        progress("bringing the schema up to date");
        self.migrate()?;
        progress(&format!("starting {} servers", self.options.servers));
        for name in server_names(self.options.servers) {
            self.add(&name, Kind::Server)?;
        }
        self.wait_until_ready()?;
        progress("starting the balancer");
        self.add(BALANCER, Kind::Balancer)?;
        self.wait_until_ready()?;
        files::write(&self.layout.env(), &self.env_text(), Access::Private)?;
        self.phase = Phase::Ready;
        self.save_state()?;
        Ok(())
    }

    fn write_configs(&self) -> io::Result<()> {
        let names: Vec<String> = server_names(self.options.servers).collect();
        for name in &names {
            let ready_file = self.layout.ready_file(name);
            let ports = port_of(&self.settings, name);
            let config = ServerConfig::new(
                name,
                ports,
                self.database.url(),
                &self.certificates,
                &ready_file,
            );
            config::write(&self.layout.config(name), &config)?;
        }
        let servers = names
            .iter()
            .map(|name| (name.as_str(), port_of(&self.settings, name)));
        let balancer = BalancerConfig::new(self.public, servers);
        config::write(&self.layout.config(BALANCER), &balancer)
    }

    fn migrate(&self) -> Result<(), DeploymentError> {
        let log = self.layout.log("migrate");
        let config = self.layout.config("s1").display().to_string();
        let args = ["server", "migrate", "--config", &config].map(str::to_owned);
        let mut child = process::spawn(managed::command(&self.options.program, &args, &log)?)?;
        let outcome = process::wait_for_exit(&mut child, MIGRATION_LIMIT)?;
        if outcome.is_none() {
            child.kill()?;
            child.wait()?;
        }
        match outcome {
            Some(status) if status.success() => Ok(()),
            Some(status) => Err(failed("migrate", &ended(status), log)),
            None => Err(failed("migrate", "did not finish in time", log)),
        }
    }

    fn add(&mut self, name: &str, kind: Kind) -> Result<(), DeploymentError> {
        let ports = port_of(&self.settings, name);
        let ready_file = self.layout.ready_file(name);
        let config = self.layout.config(name).display().to_string();
        let args: Vec<String> = match kind {
            Kind::Balancer => {
                let ready_file = ready_file.display().to_string();
                vec![
                    "balancer".into(),
                    "--config".into(),
                    config,
                    "--ready-file".into(),
                    ready_file,
                ]
            }
            _ => vec!["server".into(), "run".into(), "--config".into(), config],
        };
        let mut process = Managed::new(Spec {
            name: name.to_owned(),
            kind,
            program: self.options.program.clone(),
            args,
            address: ports.listen_address(),
            admin: ports.admin_address(),
            log: self.layout.log(name),
            ready_file,
        });
        process.start(process::now())?;
        self.processes.push(process);
        Ok(())
    }

    /// Waits until every process is ready.
    ///
    /// # Errors
    /// Fails as soon as one ends, or when one is not ready in time.
    pub(crate) fn wait_until_ready(&mut self) -> Result<(), DeploymentError> {
        let mut failure = None;
        let mut waiting = None;
        let cancel = self.options.cancel.clone();
        let ready = process::wait_until(READY_LIMIT, || {
            waiting = None;
            for process in &mut self.processes {
                match process.poll_exit(process::now()) {
                    Ok(None) => {}
                    Ok(Some((status, _))) => {
                        failure = Some((process.spec().clone(), ended(status)));
                    }
                    Err(error) => failure = Some((process.spec().clone(), error.to_string())),
                }
                if waiting.is_none() && !process.is_ready() {
                    waiting = Some(process.spec().clone());
                }
            }
            failure.is_some() || waiting.is_none() || cancel.check().is_err()
        });
        cancel.check()?;
        match (failure, waiting) {
            (Some((spec, what)), _) => Err(failed(&spec.name, &what, spec.log)),
            (None, Some(spec)) if !ready => {
                Err(failed(&spec.name, "was not ready in time", spec.log))
            }
            _ => Ok(()),
        }
    }

    pub(crate) fn save_state(&self) -> io::Result<()> {
        self.state().save(&self.layout.state())
    }

    /// What a shell sources to reach the deployment.
    fn env_text(&self) -> String {
        let mut lines = vec![
            ("SOTTO_SERVER", self.server().to_string()),
            ("SOTTO_CA", self.certificates.ca.display().to_string()),
            (
                "SOTTO_HOME",
                self.layout.client_home().display().to_string(),
            ),
            ("SOTTO_DATABASE_URL", self.database_url().to_owned()),
        ];
        if let Some(folder) = self.options.program.parent() {
            lines.push(("PATH", folder.display().to_string()));
        }
        lines
            .into_iter()
            .map(|(name, value)| match name {
                "PATH" => format!("export PATH={}:\"$PATH\"\n", quote(&value)),
                _ => format!("export {name}={}\n", quote(&value)),
            })
            .collect()
    }
}

/// `s1`, `s2`, …
pub(crate) fn server_names(count: u16) -> impl Iterator<Item = String> {
    (1..=count).map(|number| format!("s{number}"))
}

fn take(layout: &Layout) -> Result<File, DeploymentError> {
    match layout.lock()? {
        Some(lock) => Ok(lock),
        None => {
            let dir = layout.dir().to_owned();
            Err(DeploymentError::AlreadyRunning {
                dir,
                pid: layout.launcher()?.unwrap_or(0),
            })
        }
    }
}

/// Keeps the ports of the last time where they are still free. The leases keep other launchers
/// away from them.
fn choose_ports(options: &Options, settings: &mut Settings) -> Result<Vec<Lease>, DeploymentError> {
    let no_port = |wish: String| DeploymentError::NoPort { wish };
    let last = settings.ports.get(BALANCER).map(|ports| ports.listen);
    let wish = match options.port {
        PublicPort::Exactly(port) => format!("{port} is in use"),
        _ => format!("nothing free from {} on", ports::PUBLIC_DEFAULT),
    };
    let public = ports::choose_public(options.port, last).ok_or_else(|| no_port(wish))?;

    let mut leases = vec![public];
    for name in server_names(options.servers).chain([BALANCER.to_owned()]) {
        let last = settings.ports.get(&name).copied();
        let mut choose = |last: Option<u16>| {
            let lease = ports::choose_private(last)
                .ok_or_else(|| no_port("every port that was tried is in use".to_owned()))?;
            let port = lease.port();
            leases.push(lease);
            Ok::<u16, DeploymentError>(port)
        };
        let admin = choose(last.map(|ports| ports.admin))?;
        let listen = if name == BALANCER {
            leases[0].port()
        } else {
            choose(last.map(|ports| ports.listen))?
        };
        settings.ports.insert(name, Ports { listen, admin });
    }
    Ok(leases)
}

/// The ports that were chosen for a process.
fn port_of(settings: &Settings, name: &str) -> Ports {
    settings.ports.get(name).copied().unwrap_or(Ports {
        listen: 0,
        admin: 0,
    })
}

fn failed(name: &str, what: &str, log: std::path::PathBuf) -> DeploymentError {
    let tail = managed::log_tail(&log);
    DeploymentError::Process {
        name: name.to_owned(),
        what: what.to_owned(),
        log,
        tail,
    }
}

fn ended(status: ExitStatus) -> String {
    format!("ended with {status}")
}

fn remove_if_there(path: &std::path::Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(files::naming(path, error)),
        _ => Ok(()),
    }
}

/// A word for a POSIX shell.
pub(crate) fn quote(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[expect(
    clippy::disallowed_methods,
    reason = "certificates are dated by the real clock"
)]
fn wall_clock() -> SystemTime {
    SystemTime::now()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shell_words_survive_quotes_and_spaces() {
        assert_eq!(quote("/a b/c"), "'/a b/c'");
        assert_eq!(quote("it's"), r"'it'\''s'");
    }

    #[test]
    fn ports_are_distinct_and_kept() {
        let options = Options {
            dir: "/nowhere".into(),
            program: "/nowhere/sotto".into(),
            servers: 3,
            port: PublicPort::Any,
            database: super::super::DatabaseSource::External(String::new()),
            cancel: super::super::Cancel::default(),
        };
        let mut settings = Settings::default();
        let leases = choose_ports(&options, &mut settings).unwrap();
        assert_eq!(leases.len(), 8);
        drop(leases);
        let mut all: Vec<u16> = settings
            .ports
            .values()
            .flat_map(|ports| [ports.listen, ports.admin])
            .collect();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), 8);
        let first = settings.clone();
        drop(choose_ports(&options, &mut settings).unwrap());
        assert_eq!(settings, first);
    }
}
