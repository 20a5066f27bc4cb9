//! Images as publishers ship them, encrypted, in a folder of blobs; and who may pull which.

use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use apocryph_model::{ChannelId, Digest};
use apocryph_oci::registry::{BlobFiles, Grants};
use apocryph_provider::Registry as _;
use apocryph_seal::{DeploymentKey, LayerEncryptor, encrypted_media_type, sha256};
use async_trait::async_trait;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::layout::Image;

/// See the module. Its files end with it.
pub struct Shipyard {
    /// What images are encrypted under.
    pub key: DeploymentKey,
    /// Who may pull what, as a provider's registry decides it.
    pub grants: Arc<Grants>,
    folder: TempDir,
}

/// A folder of blobs, each named by its digest.
struct BlobFolder(PathBuf);

#[async_trait]
impl BlobFiles for BlobFolder {
    async fn open(&self, digest: Digest) -> io::Result<Option<File>> {
        match File::open(self.0.join(digest.hex())) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            file => file.map(Some),
        }
    }
}

impl Shipyard {
    /// An empty one, with a key of its own.
    ///
    /// # Errors
    /// If there is no room for its folder, or no randomness for its key.
    pub fn new() -> io::Result<Self> {
        let key = DeploymentKey::generate().map_err(io::Error::other)?;
        Ok(Self { key, grants: Arc::new(Grants::new(&[7; 32])), folder: tempfile::tempdir()? })
    }

    /// What a registry hands out.
    #[must_use]
    pub fn files(&self) -> Arc<dyn BlobFiles> {
        Arc::new(BlobFolder(self.folder.path().into()))
    }

    /// The file of a blob, whether it is there or not.
    #[must_use]
    pub fn blob(&self, digest: Digest) -> PathBuf {
        self.folder.path().join(digest.hex())
    }

    /// Puts a blob; gives its digest.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn put(&self, bytes: &[u8]) -> io::Result<Digest> {
        let digest = sha256(bytes);
        std::fs::write(self.blob(digest), bytes)?;
        Ok(digest)
    }

    /// Puts a layer, encrypted; gives its descriptor.
    ///
    /// # Errors
    /// If it cannot be encrypted or written.
    pub fn put_layer(&self, media_type: &str, plain: &[u8]) -> io::Result<Value> {
        let mut encryptor = LayerEncryptor::new().map_err(io::Error::other)?;
        let ciphertext = encryptor.update(plain).map_err(io::Error::other)?.to_vec();
        let encrypted = encryptor.finish().map_err(io::Error::other)?;
        let public = self.key.public().map_err(io::Error::other)?;
        let annotations = encrypted.keys.to_annotations(&[&public]).map_err(io::Error::other)?;
        let (digest, media_type) = (self.put(&ciphertext)?, encrypted_media_type(media_type));
        Ok(json!({
            "mediaType": media_type, "digest": digest, "size": encrypted.size, "annotations": annotations,
        }))
    }

    /// Encrypts an image and puts all of it; gives the digest of its manifest.
    ///
    /// # Errors
    /// If it cannot be encrypted or written.
    pub fn ship(&self, image: &Image) -> io::Result<Digest> {
        let layout = tempfile::tempdir()?;
        let written = image.write_to(layout.path(), "latest")?;
        let blob = |digest: Digest| std::fs::read(layout.path().join("blobs/sha256").join(digest.hex()));
        let mut manifest: Value = serde_json::from_slice(&blob(written.manifest)?)?;
        let layers = manifest["layers"].as_array_mut().ok_or(io::ErrorKind::InvalidData)?;
        for (layer, digest) in layers.iter_mut().zip(written.layers) {
            let media_type = layer["mediaType"].as_str().unwrap_or_default().to_owned();
            *layer = self.put_layer(&media_type, &blob(digest)?)?;
        }
        self.put(&blob(written.config)?)?;
        self.put(&serde_json::to_vec(&manifest)?)
    }

    /// Lets a pod pull these images, and no others; gives its token.
    #[must_use]
    pub fn admit(&self, pod: ChannelId, images: &[Digest]) -> String {
        let mut digests = images.to_vec();
        for image in images {
            let manifest = std::fs::read(self.blob(*image)).unwrap_or_default();
            collect_digests(&serde_json::from_slice(&manifest).unwrap_or_default(), &mut digests);
        }
        self.grants.admit(pod, &digests)
    }
}

/// All that a manifest names, however wrong it is.
fn collect_digests(value: &Value, digests: &mut Vec<Digest>) {
    match value {
        Value::Array(values) => values.iter().for_each(|value| collect_digests(value, digests)),
        Value::Object(fields) => {
            digests.extend(fields.get("digest").and_then(|digest| digest.as_str()?.parse::<Digest>().ok()));
            fields.values().for_each(|value| collect_digests(value, digests));
        }
        _ => {}
    }
}
