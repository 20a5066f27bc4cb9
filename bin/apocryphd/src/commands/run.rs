//! `run`: the daemon.

use crate::{args::Run, daemon, failure::Failure, settings::Settings};

pub(crate) async fn run(settings: &Settings, how: &Run) -> Result<(), Failure> {
    daemon::log_to_stderr(&settings.file.log);
    daemon::run(settings, how.stop_pods).await
}
