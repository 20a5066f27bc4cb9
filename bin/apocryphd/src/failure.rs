//! What a command can end with, and the exit code of each.

use crate::{keys::KeyProblem, settings::SettingsError};
use apocryph_embedded::HostError;
use apocryph_gateway::TlsError;
use apocryph_kubernetes::ClusterError;
use apocryph_ledger::LedgerError;
use apocryph_link::{Role, TokenError};
use apocryph_model::{ChainError, Fault};
use apocryph_p2p::{StartError, StoreError};
use apocryph_pod_cgroups::CgroupError;
use std::{io, path::PathBuf};

/// Why a command did not end well.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// A setting is missing or wrong.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// A key cannot be used.
    #[error(transparent)]
    Key(#[from] KeyProblem),
    /// Something is lacking. It has been shown.
    #[error("{0} of what is lacking must be mended first")]
    Lacking(usize),
    /// A file of this machine cannot be used.
    #[error("{path}: {problem}")]
    File {
        /// The file.
        path: PathBuf,
        /// What the system says.
        problem: io::Error,
    },
    /// Nobody would find this provider.
    #[error(
        "others cannot tell where to reach this node: set network.external, or listen.p2p to one address"
    )]
    NoAddress,
    /// Nobody said what pods cost.
    #[error("all prices are 0, so that pods would run for nothing: set [prices], or say so with --free")]
    Free,
    /// The token is counted otherwise than the configuration says.
    #[error(
        "chain.token-decimals is {set} but {symbol} has {found}, so that prices would be wrong: set {found}"
    )]
    Decimals {
        /// What the token calls itself.
        symbol: String,
        /// What the token says.
        found: u8,
        /// As configured.
        set: u8,
    },
    /// An address cannot be listened on.
    #[error("cannot listen on {address} ({setting}): {problem}")]
    Listen {
        /// As configured.
        address: String,
        /// By which setting.
        setting: &'static str,
        /// What the system says.
        problem: io::Error,
    },
    /// The network does not start.
    #[error("the network does not start (listen.p2p, network): {0}")]
    Network(#[from] StartError),
    /// A multiaddr cannot be read.
    #[error("network.external or listen.p2p: {address} is not a multiaddr such as /ip4/192.0.2.1/tcp/4001")]
    Multiaddr {
        /// As configured.
        address: String,
    },
    /// The block store does not open.
    #[error("the block store does not open: {text}", text = with_causes(.0))]
    Blobs(#[from] StoreError),
    /// The ledger does not open.
    #[error("{path}: {text}", text = with_causes(problem))]
    Ledger {
        /// The file.
        path: PathBuf,
        /// Why.
        problem: LedgerError,
    },
    /// There is none yet.
    #[error("there is no ledger at {0} yet: `apocryphd run` makes one")]
    NoLedger(PathBuf),
    /// The engine does not open.
    #[error("the engine does not start: {0}: `apocryphd check` tells what is lacking")]
    Engine(#[from] HostError),
    /// The cluster does not answer.
    #[error("the engine does not start: {0}: `apocryphd check` tells what is lacking")]
    Cluster(#[from] ClusterError),
    /// The node's cgroups cannot be read.
    #[error("{0}: --cgroups names where they are mounted")]
    Cgroups(#[from] CgroupError),
    /// The gateway's certificate cannot be used.
    #[error("{text}", text = with_causes(.0))]
    Tls(#[from] TlsError),
    /// What the daemon shares with its gateways, or with the readers on nodes, cannot be used.
    #[error("{path}, which the daemon and {sharers} share (token-file): {problem}", sharers = sharers(*role))]
    Token {
        /// Its file.
        path: PathBuf,
        /// With whom it is shared.
        role: Role,
        /// Why.
        problem: TokenError,
    },
    /// Another daemon is at work.
    #[error("another apocryphd uses {0}: stop it, or give this one a data-dir of its own")]
    Locked(PathBuf),
    /// The chain refused or did not answer.
    #[error(transparent)]
    Chain(#[from] ChainError),
    /// The running daemon failed.
    #[error(transparent)]
    Provider(#[from] Fault),
    /// The running daemon's answer cannot be read.
    #[error("the running daemon's answer makes no sense: is it of another release?")]
    Answer,
    /// The asynchronous runtime does not start.
    #[error("the program's threads do not start: {0}")]
    Runtime(io::Error),
    /// The standard output is closed.
    #[error("the output cannot be written: {0}")]
    Output(io::Error),
}

/// An error with its causes, each once.
pub(crate) fn with_causes(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

fn sharers(role: Role) -> &'static str {
    match role {
        Role::Gateway => "its gateways",
        Role::NodeReader => "the readers on nodes",
    }
}

impl Failure {
    /// The exit code, as `--help` lists them.
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::Lacking(_) => 1,
            Self::Settings(_) | Self::Key(_) | Self::NoAddress | Self::Multiaddr { .. } | Self::Tls(_) => 2,
            Self::Free | Self::Decimals { .. } | Self::Token { .. } => 2,
            Self::File { .. }
            | Self::Listen { .. }
            | Self::Network(_)
            | Self::Blobs(_)
            | Self::Ledger { .. }
            | Self::NoLedger(_)
            | Self::Engine(_)
            | Self::Cluster(_)
            | Self::Cgroups(_)
            | Self::Runtime(_)
            | Self::Output(_) => 3,
            Self::Chain(ChainError::Unavailable(_) | ChainError::Pending(_)) => 6,
            Self::Chain(
                ChainError::WrongChain { .. }
                | ChainError::NoContract { .. }
                | ChainError::UnknownCode { .. },
            ) => 2,
            Self::Chain(ChainError::Reverted(_) | ChainError::NoBalance { .. } | ChainError::NoFee) => 4,
            Self::Locked(_) => 7,
            Self::Provider(_) | Self::Answer => 70,
        }
    }

    /// Names the file that a failure is about.
    pub(crate) fn file(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |problem| Self::File { path, problem }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_tell_the_cases_apart() {
        let file = Failure::file("x")(io::ErrorKind::NotFound.into());
        let codes = [
            Failure::Lacking(2),
            Failure::NoAddress,
            file,
            Failure::Chain(ChainError::NoFee),
            Failure::Chain(ChainError::Unavailable("away".into())),
            Failure::Locked("x".into()),
            Failure::Answer,
        ]
        .map(|failure| failure.exit_code());
        assert_eq!(codes, [1, 2, 3, 4, 6, 7, 70]);
    }
}
