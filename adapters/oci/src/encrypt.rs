//! Encrypting an image: each layer by itself, and a manifest that refers to the encrypted ones.

use std::collections::HashMap;
use std::io::{self, Write as _};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use apocryph_model::Digest;
use apocryph_publisher::EncryptedImage;
use apocryph_seal::{DeploymentPublicKey, LayerEncryptor, encrypted_media_type};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use tempfile::NamedTempFile;
use tokio::io::AsyncReadExt as _;
use tokio::task::spawn_blocking;

use crate::encrypted::EncryptedFiles;
use crate::image::Image;
use crate::layer::Layer;
use crate::source::{BlobReader, SourceError};
use crate::verified::Damage;
use crate::wire::{CONFIG, Descriptor, Manifest};

/// How many layers are worked on at a time: enough to keep two cores and a connection busy.
const LAYERS_AT_A_TIME: usize = 4;
/// How much of a layer is read at a time.
const CHUNK_LEN: usize = 1 << 20;
/// How much of it is encrypted at a time: what fits a core's cache is quickest.
const BLOCK_LEN: usize = 64 << 10;

/// Encrypts `image` for `key` into files below `out`; `progress` is told the bytes done so far,
/// of [`Image::size`].
pub(crate) async fn encrypt_image(
    image: &Image,
    key: Arc<DeploymentPublicKey>,
    out: &Path,
    progress: &(dyn Fn(u64) + Send + Sync),
) -> Result<EncryptedImage, SourceError> {
    let files = EncryptedFiles::below(out, key.id()).await?;
    let done = AtomicU64::new(0);
    let advance = |bytes| progress(done.fetch_add(bytes, Ordering::Relaxed) + bytes);
    let work = LayerWork { image, key, files: &files, advance: &advance };
    let encrypted: HashMap<Digest, Descriptor> = stream::iter(image.distinct_layers())
        .map(|layer| work.encrypted(layer))
        .buffer_unordered(LAYERS_AT_A_TIME)
        .try_collect()
        .await?;
    let layers = image.layers.iter().filter_map(|layer| encrypted.get(&layer.digest).cloned()).collect();
    let config = files.put(image.config.clone()).await?;
    let manifest = Manifest::new(Descriptor::new(CONFIG, config.digest, config.size), layers);
    let manifest = serde_json::to_vec(&manifest)
        .map_err(|error| SourceError::Malformed(format!("its manifest cannot be written: {error}")))?;
    let manifest = files.put(manifest).await?;
    let mut blobs = vec![manifest.clone(), config];
    blobs.extend(encrypted.values().map(|layer| files.local(layer)));
    Ok(EncryptedImage { manifest: manifest.digest, blobs })
}

/// What the layers of one image share.
struct LayerWork<'a> {
    image: &'a Image,
    key: Arc<DeploymentPublicKey>,
    files: &'a EncryptedFiles,
    advance: &'a (dyn Fn(u64) + Send + Sync),
}

impl LayerWork<'_> {
    /// The layer, encrypted now or before, by its plain digest.
    async fn encrypted(&self, layer: Layer) -> Result<(Digest, Descriptor), SourceError> {
        let media_type = encrypted_media_type(layer.format.media_type());
        if let Some(known) = self.files.find(layer, &media_type).await? {
            tracing::debug!(digest = %layer.digest, "the layer is encrypted already");
            (self.advance)(layer.size);
            return Ok((layer.digest, known));
        }
        let reader = self.image.source.blob(layer.digest, layer.size).await?;
        let file = self.encrypt(reader, layer).await?;
        let key = self.key.clone();
        let (file, mut descriptor) = in_background(move || file.finish(layer, &key)).await?;
        descriptor.media_type = media_type;
        self.files.keep(layer, file, &descriptor).await?;
        Ok((layer.digest, descriptor))
    }

    async fn encrypt(&self, mut reader: BlobReader, layer: Layer) -> Result<LayerFile, SourceError> {
        let folder = self.files.folder().to_owned();
        let mut file = in_background(move || LayerFile::create(&folder)).await?;
        let mut found = 0;
        loop {
            file.chunk.clear();
            let read = (&mut reader).take(CHUNK_LEN as u64).read_to_end(&mut file.chunk).await? as u64;
            found += read;
            if found > layer.size {
                return Err(Damage::TooLong { expected: layer.size }.into());
            }
            if read == 0 {
                break;
            }
            file = in_background(move || file.encrypt_chunk()).await?;
            (self.advance)(read);
        }
        if found < layer.size {
            return Err(Damage::Truncated { expected: layer.size, found }.into());
        }
        Ok(file)
    }
}

/// A layer on its way from plain to encrypted; the file goes if this is dropped.
struct LayerFile {
    encryptor: LayerEncryptor,
    file: NamedTempFile,
    chunk: Vec<u8>,
}

impl LayerFile {
    fn create(folder: &Path) -> Result<Self, SourceError> {
        let file = NamedTempFile::new_in(folder).map_err(|error| SourceError::disk(folder, error))?;
        Ok(Self { encryptor: LayerEncryptor::new()?, file, chunk: Vec::with_capacity(CHUNK_LEN + 1) })
    }

    fn encrypt_chunk(mut self) -> Result<Self, SourceError> {
        for block in self.chunk.chunks(BLOCK_LEN) {
            let written = self.file.write_all(self.encryptor.update(block)?);
            written.map_err(|error| SourceError::disk(self.file.path(), error))?;
        }
        Ok(self)
    }

    /// Makes sure that it was the right layer.
    fn finish(
        self,
        layer: Layer,
        key: &DeploymentPublicKey,
    ) -> Result<(NamedTempFile, Descriptor), SourceError> {
        let encrypted = self.encryptor.finish()?;
        let found = encrypted.keys.plain_digest();
        if found != layer.digest {
            return Err(Damage::Digest { expected: layer.digest, found }.into());
        }
        let mut descriptor = Descriptor::new("", encrypted.digest, encrypted.size);
        descriptor.annotations = Some(encrypted.keys.to_annotations(&[key])?.into_iter().collect());
        Ok((self.file, descriptor))
    }
}

/// Runs what takes long or blocks beside the tasks.
pub(crate) async fn in_background<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, SourceError> + Send + 'static,
) -> Result<T, SourceError> {
    spawn_blocking(work).await.map_err(io::Error::from)?
}
