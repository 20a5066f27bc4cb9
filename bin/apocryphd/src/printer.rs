//! What the operator sees: results on the standard output, failures on the standard error.

use crate::failure::Failure;
use serde::Serialize;
use serde_json::json;
use std::{
    fmt::Display,
    io::{self, Write as _},
    process::ExitCode,
};

/// Writes for people or for programs.
#[derive(Clone, Copy)]
pub(crate) struct Printer {
    json: bool,
}

impl Printer {
    pub(crate) fn new(json: bool) -> Self {
        Self { json }
    }

    /// A result: as text, or as JSON.
    pub(crate) fn result(&self, result: &(impl Serialize + Display)) -> Result<(), Failure> {
        let text = match self.json {
            true => serde_json::to_string(result).map_err(|error| Failure::Output(error.into()))?,
            false => result.to_string(),
        };
        match writeln!(anstream::stdout(), "{}", text.trim_end()) {
            // Whoever reads has read enough.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            written => written.map_err(Failure::Output),
        }
    }

    /// Tells why the command failed; gives its exit code.
    pub(crate) fn failed(&self, failure: &Failure) -> ExitCode {
        let code = failure.exit_code();
        // There is no one left to tell if this fails.
        let _ = match self.json {
            true => {
                writeln!(anstream::stdout(), "{}", json!({"error": failure.to_string(), "exitCode": code}))
            }
            false => writeln!(anstream::stderr(), "\u{1b}[1;31merror:\u{1b}[0m {failure}"),
        };
        ExitCode::from(code)
    }
}
