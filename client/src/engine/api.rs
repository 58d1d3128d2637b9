//! What an interface says to the engine and hears from it.
//!
//! Plain data only: commands in, events out, and answers to questions about
//! what is stored. Texts in events are as the sender wrote them; an interface
//! passes them through its safe text type before anybody sees them.

mod device;
mod group;
mod link;
mod people;
mod request;

use sotto_crypto::AuthenticationKey;
use sotto_crypto::content::Attachment;
use sotto_crypto::link::LinkOffer;
use sotto_protocol::{ClientMessageId, ConversationId, DeploymentId, DeviceId, Username};
use zeroize::Zeroizing;

pub use super::messages::api::*;
use crate::talk::Talk;

pub use device::{Backup, DeviceCommand};
pub use group::{
    GroupCommand, GroupMember, GroupNews, GroupView, Invitation, MemberTrust, Membership,
    MembershipChange, Room, role_name,
};
pub use link::{Admission, JoinRequest, LinkCommand, LinkView, Past};
pub use people::{PeopleCommand, Settings, Shown, User, UserFilter, Visibility};
pub use request::{Asker, Request};

/// The time of a call, read by the shell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// Milliseconds since 1970 UTC; shown and sent, never used for deadlines.
    pub unix_ms: u64,
    /// Milliseconds since any fixed moment of this process; never runs backwards.
    pub monotonic_ms: u64,
}

/// What the shell learned while connecting: the fields of `HelloOk` that
/// matter, and the TLS exporter value.
#[derive(Debug, Clone)]
pub struct ConnectionInfo {
    /// The deployment that answered; compared with the profile's.
    pub deployment: DeploymentId,
    /// The login challenge of this connection; 32 bytes.
    pub nonce: Vec<u8>,
    /// TLS exporter, label `EXPORTER-sotto-device-login`, empty context.
    pub exporter: [u8; 32],
    /// The server's name, for status displays.
    pub node: String,
    /// The server's clock in milliseconds since 1970 UTC.
    pub server_time_ms: u64,
}

/// How the engine logs in on its next connection. After one success every
/// later connection uses the device's signature.
pub enum Login {
    /// By the device key; the ordinary case.
    Device,
    /// Makes the account. Safe to repeat after a lost answer.
    Register {
        /// Derived from the password.
        authentication_key: AuthenticationKey,
        /// Where registration asks for one.
        invite: Option<String>,
    },
    /// By password.
    Password {
        /// Derived from the password.
        authentication_key: AuthenticationKey,
        /// Whether the account's identity may be replaced by this profile's.
        identity: IdentityChange,
    },
}

/// Whether a password login may replace the identity that the account has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IdentityChange {
    /// Another identity is refused (`identity_mismatch`).
    Refuse,
    /// This profile's identity takes its place, which everybody is told.
    Replace,
}

/// Whether messages of an accepted conversation are written to disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    /// In the encrypted history.
    Saved,
    /// In memory only; gone when the program ends.
    Unsaved,
}

/// Names one given command in the events that answer it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CommandId(pub u64);

/// What a person or script asks for. Each is answered by exactly one
/// [`Event::Done`], [`Event::Users`], [`Event::GroupMade`] or [`Event::Failed`] that carries its id.
/// `Send` is `Done` once it is safely queued; [`Event::Sent`] tells the rest.
pub enum Command {
    /// Queues a text for a person or group; the same id queues it once. Accepts a
    /// pending request of that person.
    Send {
        /// To whom.
        to: Talk,
        /// At most 65,536 bytes.
        text: String,
        /// The id of the message, by which it is sent exactly once.
        client_id: ClientMessageId,
    },
    /// Accepts a person's request, or the changed identity of a known person.
    Accept {
        /// Whose.
        name: Username,
        /// Whether messages are kept.
        keep: Keep,
    },
    /// Forgets a person's request.
    Decline {
        /// Whose.
        name: Username,
    },
    /// Ignores a person from now on.
    Block {
        /// Whom.
        name: Username,
    },
    /// Ends `Block`.
    Unblock {
        /// Whom.
        name: Username,
    },
    /// Looks up a person, so that [`Engine::safety_number`](super::Engine::safety_number)
    /// knows the identity; needs no server when it is known already.
    LookUp {
        /// Whom.
        name: Username,
    },
    /// Lists accounts; answered by [`Event::Users`].
    ListUsers {
        /// Names that begin with this; may be empty.
        prefix: String,
        /// Which.
        filter: UserFilter,
    },
    /// Changes the password here and at the server.
    ChangePassword {
        /// The present one.
        current: Zeroizing<String>,
        /// The one to put in its place.
        new: Zeroizing<String>,
    },
    /// Something with messages.
    Message(MessageCommand),
    /// Something with contacts or the own profile.
    Contact(ContactCommand),
    /// Something about what accounts show of themselves.
    People(PeopleCommand),
    /// Does something with a group.
    Group(GroupCommand),
    /// Does something with the account's devices or its backup.
    Device(DeviceCommand),
    /// Lists the devices of the own account; answered by [`Event::Devices`].
    ListDevices,
    /// Removes this device from the account. The profile keeps its history.
    Logout,
}

/// Where a message stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// From somebody else.
    Incoming,
    /// From this account.
    Outgoing,
}

/// What a message holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MessageBody {
    /// Written text, as it was changed last.
    Text(String),
    /// A file or image, with what is needed to get and open it.
    Attachment(Box<Attachment>),
    /// It was taken back; its content is gone.
    Deleted,
    /// A kind that this version does not know; it is kept as it came.
    Unknown,
}

/// One message of a conversation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// The conversation.
    pub conversation: ConversationId,
    /// With whom the conversation is.
    pub talk: Talk,
    /// The title of a group, if it is known here.
    pub title: Option<String>,
    /// The sender's id of the message.
    pub id: ClientMessageId,
    /// Place in the log; 0 while an own message is not acknowledged.
    pub seq: u64,
    /// Who wrote it, as authenticated.
    pub sender: Username,
    /// On which device, as authenticated.
    pub device: DeviceId,
    /// The MLS epoch.
    pub epoch: u64,
    /// Whose it is.
    pub direction: Direction,
    /// What it says.
    pub body: MessageBody,
    /// What there is to it beyond that.
    pub details: Box<Details>,
    /// The sender's clock, in milliseconds since 1970 UTC.
    pub sent_at_ms: u64,
    /// When the server stored it; milliseconds since 1970 UTC; 0 while queued.
    pub stored_at_ms: u64,
}

/// A person tells up to where messages arrived or were read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    /// The conversation.
    pub conversation: ConversationId,
    /// Who tells.
    pub by: Username,
    /// Every message up to this seq arrived.
    pub delivered_up_to: u64,
    /// Every message up to this seq was shown.
    pub read_up_to: u64,
    /// What lies before this seq, and was not told of before, this person's device cannot open;
    /// 0 where there is nothing of the kind.
    pub readable_from: u64,
}

/// Which promise is at stake.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SecurityKind {
    /// A person has another identity than the pinned one.
    KeyChanged,
    /// A person has a new device.
    DeviceAdded,
    /// A device that nobody vouched for.
    UnverifiedDevice,
    /// Members saw different commits.
    Fork,
    /// Messages are missing.
    Gap,
    /// The local state is older than what the server saw of this device, or the server's is older
    /// than what this device saw of it.
    Rollback,
    /// Two copies of this device are in use.
    Clone,
    /// A message came a second time.
    Replay,
    /// A message or change broke the rules and was not shown or made.
    PolicyRejected,
    /// A file is not what its message describes.
    AttachmentMismatch,
    /// The server stands for another deployment than the pinned one.
    PinMismatch,
    /// A conversation is being repaired.
    RecoveryStarted,
    /// A conversation works again.
    RecoveryDone,
}

impl SecurityKind {
    /// The name in JSON.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::KeyChanged => "key_changed",
            Self::DeviceAdded => "device_added",
            Self::UnverifiedDevice => "unverified_device",
            Self::Fork => "fork",
            Self::Gap => "gap",
            Self::Rollback => "rollback",
            Self::Clone => "clone",
            Self::Replay => "replay",
            Self::PolicyRejected => "policy_rejected",
            Self::AttachmentMismatch => "attachment_mismatch",
            Self::PinMismatch => "pin_mismatch",
            Self::RecoveryStarted => "recovery_started",
            Self::RecoveryDone => "recovery_done",
        }
    }
}

/// Something that the person should know about the safety of a conversation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecurityEvent {
    /// What.
    pub kind: SecurityKind,
    /// Where, if in one conversation.
    pub conversation: Option<ConversationId>,
    /// Whom it is about, if anybody.
    pub subject: Option<Username>,
    /// What the client did, or what the person can do; one sentence.
    pub action: String,
    /// How many messages are concerned; 0 when that has no meaning.
    pub count: u64,
}

/// A device of the own account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// Its id.
    pub id: DeviceId,
    /// What it is called here; empty where nobody named it.
    pub name: String,
    /// When its certificate was made; milliseconds since 1970 UTC.
    pub issued_at_ms: u64,
    /// Whether it is this one.
    pub this: ThisDevice,
}

/// Whether a listed device is the one that lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ThisDevice {
    /// It is.
    Yes,
    /// It is another.
    No,
}

/// The state of the session with a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Connection {
    /// Logged in; carries the server's name.
    LoggedIn(String),
    /// The server asks to connect again within this many milliseconds.
    MoveWithin(u32),
    /// The login was refused for good: reconnecting by itself makes no sense.
    Refused,
    /// The session is over.
    Lost,
}

/// What the engine tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A message to show.
    Message(Message),
    /// A change of members.
    Membership(Membership),
    /// Something was done to a message or conversation.
    Changed(Change),
    /// A message's time was over.
    Expired(Expired),
    /// A receipt.
    Receipt(Receipt),
    /// Somebody is writing.
    Typing(Typing),
    /// A contact told who they are.
    Profile(Contact),
    /// Receipts in a large group.
    Counted(ReceiptCount),
    /// A stranger's request.
    Request(Request),
    /// An invitation to a group.
    Invitation(Invitation),
    /// Somebody waits for an admin's word.
    JoinRequested(JoinRequest),
    /// A group has another title or description.
    Group(GroupNews),
    /// A security matter.
    Security(SecurityEvent),
    /// A queued message is durable at the server.
    Sent {
        /// Its id.
        id: ClientMessageId,
        /// To whom.
        to: Talk,
        /// The title of a group, if it is known here.
        title: Option<String>,
        /// Where.
        conversation: ConversationId,
        /// Its place in the log.
        seq: u64,
    },
    /// A queued message cannot be sent as things are. It stays queued where
    /// the person can do something about it (a changed identity).
    SendFailed {
        /// Its id.
        id: ClientMessageId,
        /// To whom.
        to: Talk,
        /// The title of a group, if it is known here.
        title: Option<String>,
        /// Why.
        failure: Failure,
    },
    /// The answer to `ListUsers`.
    Users {
        /// The command.
        command: CommandId,
        /// Sorted by name.
        users: Vec<User>,
    },
    /// The answer to `PeopleCommand::Look`.
    User {
        /// The command.
        command: CommandId,
        /// Who was looked at.
        user: Box<User>,
    },
    /// The answer to `PeopleCommand::Settings`.
    Settings {
        /// The command.
        command: CommandId,
        /// The account's own.
        settings: Box<Settings>,
    },
    /// The answer to `ListDevices`.
    Devices {
        /// The command.
        command: CommandId,
        /// The devices.
        devices: Vec<Device>,
    },
    /// The answer to `GroupCommand::Rooms`.
    Rooms {
        /// The command.
        command: CommandId,
        /// Sorted by title.
        rooms: Vec<Room>,
    },
    /// The answer to `LinkCommand::Make`.
    InviteLink {
        /// The command.
        command: CommandId,
        /// The link.
        link: LinkView,
    },
    /// The answer to `LinkCommand::List`.
    InviteLinks {
        /// The command.
        command: CommandId,
        /// Those that end first before others.
        links: Vec<LinkView>,
    },
    /// The answer to `DeviceCommand::LookAtOffer`.
    LinkOffered {
        /// The command.
        command: CommandId,
        /// Who wants to become a device; its name is unchecked text.
        offer: Box<LinkOffer>,
        /// The offer as it was sealed, for `DeviceCommand::Link`.
        sealed: Vec<u8>,
    },
    /// The answer to `GroupCommand::New`.
    GroupMade {
        /// The command.
        command: CommandId,
        /// The group.
        conversation: ConversationId,
        /// Its title.
        title: String,
    },
    /// The session's state.
    Connection(Connection),
    /// Everything that waited at the server has been delivered.
    CaughtUp,
    /// Nothing is left in the outbox that could be sent now.
    OutboxEmpty,
    /// A command was carried out.
    Done {
        /// The command.
        command: CommandId,
    },
    /// A command, or with `None` the login or the session, failed.
    Failed {
        /// The command, if it was one.
        command: Option<CommandId>,
        /// Why.
        failure: Failure,
    },
}

/// Why something did not work: a stable name, a sentence, a time to wait.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// Stable: the names of `sotto_protocol::ErrorCode`, and of this client:
    /// `key_changed`, `blocked`, `timed_out`, `too_large`, `self`,
    /// `not_a_request`, `unknown_user`, `wrong_deployment`, `too_many_commands`, `outbox_full`,
    /// `already_member`, `not_a_member`, `last_owner`, `not_an_invitation`, `too_many_links`.
    pub code: &'static str,
    /// One sentence with what to do next.
    pub message: String,
    /// When trying again makes sense, in milliseconds.
    pub retry_after_ms: Option<u64>,
}

/// A conversation in the list of chats.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chat {
    /// The conversation; none before the first message could be sent.
    pub conversation: Option<ConversationId>,
    /// With whom.
    pub talk: Talk,
    /// The title of a group, if it is known here.
    pub title: Option<String>,
    /// Whether messages are kept.
    pub keep: Keep,
    /// The last message.
    pub last: Option<Message>,
    /// Own messages that wait to be sent.
    pub queued: u64,
    /// Messages that were not shown yet.
    pub unread: u64,
    /// Those among them that speak to this account by name.
    pub mentions: u64,
    /// Seconds after reading at which messages disappear; 0 for never.
    pub expires_after_s: u32,
    /// How silent it is.
    pub mute: Option<Mute>,
    /// What was begun and not sent.
    pub draft: Option<String>,
    /// When something last happened; milliseconds since 1970 UTC.
    pub updated_at_ms: u64,
}

/// Who this profile is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WhoAmI {
    /// The account.
    pub username: Username,
    /// This device.
    pub device: DeviceId,
    /// The deployment.
    pub deployment: DeploymentId,
    /// The account's public identity key.
    pub identity_key: [u8; 32],
    /// Whether the device is logged in as far as known here.
    pub state: AccountState,
}

/// Where this profile's account stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AccountState {
    /// The profile exists, the server has not confirmed the account yet.
    Registering,
    /// Logged in on this device.
    Active,
    /// Logged out; the history is still here.
    LoggedOut,
    /// The account does not have this device any more; the history is still here.
    Revoked,
}

/// The number that two people compare.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SafetyNumber {
    /// 60 digits in 12 groups of 5, separated by spaces.
    pub digits: String,
    /// When the person confirmed it; milliseconds since 1970 UTC.
    pub verified_at_ms: Option<u64>,
    /// Whether it is over an identity that has changed and was not accepted yet.
    pub pin: Pin,
}

/// How the identity of a person stands to what was pinned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pin {
    /// It is the pinned one.
    Same,
    /// The server shows another; sending waits for `verify` or `accept`.
    Changed,
}
