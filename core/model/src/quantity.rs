//! Quantities as Kubernetes writes them (Kubernetes API, "Resource quantities").

use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

/// A text that is not a quantity.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseQuantityError {
    /// Not a CPU quantity.
    #[error("expected cores such as 2 or 0.5, or millicores such as 250m")]
    Cpu,
    /// Not a byte quantity.
    #[error("expected bytes with a unit such as 64Mi, 1Gi, 500M or 1G")]
    Bytes,
    /// Too large to be meant.
    #[error("the quantity is too large")]
    Range,
}

/// Processor share in thousandths of a core, up to 2^32-1.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Millicores(pub u32);

/// A size in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Bytes(pub u64);

const BINARY: [(&str, u64); 5] =
    [("Ki", 1 << 10), ("Mi", 1 << 20), ("Gi", 1 << 30), ("Ti", 1 << 40), ("Pi", 1 << 50)];
const DECIMAL: [(&str, u64); 5] = [
    ("k", 1_000),
    ("M", 1_000_000),
    ("G", 1_000_000_000),
    ("T", 1_000_000_000_000),
    ("P", 1_000_000_000_000_000),
];

/// `digits[.digits]` times `scale`, exact; `None` where it is not a whole number or not a number.
fn decimal(text: &str, scale: u64) -> Option<Option<u64>> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    if !digits(whole) || !digits(fraction) || fraction.len() > 9 {
        return None;
    }
    let parts = 10u128.pow(fraction.len() as u32);
    let value = |whole: u128, fraction: u128| {
        let scaled = whole.checked_mul(parts)?.checked_add(fraction)?.checked_mul(u128::from(scale))?;
        u64::try_from(scaled / parts).ok().filter(|_| scaled % parts == 0)
    };
    Some(whole.parse().ok().zip(fraction.parse().ok()).and_then(|(w, f)| value(w, f)))
}

impl FromStr for Millicores {
    type Err = ParseQuantityError;
    fn from_str(text: &str) -> Result<Self, ParseQuantityError> {
        let (number, scale) = text.strip_suffix('m').map_or((text, 1000), |number| (number, 1));
        let value = decimal(number, scale).ok_or(ParseQuantityError::Cpu)?;
        let value = value.ok_or(ParseQuantityError::Range)?;
        u32::try_from(value).map(Self).map_err(|_| ParseQuantityError::Range)
    }
}

impl FromStr for Bytes {
    type Err = ParseQuantityError;
    fn from_str(text: &str) -> Result<Self, ParseQuantityError> {
        let unit =
            BINARY.iter().chain(&DECIMAL).find_map(|(unit, scale)| Some((text.strip_suffix(unit)?, *scale)));
        let (number, scale) = unit.unwrap_or((text, 1));
        let value = decimal(number, scale).ok_or(ParseQuantityError::Bytes)?;
        value.map(Self).ok_or(ParseQuantityError::Range)
    }
}

impl fmt::Display for Millicores {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 % 1000 {
            0 => write!(f, "{}", self.0 / 1000),
            _ => write!(f, "{}m", self.0),
        }
    }
}

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fits = |scale: &u64| self.0 != 0 && self.0.is_multiple_of(*scale);
        match BINARY.iter().rev().find(|(_, scale)| fits(scale)) {
            Some((unit, scale)) => write!(f, "{}{unit}", self.0 / scale),
            None => write!(f, "{}", self.0),
        }
    }
}

impl Bytes {
    /// In MiB, rounded up.
    pub fn mebibytes(self) -> u64 {
        self.0.div_ceil(1 << 20)
    }
}

macro_rules! through_text {
    ($name:ident) => {
        impl TryFrom<String> for $name {
            type Error = ParseQuantityError;
            fn try_from(text: String) -> Result<Self, ParseQuantityError> {
                text.parse()
            }
        }
        impl From<$name> for String {
            fn from(value: $name) -> String {
                value.to_string()
            }
        }
    };
}
through_text!(Millicores);
through_text!(Bytes);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn quantities_are_kubernetes() {
        assert_eq!("250m".parse(), Ok(Millicores(250)));
        assert_eq!("0.5".parse(), Ok(Millicores(500)));
        assert_eq!("2".parse(), Ok(Millicores(2000)));
        assert_eq!("1.5Gi".parse(), Ok(Bytes(3 << 29)));
        assert_eq!("1k".parse(), Ok(Bytes(1000)));
        for bad in ["", "m", "-1", "1 Gi", "1GB", "1gi", "Mi", "1e3", ".5", "1."] {
            assert_eq!(bad.parse::<Bytes>(), Err(ParseQuantityError::Bytes), "{bad}");
        }
        assert_eq!("0.0005".parse::<Millicores>(), Err(ParseQuantityError::Range));
        assert_eq!("99999999Pi".parse::<Bytes>(), Err(ParseQuantityError::Range));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(bytes: u64, cpu: u32) {
            prop_assert_eq!(Bytes(bytes).to_string().parse(), Ok(Bytes(bytes)));
            prop_assert_eq!(Millicores(cpu).to_string().parse(), Ok(Millicores(cpu)));
        }
    }
}
