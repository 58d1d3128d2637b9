//! A profile: one account on this machine, in one directory.
//!
//! ```text
//! HOME/NAME/key         the database key, wrapped under the password (Argon2id)
//! HOME/NAME/key.next    the same under a password that is being put in place
//! HOME/NAME/profile.db  everything else, encrypted
//! HOME/NAME/session     the database key again, wrapped under a random key ...
//! RUNTIME/HASH          ... that lies here, outside of HOME, until logout or reboot
//! HOME/NAME/lock        held while a program uses the profile
//! ```
//!
//! Who copies HOME gets nothing that opens without the password. Who can read
//! both places as this user can open the profile while it is unlocked, as it
//! can read the memory of this user's programs. This module asks for no
//! password and talks to no server.

mod files;
mod newcomer;
mod session;

use std::cell::RefCell;
use std::fs::{File, TryLockError};
use std::path::PathBuf;

use sotto_crypto::at_rest::{self, AtRestError, HeaderInfo};
use sotto_crypto::password::{self, PasswordError};
use sotto_crypto::secret::{NoRandomness, SecretBytes, random_bytes};
use sotto_crypto::{
    AuthenticationKey, DatabaseKey, DeviceKey, IdentityKey, KdfParameters, LocalDevice,
};
use sotto_protocol::{DeploymentId, DeviceId, Username};
use sotto_roster::{CertificateError, DeviceCertificate};
use zeroize::Zeroizing;

use crate::engine::api::{AccountState, Now};
use crate::history::{AccountRow, History, HistoryError};

pub use newcomer::{Handover, Newcomer};
pub use session::default_runtime;
pub(crate) use session::private_runtime;

/// The longest name of a profile, in bytes.
pub const PROFILE_NAME_BYTES_MAX: usize = 64;

/// Why a profile cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ProfileError {
    /// There is none; register or log in.
    #[error("there is no such profile on this device")]
    Missing,
    /// There is one already.
    #[error("there is such a profile on this device already")]
    Exists,
    /// Another program uses it.
    #[error("another program uses this profile")]
    InUse,
    /// The name has other characters than letters, digits, `_ . -`, or begins with a dot.
    #[error(
        "a profile's name has 1 to 64 letters, digits, '_', '-' and '.', and does not begin with '.'"
    )]
    BadName,
    /// It is locked: a password is needed.
    #[error("the profile is locked; its password is needed")]
    PasswordNeeded,
    /// The password does not open it.
    #[error("the password is wrong")]
    WrongPassword,
    /// A file of it is damaged.
    #[error("the profile is damaged: {0}")]
    Corrupted(&'static str),
    /// The local database cannot be used.
    #[error(transparent)]
    History(#[from] HistoryError),
    /// Deriving keys failed.
    #[error(transparent)]
    Password(#[from] PasswordError),
    /// The operating system gave no randomness.
    #[error(transparent)]
    NoRandomness(#[from] NoRandomness),
    /// A file could not be read or written.
    #[error("{what} could not be read or written: {}", crate::exit::cause(source))]
    Io {
        /// Which file.
        what: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

impl From<AtRestError> for ProfileError {
    fn from(error: AtRestError) -> Self {
        match error {
            AtRestError::WrongPassword => Self::WrongPassword,
            AtRestError::Malformed => Self::Corrupted("the key file is not one"),
            AtRestError::Password(error) => Self::Password(error),
            AtRestError::NoRandomness(error) => Self::NoRandomness(error),
        }
    }
}

impl From<CertificateError> for ProfileError {
    fn from(_: CertificateError) -> Self {
        Self::Corrupted("the device certificate is not one")
    }
}

/// Where a profile lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Location {
    /// The directory of all profiles.
    pub home: PathBuf,
    /// The profile's name.
    pub name: String,
    /// The directory of keys of unlocked profiles, outside of `home`; see [`default_runtime`].
    pub runtime: PathBuf,
}

impl Location {
    /// Whether a profile is there.
    #[must_use]
    pub fn exists(&self) -> bool {
        self.database().is_file()
    }

    /// The profile's own directory.
    #[must_use]
    pub fn directory(&self) -> PathBuf {
        self.home.join(&self.name)
    }

    /// The socket of a daemon of this profile, beside the key that keeps it unlocked.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        session::key_file(self).with_extension("sock")
    }

    /// Makes the runtime directory, for its owner alone.
    pub(crate) fn make_runtime(&self) -> Result<(), ProfileError> {
        files::make_private_directory(&self.runtime)?;
        files::check_private_directory(&self.runtime)
    }

    fn database(&self) -> PathBuf {
        self.directory().join("profile.db")
    }

    fn key(&self) -> PathBuf {
        self.directory().join("key")
    }

    fn next_key(&self) -> PathBuf {
        self.directory().join("key.next")
    }

    fn wrapped_session(&self) -> PathBuf {
        self.directory().join("session")
    }

    fn check(&self) -> Result<(), ProfileError> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
        let name = self.name.as_bytes();
        let fits = (1..=PROFILE_NAME_BYTES_MAX).contains(&name.len())
            && name.iter().copied().all(allowed)
            && !name.starts_with(b".");
        if fits {
            Ok(())
        } else {
            Err(ProfileError::BadName)
        }
    }
}

/// Whose profile to make.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewAccount {
    /// The account.
    pub username: Username,
    /// The deployment that it is on.
    pub deployment: DeploymentId,
}

/// What opens a profile.
pub enum Unlock<'a> {
    /// The key that an earlier login left for this session of the machine.
    Session,
    /// The password.
    Password(&'a str),
}

/// An open profile; nobody else can open it meanwhile.
pub struct Profile {
    location: Location,
    key: DatabaseKey,
    history: History,
    device: LocalDevice,
    identity: [u8; 32],
    /// The key file under a new password that the server has yet to allow.
    proposed: RefCell<Option<Vec<u8>>>,
    /// Held until the profile is dropped.
    _lock: File,
}

impl Profile {
    /// Makes a profile with a fresh identity and device, in the state
    /// [`AccountState::Registering`]. Takes about a second: it derives keys.
    ///
    /// # Errors
    /// [`ProfileError::Exists`] when there is one; see [`ProfileError`].
    pub fn create(
        location: &Location,
        account: &NewAccount,
        password: &str,
        now: Now,
    ) -> Result<(Self, AuthenticationKey), ProfileError> {
        let row = new_account(account, now)?;
        Self::create_with(location, account, password, |history| {
            Ok(history.insert_account(&row)?)
        })
    }

    /// Makes a profile that begins with what `fill` puts into its store.
    fn create_with(
        location: &Location,
        account: &NewAccount,
        password: &str,
        fill: impl FnOnce(&History) -> Result<(), ProfileError>,
    ) -> Result<(Self, AuthenticationKey), ProfileError> {
        location.check()?;
        files::make_private_directory(&location.directory())?;
        let lock = take_lock(location)?;
        if location.exists() {
            return Err(ProfileError::Exists);
        }
        let (key, header, authentication) = fresh_key(account, password)?;
        files::write_private(&location.key(), &header)?;
        let unfinished = location.directory().join("profile.db.new");
        remove_database(&unfinished)?;
        // The library gives its files, journals too, the mode of this one.
        drop(files::open_private(&unfinished)?);
        let history = History::create(&unfinished, &key)?;
        history.begin()?;
        fill(&history)?;
        history.commit()?;
        drop(history);
        files::rename(&unfinished, &location.database())?;
        remove_database(&unfinished)?;
        let profile = Self::over(location, key, lock)?;
        Ok((profile, authentication))
    }

    /// Opens a profile.
    ///
    /// # Errors
    /// [`ProfileError::PasswordNeeded`] when no session key is there; see [`ProfileError`].
    pub fn open(location: &Location, unlock: Unlock<'_>) -> Result<Self, ProfileError> {
        location.check()?;
        if !location.exists() {
            return Err(ProfileError::Missing);
        }
        let lock = take_lock(location)?;
        let key = match unlock {
            Unlock::Session => session::unlock(location)?.ok_or(ProfileError::PasswordNeeded)?,
            Unlock::Password(password) => unlock_with_password(location, password)?,
        };
        Self::over(location, key, lock)
    }

    fn over(location: &Location, key: DatabaseKey, lock: File) -> Result<Self, ProfileError> {
        let history = History::open(&location.database(), &key)?;
        let account = history.account()?;
        let secret = |bytes: &[u8]| {
            SecretBytes::from_slice(bytes).ok_or(ProfileError::Corrupted("a key has a wrong size"))
        };
        let identity = IdentityKey::from_secret(&secret(&account.identity_secret)?).public();
        let certificate = DeviceCertificate::verify(&account.certificate, &account.deployment)?;
        let device_key = DeviceKey::from_secret(&secret(&account.device_secret)?);
        Ok(Self {
            location: location.clone(),
            key,
            history,
            device: LocalDevice::new(certificate, device_key)?,
            identity,
            proposed: RefCell::default(),
            _lock: lock,
        })
    }

    /// The account.
    #[must_use]
    pub fn username(&self) -> &Username {
        self.device.certificate().username()
    }

    /// The deployment that the account is on.
    #[must_use]
    pub fn deployment(&self) -> &DeploymentId {
        self.device.certificate().deployment()
    }

    /// Where the account stands.
    ///
    /// # Errors
    /// When the local database fails.
    pub fn account_state(&self) -> Result<AccountState, ProfileError> {
        Ok(self.history.account()?.state)
    }

    /// Derives what the server checks instead of the password; takes about a second.
    ///
    /// # Errors
    /// When deriving fails.
    pub fn authentication_key(&self, password: &str) -> Result<AuthenticationKey, ProfileError> {
        Ok(derive(self.deployment(), self.username(), password)?.authentication)
    }

    /// Leaves a key in the runtime directory, so that this user's programs
    /// open the profile without the password until logout or reboot.
    ///
    /// # Errors
    /// When a file cannot be written or its directory is not private.
    pub fn keep_unlocked(&self) -> Result<(), ProfileError> {
        session::keep(&self.location, &self.key)
    }

    /// Takes that key away.
    pub fn lock(&self) {
        session::forget(&self.location);
    }

    /// Deletes the profile with everything in it.
    ///
    /// # Errors
    /// When a file cannot be deleted.
    pub fn wipe(self) -> Result<(), ProfileError> {
        self.lock();
        let location = self.location.clone();
        drop(self);
        // The key goes first: what is left of the database is unreadable then.
        files::remove(&location.key())?;
        files::remove(&location.next_key())?;
        remove_database(&location.database())?;
        files::remove_directory(&location.directory())
    }

    /// Whether a password opens a profile, also while it is open.
    ///
    /// # Errors
    /// [`ProfileError::WrongPassword`]; see [`ProfileError`].
    pub(crate) fn check_password(location: &Location, password: &str) -> Result<(), ProfileError> {
        unlock_with_password(location, password).map(drop)
    }

    /// Wraps the database key under a new password beside the old one, and
    /// derives what the server is told. [`Self::finish_password_change`] makes
    /// it the only one; until then both passwords open the profile.
    pub(crate) fn begin_password_change(
        &self,
        current: &str,
        new: &str,
    ) -> Result<(AuthenticationKey, AuthenticationKey), ProfileError> {
        let old = derive(self.deployment(), self.username(), current)?;
        let next = derive(self.deployment(), self.username(), new)?;
        let info = header_info(self.deployment(), self.username());
        let header = at_rest::wrap(&self.key, &next.unlock, info)?;
        match unlock_with_password(&self.location, current) {
            Ok(_) => files::write_private(&self.location.next_key(), &header)?,
            // The account may have a password of the operator's, which this profile never saw.
            // Nothing is written before the server has found it right.
            Err(ProfileError::WrongPassword) => *self.proposed.borrow_mut() = Some(header),
            Err(error) => return Err(error),
        }
        Ok((old.authentication, next.authentication))
    }

    pub(crate) fn finish_password_change(&self) -> Result<(), ProfileError> {
        if let Some(header) = self.proposed.take() {
            files::write_private(&self.location.key(), &header)?;
            return files::remove(&self.location.next_key());
        }
        files::rename(&self.location.next_key(), &self.location.key())
    }

    pub(crate) fn abandon_password_change(&self) -> Result<(), ProfileError> {
        self.proposed.take();
        files::remove(&self.location.next_key())
    }

    pub(crate) fn history(&self) -> &History {
        &self.history
    }

    pub(crate) fn device(&self) -> &LocalDevice {
        &self.device
    }

    pub(crate) fn identity(&self) -> &[u8; 32] {
        &self.identity
    }
}

fn take_lock(location: &Location) -> Result<File, ProfileError> {
    let lock = files::open_private(&location.directory().join("lock"))?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => Err(ProfileError::InUse),
        Err(TryLockError::Error(source)) => Err(ProfileError::Io {
            what: "lock file".to_owned(),
            source,
        }),
    }
}

fn header_info(deployment: &DeploymentId, username: &Username) -> HeaderInfo {
    HeaderInfo {
        parameters: KdfParameters::CURRENT,
        salt: password::account_salt(deployment, username),
    }
}

fn derive(
    deployment: &DeploymentId,
    username: &Username,
    password: &str,
) -> Result<sotto_crypto::PasswordKeys, ProfileError> {
    let info = header_info(deployment, username);
    Ok(password::derive_keys(
        password,
        &info.salt,
        info.parameters,
    )?)
}

fn fresh_key(
    account: &NewAccount,
    password: &str,
) -> Result<(DatabaseKey, Vec<u8>, AuthenticationKey), ProfileError> {
    let keys = derive(&account.deployment, &account.username, password)?;
    let key = DatabaseKey::generate()?;
    let info = header_info(&account.deployment, &account.username);
    let header = at_rest::wrap(&key, &keys.unlock, info)?;
    Ok((key, header, keys.authentication))
}

fn unlock_with_password(location: &Location, password: &str) -> Result<DatabaseKey, ProfileError> {
    let header = files::read(&location.key())?.ok_or(ProfileError::Corrupted("no key file"))?;
    match at_rest::unlock_with_password(&header, password) {
        Err(AtRestError::WrongPassword) => {}
        other => return Ok(other?),
    }
    // A change of password whose end this program did not see.
    let next = files::read(&location.next_key())?.ok_or(ProfileError::WrongPassword)?;
    Ok(at_rest::unlock_with_password(&next, password)?)
}

fn new_account(account: &NewAccount, now: Now) -> Result<AccountRow, ProfileError> {
    let identity = IdentityKey::generate()?;
    let device_key = DeviceKey::generate()?;
    let device = DeviceId::from_bytes(random_bytes()?);
    let certificate = identity.certify(
        account.deployment,
        &account.username,
        device,
        device_key.public(),
        now.unix_ms,
    )?;
    Ok(AccountRow {
        username: account.username.clone(),
        deployment: account.deployment,
        device,
        identity_secret: Zeroizing::new(identity.to_secret().expose().to_vec()),
        device_secret: Zeroizing::new(device_key.to_secret().expose().to_vec()),
        certificate: certificate.as_bytes().to_vec(),
        state: AccountState::Registering,
        mailbox_cursor: 0,
        last_resort_at_ms: 0,
    })
}

fn remove_database(path: &std::path::Path) -> Result<(), ProfileError> {
    files::remove(path)?;
    let mut journal = path.as_os_str().to_owned();
    journal.push("-journal");
    files::remove(&PathBuf::from(journal))
}

#[cfg(test)]
mod tests;
