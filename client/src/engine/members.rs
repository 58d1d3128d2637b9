//! What a merged commit did to the members, told as events.

use sotto_crypto::CommitSummary;
use sotto_roster::MembershipChange as Change;

use super::api::{Event, Membership, MembershipChange, SecurityKind};
use super::{Engine, EngineError};
use crate::history::{Baseline, ConversationRow};

impl Engine {
    pub(super) fn tell_members(
        &mut self,
        row: &mut ConversationRow,
        summary: &CommitSummary,
    ) -> Result<(), EngineError> {
        if row.talk.group().is_some() {
            return self.tell_group(row, summary);
        }
        let by = summary.committer.username().clone();
        for change in &summary.changes {
            let (kind, certificate) = match change {
                Change::Added(certificate) => {
                    (self.kind_of_arrival(row, certificate)?, certificate)
                }
                Change::Removed(certificate) => (MembershipChange::DeviceRemoved, certificate),
                Change::Rejoined(certificate) => {
                    // It begins to count its messages anew.
                    self.store()
                        .forget_sender_counter(&row.id, certificate.device_id())?;
                    row.baseline = Baseline::FirstSeen;
                    continue;
                }
                Change::Role { .. } | Change::Banned(_) | Change::Unbanned(_) => continue,
            };
            let subject = certificate.username().clone();
            if kind == MembershipChange::DeviceAdded {
                self.security(
                    SecurityKind::DeviceAdded,
                    Some(row.id),
                    Some(&subject),
                    "a further device of this person reads from now on",
                );
            }
            self.emit(Event::Membership(Membership {
                conversation: row.id,
                talk: row.talk.clone(),
                title: None,
                change: kind,
                subject,
                by: by.clone(),
                epoch: summary.epoch,
            }));
        }
        Ok(())
    }

    /// A person's first device means that the person came in.
    fn kind_of_arrival(
        &mut self,
        row: &ConversationRow,
        certificate: &sotto_roster::DeviceCertificate,
    ) -> Result<MembershipChange, EngineError> {
        let Some(group) = self.take_group(row)? else {
            return Ok(MembershipChange::Joined);
        };
        let devices = group.roster().devices_of(certificate.username()).count();
        self.keep_group(group);
        Ok(match devices {
            0 | 1 => MembershipChange::Joined,
            _ => MembershipChange::DeviceAdded,
        })
    }
}
