//! The membership of a conversation at one epoch.
//!
//! A roster is a plain statement: it neither verifies signatures (certificates
//! did when they were made) nor decides anything ([`mod@crate::authorize`] does).

use std::collections::{BTreeMap, BTreeSet};

use sotto_protocol::{ConversationId, DeviceId, Username};

use crate::certificate::DeviceCertificate;
use crate::roles::Policy;

/// The place of a device in the MLS tree of its conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LeafIndex(pub u32);

/// Which devices are in a conversation at one epoch, and under which policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Roster {
    /// The conversation.
    pub conversation: ConversationId,
    /// Which MLS group of the conversation: 0 for the first, one more at each rebuild.
    pub generation: u32,
    /// The MLS epoch.
    pub epoch: u64,
    /// Who may do what.
    pub policy: Policy,
    /// The devices, by place.
    pub leaves: BTreeMap<LeafIndex, DeviceCertificate>,
}

impl Roster {
    /// The accounts that have at least one device here.
    #[must_use]
    pub fn accounts(&self) -> BTreeSet<&Username> {
        self.leaves
            .values()
            .map(DeviceCertificate::username)
            .collect()
    }

    /// The devices of one account, with their places.
    pub fn devices_of<'a>(
        &'a self,
        username: &'a Username,
    ) -> impl Iterator<Item = (LeafIndex, &'a DeviceCertificate)> {
        self.leaves
            .iter()
            .filter(move |(_, certificate)| certificate.username() == username)
            .map(|(index, certificate)| (*index, certificate))
    }

    /// The place of a device, if it is here.
    #[must_use]
    pub fn leaf_of(&self, device: &DeviceId) -> Option<LeafIndex> {
        self.leaves
            .iter()
            .find(|(_, certificate)| certificate.device_id() == device)
            .map(|(index, _)| *index)
    }

    /// The identity key under which an account is here, if it is.
    #[must_use]
    pub fn identity_of(&self, username: &Username) -> Option<&[u8; 32]> {
        self.leaves
            .values()
            .find(|certificate| certificate.username() == username)
            .map(DeviceCertificate::identity_key)
    }
}
