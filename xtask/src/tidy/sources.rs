//! The files of the repository.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Files longer than this are listed: they may want to be several.
const LONG: usize = 400;

/// Every file that git tracks or would track, from the root on, as far as it is there.
pub(crate) fn tracked(root: &Path) -> Result<Vec<PathBuf>, Box<dyn Error>> {
    let list = ["ls-files", "-z", "--cached", "--others", "--exclude-standard"];
    let output = Command::new("git").arg("-C").arg(root).args(list).output()?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned().into());
    }
    let text = String::from_utf8(output.stdout)?;
    let files = text.split('\0').filter(|name| !name.is_empty()).map(PathBuf::from);
    Ok(files.filter(|file| root.join(file).exists()).collect())
}

/// Long files of Rust that people wrote, as lines to print.
pub(crate) fn long(root: &Path, files: &[PathBuf]) -> Result<Vec<String>, Box<dyn Error>> {
    let mut lines = Vec::new();
    for file in files.iter().filter(|file| is_rust(file) && !file.iter().any(|part| part == "generated")) {
        let count = std::fs::read_to_string(root.join(file))?.lines().count();
        if count > LONG {
            lines.push(format!("note: {} has {count} lines", file.display()));
        }
    }
    Ok(lines)
}

/// Whether a file is Rust.
pub(crate) fn is_rust(file: &Path) -> bool {
    file.extension().is_some_and(|extension| extension == "rs")
}
