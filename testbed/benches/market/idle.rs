//! A thousand pods at zero on one daemon and one gateway, each deployed by its publisher as any other:
//! what both take while nobody asks for any of them, and how long a daemon takes to start among them.
//!
//! Every pod has all that a namespace can have: secrets in its environment and in files, a volume,
//! the pull secret, policy, quota and limits. Eleven nodes pull its image, of which ten are kwok's.
//! The daemon compares and meters as often as it does by default.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use apocryph_testbed::cli::{Cli, Said};
use apocryph_testbed::cluster::Cluster;
use apocryph_testbed::daemon::{Daemon, Offer};
use apocryph_testbed::figure::Figure;
use apocryph_testbed::gateway::{Control, Gateway};
use apocryph_testbed::market::Market;
use apocryph_testbed::until::until;
use apocryph_testbed::{images, processor};
use futures::future::join_all;
use tokio::task::block_in_place;

use crate::clock::Door;
use crate::kwok::Nodes;
use crate::requests::Requests;
use crate::starts::until_at_zero;

const PODS: usize = 1000;
/// Each deploys one pod after the other.
const PUBLISHERS: usize = 4;
const NODES: u8 = 10;
/// How often whoever waits for the deploys is told of them.
const TOLD: usize = 50;
/// How long nothing happens before it is measured that nothing does, and for how long that is.
const SETTLING: Duration = Duration::from_secs(30);
const MINUTE: Duration = Duration::from_secs(60);
/// Namespaces go one after the other, with many requests each.
const REMOVAL: Duration = Duration::from_secs(1800);
/// A volume is made when a replica is to see it, as most clusters do.
const STORAGE_CLASS: &str = "bench-late";

/// The pods with those who serve them.
struct Crowd {
    cluster: Cluster,
    gateway: Gateway,
    market: Market,
    _nodes: Nodes,
}

/// What a minute at zero took.
struct Minute {
    /// Of a core, in per cent.
    shares: [f64; 2],
    /// In MiB.
    resident: [f64; 2],
    requests: Requests,
}

pub(crate) async fn measure(cluster: &Cluster) -> Vec<Figure> {
    let mut crowd = Crowd::open(cluster).await;
    let door = crowd.deploy_all().await;
    // What only the first start of a pod does is done.
    block_in_place(|| door.first_byte());
    until_at_zero(crowd.daemon(), cluster).await;
    tokio::time::sleep(SETTLING).await;
    let minute = crowd.minute().await;
    let [ready, answered] = crowd.start_again(&door).await;
    crowd.remove().await;
    figures(&minute, ready, answered)
}

fn figures(minute: &Minute, ready: f64, answered: f64) -> Vec<Figure> {
    let Minute { shares: [daemon, gateway], resident: [daemon_mib, gateway_mib], requests } = minute;
    let one = |name, unit, value: f64| Figure::median(name, unit, &[value]);
    vec![
        one("1,000 pods at zero, daemon, of a core", "%", *daemon).target(5.0),
        one("1,000 pods at zero, gateway, of a core", "%", *gateway),
        one("1,000 pods at zero, daemon, resident memory", "MiB", *daemon_mib),
        one("1,000 pods at zero, gateway, resident memory", "MiB", *gateway_mib),
        one("1,000 pods at zero, reads of the API server in a minute", "reads", requests.reads),
        one("1,000 pods at zero, writes to the API server in a minute", "writes", requests.writes),
        one("1,000 pods at zero, watches begun in a minute", "watches", requests.watches),
        one("1,000 pods at zero, start of the daemon until it is ready", "s", ready).target(30.0),
        one("1,000 pods at zero, start of the daemon to a first byte", "s", answered).target(30.0),
    ]
}

impl Crowd {
    async fn open(cluster: &Cluster) -> Self {
        let mut market = Market::open_on(Some(cluster.clone())).await.unwrap();
        let offer = Offer { name: "idle".into(), account: 8, price: 3 };
        let daemon = market.add_provider(&offer).await.unwrap();
        daemon.stop().await.unwrap();
        let control = Control::configure(daemon).unwrap();
        let often = "[metering]\nperiod = \"500ms\"\nreconcile = \"500ms\"\n";
        daemon.configure(often, &format!("[limits]\npods-per-publisher = {PODS}\n")).unwrap();
        let class = format!("[kubernetes]\nstorage-class = \"{STORAGE_CLASS}\"\n");
        daemon.configure("[kubernetes]\n", &class).unwrap();
        daemon.start().await.unwrap();
        let gateway = control.start_gateway(1).await.unwrap();
        add_storage_class(cluster, market.folder().join("class.yaml"));
        let nodes = Nodes::add(cluster, NODES, market.folder()).await;
        Self { cluster: cluster.clone(), gateway, market, _nodes: nodes }
    }

    fn daemon(&self) -> &Daemon {
        &self.market.daemons[0]
    }

    /// Where one of the pods is reached.
    async fn deploy_all(&self) -> Door {
        let begun = Instant::now();
        let mut publishers = Vec::new();
        for account in 0..PUBLISHERS {
            publishers.push(self.market.publisher(account).await.unwrap());
        }
        let image = images::clock().unwrap();
        let mut first = Vec::new();
        for publisher in &publishers {
            image.write_to(&publisher.folder.join("images"), "idle").unwrap();
            // One after the other, until the node has the image.
            first.push(deploy(publisher, 1).await);
        }
        let others = publishers.iter().map(async |publisher| {
            for number in 2..=PODS / PUBLISHERS {
                deploy(publisher, number).await;
                if number.is_multiple_of(TOLD) {
                    eprintln!("  {number} pods of each publisher after {} s", begun.elapsed().as_secs());
                }
            }
        });
        join_all(others).await;
        Door { gateway: self.gateway.address, ..Door::of(&first[0]) }
    }

    async fn minute(&self) -> Minute {
        let processes = [self.daemon().id(), self.gateway.id()].map(Option::unwrap);
        let processor_time = || processes.map(|process| processor::of(process).unwrap().as_secs_f64());
        let (before, begun, asked) = (processor_time(), Instant::now(), Requests::of(self.daemon()).await);
        tokio::time::sleep(MINUTE).await;
        let (after, taken) = (processor_time(), begun.elapsed().as_secs_f64());
        let shares = std::array::from_fn(|at| (after[at] - before[at]) / taken * 100.0);
        let requests = Requests::of(self.daemon()).await - asked;
        Minute { shares, resident: processes.map(resident_mebibytes), requests }
    }

    /// Kills the daemon and starts it: the seconds until it reports health, and until a pod of its,
    /// woken, has answered.
    async fn start_again(&mut self, door: &Door) -> [f64; 2] {
        let daemon = &mut self.market.daemons[0];
        daemon.kill().await.unwrap();
        let begun = Instant::now();
        daemon.start().await.unwrap();
        let ready = begun.elapsed().as_secs_f64();
        block_in_place(|| door.first_byte());
        [ready, begun.elapsed().as_secs_f64()]
    }

    /// Removing all by their publishers would take as long as deploying them.
    async fn remove(mut self) {
        self.market.daemons[0].stop().await.unwrap();
        let engine = &self.market.daemons[0].engine;
        let are_gone = async || {
            let left = self.cluster.namespaces(engine)?;
            eprintln!("  {} namespaces to take away", left.len());
            self.cluster.delete_namespaces(&left)?;
            Ok(left.is_empty())
        };
        until("the namespaces are gone", REMOVAL, are_gone).await.unwrap();
        self.cluster.run(&["delete", "storageclass", STORAGE_CLASS]).unwrap();
        self.gateway.stop().await.unwrap();
    }
}

async fn deploy(publisher: &Cli, number: usize) -> Said {
    let name = format!("idle{number}");
    let manifest = include_str!("idle.yaml").replace("NAME", &name);
    std::fs::write(publisher.folder.join("idle.yaml"), manifest).unwrap();
    let words = ["deploy", "--file", "idle.yaml", "--accept-unattested", "--fund", "1"];
    publisher.run(&words, &mut |_| {}).await.unwrap()
}

/// By the provisioner that the cluster has.
fn add_storage_class(cluster: &Cluster, file: PathBuf) {
    let provisioner = ["get", "storageclass", "-o", "jsonpath={.items[0].provisioner}"];
    let provisioner = cluster.run(&provisioner).unwrap();
    let class = format!(
        "apiVersion: storage.k8s.io/v1\nkind: StorageClass\nmetadata: {{name: {STORAGE_CLASS}}}\n\
         provisioner: {provisioner}\nvolumeBindingMode: WaitForFirstConsumer\n"
    );
    std::fs::write(&file, class).unwrap();
    cluster.run(&["apply", "-f", file.to_str().unwrap()]).unwrap();
}

/// See proc(5): `VmRSS`, in KiB.
fn resident_mebibytes(process: u32) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<f64>().unwrap() / 1024.0
}
