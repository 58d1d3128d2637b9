//! The backup under a recovery key: one device of the account keeps it, the
//! one that made the key last. Another that finds its backup replaced stops,
//! so that no old key ever seals over a new one.

use prost::Message as _;
use sotto_crypto::recovery::BackupKey;
use sotto_protocol::wire::client_frame::Body as Ask;
use sotto_protocol::wire::server_frame::Body as Answer;
use sotto_protocol::{ErrorCode, wire};
use zeroize::{Zeroize as _, Zeroizing};

use super::super::api::{Backup, CommandId, Failure};
use super::super::commands::{ServerCommand, refusal};
use super::super::flight::Purpose;
use super::super::session::{Session, failure};
use super::super::{Engine, EngineError};
use super::{DeviceAsk, broken_store};
use crate::history::RecoveryRow;

/// The shortest time between two backups, in milliseconds: two minutes.
const EVERY_MS: u64 = 120_000;
/// How often a new key's first backup is tried against others' writes.
const TRIES_MAX: u32 = 4;

impl Engine {
    /// Where the backup stands; `None` where this device does not keep it.
    ///
    /// # Errors
    /// When the local store fails.
    pub fn backup(&self) -> Result<Option<Backup>, EngineError> {
        Ok(self.store().recovery()?.map(|row| Backup {
            number: row.number,
            stored_at_ms: row.stored_at_ms,
        }))
    }

    pub(super) fn keep_backup(&self, key: BackupKey) -> Result<(), EngineError> {
        let number = self.store().recovery()?.map_or(0, |row| row.number);
        Ok(self.store().put_recovery(&RecoveryRow {
            key,
            number,
            digest: Vec::new(),
            stored_at_ms: 0,
            unanswered: false,
        })?)
    }

    /// What a backup holds, and its hash.
    fn backup_plain(&self) -> Result<(Zeroizing<Vec<u8>>, [u8; 32]), EngineError> {
        let store = self.store();
        let mut snapshot = store.snapshot()?;
        for conversation in &mut snapshot.conversations {
            // Or each message would make a backup.
            conversation.updated_at_ms = 0;
        }
        snapshot.identity_secret = store.account()?.identity_secret.to_vec();
        let plain = Zeroizing::new(snapshot.encode_to_vec());
        snapshot.identity_secret.zeroize();
        let digest = sotto_crypto::commit_hash(&plain);
        Ok((plain, digest))
    }

    pub(super) fn backup_request(&self) -> Result<Ask, Failure> {
        let row = self.store().recovery().map_err(|_| broken_store())?;
        let row = row.ok_or_else(kept_elsewhere)?;
        let (plain, _) = self.backup_plain().map_err(|_| broken_store())?;
        let sealed = row
            .key
            .seal(self.profile.deployment(), self.my_name(), &plain)
            .map_err(|error| refusal("too_large", &error.to_string()))?;
        Ok(Ask::PutBackup(wire::PutBackup {
            backup: sealed,
            previous: row.number,
        }))
    }

    /// Backs up what changed, if it is time.
    pub(in crate::engine) fn back_up_if_due(&mut self) -> Result<(), EngineError> {
        if self.session != Session::Live {
            return Ok(());
        }
        let Some(mut row) = self.store().recovery()? else {
            return Ok(());
        };
        if row.stored_at_ms + EVERY_MS > self.now.unix_ms {
            return Ok(());
        }
        let (_, digest) = self.backup_plain()?;
        if row.digest == digest {
            return Ok(());
        }
        if let Ok(body) = self.backup_request() {
            row.unanswered = true;
            self.store().put_recovery(&row)?;
            self.request(Purpose::Backup, body);
        }
        Ok(())
    }

    pub(super) fn backup_stored(&mut self, stored: &wire::Backup) -> Result<(), EngineError> {
        let Some(mut row) = self.store().recovery()? else {
            return Ok(());
        };
        let (_, digest) = self.backup_plain()?;
        row.number = stored.number;
        row.digest = digest.to_vec();
        row.stored_at_ms = self.now.unix_ms;
        row.unanswered = false;
        Ok(self.store().put_recovery(&row)?)
    }

    /// The answer to a backup that nobody asked for.
    pub(in crate::engine) fn backup_answered(
        &mut self,
        answer: &Answer,
    ) -> Result<(), EngineError> {
        match answer {
            Answer::Backup(stored) => self.backup_stored(stored),
            Answer::Error(error) if ErrorCode::from_number(error.code) == ErrorCode::StaleEpoch => {
                let Some(mut row) = self.store().recovery()? else {
                    return Ok(());
                };
                if row.unanswered && error.current_epoch == row.number + 1 {
                    // This device's own, whose answer was lost.
                    row.number = error.current_epoch;
                    row.unanswered = false;
                    return Ok(self.store().put_recovery(&row)?);
                }
                Ok(self.store().forget_recovery()?)
            }
            _ => Ok(()),
        }
    }

    /// A new key's first backup takes the place of whatever is there.
    pub(super) fn backup_refused(
        &mut self,
        id: CommandId,
        tries: u32,
        error: &wire::Error,
    ) -> Result<(), EngineError> {
        let stale = ErrorCode::from_number(error.code) == ErrorCode::StaleEpoch;
        match self.store().recovery()? {
            Some(mut row) if stale && tries < TRIES_MAX => {
                row.number = error.current_epoch;
                self.store().put_recovery(&row)?;
                let again = ServerCommand::Device(DeviceAsk::Backup(tries + 1));
                self.commands.push_front((id, again));
            }
            _ => self.failed_with(id, failure(error)),
        }
        Ok(())
    }
}

fn kept_elsewhere() -> Failure {
    refusal(
        ErrorCode::NoBackup.name(),
        "another device of this account keeps the backup; `recovery new` makes a new key here",
    )
}
