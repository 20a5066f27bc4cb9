//! What `docker save` writes: a tar file with a `manifest.json`, in the form of Docker 1.10 and
//! later. It has no manifest with digests, so one is made of what is there.

use std::collections::HashMap;

use apocryph_model::Digest;
use apocryph_seal::{Hasher, sha256};
use async_trait::async_trait;
use serde::Deserialize;
use tokio::io::AsyncReadExt as _;

use super::archive::{Archive, Extent};
use super::files::open_extent;
use super::{BlobReader, Source, SourceError};
use crate::document::parse;
use crate::layer::LayerFormat;
use crate::limits::{MAX_CONFIG_LEN, MAX_LAYERS, MAX_MANIFEST_LEN};
use crate::wire::{CONFIG, Config, Descriptor, Manifest};

const CHUNK_LEN: usize = 256 * 1024;

/// One image of a docker archive.
pub(super) struct DockerArchive {
    archive: Archive,
    manifest: Vec<u8>,
    blobs: HashMap<Digest, Extent>,
}

/// An entry of `manifest.json`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Saved {
    config: String,
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
    layers: Vec<String>,
}

impl DockerArchive {
    pub(super) async fn open(archive: Archive, tag: Option<String>) -> Result<Self, SourceError> {
        let list = read(&archive, "manifest.json", "manifest", MAX_MANIFEST_LEN).await?;
        let saved = pick(parse("manifest", &list)?, tag.as_deref())?;
        let bytes = read(&archive, &saved.config, "configuration", MAX_CONFIG_LEN).await?;
        let config = Descriptor::new(CONFIG, sha256(&bytes), bytes.len() as u64);
        let mut blobs = HashMap::from([(config.digest, find(&archive, &saved.config)?)]);
        let diff_ids = parse::<Config>("configuration", &bytes)?.rootfs.diff_ids;
        let mut layers = Vec::new();
        for (layer, extent) in describe_all(&archive, &saved.layers, &diff_ids).await? {
            blobs.insert(layer.digest, extent);
            layers.push(layer);
        }
        let manifest = serde_json::to_vec(&Manifest::new(config, layers))
            .map_err(|error| SourceError::Malformed(error.to_string()))?;
        Ok(Self { archive, manifest, blobs })
    }
}

#[async_trait]
impl Source for DockerArchive {
    async fn root(&self) -> Result<Vec<u8>, SourceError> {
        Ok(self.manifest.clone())
    }

    async fn manifest(&self, _entry: &Descriptor) -> Result<Vec<u8>, SourceError> {
        // The root is no index.
        Err(SourceError::Absent)
    }

    async fn blob(&self, digest: Digest, _size: u64) -> Result<BlobReader, SourceError> {
        let extent = self.blobs.get(&digest).ok_or(SourceError::Absent)?;
        open_extent(self.archive.path(), *extent).await
    }
}

fn pick(mut images: Vec<Saved>, tag: Option<&str>) -> Result<Saved, SourceError> {
    let tags = |saved: &Saved| saved.repo_tags.clone().unwrap_or_default();
    match tag {
        Some(tag) => {
            images.into_iter().find(|saved| tags(saved).iter().any(|t| t == tag)).ok_or(SourceError::Absent)
        }
        None if images.len() > 1 => {
            let all = images.iter().flat_map(tags).collect::<Vec<_>>().join(", ");
            let problem = format!("it holds several images: add a colon and one of the names {all}");
            Err(SourceError::Reference(problem))
        }
        None => images.pop().ok_or(SourceError::Absent),
    }
}

fn find(archive: &Archive, name: &str) -> Result<Extent, SourceError> {
    archive.find(name).ok_or_else(|| SourceError::Malformed(format!("the file {name} is missing")))
}

async fn read(archive: &Archive, name: &str, what: &'static str, limit: u64) -> Result<Vec<u8>, SourceError> {
    let extent = find(archive, name)?;
    if extent.size > limit {
        return Err(SourceError::TooLong { what, limit });
    }
    let mut bytes = Vec::new();
    open_extent(archive.path(), extent).await?.read_to_end(&mut bytes).await?;
    Ok(bytes)
}

async fn describe_all(
    archive: &Archive,
    names: &[String],
    diff_ids: &[Digest],
) -> Result<Vec<(Descriptor, Extent)>, SourceError> {
    if names.len() > MAX_LAYERS {
        return Err(SourceError::TooManyLayers(names.len()));
    }
    let mut layers = Vec::new();
    for (index, name) in names.iter().enumerate() {
        let extent = find(archive, name)?;
        layers.push((describe(archive, extent, diff_ids.get(index).copied()).await?, extent));
    }
    Ok(layers)
}

/// A plain tar file's digest is its diff id, and verified when it is read; only that of a
/// compressed layer is not known without reading it here.
async fn describe(
    archive: &Archive,
    extent: Extent,
    diff_id: Option<Digest>,
) -> Result<Descriptor, SourceError> {
    let mut reader = open_extent(archive.path(), extent).await?;
    let mut chunk = vec![0; CHUNK_LEN];
    let mut read = reader.read(&mut chunk).await?;
    let format = LayerFormat::sniff(&chunk[..read]);
    let digest = match (format, diff_id) {
        (LayerFormat::Tar, Some(diff_id)) => diff_id,
        _ => {
            let mut hasher = Hasher::new();
            while read > 0 {
                hasher.update(&chunk[..read]);
                read = reader.read(&mut chunk).await?;
            }
            hasher.finish()
        }
    };
    Ok(Descriptor::new(format.media_type(), digest, extent.size))
}
