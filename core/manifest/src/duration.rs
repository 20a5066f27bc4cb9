//! Durations such as `60s`, `5m` and `1h`.

use std::str::FromStr;

/// A duration of 1 to 2^32-1 seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Seconds(pub(crate) u32);

/// A text that is not a duration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected a duration with a unit such as 60s, 5m or 1h")]
pub(crate) struct ParseDurationError;

impl FromStr for Seconds {
    type Err = ParseDurationError;
    fn from_str(text: &str) -> Result<Self, ParseDurationError> {
        const UNITS: [(&str, u32); 4] = [("s", 1), ("m", 60), ("h", 3600), ("d", 86_400)];
        let unit = UNITS.iter().find_map(|(unit, seconds)| Some((text.strip_suffix(unit)?, *seconds)));
        let (digits, seconds) = unit.ok_or(ParseDurationError)?;
        let count = Some(digits).filter(|d| d.bytes().all(|b| b.is_ascii_digit()));
        let count: u32 = count.and_then(|d| d.parse().ok()).ok_or(ParseDurationError)?;
        count.checked_mul(seconds).filter(|total| *total > 0).map(Self).ok_or(ParseDurationError)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_a_unit() {
        assert_eq!("90s".parse(), Ok(Seconds(90)));
        assert_eq!("2h".parse(), Ok(Seconds(7200)));
        for bad in ["", "60", "s", "-1s", "+1s", "1.5h", "0s", "1 s", "99999999d", "5min"] {
            assert_eq!(bad.parse::<Seconds>(), Err(ParseDurationError), "{bad}");
        }
    }
}
