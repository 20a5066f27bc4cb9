//! Prints how many megabytes of a layer one core encrypts and decrypts in a second, as lines of
//! `{"name", "unit", "value"}`.

use std::error::Error;
use std::hint::black_box;
use std::time::Instant;

use apocryph_seal::{LayerDecryptor, LayerEncryptor};

const LAYER_LEN: usize = 256 << 20;
const CHUNK_LEN: usize = 64 << 10;

fn main() -> Result<(), Box<dyn Error>> {
    let plain = vec![0x5a; LAYER_LEN];
    // Filled beforehand, so that the page faults are not measured.
    let mut cipher = vec![0xa5; LAYER_LEN];

    let start = Instant::now();
    let mut encryptor = LayerEncryptor::new()?;
    for (from, to) in plain.chunks(CHUNK_LEN).zip(cipher.chunks_mut(CHUNK_LEN)) {
        to.copy_from_slice(encryptor.update(from)?);
    }
    let layer = encryptor.finish()?;
    report("layer encryption", start);

    let start = Instant::now();
    let mut decryptor = LayerDecryptor::new(layer.keys)?;
    for chunk in cipher.chunks(CHUNK_LEN) {
        black_box(decryptor.update(chunk)?);
    }
    decryptor.finish()?;
    report("layer decryption", start);
    Ok(())
}

#[expect(clippy::print_stdout, reason = "a benchmark's output")]
fn report(name: &str, start: Instant) {
    let value = LAYER_LEN as f64 / 1e6 / start.elapsed().as_secs_f64();
    println!(r#"{{"name": "{name}", "unit": "MB/s", "value": {value:.0}}}"#);
}
