//! `apocryphd`, the provider's daemon.

mod args;
mod commands;
mod daemon;
mod durations;
mod failure;
mod gateway;
mod keys;
mod offering;
mod printer;
mod settings;
mod world;

use clap::Parser;
use std::process::ExitCode;

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    if arguments.next().is_some_and(|first| first == "shim") {
        // Holds one replica of a pod; namespaces are entered before there is any thread.
        return apocryph_embedded::shim_main(arguments);
    }
    let args = args::Args::parse();
    let printer = printer::Printer::new(args.json);
    match commands::run(args, &printer) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => printer.failed(&failure),
    }
}
