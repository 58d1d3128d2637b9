//! Groups and rooms: what is asked of them and what they tell.

use sotto_protocol::{ConversationId, Username};
use sotto_roster::Role;

use super::link::LinkCommand;
use crate::talk::Talk;

/// What a person or script asks of groups. Each is answered by exactly one
/// `Done`, `Failed` or what is said with it, once the change is in the log and sealed
/// words about it are with the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GroupCommand {
    /// Makes a closed group; answered by `GroupMade`.
    New {
        /// At most 128 bytes.
        title: String,
        /// Who is invited; may be empty.
        members: Vec<Username>,
    },
    /// Invites people.
    Add {
        /// Into which group.
        group: ConversationId,
        /// Whom.
        names: Vec<Username>,
    },
    /// Puts people out.
    Remove {
        /// Of which group.
        group: ConversationId,
        /// Whom.
        names: Vec<Username>,
    },
    /// Makes members admins.
    Promote {
        /// In which group.
        group: ConversationId,
        /// Whom.
        names: Vec<Username>,
    },
    /// Makes owners admins, and admins members.
    Demote {
        /// In which group.
        group: ConversationId,
        /// Whom.
        names: Vec<Username>,
    },
    /// Makes somebody owner in this account's place, which becomes an admin.
    HandOver {
        /// Which group.
        group: ConversationId,
        /// To whom.
        name: Username,
    },
    /// Gives a group another title.
    Rename {
        /// Which.
        group: ConversationId,
        /// At most 128 bytes.
        title: String,
    },
    /// Gives a group another description.
    Describe {
        /// Which.
        group: ConversationId,
        /// At most 1,024 bytes; empty for none.
        text: String,
    },
    /// Puts people out for good, or keeps them out.
    Ban {
        /// Of which group.
        group: ConversationId,
        /// Whom.
        names: Vec<Username>,
    },
    /// Lets people in again.
    Unban {
        /// Into which group.
        group: ConversationId,
        /// Whom.
        names: Vec<Username>,
    },
    /// Makes a public room; answered by `GroupMade`.
    NewRoom {
        /// In clear; 1 to 64 bytes.
        title: String,
        /// In clear; at most 256 bytes.
        topic: String,
    },
    /// Gives a room another topic.
    Topic {
        /// Which.
        group: ConversationId,
        /// In clear; at most 256 bytes.
        topic: String,
    },
    /// Lists the public rooms; answered by `Rooms`.
    Rooms,
    /// Enters a public room.
    Enter {
        /// Which.
        group: ConversationId,
        /// Its title in the list.
        title: String,
    },
    /// Leaves a group; its history stays here.
    Leave {
        /// Which.
        group: ConversationId,
    },
    /// Follows an invitation.
    Join {
        /// To which group.
        group: ConversationId,
    },
    /// Turns an invitation down.
    Decline {
        /// To which group.
        group: ConversationId,
    },
    /// Something with invite links, or those who come by them.
    Link(LinkCommand),
}

/// What became of a person, or of one of their devices, in a conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MembershipChange {
    /// A person came in.
    Joined,
    /// A person was put out.
    Removed,
    /// A person left.
    Left,
    /// An invited person did not want to come in.
    Declined,
    /// A person may do more or less than before.
    Role(Role),
    /// A person may no longer be in.
    Banned,
    /// A person may come in again.
    Unbanned,
    /// A further device of a person came in.
    DeviceAdded,
    /// A device left or was removed.
    DeviceRemoved,
}

impl MembershipChange {
    /// The name in JSON.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Joined => "joined",
            Self::Removed => "removed",
            Self::Left => "left",
            Self::Declined => "declined",
            Self::Role(_) => "role",
            Self::Banned => "banned",
            Self::Unbanned => "unbanned",
            Self::DeviceAdded => "device_added",
            Self::DeviceRemoved => "device_removed",
        }
    }
}

/// The name of a role in JSON and for people.
#[must_use]
pub const fn role_name(role: Role) -> &'static str {
    match role {
        Role::Member => "member",
        Role::Admin => "admin",
        Role::Owner => "owner",
    }
}

/// A change of who is in a conversation, or of what they may do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Membership {
    /// The conversation.
    pub conversation: ConversationId,
    /// With whom it is.
    pub talk: Talk,
    /// The title of a group, if it is known here.
    pub title: Option<String>,
    /// What happened.
    pub change: MembershipChange,
    /// To whom.
    pub subject: Username,
    /// Through whom.
    pub by: Username,
    /// The epoch that it led to.
    pub epoch: u64,
}

/// Somebody invites to a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invitation {
    /// The group.
    pub conversation: ConversationId,
    /// Who invites, as signed in the welcome.
    pub from: Username,
    /// What the inviter calls the group; `None` where that did not come along or does not verify.
    pub title: Option<String>,
    /// What the inviter says that it is about; empty where nothing is.
    pub description: String,
    /// How many people were in it then.
    pub members: u64,
    /// When the server stored it; milliseconds since 1970 UTC.
    pub received_at_ms: u64,
}

impl Invitation {
    /// What it leads to, for people; the title is somebody else's text.
    #[must_use]
    pub fn group(&self) -> String {
        match &self.title {
            Some(title) => format!("#{title}, a group of {}", self.members),
            None => format!("a group of {}", self.members),
        }
    }
}

/// What an admin said about a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupNews {
    /// The group.
    pub conversation: ConversationId,
    /// Its title from now on.
    pub title: String,
    /// Its description from now on; empty for none.
    pub description: String,
    /// Who said so.
    pub by: Username,
}

/// A public room in the list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Room {
    /// The conversation.
    pub conversation: ConversationId,
    /// As its admins wrote it.
    pub title: String,
    /// As its admins wrote it.
    pub topic: String,
    /// How many people are in.
    pub members: u32,
    /// Whether this account is in.
    pub joined: bool,
}

/// Somebody in a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupMember {
    /// The person.
    pub name: Username,
    /// What they may do.
    pub role: Role,
    /// How sure it is that they are who they say.
    pub trust: MemberTrust,
    /// Whether they were seen since they were invited.
    pub seen: bool,
}

/// How the identity of a group's member stands here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MemberTrust {
    /// This account.
    Own,
    /// Their safety number was compared.
    Verified,
    /// As it was first seen.
    Pinned,
    /// Another than before; nothing is sent until it is accepted.
    Changed,
}

impl MemberTrust {
    /// The name in JSON.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Own => "own",
            Self::Verified => "verified",
            Self::Pinned => "pinned",
            Self::Changed => "changed",
        }
    }
}

/// A group as known here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupView {
    /// The group.
    pub conversation: ConversationId,
    /// Its title, if known.
    pub title: Option<String>,
    /// Its description; empty for none.
    pub description: String,
    /// Everybody in it, by name.
    pub members: Vec<GroupMember>,
    /// What this account may do; `None` when it is out.
    pub role: Option<Role>,
}
