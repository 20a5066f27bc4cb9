//! Every kind of place gives the same image.

use std::convert::Infallible;
use std::fs::{self, File};
use std::path::Path;
use std::sync::Mutex;

use apocryph_oci::DockerPlaces;
use apocryph_publisher::{ImageError, Images as _};
use apocryph_seal::{DeploymentKey, sha256};
use apocryph_testbed::layout::{Layer, host_architecture};
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::json;
use tokio::net::UnixListener;

use crate::pod_image::{MARKER, decrypt, deploy, image, images, images_with, key, layers, manifest};

fn tar_of_folder(folder: &Path, file: &Path) {
    let mut tar = tar::Builder::new(File::create(file).unwrap());
    tar.append_dir_all(".", folder).unwrap();
    tar.finish().unwrap();
}

/// As `docker save` writes it, with the second image's layer behind a link.
fn docker_archive() -> Vec<u8> {
    let tars: Vec<_> = layers().iter().map(|layer| layer.to_tar().unwrap()).collect();
    let config = json!({
        "architecture": host_architecture(),
        "os": "linux",
        "config": {},
        "rootfs": { "type": "layers", "diff_ids": tars.iter().map(|tar| sha256(tar)).collect::<Vec<_>>() },
    })
    .to_string();
    let manifest = json!([
        { "Config": "config.json", "RepoTags": ["web:v1"], "Layers": ["a/layer.tar", "b/layer.tar"] },
        { "Config": "config.json", "RepoTags": ["web:v2"], "Layers": ["a/layer.tar", "c/layer.tar"] },
    ])
    .to_string();
    let archive = Layer::new()
        .file("config.json", config, 0o644)
        .file("a/layer.tar", tars[0].clone(), 0o644)
        .file("b/layer.tar", tars[1].clone(), 0o644)
        .symlink("c/layer.tar", "../b/layer.tar")
        .file("manifest.json", manifest, 0o644);
    archive.to_tar().unwrap()
}

fn plain_tars() -> Vec<Vec<u8>> {
    layers().iter().map(|layer| layer.to_tar().unwrap()).collect()
}

#[tokio::test]
async fn a_layout_and_its_archive_are_the_same_image() {
    let folder = tempfile::tempdir().unwrap();
    let written = image().write_to(&folder.path().join("layout"), "v1").unwrap();
    image().architecture("s390x").write_to(&folder.path().join("layout"), "other").unwrap();
    tar_of_folder(&folder.path().join("layout"), &folder.path().join("layout.tar"));
    let key = key();
    let images = images(folder.path());
    for reference in ["oci:layout:v1", "oci-archive:layout.tar:v1"] {
        let (resolved, encrypted) = deploy(&images, reference, folder.path(), key).await.unwrap();
        assert_eq!(resolved.digest, written.manifest, "{reference}");
        let plain: Vec<_> = decrypt(&encrypted, key).iter().map(|layer| sha256(layer)).collect();
        assert_eq!(plain, written.layers, "{reference}");
        assert_eq!(manifest(&encrypted)["config"]["digest"], written.config.to_string());
    }
}

#[tokio::test]
async fn ciphertext_holds_nothing_of_the_plaintext() {
    let folder = tempfile::tempdir().unwrap();
    let layer = Layer::new().file("etc/motd", MARKER, 0o644);
    apocryph_testbed::layout::Image::new(vec![layer]).write_to(&folder.path().join("layout"), "v1").unwrap();
    let key = key();
    let (_, encrypted) = deploy(&images(folder.path()), "oci:layout", folder.path(), key).await.unwrap();
    let holds = |bytes: &[u8]| bytes.windows(MARKER.len()).any(|window| window == MARKER.as_bytes());
    assert!(decrypt(&encrypted, key).iter().any(|layer| holds(layer)));
    for blob in &encrypted.blobs {
        assert!(!holds(&fs::read(&blob.path).unwrap()));
    }
}

#[tokio::test]
async fn a_docker_archive_gives_its_layers_uncompressed() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("saved.tar"), docker_archive()).unwrap();
    let key = key();
    let images = images(folder.path());
    for tag in ["web:v1", "web:v2"] {
        let reference = format!("docker-archive:saved.tar:{tag}");
        let (_, encrypted) = deploy(&images, &reference, folder.path(), key).await.unwrap();
        assert_eq!(decrypt(&encrypted, key), plain_tars(), "{tag}");
    }
    let absent = images.resolve("docker-archive:saved.tar:web:v3", folder.path()).await;
    assert!(matches!(absent, Err(ImageError::Absent(_))), "{absent:?}");
    let ambiguous = images.resolve("docker-archive:saved.tar", folder.path()).await.unwrap_err();
    assert!(ambiguous.to_string().contains("web:v1, web:v2"), "{ambiguous}");
}

/// Stands in for a Docker daemon, which needs more of a machine than the tests may ask for.
async fn serve_docker(listener: UnixListener) {
    let archive = Bytes::from(docker_archive_of_one());
    while let Ok((stream, _)) = listener.accept().await {
        let archive = archive.clone();
        let service = service_fn(move |request: Request<_>| {
            let archive = archive.clone();
            let _: &hyper::body::Incoming = request.body();
            let response = match request.uri().path() {
                "/images/web:v1/get" => Response::new(Full::new(archive)),
                _ => Response::builder().status(404).body(Full::default()).unwrap(),
            };
            async { Ok::<_, Infallible>(response) }
        });
        tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
    }
}

fn docker_archive_of_one() -> Vec<u8> {
    let text = docker_archive();
    let folder = tempfile::tempdir().unwrap();
    tar::Archive::new(text.as_slice()).unpack(folder.path()).unwrap();
    let path = folder.path().join("manifest.json");
    let mut list: Vec<serde_json::Value> = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    list.truncate(1);
    fs::write(&path, serde_json::to_vec(&list).unwrap()).unwrap();
    let file = folder.path().join("saved.tar");
    let entries = ["manifest.json", "config.json", "a/layer.tar", "b/layer.tar"];
    let mut tar = tar::Builder::new(File::create(&file).unwrap());
    for name in entries {
        tar.append_path_with_name(folder.path().join(name), name).unwrap();
    }
    tar.finish().unwrap();
    fs::read(file).unwrap()
}

#[tokio::test]
async fn the_docker_daemon_is_asked_on_its_socket() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("docker.sock");
    let server = tokio::spawn(serve_docker(UnixListener::bind(&socket).unwrap()));
    let images = images_with(folder.path(), DockerPlaces { socket, config: folder.path().join("none") });
    let key = key();
    let (_, encrypted) = deploy(&images, "docker-daemon:web:v1", folder.path(), key).await.unwrap();
    assert_eq!(decrypt(&encrypted, key), plain_tars());
    let absent = images.resolve("docker-daemon:other:v1", folder.path()).await;
    assert!(matches!(absent, Err(ImageError::Absent(_))), "{absent:?}");
    server.abort();
}

#[tokio::test]
async fn without_a_docker_daemon_the_error_names_the_socket() {
    let folder = tempfile::tempdir().unwrap();
    let error = images(folder.path()).resolve("docker-daemon:web", folder.path()).await.unwrap_err();
    assert!(matches!(error, ImageError::Unavailable { .. }));
    assert!(error.to_string().contains("none.sock"), "{error}");
}

#[tokio::test]
async fn layers_are_not_encrypted_again_under_the_same_key() {
    let folder = tempfile::tempdir().unwrap();
    image().write_to(&folder.path().join("layout"), "v1").unwrap();
    let images = images(folder.path());
    let key = key();
    let (_, first) = deploy(&images, "oci:layout", folder.path(), key).await.unwrap();
    let (_, again) = deploy(&images, "oci:layout", folder.path(), key).await.unwrap();
    assert_eq!(again.manifest, first.manifest);
    let other = DeploymentKey::generate().unwrap();
    let (_, other) = deploy(&images, "oci:layout", folder.path(), &other).await.unwrap();
    assert_ne!(other.manifest, first.manifest);
}

#[tokio::test]
async fn a_damaged_file_is_encrypted_again() {
    let folder = tempfile::tempdir().unwrap();
    image().write_to(&folder.path().join("layout"), "v1").unwrap();
    let images = images(folder.path());
    let key = key();
    let (_, first) = deploy(&images, "oci:layout", folder.path(), key).await.unwrap();
    let layer = first.blobs.iter().max_by_key(|blob| blob.size).unwrap();
    fs::write(&layer.path, "damaged").unwrap();
    let (_, again) = deploy(&images, "oci:layout", folder.path(), key).await.unwrap();
    assert_eq!(decrypt(&again, key).len(), 2);
    assert_ne!(again.manifest, first.manifest);
}

#[tokio::test]
async fn progress_ends_at_the_images_size() {
    let folder = tempfile::tempdir().unwrap();
    image().write_to(&folder.path().join("layout"), "v1").unwrap();
    let images = images(folder.path());
    let key = key().to_pkcs8().unwrap();
    let resolved = images.resolve("oci:layout", folder.path()).await.unwrap();
    let told = Mutex::new(Vec::new());
    let out = folder.path().join("out");
    let progress = |bytes| told.lock().unwrap().push(bytes);
    images.encrypt(&resolved, folder.path(), &key, &out, &progress).await.unwrap();
    let told = told.into_inner().unwrap();
    assert!(told.is_sorted() && told.len() > 2, "{told:?}");
    assert_eq!(told.last(), Some(&resolved.size));
}

#[tokio::test]
async fn another_process_finds_the_image_again_unless_it_changed() {
    let folder = tempfile::tempdir().unwrap();
    let layout = folder.path().join("layout");
    image().write_to(&layout, "v1").unwrap();
    let key = key().to_pkcs8().unwrap();
    let out = folder.path().join("out");
    let resolved = images(folder.path()).resolve("oci:layout:v1", folder.path()).await.unwrap();
    let encrypt = async || images(folder.path()).encrypt(&resolved, folder.path(), &key, &out, &|_| {}).await;
    assert!(encrypt().await.is_ok());
    image().command(&["changed"]).write_to(&layout, "v1").unwrap();
    let error = encrypt().await.unwrap_err();
    assert!(error.to_string().contains("changed since"), "{error}");
}
