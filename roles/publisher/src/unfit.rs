//! Why providers are passed over.

use crate::{AttestError, LinkError, Publisher};
use apocryph_model::{Address, Attestation, Fault, Offering, Resource, Who};
use std::fmt;

/// A provider that was not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PassedOver {
    /// Its account.
    pub provider: Address,
    /// What it calls itself.
    pub name: String,
    /// Why.
    pub reason: Unfit,
}

/// Why a provider will not do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// It is paid in another token.
    #[error("it is paid in token {0}, not in the one that is used here")]
    OtherToken(Address),
    /// Its token does not describe itself.
    #[error("its token {0} cannot be read")]
    UnknownToken(Address),
    /// It stands elsewhere.
    #[error("it is in none of the regions asked for")]
    Region,
    /// It asks too much.
    #[error("it asks more than allowed for a {}", .0.priced_as())]
    Price(Resource),
    /// It does not claim to prove what it runs.
    #[error("it does not prove what it runs (--accept-unattested uses it all the same)")]
    Unattested,
    /// It proves itself in another way than the manifest wants.
    #[error("its attestation is {0}, which the manifest does not accept")]
    Attestation(Attestation),
    /// It did not answer, or refused.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// It is silent while a dearer one has answered.
    #[error("it did not answer in time")]
    Late,
    /// Its evidence does not hold.
    #[error(transparent)]
    Attest(AttestError),
    /// Its answer does not agree with what it registered.
    #[error("it answers with another {0} than it is registered with")]
    Contradiction(&'static str),
    /// It works with another chain or contract.
    #[error("it works with another {0}")]
    OtherWorld(&'static str),
    /// It wants money to be locked for too long.
    #[error("it wants {what} of {seconds} s, at most {} s are accepted", Publisher::MAX_LOCKED)]
    Demanding {
        /// "a runway" or "an unlock delay".
        what: &'static str,
        /// How long.
        seconds: u64,
    },
}

/// Why no provider was selected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SelectError {
    /// The Registry is empty.
    #[error("no provider is registered: check the address of the Registry")]
    NoneRegistered,
    /// The one asked for is not registered.
    #[error("provider {0} is not registered")]
    NotRegistered(Address),
    /// None will do.
    #[error("no provider will do:{}", Reasons(.0))]
    NoneFits(Vec<PassedOver>),
    /// Prices in different tokens cannot be compared.
    #[error("providers are paid in different tokens ({}): choose one with --token", Addresses(.0))]
    SeveralTokens(Vec<Address>),
    /// The user took none.
    #[error("no provider was chosen")]
    Cancelled,
}

struct Reasons<'a>(&'a [PassedOver]);

impl fmt::Display for Reasons<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let line = |p: &PassedOver| write!(f, "\n  {} ({}): {}", p.name, p.provider, p.reason);
        self.0.iter().try_for_each(line)
    }
}

struct Addresses<'a>(&'a [Address]);

impl fmt::Display for Addresses<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let texts: Vec<_> = self.0.iter().map(ToString::to_string).collect();
        f.write_str(&texts.join(", "))
    }
}

impl SelectError {
    pub(crate) fn fault(&self) -> Fault {
        let (who, code) = match self {
            Self::NoneRegistered => (Who::Publisher, "none-registered"),
            Self::NotRegistered(_) => (Who::Publisher, "not-registered"),
            Self::NoneFits(passed) if passed.iter().any(PassedOver::may_answer_later) => {
                return Fault::passing(Who::Network, "none-answers", self.to_string());
            }
            Self::NoneFits(_) => (Who::Publisher, "none-fits"),
            Self::SeveralTokens(_) => (Who::Publisher, "several-tokens"),
            Self::Cancelled => (Who::Publisher, "cancelled"),
        };
        Fault::lasting(who, code, self.to_string())
    }
}

impl PassedOver {
    pub(crate) fn new(offering: &Offering, reason: Unfit) -> Self {
        Self { provider: offering.provider, name: offering.name.clone(), reason }
    }

    fn may_answer_later(&self) -> bool {
        match &self.reason {
            Unfit::Link(link) | Unfit::Attest(AttestError::Link(link)) => link.fault().retry,
            _ => false,
        }
    }
}
