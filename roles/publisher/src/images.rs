//! What the publisher needs of images.

use crate::LocalBlob;
use apocryph_model::Digest;
use async_trait::async_trait;
use std::path::Path;

/// An image that was found, named by what it is and no longer by a tag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResolvedImage {
    /// The reference as the publisher wrote it.
    pub reference: String,
    /// The digest of its (plain) manifest for the provider's platform.
    pub digest: Digest,
    /// The size of all its layers, in bytes.
    pub size: u64,
}

/// An image that was encrypted for a deployment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EncryptedImage {
    /// The digest of its manifest, which refers to encrypted layers.
    pub manifest: Digest,
    /// Manifest, configuration and layers.
    pub blobs: Vec<LocalBlob>,
}

/// Why an image cannot be had.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ImageError {
    /// There is no such image.
    #[error("there is no image {0}")]
    Absent(String),
    /// The source wants other credentials.
    #[error("{reference}: the registry refuses access: log in with `docker login` first")]
    Unauthorised {
        /// As written.
        reference: String,
    },
    /// It is for other machines.
    #[error("{reference} is for {found}: {wanted} is needed")]
    Platform {
        /// As written.
        reference: String,
        /// What it is for.
        found: String,
        /// What providers run.
        wanted: String,
    },
    /// It is not what its digests say, or breaks the OCI specification or a bound.
    #[error("{reference} cannot be used: {problem}")]
    Damaged {
        /// As written.
        reference: String,
        /// What is wrong.
        problem: String,
    },
    /// The key or the cryptographic library is at fault.
    #[error("{reference} cannot be encrypted: {problem}")]
    Encryption {
        /// As written.
        reference: String,
        /// What is wrong.
        problem: String,
    },
    /// The reference cannot be read.
    #[error("{reference} is no image reference: {problem}")]
    Reference {
        /// As written.
        reference: String,
        /// What is wrong.
        problem: String,
    },
    /// The source does not answer; try again.
    #[error("{reference} cannot be reached: {problem}")]
    Unavailable {
        /// As written.
        reference: String,
        /// What happened.
        problem: String,
    },
    /// This machine's disk failed.
    #[error("{path}: {problem}")]
    Disk {
        /// Where.
        path: String,
        /// What happened.
        problem: String,
    },
}

/// Finds images and encrypts them.
#[async_trait]
pub trait Images: Send + Sync {
    /// Resolves a reference to a digest. Relative paths are relative to `folder`.
    async fn resolve(&self, reference: &str, folder: &Path) -> Result<ResolvedImage, ImageError>;

    /// Encrypts the image's layers under `key` (PKCS #8, DER) into files below `out`. Layers that
    /// are there already under the same key are not encrypted again. `progress` is told how many
    /// bytes of [`ResolvedImage::size`] are done.
    async fn encrypt(
        &self,
        image: &ResolvedImage,
        folder: &Path,
        key: &[u8],
        out: &Path,
        progress: &(dyn Fn(u64) + Send + Sync),
    ) -> Result<EncryptedImage, ImageError>;
}
