//! How many megabytes one core encrypts and decrypts in a second, as lines of JSON: bytes of a layer
//! to bytes, and an image in a layout folder into files, beside skopeo where there is one. By
//! processor time, so that who else uses the machine counts little.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark that fails has nothing to report")]

use std::fs;
use std::hint::black_box;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use apocryph_oci::{DockerPlaces, OciImages};
use apocryph_publisher::Images as _;
use apocryph_seal::{DeploymentKey, LayerDecryptor, LayerEncryptor};
use apocryph_testbed::figure::Figure;
use apocryph_testbed::layout::{Image, Layer};
use apocryph_testbed::processor;

const RUNS: usize = 7;
const LAYERS: u8 = 4;
const LAYER_LEN: usize = 64 << 20;
const CHUNK_LEN: usize = 64 << 10;
/// In megabytes a second.
const TARGET: f64 = 500.0;

#[tokio::main]
async fn main() {
    layers();
    image().await;
}

fn layers() {
    let plain = vec![0x5a; LAYER_LEN];
    // Filled beforehand, so that the page faults are not measured.
    let mut cipher = vec![0xa5; LAYER_LEN];
    let (mut encryption, mut decryption) = (Vec::new(), Vec::new());
    for _ in 0..RUNS {
        let begun = processor::own().unwrap();
        let mut encryptor = LayerEncryptor::new().unwrap();
        for (from, to) in plain.chunks(CHUNK_LEN).zip(cipher.chunks_mut(CHUNK_LEN)) {
            to.copy_from_slice(encryptor.update(from).unwrap());
        }
        let layer = encryptor.finish().unwrap();
        encryption.push(speed(LAYER_LEN as u64, processor::own().unwrap() - begun));

        let begun = processor::own().unwrap();
        let mut decryptor = LayerDecryptor::new(layer.keys).unwrap();
        for chunk in cipher.chunks(CHUNK_LEN) {
            black_box(decryptor.update(chunk).unwrap());
        }
        decryptor.finish().unwrap();
        decryption.push(speed(LAYER_LEN as u64, processor::own().unwrap() - begun));
    }
    let report = |name, runs: &[f64]| {
        println!("{}", Figure::median(name, "MB/s", runs).higher_is_better().target(TARGET));
    };
    report("layer encryption, by one core", &encryption);
    report("layer decryption, by one core", &decryption);
}

/// The same image by the same key, run by run.
async fn image() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let layer = |index: u8| Layer::new().file("data", vec![index; LAYER_LEN], 0o644);
    Image::new((0..LAYERS).map(layer).collect()).write_to(&path.join("layout"), "v1").unwrap();
    let key = DeploymentKey::generate().unwrap();
    fs::write(path.join("key.pem"), key.public().unwrap().to_pem()).unwrap();
    let docker = DockerPlaces { socket: path.join("none"), config: path.join("none") };
    let images = OciImages::new(docker, path.to_owned());
    let pkcs8 = key.to_pkcs8().unwrap();
    let resolved = images.resolve("oci:layout", path).await.unwrap();
    let (mut ours, mut peers) = (Vec::new(), Vec::new());
    for _ in 0..RUNS {
        let out = path.join("out");
        let begun = processor::own().unwrap();
        images.encrypt(&resolved, path, &pkcs8, &out, &|_| {}).await.unwrap();
        ours.push(speed(resolved.size, processor::own().unwrap() - begun));
        fs::remove_dir_all(out).unwrap();
        peers.extend(skopeo(path).map(|time| speed(resolved.size, time)));
    }
    let name = "image encryption from a folder into files, by one core";
    let figure = Figure::median(name, "MB/s", &ours).higher_is_better().target(TARGET);
    println!(
        "{}",
        if peers.is_empty() { figure } else { figure.beside("skopeo copy --encryption-key", &peers) }
    );
}

/// The processor time that skopeo takes for it; none where it is not installed.
fn skopeo(folder: &Path) -> Option<Duration> {
    let begun = processor::children().unwrap();
    let mut skopeo = Command::new("skopeo");
    skopeo.current_dir(folder).args([
        "--insecure-policy",
        "copy",
        "--quiet",
        "--dest-oci-accept-uncompressed-layers",
    ]);
    skopeo.args(["--encryption-key", "jwe:key.pem", "oci:layout:v1", "oci:peer:v1"]);
    assert!(skopeo.status().ok()?.success());
    fs::remove_dir_all(folder.join("peer")).unwrap();
    Some(processor::children().unwrap() - begun)
}

/// In megabytes a second.
fn speed(bytes: u64, time: Duration) -> f64 {
    bytes as f64 / 1e6 / time.as_secs_f64()
}
