//! The line format of container logs (Kubernetes CRI, "kubelet container logging"):
//!
//! ```text
//! 2026-11-23T07:10:14.123456789Z stdout F the line
//! ```
//!
//! `P` in place of `F` marks a line that goes on in the next entry of the same stream.

use std::io::Write as _;
use std::time::Duration;

const DAY: u64 = 86_400;

/// One entry, without what tells which container wrote it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// When it was written, in milliseconds since 1970.
    pub time_ms: u64,
    /// Whether to the standard error stream.
    pub stderr: bool,
    /// The line, or the piece of one.
    pub text: String,
}

/// Appends an entry; `since_epoch` is its time.
pub fn write_entry(out: &mut Vec<u8>, since_epoch: Duration, stderr: bool, partial: bool, text: &[u8]) {
    let stream = if stderr { "stderr" } else { "stdout" };
    let tag = if partial { 'P' } else { 'F' };
    // Writing to a vector cannot fail.
    let _ = write!(out, "{} {stream} {tag} ", format_time(since_epoch));
    out.extend_from_slice(text);
    out.push(b'\n');
}

/// A time since 1970 as entries have it: RFC 3339 in UTC, to the nanosecond.
pub fn format_time(since_epoch: Duration) -> String {
    let (seconds, nanos) = (since_epoch.as_secs(), since_epoch.subsec_nanos());
    let (year, month, day) = date(seconds / DAY);
    let (hour, minute, second) = (seconds % DAY / 3600, seconds % 3600 / 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{nanos:09}Z")
}

/// Reads an entry without its line end; `None` for what is none.
pub fn parse_entry(line: &[u8]) -> Option<Entry> {
    let mut parts = line.splitn(4, |byte| *byte == b' ');
    let mut text = || parts.next().and_then(|part| std::str::from_utf8(part).ok());
    let (time, stream, _tag) = (text()?, text()?, text()?);
    let stderr = match stream {
        "stdout" => false,
        "stderr" => true,
        _ => return None,
    };
    let text = String::from_utf8_lossy(parts.next()?).into_owned();
    Some(Entry { time_ms: parse_time(time)?, stderr, text })
}

fn parse_time(time: &str) -> Option<u64> {
    let number = |range: std::ops::Range<usize>| time.get(range)?.parse::<u64>().ok();
    let days = days(number(0..4)?, number(5..7)?, number(8..10)?)?;
    let seconds = days * DAY + number(11..13)? * 3600 + number(14..16)? * 60 + number(17..19)?;
    Some(seconds * 1000 + number(20..23)?)
}

/// The day of the proleptic Gregorian calendar, counted from 1970-01-01. Counting years from
/// March puts the leap day last, and months into a repeating pattern of 153 days for five.
fn date(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let march_month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
    (era * 400 + year + u64::from(month <= 2), month, day)
}

/// The inverse of [`date`].
fn days(year: u64, month: u64, day: u64) -> Option<u64> {
    if year < 1970 || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    let year = year - u64::from(month <= 2);
    let march_month = (month + 9) % 12;
    let (era, of_era) = (year / 400, year % 400);
    let of_year = (153 * march_month + 2) / 5 + day - 1;
    (era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year).checked_sub(719_468)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_entry_reads_as_it_does_in_kubernetes() {
        let mut out = Vec::new();
        write_entry(&mut out, Duration::new(1_795_417_814, 5_000_000), true, true, b"a b  c");
        assert_eq!(String::from_utf8(out).unwrap(), "2026-11-23T07:10:14.005000000Z stderr P a b  c\n");
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(ms in 0u64..10_000_000_000_000, stderr: bool, text in "[^\n]*") {
            let mut out = Vec::new();
            write_entry(&mut out, Duration::from_millis(ms), stderr, false, text.as_bytes());
            let entry = parse_entry(out.strip_suffix(b"\n").unwrap());
            prop_assert_eq!(entry, Some(Entry { time_ms: ms, stderr, text }));
        }

        #[test]
        fn damaged_lines_are_no_entries(line in proptest::collection::vec(any::<u8>(), 0..80)) {
            let _ = parse_entry(&line);
        }
    }
}
