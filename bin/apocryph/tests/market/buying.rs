use crate::market::{FUNDS, MARKER, Market, manifest};
use apocryph_model::Amount;
use serde_json::Value;

/// The steps that were done, in their order of ending.
fn steps(lines: &[Value]) -> Vec<&str> {
    lines.iter().filter(|l| l["event"] == "done").map(|l| l["step"].as_str().unwrap()).collect()
}

fn units(money: &Value) -> Amount {
    Amount(money["units"].as_str().unwrap().parse().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_is_bought_updated_paid_and_given_back() {
    let Some(market) = Market::open().await else { return };

    let plan = market.json("deploy --dry-run --accept-unattested").await;
    assert_eq!(plan.last().unwrap()["result"]["cost"]["fullPerHour"]["amount"], "0.72");
    assert_eq!(market.held().await, FUNDS, "a dry run pays nothing");

    let deployed = market.json("deploy --accept-unattested --fund 10").await;
    let passed = deployed.iter().find(|line| line["event"] == "passedOver").expect("the dead one is named");
    assert_eq!(passed["name"], "dead");
    let expected =
        ["collect", "list_providers", "select_provider", "open_channel", "ship", "provision", "confirm"];
    assert_eq!(steps(&deployed), expected);
    let result = &deployed.last().unwrap()["result"];
    assert_eq!(
        (result["providerName"].as_str(), result["unattested"].as_bool()),
        (Some("alive"), Some(true))
    );
    assert_eq!(units(&result["balance"]), Amount(10_000_000_000_000_000_000));

    // What reached the provider, and what of it stood on its disk.
    let spec = market.provider.specs.lock().unwrap()[0].clone();
    assert_eq!(spec.containers[0].env["TOKEN"], "the secret");
    let first = market.provider.ciphertext.lock().unwrap().clone();
    let holds = |content: &[u8], text: &[u8]| content.windows(text.len()).any(|window| window == text);
    assert!(first.iter().all(|blob| !holds(blob, MARKER) && !holds(blob, b"the secret")));

    // Again, and changed: the channel stays, and so do the images.
    market.home.write("apocryph.yaml", &manifest("changed"));
    market.text("deploy --accept-unattested").await;
    let second = market.provider.ciphertext.lock().unwrap().clone();
    assert_ne!(first[0], second[0], "the spec");
    assert_eq!(first[1..], second[1..], "the images");
    assert_eq!(market.provider.specs.lock().unwrap()[1].containers[0].env["GREETING"], "changed");

    let funded = market.json("fund web 1.5").await;
    assert_eq!(units(&funded.last().unwrap()["result"]["balance"]), Amount(11_500_000_000_000_000_000));
    let status = market.text("status web").await;
    assert!(status.contains("web: idle, 0 replicas") && status.contains("11.14 TEST left"), "{status}");
    assert!(status.contains("the container ended with code 1"), "{status}");
    assert!(market.text("ls").await.contains("web"));
    let logs = market.text("logs web").await;
    assert_eq!(logs, "main/r1 | ready\nmain/r1 | clear[2J screen\n");

    // Half an hour at 0.72 is earned once an hour's cap allows it.
    market.chain.advance(3600).await.unwrap();
    let paid = market.claim().await;
    assert_eq!(paid, Amount(360_000_000_000_000_000));
    let usage = market.json("usage web").await;
    let usage = &usage.last().unwrap()["result"];
    assert_eq!(usage["agrees"], true, "{usage}");
    assert_eq!(usage["claims"][0]["verdict"], "agrees", "{usage}");

    let removed = market.json("remove web").await;
    assert!(*market.provider.removed.lock().unwrap());
    assert!(removed.last().unwrap()["result"]["unlocking"]["seconds"].as_u64().unwrap() <= 60);
    assert_eq!(market.run("withdraw web").await.status.code(), Some(4), "the delay has not passed");
    market.chain.advance(61).await.unwrap();
    market.text("withdraw web").await;
    assert_eq!(market.held().await, FUNDS.saturating_sub(paid), "all that was not earned came back");
    assert_eq!(market.run("status web").await.status.code(), Some(3), "it is forgotten");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unattested_provider_is_told_nothing() {
    let Some(market) = Market::open().await else { return };
    let output = market.run("deploy").await;
    assert_eq!(output.status.code(), Some(5));
    let shown = market.home.shown(&output);
    assert_eq!(shown.matches("--accept-unattested").count(), 4, "a line as it happens, and one in the end");
    assert!(market.provider.specs.lock().unwrap().is_empty());
    assert_eq!(market.held().await, FUNDS);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_chain_is_refused_before_anything_is_signed() {
    let Some(market) = Market::open().await else { return };
    let output = market.run("deploy --accept-unattested --chain-id 1").await;
    assert_eq!(output.status.code(), Some(2));
    let shown = market.home.shown(&output);
    assert!(shown.contains("serves chain 31337, not chain 1"), "{shown}");
}

#[tokio::test(flavor = "multi_thread")]
async fn providers_are_listed_with_prices_and_whether_they_answer() {
    let Some(market) = Market::open().await else { return };
    let listed = market.json("providers").await;
    let listed = listed.last().unwrap()["result"].as_array().unwrap().clone();
    let find = |name: &str| listed.iter().find(|row| row["name"] == name).unwrap().clone();
    assert_eq!(find("alive")["reachable"], true);
    assert_eq!(find("alive")["prices"][0]["price"]["amount"], "0.72");
    assert_eq!(find("dead")["reachable"], false);
}
