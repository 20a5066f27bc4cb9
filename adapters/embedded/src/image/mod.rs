//! Images: pulled from the provider's registry, decrypted, verified, unpacked.

mod error;
mod layer;
mod registry;
mod store;
mod tar_stream;
mod unpack;
mod wire;

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::Arc;

use apocryph_model::{Address, Bytes, Digest};
use apocryph_seal::{DeploymentKey, LayerKeys};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use serde::de::DeserializeOwned;

use crate::host_error::HostError;
pub(crate) use error::ImageError;
use layer::{Layer, read_in_background, unpack_layer};
use registry::Kind;
pub(crate) use registry::{RegistryClient, Scope};
pub(crate) use store::LayerStore;
use unpack::Room;
pub(crate) use wire::Defaults;
use wire::{Configuration, MAX_LAYERS, Manifest};

/// Layers that are unpacked at a time.
const LAYERS_AT_A_TIME: usize = 2;

/// What a manifest names, with the keys of its layers: enough to know what to unpack.
pub(crate) struct Plan {
    layers: Vec<Layer>,
    defaults: Defaults,
}

/// An image whose layers are on the disk.
#[derive(Debug, Clone)]
pub(crate) struct Image {
    /// From the bottom up.
    pub(crate) layers: Vec<PathBuf>,
    pub(crate) defaults: Defaults,
}

/// Where images come from and go to.
pub(crate) struct Images {
    pub(crate) registry: RegistryClient,
    pub(crate) store: Arc<LayerStore>,
    pub(crate) limit: Bytes,
}

impl Images {
    /// Reads the manifests and configurations and opens the layers' keys.
    pub(crate) async fn plan(
        &self,
        scope: Scope<'_>,
        images: impl Iterator<Item = Digest>,
        key: &[u8],
    ) -> Result<HashMap<Digest, Plan>, ImageError> {
        let key = DeploymentKey::from_pkcs8(key).map_err(|error| ImageError::NoKey(error.to_string()))?;
        let mut plans = HashMap::new();
        for image in images.collect::<HashSet<_>>() {
            plans.insert(image, self.plan_one(scope, image, &key).await?);
        }
        Ok(plans)
    }

    async fn plan_one(
        &self,
        scope: Scope<'_>,
        image: Digest,
        key: &DeploymentKey,
    ) -> Result<Plan, ImageError> {
        let manifest = self.registry.document(scope, Kind::Manifest, image).await?;
        let manifest: Manifest = parse("manifest", &manifest)?;
        let configuration = self.registry.document(scope, Kind::Blob, manifest.config.digest).await?;
        let configuration: Configuration = parse("configuration", &configuration)?;
        check_platform(&configuration)?;
        let diff_ids = configuration.rootfs.diff_ids;
        if manifest.layers.len() != diff_ids.len() || !(1..=MAX_LAYERS).contains(&diff_ids.len()) {
            let problem = format!(
                "it has {} layers and {} diff ids: allowed are 1 to {MAX_LAYERS} of both",
                manifest.layers.len(),
                diff_ids.len()
            );
            return Err(ImageError::Malformed { what: "manifest", problem });
        }
        let layers = manifest.layers.into_iter().zip(diff_ids);
        let layers = layers.map(|(descriptor, diff_id)| open_keys(descriptor, diff_id, key));
        let layers = layers.collect::<Result<_, _>>()?;
        Ok(Plan { layers, defaults: configuration.config.unwrap_or_default() })
    }

    /// Where the layers of these images are, or will be.
    pub(crate) fn layer_paths(&self, publisher: Address, plans: &HashMap<Digest, Plan>) -> Vec<PathBuf> {
        let layers = plans.values().flat_map(|plan| &plan.layers);
        layers.map(|layer| self.store.path(publisher, layer.keys.plain_digest())).collect()
    }

    /// Unpacks what is not there yet.
    pub(crate) async fn unpack(
        &self,
        scope: Scope<'_>,
        publisher: Address,
        plans: HashMap<Digest, Plan>,
    ) -> Result<HashMap<Digest, Image>, ImageError> {
        let room = Arc::new(Room::new(self.limit));
        let mut images = HashMap::new();
        for (digest, plan) in plans {
            let layers = stream::iter(plan.layers)
                .map(|layer| self.unpack_one(scope, publisher, layer, room.clone()))
                .buffered(LAYERS_AT_A_TIME)
                .try_collect()
                .await?;
            images.insert(digest, Image { layers, defaults: plan.defaults });
        }
        Ok(images)
    }

    async fn unpack_one(
        &self,
        scope: Scope<'_>,
        publisher: Address,
        layer: Layer,
        room: Arc<Room>,
    ) -> Result<PathBuf, ImageError> {
        let name = layer.keys.plain_digest();
        let path = self.store.path(publisher, name);
        if path.is_dir() {
            return Ok(path);
        }
        tracing::debug!(layer = %layer.descriptor.digest, size = layer.descriptor.size, "unpacking");
        let body = self.registry.stream(scope, Kind::Blob, layer.descriptor.digest).await?;
        let body = read_in_background(body);
        let store = self.store.clone();
        let unpacked = tokio::task::spawn_blocking(move || {
            let partial = store.begin(publisher)?;
            unpack_layer(&layer, body, partial.path(), &room)?;
            Ok(store.keep(partial, publisher, name)?)
        });
        unpacked.await.map_err(|error| HostError::new("unpack a layer", error))?
    }
}

fn open_keys(
    descriptor: wire::Descriptor,
    diff_id: Digest,
    key: &DeploymentKey,
) -> Result<Layer, ImageError> {
    let digest = descriptor.digest;
    if apocryph_seal::plain_media_type(&descriptor.media_type).is_none() {
        return Err(ImageError::NotEncrypted { digest });
    }
    let keys = LayerKeys::from_annotations(&descriptor.annotations, key);
    let keys = keys.map_err(|error| ImageError::Key { digest, problem: error.to_string() })?;
    Ok(Layer { descriptor, diff_id, keys })
}

fn parse<T: DeserializeOwned>(what: &'static str, json: &[u8]) -> Result<T, ImageError> {
    serde_json::from_slice(json).map_err(|error| ImageError::Malformed { what, problem: error.to_string() })
}

fn check_platform(configuration: &Configuration) -> Result<(), ImageError> {
    let architecture = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    let found = format!("{}/{}", configuration.os, configuration.architecture);
    let expected = format!("linux/{architecture}");
    if found == expected { Ok(()) } else { Err(ImageError::Platform { found, expected }) }
}
