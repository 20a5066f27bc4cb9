use crate::Token;
use apocryph_model::{Amount, ChannelId, Decimal, Fault, ParseAmountError, Rate, Who};
use serde::{Serialize, Serializer, ser::SerializeStruct};
use std::{fmt, sync::Arc};

/// A sum of a known token, printed for people: `1.5 USDC`. With a precision (`{:.6}`) it is rounded
/// to so many decimals.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Money {
    /// How much.
    pub amount: Amount,
    /// How many decimals people see.
    pub decimals: u8,
    /// What the token is called.
    pub symbol: Arc<str>,
}

impl Token {
    /// A sum of this token.
    pub fn money(&self, amount: Amount) -> Money {
        Money { amount, decimals: self.decimals, symbol: self.symbol.as_str().into() }
    }

    /// Reads what a person wrote as a sum of this token.
    pub fn read(&self, written: &Decimal) -> Result<Amount, ParseAmountError> {
        Amount::parse(written.as_str(), self.decimals)
    }

    /// What `rate` comes to in an hour.
    pub fn hourly(&self, rate: Rate) -> Money {
        self.money(rate.over(3600))
    }
}

impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let decimals = f.precision().and_then(|precision| precision.try_into().ok()).unwrap_or(u8::MAX);
        let decimals = self.decimals.min(decimals);
        let unit = 10_u128.checked_pow((self.decimals - decimals).into()).unwrap_or(u128::MAX);
        let rounded = Amount(self.amount.0 / unit + u128::from(self.amount.0 % unit > unit / 2));
        match (rounded, self.amount) {
            (Amount::ZERO, some) if some != Amount::ZERO => {
                write!(f, "< {} {}", Amount(1).display(decimals), self.symbol)
            }
            _ => write!(f, "{} {}", rounded.display(decimals), self.symbol),
        }
    }
}

/// `{units, amount, symbol}`: in smallest units, and as people write it.
impl Serialize for Money {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut money = serializer.serialize_struct("Money", 3)?;
        money.serialize_field("units", &self.amount)?;
        money.serialize_field("amount", &self.amount.display(self.decimals))?;
        money.serialize_field("symbol", &*self.symbol)?;
        money.end()
    }
}

/// What stands between the publisher and its channel. Nothing was sent to the chain.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MoneyError {
    /// What was written is not an amount of the token.
    #[error("{written} is not an amount of {symbol}: {problem}")]
    Amount {
        /// As written.
        written: String,
        /// The token's symbol.
        symbol: String,
        /// What is wrong.
        problem: ParseAmountError,
    },
    /// The account has too little.
    #[error("the account holds {held}, {needed} are needed: send it some, or give a smaller --fund")]
    NoBalance {
        /// What is there.
        held: Money,
        /// What is needed.
        needed: Money,
    },
    /// The provider would refuse so small a deposit.
    #[error("{given} are too little: this provider asks for at least {least}, {seconds} s at the full rate")]
    TooSmall {
        /// As given.
        given: Money,
        /// The least that it accepts.
        least: Money,
        /// How long a deposit must last, in seconds.
        seconds: u64,
    },
    /// The channel was opened for a smaller pod.
    #[error(
        "the pod may now cost {wanted} an hour, its channel pays at most {allowed} an hour: \
         ask for less, or `apocryph remove` it and deploy it anew"
    )]
    RateTooLow {
        /// What the pod costs at most in an hour.
        wanted: Money,
        /// What the channel pays at most in an hour.
        allowed: Money,
    },
    /// The channel was opened under terms that are not remembered here.
    #[error(
        "channel {0} is open under terms that this machine does not know: \
         deploy from where it was opened, or unlock and withdraw it"
    )]
    OtherTerms(ChannelId),
    /// The channel ends.
    #[error(
        "the channel is being unlocked: `apocryph unlock --cancel` keeps it while the delay lasts; \
         else wait until the money is back (`apocryph withdraw`) and deploy anew"
    )]
    Unlocking,
    /// The unlock's delay has passed.
    #[error(
        "the unlock's delay has passed, so it cannot be cancelled: `apocryph withdraw`, then deploy anew"
    )]
    Expired,
    /// There is no channel to pay into.
    #[error("the channel is not open: deploy the pod first")]
    NotOpen,
    /// Nothing was unlocked.
    #[error("the channel is not being unlocked: `apocryph unlock` or `apocryph remove` first")]
    NotUnlocking,
    /// The delay has not passed.
    #[error("the money is locked for another {seconds} s: repeat the command then")]
    Locked {
        /// How long still.
        seconds: u64,
    },
}

impl MoneyError {
    pub(crate) fn fault(&self) -> Fault {
        let code = match self {
            Self::Amount { .. } => "not-an-amount",
            Self::NoBalance { .. } => "no-balance",
            Self::TooSmall { .. } => "deposit-too-small",
            Self::RateTooLow { .. } => "rate-too-low",
            Self::OtherTerms(_) => "other-terms",
            Self::Unlocking => "unlocking",
            Self::Expired => "unlock-expired",
            Self::NotOpen => "not-open",
            Self::NotUnlocking => "not-unlocking",
            Self::Locked { .. } => return Fault::passing(Who::Publisher, "locked", self.to_string()),
        };
        Fault::lasting(Who::Publisher, code, self.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_are_exact_or_rounded_as_asked() {
        let money = |amount, decimals| Money { amount: Amount(amount), decimals, symbol: "USDC".into() };
        let ether = money(1_654_265_624_999_999_999, 18);
        assert_eq!(ether.to_string(), "1.654265624999999999 USDC");
        assert_eq!(format!("{ether:.6}"), "1.654266 USDC");
        assert_eq!(format!("{:.2}", money(1_500_000, 6)), "1.5 USDC");
        assert_eq!(format!("{:.6}", money(7, 2)), "0.07 USDC");
        assert_eq!(format!("{:.0}", money(u128::MAX, 0)), format!("{} USDC", u128::MAX));
        assert_eq!(format!("{:.6}", money(1, 18)), "< 0.000001 USDC");
        assert_eq!(format!("{:.6}", money(5, 255)), "< 0.000001 USDC");
        assert_eq!(format!("{:.6}", money(0, 18)), "0 USDC");
    }
}
