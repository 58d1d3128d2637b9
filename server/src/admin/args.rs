//! The grammar of `sotto-server admin`, and nothing but the grammar.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};
use sotto_protocol::Username;

use crate::ConfigFile;

/// What an operator can say.
#[derive(Debug, Clone, Args)]
pub struct AdminArgs {
    #[command(flatten)]
    pub(crate) file: ConfigFile,
    /// One JSON object per line on stdout, errors as JSON on stderr
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Do everything, show what would come of it, and undo it
    #[arg(long, global = true)]
    pub(crate) dry_run: bool,
    #[command(subcommand)]
    pub(crate) command: AdminCommand,
}

/// What an operator can do.
#[derive(Debug, Clone, Subcommand)]
pub(crate) enum AdminCommand {
    /// List accounts
    Users {
        /// Only names that hold this
        #[arg(long, value_name = "TEXT", default_value = "")]
        search: String,
        /// Only accounts that may not log in
        #[arg(long)]
        disabled: bool,
        /// Only banned accounts
        #[arg(long, conflicts_with = "disabled")]
        banned: bool,
        /// Only names after this one: the next page
        #[arg(long, value_name = "NAME", default_value = "")]
        after: String,
        /// How many
        #[arg(long, value_name = "N", default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
        limit: u32,
    },
    /// Keep an account from logging in for now; its sessions end, all else stays
    Disable(Whom),
    /// Let a disabled account log in again
    Enable(Whom),
    /// Keep an account out: its sessions end, its devices are removed, its name stays taken
    Ban(Whom),
    /// Lift a ban; the account logs in again with its password
    Unban(Whom),
    /// Give an account another password for a time; gives nobody access to its messages
    ResetPassword(ResetPassword),
    /// Invite codes
    #[command(subcommand)]
    Invite(InviteCommand),
    /// Bounds of what an account's files may take
    #[command(subcommand)]
    Quota(QuotaCommand),
    /// How long undelivered messages are kept
    #[command(subcommand)]
    Retention(RetentionCommand),
    /// Send a server's clients elsewhere and keep it unready, until --cancel or its restart
    Drain {
        /// Its name, or its id as `stats` shows it
        node: String,
        /// Let it serve again
        #[arg(long)]
        cancel: bool,
    },
    /// Make an older database that was restored from a backup safe to serve from; before any server
    /// starts on it
    Restored,
    /// Figures of the deployment and its servers
    Stats,
    /// Show what operators did
    Audit {
        /// Only about this account, invite or server
        #[arg(long, value_name = "NAME")]
        subject: Option<String>,
        /// How many of the latest
        #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=100_000))]
        last: u32,
    },
}

/// Whose account.
#[derive(Debug, Clone, Args)]
pub(crate) struct Whom {
    #[arg(value_parser = username)]
    pub(crate) name: Username,
    /// Why, for the audit log
    #[arg(long, value_name = "TEXT", default_value = "", value_parser = note)]
    pub(crate) reason: String,
}

/// `reset-password`.
#[derive(Debug, Clone, Args)]
pub(crate) struct ResetPassword {
    #[command(flatten)]
    pub(crate) whom: Whom,
    /// Ask for the password, masked, instead of making one up
    #[arg(long)]
    pub(crate) ask: bool,
    /// File whose first line is the password, instead of making one up
    #[arg(long, value_name = "FILE", conflicts_with = "ask")]
    pub(crate) password_file: Option<PathBuf>,
    /// How long it is good for, unless its owner changes it: 30m, 72h, 7d
    #[arg(long, value_name = "TIME", default_value = "72h", value_parser = duration)]
    pub(crate) valid_for: Duration,
    /// Also remove the account's devices, as when the old password is in wrong hands
    #[arg(long)]
    pub(crate) end_devices: bool,
}

/// `invite`.
#[derive(Debug, Clone, Subcommand)]
pub(crate) enum InviteCommand {
    /// Make a code and show it, once
    Create {
        /// Registrations that it is good for
        #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
        uses: u32,
        /// How long it is good for: 30m, 72h, 7d
        #[arg(long, value_name = "TIME", default_value = "7d", value_parser = duration)]
        expires: Duration,
        /// For whom, in your own words
        #[arg(long, value_name = "TEXT", default_value = "", value_parser = note)]
        label: String,
    },
    /// List codes by their ids; the codes themselves are not stored
    List,
    /// Take a code back
    Revoke {
        /// Its id, or the code
        invite: String,
    },
}

/// `quota`.
#[derive(Debug, Clone, Subcommand)]
pub(crate) enum QuotaCommand {
    /// Show what an account's files take, and their bound
    Show {
        #[arg(value_parser = username)]
        name: Username,
    },
    /// Set it
    Set {
        #[arg(value_parser = username)]
        name: Username,
        /// Bytes, with K, M or G for powers of 1024, or `default`
        #[arg(value_parser = size)]
        size: Size,
    },
}

/// `retention`.
#[derive(Debug, Clone, Subcommand)]
pub(crate) enum RetentionCommand {
    /// Show what holds for all servers
    Show,
    /// Set it for all servers, over their configuration
    Set {
        /// 1 to 3650, or `default` for what each server's configuration says
        #[arg(value_parser = days)]
        days: Days,
    },
}

/// A bound of files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Size {
    Default,
    Bytes(u64),
}

/// A time to keep.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Days {
    Default,
    Of(u32),
}

fn username(text: &str) -> Result<Username, String> {
    Username::parse(text).map_err(|error| error.to_string())
}

/// Words of the operator's: one short line.
fn note(text: &str) -> Result<String, String> {
    if text.len() > 200 || text.chars().any(char::is_control) {
        return Err("at most 200 bytes on one line".to_owned());
    }
    Ok(text.to_owned())
}

/// A number and what follows it.
fn number(text: &str) -> Option<(u64, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit());
    let (digits, unit) = text.split_at(end.unwrap_or(text.len()));
    Some((digits.parse().ok()?, unit))
}

fn duration(text: &str) -> Result<Duration, String> {
    let seconds = number(text).and_then(|(number, unit)| {
        let unit_seconds = match unit {
            "s" => 1,
            "m" => 60,
            "h" => 3_600,
            "d" => 86_400,
            _ => return None,
        };
        number.checked_mul(unit_seconds)
    });
    seconds
        .filter(|seconds| (60..=10 * 366 * 86_400).contains(seconds))
        .map(Duration::from_secs)
        .ok_or_else(|| {
            "a time is a number with s, m, h or d, a minute to ten years, such as 72h".to_owned()
        })
}

fn size(text: &str) -> Result<Size, String> {
    if text == "default" {
        return Ok(Size::Default);
    }
    let bytes = number(text).and_then(|(number, unit)| {
        let unit_bytes: u64 = match unit {
            "" | "B" => 1,
            "K" | "KiB" => 1 << 10,
            "M" | "MiB" => 1 << 20,
            "G" | "GiB" => 1 << 30,
            _ => return None,
        };
        number.checked_mul(unit_bytes)
    });
    bytes
        .filter(|bytes| i64::try_from(*bytes).is_ok())
        .map(Size::Bytes)
        .ok_or_else(|| {
            "a size is a number with nothing, K, M or G behind it, or `default`".to_owned()
        })
}

fn days(text: &str) -> Result<Days, String> {
    if text == "default" {
        return Ok(Days::Default);
    }
    text.parse()
        .ok()
        .filter(|days| (1..=3650).contains(days))
        .map(Days::Of)
        .ok_or_else(|| "1 to 3650, or `default`".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_sizes_and_days_are_read() {
        assert_eq!(duration("72h"), Ok(Duration::from_secs(72 * 3600)));
        assert_eq!(duration("7d"), Ok(Duration::from_secs(7 * 86_400)));
        assert_eq!(size("3G"), Ok(Size::Bytes(3 << 30)));
        assert_eq!(size("0"), Ok(Size::Bytes(0)));
        assert_eq!(size("default"), Ok(Size::Default));
        assert_eq!(days("14"), Ok(Days::Of(14)));
        for bad in ["", "d", "1", "59s", "1w", "-1d", "99999999999999999999d"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
        for bad in ["", "G", "1T", "-1", "9999999999G", "1.5G"] {
            assert!(size(bad).is_err(), "{bad}");
        }
        for bad in ["", "0", "3651", "-1", "x"] {
            assert!(days(bad).is_err(), "{bad}");
        }
    }
}
