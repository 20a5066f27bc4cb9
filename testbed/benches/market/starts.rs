//! What a cluster adds: how long a request waits for a pod at zero, how much of that is ours once the
//! application is there, and how much the API server is asked to write for it.
//!
//! Several pods by turns: a replica that was stopped stays until its kubelet has counted what it used.

use std::time::Duration;

use apocryph_testbed::cluster::Cluster;
use apocryph_testbed::daemon::Daemon;
use apocryph_testbed::figure::Figure;
use apocryph_testbed::images;
use apocryph_testbed::until::until;
use tokio::task::block_in_place;

use crate::Bench;
use crate::clock::{Answer, Door, OnTheWay};
use crate::peer::Peer;
use crate::requests::Requests;

const RUNS: usize = 50;
const PODS: usize = 6;
/// Little enough that the node has room for all of them with the peer.
const CPU: &str = "250m";
const PORT: u16 = 8080;
/// The peer's image, as the node knows it.
const IMAGE: &str = "testbed.local/clock:1";
const PATIENCE: Duration = Duration::from_secs(60);
/// How long an idle pod is watched for what is written in an hour.
const IDLE: Duration = Duration::from_secs(60);
const IDLES_PER_HOUR: f64 = 60.0;
/// What may be added once the application has accepted its first connection, in milliseconds.
const ADDED: f64 = 10.0;

/// A pod at zero.
struct Cold {
    name: String,
    door: Door,
}

/// What cold starts took, each: until the first byte, and of that what the answer was on its way.
#[derive(Default)]
struct Starts {
    first_byte: Vec<f64>,
    on_the_way: Vec<OnTheWay>,
}

pub(crate) async fn measure(bench: &Bench, cluster: &Cluster) -> Vec<Figure> {
    let daemon = &bench.market.daemons[0];
    let image = images::clock().unwrap();
    let (mut pods, mut per_deploy) = (Vec::new(), Vec::new());
    for number in 0..PODS {
        let name = format!("cold{number}");
        bench.write(&name, &image, PORT, "1s", CPU);
        let before = Requests::of(daemon).await;
        let door = Door::of(&bench.deploy(&name).await);
        per_deploy.push((Requests::of(daemon).await - before).writes);
        pods.push(Cold { name, door });
    }
    let archive = bench.publisher.folder.join("clock.tar");
    image.write_archive(&archive, IMAGE).unwrap();
    cluster.import(&archive).unwrap();
    let peer = Peer::new(cluster, IMAGE, CPU);
    // What only the first start does is not measured.
    pods.iter().for_each(|pod| drop(block_in_place(|| pod.door.answer())));
    block_in_place(|| peer.answer());
    until_at_zero(daemon, cluster).await;
    let (mut ours, mut peers, before) = (Starts::default(), Starts::default(), Requests::of(daemon).await);
    for pod in pods.iter().cycle().take(RUNS) {
        let at_zero = async || Ok(cluster.replicas(&daemon.engine, &pod.name)? == 0);
        until("the pod is at zero", PATIENCE, at_zero).await.unwrap();
        ours.take(block_in_place(|| pod.door.answer()));
        peers.take(block_in_place(|| peer.answer()));
    }
    until_at_zero(daemon, cluster).await;
    let per_start = (Requests::of(daemon).await - before).writes / RUNS as f64;
    let before = Requests::of(daemon).await;
    tokio::time::sleep(IDLE).await;
    let per_hour = (Requests::of(daemon).await - before).writes * IDLES_PER_HOUR;
    for pod in &pods {
        bench.run(&["remove", &pod.name]).await;
    }
    let writes = |name, runs: &[f64]| Figure::median(name, "writes", runs);
    let mut figures = times(&ours, &peers);
    figures.extend([
        writes("on a cluster, writes to the API server per deploy", &per_deploy),
        writes("on a cluster, writes to the API server per start and stop", &[per_start]),
        writes("on a cluster, writes to the API server per hour at zero", &[per_hour]),
    ]);
    figures
}

fn times(ours: &Starts, peers: &Starts) -> Vec<Figure> {
    let start = Figure::spread("on a cluster, from zero to the first byte", "ms", &ours.first_byte);
    let accept = "on a cluster, from the application's first accept to the first byte";
    let accept = Figure::spread(accept, "ms", &ours.since_accept());
    let listening = "on a cluster, from when the application listens to the first byte";
    let listening = Figure::spread(listening, "ms", &ours.since_listening());
    vec![
        start.beside("a Deployment by kubectl scale", &peers.first_byte).targets(700.0, 1500.0),
        accept.beside("dialled directly", &peers.since_accept()).targets(ADDED, ADDED),
        listening.beside("dialled directly", &peers.since_listening()),
    ]
}

impl Starts {
    fn take(&mut self, (taken, answer): (Duration, Answer)) {
        self.first_byte.push(taken.as_secs_f64() * 1000.0);
        self.on_the_way.push(answer.on_the_way());
    }

    fn since_accept(&self) -> Vec<f64> {
        self.on_the_way.iter().map(|way| way.since_accept).collect()
    }

    fn since_listening(&self) -> Vec<f64> {
        self.on_the_way.iter().map(|way| way.since_listening).collect()
    }
}

/// Returns once nothing of the engine runs, or is about to end.
pub(crate) async fn until_at_zero(daemon: &Daemon, cluster: &Cluster) {
    let at_zero = async || Ok(cluster.pods(&daemon.engine)? == 0);
    until("the pods are at zero", PATIENCE, at_zero).await.unwrap();
}
