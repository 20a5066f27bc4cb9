//! Money. Amounts are integers in the smallest unit of a token; how many decimals a token shows is
//! known only where amounts are printed and read.

use serde::{Deserialize, Serialize};
use std::fmt;

/// A sum of money in the token's smallest unit, 0 to 2^128-1.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Amount(pub u128);

/// What one unit of usage costs: in 10^-18 of the token's smallest unit (see [`crate::Resource`]
/// for the units of usage).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Price(pub u128);

/// The most that a channel pays over time: in 10^-9 of the token's smallest unit per second,
/// 0 to 2^96-1.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Rate(pub u128);

/// An amount in whole tokens as a person writes it, such as `0.25`. How many of the smallest units
/// that is depends on the token's decimals: see [`Amount::parse`] and [`crate::Tariff::parse_price`].
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Decimal(String);

impl Decimal {
    const MAX_DIGITS: usize = 60;

    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::str::FromStr for Decimal {
    type Err = ParseAmountError;
    fn from_str(text: &str) -> Result<Self, ParseAmountError> {
        match Amount::parse(text, 0) {
            Err(ParseAmountError::Form) => Err(ParseAmountError::Form),
            _ if text.len() > Self::MAX_DIGITS => Err(ParseAmountError::Range),
            _ => Ok(Self(text.into())),
        }
    }
}

/// A text that is not an amount of money.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseAmountError {
    /// Not digits with at most one decimal point.
    #[error("expected an amount such as 12 or 0.5")]
    Form,
    /// More decimals than the token has.
    #[error("the token has {decimals} decimals, the amount has more")]
    Precision {
        /// How many decimals the token has.
        decimals: u8,
    },
    /// Above 2^128-1 of the smallest unit.
    #[error("the amount is too large")]
    Range,
}

macro_rules! integer_as_text {
    ($name:ident) => {
        impl TryFrom<String> for $name {
            type Error = ParseAmountError;
            fn try_from(text: String) -> Result<Self, ParseAmountError> {
                text.parse().map(Self).map_err(|_| ParseAmountError::Form)
            }
        }
        impl From<$name> for String {
            fn from(value: $name) -> String {
                value.0.to_string()
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }
    };
}
integer_as_text!(Amount);
integer_as_text!(Price);
integer_as_text!(Rate);

impl Amount {
    /// Nothing.
    pub const ZERO: Self = Self(0);

    /// Reads what a person writes ("0.25") as an amount of a token with `decimals` decimals.
    pub fn parse(text: &str, decimals: u8) -> Result<Self, ParseAmountError> {
        let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
        let digits = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
        if whole.is_empty() || !digits(whole) || !digits(fraction) || text.ends_with('.') {
            return Err(ParseAmountError::Form);
        }
        if fraction.len() > usize::from(decimals) {
            return Err(ParseAmountError::Precision { decimals });
        }
        let padded = format!("{whole}{fraction:0<width$}", width = usize::from(decimals));
        padded.parse().map(Self).map_err(|_| ParseAmountError::Range)
    }

    /// Writes the amount for people: of a token with `decimals` decimals, no trailing zeros.
    pub fn display(self, decimals: u8) -> String {
        let width = usize::from(decimals);
        let digits = format!("{:0>width$}", self.0, width = width + 1);
        let (whole, fraction) = digits.split_at(digits.len() - width);
        match fraction.trim_end_matches('0') {
            "" => whole.to_string(),
            fraction => format!("{whole}.{fraction}"),
        }
    }

    /// The sum, or the largest amount where it would be larger.
    pub fn saturating_add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }

    /// The difference, or zero where it would be negative.
    pub fn saturating_sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }
}

impl Rate {
    const SCALE: u128 = 1_000_000_000;

    /// What is paid at most over `seconds`, rounded down.
    pub fn over(self, seconds: u64) -> Amount {
        Amount(self.0.saturating_mul(u128::from(seconds)) / Self::SCALE)
    }

    /// For how many whole seconds `amount` lasts at this rate; `None` where the rate is zero.
    pub fn lasts(self, amount: Amount) -> Option<u64> {
        let seconds = amount.0.saturating_mul(Self::SCALE).checked_div(self.0)?;
        Some(u64::try_from(seconds).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn amounts_are_read_and_written_with_the_tokens_decimals() {
        assert_eq!(Amount::parse("1.5", 6), Ok(Amount(1_500_000)));
        assert_eq!(Amount(1_500_000).display(6), "1.5");
        assert_eq!(Amount(5).display(18), "0.000000000000000005");
        assert_eq!(Amount(5).display(0), "5");
        assert_eq!(Amount::parse("0.1234567", 6), Err(ParseAmountError::Precision { decimals: 6 }));
        for bad in ["", ".", "1.", ".5", "-1", "+1", "1e3", "1_0", "1.2.3", "٣"] {
            assert_eq!(Amount::parse(bad, 6), Err(ParseAmountError::Form), "{bad}");
        }
        assert_eq!(Amount::parse(&"9".repeat(40), 0), Err(ParseAmountError::Range));
    }

    #[test]
    fn a_decimal_is_an_amount_of_some_token() {
        for good in ["0", "12", "0.000000000000000000001"] {
            assert_eq!(good.parse::<Decimal>().unwrap().as_str(), good);
        }
        assert_eq!("-1".parse::<Decimal>(), Err(ParseAmountError::Form));
        assert_eq!("9".repeat(61).parse::<Decimal>(), Err(ParseAmountError::Range));
    }

    #[test]
    fn a_rate_caps_and_lasts() {
        let half_a_unit = Rate(500_000_000);
        assert_eq!(half_a_unit.over(3), Amount(1));
        assert_eq!(half_a_unit.lasts(Amount(2)), Some(4));
        assert_eq!(Rate(0).lasts(Amount(2)), None);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(units: u128, decimals in 0u8..=30) {
            prop_assert_eq!(Amount::parse(&Amount(units).display(decimals), decimals), Ok(Amount(units)));
        }
    }
}
