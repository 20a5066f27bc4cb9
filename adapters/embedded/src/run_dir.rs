//! The engine's run directory: a tmpfs, so that what is in the clear there never reaches a disk.
//!
//! ```text
//! <run_dir>/replicas/<id>/    see `replica_files`
//!           ended/<id>.json   last readings, until they are forgotten
//!           runtime/          the OCI runtime's state
//!           mounted           only where the engine mounted the tmpfs itself
//! ```

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::statfs::{TMPFS_MAGIC, statfs};

use crate::host_error::{Doing as _, HostError};
use crate::replica_files::{ReplicaDir, make_private_dir};

/// The longest path of a Unix socket is 107 bytes; this leaves room for those of the shims.
const MAX_PATH: usize = 48;

#[derive(Debug, Clone)]
pub(crate) struct RunDir(PathBuf);

impl RunDir {
    pub(crate) fn open(path: &Path) -> Result<Self, HostError> {
        let doing = format!("use {} as the run directory", path.display());
        if path.as_os_str().len() > MAX_PATH || !path.is_absolute() {
            let problem = format!("it must be an absolute path of at most {MAX_PATH} bytes");
            return Err(HostError::new(doing, io::Error::other(problem)));
        }
        let dir = Self::at(path);
        dir.ensure().doing(doing)?;
        Ok(dir)
    }

    /// The one at `path`, whether it is there or not.
    pub(crate) fn at(path: &Path) -> Self {
        Self(path.to_owned())
    }

    fn ensure(&self) -> io::Result<()> {
        make_private_dir(&self.0)?;
        if statfs(&self.0)?.filesystem_type() != TMPFS_MAGIC {
            mount_tmpfs(&self.0)?;
            fs::write(self.marker(), "")?;
        }
        for dir in [self.replicas(), self.ended(), self.runtime()] {
            make_private_dir(&dir)?;
        }
        Ok(())
    }

    pub(crate) fn replicas(&self) -> PathBuf {
        self.0.join("replicas")
    }

    pub(crate) fn replica(&self, id: &str) -> ReplicaDir {
        ReplicaDir(self.replicas().join(id))
    }

    pub(crate) fn ended(&self) -> PathBuf {
        self.0.join("ended")
    }

    pub(crate) fn runtime(&self) -> PathBuf {
        self.0.join("runtime")
    }

    /// Unmounts the tmpfs where the engine mounted it, and with it all that is in it.
    pub(crate) fn close(&self) -> Result<(), HostError> {
        let doing = format!("unmount {}", self.0.display());
        if self.marker().exists() {
            umount2(&self.0, MntFlags::MNT_DETACH).doing(&doing)?;
            return fs::remove_dir(&self.0).doing(doing);
        }
        for dir in [self.replicas(), self.ended(), self.runtime()] {
            fs::remove_dir_all(&dir).doing(format!("remove {}", dir.display()))?;
        }
        Ok(())
    }

    fn marker(&self) -> PathBuf {
        self.0.join("mounted")
    }
}

/// Without swap where the kernel can do so (6.4 and later).
fn mount_tmpfs(path: &Path) -> io::Result<()> {
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    let with = |options| mount(Some("tmpfs"), path, Some("tmpfs"), flags, Some(options));
    with("mode=0700,noswap").or_else(|_| with("mode=0700"))?;
    Ok(())
}
