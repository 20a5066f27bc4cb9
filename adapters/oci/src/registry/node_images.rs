//! Images as nodes run them.
//!
//! ```text
//! as shipped                            decrypted here                     decrypted on the nodes
//! manifest                              manifest, with the plain           manifest, with tickets in
//!                                       media types and digests            place of the wrapped keys
//!   config                              as it is, or with the user that the pod's spec names
//!   layer, encrypted                    layer, decrypted on the way        layer, as it is
//!                                       out of the store
//! ```
//!
//! Nodes name the image by the digest of the manifest on the right, and verify all that it names.

use std::collections::HashMap;
use std::future::Future;
use std::io;
use std::sync::{Arc, PoisonError, RwLock};

use apocryph_model::Digest;
use apocryph_seal::{DeploymentKey, LayerKeys, encrypted_media_type, plain_media_type, sha256};
use async_trait::async_trait;
use bytes::Bytes;
use tokio::net::TcpListener;
use tokio::sync::Mutex;

use super::answer::read_manifest;
use super::grants::{Grants, Token};
use super::image_documents::{Documents, has_command, parse, with_user};
use super::image_error::ImageError;
use super::sealed_layer::SealedLayer;
use super::shelf::{Content, Shelf};
use super::{BlobFiles, serve_shelf};
use super::{image_check, image_group};
use crate::wire::{CONFIG, Config, Descriptor, Manifest, Platform};

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

/// Where layers are decrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decryption {
    /// On their way out of the store.
    Here,
    /// On the nodes, whose container runtime asks this endpoint for each layer's key by the key
    /// provider protocol of ocicrypt. On the way, and in the runtime's store, they are encrypted.
    OnNodes,
}

/// The images that nodes may pull. What is opened is kept in memory only.
pub struct NodeImages {
    files: Arc<dyn BlobFiles>,
    grants: Arc<Grants>,
    decryption: Decryption,
    /// By the pod's token, hashed.
    opened: RwLock<HashMap<Digest, Vec<Opened>>>,
    /// Held while an image is looked at whole, which takes a core.
    checking: Arc<Mutex<()>>,
}

struct Opened {
    manifest: Digest,
    blobs: HashMap<Digest, Held>,
}

#[derive(Clone)]
enum Held {
    Bytes(Bytes),
    Layer(Layer),
}

/// A layer, and what opens it.
#[derive(Clone)]
struct Layer {
    encrypted: Digest,
    keys: LayerKeys,
    /// Before encryption.
    media_type: String,
    size: u64,
}

impl NodeImages {
    /// Of the blobs in `files`, as far as `grants` let.
    #[must_use]
    pub fn new(files: Arc<dyn BlobFiles>, grants: Arc<Grants>, decryption: Decryption) -> Self {
        Self { files, grants, decryption, opened: RwLock::default(), checking: Arc::default() }
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
        let manifest = self.document(&token, image).await?;
        let documents = Documents::parse(manifest, |digest| self.document(&token, digest)).await?;
        let layers = documents.manifest.layers.iter().map(|layer| Layer::open(layer, &key));
        let layers = layers.collect::<Result<Vec<_>, _>>()?;
        let group = match user.and_then(|user| user.split_once(':')) {
            Some((_, group)) => Some(self.group_id(image, &layers, group).await?),
            None => None,
        };
        let Platform { os, architecture } = documents.platform.clone();
        let has_command = has_command(&documents.config);
        let config = user.map_or(documents.config_bytes, |user| with_user(documents.config, user));
        let manifest = self.insert(&token, config, layers)?;
        Ok(NodeImage { manifest, os, architecture, has_command, group })
    }

    /// Reads an open image whole, which is given as nodes name it: whether its layers are what it says. An
    /// image that is too large for that passes.
    ///
    /// # Errors
    /// [`ImageError`]: what is wrong with it, or why that cannot be told.
    pub async fn check(&self, token: &str, manifest: Digest) -> Result<(), ImageError> {
        let layers = self.named_layers(&Token::new(token), manifest).await?;
        let turn = self.checking.clone().lock_owned().await;
        let checked = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            image_check::check(layers)
        });
        checked.await.map_err(|problem| ImageError::Store { digest: manifest, problem: problem.into() })?
    }

    /// The layers of an open image with the digests of their archives, by its configuration.
    async fn named_layers(
        &self,
        token: &Token,
        manifest: Digest,
    ) -> Result<Vec<image_check::Named>, ImageError> {
        let Manifest { config, layers, .. } = self.held_document(token, manifest, "manifest")?;
        let config: Config = self.held_document(token, config.digest, "configuration")?;
        let mut named = Vec::new();
        for (layer, diff_id) in layers.iter().zip(config.rootfs.diff_ids) {
            match self.held(&token.hash(), &layer.digest) {
                Some(Held::Layer(layer)) => named.push((self.sealed(&layer).await?, diff_id)),
                _ => return Err(ImageError::Missing(layer.digest)),
            }
        }
        Ok(named)
    }

    fn held_document<T: serde::de::DeserializeOwned>(
        &self,
        token: &Token,
        digest: Digest,
        what: &'static str,
    ) -> Result<T, ImageError> {
        match self.held(&token.hash(), &digest) {
            Some(Held::Bytes(bytes)) => parse(what, &bytes),
            _ => Err(ImageError::Missing(digest)),
        }
    }

    async fn sealed(&self, layer: &Layer) -> Result<SealedLayer, ImageError> {
        let Layer { encrypted: digest, keys, media_type, .. } = layer.clone();
        let file = self.files.open(digest).await;
        let file = file.map_err(|problem| ImageError::Store { digest, problem })?;
        Ok(SealedLayer { file: file.ok_or(ImageError::Missing(digest))?, digest, keys, media_type })
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

    async fn group_id(&self, image: Digest, layers: &[Layer], group: &str) -> Result<u32, ImageError> {
        let mut sealed = Vec::new();
        for layer in layers {
            sealed.push(self.sealed(layer).await?);
        }
        image_group::number(image, sealed, group).await
    }

    /// Puts an image among those that are open; gives the digest of the manifest that was made for
    /// it.
    fn insert(&self, token: &Token, config: Bytes, layers: Vec<Layer>) -> Result<Digest, ImageError> {
        let mut blobs = HashMap::new();
        let mut descriptors = Vec::new();
        for layer in layers {
            let descriptor = self.descriptor(token, &layer)?;
            blobs.insert(descriptor.digest, Held::Layer(layer));
            descriptors.push(descriptor);
        }
        let length = config.len() as u64;
        let config = Descriptor::new(CONFIG, hold(&mut blobs, config), length);
        let manifest = serde_json::to_vec(&Manifest::new(config, descriptors))
            .map_err(|error| ImageError::Malformed { what: "manifest", problem: error.to_string() })?;
        let manifest = hold(&mut blobs, manifest.into());
        let mut opened = self.opened.write().unwrap_or_else(PoisonError::into_inner);
        let images = opened.entry(token.hash()).or_default();
        images.retain(|other| other.manifest != manifest);
        images.push(Opened { manifest, blobs });
        Ok(manifest)
    }

    /// As nodes are told of a layer.
    fn descriptor(&self, token: &Token, layer: &Layer) -> Result<Descriptor, ImageError> {
        let Layer { encrypted, keys, media_type, size } = layer;
        match self.decryption {
            Decryption::Here => Ok(Descriptor::new(media_type, keys.plain_digest(), *size)),
            Decryption::OnNodes => {
                let ticket = self.grants.ticket(token, encrypted);
                let annotations = keys.to_ticket_annotations(&ticket).map_err(ImageError::Crypto)?;
                let descriptor = Descriptor::new(&encrypted_media_type(media_type), *encrypted, *size);
                Ok(Descriptor { annotations: Some(annotations.into_iter().collect()), ..descriptor })
            }
        }
    }

    fn held(&self, token: &Digest, digest: &Digest) -> Option<Held> {
        let opened = self.opened.read().unwrap_or_else(PoisonError::into_inner);
        opened.get(token)?.iter().find_map(|image| image.blobs.get(digest)).cloned()
    }
}

impl Layer {
    /// Of its descriptor as it was shipped.
    fn open(shipped: &Descriptor, key: &DeploymentKey) -> Result<Self, ImageError> {
        let encrypted = shipped.digest;
        let media_type = plain_media_type(&shipped.media_type).ok_or(ImageError::NotEncrypted(encrypted))?;
        let annotations = shipped.annotations.clone().unwrap_or_default().into_iter().collect();
        let keys = LayerKeys::from_annotations(&annotations, key)
            .map_err(|problem| ImageError::Key { digest: encrypted, problem })?;
        Ok(Self { encrypted, keys, media_type: media_type.to_owned(), size: shipped.size })
    }
}

#[async_trait]
impl Shelf for NodeImages {
    fn knows(&self, token: &Token) -> bool {
        self.grants.knows(token)
    }

    async fn open(&self, token: &Token, digest: Digest) -> io::Result<Option<Content>> {
        match self.held(&token.hash(), &digest) {
            Some(Held::Bytes(bytes)) => Ok(Some(Content::Bytes(bytes))),
            Some(Held::Layer(Layer { encrypted, keys, .. })) if self.grants.opens(token, &encrypted) => {
                let file = self.files.open(encrypted).await?;
                Ok(file.map(|file| match self.decryption {
                    Decryption::Here => Content::Layer { file, keys },
                    Decryption::OnNodes => Content::File(file),
                }))
            }
            _ => Ok(None),
        }
    }

    fn layer_keys(&self, ticket: &[u8]) -> Option<LayerKeys> {
        let (token, layer) = self.grants.admit_ticket(ticket)?;
        match self.held(&token, &layer)? {
            Held::Layer(layer) => Some(layer.keys),
            Held::Bytes(_) => None,
        }
    }
}

/// Serves `images` to the nodes on `listener`, until `shutdown` is ready and the answers under way
/// are out.
pub async fn serve_nodes(listener: TcpListener, images: Arc<NodeImages>, shutdown: impl Future<Output = ()>) {
    serve_shelf(listener, images, shutdown).await;
}

fn hold(blobs: &mut HashMap<Digest, Held>, bytes: Bytes) -> Digest {
    let digest = sha256(&bytes);
    blobs.insert(digest, Held::Bytes(bytes));
    digest
}

#[cfg(test)]
mod tests {
    use super::*;
    use apocryph_model::ChannelId;
    use apocryph_provider::Registry as _;
    use apocryph_seal::{
        KEYS_ANNOTATION, LayerDecryptor, LayerEncryptor, TICKET_ANNOTATION, encrypted_media_type,
    };
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use serde_json::{Value, json};
    use std::fs::File;
    use std::io::{Read as _, Seek as _, Write as _};
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
        shipped_as(LAYER)
    }

    /// The same, whose configuration names a layer of these contents.
    fn shipped_as(contents: &[u8]) -> (Digest, Files, Vec<u8>) {
        let key = DeploymentKey::generate().unwrap();
        let mut encryptor = LayerEncryptor::new().unwrap();
        let cipher = encryptor.update(LAYER).unwrap().to_vec();
        let layer = encryptor.finish().unwrap();
        let config = json!({
            "os": "linux", "architecture": "amd64", "config": { "Cmd": ["/bin/true"] },
            "rootfs": { "type": "layers", "diff_ids": [sha256(contents)] },
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
            Content::File(mut file) => {
                let mut stored = Vec::new();
                file.read_to_end(&mut stored).unwrap();
                Some(stored)
            }
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
        let images = NodeImages::new(Arc::new(files), grants.clone(), Decryption::Here);
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
    async fn nodes_that_decrypt_get_ciphertext_and_keys_for_tickets() {
        let (image, files, key) = shipped();
        let grants = Arc::new(Grants::new(&[7; 32]));
        let digests: Vec<Digest> = files.0.keys().copied().collect();
        let token = grants.admit(ChannelId([1; 32]), &digests);
        let images = NodeImages::new(Arc::new(files), grants.clone(), Decryption::OnNodes);
        let opened = images.open(&token, &key, image, None).await.unwrap();
        let again = images.open(&token, &key, image, None).await.unwrap();
        assert_eq!(opened, again, "nodes know it by the same name");
        let manifest = read(&images, &token, opened.manifest).await.unwrap();
        let manifest: Manifest = serde_json::from_slice(&manifest).unwrap();
        let layer = &manifest.layers[0];
        let stored = read(&images, &token, layer.digest).await.unwrap();
        assert_eq!((sha256(&stored), stored.len() as u64), (layer.digest, layer.size));
        assert_eq!(read(&images, &token, sha256(LAYER)).await, None, "not in the clear");

        let annotations = layer.annotations.as_ref().unwrap();
        assert!(!annotations.contains_key(KEYS_ANNOTATION), "nodes ask here and nowhere else");
        let ticket = STANDARD.decode(&annotations[TICKET_ANNOTATION]).unwrap();
        let mut decryptor = LayerDecryptor::new(images.layer_keys(&ticket).unwrap()).unwrap();
        assert_eq!(decryptor.update(&stored).unwrap(), LAYER);
        decryptor.finish().unwrap();
        images.retain(&token, &[]);
        assert!(images.layer_keys(&ticket).is_none());
    }

    #[tokio::test]
    async fn an_image_that_names_others_contents_is_found_out_wherever_it_is_decrypted() {
        for decryption in [Decryption::Here, Decryption::OnNodes] {
            for (contents, right) in [(LAYER, true), (b"other contents".as_slice(), false)] {
                let (image, files, key) = shipped_as(contents);
                let grants = Arc::new(Grants::new(&[7; 32]));
                let digests: Vec<Digest> = files.0.keys().copied().collect();
                let token = grants.admit(ChannelId([1; 32]), &digests);
                let images = NodeImages::new(Arc::new(files), grants, decryption);
                let opened = images.open(&token, &key, image, Some("guest")).await.unwrap();
                match images.check(&token, opened.manifest).await {
                    Ok(()) => assert!(right),
                    Err(ImageError::Refused { .. }) => assert!(!right),
                    Err(other) => panic!("{other:?}"),
                }
                let closed = images.check("another token", opened.manifest).await;
                assert!(matches!(closed, Err(ImageError::Missing(_))), "{closed:?}");
            }
        }
    }

    #[tokio::test]
    async fn the_pods_user_is_put_into_its_image() {
        let (image, files, key) = shipped();
        let grants = Arc::new(Grants::new(&[7; 32]));
        let digests: Vec<Digest> = files.0.keys().copied().collect();
        let token = grants.admit(ChannelId([1; 32]), &digests);
        let images = NodeImages::new(Arc::new(files), grants, Decryption::Here);
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
