//! The development certificate authority and server certificate.
//!
//! For this machine only: the names are those of loopback, the authority is constrained to them,
//! and its key is forgotten as soon as it has signed, so that nothing on the disk can make
//! another certificate that a client would believe. Refuses to be used for a real deployment;
//! `certs/README.md` says how those certificates are made.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, CidrSubnet, DnType,
    ExtendedKeyUsagePurpose, GeneralSubtree, IsCa, KeyPair, KeyUsagePurpose, NameConstraints,
    PKCS_ECDSA_P256_SHA256, SanType,
};

use crate::files::{self, Access};

/// The names that the development certificate is valid for, beside the loopback addresses.
pub const DNS_NAMES: [&str; 2] = ["localhost", "sotto.local"];

/// How long new certificates are valid.
const VALIDITY: Duration = Duration::from_secs(397 * DAY_SECS);

/// Age from which certificates are made anew at the next start.
const RENEWAL_AGE: Duration = Duration::from_secs(180 * DAY_SECS);

const DAY_SECS: u64 = 24 * 60 * 60;

/// Why there are no certificates.
#[derive(Debug, thiserror::Error)]
pub enum CertError {
    /// The library refused.
    #[error("making a development certificate: {0}")]
    Make(#[from] rcgen::Error),
    /// A file could not be written.
    #[error("writing a development certificate: {0}")]
    Write(#[from] io::Error),
}

/// Where the certificates of a deployment lie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificates {
    /// The authority's certificate, which clients are given (PEM).
    pub ca: PathBuf,
    /// The servers' certificate, then the authority's (PEM).
    pub cert: PathBuf,
    /// The servers' private key, readable by the owner only (PEM).
    pub key: PathBuf,
}

impl Certificates {
    /// The paths in `folder`, whether or not the files exist.
    #[must_use]
    pub fn in_folder(folder: &Path) -> Self {
        Self {
            ca: folder.join("ca.pem"),
            cert: folder.join("server.pem"),
            key: folder.join("server.key"),
        }
    }

    /// Makes the certificates in `folder`, unless they are there and young enough at `now`. New
    /// ones come from a new authority under the same path.
    ///
    /// # Errors
    /// Fails when the folder or the files cannot be written.
    pub fn ensure(folder: &Path, now: SystemTime) -> Result<Self, CertError> {
        let paths = Self::in_folder(folder);
        if !paths.are_usable(now) {
            paths.generate(folder, now)?;
        }
        Ok(paths)
    }

    fn are_usable(&self, now: SystemTime) -> bool {
        // The certificate is written last: where it is, the others are.
        let made = self.cert.metadata().and_then(|meta| meta.modified());
        let complete = self.ca.is_file() && self.key.is_file();
        complete
            && made.is_ok_and(|made| now.duration_since(made).unwrap_or_default() < RENEWAL_AGE)
    }

    fn generate(&self, folder: &Path, now: SystemTime) -> Result<(), CertError> {
        files::make_dir(folder, 0o711)?;
        let ca_key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let ca = CertifiedIssuer::self_signed(ca_params(now), ca_key)?;
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let cert = server_params(now)?.signed_by(&key, &ca)?;
        // Gone first, so that an interruption leaves no certificate beside another's key.
        match std::fs::remove_file(&self.cert) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
            _ => {}
        }
        files::write(&self.key, &key.serialize_pem(), Access::Private)?;
        files::write(&self.ca, &ca.pem(), Access::Public)?;
        files::write(
            &self.cert,
            &format!("{}{}", cert.pem(), ca.pem()),
            Access::Public,
        )?;
        Ok(())
    }
}

fn ca_params(now: SystemTime) -> CertificateParams {
    let mut params = dated(CertificateParams::default(), now);
    params
        .distinguished_name
        .push(DnType::CommonName, "Sotto development authority");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    // Even on a machine that trusts it for everything, it can vouch for this machine only.
    let names = DNS_NAMES
        .iter()
        .map(|name| GeneralSubtree::DnsName((*name).to_owned()));
    let addresses = [
        CidrSubnet::from_addr_prefix(IpAddr::V4(Ipv4Addr::LOCALHOST), 8),
        CidrSubnet::from_addr_prefix(IpAddr::V6(Ipv6Addr::LOCALHOST), 128),
    ];
    let permitted_subtrees = names
        .chain(addresses.into_iter().map(GeneralSubtree::IpAddress))
        .collect();
    params.name_constraints = Some(NameConstraints {
        permitted_subtrees,
        excluded_subtrees: Vec::new(),
    });
    params
}

fn server_params(now: SystemTime) -> Result<CertificateParams, CertError> {
    let mut params = dated(CertificateParams::new(DNS_NAMES.map(str::to_owned))?, now);
    params
        .subject_alt_names
        .push(SanType::IpAddress(Ipv4Addr::LOCALHOST.into()));
    params
        .subject_alt_names
        .push(SanType::IpAddress(Ipv6Addr::LOCALHOST.into()));
    params
        .distinguished_name
        .push(DnType::CommonName, "Sotto development server");
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    Ok(params)
}

/// Valid from a day before `now`, because clocks of machines and containers disagree.
fn dated(mut params: CertificateParams, now: SystemTime) -> CertificateParams {
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    let since_epoch = now
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    params.not_before = epoch + since_epoch.saturating_sub(Duration::from_secs(DAY_SECS));
    params.not_after = epoch + since_epoch + VALIDITY;
    params
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    const NOW: Duration = Duration::from_secs(1_790_000_000);

    #[test]
    fn keys_are_private_and_no_authority_key_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let paths = Certificates::ensure(folder.path(), SystemTime::UNIX_EPOCH + NOW).unwrap();
        assert_eq!(
            paths.key.metadata().unwrap().permissions().mode() & 0o777,
            0o600
        );
        let mut names: Vec<_> = std::fs::read_dir(folder.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        assert_eq!(names, ["ca.pem", "server.key", "server.pem"]);
        let chain = std::fs::read_to_string(&paths.cert).unwrap();
        assert_eq!(chain.matches("BEGIN CERTIFICATE").count(), 2);
    }

    #[test]
    fn certificates_are_kept_until_they_age() {
        let folder = tempfile::tempdir().unwrap();
        #[expect(clippy::disallowed_methods, reason = "files carry the real time")]
        let now = SystemTime::now();
        let paths = Certificates::ensure(folder.path(), now).unwrap();
        let first = std::fs::read_to_string(&paths.cert).unwrap();
        Certificates::ensure(folder.path(), now + Duration::from_secs(DAY_SECS)).unwrap();
        assert_eq!(std::fs::read_to_string(&paths.cert).unwrap(), first);
        Certificates::ensure(folder.path(), now + RENEWAL_AGE + Duration::from_secs(60)).unwrap();
        assert_ne!(std::fs::read_to_string(&paths.cert).unwrap(), first);
    }

    #[test]
    fn an_interrupted_generation_is_repeated() {
        let folder = tempfile::tempdir().unwrap();
        let now = SystemTime::UNIX_EPOCH + NOW;
        let paths = Certificates::ensure(folder.path(), now).unwrap();
        std::fs::remove_file(&paths.key).unwrap();
        Certificates::ensure(folder.path(), now).unwrap();
        assert!(paths.key.exists());
    }
}
