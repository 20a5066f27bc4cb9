//! From a source's root manifest to an image that is known to be within bounds.

use std::collections::HashSet;
use std::sync::Arc;

use apocryph_model::Digest;
use apocryph_seal::sha256;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::io::AsyncReadExt as _;

use crate::limits::{MAX_CONFIG_LEN, MAX_INDEX_DEPTH, MAX_LAYERS, MAX_MANIFEST_LEN};
use crate::source::{Source, SourceError};
use crate::verified::{Damage, Verified};
use crate::wire::{Config, DOCKER_LIST, DOCKER_MANIFEST, Descriptor, INDEX, MANIFEST};
use crate::wire::{Index, Manifest, Platform};

/// An image, resolved: everything small of it, and where the layers are.
pub(crate) struct Image {
    /// Of the manifest.
    pub(crate) digest: Digest,
    pub(crate) config: Vec<u8>,
    /// From the bottom up.
    pub(crate) layers: Vec<Layer>,
    pub(crate) source: Arc<dyn Source>,
}

/// A layer within an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Layer {
    pub(crate) digest: Digest,
    /// In bytes.
    pub(crate) size: u64,
    pub(crate) format: LayerFormat,
}

/// How a layer's tar file is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum LayerFormat {
    Tar,
    Gzip,
    Zstd,
}

impl LayerFormat {
    fn of(media_type: &str) -> Option<Self> {
        match media_type {
            "application/vnd.oci.image.layer.v1.tar" | "application/vnd.docker.image.rootfs.diff.tar" => {
                Some(Self::Tar)
            }
            "application/vnd.oci.image.layer.v1.tar+gzip"
            | "application/vnd.docker.image.rootfs.diff.tar.gzip" => Some(Self::Gzip),
            "application/vnd.oci.image.layer.v1.tar+zstd" => Some(Self::Zstd),
            _ => None,
        }
    }

    /// By the first bytes of the file.
    pub(crate) fn sniff(start: &[u8]) -> Self {
        match start {
            [0x1f, 0x8b, ..] => Self::Gzip,
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Self::Zstd,
            _ => Self::Tar,
        }
    }

    pub(crate) fn media_type(self) -> &'static str {
        match self {
            Self::Tar => "application/vnd.oci.image.layer.v1.tar",
            Self::Gzip => "application/vnd.oci.image.layer.v1.tar+gzip",
            Self::Zstd => "application/vnd.oci.image.layer.v1.tar+zstd",
        }
    }
}

impl TryFrom<&Descriptor> for Layer {
    type Error = SourceError;

    fn try_from(descriptor: &Descriptor) -> Result<Self, SourceError> {
        let format = LayerFormat::of(&descriptor.media_type)
            .ok_or_else(|| SourceError::LayerFormat(descriptor.media_type.clone()))?;
        Ok(Self { digest: descriptor.digest, size: descriptor.size, format })
    }
}

impl Image {
    /// Follows the source's root to the manifest for the wanted platform.
    pub(crate) async fn resolve(source: Arc<dyn Source>) -> Result<Self, SourceError> {
        let mut document = source.root().await?;
        for _ in 0..MAX_INDEX_DEPTH {
            match parse_document(&document)? {
                Document::Manifest(manifest) => {
                    return Self::from_manifest(source, sha256(&document), &manifest).await;
                }
                Document::Index(index) => {
                    let entry = choose(&index)?;
                    document = source.manifest(entry).await?;
                    verify(&document, entry)?;
                }
            }
        }
        Err(SourceError::Malformed("its indexes refer to indexes without end".to_owned()))
    }

    /// The layers, each once.
    pub(crate) fn distinct_layers(&self) -> HashSet<Layer> {
        self.layers.iter().copied().collect()
    }

    /// The size of all layers, each counted once, in bytes.
    pub(crate) fn size(&self) -> u64 {
        self.distinct_layers().iter().map(|layer| layer.size).sum()
    }

    async fn from_manifest(
        source: Arc<dyn Source>,
        digest: Digest,
        manifest: &Manifest,
    ) -> Result<Self, SourceError> {
        let layers = check_layers(&manifest.layers)?;
        let bytes = read_config(&*source, &manifest.config).await?;
        check_config(&bytes, layers.len())?;
        Ok(Self { digest, config: bytes, layers, source })
    }
}

/// Reads a small blob whole.
async fn read_config(source: &dyn Source, config: &Descriptor) -> Result<Vec<u8>, SourceError> {
    if config.size > MAX_CONFIG_LEN {
        return Err(SourceError::TooLong { what: "configuration", limit: MAX_CONFIG_LEN });
    }
    let reader = source.blob(config.digest, config.size).await?;
    let mut bytes = Vec::new();
    Verified::new(reader, config.digest, config.size).read_to_end(&mut bytes).await?;
    Ok(bytes)
}

enum Document {
    Manifest(Manifest),
    Index(Index),
}

fn parse_document(bytes: &[u8]) -> Result<Document, SourceError> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Kind {
        media_type: Option<String>,
        manifests: Option<serde::de::IgnoredAny>,
    }
    if bytes.len() as u64 > MAX_MANIFEST_LEN {
        return Err(SourceError::TooLong { what: "manifest", limit: MAX_MANIFEST_LEN });
    }
    let kind: Kind = parse("manifest", bytes)?;
    match kind.media_type.as_deref() {
        Some(INDEX | DOCKER_LIST) => parse("index", bytes).map(Document::Index),
        Some(MANIFEST | DOCKER_MANIFEST) => parse("manifest", bytes).map(Document::Manifest),
        None if kind.manifests.is_some() => parse("index", bytes).map(Document::Index),
        None => parse("manifest", bytes).map(Document::Manifest),
        Some(other) => Err(SourceError::Malformed(format!("its manifest is of the unknown type {other}"))),
    }
}

/// Parses a part of an image; `what` it is stands in the error.
pub(crate) fn parse<T: DeserializeOwned>(what: &str, bytes: &[u8]) -> Result<T, SourceError> {
    serde_json::from_slice(bytes)
        .map_err(|error| SourceError::Malformed(format!("its {what} cannot be read: {error}")))
}

/// The entry for the wanted platform; one that names no platform will do if it is alone.
fn choose(index: &Index) -> Result<&Descriptor, SourceError> {
    let wanted = Platform::wanted();
    let entries = &index.manifests;
    let fits = |entry: &&Descriptor| entry.platform.as_ref() == Some(&wanted);
    match entries.as_slice() {
        [only] if only.platform.is_none() => Ok(only),
        _ => entries.iter().find(fits).ok_or_else(|| SourceError::Platform(platforms_of(entries))),
    }
}

fn platforms_of(entries: &[Descriptor]) -> String {
    let known = entries.iter().filter_map(|entry| entry.platform.as_ref());
    // Entries for "unknown" hold attestations rather than images.
    let names = known.filter(|platform| platform.os != "unknown").map(ToString::to_string);
    names.collect::<Vec<_>>().join(", ")
}

pub(crate) fn verify(bytes: &[u8], expected: &Descriptor) -> Result<(), SourceError> {
    let found = sha256(bytes);
    if found == expected.digest {
        Ok(())
    } else {
        Err(Damage::Digest { expected: expected.digest, found }.into())
    }
}

fn check_layers(descriptors: &[Descriptor]) -> Result<Vec<Layer>, SourceError> {
    if descriptors.len() > MAX_LAYERS {
        return Err(SourceError::TooManyLayers(descriptors.len()));
    }
    let layers = descriptors.iter().map(Layer::try_from).collect::<Result<Vec<_>, _>>()?;
    let total = layers.iter().try_fold(0_u64, |sum, layer| sum.checked_add(layer.size));
    total.map(|_| layers).ok_or_else(|| SourceError::Malformed("its layers' sizes are absurd".to_owned()))
}

fn check_config(bytes: &[u8], layers: usize) -> Result<(), SourceError> {
    let config: Config = parse("configuration", bytes)?;
    if config.platform != Platform::wanted() {
        return Err(SourceError::Platform(config.platform.to_string()));
    }
    let diff_ids = config.rootfs.diff_ids.len();
    if diff_ids != layers {
        let problem = format!("it has {layers} layers but its configuration names {diff_ids}");
        return Err(SourceError::Malformed(problem));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    fn index(entries: Value) -> Index {
        serde_json::from_value(json!({ "manifests": entries })).unwrap()
    }

    fn entry(platform: Option<(&str, &str)>) -> Value {
        let digest = sha256(format!("{platform:?}").as_bytes());
        let mut entry = json!({ "mediaType": MANIFEST, "digest": digest, "size": 1 });
        if let Some((os, architecture)) = platform {
            entry["platform"] = json!({ "os": os, "architecture": architecture, "variant": "v8" });
        }
        entry
    }

    #[test]
    fn the_wanted_platform_is_chosen() {
        let wanted = Platform::wanted();
        let mine = (wanted.os.as_str(), wanted.architecture.as_str());
        let several = index(json!([entry(Some(("windows", mine.1))), entry(Some(mine))]));
        assert_eq!(choose(&several).unwrap(), &several.manifests[1]);
        let alone = index(json!([entry(None)]));
        assert_eq!(choose(&alone).unwrap(), &alone.manifests[0]);
    }

    #[test]
    fn the_platforms_that_there_are_are_told() {
        let others = index(json!([
            entry(Some(("linux", "s390x"))),
            entry(Some(("unknown", "unknown"))),
            entry(Some(("plan9", "386"))),
        ]));
        let error = choose(&others).unwrap_err();
        assert_eq!(error.to_string(), "the image is for linux/s390x, plan9/386");
    }

    #[test]
    fn a_manifest_without_a_media_type_is_known_by_its_fields() {
        let config = entry(None);
        let manifest = json!({ "schemaVersion": 2, "config": config, "layers": [] }).to_string();
        assert!(matches!(parse_document(manifest.as_bytes()), Ok(Document::Manifest(_))));
        let index = json!({ "schemaVersion": 2, "manifests": [] }).to_string();
        assert!(matches!(parse_document(index.as_bytes()), Ok(Document::Index(_))));
        let other = json!({ "mediaType": "text/plain", "manifests": [] }).to_string();
        assert!(matches!(parse_document(other.as_bytes()), Err(SourceError::Malformed(_))));
    }

    #[test]
    fn absurd_sizes_are_refused() {
        let layer = |size: u64| Descriptor::new(LayerFormat::Tar.media_type(), sha256(b""), size);
        assert!(check_layers(&[layer(1), layer(2)]).is_ok());
        assert!(matches!(check_layers(&[layer(u64::MAX), layer(1)]), Err(SourceError::Malformed(_))));
    }

    proptest! {
        #[test]
        fn any_document_and_configuration_is_answered(bytes: Vec<u8>, layers in 0usize..3) {
            let _ = parse_document(&bytes);
            let _ = check_config(&bytes, layers);
        }
    }
}
