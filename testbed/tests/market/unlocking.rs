//! An unlock that was not meant.

use crate::pods::{ask, close, deploy, end, insist, run, write};
use std::io;

#[tokio::test]
async fn an_unlock_is_taken_back_and_the_pod_comes_back() {
    let Some(market) = crate::market().await else { return };
    let publisher = market.publisher(0).await.unwrap();
    write(&publisher, "pair", "hello");
    deploy(&publisher, "pair").await.unwrap();
    run(&publisher, &["unlock", "pair"]).await.unwrap();
    let refused = deploy(&publisher, "pair").await.unwrap_err().to_string();
    assert!(refused.contains("apocryph unlock --cancel"), "{refused}");
    insist("the provider has seen it", async || {
        let phase = run(&publisher, &["status", "pair"]).await?["phase"].clone();
        if phase == "evicted" { Ok(()) } else { Err(io::Error::other(phase.to_string())) }
    })
    .await;
    let kept = run(&publisher, &["unlock", "pair", "--cancel"]).await.unwrap();
    assert!(kept["transaction"].is_string(), "{kept}");
    deploy(&publisher, "pair").await.unwrap();
    assert_eq!(ask(&publisher, "pair", "/cgi-bin/ask").await.unwrap().status, 200);
    end(&publisher, "pair").await;
    close(market).await;
}
