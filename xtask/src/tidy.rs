//! The checks. Each gives what it found, one line a finding.

mod docs;
mod layers;
mod names;
mod sources;

use std::error::Error;
use std::path::Path;

/// Runs every check.
pub(crate) fn run(root: &Path) -> Result<(), Box<dyn Error>> {
    let files = sources::tracked(root)?;
    let mut findings = layers::check(root)?;
    findings.extend(layers::check_words(root, &files)?);
    findings.extend(docs::check(root, &files)?);
    findings.extend(names::check(&files));
    print(&sources::long(root, &files)?);
    if findings.is_empty() { Ok(()) } else { Err(findings.join("\n").into()) }
}

#[expect(clippy::print_stdout, reason = "this is its output")]
fn print(lines: &[String]) {
    for line in lines {
        println!("{line}");
    }
}
