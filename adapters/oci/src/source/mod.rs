//! Where images come from: one module per kind of place.

mod archive;
mod docker_archive;
mod docker_daemon;
mod files;
mod layout;
mod remote;

use std::error::Error;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use apocryph_model::Digest;
use apocryph_publisher::ImageError;
use apocryph_seal::{JweError, KeyError, LayerError};
use async_trait::async_trait;
use thiserror::Error;
use tokio::io::AsyncRead;

use crate::images::DockerPlaces;
use crate::reference::{Reference, ReferenceError};
use crate::verified::Damage;
use crate::wire::{Descriptor, Platform};

/// The bytes of a blob, unverified.
pub(crate) type BlobReader = Box<dyn AsyncRead + Send + Unpin>;

/// One image in its place.
#[async_trait]
pub(crate) trait Source: Send + Sync {
    /// The manifest or index that the reference names.
    async fn root(&self) -> Result<Vec<u8>, SourceError>;

    /// The manifest or index that an index points at, unverified.
    async fn manifest(&self, entry: &Descriptor) -> Result<Vec<u8>, SourceError>;

    /// Opens a configuration or layer of `size` bytes.
    async fn blob(&self, digest: Digest, size: u64) -> Result<BlobReader, SourceError>;
}

/// What the places need on this machine.
#[derive(Debug, Clone)]
pub(crate) struct Places {
    pub(crate) docker: DockerPlaces,
    /// A folder for what must be stored on the way.
    pub(crate) scratch: PathBuf,
}

/// Opens the place that `reference` names.
pub(crate) async fn open(reference: Reference, places: &Places) -> Result<Arc<dyn Source>, SourceError> {
    Ok(match reference {
        Reference::Registry(name) => Arc::new(remote::Remote::connect(&name, &places.docker.config).await?),
        Reference::DockerDaemon(name) => Arc::new(docker_daemon::export(&name, places).await?),
        Reference::Layout { folder, tag } => Arc::new(layout::Layout::in_folder(folder, tag)),
        Reference::LayoutArchive { file, tag } => {
            Arc::new(layout::Layout::in_archive(archive::Archive::open(file).await?, tag))
        }
        Reference::DockerArchive { file, tag } => {
            let archive = archive::Archive::open(file).await?;
            Arc::new(docker_archive::DockerArchive::open(archive, tag).await?)
        }
    })
}

/// Why an image cannot be had.
#[derive(Debug, Error)]
pub(crate) enum SourceError {
    #[error("there is no such image")]
    Absent,
    #[error("access is refused")]
    Unauthorised,
    #[error("the image is for {0}")]
    Platform(String),
    #[error("{0}")]
    Malformed(String),
    #[error("its {what} is longer than {limit} bytes")]
    TooLong { what: &'static str, limit: u64 },
    #[error("it has {0} layers; {max} are the most", max = crate::limits::MAX_LAYERS)]
    TooManyLayers(usize),
    #[error("a layer is of the type {0}: only plain, gzip and zstd tar files are taken, unencrypted")]
    LayerFormat(String),
    #[error(transparent)]
    Damage(#[from] Damage),
    #[error("the archive is compressed: decompress it first, with gunzip or unzstd")]
    CompressedArchive,
    #[error("it has changed since it was resolved and is {0} now: deploy again")]
    Changed(Digest),
    #[error("{0}")]
    Reference(String),
    #[error("{0}")]
    Unavailable(String),
    #[error("{path}: {error}")]
    Disk { path: PathBuf, error: io::Error },
    #[error(transparent)]
    Key(#[from] KeyError),
    #[error(transparent)]
    Layer(#[from] LayerError),
    #[error(transparent)]
    Jwe(#[from] JweError),
}

impl From<ReferenceError> for SourceError {
    fn from(error: ReferenceError) -> Self {
        Self::Reference(error.to_string())
    }
}

/// What went wrong while bytes were read: either they are damaged, or their place is.
impl From<io::Error> for SourceError {
    fn from(error: io::Error) -> Self {
        match Damage::of(&error) {
            Some(damage) => Self::Damage(damage),
            None => Self::Unavailable(in_full(&error)),
        }
    }
}

impl SourceError {
    pub(crate) fn disk(path: &Path, error: io::Error) -> Self {
        Self::Disk { path: path.to_owned(), error }
    }

    /// As the publisher knows it.
    pub(crate) fn of(self, reference: &str) -> ImageError {
        let reference = reference.to_owned();
        match self {
            Self::Absent => ImageError::Absent(reference),
            Self::Unauthorised => ImageError::Unauthorised { reference },
            Self::Platform(found) => {
                ImageError::Platform { reference, found, wanted: Platform::wanted().to_string() }
            }
            Self::Reference(problem) => ImageError::Reference { reference, problem },
            Self::Unavailable(problem) => ImageError::Unavailable { reference, problem },
            Self::Disk { path, error } => {
                ImageError::Disk { path: path.display().to_string(), problem: error.to_string() }
            }
            failed @ (Self::Key(_) | Self::Layer(_) | Self::Jwe(_)) => {
                ImageError::Encryption { reference, problem: failed.to_string() }
            }
            damaged @ (Self::Malformed(_)
            | Self::TooLong { .. }
            | Self::TooManyLayers(_)
            | Self::LayerFormat(_)
            | Self::CompressedArchive
            | Self::Changed(_)
            | Self::Damage(_)) => ImageError::Damaged { reference, problem: damaged.to_string() },
        }
    }
}

/// An error with its causes, each once.
pub(crate) fn in_full(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let next = error.to_string();
        if !text.contains(&next) {
            text.push_str(": ");
            text.push_str(&next);
        }
        cause = error.source();
    }
    text
}
