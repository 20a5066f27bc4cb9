//! What people see of the real programs, as figures, a line of JSON each: how long a request waits
//! for a pod at zero, how long a deploy takes to its first byte, what a warm request costs. Needs
//! root. Those whose names are given (`cold_start`, `deploy`, `proxy`), or all. With
//! `ENGINE=kubernetes`, what a cluster adds, on the one that the environment tells of.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark that fails has nothing to report")]

mod alone;
mod clock;
mod cluster;
mod cold_start;
mod deploy;
mod nginx;
mod peer;
mod proxy;

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
    let cluster = is_cluster.then(|| Cluster::of_environment().unwrap());
    let mut market = Market::open_on(cluster.clone()).await.unwrap();
    market.add_provider(&Offer { name: "bench".into(), account: 8, price: 3 }).await.unwrap();
    let publisher = market.publisher(PUBLISHER).await.unwrap();
    let mut bench = Bench { market, publisher };
    match cluster {
        Some(cluster) => {
            cluster::measure(&bench, &cluster).await.iter().for_each(|figure| println!("{figure}"))
        }
        None => on_this_machine(&mut bench).await,
    }
    for daemon in &mut bench.market.daemons {
        daemon.stop().await.unwrap();
    }
}

async fn on_this_machine(bench: &mut Bench) {
    if is_wanted("cold_start") {
        println!("{}", cold_start::measure(bench).await);
    }
    if is_wanted("deploy") {
        println!("{}", deploy::measure(bench).await);
    }
    if is_wanted("proxy") {
        println!("{}", proxy::measure(bench).await);
    }
}

/// Whether a figure is named on the command line; where none is, all are wanted.
fn is_wanted(name: &str) -> bool {
    let mut names = std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).peekable();
    names.peek().is_none() || names.any(|wanted| wanted == name)
}

impl Bench {
    /// Writes an image that serves HTTP at a port, and a manifest for it.
    fn write(&self, name: &str, image: &Image, port: u16, idle: &str) {
        image.write_to(&self.publisher.folder.join("images"), name).unwrap();
        let manifest = include_str!("pod.yaml").replace("NAME", name);
        let manifest = manifest.replace("PORT", &port.to_string()).replace("IDLE", idle);
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
