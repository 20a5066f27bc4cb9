//! What a warm request costs the gateway of a running daemon in processor time, beside nginx as a
//! proxy in front of the same pod: both on the same core, by turns, the load and the pod on another.
//! The daemon's meters, ledger and all else run on meanwhile and count as the gateway's.

use std::fs;
use std::net::SocketAddr;
use std::process::Command;

use apocryph_testbed::containers;
use apocryph_testbed::daemon::Daemon;
use apocryph_testbed::figure::Figure;
use apocryph_testbed::{images, processor};
use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;
use serde_json::Value;

use crate::Bench;
use crate::clock::Door;
use crate::nginx;

const RUNS: usize = 7;
const PROXY_CORE: usize = 0;
const OTHER_CORE: usize = 1;
const CONNECTIONS: &str = "-c64";
const SECONDS: &str = "-d4s";
/// Of nginx's requests per second of processor time.
const TARGET: f64 = 0.9;
const PORT: u16 = 80;

/// A proxy under load: its process, and where it listens.
struct Proxy<'a> {
    process: u32,
    address: SocketAddr,
    host: &'a str,
}

pub(crate) async fn measure(bench: &mut Bench) -> Figure {
    bench.write("warm", &images::silent_nginx("hello").unwrap(), PORT, "10m", "1");
    let door = Door::of(&bench.deploy("warm").await);
    let daemon = &mut bench.market.daemons[0];
    tokio::task::block_in_place(|| door.first_byte());
    // What it starts from now on runs where it does; the pod runs on.
    daemon.stop().await.unwrap();
    pin(0, PROXY_CORE);
    daemon.start().await.unwrap();
    let pod = (address_of_pod(daemon), PORT).into();
    let (nginx, listens) = nginx::start(&daemon.folder.join("nginx"), pod).await;
    pin(0, OTHER_CORE);
    for (process, _) in containers::processes(&daemon.engine, &["main"]).unwrap() {
        pin(process, OTHER_CORE);
    }
    let own = Proxy { process: daemon.id().unwrap(), address: door.gateway, host: &door.host };
    let peer = Proxy { process: nginx.id().unwrap(), address: listens, host: &door.host };
    let (mut ours, mut peers) = (Vec::new(), Vec::new());
    for _ in 0..RUNS {
        ours.push(tokio::task::block_in_place(|| own.microseconds_per_request()));
        peers.push(tokio::task::block_in_place(|| peer.microseconds_per_request()));
    }
    bench.run(&["remove", "warm"]).await;
    let figure = Figure::median("warm proxy, processor time of a request", "us", &ours);
    let figure = figure.beside("nginx as a proxy, on the same core", &peers);
    let target = figure.peer_value().map_or(f64::NAN, |peer| peer / TARGET);
    figure.target(target)
}

impl Proxy<'_> {
    fn microseconds_per_request(&self) -> f64 {
        let before = processor::of(self.process).unwrap();
        let requests = self.load();
        (processor::of(self.process).unwrap() - before).as_secs_f64() * 1e6 / requests
    }

    /// How many requests were answered, each with success.
    fn load(&self) -> f64 {
        let mut wrk = Command::new("wrk");
        wrk.args(["-t1", CONNECTIONS, SECONDS, "-H", &format!("Host: {}", self.host)]);
        let output = wrk.arg(format!("http://{}/", self.address)).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(!text.contains("Non-2xx") && !text.contains("Socket errors"), "{text}");
        let line = text.lines().find(|line| line.contains(" requests in ")).unwrap();
        line.split_whitespace().next().unwrap().parse().unwrap()
    }
}

/// Keeps a process to a core; 0 is the thread that calls, with all that it starts.
fn pin(process: u32, core: usize) {
    let mut cores = CpuSet::new();
    cores.set(core).unwrap();
    sched_setaffinity(Pid::from_raw(process.try_into().unwrap()), &cores).unwrap();
}

fn address_of_pod(daemon: &Daemon) -> std::net::IpAddr {
    let mut replicas = fs::read_dir(daemon.folder.join("run/replicas")).unwrap();
    let record = replicas.next().unwrap().unwrap().path().join("record.json");
    let record: Value = serde_json::from_slice(&fs::read(record).unwrap()).unwrap();
    record["address"].as_str().unwrap().parse().unwrap()
}
