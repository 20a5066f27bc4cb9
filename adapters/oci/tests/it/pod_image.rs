//! The image that the tests deploy, and what becomes of it.

use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::sync::LazyLock;

use apocryph_model::Digest;
use apocryph_oci::{DockerPlaces, OciImages};
use apocryph_publisher::{EncryptedImage, ImageError, Images as _, LocalBlob, ResolvedImage};
use apocryph_seal::{DeploymentKey, LayerDecryptor, LayerKeys};
use apocryph_testbed::layout::{Image, Layer};
use serde_json::Value;

/// Stands in the plain layers.
pub(crate) const MARKER: &str = "a marker that must not be seen outside";

pub(crate) fn layers() -> Vec<Layer> {
    let big: Vec<u8> = (0..3_000_000_u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    vec![
        Layer::new().directory("etc", 0o755).file("etc/motd", MARKER, 0o644).gzip(),
        Layer::new().file("data", big, 0o600),
    ]
}

/// A key that takes its time to make, once for all tests.
pub(crate) fn key() -> &'static DeploymentKey {
    static KEY: LazyLock<DeploymentKey> = LazyLock::new(|| DeploymentKey::generate().unwrap());
    &KEY
}

pub(crate) fn image() -> Image {
    Image::new(layers()).entrypoint(&["/server"]).environment(&["A=1"])
}

/// Image sources that know of no Docker.
pub(crate) fn images(scratch: &Path) -> OciImages {
    images_with(scratch, DockerPlaces { socket: scratch.join("none.sock"), config: scratch.join("none") })
}

pub(crate) fn images_with(scratch: &Path, docker: DockerPlaces) -> OciImages {
    OciImages::new(docker, scratch.to_owned())
}

/// Resolves and encrypts `reference`, relative to `folder`, into `folder/out`.
pub(crate) async fn deploy(
    images: &OciImages,
    reference: &str,
    folder: &Path,
    key: &DeploymentKey,
) -> Result<(ResolvedImage, EncryptedImage), ImageError> {
    let resolved = images.resolve(reference, folder).await?;
    let pkcs8 = key.to_pkcs8().unwrap();
    let out = folder.join("out");
    let encrypted = images.encrypt(&resolved, folder, &pkcs8, &out, &|_| {}).await?;
    Ok((resolved, encrypted))
}

pub(crate) fn blob(encrypted: &EncryptedImage, digest: &Digest) -> Vec<u8> {
    let blob: &LocalBlob = encrypted.blobs.iter().find(|blob| blob.digest == *digest).unwrap();
    let bytes = fs::read(&blob.path).unwrap();
    assert_eq!((bytes.len() as u64, apocryph_seal::sha256(&bytes)), (blob.size, blob.digest));
    bytes
}

pub(crate) fn manifest(encrypted: &EncryptedImage) -> Value {
    serde_json::from_slice(&blob(encrypted, &encrypted.manifest)).unwrap()
}

/// The plain layers, from the bottom up.
pub(crate) fn decrypt(encrypted: &EncryptedImage, key: &DeploymentKey) -> Vec<Vec<u8>> {
    let manifest = manifest(encrypted);
    let layers = manifest["layers"].as_array().unwrap();
    layers.iter().map(|layer| decrypt_layer(encrypted, layer, key)).collect()
}

fn decrypt_layer(encrypted: &EncryptedImage, layer: &Value, key: &DeploymentKey) -> Vec<u8> {
    assert!(layer["mediaType"].as_str().unwrap().ends_with("+encrypted"));
    let annotations: HashMap<String, String> = serde_json::from_value(layer["annotations"].clone()).unwrap();
    let digest = layer["digest"].as_str().unwrap().parse().unwrap();
    let mut decryptor = LayerDecryptor::new(LayerKeys::from_annotations(&annotations, key).unwrap()).unwrap();
    let plain = decryptor.update(&blob(encrypted, &digest)).unwrap().to_vec();
    decryptor.finish().unwrap();
    plain
}
