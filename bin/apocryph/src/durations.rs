//! Durations as people write and read them.

const UNITS: [(char, u64); 4] = [('d', 86_400), ('h', 3_600), ('m', 60), ('s', 1)];

/// Reads `90s`, `10m`, `2h` or `1d` as seconds.
pub(crate) fn parse_seconds(text: &str) -> Result<u64, &'static str> {
    let form = "expected a number and a unit: 90s, 10m, 2h or 1d";
    let unit = text.chars().last().and_then(|last| UNITS.iter().find(|(unit, _)| *unit == last));
    let (_, scale) = unit.ok_or(form)?;
    let number = &text[..text.len() - 1];
    let digits = !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit());
    let number: u64 = digits.then(|| number.parse().ok()).flatten().ok_or(form)?;
    number.checked_mul(*scale).ok_or("that is too long")
}

/// Writes seconds in their two largest units: `2 d 3 h`, `59 m 3 s`, `0 s`.
pub(crate) fn display_seconds(seconds: u64) -> String {
    let parts = UNITS.iter().scan(seconds, |rest, (unit, scale)| {
        let count = *rest / scale;
        *rest %= scale;
        Some((count, unit))
    });
    let parts: Vec<_> = parts.skip_while(|(count, _)| *count == 0).take(2).collect();
    let shown: Vec<_> =
        parts.iter().filter(|(count, _)| *count > 0).map(|(n, unit)| format!("{n} {unit}")).collect();
    if shown.is_empty() { "0 s".into() } else { shown.join(" ") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn durations_are_read() {
        assert_eq!(parse_seconds("90s"), Ok(90));
        assert_eq!(parse_seconds("10m"), Ok(600));
        assert_eq!(parse_seconds("1d"), Ok(86_400));
        for bad in ["", "s", "10", "-1s", "1.5h", "1w", "1é", "99999999999999999999d", "999999999999999999d"]
        {
            assert!(parse_seconds(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn durations_are_written() {
        let shown = [0, 59, 60, 3_599, 3_600, 90_000, 86_400 * 3].map(display_seconds);
        assert_eq!(shown, ["0 s", "59 s", "1 m", "59 m 59 s", "1 h", "1 d 1 h", "3 d"]);
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text: String) {
            let _ = parse_seconds(&text);
        }
    }
}
