//! The chart on a real cluster: a daemon and two gateways in it, and a pod that is reached by them.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use apocryph_testbed::chain::DevChain;
use apocryph_testbed::cli::Cli;
use apocryph_testbed::clients::http_get;
use apocryph_testbed::cluster::Cluster;
use apocryph_testbed::images;
use apocryph_testbed::market::Market;
use apocryph_testbed::until::until;
use serde_json::Value;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use crate::helm;
use crate::release::Release;
use crate::site::Site;

pub(crate) const PATIENCE: Duration = Duration::from_secs(90);
/// Whence pods get their host names, and the Secret with its certificate.
const DOMAIN: &str = "charted.localhost";
const TLS_SECRET: &str = "apocryph-tls";

/// A cluster that can be given images; `None` where there is none: says why.
fn cluster() -> Option<Cluster> {
    match Cluster::of_environment() {
        Ok(cluster) if cluster.imports() => Some(cluster),
        Ok(_) => {
            eprintln!("skipped: no command gives the nodes an image: CLUSTER_IMPORT is not set");
            None
        }
        Err(error) => {
            eprintln!("skipped: {error}");
            None
        }
    }
}

/// Lets the cluster's pods reach a chain that listens on the loopback interface.
async fn lend(cluster: &Cluster, chain: SocketAddr) -> (SocketAddr, JoinHandle<()>) {
    let listener = TcpListener::bind((cluster.host, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    (address, tokio::spawn(pass_on(listener, chain)))
}

/// Passes connections on for as long as it is polled.
pub(crate) async fn pass_on(listener: TcpListener, to: SocketAddr) {
    while let Ok((mut here, _)) = listener.accept().await {
        tokio::spawn(async move {
            if let Ok(mut there) = TcpStream::connect(to).await {
                // Either end may break off.
                let _ = copy_bidirectional(&mut here, &mut there).await;
            }
        });
    }
}

/// Everything is looked at often, and nothing takes long.
fn values(chain: &DevChain, rpc: SocketAddr, engine: &str) -> String {
    let contracts = chain.contracts();
    format!(
        r#"
name: charted
chain:
  rpc: ["http://{rpc}"]
  id: {id}
  payment: "{payment}"
  registry: "{registry}"
  token: "{token}"
prices: {{cpuUsed: "3", cpuReserved: "3", memory: "0.3", storage: "0.003", ingress: "0.003", egress: "0.03"}}
engine: {{name: {engine}, stopGrace: 3s}}
link: {{lease: 2s}}
daemon: {{persistence: {{size: 1Gi}}}}
gateway: {{domain: {DOMAIN}, tlsSecret: {TLS_SECRET}, service: {{type: ClusterIP}}}}
p2p: {{service: {{type: ClusterIP}}}}
settings: |
  [terms]
  least-runway = "5s"
  least-unlock-delay = "3s"
  grace = "1s"
  [metering]
  period = "500ms"
  reconcile = "500ms"
  [claims]
  before-end = "5s"
  [limits]
  store-size = "512Mi"
"#,
        id = chain.id(),
        payment = contracts.payment,
        registry = contracts.registry,
        token = chain.token(),
    )
}

pub(crate) async fn run(publisher: &Cli, arguments: &[&str]) -> io::Result<Value> {
    let said = publisher.run(arguments, &mut |_| {}).await.map_err(io::Error::other)?;
    Ok(said.result().clone())
}

pub(crate) fn write_pod(publisher: &Cli) {
    let images = publisher.folder.join("images");
    images::front().unwrap().write_to(&images, "front").unwrap();
    let manifest = include_str!("../market/single.yaml").replace("NAME", "web");
    let entrypoint = r#"[/bin/httpd, -f, -p, "8080", -h, /srv]"#;
    std::fs::write(publisher.folder.join("web.yaml"), manifest.replace("ENTRYPOINT", entrypoint)).unwrap();
}

/// Asks for some lines, which takes `tenths` of a second.
async fn count(gateway: SocketAddr, host: &str, tenths: usize) -> io::Result<()> {
    let answer = http_get(gateway, host, &format!("/cgi-bin/count?{tenths}")).await?;
    let lines: String = (0..tenths).map(|n| format!("line {n}\n")).collect();
    if answer.status == 200 && answer.body == lines {
        return Ok(());
    }
    Err(io::Error::other(format!("{answer:?}")))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_lives_in_a_cluster() {
    let (Some(cluster), Some(helm)) = (cluster(), helm()) else { return };
    if !apocryph_testbed::chain::is_there() {
        return eprintln!("skipped: anvil is missing: run `npm install --no-save --prefix contracts`");
    }
    let mut market = Market::open_on(Some(cluster.clone())).await.unwrap();
    let mark = market.traces.cgroups.clone();
    let chain: SocketAddr = market.chain.url().socket_addrs(|| None).unwrap()[0];
    let (rpc, lent) = lend(&cluster, chain).await;
    let values = values(&market.chain, rpc, &format!("{mark}a"));
    let release = Release::prepare(helm, &cluster, &mark, market.folder(), &values);
    let site = Site::of(DOMAIN, market.folder());
    release.secret_for_tls(TLS_SECRET, &site);
    release.install(&[]);

    // Where publishers find what the cluster has chosen addresses for.
    let [p2p, gateway] = [release.service("p2p", 4001), release.service("gateway", 80)];
    cluster.trust(release.service("registry", 5000)).unwrap();
    let reached = format!(r#"network.external=["/ip4/{}/tcp/4001"]"#, p2p.ip());
    release.install(&[reached, format!(r#"gateway.publicAddress="{}""#, gateway.ip())]);
    let checked = release.apocryphd(&["check"]);
    assert!(!checked.contains("lacks") && !checked.contains("a reader on"), "{checked}");
    release.apocryphd(&["register"]);

    let publisher = market.publisher(0).await.unwrap();
    write_pod(&publisher);
    let arguments = ["deploy", "--file", "web.yaml", "--accept-unattested", "--fund", "20"];
    let deployed = run(&publisher, &arguments).await.unwrap();
    let endpoint = &deployed["endpoints"][0];
    let over_tls = SocketAddr::new(gateway.ip(), 443);
    assert_eq!(endpoint["gateway"], over_tls.to_string(), "{deployed}");
    let host = endpoint["host"].as_str().unwrap();
    count(gateway, host, 1).await.unwrap();
    let answer = site.get(over_tls, host, "/cgi-bin/count?1").await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("line 0"), "{answer}");
    survives_the_daemon(&release, gateway, host).await;
    survives_a_gateway(&release, gateway, host).await;

    run(&publisher, &["remove", "web"]).await.unwrap();
    ends_are_read(&release).await;
    let back = async || run(&publisher, &["withdraw", "web"]).await.map(|_| true);
    until("its money comes back", PATIENCE, back).await.unwrap();
    leaves_what_the_docs_say(&release, &cluster, &mark);
    drop(release);
    lent.abort();
    assert_eq!(market.close().await.unwrap().to_string(), "nothing");
}

/// The reader on the node told what the last replica used in the end: all of it, or, where the node was too busy
/// for it to look between the last process's end and that of the cgroup, what it had seen before.
async fn ends_are_read(release: &Release) {
    let of_daemon = ["get", "pods", "-l", "app.kubernetes.io/component=daemon"];
    let address = release.ask(&[&of_daemon[..], &["-o", "jsonpath={.items[*].status.podIP}"]].concat());
    let meters = SocketAddr::new(address.parse().unwrap(), 9090);
    let told = async || {
        let said = http_get(meters, "meters", "/metrics").await?.body;
        Ok(["whole", "part"]
            .iter()
            .any(|seen| said.contains(&format!(r#"last_readings_total{{seen="{seen}"}}"#))))
    };
    until("a last reading is there", Duration::from_secs(20), told).await.unwrap();
}

/// What runs is served without the daemon, and by the next one.
async fn survives_the_daemon(release: &Release, gateway: SocketAddr, host: &str) {
    let daemon = "app.kubernetes.io/component=daemon";
    let streaming = count(gateway, host, 100);
    let restart = async {
        release.ask(&["delete", "pod", "--wait=false", "--grace-period=0", "--force", "-l", daemon]);
        count(gateway, host, 1).await
    };
    let (streamed, meanwhile) = tokio::join!(streaming, restart);
    streamed.unwrap();
    meanwhile.unwrap();
    release.ask(&["rollout", "status", "--timeout=90s", "deploy/apocryph"]);
    count(gateway, host, 1).await.unwrap();
}

/// One of the two goes, and the other one serves.
async fn survives_a_gateway(release: &Release, gateway: SocketAddr, host: &str) {
    let of_gateways = ["get", "pods", "-l", "app.kubernetes.io/component=gateway"];
    let names = release.ask(&[&of_gateways[..], &["-o", "jsonpath={.items[*].metadata.name}"]].concat());
    let names: Vec<_> = names.split_whitespace().collect();
    assert_eq!(names.len(), 2, "{names:?}");
    release.ask(&["delete", "pod", "--grace-period=0", "--force", names[0]]);
    until("the other one serves", PATIENCE, async || count(gateway, host, 1).await.map(|()| true))
        .await
        .unwrap();
    release.ask(&["rollout", "status", "--timeout=90s", "deploy/apocryph-gateway"]);
}

/// The claim with keys and ledger, and the Secrets that were there before; of pods nothing.
fn leaves_what_the_docs_say(release: &Release, cluster: &Cluster, mark: &str) {
    assert_eq!(cluster.namespaces(mark).unwrap(), Vec::<String>::new());
    release.uninstall();
    let left =
        release.ask(&["get", "deploy,ds,svc,pvc,secret,networkpolicy,pdb,serviceaccount", "-o", "name"]);
    let left: Vec<_> = left.lines().filter(|name| !name.ends_with("/default")).collect();
    assert_eq!(
        left,
        [
            "persistentvolumeclaim/apocryph",
            "secret/apocryph-account",
            "secret/apocryph-gateway-link",
            "secret/apocryph-node-readers",
            "secret/apocryph-tls",
        ]
    );
    let of_the_cluster = cluster.ask(&["get", "clusterrole,clusterrolebinding", "-o", "name"]).unwrap();
    assert!(!of_the_cluster.contains(&release.namespace), "{of_the_cluster}");
}
