//! `HOST:PORT[,HOST:PORT…]`, read once and trusted afterwards.

use std::fmt;

use rustls_pki_types::ServerName;

/// The port where none is given.
const DEFAULT_PORT: u16 = 7443;
/// The most addresses in a list.
const SERVERS_MAX: usize = 16;

/// One address to connect to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ServerAddress {
    /// A name or an IP address, without brackets; the certificate must be for it.
    pub(crate) host: String,
    pub(crate) port: u16,
}

/// The addresses of one deployment, tried in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ServerList(Vec<ServerAddress>);

/// Text that is not a list of servers.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ServerListError {
    #[error("no server given; use --server HOST:PORT or set SOTTO_SERVER")]
    Empty,
    #[error("more than 16 servers given")]
    TooMany,
    #[error("'{0}' is not HOST:PORT; give --server or SOTTO_SERVER like chat.example:7443")]
    NotAnAddress(String),
}

impl ServerList {
    pub(crate) fn parse(text: &str) -> Result<Self, ServerListError> {
        let servers = text
            .split(',')
            .map(str::trim)
            .filter(|entry| !entry.is_empty())
            .map(ServerAddress::parse)
            .collect::<Result<Vec<_>, _>>()?;
        match servers.len() {
            0 => Err(ServerListError::Empty),
            1..=SERVERS_MAX => Ok(Self(servers)),
            _ => Err(ServerListError::TooMany),
        }
    }

    pub(crate) fn addresses(&self) -> &[ServerAddress] {
        &self.0
    }
}

impl ServerAddress {
    fn parse(text: &str) -> Result<Self, ServerListError> {
        let wrong = || ServerListError::NotAnAddress(text.to_owned());
        let (host, port) = if let Some(rest) = text.strip_prefix('[') {
            let (host, rest) = rest.split_once(']').ok_or_else(wrong)?;
            (host, rest.strip_prefix(':'))
        } else {
            match text.rsplit_once(':') {
                // Several colons without brackets: an IPv6 address alone.
                Some((host, _)) if host.contains(':') => (text, None),
                Some((host, port)) => (host, Some(port)),
                None => (text, None),
            }
        };
        let port = match port {
            Some(digits) => digits
                .parse()
                .ok()
                .filter(|&port| port != 0)
                .ok_or_else(wrong)?,
            None => DEFAULT_PORT,
        };
        ServerName::try_from(host).map_err(|_| wrong())?;
        Ok(Self {
            host: host.to_owned(),
            port,
        })
    }
}

impl fmt::Display for ServerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> Result<Vec<String>, ServerListError> {
        let list = ServerList::parse(text)?;
        Ok(list.addresses().iter().map(ToString::to_string).collect())
    }

    #[test]
    fn reads_lists() {
        assert_eq!(
            shown("chat.example:7000, [::1]:9,::1,192.0.2.1").unwrap(),
            [
                "chat.example:7000",
                "[::1]:9",
                "[::1]:7443",
                "192.0.2.1:7443"
            ]
        );
        assert_eq!(shown(" , "), Err(ServerListError::Empty));
        assert_eq!(shown(&"a.b:1,".repeat(17)), Err(ServerListError::TooMany));
        for bad in [
            "host:0",
            "host:65536",
            "host:x",
            ":7",
            "[::1",
            "a b:1",
            "\u{1b}:1",
        ] {
            assert!(
                matches!(shown(bad), Err(ServerListError::NotAnAddress(_))),
                "{bad:?}"
            );
        }
    }
}
