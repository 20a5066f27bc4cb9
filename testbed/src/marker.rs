//! Looking for a text in everything below a folder.

use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::{fs, fs::File};

const CHUNK: usize = 1 << 20;

/// The files of `folder`'s own file system, at any depth, that contain `marker`. What goes away
/// meanwhile does not contain it.
///
/// # Errors
/// If the folder is not there, or a file that is there cannot be read.
///
pub fn files_with(folder: &Path, marker: &[u8]) -> io::Result<Vec<PathBuf>> {
    let device = fs::metadata(folder)?.dev();
    let mut found = Vec::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in present(fs::read_dir(&folder))?.into_iter().flatten().flatten() {
            let Some(metadata) = present(entry.metadata())? else { continue };
            if metadata.dev() != device {
                continue;
            } else if metadata.is_dir() {
                folders.push(entry.path());
            } else if metadata.is_file() && present(contains(&entry.path(), marker))? == Some(true) {
                found.push(entry.path());
            }
        }
    }
    Ok(found)
}

fn present<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        result => result.map(Some),
    }
}

fn contains(path: &Path, marker: &[u8]) -> io::Result<bool> {
    let mut file = File::open(path)?;
    let mut window = Vec::new();
    loop {
        let read = file.by_ref().take(CHUNK as u64).read_to_end(&mut window)?;
        if !marker.is_empty() && window.windows(marker.len()).any(|part| part == marker) {
            return Ok(true);
        }
        if read == 0 {
            return Ok(false);
        }
        // A marker may lie across two chunks.
        window.drain(..window.len().saturating_sub(marker.len()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_marker_is_found_wherever_it_stands() {
        let folder = tempfile::tempdir().unwrap();
        let deep = folder.path().join("a/b");
        fs::create_dir_all(&deep).unwrap();
        fs::write(deep.join("plain"), "xxMARKERxx").unwrap();
        fs::write(folder.path().join("other"), "MARKE").unwrap();
        let mut across = vec![b'-'; CHUNK - 3];
        across.extend(b"MARKER");
        fs::write(folder.path().join("across"), across).unwrap();
        let mut found = files_with(folder.path(), b"MARKER").unwrap();
        found.sort();
        assert_eq!(found, [deep.join("plain"), folder.path().join("across")]);
    }

    #[test]
    fn a_folder_that_is_not_there_is_an_error() {
        assert!(files_with(Path::new("/nonexistent"), b"x").is_err());
    }
}
