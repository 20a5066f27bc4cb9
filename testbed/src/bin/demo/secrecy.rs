//! What the provider's disk shows of what was entrusted to it.

use std::collections::HashMap;
use std::path::Path;

use apocryph_seal::{DeploymentKey, KEYS_ANNOTATION, LayerKeys};
use apocryph_testbed::marker::files_with;
use serde_json::Value;

use crate::failure::{During, Result};
use crate::record::Record;
use crate::stage::{ENTRUSTED, MARKER, Stage};

/// The image is ciphertext in the provider's block store, and stays so without the right key.
pub(crate) fn of_images(record: &mut Record, stage: &Stage) -> Result<()> {
    let plain = count(&stage.images(), MARKER)?;
    record.judge("the marker stands in the image as it was made", plain > 0, "1 file or more", files(plain));
    let stored = count(&stage.chosen().blobs(), MARKER)?;
    record.check("the marker does not stand in the provider's block store", files(0), files(stored));
    let layers = encrypted_layers(&stage.chosen().blobs())?;
    record.judge(
        "encrypted layers stand in the provider's block store",
        !layers.is_empty(),
        "1 or more",
        layers.len().to_string(),
    );
    let wrong = DeploymentKey::generate()?;
    let opened = layers.iter().filter(|layer| LayerKeys::from_annotations(layer, &wrong).is_ok()).count();
    record.check("a wrong key opens none of them", 0, opened);
    let right = DeploymentKey::from_pem(&stage.image_key("web")?)?;
    let opened = layers.iter().filter(|layer| LayerKeys::from_annotations(layer, &right).is_ok()).count();
    record.check("the deployment's key opens all of them", layers.len(), opened);
    Ok(())
}

/// Neither secrets nor environment are on the provider's disk in the clear. Its tmpfs is another
/// file system and is not looked at.
pub(crate) fn of_disk(record: &mut Record, stage: &Stage, when: &str) -> Result<()> {
    for (what, text) in ENTRUSTED {
        let found = count(&stage.chosen().folder, text)?;
        record.check(&format!("{what} is not on the provider's disk {when}"), files(0), files(found));
    }
    Ok(())
}

fn count(folder: &Path, text: &str) -> Result<usize> {
    let what = format!("searching {}", folder.display());
    files_with(folder, text.as_bytes()).map(|found| found.len()).during(&what)
}

fn files(count: usize) -> String {
    format!("{count} files")
}

/// The annotations of every encrypted layer of the image manifests in a block store.
fn encrypted_layers(blobs: &Path) -> Result<Vec<HashMap<String, String>>> {
    let mut layers = Vec::new();
    for file in files_with(blobs, KEYS_ANNOTATION.as_bytes()).during("searching manifests")? {
        let bytes = std::fs::read(&file).during("reading a manifest")?;
        // Other blobs may hold the same word.
        let Ok(manifest) = serde_json::from_slice::<Value>(&bytes) else { continue };
        let of_layers = manifest["layers"].as_array().into_iter().flatten();
        layers
            .extend(of_layers.filter_map(|layer| serde_json::from_value(layer["annotations"].clone()).ok()));
    }
    Ok(layers)
}
