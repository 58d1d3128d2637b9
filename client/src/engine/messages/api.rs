//! What an interface says and hears about messages beyond their text. Plain
//! data; texts are as their writers wrote them.

use sotto_crypto::content::{Attachment, Emoji, MessageRef};
use sotto_protocol::{ClientMessageId, ConversationId, DeviceId, Username};

use crate::engine::api::{Direction, Message};
use crate::talk::Talk;

/// Names a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Where it is.
    pub talk: Talk,
    /// Which it is.
    pub message: MessageRef,
}

/// What goes with a text.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SendOptions {
    /// The message that it answers.
    pub reply_to: Option<MessageRef>,
    /// Who is spoken to by name; at most 64.
    pub mentions: Vec<Username>,
    /// Seconds after reading at which it disappears, 0 for never; without it
    /// the conversation's timer counts.
    pub expires_after_s: Option<u32>,
}

/// How silent a conversation is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mute {
    /// Until then, in milliseconds since 1970 UTC; `u64::MAX` for ever.
    Until(u64),
    /// Only messages that speak to this account by name are told.
    MentionsOnly,
}

/// Whether something is put on or taken off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Put {
    /// On.
    On,
    /// Off.
    Off,
}

/// What a person does with messages. Those with a `client_id` are `Done` once
/// they are safely queued; `Event::Sent` tells when the server has them.
#[derive(Debug)]
pub enum MessageCommand {
    /// Queues a text with all that goes with it.
    Write {
        /// To whom.
        to: Talk,
        /// At most 65,536 bytes.
        text: String,
        /// The rest.
        options: SendOptions,
        /// By which it is sent exactly once.
        client_id: ClientMessageId,
    },
    /// Queues a file that was uploaded.
    Attach {
        /// To whom.
        to: Talk,
        /// The file.
        attachment: Box<Attachment>,
        /// As in `Write`.
        client_id: ClientMessageId,
    },
    /// Gives an own message another text.
    Edit {
        /// Which.
        target: Target,
        /// As in `Write`.
        text: String,
        /// As in `SendOptions`.
        mentions: Vec<Username>,
        /// As in `Write`.
        client_id: ClientMessageId,
    },
    /// Takes a message back for everyone.
    Delete {
        /// Which.
        target: Target,
        /// As in `Write`.
        client_id: ClientMessageId,
    },
    /// Reacts to a message, or takes that back.
    React {
        /// To which.
        target: Target,
        /// With what.
        emoji: Emoji,
        /// Whether it stands.
        put: Put,
        /// As in `Write`.
        client_id: ClientMessageId,
    },
    /// Pins a message, or unpins it.
    Pin {
        /// Which.
        target: Target,
        /// Whether it stands.
        put: Put,
        /// As in `Write`.
        client_id: ClientMessageId,
    },
    /// Passes a message on.
    Forward {
        /// Which.
        target: Target,
        /// To whom.
        to: Talk,
        /// As in `Write`.
        client_id: ClientMessageId,
    },
    /// Sets how long messages from here on are kept after reading.
    SetTimer {
        /// Where.
        to: Talk,
        /// Seconds; 0 ends it; at most 366 days.
        expires_after_s: u32,
        /// As in `Write`.
        client_id: ClientMessageId,
    },
    /// Keeps what was begun; an empty text forgets it.
    Draft {
        /// Where.
        to: Talk,
        /// At most 65,536 bytes.
        text: String,
    },
    /// Makes a conversation silent on this device, or ends that.
    Mute {
        /// Which.
        to: Talk,
        /// How.
        mute: Option<Mute>,
    },
    /// Tells who is online that the person is writing; at most once in three
    /// seconds, and never to strangers.
    Typing {
        /// Where.
        to: Talk,
    },
    /// Whether receipts are sent, and that the person is writing.
    SetReceipts(Put),
}

/// What concerns contacts and the own profile.
#[derive(Debug)]
pub enum ContactCommand {
    /// Gives somebody a name or a note that only this device knows; `None`
    /// leaves what there is, an empty text takes it away.
    Note {
        /// Whom.
        name: Username,
        /// At most 64 bytes.
        alias: Option<String>,
        /// At most 4,096 bytes.
        note: Option<String>,
    },
    /// Changes the own profile, which contacts are then told under seal.
    SetProfile {
        /// At most 64 bytes.
        display_name: Option<String>,
        /// At most 256 bytes.
        status: Option<String>,
    },
    /// Takes a group that this account is out of, or a person with all that was said, off this
    /// device. A pinned identity and a block stay.
    Forget {
        /// Which.
        talk: Talk,
    },
    /// Shows the own profile to everybody, by way of the servers in clear.
    Publish,
    /// Takes a published profile back.
    Unpublish,
}

/// Somebody, as known here. Texts but `name` are foreign or free words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contact {
    /// The account.
    pub name: Username,
    /// The name given here; empty for none.
    pub alias: String,
    /// The note written here; empty for none.
    pub note: String,
    /// What the person is called, as told under seal; empty for none.
    pub display_name: String,
    /// The person's status, as told under seal; empty for none.
    pub status: String,
    /// When the safety number was confirmed; milliseconds since 1970 UTC.
    pub verified_at_ms: Option<u64>,
    /// Whether the person is blocked.
    pub blocked: bool,
}

/// What a message answers, as far as it is known here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplyTo {
    /// The message.
    pub message: MessageRef,
    /// Who wrote it, where it is here.
    pub sender: Option<Username>,
    /// What it says, where it is here; else what the answer quotes, which is a
    /// claim; `None` where it was taken back or is not known.
    pub quote: Option<String>,
}

/// Who reacted with one emoji.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reactions {
    /// The emoji.
    pub emoji: Emoji,
    /// By whom, in the order of their reactions.
    pub by: Vec<Username>,
}

/// What there is to a message beyond its text.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Details {
    /// What it answers.
    pub reply: Option<ReplyTo>,
    /// Whether its author changed it.
    pub edited: bool,
    /// Whether it was passed on.
    pub forwarded: bool,
    /// Whom it speaks to by name.
    pub mentions: Vec<Username>,
    /// Reactions that stand.
    pub reactions: Vec<Reactions>,
    /// Whether it is pinned.
    pub pinned: bool,
    /// Seconds after reading at which it disappears; 0 for never.
    pub expires_after_s: u32,
    /// When it disappears, once it was read; milliseconds since 1970 UTC.
    pub expires_at_ms: Option<u64>,
    /// How many others told that it reached them; own messages only.
    pub delivered_to: u64,
    /// How many others told that they read it; own messages only.
    pub read_by: u64,
    /// Whether the person here wants to be told of it: it is somebody else's,
    /// and the conversation is not silent.
    pub notify: bool,
    /// Why an own message was never sent and will not be; `None` for every other one.
    pub not_sent: Option<NotSent>,
}

/// Why a message stays on this device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotSent {
    /// A code of [`crate::engine::api::Failure`].
    pub code: String,
    /// One sentence.
    pub message: String,
}

/// What was done to a message or a conversation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ChangeKind {
    /// It says this now.
    Edit(String),
    /// It was taken back.
    Delete,
    /// Somebody reacted, or took a reaction back.
    Reaction(Emoji, Put),
    /// It was pinned or unpinned.
    Pin(Put),
    /// Messages from here on disappear so many seconds after reading; 0 for never.
    Timer(u32),
}

impl ChangeKind {
    /// The name in JSON.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Edit(_) => "edit",
            Self::Delete => "delete",
            Self::Reaction(..) => "reaction",
            Self::Pin(_) => "pin",
            Self::Timer(_) => "timer",
        }
    }
}

/// Something that was done, by its place in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The conversation.
    pub conversation: ConversationId,
    /// With whom it is.
    pub talk: Talk,
    /// The title of a group, if it is known here.
    pub title: Option<String>,
    /// The id of the change itself.
    pub id: ClientMessageId,
    /// Its place in the log.
    pub seq: u64,
    /// By whom, as authenticated.
    pub sender: Username,
    /// On which device.
    pub device: DeviceId,
    /// Whose it is.
    pub direction: Direction,
    /// The message that it is about, if about one.
    pub target: Option<MessageRef>,
    /// What.
    pub kind: ChangeKind,
    /// The sender's clock, in milliseconds since 1970 UTC.
    pub sent_at_ms: u64,
    /// When the server stored it; milliseconds since 1970 UTC.
    pub stored_at_ms: u64,
}

/// How many members of a large group a message has reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReceiptCount {
    /// The conversation.
    pub conversation: ConversationId,
    /// Which group.
    pub talk: Talk,
    /// The last own message.
    pub seq: u64,
    /// How many told that it arrived.
    pub delivered_to: u64,
    /// How many told that they read it.
    pub read_by: u64,
}

/// Somebody is writing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Typing {
    /// The conversation.
    pub conversation: ConversationId,
    /// Where.
    pub talk: Talk,
    /// The title of a group, if it is known here.
    pub title: Option<String>,
    /// Who, as authenticated.
    pub by: Username,
}

/// A message whose time was over: it is gone from this device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expired {
    /// The conversation.
    pub conversation: ConversationId,
    /// Which.
    pub message: MessageRef,
    /// Its place in the log.
    pub seq: u64,
}

/// A message that a search found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hit {
    /// The message.
    pub message: Message,
    /// The part of its text around the first word that was found.
    pub snippet: String,
}
