//! How long it takes from `apocryph deploy` of an image that nobody has seen to the first byte of the
//! first request: bought, encrypted, shipped, decrypted, unpacked, woken.

use std::fs::File;
use std::io::Read as _;
use std::time::Instant;

use apocryph_testbed::figure::Figure;
use apocryph_testbed::images;
use tokio::task::block_in_place;

use crate::Bench;
use crate::clock::Door;

const RUNS: usize = 10;
const BALLAST: u64 = 50 << 20;
const PORT: u16 = 8080;
const TARGET: f64 = 4.0;

pub(crate) async fn measure(bench: &Bench) -> Figure {
    let mut runs = Vec::new();
    for run in 0..RUNS {
        let name = format!("big{run}");
        bench.write(&name, &images::page("hello", ballast()).unwrap(), PORT, "60s", "1");
        let begun = Instant::now();
        let door = Door::of(&bench.deploy(&name).await);
        block_in_place(|| door.first_byte());
        runs.push(begun.elapsed().as_secs_f64());
        bench.run(&["remove", &name]).await;
    }
    Figure::spread("deploy of 50 MiB, command to first byte", "s", &runs).target(TARGET)
}

/// Nothing that could be compressed, or known from before.
fn ballast() -> Vec<u8> {
    let mut bytes = Vec::new();
    File::open("/dev/urandom").unwrap().take(BALLAST).read_to_end(&mut bytes).unwrap();
    bytes
}
