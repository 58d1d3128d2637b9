//! The development certificates, judged by the TLS library that servers and clients use.

use std::sync::Arc;
use std::time::SystemTime;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection};
use sotto_stack::certs::Certificates;

#[expect(
    clippy::disallowed_methods,
    reason = "the TLS library compares with the real clock"
)]
fn now() -> SystemTime {
    SystemTime::now()
}

/// Runs a handshake in memory; the client's error if it does not trust the server.
#[expect(clippy::unwrap_used, reason = "a helper of tests")]
fn handshake(server: &Certificates, trusted: &Certificates, name: &str) -> Result<(), String> {
    let chain: Vec<_> = CertificateDer::pem_file_iter(&server.cert)
        .unwrap()
        .map(Result::unwrap)
        .collect();
    let key = PrivateKeyDer::from_pem_file(&server.key).unwrap();
    let server_config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_file(&trusted.ca).unwrap())
        .unwrap();
    let client_config = ClientConfig::builder()
        .with_root_certificates(roots)
        .with_no_client_auth();

    let name = ServerName::try_from(name.to_owned()).unwrap();
    let mut client = ClientConnection::new(Arc::new(client_config), name).unwrap();
    let mut server = ServerConnection::new(Arc::new(server_config)).unwrap();
    for _ in 0..10 {
        let mut bytes = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut bytes).unwrap();
        }
        server.read_tls(&mut bytes.as_slice()).unwrap();
        server
            .process_new_packets()
            .map_err(|error| error.to_string())?;
        let mut bytes = Vec::new();
        while server.wants_write() {
            server.write_tls(&mut bytes).unwrap();
        }
        let mut rest = bytes.as_slice();
        while !rest.is_empty() {
            client.read_tls(&mut rest).unwrap();
            client
                .process_new_packets()
                .map_err(|error| error.to_string())?;
        }
        if !client.is_handshaking() && !server.is_handshaking() {
            return Ok(());
        }
    }
    Err("the handshake does not end".to_owned())
}

#[test]
fn clients_trust_every_loopback_name_and_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let made = Certificates::ensure(folder.path(), now()).unwrap();
    for name in ["localhost", "sotto.local", "127.0.0.1", "::1"] {
        assert_eq!(handshake(&made, &made, name), Ok(()), "{name}");
    }
    assert!(handshake(&made, &made, "example.org").is_err());
    assert!(handshake(&made, &made, "192.0.2.1").is_err());
}

#[test]
fn another_deployment_is_not_trusted() {
    let folder = tempfile::tempdir().unwrap();
    let ours = Certificates::ensure(&folder.path().join("a"), now()).unwrap();
    let theirs = Certificates::ensure(&folder.path().join("b"), now()).unwrap();
    assert!(handshake(&theirs, &ours, "localhost").is_err());
}
