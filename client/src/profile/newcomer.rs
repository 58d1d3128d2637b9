//! Profiles of an account that exists: made from what another device handed
//! over, or from a backup. Refuses a certificate that is not for the device's
//! own key under the identity key that came with it.

use sotto_crypto::{AuthenticationKey, DeviceKey, IdentityKey};
use sotto_protocol::DeviceId;
use sotto_protocol::wire::{AccountSnapshot, PastMessage};
use sotto_roster::DeviceCertificate;
use zeroize::Zeroizing;

use super::{
    AccountRow, AccountState, History, Location, NewAccount, Now, Profile, ProfileError,
    SecretBytes, random_bytes,
};

/// A device that is not in any account yet.
pub struct Newcomer {
    /// Its id.
    pub device: DeviceId,
    /// Its own key.
    pub key: DeviceKey,
}

impl Newcomer {
    /// Fresh id and key.
    ///
    /// # Errors
    /// When there is no randomness.
    pub fn generate() -> Result<Self, ProfileError> {
        Ok(Self {
            device: DeviceId::from_bytes(random_bytes()?),
            key: DeviceKey::generate()?,
        })
    }
}

/// What makes a newcomer one of the account's devices.
pub struct Handover {
    /// With the identity's secret.
    pub snapshot: AccountSnapshot,
    /// By another device; without one the identity key certifies here.
    pub certificate: Option<Vec<u8>>,
    /// The latest messages.
    pub history: Vec<PastMessage>,
}

impl Profile {
    /// Makes a profile out of a handover. Everything is there afterwards, or nothing.
    ///
    /// # Errors
    /// [`ProfileError::Exists`]; [`ProfileError::Corrupted`] for a handover that
    /// does not fit; see [`ProfileError`].
    pub fn create_from(
        location: &Location,
        account: &NewAccount,
        password: &str,
        (newcomer, handover): (&Newcomer, &Handover),
        now: Now,
    ) -> Result<(Self, AuthenticationKey), ProfileError> {
        let row = account_row(account, newcomer, handover, now)?;
        Self::create_with(location, account, password, |history: &History| {
            history.insert_account(&row)?;
            history.restore(&handover.snapshot, now.unix_ms)?;
            let conversations = &handover.snapshot.conversations;
            let places: Vec<&[u8]> = conversations
                .iter()
                .map(|taken| taken.conversation_id.as_slice())
                .collect();
            history.restore_messages(&places, &handover.history, now.unix_ms)?;
            Ok(())
        })
    }
}

fn account_row(
    account: &NewAccount,
    newcomer: &Newcomer,
    handover: &Handover,
    now: Now,
) -> Result<AccountRow, ProfileError> {
    let secret = SecretBytes::from_slice(&handover.snapshot.identity_secret)
        .ok_or(ProfileError::Corrupted("the identity key has a wrong size"))?;
    let identity = IdentityKey::from_secret(&secret);
    let certificate = match &handover.certificate {
        Some(bytes) => DeviceCertificate::verify(bytes, &account.deployment)?,
        None => identity.certify(
            account.deployment,
            &account.username,
            newcomer.device,
            newcomer.key.public(),
            now.unix_ms,
        )?,
    };
    let fits = *certificate.identity_key() == identity.public()
        && *certificate.device_key() == newcomer.key.public()
        && *certificate.device_id() == newcomer.device
        && *certificate.username() == account.username;
    if !fits {
        return Err(ProfileError::Corrupted(
            "the certificate is for another device",
        ));
    }
    Ok(AccountRow {
        username: account.username.clone(),
        deployment: account.deployment,
        device: newcomer.device,
        identity_secret: Zeroizing::new(secret.expose().to_vec()),
        device_secret: Zeroizing::new(newcomer.key.to_secret().expose().to_vec()),
        certificate: certificate.as_bytes().to_vec(),
        state: match handover.certificate {
            Some(_) => AccountState::Active,
            None => AccountState::Registering,
        },
        mailbox_cursor: 0,
        last_resort_at_ms: 0,
    })
}
