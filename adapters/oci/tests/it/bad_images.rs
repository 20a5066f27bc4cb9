//! Images that cannot be deployed, and what is said about them.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use apocryph_model::Digest;
use apocryph_publisher::{ImageError, Images as _};
use apocryph_seal::sha256;
use apocryph_testbed::layout::{Image, Layer, WrittenImage};
use serde_json::{Value, json};

use crate::pod_image::{deploy, image, images, key};
use crate::registry_server::RegistryServer;

fn blob_path(layout: &Path, digest: Digest) -> std::path::PathBuf {
    layout.join("blobs/sha256").join(digest.hex())
}

/// Deploys what is in `folder/layout` and gives the error. Whole layers may be left for the next
/// time, half a layer may not.
async fn refused(folder: &Path) -> ImageError {
    let error = deploy(&images(folder), "oci:layout", folder, key()).await.unwrap_err();
    let out = folder.join("out");
    let deadline = Instant::now() + Duration::from_secs(30);
    while halves_in(&out) > 0 {
        assert!(Instant::now() < deadline, "a half-written layer is left");
        tokio::task::yield_now().await;
    }
    error
}

fn halves_in(out: &Path) -> usize {
    let Ok(files) = fs::read_dir(out) else { return 0 };
    files.filter(|file| file.as_ref().unwrap().file_name().to_str().unwrap().starts_with('.')).count()
}

fn problem(error: &ImageError) -> String {
    assert!(matches!(error, ImageError::Damaged { .. }), "{error:?}");
    error.to_string()
}

/// Puts another manifest in the place of the layout's, changed by `change`.
fn rewrite_manifest(layout: &Path, written: &WrittenImage, change: impl FnOnce(&mut Value)) {
    let mut manifest: Value =
        serde_json::from_slice(&fs::read(blob_path(layout, written.manifest)).unwrap()).unwrap();
    change(&mut manifest);
    let bytes = manifest.to_string();
    let digest = sha256(bytes.as_bytes());
    fs::write(blob_path(layout, digest), &bytes).unwrap();
    let media_type = "application/vnd.oci.image.manifest.v1+json";
    let entry = json!({ "mediaType": media_type, "digest": digest, "size": bytes.len() });
    let index = json!({ "schemaVersion": 2, "manifests": [entry] });
    fs::write(layout.join("index.json"), index.to_string()).unwrap();
}

struct Broken {
    folder: tempfile::TempDir,
    written: WrittenImage,
}

impl Broken {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let written = image().write_to(&folder.path().join("layout"), "v1").unwrap();
        Self { folder, written }
    }

    fn layout(&self) -> std::path::PathBuf {
        self.folder.path().join("layout")
    }

    async fn error(&self) -> ImageError {
        refused(self.folder.path()).await
    }
}

#[tokio::test]
async fn what_is_not_there() {
    let folder = tempfile::tempdir().unwrap();
    image().write_to(&folder.path().join("layout"), "v1").unwrap();
    let images = images(folder.path());
    for reference in ["oci:layout:v2", "oci:nowhere", "oci-archive:nowhere.tar", "docker-archive:x"] {
        let error = images.resolve(reference, folder.path()).await.unwrap_err();
        assert_eq!(error, ImageError::Absent(reference.to_owned()));
    }
}

#[tokio::test]
async fn several_images_and_no_tag() {
    let broken = Broken::new();
    image().write_to(&broken.layout(), "v2").unwrap();
    let error = broken.error().await;
    assert!(matches!(error, ImageError::Reference { .. }) && error.to_string().contains("v1, v2"), "{error}");
}

#[tokio::test]
async fn another_architecture() {
    let folder = tempfile::tempdir().unwrap();
    image().architecture("s390x").write_to(&folder.path().join("layout"), "v1").unwrap();
    let error = refused(folder.path()).await;
    let ImageError::Platform { found, wanted, .. } = &error else { panic!("{error:?}") };
    assert_eq!(found, "linux/s390x");
    assert!(wanted.starts_with("linux/"));
}

#[tokio::test]
async fn a_layer_cut_short() {
    let broken = Broken::new();
    let path = blob_path(&broken.layout(), broken.written.layers[1]);
    let bytes = fs::read(&path).unwrap();
    fs::write(&path, &bytes[..bytes.len() - 1]).unwrap();
    assert!(problem(&broken.error().await).contains("cut short"));
}

#[tokio::test]
async fn a_layer_grown() {
    let broken = Broken::new();
    let path = blob_path(&broken.layout(), broken.written.layers[1]);
    let mut bytes = fs::read(&path).unwrap();
    bytes.push(0);
    fs::write(&path, &bytes).unwrap();
    assert!(problem(&broken.error().await).contains("longer than"));
}

#[tokio::test]
async fn a_layer_with_other_contents() {
    let broken = Broken::new();
    let digest = broken.written.layers[1];
    let path = blob_path(&broken.layout(), digest);
    let mut bytes = fs::read(&path).unwrap();
    bytes[1000] ^= 1;
    fs::write(&path, &bytes).unwrap();
    assert!(problem(&broken.error().await).contains(&format!("instead of {digest}")));
}

#[tokio::test]
async fn a_layer_missing() {
    let broken = Broken::new();
    fs::remove_file(blob_path(&broken.layout(), broken.written.layers[0])).unwrap();
    assert!(problem(&broken.error().await).contains("missing"));
}

#[tokio::test]
async fn a_manifest_or_configuration_with_other_contents() {
    for pick in [|written: &WrittenImage| written.manifest, |written: &WrittenImage| written.config] {
        let broken = Broken::new();
        let path = blob_path(&broken.layout(), pick(&broken.written));
        let mut bytes = fs::read(&path).unwrap();
        let last = bytes.len() - 1;
        bytes[last] = b' ';
        fs::write(&path, &bytes).unwrap();
        assert!(problem(&broken.error().await).contains("digest"));
    }
}

#[tokio::test]
async fn too_many_layers() {
    let folder = tempfile::tempdir().unwrap();
    let layers = (0..129).map(|i| Layer::new().file(&format!("f{i}"), "", 0o644)).collect();
    Image::new(layers).write_to(&folder.path().join("layout"), "v1").unwrap();
    assert!(problem(&refused(folder.path()).await).contains("129 layers; 128 are the most"));
}

#[tokio::test]
async fn too_long_a_manifest() {
    let broken = Broken::new();
    rewrite_manifest(&broken.layout(), &broken.written, |manifest| {
        manifest["annotations"] = json!({ "x": "x".repeat(5 << 20) });
    });
    assert!(problem(&broken.error().await).contains("longer than 4194304 bytes"));
}

#[tokio::test]
async fn too_long_a_configuration() {
    let broken = Broken::new();
    rewrite_manifest(&broken.layout(), &broken.written, |manifest| {
        manifest["config"]["size"] = json!(5 << 20);
    });
    assert!(problem(&broken.error().await).contains("longer than 4194304 bytes"));
}

#[tokio::test]
async fn layers_of_other_kinds() {
    for media_type in [
        "application/vnd.oci.image.layer.nondistributable.v1.tar",
        "application/vnd.oci.image.layer.v1.tar+encrypted",
        "application/vnd.wasm.content.layer.v1+wasm",
    ] {
        let broken = Broken::new();
        rewrite_manifest(&broken.layout(), &broken.written, |manifest| {
            manifest["layers"][0]["mediaType"] = json!(media_type);
        });
        assert!(problem(&broken.error().await).contains(media_type));
    }
}

#[tokio::test]
async fn layers_that_the_configuration_does_not_name() {
    let broken = Broken::new();
    rewrite_manifest(&broken.layout(), &broken.written, |manifest| {
        let layer = manifest["layers"][0].clone();
        manifest["layers"].as_array_mut().unwrap().push(layer);
    });
    assert!(problem(&broken.error().await).contains("3 layers but its configuration names 2"));
}

#[tokio::test]
async fn indexes_without_end() {
    let broken = Broken::new();
    let layout = broken.layout();
    let mut inner = broken.written.manifest;
    for _ in 0..4 {
        let size = fs::metadata(blob_path(&layout, inner)).unwrap().len();
        let media_type = "application/vnd.oci.image.index.v1+json";
        let entry = json!({ "mediaType": media_type, "digest": inner, "size": size });
        let index = json!({ "schemaVersion": 2, "mediaType": media_type, "manifests": [entry] }).to_string();
        inner = sha256(index.as_bytes());
        fs::write(blob_path(&layout, inner), &index).unwrap();
        fs::write(
            layout.join("index.json"),
            json!({ "manifests": [{
            "mediaType": media_type, "digest": inner, "size": index.len(),
        }] })
            .to_string(),
        )
        .unwrap();
    }
    assert!(problem(&broken.error().await).contains("without end"));
}

#[tokio::test]
async fn what_is_no_json() {
    let broken = Broken::new();
    fs::write(broken.layout().join("index.json"), "\0").unwrap();
    assert!(problem(&broken.error().await).contains("index cannot be read"));
}

#[tokio::test]
async fn a_registry_that_refuses_or_is_not_there() {
    let folder = tempfile::tempdir().unwrap();
    let images = images(folder.path());
    let server = RegistryServer::start(&[]).await;
    let reference = format!("docker://{}/pod/web:v1", server.address);
    let error = images.resolve(&reference, folder.path()).await.unwrap_err();
    assert!(matches!(error, ImageError::Unauthorised { .. }), "{error:?}");
    assert!(error.to_string().contains("docker login"), "{error}");
    server.stop().await;
    let error = images.resolve(&reference, folder.path()).await.unwrap_err();
    assert!(matches!(error, ImageError::Unavailable { .. }), "{error:?}");
}

#[tokio::test]
async fn references_that_cannot_be_read() {
    let folder = tempfile::tempdir().unwrap();
    for reference in ["", "UPPER CASE", "dir:/tmp/x", "oci:"] {
        let error = images(folder.path()).resolve(reference, folder.path()).await.unwrap_err();
        assert!(matches!(error, ImageError::Reference { .. }), "{reference}: {error:?}");
    }
}
