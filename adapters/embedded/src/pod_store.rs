//! Which pods are prepared, and which layers each of them needs: all that a restarted engine must
//! know before it is told the rest, and nothing secret.
//!
//! ```text
//! <data_dir>/pods/<channel id>.json
//!            volumes/<channel id>/<name>/      persistent volumes
//!            logs/<channel id>/                see `logs`
//!            scratch/<replica id>/             writable layers and ephemeral volumes
//!            layers/                           see `image::store`
//! ```

use std::collections::HashSet;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use apocryph_model::{Address, ChannelId, Name};
use serde::{Deserialize, Serialize};

use crate::host_error::{Doing as _, HostError};
use crate::replica_files::{make_private_dir, read_json, write_json};
use crate::tree;

/// What is kept of a prepared pod.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PodRecord {
    pub(crate) publisher: Address,
    pub(crate) layers: Vec<PathBuf>,
}

/// The engine's data directory.
#[derive(Debug, Clone)]
pub(crate) struct PodStore(PathBuf);

impl PodStore {
    pub(crate) fn open(data_dir: &Path) -> Result<Self, HostError> {
        let store = Self(data_dir.to_owned());
        for dir in [data_dir.to_owned(), store.pods(), store.scratch()] {
            make_private_dir(&dir).doing(format!("make {}", dir.display()))?;
        }
        // Images bring set-user-id programs, which no user of the host should find.
        let private = fs::set_permissions(data_dir, fs::Permissions::from_mode(0o700));
        private.doing(format!("protect {}", data_dir.display()))?;
        Ok(store)
    }

    pub(crate) fn root(&self) -> &Path {
        &self.0
    }

    pub(crate) fn layers(&self) -> PathBuf {
        self.0.join("layers")
    }

    pub(crate) fn scratch(&self) -> PathBuf {
        self.0.join("scratch")
    }

    pub(crate) fn logs(&self, pod: ChannelId) -> PathBuf {
        self.0.join("logs").join(pod.to_string())
    }

    pub(crate) fn volume(&self, pod: ChannelId, name: &Name) -> PathBuf {
        self.volumes(pod).join(name.as_str())
    }

    pub(crate) fn get(&self, pod: ChannelId) -> Result<Option<PodRecord>, HostError> {
        read_json(&self.record(pod)).doing(format!("read the record of {pod}"))
    }

    pub(crate) fn put(&self, pod: ChannelId, record: &PodRecord) -> Result<(), HostError> {
        make_private_dir(&self.logs(pod)).doing("make a directory for logs")?;
        write_json(&self.record(pod), record).doing(format!("write the record of {pod}"))
    }

    pub(crate) fn all(&self) -> Result<Vec<(ChannelId, PodRecord)>, HostError> {
        let mut found = Vec::new();
        for entry in fs::read_dir(self.pods()).doing("list the pods")? {
            let path = entry.doing("list the pods")?.path();
            let id = path.file_stem().and_then(|stem| stem.to_str()?.parse().ok());
            if let Some(id) = id.filter(|_| path.extension().is_some_and(|kind| kind == "json")) {
                found.extend(self.get(id)?.map(|record| (id, record)));
            }
        }
        Ok(found)
    }

    /// Makes the volumes that are not there. Whatever user a container has may write to its own.
    pub(crate) fn make_volumes<'a>(
        &self,
        pod: ChannelId,
        names: impl Iterator<Item = &'a Name>,
    ) -> Result<(), HostError> {
        names.map(|name| self.volume(pod, name)).try_for_each(|path| make_volume(&path))
    }

    /// Removes the volumes that are not in `used`.
    pub(crate) fn sweep_volumes(&self, pod: ChannelId, used: &HashSet<PathBuf>) -> Result<(), HostError> {
        let entries = match fs::read_dir(self.volumes(pod)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            entries => entries.doing("list the volumes")?,
        };
        for entry in entries {
            let path = entry.doing("list the volumes")?.path();
            if !used.contains(&path) {
                remove_all(&path)?;
            }
        }
        Ok(())
    }

    /// Removes the record, the volumes and the logs; the record last, so that a removal that was
    /// cut short is seen.
    pub(crate) fn remove(&self, pod: ChannelId) -> Result<(), HostError> {
        remove_all(&self.volumes(pod))?;
        remove_all(&self.logs(pod))?;
        self.forget(pod)
    }

    /// Removes the record alone.
    pub(crate) fn forget(&self, pod: ChannelId) -> Result<(), HostError> {
        match fs::remove_file(self.record(pod)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            removed => removed.doing(format!("remove the record of {pod}")),
        }
    }

    fn pods(&self) -> PathBuf {
        self.0.join("pods")
    }

    fn volumes(&self, pod: ChannelId) -> PathBuf {
        self.0.join("volumes").join(pod.to_string())
    }

    fn record(&self, pod: ChannelId) -> PathBuf {
        self.pods().join(format!("{pod}.json"))
    }
}

/// Makes the directory of a volume; one that is there stays as it is.
pub(crate) fn make_volume(path: &Path) -> Result<(), HostError> {
    if path.is_dir() {
        return Ok(());
    }
    let made = make_private_dir(path);
    let made = made.and_then(|()| fs::set_permissions(path, fs::Permissions::from_mode(0o777)));
    made.doing(format!("make {}", path.display()))
}

/// Removes a tree. None is no error.
pub(crate) fn remove_all(path: &Path) -> Result<(), HostError> {
    tree::remove(path).doing(format!("remove {}", path.display()))
}
