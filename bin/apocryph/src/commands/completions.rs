use crate::{args::Args, failure::Failure, printer::Printer};
use clap::CommandFactory as _;
use clap_complete::{Shell, generate};

pub(super) fn run(shell: Shell, printer: &Printer) -> Result<(), Failure> {
    let mut script = Vec::new();
    generate(shell, &mut Args::command(), "apocryph", &mut script);
    printer.raw(&String::from_utf8_lossy(&script))
}
