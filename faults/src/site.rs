//! What is broken: servers, balancer and database as real processes, with a link between any two
//! that talk, and the clocks of all of them.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use sotto_stack::deployment::{
    BALANCER, Cancel, DatabaseSource, Deployment, Kind, Options, PublicPort,
};
use tokio::runtime::Runtime;
use toml::{Table, Value};

use crate::clock::Clocks;
use crate::database::{Bounds, Database, NAME};
use crate::error::FaultsError;
use crate::link::{Link, Weather};

/// The links of one server.
#[derive(Debug)]
pub(crate) struct ServerLinks {
    /// From the balancer: clients, and the question whether it is ready.
    pub(crate) balancer: [Link; 2],
    /// To both places of the database.
    pub(crate) database: [Link; 2],
}

/// A deployment that can be broken.
pub(crate) struct Site {
    /// Its processes.
    pub(crate) deployment: Deployment,
    /// Its database.
    pub(crate) database: Database,
    /// By server.
    pub(crate) servers: Vec<ServerLinks>,
    /// By device.
    pub(crate) clients: Vec<Link>,
    /// The clocks of servers and devices, where this machine can shift them.
    pub(crate) clocks: Option<Clocks>,
    /// Carries the links. Last: what uses them ends first.
    _runtime: Runtime,
}

/// What a site is made of.
pub(crate) struct Plan<'a> {
    /// A folder of its own.
    pub(crate) dir: &'a Path,
    /// The `sotto` program.
    pub(crate) sotto: &'a Path,
    /// How many servers.
    pub(crate) servers: u16,
    /// How many devices.
    pub(crate) devices: usize,
    /// Of the links.
    pub(crate) seed: u64,
    /// Whether the database gets a disk of its own.
    pub(crate) bounds: Bounds,
}

impl Site {
    /// Starts everything, with all links fair and all clocks right.
    ///
    /// # Errors
    /// When a part does not start.
    pub(crate) fn start(plan: &Plan<'_>) -> Result<Self, FaultsError> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .map_err(FaultsError::system("starting the links"))?;
        let clocks = Clocks::open(&plan.dir.join("clock"))?;
        let names = server_names(plan.servers);
        let program = match &clocks {
            Some(clocks) => {
                for name in names.iter().map(String::as_str).chain([BALANCER]) {
                    clocks.set(name, 0)?;
                }
                for device in 0..plan.devices {
                    clocks.set(&client_clock(device), 0)?;
                }
                clocks.wrap(plan.sotto)?
            }
            None => plan.sotto.to_owned(),
        };
        let database = Database::start(&plan.dir.join("db"), plan.bounds)?;
        let options = Options {
            dir: plan.dir.join("up"),
            program,
            servers: plan.servers,
            port: PublicPort::Any,
            database: DatabaseSource::External(database.url(NAME)),
            cancel: Cancel::default(),
        };
        let deployment = Deployment::start(options, &mut |_| {})?;
        let mut site = Self {
            deployment,
            database,
            servers: Vec::new(),
            clients: Vec::new(),
            clocks,
            _runtime: runtime,
        };
        site.lay_links(plan, &names)?;
        Ok(site)
    }

    fn lay_links(&mut self, plan: &Plan<'_>, names: &[String]) -> Result<(), FaultsError> {
        let handle = self._runtime.handle().clone();
        let mut seed = plan.seed;
        let mut tcp = |target: SocketAddr| {
            seed = seed.wrapping_add(1);
            Link::tcp(&handle, target, seed).map_err(FaultsError::system("making a link"))
        };
        let public = self.deployment.server();
        for _ in 0..plan.devices {
            self.clients.push(tcp(public)?);
        }
        let mut backends = Vec::new();
        for process in self.deployment.state().processes {
            if process.kind != Kind::Server {
                continue;
            }
            let parsed = process.address.parse::<SocketAddr>().ok();
            let (Some(address), Some(admin)) = (parsed, process.admin) else {
                continue;
            };
            backends.push((process.name, [tcp(address)?, tcp(admin)?]));
        }
        self.edit(BALANCER, |config| redirect(config, &backends))?;
        for (name, balancer) in backends {
            let database = self.database_links(plan, &name)?;
            let url = self.server_url(plan.dir, &name);
            self.edit(&name, |config| {
                config.insert("database_url".to_owned(), Value::String(url));
                config.insert("bcrypt_cost".to_owned(), Value::Integer(4));
            })?;
            self.servers.push(ServerLinks { balancer, database });
        }
        // One after the other: a start waits until all are ready.
        for name in names.iter().map(String::as_str).chain([BALANCER]) {
            self.deployment.kill(name)?;
            self.deployment.start_again(name)?;
        }
        Ok(())
    }

    fn database_links(&self, plan: &Plan<'_>, server: &str) -> Result<[Link; 2], FaultsError> {
        let handle = self._runtime.handle();
        let [first, second] = self.database.sockets();
        let make = |letter: char, target: PathBuf| {
            let dir = plan.dir.join(format!("{server}{letter}"));
            fs::create_dir_all(&dir).map_err(FaultsError::file(&dir))?;
            let socket = dir.join(".s.PGSQL.5432");
            Link::unix(handle, &socket, target, plan.seed).map_err(FaultsError::file(&socket))
        };
        Ok([make('a', first)?, make('b', second)?])
    }

    /// Both places of the database, each behind this server's link. Not as a URL: there a path with a comma is
    /// one path.
    fn server_url(&self, dir: &Path, server: &str) -> String {
        let dir = dir.display();
        format!(
            "host={dir}/{server}a,{dir}/{server}b dbname={NAME} user=sotto target_session_attrs=read-write"
        )
    }

    fn edit(&self, name: &str, change: impl FnOnce(&mut Table)) -> Result<(), FaultsError> {
        let path = self.deployment.layout().dir().join("config");
        let path = path.join(format!("{name}.toml"));
        let text = fs::read_to_string(&path).map_err(FaultsError::file(&path))?;
        let not_toml = |error: String| FaultsError::file(&path)(std::io::Error::other(error));
        let mut config: Table = text
            .parse()
            .map_err(|error: toml::de::Error| not_toml(error.to_string()))?;
        change(&mut config);
        let text = toml::to_string(&config).map_err(|error| not_toml(error.to_string()))?;
        fs::write(&path, text).map_err(FaultsError::file(&path))
    }

    /// Where a device connects.
    pub(crate) fn door(&self, device: usize) -> String {
        let address = self.clients.get(device).and_then(|link| link.address);
        address.map_or_else(String::new, |address| address.to_string())
    }

    /// All links fair, all clocks right.
    ///
    /// # Errors
    /// When a clock cannot be set.
    pub(crate) fn calm(&self) -> Result<(), FaultsError> {
        let of_servers = self.servers.iter();
        let of_servers = of_servers.flat_map(|links| links.balancer.iter().chain(&links.database));
        for link in of_servers.chain(&self.clients) {
            link.set(Weather::Fair);
        }
        if let Some(clocks) = &self.clocks {
            for name in server_names(u16::try_from(self.servers.len()).unwrap_or(0)) {
                clocks.set(&name, 0)?;
            }
            for device in 0..self.clients.len() {
                clocks.set(&client_clock(device), 0)?;
            }
        }
        Ok(())
    }
}

/// `s1`, `s2`, …
pub(crate) fn server_names(count: u16) -> Vec<String> {
    (1..=count).map(|number| format!("s{number}")).collect()
}

/// The name of a device's clock.
pub(crate) fn client_clock(device: usize) -> String {
    format!("c{device}")
}

/// Lets the balancer reach its servers by the links.
fn redirect(config: &mut Table, backends: &[(String, [Link; 2])]) {
    let Some(Value::Array(entries)) = config.get_mut("backend") else {
        return;
    };
    for entry in entries.iter_mut().filter_map(Value::as_table_mut) {
        let id = entry.get("id").and_then(Value::as_str).unwrap_or_default();
        let found = backends.iter().find(|(name, _)| name == id);
        let Some((_, [clients, health])) = found else {
            continue;
        };
        if let (Some(clients), Some(health)) = (clients.address, health.address) {
            let health = format!("http://{health}/readyz");
            entry.insert("address".to_owned(), Value::String(clients.to_string()));
            entry.insert("health".to_owned(), Value::String(health));
        }
    }
}
