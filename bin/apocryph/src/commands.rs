//! The commands, a file each: what was typed becomes a use case, and its outcome a text or JSON.

mod completions;
mod deploy;
mod fund;
mod init;
mod logs;
mod manifest;
mod providers;
mod remove;
mod status;
mod unlock;
mod usage;
mod view;
mod withdraw;

use crate::{
    args::{Args, Command},
    failure::Failure,
    printer::Printer,
    settings::Settings,
};
use tracing_subscriber::EnvFilter;

/// Runs what was typed.
pub(crate) async fn run(args: Args, printer: &Printer) -> Result<(), Failure> {
    log_to_stderr();
    let settings = || Settings::load(args.global.settings);
    match args.command {
        Command::Init(init) => init::run(init, &settings()?, printer),
        Command::Deploy(deploy) => deploy::run(deploy, &settings()?, printer).await,
        Command::Status(pod) => status::run(pod, &settings()?, printer).await,
        Command::Ls => status::list(&settings()?, printer).await,
        Command::Logs(logs) => logs::run(logs, &settings()?, printer).await,
        Command::Fund(fund) => fund::run(fund, &settings()?, printer).await,
        Command::Unlock(unlock) => unlock::run(unlock, &settings()?, printer).await,
        Command::Withdraw(pod) => withdraw::run(pod, &settings()?, printer).await,
        Command::Remove(pod) => remove::run(pod, &settings()?, printer).await,
        Command::Providers => providers::run(&settings()?, printer).await,
        Command::Usage(pod) => usage::run(pod, &settings()?, printer).await,
        Command::Manifest(manifest) => manifest::run(&manifest, printer),
        Command::Completions { shell } => completions::run(shell, printer),
    }
}

fn log_to_stderr() {
    let filter = EnvFilter::try_from_env("APOCRYPH_LOG").unwrap_or_else(|_| EnvFilter::new("apocryph=warn"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
}
