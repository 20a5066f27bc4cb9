//! Paths inside a directory tree that a stranger wrote: `..`, absolute paths and symbolic links
//! are resolved as if the tree's root were `/` (openat2(2), `RESOLVE_IN_ROOT`).

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

const DIRECTORY: OFlags = OFlags::DIRECTORY.union(OFlags::CLOEXEC);

/// The root of such a tree.
#[derive(Debug)]
pub(crate) struct Rooted {
    root: OwnedFd,
}

impl Rooted {
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let flags = DIRECTORY | OFlags::RDONLY;
        Ok(Self { root: rustix::fs::open(path, flags, Mode::empty())? })
    }

    /// Opens the directory of this path, relative to the root, making what is missing.
    pub(crate) fn ensure_dir(&self, path: &[u8]) -> io::Result<OwnedFd> {
        match self.open_at(path, DIRECTORY | OFlags::RDONLY) {
            Err(Errno::NOENT) => {}
            found => return Ok(found?),
        }
        let (parent, name) = split_last(path).ok_or(io::ErrorKind::NotFound)?;
        let parent = self.ensure_dir(parent)?;
        match rustix::fs::mkdirat(&parent, OsStr::from_bytes(name), Mode::from_raw_mode(0o755)) {
            Ok(()) | Err(Errno::EXIST) => Ok(self.open_at(path, DIRECTORY | OFlags::RDONLY)?),
            Err(error) => Err(error.into()),
        }
    }

    /// Opens a directory that must be there.
    pub(crate) fn dir(&self, path: &[u8]) -> io::Result<OwnedFd> {
        Ok(self.open_at(path, DIRECTORY | OFlags::RDONLY)?)
    }

    /// Opens a file for reading, without waiting for the other end of a FIFO.
    pub(crate) fn file(&self, path: &[u8]) -> io::Result<std::fs::File> {
        Ok(self.open_at(path, OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC)?.into())
    }

    fn open_at(&self, path: &[u8], flags: OFlags) -> Result<OwnedFd, Errno> {
        let path = if path.is_empty() { b"." } else { path };
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        rustix::fs::openat2(&self.root, OsStr::from_bytes(path), flags, Mode::empty(), resolve)
    }
}

impl AsFd for Rooted {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.root.as_fd()
    }
}

/// The directory and the last name of a path without empty names; `None` for the root itself.
pub(crate) fn split_last(path: &[u8]) -> Option<(&[u8], &[u8])> {
    if path.is_empty() {
        return None;
    }
    match path.iter().rposition(|b| *b == b'/') {
        Some(slash) => Some((&path[..slash], &path[slash + 1..])),
        None => Some((b"", path)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn links_cannot_lead_out() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("root");
        std::fs::create_dir(&root).unwrap();
        std::fs::write(dir.path().join("secret"), "outside").unwrap();
        symlink("../secret", root.join("up")).unwrap();
        symlink("/etc", root.join("etc")).unwrap();
        let rooted = Rooted::open(&root).unwrap();
        assert!(rooted.file(b"up").is_err());
        assert!(rooted.dir(b"etc").is_err(), "the tree has no /etc of its own");
        rooted.ensure_dir(b"var/lib").unwrap();
        symlink("/var/lib", root.join("lib")).unwrap();
        rooted.ensure_dir(b"lib/deep").unwrap();
        assert!(root.join("var/lib/deep").is_dir());
    }

    #[test]
    fn the_last_name_is_split_off() {
        assert_eq!(split_last(b"a/b/c"), Some((&b"a/b"[..], &b"c"[..])));
        assert_eq!(split_last(b"a"), Some((&b""[..], &b"a"[..])));
        assert_eq!(split_last(b""), None);
    }
}
