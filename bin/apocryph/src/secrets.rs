//! Secrets of this machine: files and environment variables.

use apocryph_publisher::Secrets;
use std::{
    env,
    fs::File,
    io::{self, Read as _},
    os::unix::ffi::OsStringExt,
    path::Path,
};

/// This process's files and environment.
pub(crate) struct HostSecrets;

impl Secrets for HostSecrets {
    fn file(&self, path: &Path, at_most: u64) -> io::Result<Vec<u8>> {
        let mut content = Vec::new();
        File::open(path)?.take(at_most.saturating_add(1)).read_to_end(&mut content)?;
        Ok(content)
    }

    fn variable(&self, name: &str) -> Option<Vec<u8>> {
        env::var_os(name).map(OsStringExt::into_vec)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_up_to_the_bound() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        std::fs::write(&path, b"0123456789").unwrap();
        assert_eq!(HostSecrets.file(&path, 100).unwrap(), b"0123456789");
        assert_eq!(HostSecrets.file(&path, 3).unwrap(), b"0123");
        assert!(HostSecrets.file(folder.path(), 3).is_err());
    }
}
