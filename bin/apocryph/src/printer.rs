//! What the user sees: progress on the standard error, results on the standard output, or all of
//! it as JSON lines on the standard output.

mod bars;
mod lines;

use crate::failure::Failure;
use apocryph_model::Fault;
use apocryph_publisher::{Event, Reporter};
use bars::Bars;
use lines::Lines;
use miette::{GraphicalReportHandler, GraphicalTheme};
use serde::Serialize;
use serde_json::{Value, json};
use std::{
    fmt::Display,
    io::{self, IsTerminal as _, Write as _},
    process::ExitCode,
    sync::Arc,
    time::Instant,
};

/// Writes for people or for programs. Clones write to the same place.
#[derive(Clone)]
pub(crate) struct Printer {
    mode: Arc<Mode>,
    start: Instant,
}

enum Mode {
    /// One JSON object per line.
    Json,
    /// Progress bars, at a terminal.
    Bars(Bars),
    /// A line per step.
    Lines(Lines),
}

impl Printer {
    /// As JSON, or else as fits the standard error.
    pub(crate) fn new(json: bool) -> Self {
        let mode = match json {
            true => Mode::Json,
            false if io::stderr().is_terminal() => Mode::Bars(Bars::new()),
            false => Mode::Lines(Lines::new()),
        };
        Self { mode: Arc::new(mode), start: Instant::now() }
    }

    /// The result of a command: as text, or as an object beside its event.
    pub(crate) fn result(&self, command: &str, result: &(impl Serialize + Display)) -> Result<(), Failure> {
        let line = match &*self.mode {
            Mode::Json => {
                let result = serde_json::to_value(result).map_err(|e| Failure::Output(e.into()))?;
                self.stamped(json!({"event": "result", "command": command, "result": result})).to_string()
            }
            Mode::Bars(_) | Mode::Lines(_) => printable(&result.to_string()),
        };
        self.out(&line)
    }

    /// One of many results, such as a line of a log.
    pub(crate) fn item(&self, item: &(impl Serialize + Display)) -> Result<(), Failure> {
        let line = match &*self.mode {
            Mode::Json => serde_json::to_string(item).map_err(|e| Failure::Output(e.into()))?,
            Mode::Bars(_) | Mode::Lines(_) => printable(&item.to_string()),
        };
        self.out(&line)
    }

    /// A text that is the result itself, whatever the mode: a schema, a completion.
    pub(crate) fn raw(&self, text: &str) -> Result<(), Failure> {
        self.out(text)
    }

    /// Whoever reads has read enough when the pipe is closed: that is no failure.
    fn out(&self, line: &str) -> Result<(), Failure> {
        let mut out = anstream::stdout();
        match writeln!(out, "{}", line.trim_end()).and_then(|()| out.flush()) {
            Err(e) if e.kind() == io::ErrorKind::BrokenPipe => std::process::exit(0),
            Err(e) => Err(Failure::Output(e)),
            Ok(()) => Ok(()),
        }
    }

    /// Tells why the command failed; gives its exit code.
    pub(crate) fn failed(&self, failure: &Failure) -> ExitCode {
        let fault = failure.fault();
        match &*self.mode {
            Mode::Json => {
                let error = json!({"event": "error", "error": fault, "exitCode": failure.exit_code()});
                // There is no one left to tell if this fails.
                let _ = self.out(&self.stamped(error).to_string());
            }
            Mode::Bars(_) | Mode::Lines(_) => {
                let retry = if fault.retry { "a repeat may help" } else { "a repeat alone does not help" };
                let text = explain(failure);
                let Fault { who, code, .. } = fault;
                let _ = writeln!(anstream::stderr(), "{text}\n  fault: {who}; {retry} ({code})");
            }
        }
        ExitCode::from(failure.exit_code())
    }

    /// Runs something that uses the terminal itself.
    pub(crate) fn pause<T>(&self, ask: impl FnOnce() -> T) -> T {
        match &*self.mode {
            Mode::Bars(bars) => bars.pause(ask),
            Mode::Json | Mode::Lines(_) => ask(),
        }
    }

    /// With the time since the command began, in milliseconds.
    fn stamped(&self, mut object: Value) -> Value {
        let elapsed = u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX);
        if let Value::Object(fields) = &mut object {
            fields.insert("ms".into(), elapsed.into());
        }
        object
    }
}

/// Without the control characters by which a provider or a container could play with the terminal.
fn printable(text: &str) -> String {
    text.chars().filter(|c| matches!(c, '\n' | '\t') || !c.is_control()).collect()
}

/// A manifest's problems are shown in its text, everything else in a sentence.
fn explain(failure: &Failure) -> String {
    let sentence = format!("\u{1b}[1;31merror:\u{1b}[0m {}", printable(&failure.to_string()));
    let Failure::Manifest(error) = failure else { return sentence };
    let mut shown = String::new();
    let handler = GraphicalReportHandler::new_themed(GraphicalTheme::unicode());
    handler.render_report(&mut shown, error).map_or(sentence, |()| shown.trim_end().into())
}

impl Reporter for Printer {
    fn report(&self, event: Event) {
        match &*self.mode {
            Mode::Json => {
                if let Ok(object) = serde_json::to_value(&event) {
                    // A closed output ends the command with its result.
                    let _ = self.out(&self.stamped(object).to_string());
                }
            }
            Mode::Bars(bars) => bars.show(event),
            Mode::Lines(lines) => lines.show(event),
        }
    }
}
