//! Host names that publishers bring: whose they are is what a real DNS server says.

use std::io;

use apocryph_model::HostProof;
use apocryph_testbed::chain::DevChain;
use apocryph_testbed::cli::{Cli, CliError};
use apocryph_testbed::clients::http_get;
use apocryph_testbed::dns::{DnsServer, Says};
use apocryph_testbed::images;
use apocryph_testbed::market::Market;
use serde_json::Value;

use crate::pods::{close, deploy, end, insist, offer, run, take_back, write};
use crate::refusal::{Refusal, kept, refused};

const HOST: &str = "shop.example";
const RECORD: &str = "_apocryph.shop.example";
const OWNER: usize = 0;
const OTHER: usize = 1;

/// A market whose provider asks a DNS server of the test's.
struct Scene {
    market: Market,
    dns: DnsServer,
}

impl Scene {
    async fn open() -> Option<Self> {
        let mut market = crate::market().await?;
        let dns = DnsServer::start().await.unwrap();
        let daemon = &mut market.daemons[0];
        daemon.stop().await.unwrap();
        daemon.prove_hosts_by(&dns).unwrap();
        daemon.start().await.unwrap();
        Some(Self { market, dns })
    }

    /// A publisher that looks host names up where the provider does.
    async fn publisher(&self, account: usize) -> Cli {
        let mut publisher = self.market.publisher(account).await.unwrap();
        publisher.environment.insert("APOCRYPH_RESOLVER".into(), self.dns.address().to_string());
        publisher
    }

    /// Has the host's owner name these accounts, at the provider.
    fn name(&self, accounts: &[usize]) {
        self.dns.set(RECORD, Says::Texts(accounts.iter().map(|account| proof(*account)).collect()));
    }

    /// What the back of the pod behind a host name says; the gateway's own word where there is none.
    async fn answer(&self, host: &str) -> String {
        let answer = http_get(self.market.daemons[0].gateway, host, "/cgi-bin/ask").await.unwrap();
        match answer.status {
            200 => answer.body,
            _ => serde_json::from_str::<Value>(&answer.body).unwrap()["error"].as_str().unwrap().to_owned(),
        }
    }

    async fn is_answered(&self, host: &str, text: &str) {
        insist("the pod answers", async || match self.answer(host).await {
            answer if answer == text => Ok(()),
            answer => Err(io::Error::other(answer)),
        })
        .await;
    }
}

fn proof(account: usize) -> String {
    let address = |account| DevChain::key(account).address();
    HostProof { publisher: address(account), provider: address(offer().account) }.to_string()
}

/// A pod that brings a host name, and whose back says `text`.
fn write_at(publisher: &Cli, name: &str, host: &str, text: &str) {
    write(publisher, name, "0");
    images::back(text).unwrap().write_to(&publisher.folder.join("images"), name).unwrap();
    let file = publisher.folder.join(format!("{name}.yaml"));
    let manifest = std::fs::read_to_string(&file).unwrap();
    let manifest = manifest.replace("http: 8080", &format!("{{http: 8080, host: {host}}}"));
    std::fs::write(file, manifest.replace(":back", &format!(":{name}"))).unwrap();
}

fn not_proved(refusal: &Refusal, account: usize) {
    assert_eq!(refusal.verdict(), ("publisher", "host-not-proved", true), "{refusal:?}");
    let record = format!("set the TXT record {RECORD} to \"{}\"", proof(account));
    assert!(refusal.text.contains(&record), "{refusal:?}");
    assert_eq!(refusal.ending, "exit code 3");
}

#[tokio::test]
async fn a_host_name_is_served_once_it_is_proved_and_passes_to_who_proves_it() {
    let Some(mut scene) = Scene::open().await else { return };
    let (owner, other) = (scene.publisher(OWNER).await, scene.publisher(OTHER).await);
    write_at(&owner, "shop", HOST, "the owner's");
    write_at(&owner, "next", HOST, "the owner's next");
    write_at(&other, "rival", HOST, "the other's");

    told_before_money_is_spent(&scene, &owner).await;
    not_proved_is_not_served(&scene, &owner).await;
    scene.name(&[OWNER]);
    let deployed = deploy(&owner, "shop").await.unwrap();
    assert_eq!(deployed["endpoints"][0]["host"], HOST, "{deployed}");
    scene.is_answered("Shop.Example:80", "the owner's").await;
    is_taken(&scene, &owner, &other).await;

    scene.name(&[OTHER]);
    deploy(&other, "rival").await.unwrap();
    scene.is_answered(HOST, "the other's").await;
    let given = given_instead(&owner).await;
    scene.is_answered(&given, "the owner's").await;

    // The next daemon does as the ledger says, and asks nobody.
    scene.dns.set(RECORD, Says::Silent);
    assert!(!scene.dns.take_asked().is_empty());
    scene.market.daemons[0].kill().await.unwrap();
    scene.market.daemons[0].start().await.unwrap();
    scene.is_answered(HOST, "the other's").await;
    scene.is_answered(&given, "the owner's").await;
    assert!(scene.dns.take_asked().is_empty());

    // A DNS that is away keeps nobody from updating what it has.
    scene.dns.set(RECORD, Says::Failed);
    write_at(&other, "rival", HOST, "the other's update");
    deploy(&other, "rival").await.unwrap();
    scene.is_answered(HOST, "the other's update").await;
    end(&owner, "shop").await;
    end(&other, "rival").await;
    assert_eq!(scene.answer(HOST).await, "unknown_host");
    close(scene.market).await;
}

/// A dry run looks the record up; a deploy warns before the channel is opened, and goes on.
async fn told_before_money_is_spent(scene: &Scene, owner: &Cli) {
    let dry = ["deploy", "--file", "shop.yaml", "--accept-unattested", "--dry-run"];
    for (says, seen) in [(None, "missing"), (Some(Says::Texts(vec![proof(OWNER)])), "there")] {
        scene.dns.clear(RECORD);
        says.into_iter().for_each(|says| scene.dns.set(RECORD, says));
        let plan = run(owner, &dry).await.unwrap();
        let host = &plan["hosts"][0];
        assert_eq!((&host["host"], &host["record"]), (&HOST.into(), &RECORD.into()), "{plan}");
        assert_eq!((&host["text"], &host["seen"]), (&proof(OWNER).into(), &seen.into()), "{plan}");
    }
    assert_eq!(scene.market.flows().await.unwrap().len(), 0, "a dry run opens nothing");
    scene.dns.clear(RECORD);
    let mut told = Vec::new();
    let arguments = ["deploy", "--file", "shop.yaml", "--accept-unattested", "--fund", "20"];
    let refused = owner.run(&arguments, &mut |line| told.push(line.clone())).await;
    assert!(matches!(refused, Err(CliError::Failed { .. })), "{refused:?}");
    let at = |event: &str, step: &str| {
        let step = Value::from(step);
        told.iter().position(|line| line["event"] == event && (line["step"] == step || step == "")).unwrap()
    };
    assert!(at("hostNotSeen", "") < at("begun", "open_channel"), "{told:?}");
}

async fn not_proved_is_not_served(scene: &Scene, owner: &Cli) {
    let daemon = &scene.market.daemons[0];
    let before = kept(daemon);
    not_proved(&refused(owner, "shop.yaml").await, OWNER);
    scene.name(&[OTHER]);
    not_proved(&refused(owner, "shop.yaml").await, OWNER);
    let elsewhere = proof(OWNER).replace("provider=", "publisher=");
    scene.dns.set(RECORD, Says::Texts(vec![elsewhere, "a text of somebody's".into()]));
    not_proved(&refused(owner, "shop.yaml").await, OWNER);
    let left = kept(daemon);
    assert!(left == before, "{:?}", left.difference(&before));
    assert_eq!(scene.answer(HOST).await, "unknown_host");
    scene.dns.set(RECORD, Says::Failed);
    let unknown = refused(owner, "shop.yaml").await;
    assert_eq!(unknown.verdict(), ("network", "dns-unavailable", true), "{unknown:?}");
    assert_eq!(unknown.ending, "exit code 6");
}

/// Not by another pod of the owner's, not by another publisher, not while the DNS says nothing sure.
async fn is_taken(scene: &Scene, owner: &Cli, other: &Cli) {
    let second = refused(owner, "next.yaml").await;
    assert_eq!(second.verdict(), ("publisher", "host-taken", false), "{second:?}");
    take_back(owner, "next").await;
    not_proved(&refused(other, "rival.yaml").await, OTHER);
    scene.name(&[OWNER, OTHER]);
    let both = refused(other, "rival.yaml").await;
    assert_eq!(both.verdict(), ("publisher", "host-taken", false), "{both:?}");
    scene.dns.set(RECORD, Says::Failed);
    let unknown = refused(other, "rival.yaml").await;
    assert_eq!(unknown.verdict(), ("network", "dns-unavailable", true), "{unknown:?}");
    scene.is_answered(HOST, "the owner's").await;
}

/// The name that a pod has in place of the one that it lost, of which its publisher is told.
async fn given_instead(owner: &Cli) -> String {
    let status = run(owner, &["status", "shop"]).await.unwrap();
    assert_eq!(status["lastError"]["code"], "host-lost", "{status}");
    let given = status["endpoints"][0]["host"].as_str().unwrap().to_owned();
    assert!(given.starts_with("shop-8080-") && given.ends_with(".honest.localhost"), "{status}");
    given
}

#[tokio::test]
async fn names_of_the_providers_own_are_given_and_not_brought() {
    let Some(mut scene) = Scene::open().await else { return };
    let daemon = &mut scene.market.daemons[0];
    daemon.stop().await.unwrap();
    daemon.configure("domain = \"honest.localhost\"", "domain = \"pods.example\"").unwrap();
    daemon.start().await.unwrap();
    // What the publisher looks up itself is none of the provider's questions.
    let elsewhere = DnsServer::start().await.unwrap();
    let mut publisher = scene.publisher(OWNER).await;
    publisher.environment.insert("APOCRYPH_RESOLVER".into(), elsewhere.address().to_string());
    for host in ["mine.pods.example", "pods.example", "mine-8080-00000000.pods.example"] {
        scene.dns.set(&format!("_apocryph.{host}"), Says::Texts(vec![proof(OWNER)]));
        write_at(&publisher, "mine", host, "mine");
        let reserved = refused(&publisher, "mine.yaml").await;
        assert_eq!(reserved.verdict(), ("publisher", "host-reserved", false), "{reserved:?}");
    }
    write(&publisher, "mine", "0");
    let deployed = deploy(&publisher, "mine").await.unwrap();
    let given = deployed["endpoints"][0]["host"].as_str().unwrap().to_owned();
    scene.is_answered(&given, "the back").await;
    // To ask for what one is given anyway is no wish of one's own.
    write_at(&publisher, "mine", &given, "mine");
    deploy(&publisher, "mine").await.unwrap();
    scene.is_answered(&given, "mine").await;
    assert!(scene.dns.take_asked().is_empty());
    check_tells(&scene).await;
    end(&publisher, "mine").await;
    close(scene.market).await;
}

/// `apocryphd check` says in one line that the DNS does not answer.
async fn check_tells(scene: &Scene) {
    let lines = async || {
        let checked = scene.market.daemons[0].command("check").await.unwrap();
        checked.lines().filter(|line| line.contains("gateway.resolver")).count()
    };
    assert_eq!(lines().await, 0);
    scene.dns.set("", Says::Failed);
    assert_eq!(lines().await, 1);
}
