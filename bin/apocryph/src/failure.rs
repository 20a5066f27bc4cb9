//! What a command can end with, and the exit code of each.

use crate::{keys::KeyProblem, settings::SettingsError};
use apocryph_manifest::ManifestError;
use apocryph_model::{ChainError, Fault, ProvisionRequest, Who};
use apocryph_publisher::{Error, StateError};
use std::{io, path::PathBuf};

/// Why a command did not end well.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// A setting is missing or wrong.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// The key cannot be used.
    #[error(transparent)]
    Key(#[from] KeyProblem),
    /// The manifest cannot be read as a file.
    #[error("{path}: {problem}: `apocryph init` writes a manifest")]
    NoManifest {
        /// The file.
        path: PathBuf,
        /// What the system says.
        problem: io::Error,
    },
    /// The manifest is not valid.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// A file could not be written.
    #[error("{path} cannot be written: {problem}")]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system says.
        problem: io::Error,
    },
    /// This machine's side of the network could not be set up.
    #[error("{0}")]
    Network(String),
    /// A use case failed.
    #[error(transparent)]
    UseCase(#[from] Error),
    /// Ledger and claims differ. They have been shown.
    #[error("the provider's ledger and the chain's claims do not agree: keep this output and dispute it")]
    Disagreement,
    /// A question could not be asked.
    #[error("--strategy ask needs a terminal: choose with --provider, or leave it out")]
    NoTerminal,
    /// More IPFS nodes were named than a request may.
    #[error("{0} times --source: at most {max} nodes are asked", max = ProvisionRequest::MAX_SOURCES)]
    TooManySources(usize),
    /// The standard output is closed.
    #[error("the output cannot be written: {0}")]
    Output(io::Error),
}

impl From<StateError> for Failure {
    fn from(error: StateError) -> Self {
        Self::UseCase(error.into())
    }
}

impl Failure {
    /// Whose fault it is, for people and programs.
    pub(crate) fn fault(&self) -> Fault {
        let publisher = |code: &str| Fault::lasting(Who::Publisher, code, self.to_string());
        match self {
            Self::Settings(_) => publisher("settings"),
            Self::Key(_) => publisher("key"),
            Self::Manifest(error) => Fault::lasting(Who::Publisher, "manifest", in_one_line(error)),
            Self::NoManifest { .. } => publisher("manifest"),
            Self::Write { .. } | Self::Network(_) => publisher("host"),
            Self::UseCase(error) => error.fault(),
            Self::Disagreement => Fault::lasting(Who::Provider, "disagreement", self.to_string()),
            Self::NoTerminal => publisher("no-terminal"),
            Self::TooManySources(_) => publisher("too-many-sources"),
            Self::Output(_) => publisher("output"),
        }
    }

    /// The exit code, as `--help` lists them.
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::Disagreement => 1,
            Self::Settings(_) | Self::Key(_) | Self::NoTerminal | Self::TooManySources(_) => 2,
            Self::NoManifest { .. } | Self::Manifest(_) | Self::Write { .. } | Self::Network(_) => 3,
            Self::Output(_) => 3,
            Self::UseCase(Error::State(StateError::Locked(_))) => 7,
            Self::UseCase(Error::Money(_)) => 4,
            Self::UseCase(Error::Chain(ChainError::NoBalance { .. } | ChainError::NoFee)) => 4,
            Self::UseCase(Error::Chain(
                ChainError::WrongChain { .. }
                | ChainError::NoContract { .. }
                | ChainError::UnknownCode { .. },
            )) => 2,
            Self::UseCase(Error::Select(_)) if !self.fault().retry => 5,
            Self::UseCase(error) => match error.fault().who {
                Who::Publisher => 3,
                Who::Provider => 5,
                Who::Chain | Who::Network => 6,
                Who::Internal => 70,
            },
        }
    }
}

/// Every problem of the manifest, for those who are not shown its text.
fn in_one_line(error: &ManifestError) -> String {
    match error {
        ManifestError::Invalid(invalid) => {
            let problems: Vec<_> = invalid.problems().iter().map(ToString::to_string).collect();
            format!("{invalid}: {}", problems.join("; "))
        }
        ManifestError::TooLarge { .. } | ManifestError::NotText { .. } => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use apocryph_publisher::{LinkError, MoneyError, SelectError};

    #[test]
    fn codes_tell_the_cases_apart() {
        let provider = Fault::lasting(Who::Provider, "full", "full");
        let codes = [
            Failure::Disagreement,
            Failure::NoTerminal,
            Failure::TooManySources(5),
            Failure::UseCase(Error::NotDeployed("web".parse().unwrap())),
            Failure::UseCase(MoneyError::NotOpen.into()),
            Failure::UseCase(SelectError::NoneRegistered.into()),
            Failure::UseCase(LinkError::Fault(provider).into()),
            Failure::UseCase(ChainError::Unavailable("away".into()).into()),
            Failure::UseCase(StateError::Locked("web".parse().unwrap()).into()),
        ]
        .map(|failure| failure.exit_code());
        assert_eq!(codes, [1, 2, 2, 3, 4, 5, 5, 6, 7]);
    }
}
