//! What the drawing side asks of the worker, and what it hears from it. Plain data on two
//! bounded queues: the drawing side never waits for the worker, the worker waits for the
//! drawing side where it does not keep up.
//!
//! Texts are as their writers wrote them; only the model's own strings, which are
//! [`SafeText`](crate::safe_text::SafeText), are drawn.

use sotto_crypto::content::{Emoji, MessageRef};
use sotto_protocol::{ClientMessageId, ConversationId, Username};
use zeroize::Zeroizing;

use crate::engine::Verification;
use crate::engine::api::{
    Chat, Device, Direction, Event, Hit, Invitation, Keep, Message, Put, Request, Room,
    SafetyNumber, SendOptions, Target, User, UserFilter, WhoAmI,
};
use crate::engine::screen::Overview;
use crate::exit::{Exit, Failure};
use crate::talk::Talk;
use crate::tui::complete::Completion;
use crate::tui::complete::paths::PathWish;
use crate::tui::picture::{Picture, Pictures, Space};

/// Asks that may wait for the worker.
pub(crate) const ASKS_MAX: usize = 256;
/// News that may wait for the drawing side.
pub(crate) const NEWS_MAX: usize = 256;
/// Lines of a command's words that are kept.
pub(crate) const SAID_LINES_MAX: usize = 2_000;

/// Something that the worker is to do.
pub(crate) enum Ask {
    /// The list of conversations, requests and invitations.
    Chats,
    /// Messages of a conversation.
    Page { talk: Talk, place: Place },
    /// How a conversation stands.
    Overview { talk: Talk },
    /// The person saw everything up to a place in the log.
    Seen { talk: Talk, seq: u64 },
    /// Sends a text.
    Write {
        to: Talk,
        text: String,
        options: SendOptions,
        client_id: ClientMessageId,
    },
    /// Gives an own message another text.
    Edit {
        target: Target,
        text: String,
        mentions: Vec<Username>,
    },
    /// Takes a message back for everyone.
    Delete { target: Target },
    /// Reacts to a message, or takes that back.
    React {
        target: Target,
        emoji: Emoji,
        put: Put,
    },
    /// Pins a message, or takes the pin off.
    Pin { target: Target, put: Put },
    /// Passes a message on.
    Forward { target: Target, to: Talk },
    /// Keeps what was begun.
    Draft { to: Talk, text: String },
    /// Tells who is online that the person writes.
    Typing { to: Talk },
    /// Accepts a request, or a changed identity.
    Accept { name: Username, keep: Keep },
    /// Forgets a request.
    Decline { name: Username },
    /// Ignores somebody.
    Block { name: Username },
    /// Follows an invitation.
    Join { group: ConversationId },
    /// Turns an invitation down.
    DeclineInvitation { group: ConversationId },
    /// Enters a public room.
    Enter { room: ConversationId, title: String },
    /// People of the deployment.
    People { prefix: String, filter: UserFilter },
    /// Public rooms.
    Rooms,
    /// Pinned messages of a conversation.
    Pins { talk: Talk },
    /// Devices of the account.
    Devices,
    /// The number to compare with somebody.
    Safety { name: Username },
    /// Compares digits that somebody read out.
    Verify { name: Username, digits: String },
    /// Finds messages.
    Search {
        text: String,
        talk: Option<Talk>,
        ticket: u64,
    },
    /// Paths that go on as one was begun.
    Paths(PathWish),
    /// A setting is to have another value, in the file too.
    Set {
        name: &'static str,
        value: &'static str,
    },
    /// Looks at the picture of a message.
    Look(Box<Look>),
    /// Gets the file of a message to make a small picture of it; the file is not kept.
    Fetch { which: MessageRef },
    /// Looks who shows a code and wants to be a device of this account.
    LookAtCode { code: Zeroizing<String> },
    /// Makes who was looked at last a device of this account.
    LetIn,
    /// Another password.
    Passwd {
        current: Zeroizing<String>,
        new: Zeroizing<String>,
    },
    /// Runs a line of the command line.
    Run { words: Vec<String> },
    /// Ends the command that runs.
    StopRun,
    /// The machine slept: the connection is not what it was.
    Woke,
    /// An answer of the first run, or the password of a locked screen.
    Enrol(Enrol),
    /// Ends.
    Quit,
}

/// Which messages of a conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// The last ones.
    End,
    /// Those around the first that the person did not see yet, else the last ones.
    Unseen,
    /// Those before a place.
    Before(u64),
    /// Those after a place.
    After(u64),
    /// Those around a place.
    Around(u64),
    /// Those from a place to another again: something about them changed.
    Again(u64, u64),
}

/// A picture to look at.
pub(crate) struct Look {
    pub(crate) which: MessageRef,
    pub(crate) sender: Username,
    pub(crate) direction: Direction,
    pub(crate) consent: Consent,
    /// A small image from the sealed message: a claim of its sender.
    pub(crate) image: Vec<u8>,
    /// How it is to be drawn.
    pub(crate) pictures: Pictures,
    /// Columns and rows that it may take.
    pub(crate) room: Space,
}

/// Whether the person asked for a picture. Unasked, none of a stranger's is decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Consent {
    Given,
    NotGiven,
}

/// What became of a look at a picture.
#[derive(Debug)]
pub(crate) enum Seen {
    Picture(Box<Picture>),
    /// Its sender is not known, and the person did not ask for it.
    Withheld,
    /// None can be made within the limits.
    Nothing,
}

/// An answer of the first run.
pub(crate) enum Enrol {
    /// Where the deployment is, and whose certificate it has.
    Connect { server: String, ca: Option<String> },
    /// A new account.
    Register {
        name: Username,
        password: Zeroizing<String>,
        invite: Option<String>,
    },
    /// An account that exists.
    Login {
        name: Username,
        password: Zeroizing<String>,
    },
    /// A further device of an account: shows a code that another one answers.
    Link {
        name: Username,
        password: Zeroizing<String>,
        device_name: Option<String>,
    },
    /// An account whose devices are lost.
    Recover {
        name: Username,
        password: Zeroizing<String>,
        words: Zeroizing<String>,
    },
    /// The password of the profile that is here.
    Unlock { password: Zeroizing<String> },
    /// What is waited for is not wanted any more.
    Stop,
    /// Makes a recovery key and shows it.
    MakeRecovery,
    /// The words were checked: keeps the backup under the key.
    KeepRecovery,
    /// No recovery key now.
    SkipRecovery,
    /// Compares the password of a locked screen.
    Check { password: Zeroizing<String> },
}

/// Something that the drawing side hears.
#[derive(Debug)]
pub(crate) enum News {
    /// Where the connection stands.
    Link(Link),
    /// Who this profile is; from here on the store is open.
    Who(Box<WhoAmI>),
    /// All conversations and what waits for an answer.
    Chats(Box<Chats>),
    /// Messages of a conversation.
    Page(Box<Page>),
    /// How a conversation stands.
    Overview { talk: Talk, overview: Box<Overview> },
    /// Something happened.
    Event(Box<Event>),
    /// What was asked did not work.
    Failed(Failure),
    /// A text was not taken: it goes back where it was written.
    NotSent {
        client_id: ClientMessageId,
        failure: Failure,
    },
    /// Something that was asked is done; a sentence.
    Done(String),
    /// Somebody's identity is taken for theirs: what warned of it is over.
    Answered(Username),
    /// The person came into a group that they wanted to come into.
    Entered(Talk),
    /// Digits were compared.
    Verified {
        name: Username,
        outcome: Verification,
    },
    /// People of the deployment.
    People(Vec<User>),
    /// Public rooms.
    Rooms(Vec<Room>),
    /// Pinned messages of the conversation that was asked about, the newest first.
    Pins(Vec<Message>),
    /// Devices of the account.
    Devices(Vec<Device>),
    /// The number to compare with somebody.
    Safety {
        name: Username,
        number: Option<SafetyNumber>,
    },
    /// Who shows the code.
    Offered(Box<Offer>),
    /// What a search found.
    Found { ticket: u64, hits: Vec<Hit> },
    /// Other settings count.
    Set(Box<super::settings::Settings>),
    /// The paths that go on so.
    Paths { wish: PathWish, found: Completion },
    /// A picture was looked at.
    Seen { which: MessageRef, seen: Seen },
    /// A file was fetched and made to this small image.
    Fetched { which: MessageRef, image: Vec<u8> },
    /// A command runs.
    Runs { label: String },
    /// A file stands still where it is, until these words are run again.
    Paused { words: Vec<String> },
    /// How far a file is.
    Progress(Progress),
    /// A command ended with these words.
    Ran {
        label: String,
        said: Vec<String>,
        exit: Exit,
    },
    /// What ran ended without words.
    Stopped,
    /// The first run goes on with this.
    Enrol(Stage),
    /// Whether the password of a locked screen was right.
    Unlocked(Verdict),
    /// The worker ended; the program ends too.
    Ended(Result<(), Failure>),
}

/// Where the connection stands.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) enum Link {
    /// A connection is being made.
    #[default]
    Connecting,
    /// Connected; what waited at the server is being read.
    Reading,
    /// Connected and caught up.
    Online,
    /// No server is reached; it is tried again by itself.
    Offline(String),
    /// Trying again makes no sense.
    GivenUp(String),
}

/// All conversations and what waits for an answer.
#[derive(Debug, Default)]
pub(crate) struct Chats {
    pub(crate) chats: Vec<Chat>,
    pub(crate) requests: Vec<Request>,
    pub(crate) invitations: Vec<Invitation>,
    /// Messages that wait to be sent, in all.
    pub(crate) queued: u64,
}

/// Messages of a conversation.
#[derive(Debug)]
pub(crate) struct Page {
    pub(crate) talk: Talk,
    pub(crate) place: Place,
    /// Oldest first.
    pub(crate) messages: Vec<Message>,
    /// Whether there are messages before these.
    pub(crate) before: More,
    /// Whether there are messages after these.
    pub(crate) after: More,
    /// What waits to be sent.
    pub(crate) waiting: Vec<Message>,
    pub(crate) overview: Overview,
}

/// Whether there is more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum More {
    No,
    Yes,
}

/// How far a file is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Progress {
    pub(crate) name: String,
    /// Bytes.
    pub(crate) done: u64,
    /// Bytes.
    pub(crate) total: u64,
}

/// Who wants to be a further device of this account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Offer {
    /// The account that it asks for.
    pub(crate) account: Username,
    /// What it calls itself.
    pub(crate) name: String,
    /// What its own screen must show too.
    pub(crate) fingerprint: String,
}

/// Whether a password was right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Right,
    Wrong,
}

/// What the first run wants to know next.
#[derive(Debug)]
pub(crate) enum Stage {
    /// Where the deployment is.
    Server { failure: Option<Failure> },
    /// Who one is.
    Account { failure: Option<Failure> },
    /// The password of the account whose profile is here and logged out.
    Login { failure: Option<Failure> },
    /// The password of the profile that is here.
    Password {
        name: String,
        failure: Option<Failure>,
    },
    /// The account's name and password, and what another of its devices calls this one.
    Link { failure: Option<Failure> },
    /// The account's name and password, and the words of its recovery key.
    Recover { failure: Option<Failure> },
    /// It takes a moment; a sentence.
    Busy(&'static str),
    /// It takes as long as somebody elsewhere needs; what to do there.
    Waiting(Vec<String>),
    /// Whether to make a recovery key.
    Offer,
    /// The words, to be written down and checked.
    Words(Zeroizing<String>),
    /// All is there.
    Ready,
}

/// How a message is named.
pub(crate) fn reference(message: &Message) -> MessageRef {
    MessageRef {
        device: message.device,
        id: message.id,
    }
}

/// A message as commands name it.
pub(crate) fn target(message: &Message) -> Target {
    Target {
        talk: message.talk.clone(),
        message: reference(message),
    }
}
