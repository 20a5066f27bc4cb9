//! Unpacks a layer (OCI Image Format, "Image Layer Filesystem Changeset") into a directory that
//! can be the lower side of an overlay. The layer is a stranger's: see [`Rooted`] for its paths.
//!
//! | in the layer | in the directory |
//! |---|---|
//! | `.wh.<name>` | a character device 0:0 called `<name>`: the overlay's whiteout |
//! | `.wh..wh..opq` | the directory's `trusted.overlay.opaque` attribute |
//! | a device, or a `trusted.*` attribute | refused, left out: they would steer the overlay |

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use apocryph_model::Bytes;
use rustix::fs::{
    AtFlags, FileType, Gid, Mode, OFlags, Timespec, Timestamps, Uid, XattrFlags, chownat, fchmod, fchown,
    fsetxattr, futimens, linkat, mkdirat, mknodat, openat, symlinkat, unlinkat,
};
use rustix::io::Errno;

use super::tar_stream::{EntryKind, TarEntry, TarStream};
use crate::rooted::{Rooted, split_last};
use crate::tree;

/// The longest path, as the kernel bounds it.
const MAX_PATH: usize = 4096;
/// What an entry takes on the disk besides its contents, roughly.
const ENTRY_COST: u64 = 4096;
const WHITEOUT: &[u8] = b".wh.";
const OPAQUE: &[u8] = b".wh..wh..opq";
const RESERVED: &[u8] = b".wh..wh.";
/// Attributes that say nothing to the overlay or the host.
const KEPT_XATTRS: [&str; 2] = ["user.", "security.capability"];

/// What a pod's images may still take, shared by all layers.
#[derive(Debug)]
pub(super) struct Room {
    limit: Bytes,
    left: AtomicU64,
}

impl Room {
    pub(super) fn new(limit: Bytes) -> Self {
        Self { limit, left: AtomicU64::new(limit.0) }
    }

    fn take(&self, bytes: u64) -> Result<(), UnpackError> {
        let left = |left: u64| left.checked_sub(bytes);
        let taken = self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, left);
        taken.map(|_| ()).map_err(|_| UnpackError::TooLarge { limit: self.limit })
    }
}

/// Why a layer was not unpacked.
#[derive(Debug, thiserror::Error)]
pub(super) enum UnpackError {
    /// The stream broke, or is no tar file.
    #[error(transparent)]
    Stream(io::Error),
    /// An entry that no honest layer has.
    #[error("{path}: {problem}")]
    Refused { path: String, problem: &'static str },
    /// More than there is room for.
    #[error("it unpacks to more than {limit}")]
    TooLarge {
        /// What there was at first.
        limit: Bytes,
    },
    /// The host could not write.
    #[error(transparent)]
    Host(io::Error),
}

impl From<Errno> for UnpackError {
    fn from(error: Errno) -> Self {
        Self::Host(error.into())
    }
}

/// Unpacks `tar` into the empty directory `target` and gives back what follows the archive.
pub(super) fn unpack<R: Read>(tar: R, target: &Path, room: &Room) -> Result<R, UnpackError> {
    let unpacker = Unpacker { root: Rooted::open(target).map_err(UnpackError::Host)?, room };
    let mut stream = TarStream::new(tar);
    while let Some(entry) = stream.next().map_err(UnpackError::Stream)? {
        unpacker.room.take(ENTRY_COST)?;
        unpacker.add(&entry, &mut stream)?;
    }
    Ok(stream.into_rest())
}

struct Unpacker<'a> {
    root: Rooted,
    room: &'a Room,
}

/// Where an entry goes.
struct Place<'a> {
    parent: OwnedFd,
    name: &'a OsStr,
}

impl Unpacker<'_> {
    fn add<R: Read>(&self, entry: &TarEntry, stream: &mut TarStream<R>) -> Result<(), UnpackError> {
        let path = normal(&entry.path).map_err(|problem| refused(entry, problem))?;
        let Some((parent, name)) = split_last(&path) else { return self.set_root(entry) };
        let parent = self.root.ensure_dir(parent).map_err(|error| escape_or_host(entry, error))?;
        if name.starts_with(WHITEOUT) {
            return white_out(&parent, name).map_err(|problem| problem.unwrap_or_refuse(entry));
        }
        let place = Place { parent, name: OsStr::from_bytes(name) };
        match entry.kind {
            EntryKind::File => self.file(entry, &place, stream),
            EntryKind::Directory => directory(entry, &place),
            EntryKind::Symlink => symlink(entry, &place),
            EntryKind::HardLink => self.hard_link(entry, &place),
            EntryKind::Fifo => fifo(entry, &place),
            EntryKind::Device => Err(refused(entry, "a device, which no layer may bring")),
            EntryKind::Other => Err(refused(entry, "an unknown kind of entry")),
        }
    }

    fn set_root(&self, entry: &TarEntry) -> Result<(), UnpackError> {
        if entry.kind != EntryKind::Directory {
            return Err(refused(entry, "not the name of a file"));
        }
        set_metadata(self.root.as_fd(), entry)
    }

    fn file<R: Read>(
        &self,
        entry: &TarEntry,
        place: &Place<'_>,
        stream: &mut TarStream<R>,
    ) -> Result<(), UnpackError> {
        self.room.take(entry.size)?;
        place.clear()?;
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut file: File = openat(&place.parent, place.name, flags, Mode::from_raw_mode(0o600))?.into();
        copy(&mut stream.contents(), &mut file)?;
        set_metadata(file.as_fd(), entry)?;
        let time = Timespec { tv_sec: i64::try_from(entry.mtime).unwrap_or(0), tv_nsec: 0 };
        Ok(futimens(&file, &Timestamps { last_access: time, last_modification: time })?)
    }

    /// Only to what the same layer has brought before.
    fn hard_link(&self, entry: &TarEntry, place: &Place<'_>) -> Result<(), UnpackError> {
        const OUTSIDE: &str = "a hard link to a file that its layer does not have";
        let target = normal(&entry.link).map_err(|problem| refused(entry, problem))?;
        let (parent, name) = split_last(&target).ok_or_else(|| refused(entry, OUTSIDE))?;
        let parent = self.root.dir(parent).map_err(|_| refused(entry, OUTSIDE))?;
        let name = OsStr::from_bytes(name);
        if target == normal(&entry.path).map_err(|problem| refused(entry, problem))? {
            return Err(refused(entry, "a hard link to itself"));
        }
        place.clear()?;
        match linkat(&parent, name, &place.parent, place.name, AtFlags::empty()) {
            Err(Errno::NOENT | Errno::PERM | Errno::NOTDIR) => Err(refused(entry, OUTSIDE)),
            linked => Ok(linked?),
        }
    }
}

impl Place<'_> {
    /// Takes away what an earlier entry of the same name brought.
    fn clear(&self) -> Result<(), UnpackError> {
        match unlinkat(&self.parent, self.name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(Errno::ISDIR | Errno::PERM) => {
                // Goes through the descriptor, so that no link on the way is followed.
                let parent = format!("/proc/self/fd/{}", self.parent.as_raw_fd());
                tree::remove(&Path::new(&parent).join(self.name)).map_err(UnpackError::Host)
            }
            Err(error) => Err(error.into()),
        }
    }
}

fn directory(entry: &TarEntry, place: &Place<'_>) -> Result<(), UnpackError> {
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::RDONLY | OFlags::CLOEXEC;
    let open = || openat(&place.parent, place.name, flags, Mode::empty());
    let dir = match open() {
        Ok(dir) => dir,
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => {
            place.clear()?;
            mkdirat(&place.parent, place.name, Mode::from_raw_mode(0o700))?;
            open()?
        }
        Err(error) => return Err(error.into()),
    };
    set_metadata(dir.as_fd(), entry)
}

fn symlink(entry: &TarEntry, place: &Place<'_>) -> Result<(), UnpackError> {
    if entry.link.is_empty() || entry.link.len() >= MAX_PATH || entry.link.contains(&0) {
        return Err(refused(entry, "a symbolic link to nowhere"));
    }
    place.clear()?;
    symlinkat(OsStr::from_bytes(&entry.link), &place.parent, place.name)?;
    set_owner(entry, place)
}

fn fifo(entry: &TarEntry, place: &Place<'_>) -> Result<(), UnpackError> {
    place.clear()?;
    mknodat(&place.parent, place.name, FileType::Fifo, Mode::from_raw_mode(entry.mode & 0o777), 0)?;
    set_owner(entry, place)
}

fn set_owner(entry: &TarEntry, place: &Place<'_>) -> Result<(), UnpackError> {
    let (uid, gid) = owner(entry);
    Ok(chownat(&place.parent, place.name, uid, gid, AtFlags::SYMLINK_NOFOLLOW)?)
}

/// The owner first: changing it clears the set-user-id bit and the capabilities.
fn set_metadata(fd: impl std::os::fd::AsFd, entry: &TarEntry) -> Result<(), UnpackError> {
    let (uid, gid) = owner(entry);
    fchown(&fd, uid, gid)?;
    fchmod(&fd, Mode::from_raw_mode(entry.mode))?;
    for (name, value) in &entry.xattrs {
        if KEPT_XATTRS.iter().any(|kept| name.starts_with(kept)) {
            match fsetxattr(&fd, name.as_str(), value, XattrFlags::empty()) {
                Err(Errno::INVAL | Errno::RANGE | Errno::TOOBIG | Errno::OPNOTSUPP | Errno::PERM) => {
                    return Err(refused(entry, "an extended attribute that the file system refuses"));
                }
                set => set?,
            }
        }
    }
    Ok(())
}

fn owner(entry: &TarEntry) -> (Option<Uid>, Option<Gid>) {
    (Some(Uid::from_raw(entry.uid)), Some(Gid::from_raw(entry.gid)))
}

/// A whiteout that names nothing, or the host's failure.
enum WhiteoutError {
    Name,
    Host(Errno),
}

impl WhiteoutError {
    fn unwrap_or_refuse(self, entry: &TarEntry) -> UnpackError {
        match self {
            Self::Name => refused(entry, "a whiteout of nothing"),
            Self::Host(error) => error.into(),
        }
    }
}

fn white_out(parent: &OwnedFd, name: &[u8]) -> Result<(), WhiteoutError> {
    if name == OPAQUE {
        let opaque = fsetxattr(parent, "trusted.overlay.opaque", b"y", XattrFlags::empty());
        return opaque.map_err(WhiteoutError::Host);
    }
    if name.starts_with(RESERVED) {
        return Ok(());
    }
    let hidden = &name[WHITEOUT.len()..];
    if matches!(hidden, b"" | b"." | b"..") {
        return Err(WhiteoutError::Name);
    }
    // What the layer itself brings stays: whiteouts are about the layers below.
    match mknodat(parent, OsStr::from_bytes(hidden), FileType::CharacterDevice, Mode::empty(), 0) {
        Ok(()) | Err(Errno::EXIST) => Ok(()),
        Err(error) => Err(WhiteoutError::Host(error)),
    }
}

/// The path without empty names and `.`, relative to the layer's root.
fn normal(path: &[u8]) -> Result<Vec<u8>, &'static str> {
    if path.len() >= MAX_PATH || path.contains(&0) {
        return Err("a path that no file system takes");
    }
    if path.starts_with(b"/") {
        return Err("an absolute path");
    }
    let names: Vec<&[u8]> = path.split(|b| *b == b'/').filter(|name| !matches!(*name, b"" | b".")).collect();
    if names.contains(&&b".."[..]) {
        return Err("a path with '..'");
    }
    if names.iter().any(|name| name.len() > 255) {
        return Err("a name of more than 255 bytes");
    }
    Ok(names.join(&b'/'))
}

fn copy(from: &mut impl Read, to: &mut File) -> Result<(), UnpackError> {
    let mut buffer = vec![0; 128 << 10];
    loop {
        let read = match from.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(UnpackError::Stream(error)),
        };
        io::Write::write_all(to, &buffer[..read]).map_err(UnpackError::Host)?;
    }
}

/// A path through a file or a loop of links is the layer's fault.
fn escape_or_host(entry: &TarEntry, error: io::Error) -> UnpackError {
    match Errno::from_io_error(&error) {
        Some(Errno::NOTDIR | Errno::LOOP | Errno::XDEV | Errno::NOENT) => {
            refused(entry, "a path that leads through something other than directories")
        }
        _ => UnpackError::Host(error),
    }
}

fn refused(entry: &TarEntry, problem: &'static str) -> UnpackError {
    let path = String::from_utf8_lossy(&entry.path).chars().take(200).collect();
    UnpackError::Refused { path, problem }
}
