//! One file per command.

mod check;
mod gateway;
mod init;
mod node_reader;
mod register;
mod run;
mod status;

use crate::{
    args::{Args, Command},
    failure::Failure,
    printer::Printer,
    settings::Settings,
};
use std::future::Future;

/// Does what the command line says.
pub(crate) fn run(args: Args, printer: &Printer) -> Result<(), Failure> {
    let overrides = args.overrides;
    match args.command {
        Command::Init(known) => init::init(overrides, &known, printer),
        Command::Check => block_on(check::check(&Settings::load(overrides)?, printer)),
        Command::Register(how) => block_on(register::register(&Settings::load(overrides)?, &how, printer)),
        Command::Unregister => block_on(register::unregister(&Settings::load(overrides)?, printer)),
        Command::Run(how) => block_on(run::run(&Settings::load(overrides)?, &how)),
        Command::NodeReader(how) => node_reader::run(how, overrides),
        Command::Gateway(command) => gateway::run(&command, overrides, printer),
        Command::Status => block_on(status::status(&Settings::load(overrides)?, printer)),
    }
}

fn block_on(command: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    runtime.map_err(Failure::Runtime)?.block_on(command)
}
