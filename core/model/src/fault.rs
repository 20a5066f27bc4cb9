//! A failure as it crosses from one party to the other.

use serde::{Deserialize, Serialize};
use std::fmt;

/// Whose fault a failure is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Who {
    /// The publisher's: its manifest, image, statement or money.
    Publisher,
    /// The provider's: its host, engine or configuration.
    Provider,
    /// The chain's or its endpoint's.
    Chain,
    /// The network's between the two.
    Network,
    /// A defect of this program.
    Internal,
}

/// A failure that is told to the other party: whose fault, whether the same call may succeed
/// later, and a text that gives nothing internal away.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{text}")]
pub struct Fault {
    /// Whose fault.
    pub who: Who,
    /// Whether repeating the same call later may succeed.
    pub retry: bool,
    /// A stable word for programs, such as `channel-too-small`.
    pub code: String,
    /// What happened and what to do, for people.
    pub text: String,
}

impl Fault {
    /// The code of a provider that sees no open channel, or not enough confirmations of it.
    pub const CHANNEL_NOT_OPEN: &str = "channel-not-open";

    /// A fault that stays until someone changes something.
    pub fn lasting(who: Who, code: &str, text: impl Into<String>) -> Self {
        Self { who, retry: false, code: code.into(), text: text.into() }
    }

    /// A fault that may be gone at the next try.
    pub fn passing(who: Who, code: &str, text: impl Into<String>) -> Self {
        Self { who, retry: true, code: code.into(), text: text.into() }
    }
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Publisher => "publisher",
            Self::Provider => "provider",
            Self::Chain => "chain",
            Self::Network => "network",
            Self::Internal => "internal",
        })
    }
}
