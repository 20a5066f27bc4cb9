use crate::Token;
use apocryph_model::{Amount, ChannelId, Decimal, Fault, ParseAmountError, Rate, Who};
use serde::{Serialize, Serializer, ser::SerializeStruct};
use std::{fmt, sync::Arc};

/// A sum of a known token, printed for people: `1.5 USDC`.
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
        write!(f, "{} {}", self.amount.display(self.decimals), self.symbol)
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
