//! Images as nodes run them: decrypted on the way out of the store.
//!
//! ```text
//! as shipped                            as nodes pull it
//! manifest                              manifest, with the plain media types and digests
//!   config              as it is, or      config, with the user that the pod's spec names
//!   layer, encrypted    decrypted         layer, of the same size
//! ```
//!
//! Nodes name the image by the digest of the manifest on the right, and verify all that it names.

use std::collections::HashMap;
use std::future::Future;
use std::io;
use std::sync::{Arc, PoisonError, RwLock};

use apocryph_model::{Digest, Fault, Who};
use apocryph_provider::EngineError;
use apocryph_seal::{AnnotationError, DeploymentKey, KeyError, LayerKeys, plain_media_type, sha256};
use async_trait::async_trait;
use bytes::Bytes;
use serde_json::Value;
use tokio::net::TcpListener;

use super::answer::read_manifest;
use super::grants::{Grants, Token};
use super::image_file::{SealedLayer, read_file};
use super::shelf::{Content, Shelf};
use super::{BlobFiles, serve_shelf};
use crate::limits::MAX_LAYERS;
use crate::wire::{CONFIG, Config, Descriptor, Manifest, Platform};

/// Why an image cannot be given to nodes. All but the last are for the publisher to mend.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// A blob is not there, or not the pod's.
    #[error("{0} is not among the pod's blobs: deploy again")]
    Missing(Digest),
    /// A document is none.
    #[error("the image's {what} cannot be read: {problem}")]
    Malformed {
        /// Which.
        what: &'static str,
        /// What is wrong.
        problem: String,
    },
    /// The deployment's key is none.
    #[error("the deployment's key is not one: {0}")]
    NoKey(KeyError),
    /// The deployment's key is not the layer's.
    #[error("layer {digest} does not open with the deployment's key: {problem}")]
    Key {
        /// Which.
        digest: Digest,
        /// What is wrong.
        problem: AnnotationError,
    },
    /// A layer was shipped in the clear.
    #[error("layer {0} is not encrypted: images are shipped encrypted")]
    NotEncrypted(Digest),
    /// The image knows no such group.
    #[error("its image has no group {0:?}: use a number, or a name of its /etc/group")]
    Group(String),
    /// The provider's store failed.
    #[error("cannot read {digest} from the store: {problem}")]
    Store {
        /// Which.
        digest: Digest,
        /// What the system says.
        problem: io::Error,
    },
}

impl From<ImageError> for EngineError {
    fn from(error: ImageError) -> Self {
        let code = match &error {
            ImageError::Missing(_) => "image-missing",
            ImageError::Malformed { .. } => "image-malformed",
            ImageError::NoKey(_) | ImageError::Key { .. } => "image-key",
            ImageError::NotEncrypted(_) => "image-not-encrypted",
            ImageError::Group(_) => "user-unknown",
            ImageError::Store { .. } => {
                tracing::error!(%error, "an image cannot be opened");
                let text = "the provider's own store cannot be read: try again later";
                return Self::Host(Fault::passing(Who::Provider, "registry-failed", text));
            }
        };
        Self::Pod(Fault::lasting(Who::Publisher, code, error.to_string()))
    }
}

/// An image as nodes run it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeImage {
    /// What nodes name it by.
    pub manifest: Digest,
    /// What it runs on, as Go names it: `linux`, `amd64`.
    pub os: String,
    /// See `os`.
    pub architecture: String,
    /// Whether it says itself what to run.
    pub has_command: bool,
    /// The number of the group in `user:group`, which nodes take by number only.
    pub group: Option<u32>,
}

/// The images that nodes may pull. What is opened is kept in memory only.
pub struct NodeImages {
    files: Arc<dyn BlobFiles>,
    grants: Arc<Grants>,
    /// By the pod's token, hashed.
    opened: RwLock<HashMap<Digest, Vec<Opened>>>,
}

struct Opened {
    manifest: Digest,
    blobs: HashMap<Digest, Held>,
}

#[derive(Clone)]
enum Held {
    Bytes(Bytes),
    Layer { encrypted: Digest, keys: LayerKeys },
}

impl NodeImages {
    /// Of the blobs in `files`, as far as `grants` let.
    #[must_use]
    pub fn new(files: Arc<dyn BlobFiles>, grants: Arc<Grants>) -> Self {
        Self { files, grants, opened: RwLock::default() }
    }

    /// Opens an image, by the digest that it was shipped under, to whoever shows `token`, beside
    /// those that are open. `key` is the deployment's (PKCS #8, DER); `user` replaces the image's.
    ///
    /// # Errors
    /// [`ImageError`]; nothing is opened then.
    pub async fn open(
        &self,
        token: &str,
        key: &[u8],
        image: Digest,
        user: Option<&str>,
    ) -> Result<NodeImage, ImageError> {
        let token = Token::new(token);
        let key = DeploymentKey::from_pkcs8(key).map_err(ImageError::NoKey)?;
        let manifest: Manifest = parse("manifest", &self.document(&token, image).await?)?;
        let config_bytes = self.document(&token, manifest.config.digest).await?;
        let config: Config = parse("configuration", &config_bytes)?;
        check_layers(&manifest, &config)?;
        let document: Value = parse("configuration", &config_bytes)?;
        let has_command = has_command(&document);
        let config_bytes = user.map_or(config_bytes, |user| with_user(document, user));

        let mut blobs = HashMap::new();
        let mut layers = Vec::new();
        for layer in &manifest.layers {
            let (descriptor, held) = opened_layer(layer, &key)?;
            blobs.insert(descriptor.digest, held);
            layers.push(descriptor);
        }
        let group = match user.and_then(|user| user.split_once(':')) {
            Some((_, group)) => Some(self.group_id(image, &layers, &blobs, group).await?),
            None => None,
        };
        let config_digest = hold(&mut blobs, config_bytes.clone());
        let plain = Manifest::new(Descriptor::new(CONFIG, config_digest, config_bytes.len() as u64), layers);
        let plain = serde_json::to_vec(&plain)
            .map_err(|error| ImageError::Malformed { what: "manifest", problem: error.to_string() })?;
        let manifest = hold(&mut blobs, plain.into());
        self.insert(&token, Opened { manifest, blobs });
        let Platform { os, architecture } = config.platform;
        Ok(NodeImage { manifest, os, architecture, has_command, group })
    }

    /// Closes all of a token's images but these, which are given as nodes name them.
    pub fn retain(&self, token: &str, manifests: &[Digest]) {
        let mut opened = self.opened.write().unwrap_or_else(PoisonError::into_inner);
        let hash = Token::new(token).hash();
        if let Some(images) = opened.get_mut(&hash) {
            images.retain(|image| manifests.contains(&image.manifest));
            if images.is_empty() {
                opened.remove(&hash);
            }
        }
    }

    async fn document(&self, token: &Token, digest: Digest) -> Result<Bytes, ImageError> {
        if !self.grants.opens(token, &digest) {
            return Err(ImageError::Missing(digest));
        }
        let store = |problem| ImageError::Store { digest, problem };
        let file = self.files.open(digest).await.map_err(store)?.ok_or(ImageError::Missing(digest))?;
        read_manifest(file, digest).await.map_err(store)
    }

    /// The number of a group, by itself or by the image's `/etc/group`.
    async fn group_id(
        &self,
        image: Digest,
        layers: &[Descriptor],
        blobs: &HashMap<Digest, Held>,
        group: &str,
    ) -> Result<u32, ImageError> {
        if let Some(id) = id(group) {
            return Ok(id);
        }
        let store = |problem| ImageError::Store { digest: image, problem };
        let mut sealed = Vec::new();
        for layer in layers {
            let Some(Held::Layer { encrypted, keys }) = blobs.get(&layer.digest) else { continue };
            let file = self.files.open(*encrypted).await.map_err(store)?;
            let file = file.ok_or(ImageError::Missing(*encrypted))?;
            sealed.push(SealedLayer { file, keys: keys.clone(), media_type: layer.media_type.clone() });
        }
        let read = tokio::task::spawn_blocking(move || read_file(sealed, "etc/group")).await;
        let file = read.map_err(|problem| store(problem.into()))?;
        let malformed = |problem: io::Error| {
            let problem = problem.to_string();
            ImageError::Malformed { what: "layers", problem }
        };
        let file = file.map_err(malformed)?.unwrap_or_default();
        let found = String::from_utf8_lossy(&file).lines().find_map(|line| id_of_line(line, group));
        found.ok_or_else(|| ImageError::Group(group.to_owned()))
    }

    fn insert(&self, token: &Token, image: Opened) {
        let mut opened = self.opened.write().unwrap_or_else(PoisonError::into_inner);
        let images = opened.entry(token.hash()).or_default();
        images.retain(|other| other.manifest != image.manifest);
        images.push(image);
    }

    fn held(&self, token: &Token, digest: &Digest) -> Option<Held> {
        let opened = self.opened.read().unwrap_or_else(PoisonError::into_inner);
        opened.get(&token.hash())?.iter().find_map(|image| image.blobs.get(digest)).cloned()
    }
}

#[async_trait]
impl Shelf for NodeImages {
    fn knows(&self, token: &Token) -> bool {
        self.grants.knows(token)
    }

    async fn open(&self, token: &Token, digest: Digest) -> io::Result<Option<Content>> {
        match self.held(token, &digest) {
            Some(Held::Bytes(bytes)) => Ok(Some(Content::Bytes(bytes))),
            Some(Held::Layer { encrypted, keys }) if self.grants.opens(token, &encrypted) => {
                let file = self.files.open(encrypted).await?;
                Ok(file.map(|file| Content::Layer { file, keys }))
            }
            _ => Ok(None),
        }
    }
}

/// Serves `images` to the nodes on `listener`, until `shutdown` is ready and the answers under way
/// are out.
pub async fn serve_nodes(listener: TcpListener, images: Arc<NodeImages>, shutdown: impl Future<Output = ()>) {
    serve_shelf(listener, images, shutdown).await;
}

fn parse<T: serde::de::DeserializeOwned>(what: &'static str, bytes: &[u8]) -> Result<T, ImageError> {
    serde_json::from_slice(bytes).map_err(|error| ImageError::Malformed { what, problem: error.to_string() })
}

fn check_layers(manifest: &Manifest, config: &Config) -> Result<(), ImageError> {
    let (layers, diff_ids) = (manifest.layers.len(), config.rootfs.diff_ids.len());
    if layers == diff_ids && (1..=MAX_LAYERS).contains(&layers) {
        return Ok(());
    }
    let problem =
        format!("it has {layers} layers and {diff_ids} diff ids: allowed are 1 to {MAX_LAYERS} of both");
    Err(ImageError::Malformed { what: "manifest", problem })
}

/// A layer's descriptor in the clear, and where its bytes come from.
fn opened_layer(layer: &Descriptor, key: &DeploymentKey) -> Result<(Descriptor, Held), ImageError> {
    let encrypted = layer.digest;
    let media_type = plain_media_type(&layer.media_type).ok_or(ImageError::NotEncrypted(encrypted))?;
    let annotations = layer.annotations.clone().unwrap_or_default().into_iter().collect();
    let keys = LayerKeys::from_annotations(&annotations, key)
        .map_err(|problem| ImageError::Key { digest: encrypted, problem })?;
    let descriptor = Descriptor::new(media_type, keys.plain_digest(), layer.size);
    Ok((descriptor, Held::Layer { encrypted, keys }))
}

/// A line of group(5).
fn id_of_line(line: &str, group: &str) -> Option<u32> {
    let mut fields = line.split(':');
    (fields.next()? == group).then(|| fields.nth(1).and_then(id)).flatten()
}

/// The highest id means "none" to the kernel.
fn id(text: &str) -> Option<u32> {
    text.parse().ok().filter(|id| *id != u32::MAX)
}

fn hold(blobs: &mut HashMap<Digest, Held>, bytes: Bytes) -> Digest {
    let digest = sha256(&bytes);
    blobs.insert(digest, Held::Bytes(bytes));
    digest
}

fn has_command(config: &Value) -> bool {
    let given = |field: &str| config["config"][field].as_array().is_some_and(|list| !list.is_empty());
    given("Entrypoint") || given("Cmd")
}

fn with_user(mut config: Value, user: &str) -> Bytes {
    if !config["config"].is_object() {
        config["config"] = Value::Object(serde_json::Map::new());
    }
    config["config"]["User"] = user.into();
    config.to_string().into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use apocryph_model::ChannelId;
    use apocryph_provider::Registry as _;
    use apocryph_seal::{LayerEncryptor, encrypted_media_type};
    use serde_json::json;
    use std::fs::File;
    use std::io::{Seek as _, Write as _};
    use tokio::io::AsyncReadExt as _;

    const LAYER: &[u8] = b"a layer";

    struct Files(HashMap<Digest, Vec<u8>>);

    #[async_trait]
    impl BlobFiles for Files {
        async fn open(&self, digest: Digest) -> io::Result<Option<File>> {
            let Some(bytes) = self.0.get(&digest) else { return Ok(None) };
            let mut file = tempfile::tempfile()?;
            file.write_all(bytes)?;
            file.rewind()?;
            Ok(Some(file))
        }
    }

    /// An image, its blobs, and the key to it.
    fn shipped() -> (Digest, Files, Vec<u8>) {
        let key = DeploymentKey::generate().unwrap();
        let mut encryptor = LayerEncryptor::new().unwrap();
        let cipher = encryptor.update(LAYER).unwrap().to_vec();
        let layer = encryptor.finish().unwrap();
        let config = json!({
            "os": "linux", "architecture": "amd64", "config": { "Cmd": ["/bin/true"] },
            "rootfs": { "type": "layers", "diff_ids": [sha256(LAYER)] },
        });
        let config = config.to_string().into_bytes();
        let manifest = json!({
            "schemaVersion": 2,
            "config": { "mediaType": CONFIG, "digest": sha256(&config), "size": config.len() },
            "layers": [{
                "mediaType": encrypted_media_type("application/vnd.oci.image.layer.v1.tar"),
                "digest": layer.digest, "size": layer.size,
                "annotations": layer.keys.to_annotations(&[&key.public().unwrap()]).unwrap(),
            }],
        });
        let manifest = manifest.to_string().into_bytes();
        let image = sha256(&manifest);
        let blobs = [cipher, config, manifest].map(|bytes| (sha256(&bytes), bytes));
        (image, Files(blobs.into()), key.to_pkcs8().unwrap().to_vec())
    }

    async fn read(images: &NodeImages, token: &str, digest: Digest) -> Option<Vec<u8>> {
        match images.shelf_open(token, digest).await? {
            Content::Bytes(bytes) => Some(bytes.to_vec()),
            Content::File(_) => panic!("nothing goes out as it is stored"),
            Content::Layer { file, keys } => {
                let size = file.metadata().unwrap().len();
                let file = tokio::fs::File::from_std(file);
                let mut plain = Vec::new();
                let mut reader = crate::registry::decrypted::Decrypted::new(file, keys, size).unwrap();
                reader.read_to_end(&mut plain).await.unwrap();
                Some(plain)
            }
        }
    }

    impl NodeImages {
        async fn shelf_open(&self, token: &str, digest: Digest) -> Option<Content> {
            Shelf::open(self, &Token::new(token), digest).await.unwrap()
        }
    }

    #[tokio::test]
    async fn an_image_is_opened_to_its_own_pod_alone() {
        let (image, files, key) = shipped();
        let grants = Arc::new(Grants::new(&[7; 32]));
        let digests: Vec<Digest> = files.0.keys().copied().collect();
        let mine = grants.admit(ChannelId([1; 32]), &digests);
        let theirs = grants.admit(ChannelId([2; 32]), &[]);
        let images = NodeImages::new(Arc::new(files), grants.clone());
        let opened = images.open(&mine, &key, image, None).await.unwrap();
        assert!(opened.has_command && opened.architecture == "amd64");
        let manifest = read(&images, &mine, opened.manifest).await.unwrap();
        let manifest: Manifest = serde_json::from_slice(&manifest).unwrap();
        assert_eq!(manifest.layers[0].digest, sha256(LAYER));
        assert_eq!(read(&images, &mine, manifest.layers[0].digest).await.as_deref(), Some(LAYER));

        for digest in [opened.manifest, manifest.layers[0].digest, manifest.config.digest] {
            assert_eq!(read(&images, &theirs, digest).await, None);
        }
        let stolen = images.open(&theirs, &key, image, None).await;
        assert!(matches!(stolen, Err(ImageError::Missing(missing)) if missing == image));
        images.retain(&mine, &[]);
        assert_eq!(read(&images, &mine, opened.manifest).await, None);
    }

    #[tokio::test]
    async fn the_pods_user_is_put_into_its_image() {
        let (image, files, key) = shipped();
        let grants = Arc::new(Grants::new(&[7; 32]));
        let digests: Vec<Digest> = files.0.keys().copied().collect();
        let token = grants.admit(ChannelId([1; 32]), &digests);
        let images = NodeImages::new(Arc::new(files), grants);
        let plain = images.open(&token, &key, image, None).await.unwrap();
        let guest = images.open(&token, &key, image, Some("guest:7")).await.unwrap();
        assert_eq!((plain.group, guest.group), (None, Some(7)));
        assert_ne!(plain.manifest, guest.manifest);
        let manifest = read(&images, &token, guest.manifest).await.unwrap();
        let manifest: Manifest = serde_json::from_slice(&manifest).unwrap();
        let config = read(&images, &token, manifest.config.digest).await.unwrap();
        let config: Value = serde_json::from_slice(&config).unwrap();
        assert_eq!(
            (&config["config"]["User"], &config["config"]["Cmd"][0]),
            (&"guest:7".into(), &"/bin/true".into())
        );
    }
}
