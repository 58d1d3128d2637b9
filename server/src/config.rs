//! The server's configuration: one TOML file, an environment variable for
//! every key, checked as a whole before anything starts. Unknown keys of the
//! file are errors. Unknown variables are not: platforms invent some
//! (`SOTTO_SERVER_SERVICE_HOST`) for services of this name.

mod cidr;
mod environment;
mod origin;

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::bus::BusAddress;
use crate::store::DatabaseAddress;

pub use cidr::Cidr;
pub use origin::{Origin, Setting};

/// Everything that an operator can set.
#[derive(Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Where clients (or a balancer) connect.
    pub listen: SocketAddr,
    /// Where `/livez`, `/readyz`, `/metrics` and `/status.json` are served; loopback only.
    pub admin: SocketAddr,
    /// `allow` lets `admin` listen beyond loopback.
    #[serde(default)]
    pub admin_public: AdminPublic,
    /// The Postgres address, as libpq reads it. May hold a password: never logged.
    #[serde(serialize_with = "origin::without_password")]
    pub database_url: String,
    /// The authority that the certificate of Postgres must come from, in PEM; with it the
    /// connection is encrypted and verified.
    #[serde(default)]
    pub database_ca: Option<PathBuf>,
    /// What carries hints between servers: `postgres`, or addresses of NATS. May hold a password:
    /// never logged.
    #[serde(
        default = "default_bus",
        serialize_with = "origin::bus_without_password"
    )]
    pub bus: String,
    /// The authority that certificates of NATS must come from, in PEM; without it, the machine's.
    #[serde(default)]
    pub bus_ca: Option<PathBuf>,
    /// The certificate chain in PEM.
    pub tls_cert: PathBuf,
    /// The private key in PEM.
    pub tls_key: PathBuf,
    /// Networks whose connections must begin with a PROXY v2 header; from all others none is read.
    #[serde(default)]
    pub trusted_proxies: Vec<Cidr>,
    /// Who may register.
    #[serde(default)]
    pub registration: Registration,
    /// Whether accounts can be listed.
    #[serde(default)]
    pub directory: Directory,
    /// A file that is written once the server is ready: JSON with the bound addresses.
    #[serde(default)]
    pub ready_file: Option<PathBuf>,
    /// The server's name in status displays.
    #[serde(default = "default_name")]
    pub name: String,
    /// Connections held at once.
    #[serde(default = "default_connections_max")]
    pub connections_max: usize,
    /// Handshakes under way at once.
    #[serde(default = "default_handshakes_max")]
    pub handshakes_max: usize,
    /// Threads that run bcrypt; as many as the machine has cores when not said.
    #[serde(default)]
    pub password_workers: Option<usize>,
    /// bcrypt's cost, 4 to 16.
    #[serde(default = "default_bcrypt_cost")]
    pub bcrypt_cost: u32,
    /// How long an undelivered envelope is kept.
    #[serde(default = "default_retention_days")]
    pub retention_days: u32,
    /// How long a stopping server waits for its clients to leave.
    #[serde(default = "default_drain_seconds")]
    pub drain_seconds: u64,
    /// Registrations that one network prefix may make in an hour, over all servers.
    #[serde(default = "default_registrations_per_hour")]
    pub registrations_per_hour: u32,
    /// The largest sealed file, in bytes.
    #[serde(default = "default_blob_bytes_max")]
    pub blob_bytes_max: u64,
    /// Bytes of sealed files that one account may have, where nothing else is set for it.
    #[serde(default = "default_blob_quota_bytes")]
    pub blob_quota_bytes: u64,
    /// How long a sealed file is kept.
    #[serde(default = "default_blob_days")]
    pub blob_days: u32,
    /// The bucket of an S3-compatible store; without one sealed files lie in the database.
    #[serde(default)]
    pub s3_bucket: Option<String>,
    /// Its address, where it is not Amazon's.
    #[serde(default)]
    pub s3_endpoint: Option<String>,
    /// Its region.
    #[serde(default)]
    pub s3_region: Option<String>,
    /// What the names of all objects begin with.
    #[serde(default)]
    pub s3_prefix: Option<String>,
    /// The id of the access key; without one the machine's own rights are used.
    #[serde(default)]
    pub s3_access_key_id: Option<String>,
    /// The access key: never logged, never shown.
    #[serde(default, serialize_with = "origin::not_shown")]
    pub s3_secret_access_key: Option<String>,
}

/// Who may register.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Registration {
    /// Anybody.
    #[default]
    Open,
    /// Whoever holds an invite code.
    Invite,
    /// Nobody.
    Closed,
}

/// Whether accounts can be listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Directory {
    /// By everybody who is logged in.
    #[default]
    Listed,
    /// By those only who share a conversation with them.
    Contacts,
    /// By nobody.
    Hidden,
}

/// Whether the admin port may be reached from elsewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum AdminPublic {
    /// It may not.
    #[default]
    Refuse,
    /// It may: something else keeps strangers away from it.
    Allow,
}

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read {}: {source}", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// The text is not a configuration.
    #[error("the configuration is wrong: {0}")]
    Parse(String),
    /// A variable holds something else than its key takes.
    #[error("the environment variable {variable} is not {expected}")]
    Variable {
        /// Its name.
        variable: String,
        /// What it should be.
        expected: &'static str,
    },
    /// A value is out of its range.
    #[error("the configuration is wrong: {0}")]
    Value(&'static str),
}

impl Config {
    /// Reads a file, if one is named, and lets the environment override it.
    ///
    /// # Errors
    /// See [`ConfigError`].
    pub fn load(file: Option<&Path>) -> Result<Self, ConfigError> {
        let text = text_of(file)?;
        Self::read(&text, |variable| std::env::var(variable).ok())
    }

    /// Reads a text, overridden by `variable`'s answers.
    ///
    /// # Errors
    /// See [`ConfigError`].
    pub fn read(
        text: &str,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, ConfigError> {
        // The parser's own message quotes the line, which may be the one with a password.
        let mut table: toml::Table = text
            .parse()
            .map_err(|error: toml::de::Error| ConfigError::Parse(error.message().to_owned()))?;
        environment::overlay(&mut table, variable)?;
        let config: Self = table
            .try_into()
            .map_err(|error: toml::de::Error| ConfigError::Parse(error.message().to_owned()))?;
        config.check()?;
        Ok(config)
    }

    fn check(&self) -> Result<(), ConfigError> {
        let wrong = |sentence| Err(ConfigError::Value(sentence));
        if !is_loopback(self.admin.ip()) && self.admin_public == AdminPublic::Refuse {
            return wrong("admin must be a loopback address, unless admin_public = \"allow\"");
        }
        self.database().encryption().map_err(ConfigError::Value)?;
        self.bus_address().map_err(ConfigError::Value)?;
        if !(4..=16).contains(&self.bcrypt_cost) {
            return wrong("bcrypt_cost must be 4 to 16");
        }
        if self.connections_max == 0 || self.handshakes_max == 0 {
            return wrong("connections_max and handshakes_max must be at least 1");
        }
        if self
            .password_workers
            .is_some_and(|workers| !(1..=256).contains(&workers))
        {
            return wrong("password_workers must be 1 to 256");
        }
        if !(1..=3650).contains(&self.retention_days) {
            return wrong("retention_days must be 1 to 3650");
        }
        if self.drain_seconds > 3600 {
            return wrong("drain_seconds must be at most 3600");
        }
        if !(1..=16 << 30).contains(&self.blob_bytes_max) {
            return wrong("blob_bytes_max must be 1 to 17179869184");
        }
        if self.blob_quota_bytes > 1 << 50 {
            return wrong("blob_quota_bytes must be at most 1125899906842624");
        }
        if !(1..=3650).contains(&self.blob_days) {
            return wrong("blob_days must be 1 to 3650");
        }
        if self.s3_access_key_id.is_some() != self.s3_secret_access_key.is_some() {
            return wrong("s3_access_key_id and s3_secret_access_key belong together");
        }
        if self.name.is_empty() || self.name.len() > 64 {
            return wrong("name must have 1 to 64 bytes");
        }
        Ok(())
    }

    /// Where the database is.
    #[must_use]
    pub fn database(&self) -> DatabaseAddress {
        DatabaseAddress {
            url: self.database_url.clone(),
            authority: self.database_ca.clone(),
        }
    }

    /// What carries hints between servers.
    ///
    /// # Errors
    /// A sentence when `bus` and `bus_ca` name none; a configuration that was read has one.
    pub fn bus_address(&self) -> Result<BusAddress, &'static str> {
        BusAddress::read(&self.bus, self.bus_ca.clone())
    }

    /// How long a stopping server waits for its clients to leave.
    #[must_use]
    pub fn drain(&self) -> Duration {
        Duration::from_secs(self.drain_seconds)
    }

    /// Whether connections from `address` must begin with a PROXY v2 header.
    #[must_use]
    pub fn is_trusted_proxy(&self, address: IpAddr) -> bool {
        self.trusted_proxies
            .iter()
            .any(|network| network.contains(address))
    }
}

fn text_of(file: Option<&Path>) -> Result<String, ConfigError> {
    match file {
        Some(path) => std::fs::read_to_string(path).map_err(|source| ConfigError::Read {
            path: path.to_owned(),
            source,
        }),
        None => Ok(String::new()),
    }
}

fn is_loopback(address: IpAddr) -> bool {
    address.to_canonical().is_loopback()
}

fn default_name() -> String {
    "server".to_owned()
}

fn default_bus() -> String {
    "postgres".to_owned()
}

fn default_connections_max() -> usize {
    50_000
}

fn default_handshakes_max() -> usize {
    1_000
}

fn default_bcrypt_cost() -> u32 {
    12
}

fn default_retention_days() -> u32 {
    14
}

fn default_drain_seconds() -> u64 {
    30
}

fn default_registrations_per_hour() -> u32 {
    60
}

fn default_blob_bytes_max() -> u64 {
    256 << 20
}

fn default_blob_quota_bytes() -> u64 {
    2 << 30
}

fn default_blob_days() -> u32 {
    30
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALLEST: &str = r#"
        listen = "127.0.0.1:0"
        admin = "127.0.0.1:0"
        database_url = "postgresql:///sotto"
        tls_cert = "server.pem"
        tls_key = "server.key"
    "#;

    fn read(text: &str) -> Result<Config, ConfigError> {
        Config::read(text, |_| None)
    }

    #[test]
    fn the_smallest_file_has_defaults_for_the_rest() {
        let config = read(SMALLEST).map_err(|error| error.to_string()).unwrap();
        assert_eq!(config.bcrypt_cost, 12);
        assert_eq!(config.registration, Registration::Open);
        assert!(!config.is_trusted_proxy("127.0.0.1".parse().unwrap()));
    }

    #[test]
    fn unknown_keys_and_values_out_of_range_are_errors() {
        for line in [
            "lisen = \"x\"",
            "bcrypt_cost = 3",
            "connections_max = 0",
            "trusted_proxies = [\"10.0.0.0/33\"]",
            "registration = \"maybe\"",
            "name = \"\"",
            "blob_bytes_max = 0",
            "blob_days = 0",
            "s3_access_key_id = \"alone\"",
            "database_url = \"mysql://x\"",
            "database_url = \"postgresql://h/d?sslmode=prefer\"",
            "database_ca = \"ca.pem\"", // by a socket
            "bus = \"nats\"",
            "bus_ca = \"ca.pem\"",
        ] {
            let key = line.split(' ').next().unwrap();
            let others: String = SMALLEST
                .lines()
                .filter(|other| !other.trim().starts_with(key))
                .map(|other| format!("{other}\n"))
                .collect();
            assert!(read(&format!("{others}{line}")).is_err(), "{line}");
        }
        let public = SMALLEST.replace("admin = \"127.0.0.1:0\"", "admin = \"0.0.0.0:9\"");
        assert!(read(&public).is_err());
        assert!(read(&format!("{public}\nadmin_public = \"allow\"")).is_ok());
    }

    #[test]
    fn errors_do_not_quote_the_database_password() {
        let text = SMALLEST.replace("\"postgresql:///sotto\"", "\"postgresql://u:c4n4ry@h/d");
        let error = read(&text).err().unwrap();
        assert!(!format!("{error} {error:?}").contains("c4n4ry"));
    }

    #[test]
    fn the_environment_overrides_every_key() {
        let config = Config::read(SMALLEST, |variable| {
            Some(
                match variable {
                    "SOTTO_SERVER_LISTEN" => "127.0.0.1:7",
                    "SOTTO_SERVER_BCRYPT_COST" => "5",
                    "SOTTO_SERVER_TRUSTED_PROXIES" => "10.0.0.0/8, ::1/128",
                    "SOTTO_SERVER_REGISTRATION" => "closed",
                    _ => return None,
                }
                .to_owned(),
            )
        })
        .map_err(|error| error.to_string())
        .unwrap();
        assert_eq!(config.listen.port(), 7);
        assert_eq!(config.bcrypt_cost, 5);
        assert!(config.is_trusted_proxy("10.9.9.9".parse().unwrap()));
        assert!(config.is_trusted_proxy("::ffff:10.9.9.9".parse().unwrap()));
        assert!(!config.is_trusted_proxy("11.0.0.1".parse().unwrap()));
        assert_eq!(config.registration, Registration::Closed);
    }
}
