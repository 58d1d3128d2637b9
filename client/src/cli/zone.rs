//! Times for people: the machine's time zone, read from its TZif file
//! (RFC 8536), without calling into C.

use std::fs::File;
use std::io::Read;

/// The most bytes of a time zone file.
const FILE_BYTES_MAX: u64 = 256 * 1024;
const DAY_S: i64 = 86_400;

/// Offsets from UTC over time.
#[derive(Debug, Default)]
pub(crate) struct Zone {
    /// Sorted: from this second of 1970 UTC on, this many seconds are added.
    changes: Vec<(i64, i64)>,
    first_offset_s: i64,
}

impl Zone {
    /// The zone of this machine; UTC where none can be read.
    pub(crate) fn local() -> Self {
        let path = match std::env::var("TZ") {
            Ok(name) if name.trim_start_matches(':').starts_with('/') => {
                name.trim_start_matches(':').to_owned()
            }
            Ok(name) if !name.is_empty() && !name.contains("..") => {
                format!("/usr/share/zoneinfo/{}", name.trim_start_matches(':'))
            }
            Ok(_) => return Self::default(),
            Err(_) => "/etc/localtime".to_owned(),
        };
        let mut bytes = Vec::new();
        let read =
            File::open(path).and_then(|file| file.take(FILE_BYTES_MAX).read_to_end(&mut bytes));
        match read {
            Ok(_) => Self::parse(&bytes).unwrap_or_default(),
            Err(_) => Self::default(),
        }
    }

    fn parse(bytes: &[u8]) -> Option<Self> {
        let first = Header::read(bytes)?;
        let second = bytes.get(44 + first.body_bytes(4)..)?;
        let header = Header::read(second)?;
        let body = second.get(44..)?;
        let times = body.get(..header.transitions * 8)?;
        let kinds = body
            .get(header.transitions * 8..)?
            .get(..header.transitions)?;
        let types = body
            .get(header.transitions * 9..)?
            .get(..header.types * 6)?;
        let offset = |kind: usize| -> Option<i64> {
            let digits = types.get(kind * 6..kind * 6 + 4)?;
            Some(i64::from(i32::from_be_bytes(digits.try_into().ok()?)))
        };
        let mut changes = Vec::with_capacity(header.transitions);
        for (time, kind) in times.as_chunks::<8>().0.iter().zip(kinds) {
            changes.push((i64::from_be_bytes(*time), offset(usize::from(*kind))?));
        }
        Some(Self {
            first_offset_s: offset(0)?,
            changes,
        })
    }

    fn offset_s(&self, unix_s: i64) -> i64 {
        let after = self.changes.partition_point(|&(from, _)| from <= unix_s);
        match after
            .checked_sub(1)
            .and_then(|place| self.changes.get(place))
        {
            Some(&(_, offset)) => offset,
            None => self.first_offset_s,
        }
    }

    /// `2026-11-20 12:34`, in this zone.
    pub(crate) fn date_and_time(&self, unix_ms: u64) -> String {
        let (days, second) = self.local_time(unix_ms);
        let (year, month, day) = civil(days);
        let (hour, minute) = (second / 3600, second % 3600 / 60);
        format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}")
    }

    /// `12:34` on the day of `now_ms`, else with the date.
    pub(crate) fn short(&self, unix_ms: u64, now_ms: u64) -> String {
        let whole = self.date_and_time(unix_ms);
        if self.local_time(unix_ms).0 == self.local_time(now_ms).0 {
            whole.get(11..).unwrap_or(&whole).to_owned()
        } else {
            whole
        }
    }

    /// Days since 1970 and seconds of the day. Years beyond 9999 are shown as 9999's end.
    fn local_time(&self, unix_ms: u64) -> (i64, i64) {
        let unix_s = i64::try_from(unix_ms / 1000)
            .unwrap_or(i64::MAX)
            .min(253_402_300_799 - DAY_S);
        let local = unix_s + self.offset_s(unix_s);
        (local.div_euclid(DAY_S), local.rem_euclid(DAY_S))
    }
}

/// Year, month and day of a count of days since 1970-01-01 (proleptic Gregorian).
fn civil(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 {
        shifted_month + 3
    } else {
        shifted_month - 9
    };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

struct Header {
    utc_flags: usize,
    wall_flags: usize,
    leaps: usize,
    transitions: usize,
    types: usize,
    letters: usize,
}

impl Header {
    fn read(bytes: &[u8]) -> Option<Self> {
        let head = bytes.get(..44)?;
        let version = *head.get(4)?;
        if !head.starts_with(b"TZif") || version < b'2' {
            return None;
        }
        let count = |place: usize| -> Option<usize> {
            let digits = head.get(20 + place * 4..24 + place * 4)?;
            let number = u32::from_be_bytes(digits.try_into().ok()?);
            usize::try_from(number).ok().filter(|&n| n <= 100_000)
        };
        Some(Self {
            utc_flags: count(0)?,
            wall_flags: count(1)?,
            leaps: count(2)?,
            transitions: count(3)?,
            types: count(4)?,
            letters: count(5)?,
        })
    }

    fn body_bytes(&self, time_bytes: usize) -> usize {
        self.transitions * (time_bytes + 1)
            + self.types * 6
            + self.letters
            + self.leaps * (time_bytes + 4)
            + self.wall_flags
            + self.utc_flags
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn dates_are_right() {
        let utc = Zone::default();
        assert_eq!(utc.date_and_time(0), "1970-01-01 00:00");
        assert_eq!(utc.date_and_time(951_782_400_000), "2000-02-29 00:00");
        assert_eq!(utc.date_and_time(1_795_178_096_000), "2026-11-20 12:34");
        assert_eq!(utc.short(1_795_178_096_000, 1_795_180_000_000), "12:34");
        assert_eq!(
            utc.short(1_795_178_096_000, 1_795_280_000_000),
            "2026-11-20 12:34"
        );
        assert!(utc.date_and_time(u64::MAX).starts_with("9999-12-"));
    }

    #[test]
    fn offsets_follow_the_changes() {
        let zone = Zone {
            changes: vec![(1_000, 3_600), (2_000, 7_200)],
            first_offset_s: -60,
        };
        assert_eq!(
            [0, 1_000, 1_999, 2_000].map(|s| zone.offset_s(s)),
            [-60, 3_600, 3_600, 7_200]
        );
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(head in prop::bool::ANY, bytes: Vec<u8>) {
            let mut file = if head { b"TZif2".to_vec() } else { Vec::new() };
            file.extend(bytes);
            let _ = Zone::parse(&file);
        }
    }
}
