//! Whom this server believes when it connects to others by TLS: an authority that the operator
//! names, or the machine's. TLS 1.3, chain and name always verified; there is no switch against it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::aws_lc_rs;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;

/// Why nobody can be believed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TrustError {
    /// The file is missing or holds no certificate.
    #[error("{}: {reason}", .path.display())]
    File {
        /// Which one.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The machine has no certificates of authorities.
    #[error("this machine trusts no authority; name one, or install ca-certificates")]
    NoAuthorities,
    /// The library refused.
    #[error("TLS cannot be used: {0}")]
    Refused(#[from] rustls::Error),
}

/// What a connection by TLS needs; `authority` is a file of certificates in PEM.
pub(crate) fn client_config(authority: Option<&Path>) -> Result<ClientConfig, TrustError> {
    believing(match authority {
        Some(path) => named(path)?,
        None => machines()?,
    })
}

/// A connection by TLS that believes nobody and so is never made.
pub(crate) fn nobody() -> Result<ClientConfig, TrustError> {
    believing(RootCertStore::empty())
}

fn believing(roots: RootCertStore) -> Result<ClientConfig, TrustError> {
    let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(config)
}

fn named(path: &Path) -> Result<RootCertStore, TrustError> {
    let wrong = |reason: String| TrustError::File {
        path: path.to_owned(),
        reason,
    };
    let certificates = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| wrong(error.to_string()))?;
    let mut roots = RootCertStore::empty();
    for certificate in certificates {
        roots
            .add(certificate)
            .map_err(|error| wrong(error.to_string()))?;
    }
    if roots.is_empty() {
        return Err(wrong("no certificate in it".to_owned()));
    }
    Ok(roots)
}

fn machines() -> Result<RootCertStore, TrustError> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        return Err(TrustError::NoAuthorities);
    }
    Ok(roots)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_authority_that_is_none_is_refused_by_its_path() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ca.pem");
        for content in [None, Some(""), Some("nonsense")] {
            if let Some(content) = content {
                std::fs::write(&path, content).unwrap();
            }
            let error = client_config(Some(&path)).err().unwrap().to_string();
            assert!(error.contains("ca.pem: "), "{error}");
        }
    }
}
