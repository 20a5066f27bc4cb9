//! Prints how many megabytes of an image in a layout folder are encrypted into files in a second,
//! reading and writing included, as a line of `{"name", "unit", "value"}`.

use std::error::Error;
use std::time::Instant;

use apocryph_oci::{DockerPlaces, OciImages};
use apocryph_publisher::Images as _;
use apocryph_seal::DeploymentKey;
use apocryph_testbed::layout::{Image, Layer};

const LAYERS: usize = 4;
const LAYER_LEN: usize = 64 << 20;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let path = folder.path();
    let layer = |index: usize| Layer::new().file("data", vec![index as u8; LAYER_LEN], 0o644);
    Image::new((0..LAYERS).map(layer).collect()).write_to(&path.join("layout"), "v1")?;
    let docker = DockerPlaces { socket: path.join("none"), config: path.join("none") };
    let images = OciImages::new(docker, path.to_owned());
    let key = DeploymentKey::generate()?.to_pkcs8()?;
    let resolved = images.resolve("oci:layout", path).await?;
    let start = Instant::now();
    images.encrypt(&resolved, path, &key, &path.join("out"), &|_| {}).await?;
    report(resolved.size as f64 / 1e6 / start.elapsed().as_secs_f64());
    Ok(())
}

#[expect(clippy::print_stdout, reason = "a benchmark's output")]
fn report(value: f64) {
    println!(r#"{{"name": "image encryption into files", "unit": "MB/s", "value": {value:.0}}}"#);
}
