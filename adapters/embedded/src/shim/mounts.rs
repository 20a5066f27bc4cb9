//! The replica's mounts: seen by nobody outside, gone with the shim.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::mount::{MsFlags, mount};

use crate::cgroup::Cgroups;
use crate::host_error::{Doing as _, HostError};
use crate::replica_files::{ContainerPlan, make_private_dir};

const NOTHING: Option<&str> = None;

/// Makes the mount namespace the shim's own. What the host unmounts goes here too, so that the
/// replica holds no file system of the host.
pub(super) fn enter(cgroups: &Cgroups) -> io::Result<()> {
    mount(NOTHING, "/", NOTHING, MsFlags::MS_REC | MsFlags::MS_SLAVE, NOTHING)?;
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    mount(Some("proc"), "/proc", Some("proc"), flags, NOTHING)?;
    match cgroups {
        Cgroups::V1 { .. } => hide_version_2(),
        Cgroups::V2 => Ok(()),
    }
}

/// Beside the trees of version 1, crun takes the empty one of version 2 for the host's own. It
/// also makes groups where that one was: on a file system that ends with the shim.
fn hide_version_2() -> io::Result<()> {
    const UNIFIED: &str = "/sys/fs/cgroup/unified";
    match mount(Some("tmpfs"), UNIFIED, Some("tmpfs"), MsFlags::empty(), Some("size=64k")) {
        Ok(()) | Err(Errno::ENOENT) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Mounts a container's root: its layers, and its own writable one above them.
pub(super) fn mount_root(dir: &Path, container: &ContainerPlan) -> Result<PathBuf, HostError> {
    prepare(dir, container).doing("prepare a container's directory")?;
    // A mount's options have 4096 bytes: hence short, relative names.
    std::env::set_current_dir(dir).doing("enter a container's directory")?;
    let lower: Vec<String> = (0..distinct(&container.layers).len()).map(|n| format!("l/{n}")).collect();
    // The writable layer ends with the replica, so nothing in it need ever reach the disk.
    let options = format!("lowerdir={},upperdir=upper,workdir=work,volatile", lower.join(":"));
    let mounted =
        mount(Some("overlay"), "root", Some("overlay"), MsFlags::MS_NODEV, Some(OsStr::new(&options)));
    mounted.doing("mount a container's root")?;
    Ok(dir.join("root"))
}

fn prepare(dir: &Path, container: &ContainerPlan) -> io::Result<()> {
    for name in ["l", "root"] {
        make_private_dir(&dir.join(name))?;
    }
    for (n, layer) in distinct(&container.layers).into_iter().enumerate() {
        symlink(layer, dir.join("l").join(n.to_string()))?;
    }
    for name in ["upper", "work"] {
        fs::create_dir_all(container.scratch.join(name))?;
        symlink(container.scratch.join(name), dir.join(name))?;
    }
    Ok(())
}

/// From the top down, as the overlay wants them. Of a layer that an image has twice only the upper
/// one shows, and the overlay refuses both.
fn distinct(layers: &[PathBuf]) -> Vec<&PathBuf> {
    let mut distinct: Vec<&PathBuf> = Vec::new();
    for layer in layers.iter().rev() {
        if !distinct.contains(&layer) {
            distinct.push(layer);
        }
    }
    distinct
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repeated_layer_counts_where_it_is_uppermost() {
        let layers = ["base", "empty", "app", "empty"].map(PathBuf::from);
        assert_eq!(distinct(&layers), [&layers[3], &layers[2], &layers[0]]);
    }
}
