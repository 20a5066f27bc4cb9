//! No module is named by nothing in particular.

use std::path::{Path, PathBuf};

const VAGUE: [&str; 8] = ["common", "helper", "helpers", "misc", "shared", "types", "util", "utils"];

/// Modules and crates with a vague name.
pub(crate) fn check(files: &[PathBuf]) -> Vec<String> {
    let vague = files.iter().filter(|file| super::sources::is_rust(file) && is_vague(file));
    vague.map(|file| format!("{}: name it after what is in it", file.display())).collect()
}

fn is_vague(file: &Path) -> bool {
    file.iter().any(|part| {
        let part = part.to_string_lossy();
        VAGUE.contains(&part.strip_suffix(".rs").unwrap_or(&part))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vague_names_are_found_as_files_and_as_folders() {
        let files = ["core/model/src/utils.rs", "roles/common/src/lib.rs", "core/model/src/usage.rs"];
        let found = check(&files.map(PathBuf::from));
        assert_eq!(found.len(), 2);
        assert!(found[0].starts_with("core/model/src/utils.rs"));
    }
}
