//! Dependencies point down: bin, adapters, roles, core.

use serde_json::Value;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::Command;

/// From the top; a layer may use those below it, and `core` itself.
const LAYERS: [&str; 4] = ["bin", "adapters", "roles", "core"];

/// What only an adapter or a binary may know, as a crate or in its source.
const OUTSIDE: [&str; 5] = ["alloy", "hickory_resolver", "kube", "libp2p", "tokio::fs"];

/// What `core` has no use for: it neither waits nor calls anyone.
const ASYNC: [&str; 4] = ["tokio", "hyper", "reqwest", "tonic"];

/// Dependencies of the workspace that point the wrong way.
pub(crate) fn check(root: &Path) -> Result<Vec<String>, Box<dyn Error>> {
    let arguments = ["metadata", "--no-deps", "--format-version=1", "--offline"];
    let output = Command::new(env!("CARGO")).args(arguments).current_dir(root).output()?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned().into());
    }
    Ok(check_metadata(root, &serde_json::from_slice(&output.stdout)?))
}

fn check_metadata(root: &Path, metadata: &Value) -> Vec<String> {
    let mut findings = Vec::new();
    for package in items(&metadata["packages"]) {
        let name = package["name"].as_str().unwrap_or_default();
        let from = layer(root, &package["manifest_path"]);
        for dependency in items(&package["dependencies"]).filter(|d| d["kind"] != "dev") {
            let to = layer(root, &dependency["path"]);
            let on = dependency["name"].as_str().unwrap_or_default();
            if let Some(problem) = problem(&from, &to, on) {
                findings.push(format!("{name} depends on {on}: {problem}"));
            }
        }
    }
    findings
}

fn items(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

/// The folder of the workspace that a crate of its own stands in; empty for others'.
fn layer(root: &Path, path: &Value) -> String {
    let path = Path::new(path.as_str().unwrap_or_default());
    let inside = path.strip_prefix(root).ok().and_then(|path| path.iter().next());
    inside.map(|part| part.to_string_lossy().into_owned()).unwrap_or_default()
}

fn problem(from: &str, to: &str, on: &str) -> Option<String> {
    let rank = |layer: &str| LAYERS.iter().position(|name| *name == layer);
    let height = rank(from)?;
    if to == "testbed" {
        return Some("the testbed serves tests alone".into());
    }
    if OUTSIDE.contains(&on) && height >= 2 {
        return Some(format!("nothing in {from}/ knows {on}"));
    }
    if ASYNC.contains(&on) && from == "core" {
        return Some("core/ neither waits nor calls anyone".into());
    }
    let sideways = rank(to) == Some(height) && from != "core";
    let up = rank(to).is_some_and(|depth| depth < height);
    (sideways || up).then(|| format!("{from}/ does not build on {to}/"))
}

/// Sources of `roles/` and `core/` that name what they must not know.
pub(crate) fn check_words(root: &Path, files: &[PathBuf]) -> Result<Vec<String>, Box<dyn Error>> {
    let mut findings = Vec::new();
    let inner = |file: &&PathBuf| file.starts_with("roles") || file.starts_with("core");
    for file in files.iter().filter(inner).filter(|file| super::sources::is_rust(file)) {
        let text = std::fs::read_to_string(root.join(file))?;
        let code = text.lines().enumerate().filter(|(_, line)| !line.trim_start().starts_with("//"));
        for (number, line) in code {
            let word = OUTSIDE.iter().find(|word| names(line, word));
            findings.extend(word.map(|w| format!("{}:{}: names {w}", file.display(), number + 1)));
        }
    }
    Ok(findings)
}

/// Whether code names a crate or module: `libp2p::..`, `use libp2p;`.
fn names(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let after = &line[at + word.len()..];
        !before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == '"') && after.starts_with("::")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn dependencies_point_down() {
        let good = [("bin", "adapters"), ("adapters", "roles"), ("roles", "core"), ("core", "core")];
        for (from, to) in good {
            assert_eq!(problem(from, to, "apocryph-x"), None, "{from} on {to}");
        }
        for (from, to) in
            [("core", "roles"), ("roles", "adapters"), ("adapters", "adapters"), ("roles", "roles")]
        {
            assert!(problem(from, to, "apocryph-x").is_some(), "{from} on {to}");
        }
        assert!(problem("bin", "testbed", "apocryph-testbed").is_some());
        assert_eq!(problem("testbed", "bin", "apocryph"), None);
    }

    #[test]
    fn what_is_heavy_stays_outside() {
        assert!(problem("roles", "", "libp2p").is_some());
        assert!(problem("core", "", "tokio").is_some());
        assert_eq!(problem("adapters", "", "libp2p"), None);
        assert_eq!(problem("roles", "", "tokio"), None);
    }

    #[test]
    fn metadata_is_read() {
        let metadata = json!({ "packages": [{
            "name": "apocryph-model",
            "manifest_path": "/w/core/model/Cargo.toml",
            "dependencies": [
                { "name": "apocryph-evm", "path": "/w/adapters/evm", "kind": null },
                { "name": "apocryph-testbed", "path": "/w/testbed", "kind": "dev" },
            ],
        }]});
        let found = check_metadata(Path::new("/w"), &metadata);
        assert_eq!(found, ["apocryph-model depends on apocryph-evm: core/ does not build on adapters/"]);
    }

    #[test]
    fn words_are_code_not_texts() {
        assert!(names("use libp2p::Swarm;", "libp2p"));
        assert!(names("    tokio::fs::read(path)", "tokio::fs"));
        assert!(!names("let my_libp2p::x", "libp2p"));
        assert!(!names("a libp2p peer", "libp2p"));
    }
}
