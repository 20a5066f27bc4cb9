//! Why a replica does not start.

use apocryph_model::{Fault, Who};

use super::users::UserError;
use crate::host_error::HostError;
use crate::replica_files::StartReport;

#[derive(Debug, thiserror::Error)]
pub(super) enum StartError {
    #[error("container {container}: {source}")]
    User { container: String, source: UserError },
    #[error("container {container}: its working directory {path:?} cannot be entered: {source}")]
    WorkingDir { container: String, path: String, source: std::io::Error },
    /// The runtime's own words about the image's command.
    #[error("container {container} cannot be started: {problem}")]
    Command { container: String, problem: String },
    /// What stands where a volume is to be mounted, in the runtime's own words.
    #[error("container {container}: nothing can be mounted at {path}: {problem}")]
    Mount { container: String, path: String, problem: String },
    #[error(transparent)]
    Host(#[from] HostError),
}

impl StartError {
    pub(super) fn to_report(&self) -> StartReport {
        let code = match self {
            Self::Host(error) => return StartReport::Host(error.to_string()),
            Self::User { .. } => "user-unknown",
            Self::WorkingDir { .. } => "working-dir",
            Self::Command { .. } => "command",
            Self::Mount { .. } => "mount",
        };
        StartReport::Pod(Fault::lasting(Who::Publisher, code, self.to_string()))
    }
}
