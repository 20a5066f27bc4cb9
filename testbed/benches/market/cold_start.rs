//! How long a request waits for a pod at zero, through the gateway and the engine of a running
//! daemon, in full isolation: a static server, its image unpacked. Run by run beside the OCI runtime
//! alone.

use std::time::Duration;

use apocryph_testbed::containers;
use apocryph_testbed::daemon::Daemon;
use apocryph_testbed::figure::Figure;
use apocryph_testbed::images;
use apocryph_testbed::until::until;
use tokio::task::block_in_place;

use crate::Bench;
use crate::alone::Alone;
use crate::clock::Door;

const RUNS: usize = 50;
const PORT: u16 = 8080;
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) async fn measure(bench: &Bench) -> Figure {
    bench.write("cold", &images::page("hello", Vec::new()).unwrap(), PORT, "1s", "1");
    let door = Door::of(&bench.deploy("cold").await);
    let daemon = &bench.market.daemons[0];
    // Also the first start: what only that one reads from the disk is not measured.
    block_in_place(|| door.first_byte());
    let process = containers::processes(&daemon.engine, &["main"]).unwrap()[0].0;
    let alone = Alone::copy(daemon, process, PORT);
    let (mut ours, mut peers) = (Vec::new(), Vec::new());
    for _ in 0..RUNS {
        until_at_zero(daemon).await;
        ours.push(milliseconds(block_in_place(|| door.first_byte())));
        peers.push(milliseconds(block_in_place(|| alone.first_byte())));
    }
    bench.run(&["remove", "cold"]).await;
    let name = "cold start in full isolation, request to first byte";
    Figure::spread(name, "ms", &ours).beside("crun run alone, first byte", &peers).targets(40.0, 80.0)
}

async fn until_at_zero(daemon: &Daemon) {
    let replicas = daemon.folder.join("run/replicas");
    let at_zero = async || Ok(std::fs::read_dir(&replicas)?.next().is_none());
    until("the pod is at zero", PATIENCE, at_zero).await.unwrap();
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}
