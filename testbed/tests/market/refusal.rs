//! What a publisher is told when a deploy fails, and what a provider keeps.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use apocryph_testbed::cli::{Cli, CliError};
use apocryph_testbed::daemon::Daemon;
use serde_json::Value;

/// A failed deploy's own account.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// Whose fault.
    pub(crate) who: String,
    /// The word for programs.
    pub(crate) code: String,
    /// Whether a repeat may help.
    pub(crate) retry: bool,
    /// How the program ended.
    pub(crate) ending: String,
    /// For people.
    pub(crate) text: String,
}

/// Deploys what must not be deployed.
pub(crate) async fn refused(publisher: &Cli, file: &str) -> Refusal {
    let arguments = ["deploy", "--file", file, "--accept-unattested", "--fund", "20"];
    match publisher.run(&arguments, &mut |_| {}).await {
        Err(CliError::Failed { fault, ending, .. }) => {
            let text = |field: &str| fault[field].as_str().unwrap_or_default().to_owned();
            let (who, code, retry) = (text("who"), text("code"), fault["retry"] == Value::Bool(true));
            Refusal { who, code, retry, ending, text: text("text") }
        }
        other => panic!("{file}: {other:?}"),
    }
}

impl Refusal {
    /// Whose fault, the word for it, whether a repeat may help.
    pub(crate) fn verdict(&self) -> (&str, &str, bool) {
        (&self.who, &self.code, self.retry)
    }
}

/// Every file that a provider keeps, but for its ledger, which only grows.
pub(crate) fn kept(daemon: &Daemon) -> BTreeSet<PathBuf> {
    let mut found = BTreeSet::new();
    for folder in ["data", "run"] {
        add(&daemon.folder.join(folder), &mut found);
    }
    found.retain(|path| !path.file_name().unwrap().to_string_lossy().starts_with("ledger."));
    found
}

fn add(folder: &Path, found: &mut BTreeSet<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
        if entry.file_type().unwrap().is_dir() {
            add(&entry.path(), found);
        } else {
            found.insert(entry.path());
        }
    }
}
