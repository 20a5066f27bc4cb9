//! Why the demo could not go on. What merely is not as it should be is a check.

use std::io;

use apocryph_testbed::{cli::CliError, daemon::DaemonError, images::ProgramError, market::MarketError};

#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error("{what}: {source}")]
    Io { what: String, source: io::Error },
    #[error(transparent)]
    Cli(#[from] CliError),
    #[error(transparent)]
    Daemon(#[from] DaemonError),
    #[error(transparent)]
    Market(#[from] MarketError),
    #[error(transparent)]
    Image(#[from] ProgramError),
    #[error("no key is of use: {0}")]
    Key(#[from] apocryph_seal::KeyError),
    #[error("interrupted")]
    Interrupted,
}

pub(crate) type Result<T> = std::result::Result<T, Failure>;

/// Says what was being done.
pub(crate) trait During<T> {
    fn during(self, what: &str) -> Result<T>;
}

impl<T> During<T> for io::Result<T> {
    fn during(self, what: &str) -> Result<T> {
        self.map_err(|source| Failure::Io { what: what.into(), source })
    }
}
