//! The grammar of the command line, and nothing but the grammar.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use sotto_protocol::Username;

use crate::attachment::picture::Images;
use crate::notice::Notify;

use super::contacts::ContactArgs;
use super::device::DeviceArgs;
use super::group::GroupArgs;
use super::message_args::{MessageArgs, lifetime};
use super::settings::SettingsArgs;

/// End-to-end encrypted chat that you run yourselves.
#[derive(Debug, Parser)]
#[command(name = "sotto", version, disable_help_subcommand = true)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

/// Options that every command takes.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Global options")]
pub(crate) struct Global {
    /// Folder that holds the profiles [default: ~/.local/share/sotto]
    #[arg(long, global = true, env = "SOTTO_HOME", value_name = "DIR")]
    pub(crate) home: Option<PathBuf>,
    /// Which profile: one account on this device
    #[arg(long, global = true, env = "SOTTO_PROFILE", value_name = "NAME", default_value = "default", value_parser = profile_name)]
    pub(crate) profile: String,
    /// Servers or balancers, tried in order
    #[arg(
        long,
        global = true,
        env = "SOTTO_SERVER",
        value_name = "HOST:PORT[,HOST:PORT…]"
    )]
    pub(crate) server: Option<String>,
    /// Certificate authority to believe instead of the system's (PEM)
    #[arg(long, global = true, env = "SOTTO_CA", value_name = "FILE")]
    pub(crate) ca: Option<PathBuf>,
    /// File whose first line is the password; without it the password is asked for
    #[arg(long, global = true, env = "SOTTO_PASSWORD_FILE", value_name = "FILE")]
    pub(crate) password_file: Option<PathBuf>,
    /// One JSON object per line on stdout, errors as JSON on stderr
    #[arg(long, global = true)]
    pub(crate) json: bool,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Make an account and log this device in
    Register {
        /// 3 to 32 of a-z 0-9 _ . -
        #[arg(value_parser = username)]
        name: Username,
        /// Invite code, where the deployment asks for one
        #[arg(long, value_name = "CODE")]
        invite: Option<String>,
        /// Make a recovery key and write its twelve words into this new file (mode 0600)
        #[arg(long, value_name = "FILE")]
        recovery_key_file: Option<PathBuf>,
    },
    /// Log this device in to an existing account
    Login {
        #[arg(value_parser = username)]
        name: Username,
        /// Give the account a new identity: ends its other devices, and everybody who knew it is warned
        #[arg(long)]
        new_identity: bool,
        /// Do not ask before a new identity is put in place
        #[arg(long, requires = "new_identity")]
        yes: bool,
    },
    /// Remove this device from the account; its history stays here
    Logout {
        /// Also delete the profile and its history from this device
        #[arg(long)]
        wipe: bool,
        /// Do not ask before the profile is deleted
        #[arg(long, requires = "wipe")]
        yes: bool,
    },
    /// Show which account and device this profile is
    Whoami,
    /// Change the password
    Passwd {
        /// File whose first line is the new password; without it the password is asked for
        #[arg(long, value_name = "FILE")]
        new_password_file: Option<PathBuf>,
    },
    /// List people
    Users {
        /// Only names that begin with this
        text: Option<String>,
        /// Only who is online
        #[arg(long)]
        online: bool,
    },
    /// Send a message and wait until the server holds it safely
    Send(Send),
    /// Show messages as they arrive
    Listen(Listen),
    /// Talk with somebody or in a group, line by line
    Chat(Chat),
    /// Show the messages with somebody, from this device's own store
    History {
        #[arg(value_name = "WHO", value_parser = to)]
        name: String,
        /// How many of the latest
        #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=100_000))]
        last: u32,
        /// How to show pictures on a terminal
        #[arg(long, value_enum, default_value_t, env = "SOTTO_IMAGES")]
        images: Images,
    },
    /// Get the file of a message, check it, and keep it
    Save {
        /// Digits of its id, as history shows it, or TO@last, TO@theirs, TO@NUMBER
        message: String,
        /// Folder to keep it in [default: the present one]
        #[arg(long, value_name = "DIR")]
        to: Option<PathBuf>,
    },
    /// List conversations
    Chats,
    /// List who wants to talk with you
    Requests,
    /// Accept a request, or the changed identity of somebody known
    Accept {
        #[arg(value_parser = username)]
        name: Username,
        /// Keep the messages of this conversation in memory only
        #[arg(long)]
        unsaved: bool,
    },
    /// Forget a request; the sender is not told. With #group, turn an invitation down
    Decline {
        #[arg(value_name = "NAME|GROUP")]
        name: String,
    },
    #[command(flatten)]
    Groups(GroupArgs),
    /// Hear nothing more from somebody; they are not told
    Block {
        #[arg(value_parser = username)]
        name: Username,
    },
    /// End a block
    Unblock {
        #[arg(value_parser = username)]
        name: Username,
    },
    /// Show the safety number with somebody, or confirm that it is the same on both sides
    Verify {
        #[arg(value_parser = username)]
        name: Username,
        /// The 60 digits that the other person reads out
        #[arg(long, value_name = "DIGITS")]
        confirm: Option<String>,
    },
    /// Open the full-screen client, as sotto does without a command
    Tui {
        /// Try it out without a network: conversations that are made up, nothing kept
        #[arg(long)]
        demo: bool,
        /// One line for each event, in words, with numbers for messages: for screen readers
        #[arg(long, conflicts_with = "demo")]
        plain: bool,
        /// List what keys do, by the names that tui.toml has for it
        #[arg(long, conflicts_with_all = ["demo", "plain"])]
        keys: bool,
    },
    /// Serve this profile to many programs at once, over JSON-RPC on a socket
    Daemon,
    #[command(flatten)]
    Device(DeviceArgs),
    #[command(flatten)]
    Message(MessageArgs),
    #[command(flatten)]
    Contact(ContactArgs),
    /// Show what you show of yourself to everybody, or change it
    Settings(SettingsArgs),
}

/// `send`.
#[derive(Debug, Args)]
pub(crate) struct Send {
    /// To whom: a name, or #title or #id of a group
    #[arg(value_name = "TO", value_parser = to)]
    pub(crate) to: String,
    /// The message; `-` reads it from stdin
    #[arg(allow_hyphen_values = true)]
    pub(crate) text: String,
    /// The message that this answers: digits of its id, or TO@last, TO@theirs, TO@NUMBER
    #[arg(long, value_name = "MESSAGE")]
    pub(crate) reply: Option<String>,
    /// Speak to somebody by name; may be given several times
    #[arg(long, value_name = "NAME", value_parser = username)]
    pub(crate) mention: Vec<Username>,
    /// Let it disappear so long after it was read, such as 30s, 1h, 1d; or off
    #[arg(long, value_name = "TIME", value_parser = lifetime)]
    pub(crate) expires: Option<u32>,
    /// A file to send, with the text below it; may be given several times
    #[arg(long = "file", value_name = "PATH")]
    pub(crate) files: Vec<PathBuf>,
    /// Send images as they are: with where, when and by what they were made
    #[arg(long, requires = "files")]
    pub(crate) keep_metadata: bool,
    /// How long to wait for what
    #[arg(long, value_enum, default_value_t = Until::Acked)]
    pub(crate) wait: Until,
    /// Give up waiting after this time; the message stays queued
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = duration)]
    pub(crate) timeout: Duration,
}

/// `listen`.
#[derive(Debug, Args)]
pub(crate) struct Listen {
    /// Stop after this time, e.g. 500ms, 10s, 5m
    #[arg(long = "for", value_name = "TIME", value_parser = duration)]
    pub(crate) duration: Option<Duration>,
    /// Stop after this many messages
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) count: Option<u64>,
    /// How to show pictures on a terminal
    #[arg(long, value_enum, default_value_t, env = "SOTTO_IMAGES")]
    pub(crate) images: Images,
    /// What notifications of the terminal say
    #[arg(long, value_enum, default_value_t, env = "SOTTO_NOTIFY")]
    pub(crate) notify: Notify,
}

/// `chat`.
#[derive(Debug, Args)]
pub(crate) struct Chat {
    /// With whom: a name, or #title or #id of a group
    #[arg(value_name = "TO", value_parser = to)]
    pub(crate) to: String,
    /// What notifications of the terminal say
    #[arg(long, value_enum, default_value_t, env = "SOTTO_NOTIFY")]
    pub(crate) notify: Notify,
}

/// What `send` waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Until {
    /// The server holds it durably
    Acked,
    /// A device of the other person holds it
    Delivered,
    /// The other person saw it
    Read,
}

/// A person's name, or something with a # in front.
pub(crate) fn to(text: &str) -> Result<String, String> {
    match text.strip_prefix('#') {
        Some(title) if !title.is_empty() => Ok(text.to_owned()),
        _ => username(text).map(|name| name.to_string()),
    }
}

pub(crate) fn username(text: &str) -> Result<Username, String> {
    Username::parse(text).map_err(|error| error.to_string())
}

/// A profile is a folder: its name must not lead anywhere else.
fn profile_name(text: &str) -> Result<String, String> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    let plain = (1..=64).contains(&text.len()) && text.chars().all(allowed);
    if plain && !text.starts_with('.') {
        Ok(text.to_owned())
    } else {
        Err(
            "a profile's name has 1 to 64 of A-Z a-z 0-9 _ - . and does not begin with a dot"
                .to_owned(),
        )
    }
}

/// `500ms`, `10s`, `5m`, `2h`; a bare number counts seconds.
fn duration(text: &str) -> Result<Duration, String> {
    let split = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (digits, unit) = text.split_at(split);
    let unit_ms = match unit {
        "ms" => 1,
        "" | "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return Err("a time is a number with ms, s, m or h, such as 10s".to_owned()),
    };
    digits
        .parse::<u64>()
        .ok()
        .and_then(|number| number.checked_mul(unit_ms))
        .filter(|&ms| ms <= 365 * 24 * 3_600_000)
        .map(Duration::from_millis)
        .ok_or_else(|| "a time is a number with ms, s, m or h, at most a year".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_grammar_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn times_are_read() {
        assert_eq!(duration("10s"), Ok(Duration::from_secs(10)));
        assert_eq!(duration("10"), Ok(Duration::from_secs(10)));
        assert_eq!(duration("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(duration("2h"), Ok(Duration::from_secs(7200)));
        for bad in [
            "",
            "s",
            "1d",
            "-1s",
            "1.5s",
            "99999999999999999999s",
            "8761h",
        ] {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn profiles_stay_in_their_folder() {
        assert!(profile_name("alice-2.test_1").is_ok());
        for bad in [
            "",
            ".",
            "..",
            ".x",
            "a/b",
            "a\\b",
            "a b",
            "é",
            &"x".repeat(65),
        ] {
            assert!(profile_name(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn commands_of_the_contract_parse() {
        for line in [
            "register alice",
            "register alice --invite abc",
            "login alice --new-identity",
            "logout --wipe",
            "whoami",
            "passwd",
            "users",
            "users al --online --json",
            "send bob hello",
            "send bob - --wait delivered --timeout 5s",
            "send bob -x",
            "send bob look --file a.png --file b.pdf --keep-metadata",
            "save 3fa9c2 --to /tmp",
            "history bob --images sixel",
            "listen --images off",
            "listen --for 10s --count 3",
            "history bob --last 5",
            "chats",
            "requests",
            "accept bob --unsaved",
            "decline bob",
            "decline #012345",
            "group new team bob carol",
            "group new team",
            "group add #team dave",
            "group remove #team dave erin",
            "group promote #team dave",
            "group owner #team dave",
            "group rename #team crew",
            "group leave #team",
            "group members #team",
            "invites",
            "rooms",
            "room new lobby --public --topic all",
            "room new den --private",
            "room join lobby",
            "room topic #lobby words",
            "group ban #lobby eve",
            "join #team",
            "block bob",
            "unblock bob",
            "verify bob",
            "verify bob --confirm 12345",
            "devices",
            "chat bob",
            "--home /x --profile p --server a:1,b:2 --ca c --password-file f --json whoami",
        ] {
            let words = std::iter::once("sotto").chain(line.split(' '));
            assert!(Cli::try_parse_from(words).is_ok(), "{line}");
        }
        for line in [
            "register Alice",
            "send bob",
            "listen --count 0",
            "group add #team",
            "group owner #team dave erin",
            "listen --for 1d",
            "register a --password x",
            "send bob x --keep-metadata",
            "react 3fa9c2 ok",
            "timer bob 1y",
            "mute bob --for 1h --mentions",
            "send Bob x",
            "receipts maybe",
        ] {
            let words = std::iter::once("sotto").chain(line.split(' '));
            assert!(Cli::try_parse_from(words).is_err(), "{line}");
        }
    }

    #[test]
    fn commands_about_messages_parse() {
        for line in [
            "send #team hello",
            "send bob hi --reply 3fa9c2 --mention bob --mention carol --expires 1h",
            "edit bob@mine better",
            "delete 3fa9c2",
            "react bob@theirs 👍 --remove",
            "pin @last",
            "unpin bob@7",
            "forward 3fa9c2 carol",
            "timer bob 1d",
            "timer bob off",
            "timer bob",
            "mute bob --for 8h",
            "mute #team --mentions",
            "unmute bob",
            "draft",
            "draft bob",
            "draft bob later",
            "search word --in bob --last 5",
            "export bob --to /tmp/x",
            "receipts off",
            "typing bob",
            "contacts",
            "contact bob --alias Bobby --note x",
            "profile set --name A --status B",
            "profile show",
            "profile show bob",
            "profile publish",
            "profile unpublish",
        ] {
            let words = std::iter::once("sotto").chain(line.split(' '));
            assert!(Cli::try_parse_from(words).is_ok(), "{line}");
        }
    }

    #[test]
    fn settings_and_notifications_parse() {
        let parses = |line: &str| {
            let words = std::iter::once("sotto").chain(line.split(' '));
            Cli::try_parse_from(words).is_ok()
        };
        for line in [
            "settings",
            "settings last-seen nobody",
            "settings receipts off",
            "chat #team --notify full",
            "listen --notify off",
        ] {
            assert!(parses(line), "{line}");
        }
        for line in [
            "settings online",
            "settings online perhaps",
            "settings colour on",
            "chat bob --notify loud",
        ] {
            assert!(!parses(line), "{line}");
        }
    }
}
