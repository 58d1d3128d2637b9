//! What goes into the store and comes out of it.
//!
//! Ids are those of `sotto_protocol`; times are milliseconds since 1970 UTC by the database's
//! clock, so that all servers share one. Nothing here holds a connection or SQL.

use bytes::Bytes;
use sotto_protocol::wire::EnvelopeKind;
use sotto_protocol::{BlobId, ClientMessageId, ConversationId, DeviceId, Username};
use sotto_roster::Access;

/// An account: the database's own number for it, never sent to a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AccountId(pub(crate) i64);

impl AccountId {
    /// Eight bytes that name the account, for keys of rate limits.
    #[must_use]
    pub fn to_key(self) -> [u8; 8] {
        self.0.to_be_bytes()
    }
}

/// A device that joins an account.
#[derive(Clone)]
pub struct NewDevice {
    /// Chosen by the device.
    pub id: DeviceId,
    /// Ed25519 public key of the device.
    pub device_key: [u8; 32],
    /// An encoded, verified `DeviceCertificate`.
    pub certificate: Bytes,
}

/// An account to be made, with its first device.
#[derive(Clone)]
pub struct Registration {
    /// The wanted name.
    pub username: Username,
    /// bcrypt of the authentication key.
    pub authentication_hash: String,
    /// Ed25519 public key of the account.
    pub identity_key: [u8; 32],
    /// The first device.
    pub device: NewDevice,
    /// The invite code as typed, where the deployment asks for one: one use of it is taken.
    pub invite: Option<String>,
}

/// What a password login is checked against.
#[derive(Clone)]
pub struct Credentials {
    /// The account.
    pub account: AccountId,
    /// bcrypt of the authentication key.
    pub authentication_hash: String,
    /// The account's identity key.
    pub identity_key: [u8; 32],
    /// Whether the operator disabled the account.
    pub disabled: bool,
    /// Whether the password was an operator's and its time is over.
    pub lapsed: bool,
}

/// A device of an account.
#[derive(Clone)]
pub struct DeviceRow {
    /// Its account.
    pub account: AccountId,
    /// The account's name.
    pub username: Username,
    /// Ed25519 public key of the device.
    pub device_key: [u8; 32],
    /// The account's identity key.
    pub identity_key: [u8; 32],
    /// The encoded certificate.
    pub certificate: Bytes,
    /// Whether the operator disabled the account.
    pub disabled: bool,
}

/// What everybody may know of an account.
#[derive(Clone)]
pub struct AccountRow {
    /// The account.
    pub account: AccountId,
    /// Its identity key.
    pub identity_key: [u8; 32],
    /// Encoded certificates, one a device.
    pub certificates: Vec<Bytes>,
    /// Whether a session of it is live on some server.
    pub online: bool,
    /// When it was last there, to the minute; milliseconds since 1970 UTC; 0 for unknown.
    pub last_seen_ms: u64,
    /// Whether it shares a conversation that is not public with whoever asks, or is who asks.
    pub is_contact: bool,
    /// What it shows, and what it published.
    pub profile: super::profile::Profile,
}

/// Which accounts a listing names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UserFilter {
    /// All that are not disabled.
    All,
    /// Those with a live session.
    Online,
}

/// Whom a listing may name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Listing {
    /// Whoever shows itself, and whoever asks.
    Shown,
    /// Only those of them who share a conversation with whoever asks.
    Contacts,
}

/// One account of a listing: only what it shows.
#[derive(Clone)]
pub struct ListedUser {
    /// The name.
    pub username: Username,
    /// Whether a session of it is live on some server, and it shows that.
    pub online: bool,
    /// When it was last there, if it shows that; as in [`AccountRow`].
    pub last_seen_ms: u64,
    /// The name that it published.
    pub display_name: String,
    /// The status that it published.
    pub status: String,
}

/// A page of accounts, sorted by name.
#[derive(Clone, Default)]
pub struct UserPage {
    /// The accounts.
    pub users: Vec<ListedUser>,
    /// Whether more follow the last one.
    pub more: bool,
}

/// A key package to be put into the directory.
#[derive(Clone)]
pub struct NewKeyPackage {
    /// Its MLS reference (RFC 9420 5.2), by which the same package is known.
    pub reference: Vec<u8>,
    /// Its MLS ciphersuite.
    pub ciphersuite: u16,
    /// The MLS `KeyPackage` message.
    pub data: Bytes,
    /// When its lifetime ends; milliseconds since 1970 UTC.
    pub not_after_ms: u64,
}

/// What the directory holds of a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct KeyPackageCount {
    /// Unused, unexpired one-time packages.
    pub one_time: u32,
    /// Whether an unexpired last-resort package is there.
    pub last_resort: bool,
}

/// The key packages of an account, taken for one invitation.
#[derive(Clone)]
pub struct Claimed {
    /// The account's identity key.
    pub identity_key: [u8; 32],
    /// One a device that had any.
    pub packages: Vec<(DeviceId, Bytes)>,
}

/// A sealed message to be appended.
#[derive(Clone)]
pub struct AppendMessage {
    /// The log.
    pub conversation: ConversationId,
    /// The generation as the sender knows it.
    pub generation: u32,
    /// The epoch that it was sealed in.
    pub epoch: u64,
    /// The sending device, as logged in.
    pub sender_device: DeviceId,
    /// The sender's id of the message.
    pub client_id: ClientMessageId,
    /// The sealed payload.
    pub payload: Bytes,
}

/// Where an entry lies; only given out when it is durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Appended {
    /// Place in the log, from 1.
    pub seq: u64,
    /// The conversation's epoch after the entry.
    pub epoch: u64,
    /// When it was stored; milliseconds since 1970 UTC.
    pub stored_at_ms: u64,
}

/// A welcome for one device, put into its mailbox as a `MailboxWelcome`.
#[derive(Clone)]
pub struct DeviceWelcome {
    /// The invited device.
    pub device: DeviceId,
    /// The MLS Welcome message.
    pub welcome: Bytes,
    /// What is sealed beside it about the group.
    pub note: Bytes,
}

/// What every commit carries, whether it continues a group or begins one.
#[derive(Clone)]
pub struct CommitPayload {
    /// The sending device, as logged in.
    pub sender_device: DeviceId,
    /// The sender's account name, told to the invited.
    pub inviter: Username,
    /// The sender's id of the commit's envelope.
    pub client_id: ClientMessageId,
    /// The MLS commit.
    pub commit: Bytes,
    /// The verified public state after the commit, as `sotto_roster` encodes it.
    pub group_state: Bytes,
    /// The MLS `GroupInfo` after the commit.
    pub group_info: Bytes,
    /// The encoded policy after the commit.
    pub policy: Bytes,
    /// The ratchet tree after the commit, where the welcomes do not hold it.
    pub tree: Option<Bytes>,
    /// One for each device that the commit adds (none for one that joined by itself).
    pub welcomes: Vec<DeviceWelcome>,
}

/// A verified, authorized commit that continues a group.
#[derive(Clone)]
pub struct CommitAppend {
    /// The conversation.
    pub conversation: ConversationId,
    /// Its generation.
    pub generation: u32,
    /// The epoch that the commit leaves.
    pub epoch: u64,
    /// Devices that are members after it and were not before. A device that rejoins by an
    /// external commit is named here and not among the removed.
    pub added: Vec<DeviceId>,
    /// Devices that were members before it and are not after.
    pub removed: Vec<DeviceId>,
    /// The rest.
    pub payload: CommitPayload,
}

/// What a new generation comes after.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Before {
    /// Nothing: the conversation must not exist.
    Nothing,
    /// The generation before.
    Generation,
}

/// A verified, authorized first commit of a conversation or of a new generation of one.
#[derive(Clone)]
pub struct NewConversation {
    /// Chosen by the creator.
    pub conversation: ConversationId,
    /// 0, or the present generation + 1; for one that an older database does not know any more,
    /// what the creator has of it + 1.
    pub generation: u32,
    /// What it was judged against.
    pub before: Before,
    /// Every device that is a member after the commit, the creator's among them.
    pub members: Vec<DeviceId>,
    /// The two accounts of a two-person conversation, in any order.
    pub pair: Option<(AccountId, AccountId)>,
    /// Who may come in alone.
    pub access: Access,
    /// The rest.
    pub payload: CommitPayload,
}

/// The public state that a commit is judged against.
#[derive(Clone)]
pub struct GroupState {
    /// The present generation.
    pub generation: u32,
    /// The present epoch.
    pub epoch: u64,
    /// As `sotto_roster` encoded it.
    pub group_state: Bytes,
    /// The MLS `GroupInfo` of this epoch.
    pub group_info: Bytes,
    /// The seq of the commit that led to this epoch.
    pub seq: u64,
}

/// One entry of a log.
#[derive(Clone)]
pub struct StoredEnvelope {
    /// Place in the log, from 1.
    pub seq: u64,
    /// Which MLS group of the conversation.
    pub generation: u32,
    /// The epoch that it was sealed in.
    pub epoch: u64,
    /// What the payload is.
    pub kind: EnvelopeKind,
    /// Who sent it.
    pub sender_device: DeviceId,
    /// The sender's id of it.
    pub client_id: ClientMessageId,
    /// The sealed payload.
    pub payload: Bytes,
    /// When it was stored; milliseconds since 1970 UTC.
    pub stored_at_ms: u64,
}

/// A device's place in one log: a conversation that it is or was in, or its mailbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemberState {
    /// The log.
    pub conversation: ConversationId,
    /// The conversation's generation (0 for a mailbox).
    pub generation: u32,
    /// The conversation's epoch (0 for a mailbox).
    pub epoch: u64,
    /// The highest seq that the device acknowledged.
    pub cursor: u64,
    /// The highest seq that the device may read: the log's head, or the commit that removed it.
    pub head: u64,
    /// The commit that removed the device: it reads up to this and no further.
    pub left_at: Option<u64>,
}

/// Whether something limited may be done now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    /// It may.
    Allowed,
    /// It may not; trying makes sense again after this many milliseconds.
    RetryAfter(u64),
}

/// Where the bytes of a blob lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BlobPlace {
    /// In the database.
    Database,
    /// In the object store; what is not there yet waits in the database.
    Objects,
}

/// A blob that begins.
#[derive(Debug, Clone, Copy)]
pub struct NewBlob {
    /// Chosen at random by the uploader.
    pub id: BlobId,
    /// Who uploads it.
    pub account: AccountId,
    /// Size of the whole, in bytes.
    pub size: u64,
    /// Where it goes.
    pub place: BlobPlace,
    /// Bytes of blobs that an account may have, where nothing else was set for it.
    pub quota_bytes: u64,
}

/// What is known of a blob.
#[derive(Debug, Clone)]
pub struct BlobRow {
    /// Who uploaded it; `None` once that account is gone.
    pub account: Option<AccountId>,
    /// Size of the whole, in bytes.
    pub size: u64,
    /// Bytes that are stored.
    pub stored: u64,
    /// Bytes of them that a crash of the database does not take back.
    pub durable: u64,
    /// Whether it is whole and can be read.
    pub complete: bool,
    /// Where it lies.
    pub place: BlobPlace,
    /// The object store's name of an upload in parts.
    pub upload: Option<String>,
    /// The object store's names of the parts that it has.
    pub parts: Vec<String>,
    /// When it will be deleted, in milliseconds since 1970 UTC.
    pub expires_at_ms: u64,
}

/// What an account has stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlobUsage {
    /// Bytes, of unfinished ones too.
    pub bytes: u64,
    /// Bytes that it may have.
    pub bytes_max: u64,
    /// How many blobs.
    pub blobs: u64,
}
