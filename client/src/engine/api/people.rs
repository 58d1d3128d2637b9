//! What people show of themselves to everybody, as the servers tell it, and
//! what this account shows. Texts are as their writers wrote them.

use sotto_protocol::Username;

/// Which accounts a list names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UserFilter {
    /// All.
    All,
    /// Those with a live session.
    Online,
}

/// An account, as it shows itself to everybody.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// Its name.
    pub name: Username,
    /// Whether a session of it is live; false also where it does not show that.
    pub online: bool,
    /// When it was last there, to the minute, in milliseconds since 1970 UTC;
    /// `None` where it does not show that.
    pub last_seen_ms: Option<u64>,
    /// The name that the person published; empty for none; at most 64 bytes.
    pub display_name: String,
    /// The status that the person published; empty for none; at most 256 bytes.
    pub status: String,
}

/// Who sees something of this account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shown {
    /// Everybody, as far as the deployment lists people at all.
    ToEverybody,
    /// Nobody.
    ToNobody,
}

/// What this account shows of itself; `None` leaves it as it is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Visibility {
    /// Whether lists and searches name it.
    pub directory: Option<Shown>,
    /// Whether others see that it is online.
    pub online: Option<Shown>,
    /// Whether others see when it was last there.
    pub last_seen: Option<Shown>,
}

/// The account's own settings at the servers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Whether lists and searches name the account.
    pub directory: Shown,
    /// Whether others see that it is online.
    pub online: Shown,
    /// Whether others see when it was last there.
    pub last_seen: Shown,
    /// As published; empty for none.
    pub display_name: String,
    /// As published; empty for none.
    pub status: String,
    /// Bytes of files stored for the account.
    pub file_bytes_used: u64,
    /// Bytes of files that it may have.
    pub file_bytes_max: u64,
}

/// Something about what accounts show.
#[derive(Debug)]
pub enum PeopleCommand {
    /// Looks at what somebody shows to everybody; answered by `Event::User`.
    Look {
        /// Whom.
        name: Username,
    },
    /// Changes what this account shows; answered by `Event::Done`.
    Show(Visibility),
    /// Asks for the account's settings; answered by `Event::Settings`.
    Settings,
}
