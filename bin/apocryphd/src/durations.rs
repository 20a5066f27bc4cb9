//! Durations as operators write them.

use std::{str::FromStr, time::Duration};

/// A duration such as `500ms`, `10s`, `5m`, `2h` or `7d`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span(pub(crate) Duration);

const UNITS: [(&str, u64); 5] = [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];

/// A text that is not a duration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected a number and a unit above zero: 500ms, 10s, 5m, 2h or 7d")]
pub(crate) struct ParseSpanError;

impl FromStr for Span {
    type Err = ParseSpanError;
    fn from_str(text: &str) -> Result<Self, ParseSpanError> {
        let unit = text.trim_start_matches(|c: char| c.is_ascii_digit());
        let (_, scale) = UNITS.into_iter().find(|(name, _)| *name == unit).ok_or(ParseSpanError)?;
        let number: u64 = text[..text.len() - unit.len()].parse().map_err(|_| ParseSpanError)?;
        let millis = number.checked_mul(scale).filter(|millis| *millis > 0).ok_or(ParseSpanError)?;
        Ok(Self(Duration::from_millis(millis)))
    }
}

/// A past time for people: `3 m ago`.
pub(crate) fn ago(since_ms: u64, now_ms: u64) -> String {
    let millis = now_ms.saturating_sub(since_ms);
    let (name, scale) = UNITS.into_iter().rev().find(|(_, scale)| millis >= *scale).unwrap_or(UNITS[0]);
    match name {
        "ms" => "just now".into(),
        _ => format!("{} {name} ago", millis / scale),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_a_number_and_a_unit() {
        assert_eq!("500ms".parse(), Ok(Span(Duration::from_millis(500))));
        assert_eq!("7d".parse(), Ok(Span(Duration::from_secs(604_800))));
        for bad in
            ["", "10", "s", "-1s", "1.5h", "1 s", "0s", "1w", "99999999999999999999s", "9999999999999999d"]
        {
            assert_eq!(bad.parse::<Span>(), Err(ParseSpanError), "{bad}");
        }
    }

    #[test]
    fn past_times_are_told_in_their_largest_unit() {
        let told = [0, 999, 1_000, 59_999, 60_000, 7_200_000].map(|millis| ago(0, millis));
        assert_eq!(told, ["just now", "just now", "1 s ago", "59 s ago", "1 m ago", "2 h ago"]);
    }
}
