//! Every bound of the wire, in one place. Sizes are in bytes.

/// The shortest account name.
pub const USERNAME_BYTES_MIN: usize = 3;
/// The longest account name.
pub const USERNAME_BYTES_MAX: usize = 32;
/// The largest frame before login: enough for Register and DeviceLogin.
pub const FRAME_BYTES_MAX_BEFORE_LOGIN: usize = 16 * 1024;
/// The largest frame after login.
pub const FRAME_BYTES_MAX: usize = 1024 * 1024;
/// The largest sealed payload of an application message.
pub const PAYLOAD_BYTES_MAX: usize = 128 * 1024;
/// The largest commit, welcome or group info.
pub const HANDSHAKE_BYTES_MAX: usize = 512 * 1024;
/// The largest key package.
pub const KEY_PACKAGE_BYTES_MAX: usize = 8 * 1024;
/// One-time key packages in one publication.
pub const KEY_PACKAGES_AT_ONCE_MAX: usize = 100;
/// One-time key packages held for a device.
pub const KEY_PACKAGES_STORED_MAX: usize = 200;
/// The largest device certificate.
pub const CERTIFICATE_BYTES_MAX: usize = 512;
/// Characters of an authentication key: base64url of 32 bytes without padding.
pub const AUTHENTICATION_KEY_CHARS: usize = 43;
/// Cursors in one acknowledgement.
pub const CURSORS_AT_ONCE_MAX: usize = 256;
/// Conversations in one page of Sync.
pub const SYNC_PAGE_MAX: usize = 500;
/// Accounts in one page of Users.
pub const USERS_PAGE_MAX: usize = 200;
/// Devices of one account.
pub const DEVICES_PER_ACCOUNT_MAX: usize = 8;
/// Leaves of one group.
pub const GROUP_LEAVES_MAX: usize = 4096;
/// Bytes of an agent string.
pub const AGENT_BYTES_MAX: usize = 64;
/// Accounts that a group's policy bans.
pub const BANNED_MAX: usize = 1_000;
/// Accounts that a group's policy remembers as put out by an admin.
pub const PUT_OUT_MAX: usize = 1_000;
/// A published display name, or a title of a room.
pub const DISPLAY_NAME_BYTES_MAX: usize = 64;
/// A status text, or a topic of a room.
pub const STATUS_BYTES_MAX: usize = 256;
/// A sealed signal.
pub const SIGNAL_BYTES_MAX: usize = 1_024;
/// What is sealed beside a welcome about the group that it leads to.
pub const INVITATION_NOTE_BYTES_MAX: usize = 2_048;
/// An encoded leave statement.
pub const LEAVE_STATEMENT_BYTES_MAX: usize = 512;
/// Rooms in one page.
pub const ROOMS_PAGE_MAX: usize = 100;
/// Invite links of one group.
pub const JOIN_LINKS_MAX: usize = 100;
/// How far the numbers of every log jump when an older database was restored, so that no number is
/// ever given twice. A log that misses at least half of this did not lose entries: it was restored.
pub const RESTORED_LEAP: u64 = 1 << 40;
/// Uses of one invite link.
pub const JOIN_LINK_USES_MAX: u32 = 10_000;
/// One piece of a blob.
pub const BLOB_PIECE_BYTES_MAX: usize = 256 * 1024;
/// A device's offer when it is linked.
pub const LINK_OFFER_BYTES_MAX: usize = 4_096;
/// The answer to it.
pub const LINK_ANSWER_BYTES_MAX: usize = 64 * 1024;
/// A sealed backup.
pub const BACKUP_BYTES_MAX: usize = 512 * 1024;
