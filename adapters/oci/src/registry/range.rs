//! The `Range` header (RFC 9110, 14.2), as far as a registry needs it: one range of bytes.

use std::ops::Range;

/// What a `Range` header asks for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Requested {
    /// Everything: no header, or one that may be ignored (several ranges, other units).
    Whole,
    /// These bytes, which exist.
    Part(Range<u64>),
    /// Bytes that do not exist.
    Unsatisfiable,
}

/// Reads `header` for a blob of `size` bytes.
pub(super) fn requested(header: Option<&str>, size: u64) -> Requested {
    match header.and_then(parse) {
        None => Requested::Whole,
        Some((Some(first), _)) if first >= size => Requested::Unsatisfiable,
        Some((Some(first), last)) => {
            let end = last.map_or(size, |last| last.saturating_add(1).min(size));
            Requested::Part(first..end)
        }
        Some((None, Some(length))) if length > 0 && size > 0 => {
            Requested::Part(size.saturating_sub(length)..size)
        }
        Some((None, _)) => Requested::Unsatisfiable,
    }
}

/// `(first, last)`; without `first`, `last` is a length from the end.
fn parse(header: &str) -> Option<(Option<u64>, Option<u64>)> {
    let (first, last) = header.trim().strip_prefix("bytes=")?.split_once('-')?;
    let pair = (number(first)?, number(last)?);
    match pair {
        (None, None) => None,
        (Some(first), Some(last)) if first > last => None,
        _ => Some(pair),
    }
}

/// `Some(None)` if there is none; `None` if it is malformed.
fn number(text: &str) -> Option<Option<u64>> {
    if text.is_empty() {
        return Some(None);
    }
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().ok().map(Some)).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_forms() {
        let read = |header| requested(Some(header), 10);
        assert_eq!(read("bytes=0-"), Requested::Part(0..10));
        assert_eq!(read("bytes=2-3"), Requested::Part(2..4));
        assert_eq!(read("bytes=2-99"), Requested::Part(2..10));
        assert_eq!(read("bytes=-3"), Requested::Part(7..10));
        assert_eq!(read("bytes=-99"), Requested::Part(0..10));
        assert_eq!(read("bytes=10-"), Requested::Unsatisfiable);
        assert_eq!(read("bytes=-0"), Requested::Unsatisfiable);
        for ignored in ["bytes=3-2", "bytes=0-1,4-5", "lines=0-1", "bytes=-", "bytes=+1-2", ""] {
            assert_eq!(read(ignored), Requested::Whole, "{ignored}");
        }
        assert_eq!(requested(None, 10), Requested::Whole);
    }

    proptest! {
        #[test]
        fn a_part_lies_within_and_holds_something(header in "bytes=[0-9]{0,21}-[0-9]{0,21}", size: u64) {
            if let Requested::Part(range) = requested(Some(&header), size) {
                prop_assert!(range.start < range.end && range.end <= size);
            }
        }
    }
}
