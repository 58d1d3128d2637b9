//! Which bus a server uses, as the configuration names it. Refuses to show a password.

use std::path::PathBuf;

use async_nats::ServerAddr;

/// NATS servers that may be named.
const SERVERS_MAX: usize = 16;

/// What carries hints between servers.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum BusAddress {
    /// `LISTEN` and `NOTIFY` of the database: nothing more to run.
    #[default]
    Postgres,
    /// A NATS server, or several of one cluster.
    Nats(NatsAddress),
}

/// Where NATS is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NatsAddress {
    /// 1 to 16 servers of one cluster.
    pub(super) servers: Vec<ServerAddr>,
    /// What they want to be told, which their library does not read from addresses.
    pub(super) credentials: Credentials,
    /// The authority that their certificates must come from; without it, the machine's.
    pub(super) authority: Option<PathBuf>,
}

/// Who a server is to NATS.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Credentials {
    /// Nobody.
    None,
    /// Whoever has this token.
    Token(String),
    /// Somebody with a password.
    User {
        /// The name.
        name: String,
        /// The password.
        password: String,
    },
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("(not shown)")
    }
}

impl Credentials {
    fn of(server: &ServerAddr) -> Option<Self> {
        let decoded = |text: &str| {
            let bytes = percent_encoding::percent_decode_str(text);
            Some(bytes.decode_utf8().ok()?.into_owned())
        };
        let name = server.username().filter(|name| !name.is_empty());
        Some(match (name, server.password()) {
            (None, None) => Self::None,
            (None, Some(_)) => return None,
            (Some(token), None) => Self::Token(decoded(token)?),
            (Some(name), Some(password)) => Self::User {
                name: decoded(name)?,
                password: decoded(password)?,
            },
        })
    }
}

/// Why a text names no bus.
const EXPECTED: &str = "bus must be \"postgres\", or 1 to 16 addresses such as \
     nats://host:4222 or tls://user:password@host:4222, separated by commas";

impl NatsAddress {
    /// Whether nothing is said in the clear.
    pub(super) fn is_encrypted(&self) -> bool {
        self.servers.iter().all(ServerAddr::tls_required)
    }
}

impl BusAddress {
    /// Reads what `bus` and `bus_ca` say.
    ///
    /// # Errors
    /// A sentence for the operator, which quotes nothing.
    pub fn read(bus: &str, authority: Option<PathBuf>) -> Result<Self, &'static str> {
        if bus == "postgres" {
            return match authority {
                None => Ok(Self::Postgres),
                Some(_) => Err("bus_ca is for NATS: set bus to its address, or leave bus_ca out"),
            };
        }
        let servers: Vec<ServerAddr> = bus
            .split(',')
            .map(server)
            .collect::<Option<_>>()
            .ok_or(EXPECTED)?;
        if servers.len() > SERVERS_MAX {
            return Err(EXPECTED);
        }
        let encrypted = servers
            .iter()
            .filter(|server| server.tls_required())
            .count();
        if encrypted != 0 && encrypted != servers.len() {
            return Err("the addresses of bus must all begin with tls://, or none");
        }
        if authority.is_some() && encrypted == 0 {
            return Err("with bus_ca the addresses of bus must begin with tls://");
        }
        let told: Option<Vec<_>> = servers.iter().map(Credentials::of).collect();
        let told = told.ok_or(EXPECTED)?;
        let credentials = told.first().ok_or(EXPECTED)?.clone();
        if told.iter().any(|other| *other != credentials) {
            return Err("the addresses of bus must all have the same user and password");
        }
        let servers = servers.into_iter().map(without_credentials);
        Ok(Self::Nats(NatsAddress {
            servers: servers.collect::<Option<_>>().ok_or(EXPECTED)?,
            credentials,
            authority,
        }))
    }

    /// The bus in one word.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Postgres => "postgres",
            Self::Nats(_) => "nats",
        }
    }
}

fn server(text: &str) -> Option<ServerAddr> {
    let text = text.trim();
    let known = text.starts_with("nats://") || text.starts_with("tls://");
    let server: ServerAddr = known.then(|| text.parse().ok()).flatten()?;
    (!server.host().is_empty()).then_some(server)
}

/// The library logs addresses whole.
fn without_credentials(server: ServerAddr) -> Option<ServerAddr> {
    let mut url = server.into_inner();
    url.set_password(None).ok()?;
    url.set_username("").ok()?;
    ServerAddr::from_url(url).ok()
}

/// What `bus` says, without user and password.
#[must_use]
pub(crate) fn shown(bus: &str) -> String {
    let shown = bus.split(',').map(|address| {
        let address = address.trim();
        match (address.split_once("://"), address.rsplit_once('@')) {
            (Some((scheme, _)), Some((_, host))) => format!("{scheme}://(not shown)@{host}"),
            _ => address.to_owned(),
        }
    });
    shown.collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bus_is_postgres_or_nats_and_nothing_else() {
        assert_eq!(BusAddress::read("postgres", None), Ok(BusAddress::Postgres));
        let Ok(BusAddress::Nats(nats)) = BusAddress::read("tls://u:p@a, tls://u:p@b:7", None)
        else {
            panic!("two addresses");
        };
        assert_eq!(nats.servers[0].port(), 4222);
        assert_eq!(nats.servers[1].host(), "b");
        assert!(nats.servers[1].tls_required());
        assert!(BusAddress::read("nats://u:p@a,nats://b", None).is_err());
        for wrong in [
            "",
            "nats",
            "host:4222",
            "redis://a",
            "nats://a,,",
            "ws://a",
            "nats://",
        ] {
            assert_eq!(BusAddress::read(wrong, None), Err(EXPECTED), "{wrong}");
        }
        assert!(BusAddress::read(&["nats://a"; 17].join(","), None).is_err());
    }

    #[test]
    fn an_authority_is_for_encrypted_nats_only() {
        let authority = || Some(PathBuf::from("ca.pem"));
        assert!(BusAddress::read("postgres", authority()).is_err());
        assert!(BusAddress::read("nats://a", authority()).is_err());
        assert!(BusAddress::read("tls://a,nats://b", None).is_err());
        assert!(BusAddress::read("tls://a", authority()).is_ok());
    }

    #[test]
    fn credentials_are_read_from_addresses_and_not_shown() {
        for (address, expected) in [
            ("nats://a", Credentials::None),
            ("nats://t%40ken@a", Credentials::Token("t@ken".into())),
            (
                "nats://u:p%3Aw@a",
                Credentials::User {
                    name: "u".into(),
                    password: "p:w".into(),
                },
            ),
        ] {
            let Ok(BusAddress::Nats(nats)) = BusAddress::read(address, None) else {
                panic!("{address}");
            };
            assert!(nats.credentials == expected, "{address}");
            assert_eq!(format!("{:?}", nats.credentials), "(not shown)");
            assert_eq!(nats.servers[0].as_url_str(), "nats://a");
        }
        assert!(BusAddress::read("nats://:p@a", None).is_err());
    }

    #[test]
    fn passwords_are_not_shown() {
        assert_eq!(shown("postgres"), "postgres");
        assert_eq!(shown("nats://a:1"), "nats://a:1");
        let both = shown("tls://u:c4n@4ry@b:7, nats://t0k3n@c");
        assert_eq!(both, "tls://(not shown)@b:7,nats://(not shown)@c");
    }
}
