//! A TLS server in this process, with certificates of its own: what the same stack does where
//! nothing of Sotto is behind it.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustls::ServerConfig;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use sotto_stack::certs::Certificates;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::clock::unix_ms;
use crate::error::BenchError;
use crate::target::{Sources, Target};

/// A listener, and how to reach it.
pub(crate) struct TlsPeer {
    /// Where connections come in.
    pub(crate) listener: TcpListener,
    /// What makes TLS of them, with the settings of a server of Sotto.
    pub(crate) acceptor: TlsAcceptor,
    /// Where it listens, and what to trust.
    pub(crate) target: Target,
}

impl TlsPeer {
    /// Makes certificates in the folder and listens on a port of loopback.
    ///
    /// # Errors
    /// When either fails.
    pub(crate) async fn start(folder: &Path) -> Result<Self, BenchError> {
        let time = SystemTime::UNIX_EPOCH + Duration::from_millis(unix_ms());
        let certificates = Certificates::ensure(folder, time)
            .map_err(|error| BenchError::Deployment(error.to_string()))?;
        let listening = BenchError::io;
        let listener = TcpListener::bind("127.0.0.1:0")
            .await
            .map_err(listening("listening on loopback"))?;
        let address = listener
            .local_addr()
            .map_err(listening("listening on loopback"))?;
        Ok(Self {
            listener,
            acceptor: TlsAcceptor::from(Arc::new(server_config(&certificates)?)),
            target: Target::new(&address.to_string(), &certificates.ca, Sources::Spread)?,
        })
    }
}

fn server_config(certificates: &Certificates) -> Result<ServerConfig, BenchError> {
    let unusable = |error: rustls_pki_types::pem::Error| BenchError::Deployment(error.to_string());
    let chain = CertificateDer::pem_file_iter(&certificates.cert)
        .map_err(unusable)?
        .collect::<Result<Vec<_>, _>>()
        .map_err(unusable)?;
    let key = PrivateKeyDer::from_pem_file(&certificates.key).map_err(unusable)?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    config.alpn_protocols = vec![b"sotto/1".to_vec()];
    config.send_tls13_tickets = 0;
    Ok(config)
}
