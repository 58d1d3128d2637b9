//! Where each value of a configuration came from. Refuses to show the database's password
//! and the object store's key.

use std::path::Path;

use serde::Serializer;
use serde::ser::Error as _;
use toml::{Table, Value};

use super::{Config, ConfigError, environment};

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// The environment variable of this name.
    Environment(String),
    /// The file.
    File,
    /// Nobody gave one.
    Default,
}

impl std::fmt::Display for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Environment(name) => write!(f, "environment {name}"),
            Self::File => f.write_str("file"),
            Self::Default => f.write_str("default"),
        }
    }
}

/// One key of a configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    /// Its name.
    pub key: &'static str,
    /// What it holds, as TOML writes it; `None` where nothing is set.
    pub value: Option<String>,
    /// Where that came from.
    pub origin: Origin,
}

impl Config {
    /// Every key with its value and where that came from.
    ///
    /// # Errors
    /// See [`ConfigError`].
    pub fn settings(&self, file: Option<&Path>) -> Result<Vec<Setting>, ConfigError> {
        let text = super::text_of(file)?;
        self.settings_of(&text, |variable| std::env::var(variable).ok())
    }

    fn settings_of(
        &self,
        text: &str,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Vec<Setting>, ConfigError> {
        let unreadable = |error: toml::de::Error| ConfigError::Parse(error.message().to_owned());
        let given: Table = text.parse().map_err(unreadable)?;
        let values = Table::try_from(self)
            .map_err(|error| ConfigError::Parse(format!("a value cannot be shown: {error}")))?;
        let setting = |key: &'static str| {
            let name = environment::variable_of(key);
            let origin = if variable(&name).is_some() {
                Origin::Environment(name)
            } else if given.contains_key(key) {
                Origin::File
            } else {
                Origin::Default
            };
            Setting {
                key,
                value: values.get(key).map(Value::to_string),
                origin,
            }
        };
        Ok(environment::keys().map(setting).collect())
    }
}

/// Stands where a secret is set.
const NOT_SHOWN: &str = "(not shown)";

/// Whether a secret is set, and nothing else of it.
#[expect(clippy::ref_option, reason = "the signature that serde asks for")]
pub(super) fn not_shown<S: Serializer>(
    secret: &Option<String>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match secret {
        Some(_) => serializer.serialize_some(NOT_SHOWN),
        None => serializer.serialize_none(),
    }
}

/// A Postgres address without its password.
pub(super) fn without_password<S: Serializer>(url: &str, serializer: S) -> Result<S::Ok, S::Error> {
    let config =
        crate::store::read_url(url).ok_or_else(|| S::Error::custom("not a Postgres address"))?;
    let part = |name: &str, value: Option<&str>| value.map(|value| format!("{name}={value}"));
    let hosts: Vec<String> = config
        .get_hosts()
        .iter()
        .map(|host| match host {
            tokio_postgres::config::Host::Tcp(host) => host.clone(),
            tokio_postgres::config::Host::Unix(path) => path.display().to_string(),
        })
        .collect();
    let parts = [
        part("host", Some(&hosts.join(","))),
        part("dbname", config.get_dbname()),
        part("user", config.get_user()),
        part("sslmode", wants_tls(&config)),
        part("password", config.get_password().map(|_| NOT_SHOWN)),
    ];
    let shown: Vec<String> = parts.into_iter().flatten().collect();
    serializer.serialize_str(&shown.join(" "))
}

fn wants_tls(config: &tokio_postgres::Config) -> Option<&'static str> {
    (config.get_ssl_mode() == tokio_postgres::config::SslMode::Require).then_some("require")
}

/// Addresses of a bus without their passwords.
pub(super) fn bus_without_password<S: Serializer>(
    bus: &str,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&crate::bus::shown(bus))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = r#"
        listen = "127.0.0.1:0"
        admin = "127.0.0.1:0"
        database_url = "postgresql://u:c4n4ry@h/d"
        bus = "nats://u:c4n4ry@h"
        tls_cert = "server.pem"
        tls_key = "server.key"
        trusted_proxies = ["10.0.0.0/8"]
        s3_bucket = "files"
        s3_access_key_id = "id"
        s3_secret_access_key = "s3c4n4ry"
    "#;

    #[test]
    fn every_key_says_where_it_came_from_and_no_secret_is_shown() {
        let variable = |name: &str| (name == "SOTTO_SERVER_BCRYPT_COST").then(|| "5".to_owned());
        let config = Config::read(FILE, variable)
            .map_err(|error| error.to_string())
            .unwrap();
        let settings = config.settings_of(FILE, variable).unwrap();
        assert_eq!(settings.len(), environment::keys().count());
        let of = |key: &str| settings.iter().find(|setting| setting.key == key).unwrap();
        assert_eq!(of("listen").origin, Origin::File);
        assert_eq!(of("bcrypt_cost").value.as_deref(), Some("5"));
        assert_eq!(
            of("bcrypt_cost").origin.to_string(),
            "environment SOTTO_SERVER_BCRYPT_COST"
        );
        assert_eq!(of("retention_days").value.as_deref(), Some("14"));
        assert_eq!(of("retention_days").origin, Origin::Default);
        assert_eq!(of("password_workers").value, None);
        assert_eq!(of("bus").value.as_deref(), Some("\"nats://(not shown)@h\""));
        assert_eq!(
            of("trusted_proxies").value.as_deref(),
            Some("[\"10.0.0.0/8\"]")
        );
        assert_eq!(
            of("s3_secret_access_key").value.as_deref(),
            Some("\"(not shown)\"")
        );
        assert!(!format!("{settings:?}").contains("c4n4ry"));
    }
}
