//! Host names that publishers bring, where pods run on a cluster: the rule is the same as on one
//! machine, and what it refuses makes nothing in the cluster.

use std::time::Duration;

use apocryph_model::HostProof;
use apocryph_testbed::chain::DevChain;
use apocryph_testbed::clients::http_get;
use apocryph_testbed::cluster::Cluster;
use apocryph_testbed::daemon::Offer;
use apocryph_testbed::dns::{DnsServer, Says};
use apocryph_testbed::images;
use apocryph_testbed::market::Market;
use apocryph_testbed::until::until;

const PATIENCE: Duration = Duration::from_secs(90);
const HOST: &str = "shop.example";
const PROVIDER: usize = 8;
const PUBLISHER: usize = 0;

#[tokio::test(flavor = "multi_thread")]
async fn a_host_name_is_proved_before_anything_of_its_pod_is_in_the_cluster() {
    let cluster = match Cluster::of_environment() {
        Ok(cluster) => cluster,
        Err(error) => return eprintln!("skipped: {error}"),
    };
    if !apocryph_testbed::chain::is_there() {
        return eprintln!("skipped: anvil is missing: run `npm install --no-save --prefix contracts`");
    }
    let dns = DnsServer::start().await.unwrap();
    let mut market = Market::open_on(Some(cluster.clone())).await.unwrap();
    let offer = Offer { name: "honest".into(), account: PROVIDER, price: 3 };
    let daemon = market.add_provider(&offer).await.unwrap();
    daemon.stop().await.unwrap();
    daemon.prove_hosts_by(&dns).unwrap();
    daemon.start().await.unwrap();
    let (engine, gateway) = (daemon.engine.clone(), daemon.gateway);

    let mut publisher = market.publisher(PUBLISHER).await.unwrap();
    publisher.environment.insert("APOCRYPH_RESOLVER".into(), dns.address().to_string());
    let folder = publisher.folder.join("images");
    images::front().unwrap().write_to(&folder, "front").unwrap();
    let manifest = include_str!("market/single.yaml")
        .replace("NAME", "web")
        .replace("ENTRYPOINT", r#"[/bin/httpd, -f, -p, "8080", -h, /srv]"#)
        .replace("http: 8080", &format!("{{http: 8080, host: {HOST}}}"));
    std::fs::write(publisher.folder.join("web.yaml"), manifest).unwrap();

    let run = async |arguments: &[&str]| publisher.run(arguments, &mut |_| {}).await;
    let deploy = ["deploy", "--file", "web.yaml", "--accept-unattested", "--fund", "20"];
    let refused = run(&deploy).await.unwrap_err().to_string();
    assert!(refused.contains("host-not-proved"), "{refused}");
    assert_eq!(cluster.namespaces(&engine).unwrap(), Vec::<String>::new());

    let address = |account| DevChain::key(account).address();
    let proof = HostProof { publisher: address(PUBLISHER), provider: address(PROVIDER) };
    dns.set(&HostProof::record_name(&HOST.parse().unwrap()), Says::Texts(vec![proof.to_string()]));
    run(&deploy).await.unwrap();
    let answer = http_get(gateway, HOST, "/cgi-bin/count?1").await.unwrap();
    assert_eq!((answer.status, answer.body.as_str()), (200, "line 0\n"));

    run(&["remove", "web"]).await.unwrap();
    let back = async || run(&["withdraw", "web"]).await.map(|_| true).map_err(std::io::Error::other);
    until("its money comes back", PATIENCE, back).await.unwrap();
    assert_eq!(market.close().await.unwrap().to_string(), "nothing");
}
