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

/// Causes that engines tell and others act upon. Each is one party's fault and has one code, whichever the
/// engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// A container ended.
    ContainerEnded,
    /// A container needed more memory than it has.
    OutOfMemory,
    /// The host has no memory left.
    MemoryFull,
    /// The host has no disk space left.
    DiskFull,
    /// No network address is left for another replica.
    AddressesUsedUp,
    /// No host has room for another replica.
    NoRoom,
    /// What may be reserved is used up.
    Quota,
    /// The cluster does not answer.
    ClusterUnreachable,
}

impl Cause {
    const ALL: [Self; 8] = [
        Self::ContainerEnded,
        Self::OutOfMemory,
        Self::MemoryFull,
        Self::DiskFull,
        Self::AddressesUsedUp,
        Self::NoRoom,
        Self::Quota,
        Self::ClusterUnreachable,
    ];

    fn who(self) -> Who {
        match self {
            Self::ContainerEnded | Self::OutOfMemory => Who::Publisher,
            Self::MemoryFull
            | Self::DiskFull
            | Self::AddressesUsedUp
            | Self::NoRoom
            | Self::Quota
            | Self::ClusterUnreachable => Who::Provider,
        }
    }

    /// The code of faults of this cause.
    pub fn code(self) -> &'static str {
        match self {
            Self::ContainerEnded => "container-ended",
            Self::OutOfMemory => "out-of-memory",
            Self::MemoryFull => "memory-full",
            Self::DiskFull => "disk-full",
            Self::AddressesUsedUp => "addresses-used-up",
            Self::NoRoom => "no-room",
            Self::Quota => "quota",
            Self::ClusterUnreachable => "cluster-unreachable",
        }
    }
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

    /// A fault of this cause, which may be gone at the next try.
    pub fn of(cause: Cause, text: impl Into<String>) -> Self {
        Self::passing(cause.who(), cause.code(), text)
    }

    /// What was its cause, where that is one of those.
    pub fn cause(&self) -> Option<Cause> {
        Cause::ALL.into_iter().find(|cause| cause.code() == self.code)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_is_known_by_its_fault() {
        for cause in Cause::ALL {
            assert_eq!(Fault::of(cause, "text").cause(), Some(cause));
        }
        assert_eq!(Fault::passing(Who::Provider, "host-failed", "text").cause(), None);
    }
}
