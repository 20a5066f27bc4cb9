//! Directory trees that tenants wrote: as deep, as wide and as oddly named as they like, and changed
//! while one looks. Paths would become longer than the kernel takes, and recursion deeper than a
//! stack, so both work from open directories.

use std::ffi::{CStr, CString};
use std::fs;
use std::io;
use std::os::fd::AsFd;
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, RenameFlags, StatxFlags, statx};
use rustix::io::Errno;

/// The deepest tree that is measured: as many directories are open meanwhile.
pub(crate) const MOST_DEPTH: usize = 128;
/// A file counts as this many bytes besides its contents, so that empty ones are not free.
pub(crate) const FILE_COST: u64 = 1024;
/// A block of stat(2), in bytes.
pub(crate) const BLOCK: u64 = 512;

const DIRECTORY: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// What a tree holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Size {
    /// All of it, in bytes.
    Whole(u64),
    /// More than was asked about.
    Beyond,
    /// Directories within directories, more than [`MOST_DEPTH`].
    TooDeep,
}

/// Measures a tree, and stops as soon as it is sure that there is more than `limit`: so the work is
/// bounded by the limit. None holds nothing.
pub(crate) fn measure(path: &Path, limit: u64) -> io::Result<Size> {
    let mut open = match rustix::fs::openat(CWD, path, DIRECTORY, Mode::empty()) {
        Err(Errno::NOENT) => return Ok(Size::Whole(0)),
        root => vec![Dir::new(root?)?],
    };
    let mut sum = 0u64;
    while let Some(dir) = open.last_mut() {
        let Some(entry) = next(dir)? else {
            open.pop();
            continue;
        };
        let name = entry.file_name();
        // What vanishes meanwhile holds nothing.
        let Ok(stat) = statx(dir.fd()?, name, AtFlags::SYMLINK_NOFOLLOW, StatxFlags::BASIC_STATS) else {
            continue;
        };
        let is_dir = FileType::from_raw_mode(stat.stx_mode.into()) == FileType::Directory;
        // A file of several names counts once.
        let names = if is_dir { 1 } else { u64::from(stat.stx_nlink.max(1)) };
        sum = sum.saturating_add(stat.stx_blocks.saturating_mul(BLOCK) / names + FILE_COST);
        if sum > limit {
            return Ok(Size::Beyond);
        }
        let inner = is_dir.then(|| rustix::fs::openat(dir.fd()?, name, DIRECTORY, Mode::empty()));
        if let Some(Ok(inner)) = inner {
            if open.len() == MOST_DEPTH {
                return Ok(Size::TooDeep);
            }
            open.push(Dir::new(inner)?);
        }
    }
    Ok(Size::Whole(sum))
}

/// Removes a tree that nobody writes to any more. None is no error.
///
/// What lies deeper than one level is lifted up to the root until nothing does.
pub(crate) fn remove(path: &Path) -> io::Result<()> {
    let root = match rustix::fs::openat(CWD, path, DIRECTORY, Mode::empty()) {
        Err(Errno::NOENT) => return Ok(()),
        Err(Errno::NOTDIR | Errno::LOOP) => return fs::remove_file(path),
        root => root?,
    };
    let mut lifted = 0u64;
    while remove_entries(&root, &mut lifted)? {}
    fs::remove_dir(path)
}

/// One pass; tells whether there was anything.
fn remove_entries(root: impl AsFd, lifted: &mut u64) -> io::Result<bool> {
    let mut dir = Dir::read_from(&root)?;
    let mut any = false;
    while let Some(entry) = next(&mut dir)? {
        any = true;
        if !unlink(&root, entry.file_name())? {
            lift(&root, entry.file_name(), lifted)?;
        }
    }
    Ok(any)
}

/// Moves the directories within one of the root's into the root, and removes all else of it.
fn lift(root: impl AsFd, name: &CStr, lifted: &mut u64) -> io::Result<()> {
    let inner = rustix::fs::openat(&root, name, DIRECTORY, Mode::empty())?;
    let mut dir = Dir::read_from(&inner)?;
    while let Some(entry) = next(&mut dir)? {
        if !unlink(&inner, entry.file_name())? {
            move_up(&inner, entry.file_name(), &root, lifted)?;
        }
    }
    Ok(rustix::fs::unlinkat(&root, name, AtFlags::REMOVEDIR)?)
}

fn move_up(from: impl AsFd, name: &CStr, root: impl AsFd, lifted: &mut u64) -> io::Result<()> {
    loop {
        let fresh = CString::new(format!(".lifted-{lifted}"))?;
        *lifted += 1;
        match rustix::fs::renameat_with(&from, name, &root, fresh, RenameFlags::NOREPLACE) {
            // The tenant has used the name.
            Err(Errno::EXIST) => {}
            moved => return Ok(moved?),
        }
    }
}

/// Removes a file or an empty directory; false for a directory that is not empty.
fn unlink(dir: impl AsFd, name: &CStr) -> io::Result<bool> {
    match rustix::fs::unlinkat(&dir, name, AtFlags::empty()) {
        Err(Errno::ISDIR | Errno::PERM) => {}
        Err(Errno::NOENT) => return Ok(true),
        removed => return removed.map(|()| true).map_err(io::Error::from),
    }
    match rustix::fs::unlinkat(&dir, name, AtFlags::REMOVEDIR) {
        Err(Errno::NOTEMPTY | Errno::EXIST) => Ok(false),
        removed => removed.map(|()| true).map_err(io::Error::from),
    }
}

/// The next entry that is neither the directory itself nor the one above it.
fn next(dir: &mut Dir) -> io::Result<Option<rustix::fs::DirEntry>> {
    loop {
        match dir.read().transpose()? {
            Some(entry) if matches!(entry.file_name().to_bytes(), b"." | b"..") => {}
            entry => return Ok(entry),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Makes directories within each other; gives the innermost one.
    fn nest(root: &Path, depth: usize, name: &str) -> rustix::fd::OwnedFd {
        let mut inner = rustix::fs::openat(CWD, root, DIRECTORY, Mode::empty()).unwrap();
        for _ in 0..depth {
            rustix::fs::mkdirat(&inner, name, Mode::RWXU).unwrap();
            inner = rustix::fs::openat(&inner, name, DIRECTORY, Mode::empty()).unwrap();
        }
        inner
    }

    #[test]
    fn contents_and_many_empty_files_both_count() {
        let dir = tempfile::tempdir().unwrap();
        let sub = dir.path().join("sub");
        fs::create_dir(&sub).unwrap();
        fs::write(sub.join("file"), vec![1; 100_000]).unwrap();
        fs::hard_link(sub.join("file"), sub.join("again")).unwrap();
        assert_eq!(measure(dir.path(), 90_000).unwrap(), Size::Beyond);
        assert!(matches!(measure(dir.path(), 150_000).unwrap(), Size::Whole(100_000..)));
        for n in 0..200 {
            fs::write(sub.join(n.to_string()), "").unwrap();
        }
        assert_eq!(measure(dir.path(), 200_000).unwrap(), Size::Beyond);
        assert_eq!(measure(&dir.path().join("none"), 0).unwrap(), Size::Whole(0));
    }

    #[test]
    fn a_path_that_is_too_long_hides_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let inner = nest(dir.path(), 20, &"x".repeat(250));
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&inner, "hidden", flags, Mode::RUSR).unwrap();
        rustix::io::write(&file, &vec![1; 300_000]).unwrap();
        assert_eq!(measure(dir.path(), 250_000).unwrap(), Size::Beyond);
    }

    #[test]
    fn a_tree_of_any_depth_is_measured_and_removed() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("root");
        fs::create_dir(&root).unwrap();
        nest(&root, 5000, "d");
        fs::write(root.join("d/d/.lifted-0"), "").unwrap();
        fs::write(root.join(".lifted-0"), "").unwrap();
        assert_eq!(measure(&root, u64::MAX).unwrap(), Size::TooDeep);
        remove(&root).unwrap();
        assert!(!root.exists());
        remove(&root).unwrap();
    }

    #[test]
    fn links_lead_nowhere() {
        let dir = tempfile::tempdir().unwrap();
        let (root, other) = (dir.path().join("root"), dir.path().join("other"));
        fs::create_dir(&root).unwrap();
        fs::create_dir(&other).unwrap();
        fs::write(other.join("file"), vec![1; 100_000]).unwrap();
        std::os::unix::fs::symlink(&other, root.join("link")).unwrap();
        assert!(matches!(measure(&root, 50_000).unwrap(), Size::Whole(_)));
        remove(&root).unwrap();
        std::os::unix::fs::symlink(&other, &root).unwrap();
        remove(&root).unwrap();
        assert!(!root.is_symlink() && other.join("file").exists());
    }

    proptest! {
        #[test]
        fn any_tree_is_removed(paths in proptest::collection::vec("[ab]{1,2}(/[ab]{1,2}){0,4}", 0..20)) {
            let dir = tempfile::tempdir().unwrap();
            let root = dir.path().join("root");
            fs::create_dir(&root).unwrap();
            for path in paths {
                // One may be in the way of another.
                let _ = fs::create_dir_all(root.join(&path));
                let _ = fs::write(root.join(path).join("c"), "x");
            }
            remove(&root).unwrap();
            prop_assert!(!root.exists());
        }
    }
}
