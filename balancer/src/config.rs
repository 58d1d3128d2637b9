//! Configuration: one TOML file, an environment variable for every key, everything checked
//! before anything is used. Unknown keys are errors.
//!
//! A key `section.key` is overridden by `SOTTO_BALANCER_SECTION_KEY`, a key without section
//! by `SOTTO_BALANCER_KEY`; the value is written as in TOML, or as a bare string. `backend`
//! is an array of inline tables there:
//! `SOTTO_BALANCER_BACKEND='[{id = "s1", address = "127.0.0.1:7001"}]'`.

mod endpoint;
mod environment;

pub use endpoint::{Endpoint, HealthUrl, ParseEndpointError};

use crate::health::HealthSettings;
use crate::limits::PrefixSettings;
use crate::pool::PoolSettings;
use serde::Deserialize;
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The most backends that one pool may have.
pub const BACKENDS_MAX: usize = 1_000;
/// The greatest weight; the least is 1.
pub const WEIGHT_MAX: u32 = 1_000;
const ID_BYTES_MAX: usize = 64;

/// Everything that a balancer is told.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Where clients connect; port 0 lets the system choose.
    pub listen: Vec<SocketAddr>,
    /// Status and metrics over HTTP; must be a loopback address.
    pub admin: Option<SocketAddr>,
    /// The servers.
    #[serde(rename = "backend")]
    pub backends: Vec<BackendConfig>,
    /// What clients may take.
    #[serde(default)]
    pub limits: Limits,
    /// How long things may last.
    #[serde(default)]
    pub timeouts: Timeouts,
    /// How backends are judged.
    #[serde(default)]
    pub health: Health,
}

/// One server.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "RawBackend")]
pub struct BackendConfig {
    /// Its name, 1 to 64 of `A-Z a-z 0-9 . _ -`; where clients land depends on it.
    pub id: String,
    /// Where it takes clients, behind a PROXY v2 header.
    pub address: Endpoint,
    /// What is asked whether it is ready; without it, only clients' attempts tell.
    pub health: Option<HealthUrl>,
    /// Its share of the clients, 1 to 1,000.
    pub weight: u32,
}

impl BackendConfig {
    /// Whether `other` is this backend still, its weight aside.
    pub(crate) fn is_same_place(&self, other: &Self) -> bool {
        self.id == other.id && self.address == other.address && self.health == other.health
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawBackend {
    id: String,
    address: Endpoint,
    health: Option<HealthUrl>,
    health_address: Option<Endpoint>,
    weight: Option<u32>,
}

impl TryFrom<RawBackend> for BackendConfig {
    type Error = &'static str;

    fn try_from(raw: RawBackend) -> Result<Self, Self::Error> {
        let health = match (raw.health, raw.health_address) {
            (Some(_), Some(_)) => return Err("give `health` or `health_address`, not both"),
            (Some(url), None) => Some(url),
            (None, address) => address.map(HealthUrl::readyz),
        };
        let weight = raw.weight.unwrap_or(1);
        Ok(Self {
            id: raw.id,
            address: raw.address,
            health,
            weight,
        })
    }
}

/// What clients may take.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Clients at the same time; 0 derives it from the open-file limit, (n − 256) / 2.
    pub connections_max: u32,
    /// Clients of one prefix (/32, /64) at the same time.
    pub connections_per_prefix_max: u32,
    /// New clients of one prefix a second, in the long run.
    pub connection_rate_per_prefix: u32,
    /// New clients of one prefix at once.
    pub connection_burst_per_prefix: u32,
    /// Attempts without a first byte at one backend.
    pub handshakes_per_backend_max: u32,
    /// Retries that may be saved up; every new client earns one.
    pub retry_reserve: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections_max: 0,
            // An office or a campus behind one address is one prefix.
            connections_per_prefix_max: 50_000,
            connection_rate_per_prefix: 1_000,
            connection_burst_per_prefix: 20_000,
            handshakes_per_backend_max: 2_048,
            retry_reserve: 1_000,
        }
    }
}

/// How long things may last, in milliseconds.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Timeouts {
    /// For a client to send its whole ClientHello.
    pub hello_ms: u64,
    /// For a backend to accept a connection.
    pub connect_ms: u64,
    /// For a backend to send its first byte, before the next is asked too.
    pub first_byte_ms: u64,
    /// For any backend that was asked to answer, when none is left to ask.
    pub last_answer_ms: u64,
    /// For the other direction after one side has finished sending.
    pub half_close_ms: u64,
    /// For clients to leave after SIGTERM.
    pub drain_ms: u64,
    /// For clients to leave a backend that was removed from the configuration.
    pub backend_drain_ms: u64,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            hello_ms: 5_000,
            // Longer than a lost SYN takes to be sent again, and again.
            connect_ms: 3_500,
            first_byte_ms: 1_000,
            last_answer_ms: 3_000,
            half_close_ms: 30_000,
            drain_ms: 10_000,
            backend_drain_ms: 300_000,
        }
    }
}

/// How backends are judged.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Health {
    /// Between two probes, in milliseconds.
    pub interval_ms: u64,
    /// For a probe's answer, in milliseconds.
    pub timeout_ms: u64,
    /// Failing probes in a row until a backend is out.
    pub fall: u32,
    /// Good probes in a row until it is back.
    pub rise: u32,
    /// Failed attempts of clients in a row until it is ejected.
    pub eject_after: u32,
    /// The first ejection, in milliseconds; each further one lasts twice as long.
    pub eject_base_ms: u64,
    /// The longest ejection, in milliseconds.
    pub eject_max_ms: u64,
}

impl Default for Health {
    fn default() -> Self {
        Self {
            interval_ms: 500,
            // With two probes, a server that stopped is out within 0.5 + 2 × 0.8 = 2.1 s.
            timeout_ms: 800,
            fall: 2,
            rise: 2,
            eject_after: 3,
            eject_base_ms: 1_000,
            eject_max_ms: 30_000,
        }
    }
}

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// Not TOML, a missing or unknown key, or a value of the wrong kind.
    #[error("{0}")]
    Parse(String),
    /// An environment variable with the prefix that names no key.
    #[error("the environment variable {0} names no configuration key")]
    UnknownVariable(String),
    /// A value that makes no sense.
    #[error("{key}: {problem}")]
    Value {
        /// Which key.
        key: &'static str,
        /// What is wrong with it.
        problem: &'static str,
    },
}

impl Config {
    /// Reads the file (if any), lays the process's environment over it and checks the result.
    ///
    /// # Errors
    /// [`ConfigError`] with a sentence for the operator.
    pub fn load(path: Option<&Path>) -> Result<Self, ConfigError> {
        let text = match path {
            None => String::new(),
            Some(path) => std::fs::read_to_string(path).map_err(|source| ConfigError::Read {
                path: path.to_owned(),
                source,
            })?,
        };
        Self::from_parts(&text, std::env::vars_os())
    }

    /// Like [`Config::load`], from a text and given environment variables.
    ///
    /// # Errors
    /// [`ConfigError`] with a sentence for the operator.
    pub fn from_parts<K, V>(
        text: &str,
        variables: impl IntoIterator<Item = (K, V)>,
    ) -> Result<Self, ConfigError>
    where
        K: AsRef<std::ffi::OsStr>,
        V: AsRef<std::ffi::OsStr>,
    {
        let overrides = environment::overrides(variables)?;
        let parsed: Result<Self, toml::de::Error> = if overrides.is_empty() {
            // Straight from the text, so that errors name the line.
            toml::from_str(text)
        } else {
            let table = toml::from_str(text).map_err(|e| ConfigError::Parse(e.to_string()))?;
            Self::deserialize(environment::overlay(table, overrides))
        };
        let config = parsed.map_err(|e| ConfigError::Parse(e.to_string().trim_end().to_owned()))?;
        config.validate()?;
        Ok(config)
    }

    fn validate(&self) -> Result<(), ConfigError> {
        if self.listen.is_empty() {
            return Err(wrong("listen", "at least one address is needed"));
        }
        if self
            .admin
            .is_some_and(|address| !address.ip().is_loopback())
        {
            return Err(wrong(
                "admin",
                "must be a loopback address: anybody there sees the pool",
            ));
        }
        self.validate_backends()?;
        self.validate_counts()?;
        self.validate_spans()
    }

    fn validate_backends(&self) -> Result<(), ConfigError> {
        if !(1..=BACKENDS_MAX).contains(&self.backends.len()) {
            return Err(wrong("backend", "1 to 1,000 are needed"));
        }
        let mut ids = BTreeSet::new();
        for backend in &self.backends {
            let known = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
            let sized = (1..=ID_BYTES_MAX).contains(&backend.id.len());
            if !sized || !backend.id.bytes().all(known) {
                return Err(wrong(
                    "backend.id",
                    "1 to 64 of A-Z a-z 0-9 . _ - are allowed",
                ));
            }
            if !ids.insert(&backend.id) {
                return Err(wrong("backend.id", "two backends have the same id"));
            }
            if !(1..=WEIGHT_MAX).contains(&backend.weight) {
                return Err(wrong("backend.weight", "must be 1 to 1,000"));
            }
        }
        Ok(())
    }

    fn validate_counts(&self) -> Result<(), ConfigError> {
        let (limits, health) = (&self.limits, &self.health);
        let counts = [
            (
                "limits.connections_per_prefix_max",
                limits.connections_per_prefix_max,
            ),
            (
                "limits.connection_rate_per_prefix",
                limits.connection_rate_per_prefix,
            ),
            (
                "limits.connection_burst_per_prefix",
                limits.connection_burst_per_prefix,
            ),
            (
                "limits.handshakes_per_backend_max",
                limits.handshakes_per_backend_max,
            ),
            ("health.fall", health.fall),
            ("health.rise", health.rise),
            ("health.eject_after", health.eject_after),
        ];
        match counts.iter().find(|(_, count)| *count == 0) {
            Some((key, _)) => Err(wrong(key, "must be at least 1")),
            None => Ok(()),
        }
    }

    fn validate_spans(&self) -> Result<(), ConfigError> {
        let (timeouts, health) = (&self.timeouts, &self.health);
        let spans = [
            ("timeouts.hello_ms", timeouts.hello_ms),
            ("timeouts.connect_ms", timeouts.connect_ms),
            ("timeouts.first_byte_ms", timeouts.first_byte_ms),
            ("timeouts.last_answer_ms", timeouts.last_answer_ms),
            ("timeouts.half_close_ms", timeouts.half_close_ms),
            ("health.interval_ms", health.interval_ms),
            ("health.timeout_ms", health.timeout_ms),
            ("health.eject_base_ms", health.eject_base_ms),
            ("health.eject_max_ms", health.eject_max_ms),
        ];
        // Draining may take no time at all, or as long as an operator likes within a day.
        let drains = [
            ("timeouts.drain_ms", timeouts.drain_ms),
            ("timeouts.backend_drain_ms", timeouts.backend_drain_ms),
        ];
        if let Some((key, _)) = spans.iter().find(|(_, ms)| !(1..=3_600_000).contains(ms)) {
            return Err(wrong(key, "must be 1 to 3,600,000"));
        }
        if let Some((key, _)) = drains.iter().find(|(_, ms)| *ms > 86_400_000) {
            return Err(wrong(key, "must be at most 86,400,000"));
        }
        if health.eject_base_ms > health.eject_max_ms {
            return Err(wrong(
                "health.eject_max_ms",
                "must not be below health.eject_base_ms",
            ));
        }
        Ok(())
    }

    pub(crate) fn pool_settings(&self) -> PoolSettings {
        PoolSettings {
            health: HealthSettings {
                fall: self.health.fall,
                rise: self.health.rise,
                eject_after: self.health.eject_after,
                eject_base: Duration::from_millis(self.health.eject_base_ms),
                eject_max: Duration::from_millis(self.health.eject_max_ms),
            },
            handshakes_max: self.limits.handshakes_per_backend_max,
        }
    }

    pub(crate) fn prefix_settings(&self) -> PrefixSettings {
        PrefixSettings {
            connections_max: self.limits.connections_per_prefix_max,
            rate: self.limits.connection_rate_per_prefix,
            burst: self.limits.connection_burst_per_prefix,
        }
    }
}

fn wrong(key: &'static str, problem: &'static str) -> ConfigError {
    ConfigError::Value { key, problem }
}

#[cfg(test)]
mod tests;
