//! The relay's side of several devices of one account: links under way, added
//! and ended devices, backups. It sees only what is sealed.

use std::collections::BTreeMap;

use prost::Message as _;
use sotto_protocol::wire::EnvelopeKind;
use sotto_protocol::wire::client_frame::Body as Ask;
use sotto_protocol::wire::server_frame::Body as Answer;
use sotto_protocol::{DeviceId, ErrorCode, wire};
use sotto_roster::DeviceCertificate;

use crate::relay::{DEPLOYMENT, Log, Outcome, Relay, refuse};

/// What lies between two devices, or for a device that is lost.
#[derive(Default)]
pub(crate) struct Shelf {
    pub(crate) offers: BTreeMap<Vec<u8>, Vec<u8>>,
    pub(crate) answers: BTreeMap<Vec<u8>, Vec<u8>>,
    /// By account: how many, and the last.
    pub(crate) backups: BTreeMap<String, (u64, Vec<u8>)>,
}

impl Relay {
    /// Every device of the old identity ends, and whoever talked with one is told.
    pub(crate) fn replace_identity(&mut self, name: &str, identity: [u8; 32]) {
        let account = self.accounts.get_mut(name).unwrap();
        account.identity = identity;
        let old: Vec<_> = account.certificates.keys().copied().collect();
        let said = wire::IdentityChanged {
            username: name.to_owned(),
        };
        let said = said.encode_to_vec();
        let logs = self.logs.iter().filter(|(_, log)| log.group.is_some());
        let there = |device: &&DeviceId| {
            logs.clone()
                .filter(|(_, log)| log.members.contains_key(device))
                .map(|(id, log)| (*id, log.epoch()))
                .collect::<Vec<_>>()
        };
        let told: BTreeMap<_, _> = old
            .iter()
            .flat_map(|device| there(&device).into_iter().map(|log| (log, *device)))
            .collect();
        for ((id, epoch), device) in told {
            let kind = EnvelopeKind::IdentityChanged;
            let client_id = vec![0xcc; 16];
            self.store(id, device, kind, epoch, client_id, said.clone());
        }
        for device in old {
            self.remove_device(name, device);
        }
    }

    pub(crate) fn answer_about_devices(&mut self, client: usize, body: Ask) -> Outcome {
        let done = Ok(Answer::Done(wire::Done {}));
        match body {
            Ask::PutLinkOffer(put) => {
                self.shelf.offers.insert(put.rendezvous_id, put.offer);
                done
            }
            Ask::GetLinkOffer(get) => match self.shelf.offers.get(&get.rendezvous_id) {
                Some(offer) => Ok(Answer::LinkOffer(wire::LinkOffer {
                    offer: offer.clone(),
                })),
                None => Err(refuse(ErrorCode::UnknownLink)),
            },
            Ask::PutLinkAnswer(put) => {
                if !self.shelf.offers.contains_key(&put.rendezvous_id) {
                    return Err(refuse(ErrorCode::UnknownLink));
                }
                self.shelf.answers.insert(put.rendezvous_id, put.answer);
                done
            }
            Ask::GetLinkAnswer(get) => Ok(Answer::LinkAnswer(wire::LinkAnswer {
                answer: self
                    .shelf
                    .answers
                    .remove(&get.rendezvous_id)
                    .unwrap_or_default(),
            })),
            Ask::AddDevice(add) => self.add_device(client, &add),
            Ask::RevokeDevice(revoke) => {
                let (name, _) = self.me(client)?;
                let device = DeviceId::from_slice(&revoke.device_id).unwrap();
                if !self.accounts[&name].certificates.contains_key(&device) {
                    return Err(refuse(ErrorCode::UnknownDevice));
                }
                self.remove_device(&name, device);
                done
            }
            Ask::PutBackup(put) => self.put_backup(client, put),
            _ => Err(refuse(ErrorCode::Malformed)),
        }
    }

    /// Whether an account has a place in a group that it did not leave.
    pub(crate) fn is_account_in(&self, log: &Log, name: &str) -> bool {
        let devices = || self.accounts[name].certificates.keys();
        let has_left = devices().any(|device| log.left.contains_key(device));
        log.has_account(name) && (!has_left || devices().any(|device| log.is_in(device)))
    }

    fn add_device(&mut self, client: usize, add: &wire::AddDevice) -> Outcome {
        let (name, _) = self.me(client)?;
        let certificate = DeviceCertificate::verify(&add.certificate, &DEPLOYMENT)
            .map_err(|_| refuse(ErrorCode::CertificateInvalid))?;
        let account = self.accounts.get_mut(&name).unwrap();
        if account.identity != *certificate.identity_key()
            || certificate.username().as_str() != name
        {
            return Err(refuse(ErrorCode::IdentityMismatch));
        }
        let device = *certificate.device_id();
        account.certificates.insert(device, add.certificate.clone());
        let mailbox = self.logs.entry(device.mailbox()).or_default();
        mailbox.members.entry(device).or_insert(0);
        Ok(Answer::Done(wire::Done {}))
    }

    pub(crate) fn remove_device(&mut self, name: &str, device: DeviceId) {
        self.accounts
            .get_mut(name)
            .unwrap()
            .certificates
            .remove(&device);
        self.packages.remove(&device);
        self.logs.remove(&device.mailbox());
        for log in self.logs.values_mut() {
            log.members.remove(&device);
        }
    }

    fn put_backup(&mut self, client: usize, put: wire::PutBackup) -> Outcome {
        let (name, _) = self.me(client)?;
        let stored_at_ms = self.now_ms;
        let (number, last) = self.shelf.backups.entry(name).or_default();
        if *number != put.previous {
            return Err(wire::Error {
                current_epoch: *number,
                ..refuse(ErrorCode::StaleEpoch)
            });
        }
        *number += 1;
        *last = put.backup;
        Ok(Answer::Backup(wire::Backup {
            backup: Vec::new(),
            number: *number,
            stored_at_ms,
        }))
    }
}
