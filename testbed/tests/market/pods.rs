//! What the tests deploy, and how they look at it.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use apocryph_testbed::cli::Cli;
use apocryph_testbed::clients::{Answer, http_get};
use apocryph_testbed::daemon::Offer;
use apocryph_testbed::images;
use apocryph_testbed::market::Market;
use apocryph_testbed::until::until;
use serde_json::Value;

pub(crate) const PATIENCE: Duration = Duration::from_secs(90);

pub(crate) fn offer() -> Offer {
    Offer { name: "honest".into(), account: 8, price: 3 }
}

/// Writes the images of a pair and a manifest for it; `greeting` makes one manifest another.
pub(crate) fn write(publisher: &Cli, name: &str, greeting: &str) {
    let images = publisher.folder.join("images");
    if !images.exists() {
        images::front().unwrap().write_to(&images, "front").unwrap();
        images::back("the back").unwrap().write_to(&images, "back").unwrap();
    }
    let manifest = include_str!("pair.yaml").replace("NAME", name).replace("GREETING", greeting);
    std::fs::write(publisher.folder.join(format!("{name}.yaml")), manifest).unwrap();
}

/// The same with one container, whose program is another one.
pub(crate) fn write_single(publisher: &Cli, name: &str, entrypoint: &str) {
    write(publisher, name, "0");
    let manifest = include_str!("single.yaml").replace("NAME", name).replace("ENTRYPOINT", entrypoint);
    std::fs::write(publisher.folder.join(format!("{name}.yaml")), manifest).unwrap();
}

/// Runs `apocryph`.
pub(crate) async fn run(publisher: &Cli, arguments: &[&str]) -> io::Result<Value> {
    let said = publisher.run(arguments, &mut |_| {}).await.map_err(io::Error::other)?;
    Ok(said.result().clone())
}

pub(crate) async fn deploy(publisher: &Cli, name: &str) -> io::Result<Value> {
    run(publisher, &["deploy", "--file", &format!("{name}.yaml"), "--accept-unattested", "--fund", "20"])
        .await
}

/// Asks the pod that `apocryph status` tells of.
pub(crate) async fn ask(publisher: &Cli, name: &str, path: &str) -> io::Result<Answer> {
    let status = run(publisher, &["status", name]).await?;
    let endpoint = &status["endpoints"][0];
    let text = |field: &str| endpoint[field].as_str().ok_or(io::ErrorKind::NotFound);
    let gateway: SocketAddr = text("gateway")?.parse().map_err(io::Error::other)?;
    http_get(gateway, text("host")?, path).await
}

/// Repeats what must succeed in the end.
pub(crate) async fn insist<T>(what: &str, mut attempt: impl AsyncFnMut() -> io::Result<T>) -> T {
    let mut got = None;
    let succeeds = async || {
        got = Some(attempt().await?);
        Ok(true)
    };
    until(what, PATIENCE, succeeds).await.unwrap();
    got.unwrap()
}

/// Ends a pod and takes the money back; ledger and claims agree.
pub(crate) async fn end(publisher: &Cli, name: &str) {
    insist("it is removed", async || run(publisher, &["remove", name]).await).await;
    let usage = insist("its usage is told", async || run(publisher, &["usage", name]).await).await;
    assert_eq!(usage["agrees"], true, "{usage}");
    insist("its money comes back", async || run(publisher, &["withdraw", name]).await).await;
}

/// Takes back what was paid in for a pod that never was.
pub(crate) async fn take_back(publisher: &Cli, name: &str) {
    run(publisher, &["remove", name]).await.unwrap();
    insist("its money comes back", async || run(publisher, &["withdraw", name]).await).await;
}

/// Every channel gave out what it took in, and nothing is left on this machine.
pub(crate) async fn close(mut market: Market) {
    let flows = market.flows().await.unwrap();
    assert!(!flows.is_empty());
    for (channel, flow) in flows {
        assert!(flow.is_settled(), "{channel}: {flow:?}");
    }
    assert_eq!(market.deposits().await.unwrap(), 0);
    assert_eq!(market.close().await.unwrap().to_string(), "nothing");
}

/// Nothing was ever bought or remembered, and nothing is left on this machine.
pub(crate) async fn close_unused(mut market: Market, publisher: &Cli) {
    assert_eq!(market.flows().await.unwrap().len(), 0);
    assert_eq!(run(publisher, &["ls"]).await.unwrap(), serde_json::json!([]));
    assert_eq!(market.close().await.unwrap().to_string(), "nothing");
}
