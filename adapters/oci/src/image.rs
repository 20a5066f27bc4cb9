//! From a source's root manifest to an image that is known to be within bounds.

use std::collections::HashSet;
use std::sync::Arc;

use apocryph_model::Digest;
use apocryph_seal::sha256;
use tokio::io::AsyncReadExt as _;

use crate::document::{Document, choose, parse, parse_document, verify};
use crate::layer::Layer;
use crate::limits::{MAX_CONFIG_LEN, MAX_INDEX_DEPTH, MAX_LAYERS};
use crate::source::{Source, SourceError};
use crate::verified::Verified;
use crate::wire::{Config, Descriptor, Manifest, Platform};

/// An image, resolved: everything small of it, and where the layers are.
pub(crate) struct Image {
    /// Of the manifest.
    pub(crate) digest: Digest,
    pub(crate) config: Vec<u8>,
    /// From the bottom up.
    pub(crate) layers: Vec<Layer>,
    pub(crate) source: Arc<dyn Source>,
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
    use crate::layer::LayerFormat;
    use proptest::prelude::*;

    #[test]
    fn absurd_sizes_are_refused() {
        let layer = |size: u64| Descriptor::new(LayerFormat::Tar.media_type(), sha256(b""), size);
        assert!(check_layers(&[layer(1), layer(2)]).is_ok());
        assert!(matches!(check_layers(&[layer(u64::MAX), layer(1)]), Err(SourceError::Malformed(_))));
    }

    proptest! {
        #[test]
        fn any_configuration_is_answered(bytes: Vec<u8>, layers in 0usize..3) {
            let _ = check_config(&bytes, layers);
        }
    }
}
