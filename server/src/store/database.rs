//! Where the database is and how it is reached: in the clear, or by TLS with certificate and name
//! verified. That is decided by the configuration alone, never by what the other side offers.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use tokio_postgres::Config;
use tokio_postgres::config::{Host, SslMode};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::connect::CONNECT_LIMIT;
use super::error::StoreError;
use crate::trust;

/// The protocol's name in TLS; Postgres 17 and later look at it.
const ALPN: &[u8] = b"postgresql";

/// Where the database is, as an operator says it.
#[derive(Clone)]
pub struct DatabaseAddress {
    /// As libpq reads it; may hold a password.
    pub url: String,
    /// The authority that its certificate must come from, in PEM.
    pub authority: Option<PathBuf>,
}

impl<T: Into<String>> From<T> for DatabaseAddress {
    /// In the clear, unless the URL says otherwise.
    fn from(url: T) -> Self {
        Self {
            url: url.into(),
            authority: None,
        }
    }
}

/// Whether the connection is encrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encryption {
    /// It is not.
    None,
    /// It is, and the other side has shown that it is the one.
    Verified,
}

/// Reads a Postgres URL. `verify-full` is what `require` means here.
pub(crate) fn read_url(url: &str) -> Option<Config> {
    url.replace("sslmode=verify-full", "sslmode=require")
        .parse()
        .ok()
}

impl DatabaseAddress {
    /// Whether the connection is to be encrypted.
    ///
    /// # Errors
    /// A sentence for the operator when that cannot be had, or is left to the other side.
    pub fn encryption(&self) -> Result<Encryption, &'static str> {
        let config = read_url(&self.url).ok_or("database_url is not a Postgres address")?;
        let bare = self.url.replace([' ', '\''], "");
        if bare.contains("sslmode=prefer") {
            return Err("sslmode=prefer would fall back to the clear: say require or disable");
        }
        match (config.get_ssl_mode(), &self.authority) {
            (SslMode::Disable, Some(_)) => {
                Err("database_ca and sslmode=disable contradict each other: leave one out")
            }
            (SslMode::Disable | SslMode::Prefer, None) => Ok(Encryption::None),
            _ if config.get_hosts().is_empty() || !config.get_hosts().iter().all(is_named) => {
                Err("TLS to Postgres needs hosts in database_url, and no socket")
            }
            _ => Ok(Encryption::Verified),
        }
    }

    /// Whether somebody on a network could read along.
    #[must_use]
    pub fn is_exposed(&self) -> bool {
        let Some(config) = read_url(&self.url) else {
            return false;
        };
        let elsewhere = if config.get_hostaddrs().is_empty() {
            config.get_hosts().iter().any(is_elsewhere)
        } else {
            config.get_hostaddrs().iter().any(|ip| !ip.is_loopback())
        };
        elsewhere && self.encryption() == Ok(Encryption::None)
    }
}

fn is_named(host: &Host) -> bool {
    matches!(host, Host::Tcp(_))
}

fn is_elsewhere(host: &Host) -> bool {
    let Host::Tcp(name) = host else {
        return false;
    };
    let ip: Option<IpAddr> = name.parse().ok();
    name != "localhost" && !ip.is_some_and(|ip| ip.is_loopback())
}

/// What connecting needs.
pub(crate) struct Database {
    pub(super) config: Config,
    pub(super) tls: Option<MakeRustlsConnect>,
}

impl Database {
    /// Reads an address and sets what every connection needs.
    pub(crate) fn new(address: &DatabaseAddress) -> Result<Self, StoreError> {
        let wrong = |reason: &str| StoreError::Unavailable(reason.to_owned());
        let encryption = address.encryption().map_err(wrong)?;
        let mut config = read_url(&address.url).ok_or_else(|| wrong("not a Postgres address"))?;
        config
            .application_name("sotto-server")
            .connect_timeout(CONNECT_LIMIT)
            .keepalives(true)
            .keepalives_idle(Duration::from_secs(10))
            .keepalives_interval(Duration::from_secs(5))
            .keepalives_retries(3)
            .tcp_user_timeout(Duration::from_secs(20));
        let tls = match encryption {
            Encryption::None => {
                config.ssl_mode(SslMode::Disable);
                None
            }
            Encryption::Verified => {
                config.ssl_mode(SslMode::Require);
                let mut tls = trust::client_config(address.authority.as_deref())
                    .map_err(|error| StoreError::Tls(format!("database_ca: {error}")))?;
                tls.alpn_protocols = vec![ALPN.to_vec()];
                Some(MakeRustlsConnect::new(tls))
            }
        };
        Ok(Self { config, tls })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encryption(url: &str, authority: Option<&str>) -> Result<Encryption, &'static str> {
        DatabaseAddress {
            url: url.to_owned(),
            authority: authority.map(PathBuf::from),
        }
        .encryption()
    }

    #[test]
    fn encryption_is_the_configurations_word() {
        for url in [
            "postgresql://h/d",
            "host=h sslmode=disable",
            "postgresql:///d?host=/run",
        ] {
            assert_eq!(encryption(url, None), Ok(Encryption::None), "{url}");
        }
        for url in [
            "postgresql://h/d?sslmode=require",
            "postgresql://h/d?sslmode=verify-full",
            "host=h sslmode=verify-full",
        ] {
            assert_eq!(encryption(url, None), Ok(Encryption::Verified), "{url}");
        }
        let with_authority = encryption("postgresql://h,i/d", Some("ca.pem"));
        assert_eq!(with_authority, Ok(Encryption::Verified));
    }

    #[test]
    fn what_would_be_silently_weaker_is_refused() {
        for (url, authority) in [
            ("postgresql://h/d?sslmode=prefer", None),
            ("host=h sslmode = 'prefer'", None),
            ("postgresql://h/d?sslmode=disable", Some("ca.pem")),
            ("postgresql:///d?host=/run", Some("ca.pem")),
            ("postgresql:///d?host=/run&sslmode=require", None),
            ("host=h,/run sslmode=require", None),
            ("hostaddr=10.0.0.1 sslmode=require", None),
            ("postgresql://h/d?sslmode=verify-ca", None),
            ("mysql://h", None),
        ] {
            assert!(encryption(url, authority).is_err(), "{url}");
        }
    }

    #[test]
    fn only_what_leaves_the_machine_in_the_clear_is_exposed() {
        let exposed = |url: &str| DatabaseAddress::from(url).is_exposed();
        assert!(exposed("postgresql://db.internal/d"));
        assert!(exposed("postgresql://10.0.0.1/d"));
        assert!(exposed("host=localhost hostaddr=10.0.0.1"));
        for url in [
            "postgresql://db.internal/d?sslmode=require",
            "postgresql://localhost/d",
            "postgresql://127.0.0.1/d",
            "postgresql:///d?host=/run",
        ] {
            assert!(!exposed(url), "{url}");
        }
    }
}
