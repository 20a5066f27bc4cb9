use crate::{AttestError, CollectError, LinkError, MoneyError, SelectError, ShipError, StateError};
use apocryph_model::{Address, ChainError, Fault, Name, Who};

/// Why a use case did not end well.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The manifest did not become a pod.
    #[error(transparent)]
    Collect(#[from] CollectError),
    /// No provider was selected.
    #[error(transparent)]
    Select(#[from] SelectError),
    /// The provider is not to be trusted.
    #[error(transparent)]
    Attest(#[from] AttestError),
    /// Something is wrong about the money.
    #[error(transparent)]
    Money(#[from] MoneyError),
    /// Images or secrets could not be encrypted.
    #[error(transparent)]
    Ship(#[from] ShipError),
    /// The chain did not answer, or refused.
    #[error(transparent)]
    Chain(#[from] ChainError),
    /// The provider could not be talked to, or refused.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// What was deployed cannot be remembered.
    #[error(transparent)]
    State(#[from] StateError),
    /// Nothing is known of such a pod.
    #[error("no pod {0} was deployed from here: `apocryph ls` shows those that were")]
    NotDeployed(Name),
    /// The pod is another account's.
    #[error("{name} was deployed by account {account}: use its key, or another name")]
    OtherAccount {
        /// The pod.
        name: Name,
        /// Whose it is.
        account: Address,
    },
    /// The pod is at another provider than the one asked for.
    #[error("{name} is at provider {provider}: `apocryph remove {name}` it before it goes elsewhere")]
    Elsewhere {
        /// The pod.
        name: Name,
        /// Where it is.
        provider: Address,
    },
}

impl Error {
    /// Whose fault it is, whether a repeat may help, and a stable word for programs.
    pub fn fault(&self) -> Fault {
        let lasting = |who, code| Fault::lasting(who, code, self.to_string());
        match self {
            Self::Collect(e) => e.fault(),
            Self::Select(e) => e.fault(),
            Self::Attest(e) => e.fault(),
            Self::Money(e) => e.fault(),
            Self::Ship(e) => e.fault(),
            Self::Chain(e) => chain_fault(e),
            Self::Link(e) => e.fault(),
            Self::State(e) => e.fault(),
            Self::NotDeployed(_) => lasting(Who::Publisher, "not-deployed"),
            Self::OtherAccount { .. } => lasting(Who::Publisher, "other-account"),
            Self::Elsewhere { .. } => lasting(Who::Publisher, "elsewhere"),
        }
    }
}

fn chain_fault(error: &ChainError) -> Fault {
    let lasting = |who, code| Fault::lasting(who, code, error.to_string());
    match error {
        ChainError::Unavailable(_) => Fault::passing(Who::Chain, "chain-unavailable", error.to_string()),
        ChainError::Pending(_) => Fault::passing(Who::Chain, "pending", error.to_string()),
        ChainError::WrongChain { .. } => lasting(Who::Publisher, "wrong-chain"),
        ChainError::NoContract { .. } => lasting(Who::Publisher, "no-contract"),
        ChainError::UnknownCode { .. } => lasting(Who::Publisher, "unknown-code"),
        ChainError::Reverted(_) => lasting(Who::Publisher, "reverted"),
        ChainError::NoBalance { .. } => lasting(Who::Publisher, "no-balance"),
        ChainError::NoFee => lasting(Who::Publisher, "no-fee"),
    }
}

impl LinkError {
    pub(crate) fn fault(&self) -> Fault {
        match self {
            Self::Unreachable { .. } => Fault::passing(Who::Network, "unreachable", self.to_string()),
            Self::Broken(_) => Fault::passing(Who::Network, "broken", self.to_string()),
            Self::Nonsense(_) => Fault::lasting(Who::Provider, "nonsense", self.to_string()),
            Self::Fault(fault) => fault.clone(),
            Self::Local(_) => Fault::lasting(Who::Publisher, "local", self.to_string()),
        }
    }
}

impl StateError {
    pub(crate) fn fault(&self) -> Fault {
        match self {
            Self::Locked(_) => Fault::passing(Who::Publisher, "busy", self.to_string()),
            Self::Damaged { .. } => Fault::lasting(Who::Publisher, "damaged-state", self.to_string()),
            Self::Disk { .. } => Fault::lasting(Who::Publisher, "disk", self.to_string()),
        }
    }
}
