//! What `admin` prints: lines for people or one JSON object a line for programs. Nothing else of
//! `admin` writes to stdout or stderr.

use std::io::{self, Write as _};

use serde_json::{Value, json};

use super::Failure;
use crate::store::admin::Intent;

/// For whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Audience {
    People,
    Programs,
}

/// Where results go.
pub(crate) struct Output {
    audience: Audience,
    intent: Intent,
}

impl Output {
    pub(crate) fn new(audience: Audience, intent: Intent) -> Self {
        Self { audience, intent }
    }

    /// One thing that was found: an object for programs, a line for people.
    pub(crate) fn found(&self, object: &Value, line: &str) -> Result<(), Failure> {
        match self.audience {
            Audience::Programs => say(&object.to_string()),
            Audience::People => say(line),
        }
    }

    /// What was done, or would have been.
    pub(crate) fn done(&self, mut object: Value, line: &str) -> Result<(), Failure> {
        match self.audience {
            Audience::Programs => {
                if let Some(fields) = object.as_object_mut() {
                    fields.insert("dry_run".to_owned(), json!(self.intent == Intent::Rehearse));
                }
                say(&object.to_string())
            }
            Audience::People if self.intent == Intent::Rehearse => {
                say(&format!("{line} (dry run: nothing was changed)"))
            }
            Audience::People => say(line),
        }
    }

    /// A line for people only.
    pub(crate) fn remark(&self, line: &str) -> Result<(), Failure> {
        match self.audience {
            Audience::Programs => Ok(()),
            Audience::People => say(line),
        }
    }
}

fn say(line: &str) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "{}", harmless(line))?;
    stdout.flush()?;
    Ok(())
}

/// Says on stderr why nothing was done.
pub(crate) fn failure(audience: Audience, code: &str, failure: &Failure) {
    match audience {
        Audience::Programs => {
            eprintln!(
                "{}",
                json!({ "error": { "code": code, "message": failure.to_string() } })
            );
        }
        Audience::People => eprintln!("sotto-server: {}", harmless(&failure.to_string())),
    }
}

/// Names of servers and labels of invites come from elsewhere: no control sequences.
fn harmless(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .collect()
}

/// A time as `2026-01-31 23:59` in UTC.
pub(crate) fn time(unix_ms: u64) -> String {
    let minutes = unix_ms / 60_000;
    let (year, month, day) = date(minutes / 1_440);
    let (hour, minute) = (minutes % 1_440 / 60, minutes % 60);
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}")
}

/// Year, month and day of a day since 1970, by counting 400-year eras that begin in March.
fn date(day: u64) -> (u64, u64, u64) {
    let shifted = day + 719_468;
    let (era, of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 {
        from_march + 3
    } else {
        from_march - 9
    };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    (year, month, day)
}

/// A number of bytes with a unit.
pub(crate) fn bytes(count: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    if count < 1024 {
        return format!("{count} bytes");
    }
    let (mut tenths, mut unit) = (u128::from(count) * 10 / 1024, 0);
    while tenths >= 10_240 && unit + 1 < UNITS.len() {
        tenths /= 1024;
        unit += 1;
    }
    format!(
        "{}.{} {}",
        tenths / 10,
        tenths % 10,
        UNITS.get(unit).unwrap_or(&"")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_sizes_read_well() {
        assert_eq!(time(0), "1970-01-01 00:00");
        assert_eq!(time(951_782_400_000), "2000-02-29 00:00");
        assert_eq!(time(1_798_761_599_000), "2026-12-31 23:59");
        assert_eq!(time(4_107_542_400_000), "2100-03-01 00:00");
        assert_eq!(bytes(1023), "1023 bytes");
        assert_eq!(bytes(1536), "1.5 KiB");
        assert_eq!(bytes(5 << 30), "5.0 GiB");
        assert_eq!(harmless("a\u{1b}[2Jb\n"), "a\u{fffd}[2Jb\u{fffd}");
    }
}
