//! What the docs name is there.

use std::collections::HashSet;
use std::error::Error;
use std::path::{Path, PathBuf};

/// Paths in code spans and links of the docs that lead nowhere, and tests that are not there.
pub(crate) fn check(root: &Path, files: &[PathBuf]) -> Result<Vec<String>, Box<dyn Error>> {
    let mut findings = Vec::new();
    let functions = functions(root, files)?;
    let docs = files.iter().filter(|file| file.extension().is_some_and(|extension| extension == "md"));
    for doc in docs {
        let text = std::fs::read_to_string(root.join(doc))?;
        let folder = doc.parent().unwrap_or(Path::new(""));
        for (number, line) in text.lines().enumerate() {
            let spans = code_spans(line).filter(|span| is_path(root, span)).map(|span| root.join(span));
            let links = links(line).map(|link| root.join(folder).join(link));
            for path in spans.chain(links).filter(|path| !path.exists()) {
                let path = path.strip_prefix(root).unwrap_or(&path);
                let (doc, number) = (doc.display(), number + 1);
                findings.push(format!("{doc}:{number}: {} is not there", path.display()));
            }
            for test in code_spans(line).filter(|span| is_test(span) && !functions.contains(*span)) {
                findings.push(format!("{}:{}: no test is called {test}", doc.display(), number + 1));
            }
        }
    }
    Ok(findings)
}

/// The names of all functions.
fn functions(root: &Path, files: &[PathBuf]) -> Result<HashSet<String>, Box<dyn Error>> {
    let mut functions = HashSet::new();
    for file in files.iter().filter(|file| file.extension().is_some_and(|extension| extension == "rs")) {
        let text = std::fs::read_to_string(root.join(file))?;
        let named = text.split("fn ").skip(1).filter_map(|rest| rest.split(['(', '<']).next());
        functions.extend(named.map(str::to_owned));
    }
    Ok(functions)
}

/// Whether a code span means a test: its name is a sentence, and not a metric's.
fn is_test(span: &str) -> bool {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    span.chars().all(plain) && span.matches('_').count() >= 4 && !span.starts_with("apocryph_")
}

/// What stands between backticks.
fn code_spans(line: &str) -> impl Iterator<Item = &str> {
    line.split('`').skip(1).step_by(2)
}

/// Where links of this repository lead, without their fragment.
fn links(line: &str) -> impl Iterator<Item = &str> {
    let targets = line.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    let own = targets.filter(|target| !target.contains("://") && !target.starts_with('#'));
    own.map(|target| target.split('#').next().unwrap_or(target))
}

/// Whether a code span means a path of the repository: it begins with one of its folders and has
/// nothing that a path has not.
fn is_path(root: &Path, span: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-".contains(c);
    let Some((first, _)) = span.split_once('/') else { return false };
    !first.is_empty() && span.chars().all(plain) && root.join(first).is_dir() && !is_made(first)
}

/// Folders that builds and runs make.
fn is_made(folder: &str) -> bool {
    ["target", "report", "node_modules", ".", ".."].contains(&folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Vec<String> {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(root.path().join("core/model")).unwrap();
        std::fs::write(root.path().join("guide.md"), text).unwrap();
        std::fs::write(root.path().join("tests.rs"), "async fn what_is_there_is_found() {").unwrap();
        check(root.path(), &["guide.md".into(), "tests.rs".into()]).unwrap()
    }

    #[test]
    fn paths_that_are_there_pass() {
        assert!(
            found("see `core/model` and [it](core/model#x), [out](https://example.com/x), [here](#y)")
                .is_empty()
        );
        assert!(found("`application/json`, `a/b`, `core/x y`, `cargo run -p xtask`").is_empty());
    }

    #[test]
    fn paths_that_lead_nowhere_are_found() {
        assert_eq!(found("a\nsee `core/gone.rs`"), ["guide.md:2: core/gone.rs is not there"]);
        assert_eq!(found("[it](core/gone.md#part)"), ["guide.md:1: core/gone.md is not there"]);
    }

    #[test]
    fn tests_that_are_not_there_are_found() {
        assert!(found("`what_is_there_is_found`, `a_setting`, `apocryph_what_is_counted_total`").is_empty());
        let lost = found("`what_is_gone_is_lost`");
        assert_eq!(lost, ["guide.md:1: no test is called what_is_gone_is_lost"]);
    }
}
