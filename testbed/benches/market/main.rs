//! What people see of the real programs, as figures, a line of JSON each: how long a request waits
//! for a pod at zero, how long a deploy takes to its first byte, what a warm request costs. Needs
//! root. Those whose names are given (`cold_start`, `deploy`, `proxy`), or all. With
//! `ENGINE=kubernetes`, what a cluster adds (`starts`, `idle`), on the one that the environment tells
//! of.

#![expect(clippy::unwrap_used, reason = "a benchmark that fails has nothing to report")]
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "figures, and how far it is")]

mod alone;
mod clock;
mod cold_start;
mod deploy;
mod idle;
mod kwok;
mod nginx;
mod peer;
mod proxy;
mod requests;
mod starts;

use apocryph_testbed::cli::{Cli, Said};
use apocryph_testbed::cluster::Cluster;
use apocryph_testbed::daemon::Offer;
use apocryph_testbed::layout::Image;
use apocryph_testbed::market::Market;

const PUBLISHER: usize = 0;

/// A provider, and a publisher who deploys to it.
struct Bench {
    market: Market,
    publisher: Cli,
}

#[tokio::main]
async fn main() {
    let is_cluster = std::env::var("ENGINE").is_ok_and(|engine| engine == "kubernetes");
    if is_cluster { on_a_cluster(&Cluster::of_environment().unwrap()).await } else { on_this_machine().await }
}

async fn on_this_machine() {
    let mut bench = Bench::open(None).await;
    if is_wanted("cold_start") {
        println!("{}", cold_start::measure(&bench).await);
    }
    if is_wanted("deploy") {
        println!("{}", deploy::measure(&bench).await);
    }
    if is_wanted("proxy") {
        println!("{}", proxy::measure(&mut bench).await);
    }
    bench.close().await;
}

async fn on_a_cluster(cluster: &Cluster) {
    let print = |figures: Vec<_>| figures.iter().for_each(|figure| println!("{figure}"));
    if is_wanted("starts") {
        let bench = Bench::open(Some(cluster.clone())).await;
        print(starts::measure(&bench, cluster).await);
        bench.close().await;
    }
    if is_wanted("idle") {
        print(idle::measure(cluster).await);
    }
}

/// Whether a figure is named on the command line; where none is, all are wanted.
fn is_wanted(name: &str) -> bool {
    let mut names = std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).peekable();
    names.peek().is_none() || names.any(|wanted| wanted == name)
}

impl Bench {
    async fn open(cluster: Option<Cluster>) -> Self {
        let mut market = Market::open_on(cluster).await.unwrap();
        market.add_provider(&Offer { name: "bench".into(), account: 8, price: 3 }).await.unwrap();
        let publisher = market.publisher(PUBLISHER).await.unwrap();
        Self { market, publisher }
    }

    async fn close(mut self) {
        for daemon in &mut self.market.daemons {
            daemon.stop().await.unwrap();
        }
    }

    /// Writes an image that serves HTTP at a port, and a manifest for it.
    fn write(&self, name: &str, image: &Image, port: u16, idle: &str, cpu: &str) {
        image.write_to(&self.publisher.folder.join("images"), name).unwrap();
        let manifest = include_str!("pod.yaml").replace("NAME", name);
        let manifest = manifest.replace("PORT", &port.to_string()).replace("IDLE", idle).replace("CPU", cpu);
        std::fs::write(self.publisher.folder.join(format!("{name}.yaml")), manifest).unwrap();
    }

    async fn deploy(&self, name: &str) -> Said {
        let manifest = format!("{name}.yaml");
        self.run(&["deploy", "--file", &manifest, "--accept-unattested", "--fund", "20"]).await
    }

    async fn run(&self, arguments: &[&str]) -> Said {
        self.publisher.run(arguments, &mut |_| {}).await.unwrap()
    }
}
