//! The account's devices: linking, naming, revoking, and noticing those that
//! nobody here added. What one device hands to another leaves sealed only;
//! whether the person agrees was asked before a command comes here.
//!
//! | file     | for                            |
//! |----------|--------------------------------|
//! | `backup` | the backup under a recovery key |
//! | `past`   | the latest messages for a new device |

mod backup;
mod past;

pub(crate) use past::ARCHIVE_BYTES_MAX;

use prost::Message as _;
use sotto_crypto::link::{ANSWER_PLAIN_BYTES_MAX, DEVICE_NAME_BYTES_MAX};
use sotto_crypto::link::{LinkCode, LinkError, LinkOffer, seal_answer};
use sotto_crypto::{IdentityKey, Plan, SecretBytes};
use sotto_protocol::wire::client_frame::Body as Ask;
use sotto_protocol::wire::server_frame::Body as Answer;
use sotto_protocol::{ClientMessageId, DeviceId, ErrorCode, limits, wire};
use sotto_roster::{DeviceCertificate, Roster};
use zeroize::{Zeroize as _, Zeroizing};

use super::api::{CommandId, Device, DeviceCommand, Event, Failure, SecurityKind, ThisDevice};
use super::commands::{ServerCommand, refusal};
use super::error::group_failure;
use super::flight::Purpose;
use super::session::failure;
use super::{Engine, EngineError};
use crate::history::ConversationRow;

/// Whether the account's devices were ever looked at; a preference of this profile.
const DEVICES_SEEN: &str = "devices_seen";

/// What is asked of the server about devices.
pub(super) enum DeviceAsk {
    Offer(LinkCode),
    Add(Box<Link>),
    Answer(Box<Link>),
    /// The answer did not arrive: the device is taken back, and the failure told.
    Undo(DeviceId, Failure),
    Revoke(DeviceId),
    /// So many times.
    Backup(u32),
}

/// A device on its way into the account.
pub(super) struct Link {
    code: LinkCode,
    offer: Box<LinkOffer>,
    sealed: Vec<u8>,
    certificate: Vec<u8>,
    archive: Option<wire::PastArchive>,
}

impl Engine {
    pub(super) fn device_command(
        &mut self,
        id: CommandId,
        command: DeviceCommand,
    ) -> Result<(), EngineError> {
        match command {
            DeviceCommand::LookAtOffer { code } => self.ask_device(id, DeviceAsk::Offer(code)),
            DeviceCommand::Link {
                code,
                offer,
                sealed,
                archive,
            } => match self.certify(&offer) {
                Ok(certificate) => {
                    let link = Link {
                        code,
                        offer,
                        sealed,
                        certificate,
                        archive: archive.map(|archive| *archive),
                    };
                    self.ask_device(id, DeviceAsk::Add(Box::new(link)));
                }
                Err(why) => self.failed_with(id, why),
            },
            DeviceCommand::Rename { device, name } => return self.rename(id, &device, &name),
            DeviceCommand::Revoke { device } => {
                if device == *self.profile.device().certificate().device_id() {
                    self.failed(id, "self", "this is the device in use; use `logout`");
                } else {
                    self.ask_device(id, DeviceAsk::Revoke(device));
                }
            }
            DeviceCommand::KeepBackup { key } => {
                self.keep_backup(key)?;
                self.ask_device(id, DeviceAsk::Backup(0));
            }
        }
        Ok(())
    }

    fn ask_device(&mut self, id: CommandId, ask: DeviceAsk) {
        self.ask_later(id, ServerCommand::Device(ask));
    }

    fn failed_with(&mut self, id: CommandId, failure: Failure) {
        self.emit(Event::Failed {
            command: Some(id),
            failure,
        });
    }

    fn rename(&mut self, id: CommandId, device: &DeviceId, name: &str) -> Result<(), EngineError> {
        if name.len() > DEVICE_NAME_BYTES_MAX {
            self.failed(id, "too_large", "a device's name has at most 64 bytes");
        } else {
            self.store().put_own_device(device, name)?;
            self.done(id);
        }
        Ok(())
    }

    /// The identity key's word for the new device.
    fn certify(&self, offer: &LinkOffer) -> Result<Vec<u8>, Failure> {
        if !self.is_for_this_account(offer) {
            return Err(wrong_account());
        }
        let identity = self.identity_key()?;
        let made = identity.certify(
            offer.deployment,
            &offer.username,
            offer.device,
            offer.device_key,
            self.now.unix_ms,
        );
        made.map(|certificate| certificate.as_bytes().to_vec())
            .map_err(|_| unreadable(LinkError::Malformed))
    }

    fn is_for_this_account(&self, offer: &LinkOffer) -> bool {
        offer.deployment == *self.profile.deployment() && offer.username == *self.my_name()
    }

    fn identity_key(&self) -> Result<IdentityKey, Failure> {
        let account = self.store().account().map_err(|_| broken_store())?;
        let secret = SecretBytes::from_slice(&account.identity_secret).ok_or_else(broken_store)?;
        Ok(IdentityKey::from_secret(&secret))
    }

    pub(super) fn ask_for_device(&self, ask: &DeviceAsk) -> Result<Ask, Failure> {
        Ok(match ask {
            DeviceAsk::Offer(code) => Ask::GetLinkOffer(wire::GetLinkOffer {
                rendezvous_id: code.rendezvous_id().to_vec(),
            }),
            DeviceAsk::Add(link) => Ask::AddDevice(wire::AddDevice {
                certificate: link.certificate.clone(),
            }),
            DeviceAsk::Answer(link) => Ask::PutLinkAnswer(wire::PutLinkAnswer {
                rendezvous_id: link.code.rendezvous_id().to_vec(),
                answer: self.link_answer(link)?,
            }),
            DeviceAsk::Undo(device, _) | DeviceAsk::Revoke(device) => {
                Ask::RevokeDevice(wire::RevokeDevice {
                    device_id: device.to_vec(),
                })
            }
            DeviceAsk::Backup(_) => self.backup_request()?,
        })
    }

    /// Everything that the new device needs, with as much of the recent
    /// history as fits beside it.
    fn link_answer(&self, link: &Link) -> Result<Vec<u8>, Failure> {
        let mut account = self.store().snapshot().map_err(|_| broken_store())?;
        let own = self.profile.device().certificate().device_id().to_vec();
        if account.devices.iter().all(|device| device.device_id != own) {
            account.devices.push(wire::SnapshotDevice {
                device_id: own,
                name: String::new(),
            });
        }
        account.devices.push(wire::SnapshotDevice {
            device_id: link.offer.device.to_vec(),
            name: link.offer.name.clone(),
        });
        let mut body = wire::LinkAnswerBody {
            certificate: link.certificate.clone(),
            account: Some(account),
            history: Vec::new(),
            archive: link.archive.clone(),
        };
        // With the secret, tags and lengths.
        let taken = body.encoded_len() + 64;
        let left = ANSWER_PLAIN_BYTES_MAX.saturating_sub(taken);
        if let Some(account) = &mut body.account {
            if body.archive.is_none() {
                body.history = self.past_beside(account, left)?;
            }
            account.identity_secret = self.identity_key()?.to_secret().expose().to_vec();
        }
        let plain = Zeroizing::new(body.encode_to_vec());
        if let Some(account) = &mut body.account {
            account.identity_secret.zeroize();
        }
        if let Some(archive) = &mut body.archive {
            archive.key.zeroize();
        }
        seal_answer(&link.code, &link.offer, &link.sealed, &plain).map_err(unreadable)
    }

    pub(super) fn device_answered(
        &mut self,
        id: CommandId,
        ask: DeviceAsk,
        answer: Answer,
    ) -> Result<(), EngineError> {
        match (ask, answer) {
            (DeviceAsk::Offer(code), Answer::LinkOffer(found)) => {
                match LinkOffer::open(&code, &found.offer) {
                    Ok(offer) if !self.is_for_this_account(&offer) => {
                        self.failed_with(id, wrong_account());
                    }
                    Ok(offer) => self.emit(Event::LinkOffered {
                        command: id,
                        offer: Box::new(offer),
                        sealed: found.offer,
                    }),
                    Err(error) => self.failed_with(id, unreadable(error)),
                }
            }
            (DeviceAsk::Add(link), Answer::Done(_)) => {
                // Known from now on: it is no stranger when it shows up.
                self.store()
                    .put_own_device(&link.offer.device, &link.offer.name)?;
                let next = ServerCommand::Device(DeviceAsk::Answer(link));
                self.commands.push_front((id, next));
            }
            (DeviceAsk::Answer(_), Answer::Done(_)) => self.done(id),
            (DeviceAsk::Answer(link), Answer::Error(error)) => {
                let undo = DeviceAsk::Undo(link.offer.device, failure(&error));
                self.commands.push_front((id, ServerCommand::Device(undo)));
            }
            (DeviceAsk::Undo(device, why), _) => {
                self.store().forget_own_device(&device)?;
                self.failed_with(id, why);
            }
            (DeviceAsk::Revoke(device), Answer::Done(_)) => {
                self.store().forget_own_device(&device)?;
                self.store().remove_everywhere(&device)?;
                self.revoking = Some(id);
            }
            (DeviceAsk::Backup(_), Answer::Backup(stored)) => {
                self.backup_stored(&stored)?;
                self.done(id);
            }
            (DeviceAsk::Backup(tries), Answer::Error(error)) => {
                self.backup_refused(id, tries, &error)?;
            }
            (_, Answer::Error(error)) => self.failed_with(id, failure(&error)),
            _ => self.failed(
                id,
                ErrorCode::Malformed.name(),
                "the server gave an answer that makes no sense",
            ),
        }
        Ok(())
    }

    /// Whoever asked to end a device is answered when it is out everywhere.
    pub(super) fn report_revoked(&mut self) -> Result<(), EngineError> {
        if let Some(id) = self.revoking
            && self.store().removal_talks()?.is_empty()
        {
            self.revoking = None;
            self.done(id);
        }
        Ok(())
    }

    /// Takes revoked devices out of a conversation, if it has any.
    pub(super) fn stage_removals(
        &mut self,
        row: &ConversationRow,
        roster: &Roster,
    ) -> Result<super::group::GroupStep, EngineError> {
        use super::group::GroupStep as Step;
        let mut removals = Vec::new();
        for device in self.store().removals_due(&row.id)? {
            let leaf = roster.leaves.iter().find(|(_, certificate)| {
                *certificate.device_id() == device && certificate.username() == self.my_name()
            });
            match leaf {
                Some((leaf, _)) => removals.push(*leaf),
                None => self.store().removal_done(&row.id, &device)?,
            }
        }
        if removals.is_empty() {
            return Ok(Step::Nothing);
        }
        let client_id = ClientMessageId::from_bytes(self.random_id());
        let Some(mut group) = self.take_group(row)? else {
            return Ok(Step::Nothing);
        };
        let epoch = group.epoch();
        let plan = Plan {
            removals: &removals,
            ..Plan::default()
        };
        let me = self.profile.device();
        let staged = group.stage(&self.key_store(), me, &client_id, &plan, self.now.unix_ms);
        self.keep_group(group);
        let staged = match staged {
            Ok(staged) => staged,
            Err(error) => {
                group_failure(error)?;
                return Ok(Step::Nothing);
            }
        };
        self.put_update(row, epoch, client_id, staged)?;
        self.send_pending(row)?;
        Ok(Step::Working)
    }

    /// Looks which devices the account has, once in a session.
    pub(super) fn look_at_own_devices(&mut self) {
        let username = self.my_name().as_str().to_owned();
        self.request(
            Purpose::OwnDevices,
            Ask::GetAccount(wire::GetAccount { username }),
        );
    }

    /// A device that this one never heard of is announced.
    pub(super) fn own_devices_shown(&mut self, answer: &Answer) -> Result<(), EngineError> {
        let Answer::Account(account) = answer else {
            return Ok(());
        };
        let shown = self.devices(account)?;
        let known = self.store().own_devices()?;
        let first = self.store().preference(DEVICES_SEEN)?.is_none() && known.is_empty();
        for device in &shown {
            if known.iter().any(|(id, _)| *id == device.id) {
                continue;
            }
            self.store().put_own_device(&device.id, "")?;
            if !first && device.this == ThisDevice::No {
                let me = self.my_name().clone();
                let action = format!(
                    "your account has a further device, {}; if it is not yours, \
                     `devices revoke {}` and change your password with `passwd`",
                    device.id, device.id
                );
                self.security(SecurityKind::DeviceAdded, None, Some(&me), &action);
            }
        }
        for (id, _) in known {
            if !shown.iter().any(|device| device.id == id) {
                self.store().forget_own_device(&id)?;
            }
        }
        if first {
            self.store().put_preference(DEVICES_SEEN, "yes")?;
        }
        Ok(())
    }

    /// The devices in the server's answer whose certificates hold.
    pub(super) fn devices(&self, account: &wire::Account) -> Result<Vec<Device>, EngineError> {
        let me = self.profile.device().certificate();
        let names = self.store().own_devices()?;
        let name_of = |id: &DeviceId| {
            let found = names.iter().find(|(known, _)| known == id);
            found.map_or_else(String::new, |(_, name)| name.clone())
        };
        Ok(account
            .certificates
            .iter()
            .take(limits::DEVICES_PER_ACCOUNT_MAX)
            .filter_map(|bytes| DeviceCertificate::verify(bytes, me.deployment()).ok())
            .filter(|certificate| certificate.same_account(me))
            .map(|certificate| Device {
                id: *certificate.device_id(),
                name: name_of(certificate.device_id()),
                issued_at_ms: certificate.issued_at_ms(),
                this: match certificate.device_id() == me.device_id() {
                    true => ThisDevice::Yes,
                    false => ThisDevice::No,
                },
            })
            .collect())
    }
}

fn wrong_account() -> Failure {
    refusal(
        "wrong_account",
        "the new device wants to be of another account; begin again there with this account's name",
    )
}

fn unreadable(error: LinkError) -> Failure {
    let code = match error {
        LinkError::TooLarge => "too_large",
        _ => ErrorCode::UnknownLink.name(),
    };
    refusal(code, &error.to_string())
}

pub(super) fn broken_store() -> Failure {
    refusal(
        ErrorCode::Internal.name(),
        "the local database could not be read; try again",
    )
}
