//! What a person asks of the account's devices.

use sotto_crypto::link::{LinkCode, LinkOffer};
use sotto_crypto::recovery::BackupKey;
use sotto_protocol::DeviceId;
use sotto_protocol::wire::PastArchive;

/// Something with the account's devices or its backup. Answered by
/// `Event::Done` unless something else is said.
pub enum DeviceCommand {
    /// Looks who shows this code; answered by `Event::LinkOffered`.
    LookAtOffer {
        /// As a person typed it.
        code: LinkCode,
    },
    /// Makes whoever offered a device of this account. The person has agreed.
    Link {
        /// As a person typed it.
        code: LinkCode,
        /// What was looked at.
        offer: Box<LinkOffer>,
        /// The offer as it was sealed.
        sealed: Vec<u8>,
        /// Where the latest messages lie, if they were uploaded; else as many
        /// as fit go along.
        archive: Option<Box<PastArchive>>,
    },
    /// Gives a device a name, which is kept here.
    Rename {
        /// Which.
        device: DeviceId,
        /// At most 64 bytes; empty for none.
        name: String,
    },
    /// Ends a device: at the server at once, then in every conversation. Done
    /// when no conversation that works here has it any more.
    Revoke {
        /// Which.
        device: DeviceId,
    },
    /// Keeps the account's backup under this key from now on, in the place of
    /// any other. Done when the first is at the server.
    KeepBackup {
        /// From a new recovery key.
        key: BackupKey,
    },
}

/// Where the account's backup stands as far as this device keeps it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backup {
    /// How many there were.
    pub number: u64,
    /// When the last was stored; milliseconds since 1970 UTC; 0 for never.
    pub stored_at_ms: u64,
}
