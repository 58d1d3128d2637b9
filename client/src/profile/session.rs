//! Staying unlocked: a random key outside of the profile's home that opens a
//! second wrapping of the database key inside it. Neither is of use alone.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};
use sotto_crypto::at_rest::{self, HeaderInfo};
use sotto_crypto::secret::{SecretBytes, random_bytes};
use sotto_crypto::{DatabaseKey, KdfParameters, UnlockKey};

use super::{Location, ProfileError, files};

/// Where keys of unlocked profiles lie: `$XDG_RUNTIME_DIR/sotto`, else
/// `/run/user/UID/sotto`, else `sotto-UID` in the directory for temporary
/// files. The first two are in memory and end with the login session; one that
/// belongs to or may be changed by somebody else is not used.
#[must_use]
pub fn default_runtime() -> PathBuf {
    let uid = rustix::process::geteuid().as_raw();
    let given = std::env::var_os("XDG_RUNTIME_DIR")
        .map(PathBuf::from)
        .filter(|path| path.is_absolute());
    let usual = PathBuf::from(format!("/run/user/{uid}"));
    match given {
        Some(path) if is_own(&path) => path.join("sotto"),
        _ if is_own(&usual) => usual.join("sotto"),
        _ => std::env::temp_dir().join(format!("sotto-{uid}")),
    }
}

/// That directory, made where it is not there; nobody else may look into it.
///
/// # Errors
/// When it cannot be made, or belongs to or may be read by somebody else.
pub(crate) fn private_runtime() -> Result<PathBuf, ProfileError> {
    let directory = default_runtime();
    files::make_private_directory(&directory)?;
    files::check_private_directory(&directory)?;
    Ok(directory)
}

/// Whether nobody else could put another folder in the place of one in here.
fn is_own(directory: &Path) -> bool {
    let own = rustix::process::geteuid().as_raw();
    std::fs::metadata(directory)
        .is_ok_and(|found| found.is_dir() && found.uid() == own && found.mode() & 0o022 == 0)
}

/// The file for a profile: named by a hash, so that the name tells nothing.
pub(super) fn key_file(location: &Location) -> PathBuf {
    let directory = location.directory();
    let whole = directory.canonicalize().unwrap_or(directory);
    let mut name = String::with_capacity(32);
    for byte in Sha256::digest(whole.as_os_str().as_encoded_bytes())
        .iter()
        .take(16)
    {
        for nibble in [byte >> 4, byte & 15] {
            name.push(char::from_digit(u32::from(nibble), 16).unwrap_or('0'));
        }
    }
    location.runtime.join(name)
}

pub(super) fn keep(location: &Location, key: &DatabaseKey) -> Result<(), ProfileError> {
    files::make_private_directory(&location.runtime)?;
    files::check_private_directory(&location.runtime)?;
    let secret = SecretBytes::<32>::random()?;
    let unlock = UnlockKey::from_secret(copy(&secret)?);
    // The key is random: the parameters only complete the format.
    let info = HeaderInfo {
        parameters: KdfParameters::CURRENT,
        salt: random_bytes()?,
    };
    let wrapped = at_rest::wrap(key, &unlock, info)?;
    files::write_private(&location.wrapped_session(), &wrapped)?;
    files::write_private(&key_file(location), secret.expose())
}

/// The database key, when the profile is unlocked. Anything that does not fit
/// means that it is not: the password decides then.
pub(super) fn unlock(location: &Location) -> Result<Option<DatabaseKey>, ProfileError> {
    let path = key_file(location);
    if !path.is_file() || !is_private(&location.runtime) {
        return Ok(None);
    }
    let (Some(secret), Some(wrapped)) = (
        files::read(&path)?.map(zeroize::Zeroizing::new),
        files::read(&location.wrapped_session())?,
    ) else {
        return Ok(None);
    };
    Ok(SecretBytes::from_slice(&secret)
        .map(UnlockKey::from_secret)
        .and_then(|unlock| at_rest::unwrap(&wrapped, &unlock).ok()))
}

/// Both files go; a failure leaves at most one, which opens nothing alone.
pub(super) fn forget(location: &Location) {
    let _ = files::remove(&key_file(location));
    let _ = files::remove(&location.wrapped_session());
}

fn is_private(directory: &Path) -> bool {
    files::check_private_directory(directory).is_ok()
}

fn copy(secret: &SecretBytes<32>) -> Result<SecretBytes<32>, ProfileError> {
    SecretBytes::from_slice(secret.expose())
        .ok_or(ProfileError::Corrupted("a key has a wrong size"))
}
