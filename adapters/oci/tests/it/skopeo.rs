//! What skopeo writes is read here, what is written here is read by skopeo, and skopeo pulls from
//! the registry endpoint.

use std::fs;
use std::path::Path;
use std::process::Command;

use apocryph_model::Digest;
use apocryph_publisher::{EncryptedImage, LocalBlob};
use apocryph_seal::{DeploymentKey, sha256};
use apocryph_testbed::layout::{Image, Layer};
use serde_json::{Value, json};

use crate::pod_image::{decrypt, deploy, image, images, images_with, key, layers, manifest};
use crate::registry_server::{PODS, RegistryServer};

/// Runs skopeo; `None` where there is none.
async fn skopeo(folder: &Path, arguments: &[&str]) -> Option<Result<(), String>> {
    let mut command = Command::new("skopeo");
    command.current_dir(folder).arg("--insecure-policy").args(arguments);
    let output = match tokio::task::spawn_blocking(move || command.output()).await.unwrap() {
        Ok(output) => output,
        Err(_) => {
            eprintln!("skipped: skopeo is not installed");
            return None;
        }
    };
    let failure = || String::from_utf8_lossy(&output.stderr).into_owned();
    Some(if output.status.success() { Ok(()) } else { Err(failure()) })
}

/// The image in the layout folder `layout`, as if it had been encrypted here.
fn in_layout(layout: &Path) -> EncryptedImage {
    let blobs = fs::read_dir(layout.join("blobs/sha256")).unwrap().map(|entry| {
        let path = entry.unwrap().path();
        let digest = format!("sha256:{}", path.file_name().unwrap().to_str().unwrap());
        LocalBlob { digest: digest.parse().unwrap(), size: path.metadata().unwrap().len(), path }
    });
    EncryptedImage { manifest: manifest_of(layout), blobs: blobs.collect() }
}

fn manifest_of(layout: &Path) -> Digest {
    let index: Value = serde_json::from_slice(&fs::read(layout.join("index.json")).unwrap()).unwrap();
    index["manifests"][0]["digest"].as_str().unwrap().parse().unwrap()
}

/// Makes a layout folder of an encrypted image's files.
fn write_layout(encrypted: &EncryptedImage, layout: &Path) {
    let folder = layout.join("blobs/sha256");
    fs::create_dir_all(&folder).unwrap();
    for blob in &encrypted.blobs {
        fs::copy(&blob.path, folder.join(blob.digest.hex())).unwrap();
    }
    let size = fs::metadata(folder.join(encrypted.manifest.hex())).unwrap().len();
    let media_type = manifest(encrypted)["mediaType"].clone();
    let entry = json!({ "mediaType": media_type, "digest": encrypted.manifest, "size": size });
    let index = json!({ "schemaVersion": 2, "manifests": [entry] });
    fs::write(layout.join("index.json"), index.to_string()).unwrap();
    fs::write(layout.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
}

/// Layers that skopeo does not compress by itself on the way.
fn compressed_image() -> Image {
    Image::new(layers().into_iter().map(Layer::gzip).collect())
}

fn layer_digests(layout: &Path) -> Vec<Value> {
    let manifest = manifest(&in_layout(layout));
    manifest["layers"].as_array().unwrap().iter().map(|layer| layer["digest"].clone()).collect()
}

#[tokio::test]
async fn what_skopeo_encrypts_is_decrypted_here() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let written = compressed_image().write_to(&path.join("plain"), "v1").unwrap();
    let keys = [(); 2].map(|()| DeploymentKey::generate().unwrap());
    for (key, name) in keys.iter().zip(["one.pem", "two.pem"]) {
        fs::write(path.join(name), key.public().unwrap().to_pem()).unwrap();
    }
    let copy = ["copy", "--encryption-key", "jwe:one.pem", "oci:plain:v1", "oci:alone:v1"];
    let Some(done) = skopeo(path, &copy).await else { return };
    done.unwrap();
    let copy = [
        "copy",
        "--encryption-key",
        "jwe:one.pem",
        "--encryption-key",
        "jwe:two.pem",
        "oci:plain:v1",
        "oci:both:v1",
    ];
    skopeo(path, &copy).await.unwrap().unwrap();
    for (layout, key) in [("alone", &keys[0]), ("both", &keys[0]), ("both", &keys[1])] {
        let plain = decrypt(&in_layout(&path.join(layout)), key);
        let digests: Vec<_> = plain.iter().map(|layer| sha256(layer)).collect();
        assert_eq!(digests, written.layers, "{layout}");
    }
}

#[tokio::test]
async fn what_is_encrypted_here_is_decrypted_by_skopeo() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let written = image().write_to(&path.join("plain"), "v1").unwrap();
    let (key, other) = (key(), DeploymentKey::generate().unwrap());
    fs::write(path.join("key.pem"), &*key.to_pem().unwrap()).unwrap();
    fs::write(path.join("other.pem"), &*other.to_pem().unwrap()).unwrap();
    let (_, encrypted) = deploy(&images(path), "oci:plain", path, key).await.unwrap();
    write_layout(&encrypted, &path.join("sealed"));
    let copy = ["copy", "--decryption-key", "key.pem", "oci:sealed", "oci:opened"];
    let Some(done) = skopeo(path, &copy).await else { return };
    done.unwrap();
    let expected: Vec<_> = written.layers.iter().map(|digest| json!(digest)).collect();
    assert_eq!(layer_digests(&path.join("opened")), expected);
    let copy = ["copy", "--decryption-key", "other.pem", "oci:sealed", "oci:refused"];
    assert!(skopeo(path, &copy).await.unwrap().is_err());
}

#[tokio::test]
async fn skopeo_pulls_from_the_registry_endpoint() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    image().write_to(&path.join("plain"), "v1").unwrap();
    let key = key();
    let (_, encrypted) = deploy(&images(path), "oci:plain", path, key).await.unwrap();
    let server = RegistryServer::start(&encrypted.blobs).await;
    let token = server.admit(PODS[0], &encrypted.blobs);
    let stranger = server.admit(PODS[1], &[]);
    let from = format!("docker://{}/pod/web@{}", server.address, encrypted.manifest);
    for (token, allowed) in [(&token, true), (&stranger, false)] {
        let credentials = format!("tenant:{token}");
        let copy = ["copy", "--src-tls-verify=false", "--src-creds", &credentials, &from, "oci:pulled"];
        let Some(done) = skopeo(path, &copy).await else { return };
        assert_eq!(done.is_ok(), allowed, "{done:?}");
    }
    assert_eq!(manifest_of(&path.join("pulled")), encrypted.manifest);
    server.stop().await;
}

#[tokio::test]
async fn archives_that_skopeo_writes_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let written = compressed_image().write_to(&path.join("plain"), "v1").unwrap();
    let images = images(path);
    let key = key();
    for to in ["oci-archive:a.tar:v1", "docker-archive:b.tar:web:v1"] {
        let Some(done) = skopeo(path, &["copy", "oci:plain:v1", to]).await else { return };
        done.unwrap();
    }
    let (resolved, _) = deploy(&images, "oci-archive:a.tar:v1", path, key).await.unwrap();
    assert_eq!(resolved.digest, written.manifest);
    let (_, encrypted) =
        deploy(&images, "docker-archive:b.tar:docker.io/library/web:v1", path, key).await.unwrap();
    let plain: Vec<_> = layers().iter().map(|layer| layer.to_tar().unwrap()).collect();
    assert_eq!(decrypt(&encrypted, key), plain);
}

/// The registry endpoint stands in for a remote registry, credentials and all.
#[tokio::test]
async fn a_registry_is_pulled_from_with_the_users_credentials() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let written = image().write_to(&path.join("plain"), "v1").unwrap();
    let plain = in_layout(&path.join("plain"));
    let server = RegistryServer::start(&plain.blobs).await;
    let token = server.admit(PODS[0], &plain.blobs);
    let config = path.join("config.json");
    let pair = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, format!("tenant:{token}"));
    let logins = json!({ "auths": { (server.address.to_string()): { "auth": pair } } });
    fs::write(&config, logins.to_string()).unwrap();
    let docker = apocryph_oci::DockerPlaces { socket: path.join("none"), config };
    let images = images_with(path, docker);
    let key = key();
    let reference = format!("docker://{}/pod/web@{}", server.address, written.manifest);
    let (resolved, encrypted) = deploy(&images, &reference, path, key).await.unwrap();
    assert_eq!(resolved.digest, written.manifest);
    let digests: Vec<_> = decrypt(&encrypted, key).iter().map(|layer| sha256(layer)).collect();
    assert_eq!(digests, written.layers);
    server.stop().await;
}
