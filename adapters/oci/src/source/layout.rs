//! OCI image layouts (OCI Image Format 1.1, "Image Layout"), as folders and as archives.

use std::path::PathBuf;

use apocryph_model::Digest;
use async_trait::async_trait;

use super::archive::Archive;
use super::files::Files;
use super::{BlobReader, Source, SourceError};
use crate::document::{parse, verify};
use crate::limits::MAX_MANIFEST_LEN;
use crate::wire::{Descriptor, Index, REF_NAME};

/// An image in a layout.
pub(super) struct Layout {
    files: Files,
    tag: Option<String>,
}

impl Layout {
    pub(super) fn in_folder(folder: PathBuf, tag: Option<String>) -> Self {
        Self { files: Files::Folder(folder), tag }
    }

    pub(super) fn in_archive(archive: Archive, tag: Option<String>) -> Self {
        Self { files: Files::Archive(archive), tag }
    }

    async fn blob_of(&self, digest: Digest) -> Result<Vec<u8>, SourceError> {
        let bytes = self.files.read(&path_of(digest), "manifest", MAX_MANIFEST_LEN).await?;
        bytes.ok_or_else(|| missing(digest))
    }
}

#[async_trait]
impl Source for Layout {
    async fn root(&self) -> Result<Vec<u8>, SourceError> {
        let index = self.files.read("index.json", "index", MAX_MANIFEST_LEN).await?;
        let index: Index = parse("index", &index.ok_or(SourceError::Absent)?)?;
        let entry = entry_for(self.tag.as_deref(), &index.manifests)?;
        let document = self.blob_of(entry.digest).await?;
        verify(&document, entry)?;
        Ok(document)
    }

    async fn manifest(&self, entry: &Descriptor) -> Result<Vec<u8>, SourceError> {
        self.blob_of(entry.digest).await
    }

    async fn blob(&self, digest: Digest, _size: u64) -> Result<BlobReader, SourceError> {
        let opened = self.files.open(&path_of(digest)).await?;
        opened.map(|(reader, _)| reader).ok_or_else(|| missing(digest))
    }
}

fn path_of(digest: Digest) -> String {
    format!("blobs/sha256/{}", digest.hex())
}

fn missing(digest: Digest) -> SourceError {
    SourceError::Malformed(format!("the blob {digest} is missing"))
}

fn entry_for<'a>(tag: Option<&str>, entries: &'a [Descriptor]) -> Result<&'a Descriptor, SourceError> {
    match (tag, entries) {
        (Some(tag), _) => {
            entries.iter().find(|entry| entry.annotation(REF_NAME) == Some(tag)).ok_or(SourceError::Absent)
        }
        (None, []) => Err(SourceError::Absent),
        (None, [only]) => Ok(only),
        (None, several) => Err(SourceError::Reference(ambiguous(several))),
    }
}

fn ambiguous(entries: &[Descriptor]) -> String {
    let tags = entries.iter().filter_map(|entry| entry.annotation(REF_NAME)).collect::<Vec<_>>();
    format!("it holds several images: add a colon and one of the tags {}", tags.join(", "))
}
