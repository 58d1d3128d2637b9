//! Which certificates are believed: those of `--ca`, or else of the system.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::{ClientConfig, RootCertStore, client::Resumption};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;

/// Where systems keep the certificate authorities that they trust.
const SYSTEM_BUNDLES: &[&str] = &[
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// Why there is nothing to check a server's certificate with.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TlsError {
    #[error("the certificate authority file {0} could not be read; check --ca and SOTTO_CA")]
    Unreadable(PathBuf),
    #[error("the file {0} holds no certificate; check --ca and SOTTO_CA")]
    Empty(PathBuf),
    #[error("no certificate authority given and none found on this system; use --ca FILE")]
    NoneFound,
    #[error("the TLS library refused its settings")]
    Settings(#[from] rustls::Error),
}

/// TLS 1.3 only, ALPN `sotto/1`, no resumption and so no early data.
pub(crate) fn client_config(ca: Option<&Path>) -> Result<Arc<ClientConfig>, TlsError> {
    let roots = match ca {
        Some(path) => read_bundle(path)?,
        None => SYSTEM_BUNDLES
            .iter()
            .map(Path::new)
            .find(|path| path.is_file())
            .ok_or(TlsError::NoneFound)
            .and_then(read_bundle)?,
    };
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![sotto_protocol::version::ALPN.to_vec()];
    config.resumption = Resumption::disabled();
    config.enable_early_data = false;
    Ok(Arc::new(config))
}

fn read_bundle(path: &Path) -> Result<RootCertStore, TlsError> {
    let unreadable = |error: rustls_pki_types::pem::Error| {
        tracing::debug!(%error, "certificate authority file");
        TlsError::Unreadable(path.to_owned())
    };
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(path).map_err(unreadable)? {
        let certificate = certificate.map_err(unreadable)?;
        // A system bundle may hold one that this library does not take; the others still count.
        if let Err(error) = roots.add(certificate) {
            tracing::debug!(%error, "a certificate authority was passed over");
        }
    }
    if roots.is_empty() {
        return Err(TlsError::Empty(path.to_owned()));
    }
    Ok(roots)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_what_is_wrong_with_a_file() {
        let folder = tempfile::tempdir().unwrap();
        let missing = folder.path().join("none.pem");
        assert!(matches!(
            client_config(Some(&missing)),
            Err(TlsError::Unreadable(_))
        ));
        let empty = folder.path().join("empty.pem");
        std::fs::write(&empty, "nothing here\n").unwrap();
        assert!(matches!(
            client_config(Some(&empty)),
            Err(TlsError::Empty(_))
        ));
    }
}
