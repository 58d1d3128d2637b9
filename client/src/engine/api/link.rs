//! Invite links of groups, and people who come by them.

use sotto_protocol::{ConversationId, Username};

use crate::invite_link::InviteLink;
use crate::talk::Talk;

/// Who decides about those who come by a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    /// Whoever has it comes in.
    ByLink,
    /// An admin agrees to each.
    ByAdmin,
}

/// What a person asks of invite links. Answered by `Done` unless something
/// else is said; all but `Join` need an admin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LinkCommand {
    /// Makes one; answered by `InviteLink`.
    Make {
        /// Of which group.
        group: ConversationId,
        /// How often it may be used; 1 to 10,000.
        uses: u32,
        /// Until when, from now, in seconds; at most a year.
        lifetime_s: u32,
        /// Who decides about those who come by it.
        admission: Admission,
    },
    /// Ends one before its time.
    End {
        /// Of which group.
        group: ConversationId,
        /// Which.
        link: [u8; 16],
    },
    /// Lists those that count; answered by `InviteLinks`.
    List {
        /// Of which group.
        group: ConversationId,
    },
    /// Asks to be let into a group. `Done` once the members are asked; coming
    /// in is a `Membership` of its own.
    Join {
        /// As somebody passed it on.
        link: InviteLink,
    },
    /// Lets somebody in who asked to be.
    Approve {
        /// Into which group.
        group: ConversationId,
        /// Whom.
        name: Username,
    },
    /// Forgets here that somebody asked to be let in; they are not told.
    Reject {
        /// Into which group.
        group: ConversationId,
        /// Whom.
        name: Username,
    },
}

/// An invite link as an admin sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkView {
    /// The group.
    pub conversation: ConversationId,
    /// Names the link.
    pub id: [u8; 16],
    /// The link itself; `None` while the words of the admin who made it are not here.
    pub link: Option<InviteLink>,
    /// Until when; milliseconds since 1970 UTC.
    pub expires_at_ms: u64,
    /// How often it may still be used.
    pub uses_left: u32,
    /// Who decides; `None` while it is not known here.
    pub admission: Option<Admission>,
}

/// Somebody with an invite link wants to be let in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JoinRequest {
    /// Into which group.
    pub conversation: ConversationId,
    /// The group.
    pub talk: Talk,
    /// Its title, if it is known here.
    pub title: Option<String>,
    /// Who; the link's secret was proven, and the identity is pinned or
    /// compared like any other.
    pub name: Username,
    /// When the server stored the wish; milliseconds since 1970 UTC.
    pub received_at_ms: u64,
    /// What they were to the group before.
    pub past: Past,
}

/// What somebody who asks to be let into a group was to it before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Past {
    /// Nothing that the group remembers.
    None,
    /// An admin put them out: no link lets them in without an admin's word.
    PutOut,
}
