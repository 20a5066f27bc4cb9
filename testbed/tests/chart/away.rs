//! A daemon that starts while its cluster's API server is away: it waits, says so, and goes on.

use std::net::SocketAddr;
use std::path::Path;

use apocryph_testbed::clients::http_get;
use apocryph_testbed::cluster::Cluster;
use apocryph_testbed::daemon::{Daemon, Offer};
use apocryph_testbed::market::Market;
use apocryph_testbed::until::until;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::install::{PATIENCE, pass_on, run, write_pod};

/// The API server's own name, by its certificate.
const NAME: &str = "kubernetes.default.svc";

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_waits_for_a_cluster_that_is_away() {
    let cluster = match Cluster::of_environment() {
        Ok(cluster) => cluster,
        Err(error) => return eprintln!("skipped: {error}"),
    };
    if !apocryph_testbed::chain::is_there() {
        return eprintln!("skipped: anvil is missing: run `npm install --no-save --prefix contracts`");
    }
    let mut market = Market::open_on(Some(cluster.clone())).await.unwrap();
    market.add_provider(&Offer { name: "waiting".into(), account: 8, price: 3 }).await.unwrap();
    let publisher = market.publisher(0).await.unwrap();
    write_pod(&publisher);
    let arguments = ["deploy", "--file", "web.yaml", "--accept-unattested", "--fund", "20"];
    let deployed = run(&publisher, &arguments).await.unwrap();
    let host = deployed["endpoints"][0]["host"].as_str().unwrap().to_owned();
    let daemon = &mut market.daemons[0];
    serves(daemon, &host).await;
    let replica = daemon.processes(&["front"]).unwrap();

    // The way to the API server, that is not there yet.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let way = listener.local_addr().unwrap();
    drop(listener);
    let (server, kubeconfig) = detour(&cluster, way, &daemon.folder.join("detour"));
    daemon.kill().await.unwrap();
    let own = format!("kubeconfig = {:?}", cluster.kubeconfig);
    daemon.configure(&own, &format!("kubeconfig = {kubeconfig:?}")).unwrap();
    daemon.launch().unwrap();
    waits(daemon).await;

    let passing = tokio::spawn(pass_on(TcpListener::bind(way).await.unwrap(), server));
    daemon.ready().await.unwrap();
    serves(daemon, &host).await;
    assert_eq!(daemon.processes(&["front"]).unwrap(), replica, "what runs was taken over");

    daemon.stop().await.unwrap();
    as_nobody(&kubeconfig);
    daemon.launch().unwrap();
    let refused = daemon.ready().await.unwrap_err().to_string();
    assert!(refused.contains("exit code 3") && refused.contains("Unauthorized"), "{refused}");

    daemon.configure(&format!("kubeconfig = {kubeconfig:?}"), &own).unwrap();
    daemon.start().await.unwrap();
    run(&publisher, &["remove", "web"]).await.unwrap();
    let back = async || run(&publisher, &["withdraw", "web"]).await.map(|_| true);
    until("its money comes back", PATIENCE, back).await.unwrap();
    passing.abort();
    assert_eq!(market.close().await.unwrap().to_string(), "nothing");
}

/// A file that leads to the API server by another address; with the address that it is at.
fn detour(cluster: &Cluster, way: SocketAddr, file: &Path) -> (SocketAddr, String) {
    let view = cluster.ask(&["config", "view", "--raw", "--flatten", "-o", "json"]).unwrap();
    let mut config: Value = serde_json::from_str(&view).unwrap();
    let there = &mut config["clusters"][0]["cluster"];
    let server: url::Url = there["server"].as_str().unwrap().parse().unwrap();
    there["server"] = json!(format!("https://{way}"));
    there["tls-server-name"] = json!(NAME);
    std::fs::write(file, config.to_string()).unwrap();
    (server.socket_addrs(|| None).unwrap()[0], file.to_str().unwrap().to_owned())
}

/// Changes the file so that its user is unknown.
fn as_nobody(file: &str) {
    let mut config: Value = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
    config["users"][0]["user"] = json!({ "token": "of nobody" });
    std::fs::write(file, config.to_string()).unwrap();
}

async fn serves(daemon: &Daemon, host: &str) {
    let answers = async || Ok(http_get(daemon.gateway, host, "/cgi-bin/count?1").await?.body == "line 0\n");
    until("the pod is served", PATIENCE, answers).await.unwrap();
}

/// It runs, is not ready, and says why.
async fn waits(daemon: &Daemon) {
    let tells = async || {
        let told = daemon.health("/readyz").await?;
        Ok(told.status == 503 && told.body.contains("the cluster is not there"))
    };
    until("it says what it waits for", PATIENCE, tells).await.unwrap();
    assert_eq!(daemon.health("/healthz").await.unwrap().status, 200);
    let status = daemon.command("status").await.unwrap();
    assert!(status.contains("the cluster is not there") && status.contains("lives"), "{status}");
}
