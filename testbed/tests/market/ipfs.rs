//! What is public of a market, fetched by an IPFS node that knows nothing of it.

use std::io;

use apocryph_seal::sha256;
use apocryph_testbed::{cli::Cli, kubo::Kubo};
use serde_json::Value;

use crate::pods::{ask, close, deploy, end, insist, run, write};

#[tokio::test(flavor = "multi_thread")]
async fn kubo_fetches_a_providers_description_and_published_images_by_cid() {
    let (Some(kubo), Some(stranger)) = (kubo(), kubo()) else { return };
    let Some(market) = crate::market().await else { return };
    let publisher = market.publisher(0).await.unwrap();
    let provider = run(&publisher, &["providers"]).await.unwrap()[0].clone();
    for node in [&kubo, &stranger] {
        node.run(&["swarm", "connect", provider["addresses"][0].as_str().unwrap()]).unwrap();
    }
    let described = kubo.run(&["cat", "--timeout=60s", provider["description"].as_str().unwrap()]).unwrap();
    let described: Value = serde_json::from_slice(&described).unwrap();
    for field in ["provider", "name", "regions", "addresses", "attestation"] {
        assert_eq!(described["description"][field], provider[field], "{field}");
    }
    assert_eq!(described["description"]["prices"].as_array().unwrap().len(), 6, "{described}");

    write(&publisher, "pair", "hello");
    let options = ["--accept-unattested", "--fund", "20", "--public"];
    let deployed =
        run(&publisher, &[&["deploy", "--file", "pair.yaml"], &options[..]].concat()).await.unwrap();
    let published = deployed["published"].as_array().unwrap();
    assert!(published.len() >= 6, "manifest, configuration and layer of two images: {published:?}");
    for blob in published {
        let bytes = kubo.run(&["cat", "--timeout=60s", blob["cid"].as_str().unwrap()]).unwrap();
        assert_eq!(sha256(&bytes).to_string(), blob["digest"].as_str().unwrap());
        assert!(!bytes.windows(12).any(|part| part == b"srv/cgi-bin/"), "a layer in the clear");
    }

    // The provider lets go of the pod, and then fetches it from the node that has it now.
    run(&publisher, &["unlock", "pair"]).await.unwrap();
    insist("the pod is ended", async || ended(&publisher).await).await;
    run(&publisher, &["unlock", "pair", "--cancel"]).await.unwrap();
    let before = sent(&kubo);
    let source = kubo.address("/tcp/").unwrap();
    let again = ["deploy", "--file", "pair.yaml", "--accept-unattested", "--public", "--source", &source];
    let again = insist("it is deployed again", async || run(&publisher, &again).await).await;
    assert_eq!(again["published"].as_array().unwrap(), published, "the same ciphertext");
    let size: u64 = published.iter().map(|blob| blob["size"].as_u64().unwrap()).sum();
    assert!(sent(&kubo) - before >= size, "{} of {size} bytes", sent(&kubo) - before);
    assert_eq!(ask(&publisher, "pair", "/cgi-bin/ask").await.unwrap().status, 200);

    // Once it is not public any more, whoever did not fetch it in time cannot.
    deploy(&publisher, "pair").await.unwrap();
    for blob in published {
        let refused = stranger.output(&["cat", "--timeout=2s", blob["cid"].as_str().unwrap()]).unwrap();
        assert!(!refused.status.success(), "{blob}");
    }
    end(&publisher, "pair").await;
    close(market).await;
}

/// How many bytes of blocks a node has given away.
fn sent(kubo: &Kubo) -> u64 {
    let told: Value = serde_json::from_str(&kubo.text(&["bitswap", "stat", "--enc=json"]).unwrap()).unwrap();
    told["DataSent"].as_u64().unwrap()
}

async fn ended(publisher: &Cli) -> io::Result<()> {
    let status = run(publisher, &["status", "pair"]).await?;
    match status["phase"] == "evicted" {
        true => Ok(()),
        false => Err(io::Error::other(status.to_string())),
    }
}

/// None, with the reason printed, where there is no Kubo.
#[expect(clippy::print_stderr, reason = "a skipped test says so")]
fn kubo() -> Option<Kubo> {
    Kubo::online().inspect_err(|reason| eprintln!("skipped: {reason}")).ok()
}
