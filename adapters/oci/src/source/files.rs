//! The files of an image layout, in a folder or in an archive.

use std::io::{self, SeekFrom};
use std::path::{Path, PathBuf};

use tokio::fs::File;
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _};

use super::archive::{Archive, Extent};
use super::{BlobReader, SourceError};

/// Files by name.
pub(super) enum Files {
    Folder(PathBuf),
    Archive(Archive),
}

impl Files {
    /// Opens the file called `name`; gives its size too.
    pub(super) async fn open(&self, name: &str) -> Result<Option<(BlobReader, u64)>, SourceError> {
        match self {
            Self::Folder(folder) => open_file(&folder.join(name)).await,
            Self::Archive(archive) => match archive.find(name) {
                Some(extent) => Ok(Some((open_extent(archive.path(), extent).await?, extent.size))),
                None => Ok(None),
            },
        }
    }

    /// Reads the file called `name` whole, if it is not longer than `limit` bytes. `what` it is
    /// stands in the error.
    pub(super) async fn read(
        &self,
        name: &str,
        what: &'static str,
        limit: u64,
    ) -> Result<Option<Vec<u8>>, SourceError> {
        let Some((reader, size)) = self.open(name).await? else {
            return Ok(None);
        };
        if size > limit {
            return Err(SourceError::TooLong { what, limit });
        }
        let mut bytes = Vec::new();
        reader.take(limit).read_to_end(&mut bytes).await?;
        Ok(Some(bytes))
    }
}

async fn open_file(path: &Path) -> Result<Option<(BlobReader, u64)>, SourceError> {
    let disk = |error| SourceError::disk(path, error);
    match File::open(path).await {
        Ok(file) => {
            let size = file.metadata().await.map_err(disk)?.len();
            Ok(Some((Box::new(file), size)))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(disk(error)),
    }
}

/// Opens a part of the file at `path`.
pub(super) async fn open_extent(path: &Path, extent: Extent) -> Result<BlobReader, SourceError> {
    let disk = |error| SourceError::disk(path, error);
    let mut file = File::open(path).await.map_err(disk)?;
    file.seek(SeekFrom::Start(extent.start)).await.map_err(disk)?;
    Ok(Box::new(file.take(extent.size)))
}
