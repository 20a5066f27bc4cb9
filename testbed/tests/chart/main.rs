//! Daemons of clusters: the chart, what it renders, what it refuses, and that it works; and one that starts while
//! its cluster is away.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(clippy::print_stderr, reason = "a skipped test says so")]

mod away;
mod install;
mod release;
mod render;
mod site;

use std::path::{Path, PathBuf};
use std::process::Command;

/// The root of the sources.
fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

fn chart() -> PathBuf {
    root().join("deploy/helm/apocryph")
}

/// Helm, which is built where it is not; `None` where that cannot be: says why.
fn helm() -> Option<PathBuf> {
    let built =
        Command::new(root().join("testbed/cluster/cluster")).args(["build", "helm"]).output().unwrap();
    if built.status.code() == Some(77) {
        eprintln!("skipped: {}", String::from_utf8_lossy(&built.stderr).trim());
        return None;
    }
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    Some(String::from_utf8(built.stdout).unwrap().trim().into())
}
