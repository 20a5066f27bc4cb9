//! The folder of encrypted blobs, in which a layer that was encrypted before is found again.
//!
//! ```text
//! <folder>/<digest in hex>                            a blob
//! <folder>/layers/<key's id>/<plain digest>.json      the descriptor of that layer, encrypted
//! ```

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use apocryph_model::Digest;
use apocryph_publisher::LocalBlob;
use apocryph_seal::{Hasher, sha256};
use tempfile::NamedTempFile;

use crate::encrypt::in_background;
use crate::layer::Layer;
use crate::source::SourceError;
use crate::wire::Descriptor;

const CHUNK_LEN: usize = 256 << 10;

/// The files of one key.
pub(crate) struct EncryptedFiles {
    folder: PathBuf,
    layers: PathBuf,
}

impl EncryptedFiles {
    /// Makes the folders where they lack.
    pub(crate) async fn below(folder: &Path, key: Digest) -> Result<Self, SourceError> {
        let layers = folder.join("layers").join(key.hex());
        let files = Self { folder: folder.to_owned(), layers: layers.clone() };
        in_background(move || {
            fs::create_dir_all(&layers).map_err(|error| SourceError::disk(&layers, error))?;
            Ok(files)
        })
        .await
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// The blob of `descriptor`, which is here.
    pub(crate) fn local(&self, descriptor: &Descriptor) -> LocalBlob {
        let path = self.path_of(descriptor.digest);
        LocalBlob { digest: descriptor.digest, size: descriptor.size, path }
    }

    /// Writes a small blob.
    pub(crate) async fn put(&self, bytes: Vec<u8>) -> Result<LocalBlob, SourceError> {
        let (digest, size) = (sha256(&bytes), bytes.len() as u64);
        let path = self.path_of(digest);
        let blob = LocalBlob { digest, size, path: path.clone() };
        let folder = self.folder.clone();
        in_background(move || write(&folder, &path, &bytes)).await?;
        Ok(blob)
    }

    /// The layer, if it has been encrypted and the file is still what it was.
    pub(crate) async fn find(
        &self,
        layer: Layer,
        media_type: &str,
    ) -> Result<Option<Descriptor>, SourceError> {
        let note = self.note_of(layer);
        let Ok(json) = tokio::fs::read(&note).await else {
            return Ok(None);
        };
        // A damaged note or file costs encrypting once more, and nothing else.
        let known: Option<Descriptor> = serde_json::from_slice(&json).ok();
        let Some(known) = known.filter(|known| known.media_type == media_type) else {
            return Ok(None);
        };
        let path = self.path_of(known.digest);
        let found = in_background(move || Ok(digest_of(&path).ok())).await?;
        Ok((found == Some(known.digest)).then_some(known))
    }

    /// Puts an encrypted layer in its place, where it will be found again.
    pub(crate) async fn keep(
        &self,
        layer: Layer,
        file: NamedTempFile,
        descriptor: &Descriptor,
    ) -> Result<(), SourceError> {
        let (path, note) = (self.path_of(descriptor.digest), self.note_of(layer));
        let json = serde_json::to_vec(descriptor).map_err(io::Error::from)?;
        let layers = self.layers.clone();
        in_background(move || {
            file.persist(&path).map_err(|failed| SourceError::disk(&path, failed.error))?;
            write(&layers, &note, &json)
        })
        .await
    }

    fn path_of(&self, digest: Digest) -> PathBuf {
        self.folder.join(digest.hex())
    }

    fn note_of(&self, layer: Layer) -> PathBuf {
        self.layers.join(format!("{}.json", layer.digest.hex()))
    }
}

/// Writes `path` whole or not at all.
fn write(folder: &Path, path: &Path, bytes: &[u8]) -> Result<(), SourceError> {
    let written = NamedTempFile::new_in(folder).and_then(|mut file| {
        file.write_all(bytes)?;
        file.persist(path).map_err(|failed| failed.error)
    });
    written.map(|_| ()).map_err(|error| SourceError::disk(path, error))
}

fn digest_of(path: &Path) -> io::Result<Digest> {
    let mut file = File::open(path)?;
    let mut hasher = Hasher::new();
    let mut chunk = vec![0; CHUNK_LEN];
    loop {
        match file.read(&mut chunk)? {
            0 => return Ok(hasher.finish()),
            read => hasher.update(&chunk[..read]),
        }
    }
}
