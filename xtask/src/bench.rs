//! Runs the benchmarks of the crates and collects what they print.

use serde_json::Value;
use std::error::Error;
use std::path::Path;
use std::process::{Command, Stdio};

/// Package and benchmark. Each prints a line of JSON per figure, with a name and a unit.
const BENCHES: [(&str, &str); 2] = [("apocryph-seal", "layer"), ("apocryph-embedded", "cold_start")];

/// Runs them one after the other, so that none takes the machine from another, and writes
/// `report/bench.json`.
pub(crate) fn run(root: &Path) -> Result<(), Box<dyn Error>> {
    let mut figures = Vec::new();
    for (package, bench) in BENCHES {
        figures.extend(figures_of(root, package, bench)?);
    }
    let report = root.join("report");
    std::fs::create_dir_all(&report)?;
    std::fs::write(report.join("bench.json"), serde_json::to_string_pretty(&figures)?)?;
    Ok(())
}

fn figures_of(root: &Path, package: &str, bench: &str) -> Result<Vec<Value>, Box<dyn Error>> {
    let mut command = Command::new(env!("CARGO"));
    command.args(["bench", "-q", "-p", package, "--bench", bench]).current_dir(root);
    let output = command.stderr(Stdio::inherit()).output()?;
    let text = String::from_utf8(output.stdout)?;
    print(&text);
    if output.status.success() { figures(&text) } else { Err(format!("{bench} failed").into()) }
}

/// The lines that are objects; others are for people.
fn figures(text: &str) -> Result<Vec<Value>, Box<dyn Error>> {
    let lines = text.lines().filter(|line| line.starts_with('{'));
    lines.map(|line| Ok(serde_json::from_str(line)?)).collect()
}

#[expect(clippy::print_stdout, reason = "this is its output")]
fn print(text: &str) {
    print!("{text}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_the_lines_of_json() {
        let found = figures("running\n{\"name\": \"x\", \"unit\": \"ms\", \"p50\": 3}\n").unwrap();
        assert_eq!(found[0]["p50"], 3);
        assert!(figures("{not json").is_err());
    }
}
