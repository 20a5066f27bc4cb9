//! What the demo shows at the terminal.

#![expect(clippy::print_stdout, reason = "showing is what the demo is for")]

use std::path::PathBuf;

use apocryph_testbed::traces::Left;
use comfy_table::{CellAlignment, Table, presets::NOTHING};

use crate::record::{Check, Record, Step};

/// A chapter begins.
pub(crate) fn chapter(title: &str) {
    println!("\n{title}");
}

/// Something that is neither a step nor a check.
pub(crate) fn note(text: &str) {
    println!("           {text}");
}

pub(crate) fn step(step: &Step) {
    let began = step.start_ms as f64 / 1000.0;
    let took = format!("{} ms", step.duration_ms);
    println!("{began:>8.2} s {:<15} {:<10} {took:>9}  {}", step.name, step.who, short(&step.evidence));
}

pub(crate) fn check(check: &Check) {
    if check.held {
        println!("         ✓ {} ({})", check.name, check.found);
    } else {
        println!("         ✗ {}: expected {}, found {}", check.name, check.expected, check.found);
    }
}

/// Step, who, time, evidence.
pub(crate) fn table(record: &Record) {
    let mut table = Table::new();
    table.load_style(NOTHING);
    table.set_header(["STEP", "WHO", "BEGAN", "TOOK", "EVIDENCE"]);
    for step in record.steps() {
        let began = format!("{:.2} s", step.start_ms as f64 / 1000.0);
        let took = format!("{} ms", step.duration_ms);
        table.add_row([&step.name, &step.who, &began, &took, &short(&step.evidence)]);
    }
    for column in [2, 3] {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    println!("\n{}\n\n{}", table.trim_fmt(), record.machine());
}

/// Hashes and digests by their beginning: the report has them whole.
fn short(evidence: &str) -> String {
    let words = evidence.split(' ').map(|word| {
        let hash = word.trim_end_matches(',');
        if hash.len() > 60 && hash.is_ascii() { word.replace(&hash[18..], "…") } else { word.into() }
    });
    words.collect::<Vec<_>>().join(" ")
}

/// How it ended.
pub(crate) fn verdict(record: &Record) {
    let (checked, seconds) = (record.checked(), record.elapsed().as_secs_f64());
    match record.broken().as_slice() {
        [] => println!("{checked} checks, and all held; {seconds:.1} s."),
        broken => {
            println!("{} of {checked} checks did not hold:", broken.len());
            for check in broken {
                self::check(check);
            }
        }
    }
}

/// What there is to say in the end.
pub(crate) fn lines(lines: &[String]) {
    for line in lines {
        println!("{line}");
    }
}

/// Why it could not go on.
pub(crate) fn failed(failure: &crate::failure::Failure) {
    println!("The demo could not go on: {failure}");
}

/// Nothing is to be shown on that.
pub(crate) fn unknown_engine(error: &std::io::Error) -> std::process::ExitCode {
    println!("{error}");
    std::process::ExitCode::FAILURE
}

/// What withstood.
pub(crate) fn swept(result: &std::io::Result<Vec<(PathBuf, Left)>>) {
    match result {
        Ok(withstood) if withstood.is_empty() => println!("Nothing is left."),
        Ok(withstood) => withstood.iter().for_each(|(folder, left)| println!("{}: {left}", folder.display())),
        Err(error) => println!("Looking for what is left failed: {error}"),
    }
}
