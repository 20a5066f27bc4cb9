//! `apocryph`, the publisher's command line.

mod args;
mod chooser;
mod commands;
mod durations;
mod failure;
mod keys;
mod printer;
mod secrets;
mod settings;
mod state;
mod world;

use clap::Parser;
use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    let args = args::Args::parse();
    let printer = printer::Printer::new(args.global.json);
    match commands::run(args, &printer).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => printer.failed(&failure),
    }
}
