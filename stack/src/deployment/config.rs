//! The configuration files that a deployment writes for its servers and its balancer, and the
//! settings that it keeps from one start to the next.

use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::certs::Certificates;
use crate::files::{self, Access};

/// How long a server may take to let its clients go when the deployment stops.
pub(crate) const DRAIN_SECS: u64 = 3;

/// People who try things out register again and again from one address.
const REGISTRATIONS_PER_HOUR: u32 = 1_000_000;

/// Addresses of one server, or of the balancer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Ports {
    /// Clients, or the balancer on their behalf.
    pub(crate) listen: u16,
    /// Health and metrics.
    pub(crate) admin: u16,
}

impl Ports {
    pub(crate) fn listen_address(self) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.listen))
    }

    pub(crate) fn admin_address(self) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.admin))
    }
}

/// What stays the same from one start to the next.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Settings {
    /// By process name.
    #[serde(default)]
    pub(crate) ports: BTreeMap<String, Ports>,
    /// Where the private Postgres lies, once there is one.
    #[serde(default)]
    pub(crate) postgres_home: Option<PathBuf>,
}

impl Settings {
    pub(crate) fn load(path: &Path) -> io::Result<Self> {
        match std::fs::read_to_string(path) {
            Ok(text) => serde_json::from_str(&text)
                .map_err(|error| files::naming(path, io::Error::other(error))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(files::naming(path, error)),
        }
    }

    pub(crate) fn save(&self, path: &Path) -> io::Result<()> {
        files::write(path, &serde_json::to_string_pretty(self)?, Access::Private)
    }
}

/// The file of one server.
#[derive(Debug, Serialize)]
pub(crate) struct ServerConfig<'a> {
    name: &'a str,
    listen: SocketAddr,
    admin: SocketAddr,
    database_url: &'a str,
    tls_cert: &'a Path,
    tls_key: &'a Path,
    trusted_proxies: [&'static str; 1],
    registration: &'static str,
    directory: &'static str,
    ready_file: &'a Path,
    drain_seconds: u64,
    registrations_per_hour: u32,
}

impl<'a> ServerConfig<'a> {
    pub(crate) fn new(
        name: &'a str,
        ports: Ports,
        database_url: &'a str,
        certificates: &'a Certificates,
        ready_file: &'a Path,
    ) -> Self {
        Self {
            name,
            listen: ports.listen_address(),
            admin: ports.admin_address(),
            database_url,
            tls_cert: &certificates.cert,
            tls_key: &certificates.key,
            trusted_proxies: ["127.0.0.1/32"],
            registration: "open",
            directory: "listed",
            ready_file,
            drain_seconds: DRAIN_SECS,
            registrations_per_hour: REGISTRATIONS_PER_HOUR,
        }
    }
}

/// The file of the balancer.
#[derive(Debug, Serialize)]
pub(crate) struct BalancerConfig {
    listen: [SocketAddr; 1],
    admin: SocketAddr,
    timeouts: BalancerTimeouts,
    backend: Vec<Backend>,
}

#[derive(Debug, Serialize)]
struct BalancerTimeouts {
    drain_ms: u64,
}

#[derive(Debug, Serialize)]
struct Backend {
    id: String,
    address: SocketAddr,
    health: String,
}

impl BalancerConfig {
    pub(crate) fn new<'a>(ports: Ports, servers: impl Iterator<Item = (&'a str, Ports)>) -> Self {
        let backend = servers
            .map(|(id, ports)| Backend {
                id: id.to_owned(),
                address: ports.listen_address(),
                health: format!("http://{}/readyz", ports.admin_address()),
            })
            .collect();
        Self {
            listen: [ports.listen_address()],
            admin: ports.admin_address(),
            // Servers ask their clients to move; there is nothing for the balancer to wait for.
            timeouts: BalancerTimeouts { drain_ms: 1_000 },
            backend,
        }
    }
}

/// Writes a configuration file; private, because it can hold the address of a database.
pub(crate) fn write(path: &Path, config: &impl Serialize) -> io::Result<()> {
    let text = toml::to_string(config).map_err(io::Error::other)?;
    let note = "# Written by `sotto up` at each start; changes made here are lost.\n";
    files::write(path, &format!("{note}{text}"), Access::Private)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_come_back_as_they_were_saved() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("settings.json");
        assert_eq!(Settings::load(&path).unwrap(), Settings::default());
        let mut settings = Settings::default();
        settings.ports.insert(
            "s1".to_owned(),
            Ports {
                listen: 1,
                admin: 2,
            },
        );
        settings.save(&path).unwrap();
        assert_eq!(Settings::load(&path).unwrap(), settings);
        std::fs::write(&path, "{").unwrap();
        assert!(Settings::load(&path).is_err());
    }

    #[test]
    fn the_balancer_is_told_of_every_server() {
        let ports = Ports {
            listen: 7443,
            admin: 9000,
        };
        let servers = [
            (
                "s1",
                Ports {
                    listen: 1,
                    admin: 2,
                },
            ),
            (
                "s2",
                Ports {
                    listen: 3,
                    admin: 4,
                },
            ),
        ];
        let text = toml::to_string(&BalancerConfig::new(ports, servers.into_iter())).unwrap();
        let value: toml::Table = toml::from_str(&text).unwrap();
        let backends = value["backend"].as_array().unwrap();
        assert_eq!(backends.len(), 2);
        assert_eq!(backends[1]["address"].as_str(), Some("127.0.0.1:3"));
        assert_eq!(
            backends[1]["health"].as_str(),
            Some("http://127.0.0.1:4/readyz")
        );
    }
}
