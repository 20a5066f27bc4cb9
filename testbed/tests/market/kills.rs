//! The daemon is killed at any time and started again.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::io;
use std::time::{Duration, Instant};

use apocryph_testbed::cli::Cli;
use apocryph_testbed::containers;
use apocryph_testbed::market::Market;

use crate::pods::{ask, close, deploy, end, insist, run, write};

const KILLS: usize = 20;
/// A kill comes within this time of the action's beginning: most actions take less.
const WITHIN_MS: u64 = 1500;
/// What a pod that always runs reserves, in thousandths of a core.
const RESERVED: u128 = 600;

#[tokio::test]
async fn twenty_kills_lose_nothing_double_nothing_and_leave_nothing() {
    let Some(mut market) = crate::market().await else { return };
    let publisher = market.publisher(0).await.unwrap();
    write(&publisher, "steady", "0");
    write(&publisher, "fleeting", "0");
    deploy(&publisher, "steady").await.unwrap();
    let lasting = Lasting::deploy(&market, &publisher).await;
    for round in 0..KILLS {
        let moment = Duration::from_millis(random() % WITHIN_MS);
        struck(&mut market, &publisher, round, moment).await;
        insist("it goes on", async || act(&publisher, round).await).await;
        if is_removal(round) {
            insist("its money comes back", async || run(&publisher, &["withdraw", "fleeting"]).await).await;
        }
        assert_eq!(Lasting::process(&market), lasting.process, "round {round}: it runs on");
    }
    lasting.end(&publisher).await;
    end(&publisher, "steady").await;
    insist("it is deployed", async || deploy(&publisher, "fleeting").await).await;
    end(&publisher, "fleeting").await;
    close(market).await;
}

/// A pod that always runs, in the same process, whatever happens to the daemon.
struct Lasting {
    process: u32,
    deploying: Instant,
    running: Instant,
}

impl Lasting {
    async fn deploy(market: &Market, publisher: &Cli) -> Self {
        write(publisher, "lasting", "0");
        let file = publisher.folder.join("lasting.yaml");
        let manifest = std::fs::read_to_string(&file).unwrap();
        let manifest = manifest.replace("- name: front", "- name: lasting").replace("min: 0", "min: 1");
        std::fs::write(file, manifest).unwrap();
        let deploying = Instant::now();
        deploy(publisher, "lasting").await.unwrap();
        assert_eq!(ask(publisher, "lasting", "/cgi-bin/ask").await.unwrap().status, 200);
        Self { process: Self::process(market), deploying, running: Instant::now() }
    }

    /// The one that the others of its container are children of.
    fn process(market: &Market) -> u32 {
        let found = containers::processes(&market.daemons[0].engine, &["lasting"]).unwrap();
        found.iter().map(|(id, _)| *id).min().unwrap()
    }

    /// Every moment of its life was billed, and none twice.
    async fn end(self, publisher: &Cli) {
        let ran = self.running.elapsed().as_millis();
        run(publisher, &["remove", "lasting"]).await.unwrap();
        let lived = self.deploying.elapsed().as_millis();
        let usage = run(publisher, &["usage", "lasting"]).await.unwrap();
        let billed = u128::from(usage["epochs"]["1"]["cpu-reserved"].as_u64().unwrap());
        assert!((ran * RESERVED..=lived * RESERVED).contains(&billed), "{ran} to {lived} ms: {usage}");
        end(publisher, "lasting").await;
    }
}

/// Something is done while the daemon is killed; how it ends is the daemon's death's affair.
async fn struck(market: &mut Market, publisher: &Cli, round: usize, moment: Duration) {
    let daemon = &mut market.daemons[0];
    let strike = async {
        tokio::time::sleep(moment).await;
        daemon.kill().await.unwrap();
    };
    let ((), _) = tokio::join!(strike, act(publisher, round));
    let started = daemon.start().await;
    assert!(started.is_ok(), "round {round}, killed after {moment:?}: {}", started.unwrap_err());
}

/// A deploy that changes the pod, a request, a removal with its claim, a new pod.
async fn act(publisher: &Cli, round: usize) -> io::Result<()> {
    match round % 4 {
        0 => {
            write(publisher, "steady", &round.to_string());
            deploy(publisher, "steady").await?;
        }
        1 => {
            let answer = ask(publisher, "steady", "/cgi-bin/ask").await?;
            if answer.status != 200 {
                return Err(io::Error::other(format!("answered {answer:?}")));
            }
        }
        2 => drop(deploy(publisher, "fleeting").await?),
        3.. => drop(run(publisher, &["remove", "fleeting"]).await?),
    }
    Ok(())
}

fn is_removal(round: usize) -> bool {
    round % 4 == 3
}

fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}
