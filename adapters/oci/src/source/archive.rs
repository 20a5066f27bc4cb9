//! A tar file, read in place: an index of where its files are.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read as _, Seek as _};
use std::path::{Component, Path, PathBuf};

use tempfile::TempPath;
use tokio::task::spawn_blocking;

use super::SourceError;
use crate::layer::LayerFormat;
use crate::limits::MAX_ARCHIVE_ENTRIES;
use crate::verified::Damage;

/// How many links may lead to a file.
const MAX_LINKS: usize = 8;

/// An indexed tar file.
pub(crate) struct Archive {
    path: ArchivePath,
    entries: HashMap<PathBuf, Entry>,
}

enum ArchivePath {
    Kept(PathBuf),
    /// Removed together with the index.
    Temporary(TempPath),
}

#[derive(Debug, Clone)]
enum Entry {
    File(Extent),
    Link(PathBuf),
}

/// Where a file's bytes are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Extent {
    pub(crate) start: u64,
    pub(crate) size: u64,
}

impl Archive {
    /// Indexes the tar file at `path`.
    pub(crate) async fn open(path: PathBuf) -> Result<Self, SourceError> {
        let entries = index(path.clone()).await?;
        Ok(Self { path: ArchivePath::Kept(path), entries })
    }

    /// Indexes the tar file at `path`, and removes it when dropped.
    pub(crate) async fn open_temporary(path: TempPath) -> Result<Self, SourceError> {
        let entries = index(path.to_path_buf()).await?;
        Ok(Self { path: ArchivePath::Temporary(path), entries })
    }

    pub(crate) fn path(&self) -> &Path {
        match &self.path {
            ArchivePath::Kept(path) => path,
            ArchivePath::Temporary(path) => path,
        }
    }

    /// Where the file called `name` is; links are followed.
    pub(crate) fn find(&self, name: &str) -> Option<Extent> {
        let mut entry = self.entries.get(&plain(Path::new(name))?)?;
        for _ in 0..MAX_LINKS {
            match entry {
                Entry::File(extent) => return Some(*extent),
                Entry::Link(target) => entry = self.entries.get(target)?,
            }
        }
        None
    }
}

async fn index(path: PathBuf) -> Result<HashMap<PathBuf, Entry>, SourceError> {
    spawn_blocking(move || index_blocking(&path))
        .await
        .map_err(|error| SourceError::Unavailable(error.to_string()))?
}

fn index_blocking(path: &Path) -> Result<HashMap<PathBuf, Entry>, SourceError> {
    let disk = |error| SourceError::disk(path, error);
    let mut file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(SourceError::Absent),
        opened => opened.map_err(disk)?,
    };
    if is_compressed(&mut file).map_err(disk)? {
        return Err(SourceError::CompressedArchive);
    }
    let length = file.metadata().map_err(disk)?.len();
    let malformed = |error: io::Error| SourceError::Malformed(format!("it is no tar file: {error}"));
    let mut archive = tar::Archive::new(file);
    let mut entries = HashMap::new();
    for entry in archive.entries_with_seek().map_err(malformed)? {
        let entry = entry.map_err(malformed)?;
        if entries.len() == MAX_ARCHIVE_ENTRIES {
            return Err(SourceError::Malformed(format!("it has more than {MAX_ARCHIVE_ENTRIES} files")));
        }
        let name = entry.path().ok().and_then(|name| plain(&name));
        if let (Some(name), Some(found)) = (name, entry_of(&entry, length)?) {
            entries.insert(name, found);
        }
    }
    Ok(entries)
}

fn is_compressed(file: &mut File) -> io::Result<bool> {
    let mut start = Vec::new();
    file.take(4).read_to_end(&mut start)?;
    file.rewind()?;
    Ok(LayerFormat::sniff(&start) != LayerFormat::Tar)
}

/// `None` for what is neither a file nor a link.
fn entry_of(entry: &tar::Entry<'_, File>, length: u64) -> Result<Option<Entry>, SourceError> {
    let kind = entry.header().entry_type();
    if kind.is_file() {
        let (start, size) = (entry.raw_file_position(), entry.size());
        let there = length.saturating_sub(start);
        if there < size {
            return Err(Damage::Truncated { expected: size, found: there }.into());
        }
        return Ok(Some(Entry::File(Extent { start, size })));
    }
    let target = entry.link_name().ok().flatten();
    let target = target.and_then(|target| match kind {
        // A symbolic link starts from where it is, a hard link from the top.
        tar::EntryType::Symlink => {
            let parent = entry.path().ok()?.parent()?.to_owned();
            plain(&parent.join(target))
        }
        tar::EntryType::Link => plain(&target),
        _ => None,
    });
    Ok(target.map(Entry::Link))
}

/// The path without `.` and `..`; `None` if it leads out of the archive.
fn plain(path: &Path) -> Option<PathBuf> {
    let mut plain = PathBuf::new();
    for component in path.components() {
        match component {
            Component::Normal(name) => plain.push(name),
            Component::ParentDir => {
                if !plain.pop() {
                    return None;
                }
            }
            Component::CurDir | Component::RootDir | Component::Prefix(_) => {}
        }
    }
    Some(plain)
}

#[cfg(test)]
mod tests {
    use super::*;
    use apocryph_testbed::layout::Layer;
    use proptest::prelude::*;

    async fn opened(tar: &[u8]) -> Result<Archive, SourceError> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(&file, tar).unwrap();
        Archive::open_temporary(file.into_temp_path()).await
    }

    #[tokio::test]
    async fn files_are_found_through_links() {
        let tar = Layer::new()
            .file("./a/layer.tar", "contents", 0o644)
            .symlink("b/layer.tar", "../a/layer.tar")
            .symlink("loop", "loop")
            .symlink("out", "../../etc/passwd");
        let archive = opened(&tar.to_tar().unwrap()).await.unwrap();
        let extent = archive.find("a/layer.tar").unwrap();
        assert_eq!(extent.size, 8);
        assert_eq!(archive.find("b/layer.tar"), Some(extent));
        for name in ["loop", "out", "a", "none", "../a/layer.tar"] {
            assert_eq!(archive.find(name), None, "{name}");
        }
    }

    #[tokio::test]
    async fn a_cut_archive_is_told() {
        let tar = Layer::new().file("a", vec![7; 5000], 0o644).to_tar().unwrap();
        let error = opened(&tar[..2000]).await.err().unwrap();
        assert!(matches!(error, SourceError::Damage(Damage::Truncated { expected: 5000, .. })));
    }

    proptest! {
        #[test]
        fn any_file_is_answered(start in prop::collection::vec(any::<u8>(), 0..2000), flip: prop::sample::Index) {
            let file = tempfile::NamedTempFile::new().unwrap();
            let tar = Layer::new().file("a", "b", 0o644).symlink("c", "a").to_tar().unwrap();
            let mut flipped = tar.clone();
            flipped[flip.index(tar.len())] ^= start.first().copied().unwrap_or(1);
            for bytes in [start, flipped] {
                std::fs::write(&file, bytes).unwrap();
                let _ = index_blocking(file.path());
            }
        }
    }

    #[tokio::test]
    async fn a_compressed_archive_is_told() {
        let error = opened(&[0x1f, 0x8b, 8, 0]).await.err().unwrap();
        assert!(matches!(error, SourceError::CompressedArchive), "{error}");
    }
}
