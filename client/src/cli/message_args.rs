//! The grammar of commands about messages.

use std::path::PathBuf;

use clap::{Subcommand, ValueEnum};
use sotto_crypto::content::{EXPIRES_AFTER_S_MAX, Emoji};

/// What to do with messages.
#[derive(Debug, Subcommand)]
pub(crate) enum MessageArgs {
    /// Give an own message another text
    Edit {
        /// Digits of its id, or TO@last, TO@mine, TO@NUMBER
        message: String,
        /// The new text
        #[arg(allow_hyphen_values = true)]
        text: String,
    },
    /// Take a message back for everyone
    Delete {
        /// As in edit
        message: String,
    },
    /// React to a message with an emoji
    React {
        /// As in edit, also TO@theirs
        message: String,
        #[arg(value_parser = emoji)]
        emoji: Emoji,
        /// Take the reaction back
        #[arg(long)]
        remove: bool,
    },
    /// Pin a message in its conversation
    Pin {
        /// As in edit
        message: String,
    },
    /// Take a pin off
    Unpin {
        /// As in edit
        message: String,
    },
    /// Pass a message on
    Forward {
        /// As in edit
        message: String,
        /// To whom
        to: String,
    },
    /// Let messages of a conversation disappear some time after they were read
    Timer {
        /// The conversation
        to: String,
        /// Such as 30s, 5m, 1h, 1d, 4w; or off. Without it the present timer is shown
        #[arg(value_parser = lifetime)]
        time: Option<u32>,
    },
    /// Be told nothing of a conversation on this device
    Mute {
        /// The conversation
        to: String,
        /// Only for a time, such as 8h or 1d
        #[arg(long = "for", value_name = "TIME", value_parser = lifetime, conflicts_with = "mentions")]
        time: Option<u32>,
        /// Be told of messages that speak to you by name
        #[arg(long)]
        mentions: bool,
    },
    /// End a mute
    Unmute {
        /// The conversation
        to: String,
    },
    /// Keep what you began to write, or show it
    Draft {
        /// The conversation; without it all drafts are shown
        to: Option<String>,
        /// What to keep; an empty text forgets it
        #[arg(allow_hyphen_values = true)]
        text: Option<String>,
    },
    /// Find messages by their words, from this device's own store
    Search {
        /// Words by their beginnings; "in quotation marks" as they stand
        #[arg(allow_hyphen_values = true)]
        query: String,
        /// Only in this conversation
        #[arg(long = "in", value_name = "TO")]
        talk: Option<String>,
        /// How many of the latest
        #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=1_000))]
        last: u32,
    },
    /// Write a conversation into files: messages.jsonl, messages.txt, and the files that were sent
    Export {
        /// The conversation
        #[arg(value_name = "WHO")]
        to: String,
        /// The folder, made where it is not there; nothing in it is overwritten
        #[arg(long = "to", value_name = "DIR")]
        directory: PathBuf,
        /// Leave out the files that were sent; then no server is needed
        #[arg(long)]
        no_files: bool,
    },
    /// Tell who is online that you are writing
    Typing {
        /// The conversation
        to: String,
    },
    /// Let others know, or not, what of theirs arrived and was read
    Receipts {
        #[arg(value_enum)]
        switch: Switch,
    },
}

/// On or off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Switch {
    /// They learn it
    On,
    /// They do not
    Off,
}

fn emoji(text: &str) -> Result<Emoji, String> {
    Emoji::parse(text).ok_or_else(|| "a reaction is one emoji".to_owned())
}

/// `30s`, `5m`, `1h`, `1d`, `4w`, or `off`; in seconds.
pub(crate) fn lifetime(text: &str) -> Result<u32, String> {
    const SENTENCE: &str =
        "a time is a number with s, m, h, d or w, such as 1d, at most a year; or off";
    if text == "off" {
        return Ok(0);
    }
    let split = text
        .find(|c: char| !c.is_ascii_digit())
        .ok_or_else(|| SENTENCE.to_owned())?;
    let (digits, unit) = text.split_at(split);
    let unit_s = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        "w" => 7 * 86_400,
        _ => return Err(SENTENCE.to_owned()),
    };
    digits
        .parse::<u32>()
        .ok()
        .and_then(|number| number.checked_mul(unit_s))
        .filter(|seconds| (1..=EXPIRES_AFTER_S_MAX).contains(seconds))
        .ok_or_else(|| SENTENCE.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lifetimes_are_read() {
        assert_eq!(lifetime("1h"), Ok(3_600));
        assert_eq!(lifetime("2w"), Ok(14 * 86_400));
        assert_eq!(lifetime("off"), Ok(0));
        for bad in [
            "",
            "1",
            "0s",
            "1y",
            "-1h",
            "1.5h",
            "400d",
            "99999999999d",
            "h",
        ] {
            assert!(lifetime(bad).is_err(), "{bad}");
        }
    }
}
