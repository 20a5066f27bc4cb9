//! Image manifests and configurations (OCI Image Format 1.1), as far as the engine reads them.

use std::collections::HashMap;

use apocryph_model::Digest;
use serde::Deserialize;

/// The longest manifest or configuration that is read, in bytes.
pub(super) const MAX_DOCUMENT: u64 = 4 << 20;
/// The most layers of one image.
pub(super) const MAX_LAYERS: usize = 128;

#[derive(Debug, Deserialize)]
pub(super) struct Manifest {
    pub(super) config: Descriptor,
    pub(super) layers: Vec<Descriptor>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Descriptor {
    pub(super) media_type: String,
    pub(super) digest: Digest,
    pub(super) size: u64,
    #[serde(default)]
    pub(super) annotations: HashMap<String, String>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Configuration {
    pub(super) architecture: String,
    pub(super) os: String,
    pub(super) rootfs: RootFs,
    #[serde(default)]
    pub(super) config: Option<Defaults>,
}

#[derive(Debug, Deserialize)]
pub(super) struct RootFs {
    pub(super) diff_ids: Vec<Digest>,
}

/// What an image says of how it is run. A pod's spec may say otherwise.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Defaults {
    pub(crate) entrypoint: Option<Vec<String>>,
    pub(crate) cmd: Option<Vec<String>>,
    pub(crate) env: Option<Vec<String>>,
    pub(crate) working_dir: Option<String>,
    pub(crate) user: Option<String>,
    pub(crate) stop_signal: Option<String>,
}
