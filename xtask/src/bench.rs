//! Runs the benchmarks of the crates and collects what they print.

mod machine;
mod table;

use serde_json::Value;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Each prints a line of JSON per figure; see `testbed/src/figure.rs`.
const BENCHES: [&str; 3] = ["encryption", "sampling", "market"];

/// Those of the benchmarks, and those of the programs that `market` runs.
const PACKAGES: [&str; 5] =
    ["apocryph", "apocryphd", "apocryph-embedded", "apocryph-oci", "apocryph-testbed"];

/// Runs them one after the other, so that none takes the machine from another; prints the machine
/// and a table, and writes `report/bench.json`. With `ENGINE=kubernetes`, those of a cluster alone,
/// into `report/bench-kubernetes.json`. Where names are given, only what the benchmark `market` has
/// of these.
pub(crate) fn run(root: &Path, names: &[String]) -> Result<(), Box<dyn Error>> {
    let built = build(root)?;
    let machine = machine::describe();
    let mut figures = Vec::new();
    let is_cluster = std::env::var("ENGINE").is_ok_and(|engine| engine == "kubernetes");
    let report_name = if is_cluster { "bench-kubernetes.json" } else { "bench.json" };
    let benches = if is_cluster || !names.is_empty() { &["market"][..] } else { &BENCHES[..] };
    for bench in benches {
        let program = executable(&built, bench).ok_or_else(|| format!("{bench} was not built"))?;
        figures.extend(figures_of(root, bench, &program, names)?);
    }
    let report = root.join("report");
    std::fs::create_dir_all(&report)?;
    std::fs::write(report.join(report_name), serde_json::to_string_pretty(&figures)?)?;
    print(&format!("\n{machine}\n\n{}", table::of(&figures)));
    Ok(())
}

/// By one command, as each selection of packages would build their dependencies anew; gives what
/// cargo says of it, a line of JSON each.
fn build(root: &Path) -> Result<String, Box<dyn Error>> {
    let mut command = Command::new(env!("CARGO"));
    command.args(["build", "-q", "--release", "--message-format=json-render-diagnostics", "--bins"]);
    command.args(PACKAGES.iter().flat_map(|package| ["-p", package]));
    command.args(BENCHES.iter().flat_map(|bench| ["--bench", bench]));
    let output = command.current_dir(root).stderr(Stdio::inherit()).output()?;
    if output.status.success() {
        Ok(String::from_utf8(output.stdout)?)
    } else {
        Err("the build failed".into())
    }
}

/// Where cargo put a benchmark.
fn executable(built: &str, bench: &str) -> Option<PathBuf> {
    let messages = built.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let mut found = messages
        .filter(|message| message["target"]["name"] == bench && message["target"]["kind"][0] == "bench");
    found.find_map(|message| Some(message["executable"].as_str()?.into()))
}

fn figures_of(
    root: &Path,
    bench: &str,
    program: &Path,
    names: &[String],
) -> Result<Vec<Value>, Box<dyn Error>> {
    let output = Command::new(program).args(names).current_dir(root).stderr(Stdio::inherit()).output()?;
    let text = String::from_utf8(output.stdout)?;
    print(&text);
    if !output.status.success() {
        return Err(format!("{bench} failed").into());
    }
    let figures = figures(&text)?;
    // Without root there is nothing to measure; it said so.
    if figures.is_empty() { Err(format!("{bench} measured nothing").into()) } else { Ok(figures) }
}

/// The lines that are objects; others are for people.
fn figures(text: &str) -> Result<Vec<Value>, Box<dyn Error>> {
    let lines = text.lines().filter(|line| line.starts_with('{'));
    lines.map(|line| Ok(serde_json::from_str(line)?)).collect()
}

#[expect(clippy::print_stdout, reason = "this is its output")]
fn print(text: &str) {
    println!("{}", text.trim_end());
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

    #[test]
    fn a_benchmark_is_found_among_what_was_built() {
        let built = r#"{"reason":"compiler-artifact","target":{"name":"market","kind":["bin"]},"executable":"/a"}
{"reason":"compiler-artifact","target":{"name":"market","kind":["bench"]},"executable":"/b"}
{"reason":"build-finished","success":true}"#;
        assert_eq!(executable(built, "market"), Some("/b".into()));
        assert_eq!(executable(built, "other"), None);
    }
}
