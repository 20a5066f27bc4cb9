//! The daemon is killed at any time and started again.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::io;
use std::time::Duration;

use apocryph_testbed::cli::Cli;
use apocryph_testbed::market::Market;

use crate::pods::{ask, close, deploy, end, insist, run, write};

const KILLS: usize = 20;
/// A kill comes within this time of the action's beginning: most actions take less.
const WITHIN_MS: u64 = 1500;

#[tokio::test]
async fn twenty_kills_lose_nothing_double_nothing_and_leave_nothing() {
    let Some(mut market) = crate::market().await else { return };
    let publisher = market.publisher(0).await.unwrap();
    write(&publisher, "steady", "0");
    write(&publisher, "fleeting", "0");
    deploy(&publisher, "steady").await.unwrap();
    for round in 0..KILLS {
        let moment = Duration::from_millis(random() % WITHIN_MS);
        struck(&mut market, &publisher, round, moment).await;
        insist("it goes on", async || act(&publisher, round).await).await;
        if is_removal(round) {
            insist("its money comes back", async || run(&publisher, &["withdraw", "fleeting"]).await).await;
        }
    }
    end(&publisher, "steady").await;
    insist("it is deployed", async || deploy(&publisher, "fleeting").await).await;
    end(&publisher, "fleeting").await;
    close(market).await;
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
