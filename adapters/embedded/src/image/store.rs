//! Unpacked layers, by publisher and by the digest of their plain (compressed) form. Nothing is
//! shared between publishers: whether a layer is there tells nobody what another one runs.
//!
//! ```text
//! layers/<publisher>/<digest>/         verified and whole
//! layers/<publisher>/.partial-<random> being unpacked; swept away at start
//! ```

use std::collections::HashSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use apocryph_model::{Address, Digest};

use crate::host_error::{Doing as _, HostError};
use crate::tree;

const PARTIAL: &str = ".partial-";

#[derive(Debug)]
pub(crate) struct LayerStore {
    root: PathBuf,
}

/// A directory to unpack into, gone with this value unless kept.
#[derive(Debug)]
pub(super) struct Partial {
    path: PathBuf,
}

impl LayerStore {
    pub(crate) fn open(root: PathBuf) -> Result<Self, HostError> {
        fs::create_dir_all(&root).doing(format!("make {}", root.display()))?;
        let store = Self { root };
        for publisher in store.entries(&store.root)? {
            for path in store.entries(&publisher)?.into_iter().filter(|path| is_partial(path)) {
                tree::remove(&path).doing(format!("remove {}", path.display()))?;
            }
        }
        Ok(store)
    }

    pub(crate) fn path(&self, publisher: Address, layer: Digest) -> PathBuf {
        self.of(publisher).join(layer.hex())
    }

    pub(super) fn begin(&self, publisher: Address) -> Result<Partial, HostError> {
        let parent = self.of(publisher);
        let path = parent.join(format!("{PARTIAL}{:016x}", rand::random::<u64>()));
        fs::create_dir_all(&path).doing(format!("make {}", path.display()))?;
        Ok(Partial { path })
    }

    /// Gives what was unpacked its name. Where another was quicker, that one stays.
    pub(super) fn keep(
        &self,
        partial: Partial,
        publisher: Address,
        layer: Digest,
    ) -> Result<PathBuf, HostError> {
        let path = self.path(publisher, layer);
        // Until the contents are on the disk, the name must not be there: a power cut would
        // leave a layer that looks whole.
        let dir = fs::File::open(&partial.path).doing("open a layer")?;
        rustix::fs::syncfs(dir).doing("write a layer to the disk")?;
        match fs::rename(&partial.path, &path) {
            Err(error) if error.kind() != io::ErrorKind::DirectoryNotEmpty || !path.is_dir() => {
                Err(HostError::new(format!("rename to {}", path.display()), error))
            }
            _ => Ok(path),
        }
    }

    /// Removes all of the publisher's layers that are not in `used`.
    pub(crate) fn sweep(&self, publisher: Address, used: &HashSet<PathBuf>) -> Result<(), HostError> {
        let parent = self.of(publisher);
        for path in self.entries(&parent)? {
            if !used.contains(&path) && !is_partial(&path) {
                tree::remove(&path).doing(format!("remove {}", path.display()))?;
            }
        }
        // Stays while another pod of the publisher has layers.
        match fs::remove_dir(&parent) {
            Err(error)
                if !matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::DirectoryNotEmpty) =>
            {
                Err(HostError::new(format!("remove {}", parent.display()), error))
            }
            _ => Ok(()),
        }
    }

    fn of(&self, publisher: Address) -> PathBuf {
        self.root.join(publisher.to_string().to_ascii_lowercase())
    }

    fn entries(&self, dir: &Path) -> Result<Vec<PathBuf>, HostError> {
        let listed = match fs::read_dir(dir) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            listed => listed.and_then(|entries| entries.map(|entry| Ok(entry?.path())).collect()),
        };
        listed.doing(format!("list {}", dir.display()))
    }
}

impl Partial {
    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        if let Err(error) = tree::remove(&self.path) {
            tracing::warn!(path = %self.path.display(), %error, "a partial layer stays until the next start");
        }
    }
}

fn is_partial(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(PARTIAL))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_kept_and_is_used_stays() {
        let dir = tempfile::tempdir().unwrap();
        let open = || LayerStore::open(dir.path().join("layers")).unwrap();
        let (store, publisher) = (open(), Address([1; 20]));
        let keep = |n| store.keep(store.begin(publisher).unwrap(), publisher, Digest([n; 32])).unwrap();
        let (used, unused) = (keep(1), keep(2));
        assert_eq!(keep(1), used, "keeping it again is no error");
        drop(store.begin(publisher).unwrap());
        std::mem::forget(store.begin(publisher).unwrap());
        assert_eq!(fs::read_dir(used.parent().unwrap()).unwrap().count(), 3);
        open().sweep(publisher, &HashSet::from([used.clone()])).unwrap();
        assert!(used.is_dir() && !unused.exists());
        assert_eq!(fs::read_dir(used.parent().unwrap()).unwrap().count(), 1);
        open().sweep(publisher, &HashSet::new()).unwrap();
        assert_eq!(fs::read_dir(dir.path().join("layers")).unwrap().count(), 0);
    }
}
