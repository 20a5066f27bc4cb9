//! What a cluster adds: how long a request waits for a pod at zero, and how much the API server is
//! asked to write for it.

use std::time::Duration;

use apocryph_testbed::cluster::Cluster;
use apocryph_testbed::daemon::Daemon;
use apocryph_testbed::figure::Figure;
use apocryph_testbed::images;
use apocryph_testbed::until::until;
use tokio::task::block_in_place;

use crate::Bench;
use crate::clock::Door;
use crate::peer::Peer;

const RUNS: usize = 50;
const PORT: u16 = 8080;
const PATIENCE: Duration = Duration::from_secs(60);
/// How long an idle pod is watched for what is written in an hour.
const IDLE: Duration = Duration::from_secs(60);
const IDLES_PER_HOUR: f64 = 60.0;
/// The methods by which clients of the API server write.
const WRITES: [&str; 4] = ["POST", "PUT", "PATCH", "DELETE"];

pub(crate) async fn measure(bench: &Bench, cluster: &Cluster) -> [Figure; 4] {
    let daemon = &bench.market.daemons[0];
    bench.write("cold", &images::page("hello", Vec::new()).unwrap(), PORT, "1s");
    let before = writes(daemon).await;
    let door = Door::of(&bench.deploy("cold").await);
    let per_deploy = writes(daemon).await - before;
    let peer = Peer::new(cluster);
    // Also the first start: what only that one does is not measured.
    block_in_place(|| (door.first_byte(), peer.first_byte()));
    let (mut ours, mut peers, mut per_start) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..RUNS {
        until_at_zero(daemon, cluster).await;
        let before = writes(daemon).await;
        ours.push(block_in_place(|| door.first_byte()).as_secs_f64() * 1000.0);
        until_at_zero(daemon, cluster).await;
        per_start.push(writes(daemon).await - before);
        peers.push(block_in_place(|| peer.first_byte()).as_secs_f64() * 1000.0);
    }
    let before = writes(daemon).await;
    tokio::time::sleep(IDLE).await;
    let per_hour = (writes(daemon).await - before) * IDLES_PER_HOUR;
    bench.run(&["remove", "cold"]).await;
    let start = Figure::spread("on a cluster, from zero to the first byte", "ms", &ours);
    [
        start.beside("a Deployment by kubectl scale, first byte", &peers).targets(700.0, 1500.0),
        Figure::median("on a cluster, writes to the API server per deploy", "writes", &[per_deploy]),
        Figure::median("on a cluster, writes to the API server per start and stop", "writes", &per_start),
        Figure::median("on a cluster, writes to the API server per hour at zero", "writes", &[per_hour]),
    ]
}

/// By the daemon's own count.
async fn writes(daemon: &Daemon) -> f64 {
    let metrics = daemon.metrics().await.unwrap();
    let count = |method: &&str| {
        let name = format!("apocryph_cluster_requests_total{{method=\"{method}\"}} ");
        metrics.lines().find_map(|line| line.strip_prefix(&name)?.parse::<f64>().ok()).unwrap_or_default()
    };
    WRITES.iter().map(count).sum()
}

async fn until_at_zero(daemon: &Daemon, cluster: &Cluster) {
    let at_zero = async || Ok(cluster.pods(&daemon.engine)? == 0);
    until("the pod is at zero", PATIENCE, at_zero).await.unwrap();
}
