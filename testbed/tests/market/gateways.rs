//! Several gateways before one daemon, each a process of its own.

use std::io;
use std::net::SocketAddr;

use apocryph_testbed::clients::{Answer, http_get};
use apocryph_testbed::daemon::Daemon;
use apocryph_testbed::gateway::Control;
use apocryph_testbed::until::until;

use crate::pods::{PATIENCE, close, deploy, end, insist, run, write};

/// A pod as it is asked for at any gateway.
struct Asked {
    host: String,
}

impl Asked {
    async fn at(&self, gateway: SocketAddr, path: &str) -> io::Result<Answer> {
        http_get(gateway, &self.host, path).await
    }

    /// An answer that takes `tenths` of a second, whole.
    async fn count(&self, gateway: SocketAddr, tenths: usize) {
        let answer = self.at(gateway, &format!("/cgi-bin/count?{tenths}")).await.unwrap();
        let lines: String = (0..tenths).map(|n| format!("line {n}\n")).collect();
        assert_eq!((answer.status, answer.body), (200, lines));
    }
}

/// The process that the others of the container are children of; none at zero.
fn front(daemon: &Daemon) -> Option<u32> {
    daemon.processes(&["front"]).unwrap().iter().map(|(id, _)| *id).min()
}

async fn starts(daemon: &Daemon) -> io::Result<u32> {
    let meters = daemon.metrics().await?;
    let line = meters.lines().find_map(|line| line.strip_prefix("apocryph_gateway_starts_total "));
    line.unwrap_or("0").parse().map_err(io::Error::other)
}

#[tokio::test]
async fn two_gateways_serve_one_daemon_and_survive_each_other_and_it() {
    let Some(mut market) = crate::market().await else { return };
    let publisher = market.publisher(0).await.unwrap();
    let daemon = &mut market.daemons[0];
    daemon.stop().await.unwrap();
    let control = Control::configure(daemon).unwrap();
    daemon.start().await.unwrap();
    let first = control.start_gateway(1).await.unwrap();
    let second = control.start_gateway(2).await.unwrap();
    write(&publisher, "shared", "0");
    let deployed = deploy(&publisher, "shared").await.unwrap();
    let pod = Asked { host: deployed["endpoints"][0]["host"].as_str().unwrap().into() };

    let one = async |gateway| pod.at(gateway, "/cgi-bin/ask").await.unwrap();
    let (a, b, c) = tokio::join!(one(first.address), one(second.address), one(second.address));
    assert_eq!([&a.body, &b.body, &c.body], ["the back"; 3], "{a:?} {b:?} {c:?}");
    assert_eq!(starts(&market.daemons[0]).await.unwrap(), 1, "one start for all who waited");
    let process = front(&market.daemons[0]);

    // Longer than the pod's idle period, the lease and a killed gateway's time together.
    let kill = async {
        let lost = tokio::spawn(http_get_lost(first.address, pod.host.clone()));
        until("its stream runs", PATIENCE, async || Ok(market.daemons[0].processes(&["front"])?.len() > 2))
            .await
            .unwrap();
        first.kill().await.unwrap();
        assert!(lost.await.unwrap().is_err(), "what was in its hands is lost");
    };
    tokio::join!(pod.count(second.address, 100), kill);
    assert_eq!(front(&market.daemons[0]), process, "it was not stopped meanwhile");
    until("it goes to zero", PATIENCE, async || Ok(front(&market.daemons[0]).is_none())).await.unwrap();

    assert_eq!(one(second.address).await.status, 200, "the other one starts it again");
    let process = front(&market.daemons[0]);
    let daemon = &mut market.daemons[0];
    let restart = async {
        until("the stream runs", PATIENCE, async || Ok(daemon.processes(&["front"])?.len() > 1))
            .await
            .unwrap();
        daemon.kill().await.unwrap();
        assert_eq!(one(second.address).await.body, "the back", "what runs is served without the daemon");
        daemon.start().await.unwrap();
    };
    tokio::join!(pod.count(second.address, 60), restart);
    assert_eq!(front(&market.daemons[0]), process, "it was adopted");
    // The daemon took the pod's idle period for begun: a request shows that the gateway is heard.
    insist("the pod is routed to", async || pod.at(second.address, "/cgi-bin/ask").await).await;

    let told = run(&publisher, &["status", "shared"]).await.unwrap();
    assert_eq!(told["lastError"], serde_json::Value::Null, "{told}");
    end(&publisher, "shared").await;
    let gone = insist("it is gone at the gateway", async || pod.at(second.address, "/").await).await;
    assert_eq!(gone.status, 404);
    second.stop().await.unwrap();
    close(market).await;
}

/// A request whose answer does not come to its end.
async fn http_get_lost(gateway: SocketAddr, host: String) -> io::Result<()> {
    let answer = http_get(gateway, &host, "/cgi-bin/count?100").await?;
    if answer.body.ends_with("line 99\n") { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}
