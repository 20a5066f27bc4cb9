//! The documents of a shipped image: manifest and configuration.

use std::future::Future;

use apocryph_model::Digest;
use bytes::Bytes;
use serde_json::Value;

use super::image_error::ImageError;
use crate::limits::MAX_LAYERS;
use crate::wire::{Config, Manifest, Platform};

/// An image's documents, which agree with each other.
pub(super) struct Documents {
    pub(super) manifest: Manifest,
    pub(super) platform: Platform,
    /// Whole.
    pub(super) config: Value,
    pub(super) config_bytes: Bytes,
}

impl Documents {
    /// Of a manifest; `read` gives what it names.
    pub(super) async fn parse<F>(manifest: Bytes, read: impl FnOnce(Digest) -> F) -> Result<Self, ImageError>
    where
        F: Future<Output = Result<Bytes, ImageError>>,
    {
        let manifest: Manifest = parse("manifest", &manifest)?;
        let config_bytes = read(manifest.config.digest).await?;
        let config: Config = parse("configuration", &config_bytes)?;
        check_layers(&manifest, &config)?;
        let platform = config.platform;
        Ok(Self { manifest, platform, config: parse("configuration", &config_bytes)?, config_bytes })
    }
}

/// Reads a document of that name.
pub(super) fn parse<T: serde::de::DeserializeOwned>(
    what: &'static str,
    bytes: &[u8],
) -> Result<T, ImageError> {
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

/// Whether a configuration says what to run.
pub(super) fn has_command(config: &Value) -> bool {
    let given = |field: &str| config["config"][field].as_array().is_some_and(|list| !list.is_empty());
    given("Entrypoint") || given("Cmd")
}

/// A configuration with another user.
pub(super) fn with_user(mut config: Value, user: &str) -> Bytes {
    if !config["config"].is_object() {
        config["config"] = Value::Object(serde_json::Map::new());
    }
    config["config"]["User"] = user.into();
    config.to_string().into()
}
