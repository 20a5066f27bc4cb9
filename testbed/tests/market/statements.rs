//! Calls that a pod's publisher did not make, or made for something else, or made before.

use apocryph_model::{ChannelId, Hash32, Method, PodId, Statement};
use apocryph_testbed::chain::DevChain;

use crate::pods::{close, deploy, end, write};
use crate::stranger::{Stranger, offering, place, signed, wire};

#[tokio::test]
async fn only_the_publishers_own_statement_counts_and_only_once() {
    let Some(mut market) = crate::market().await else { return };
    let publisher = market.publisher(0).await.unwrap();
    write(&publisher, "own", "0");
    deploy(&publisher, "own").await.unwrap();
    let (key, offering) = (DevChain::key(0), offering(&market).await);
    let channel = ChannelId::of(key.address(), offering.provider, PodId::of(&"own".parse().unwrap()));
    let stranger = Stranger::meet(&place(&offering)).await;
    let fresh = || stranger.statement(Method::Status, channel, b"");

    let good = signed(&key, &fresh(), Vec::new()).await;
    stranger.status(good.clone()).await.expect("a good statement counts");
    is_refused(&stranger, good.clone(), "a replay").await;
    is_refused(&stranger, signed(&DevChain::key(2), &fresh(), Vec::new()).await, "a stranger's").await;
    let other_peer = "12D3KooWEyoppNCUx8Yx66oV9fJnriXwCcXwDDUA2kj6vnc6iDEp".parse().unwrap();
    let strayed = [
        ("for another provider", Statement { provider: other_peer, ..fresh() }),
        ("for another payload", Statement { payload: Hash32([7; 32]), ..fresh() }),
        ("for another method", Statement { method: Method::Remove, ..fresh() }),
        ("for another channel", Statement { channel: ChannelId([7; 32]), ..fresh() }),
        ("expired", Statement { expires_at: fresh().expires_at - 3600, ..fresh() }),
        ("good for years", Statement { expires_at: fresh().expires_at + 100_000_000, ..fresh() }),
    ];
    for (what, statement) in strayed {
        is_refused(&stranger, signed(&key, &statement, Vec::new()).await, what).await;
    }
    let mut forged = signed(&key, &fresh(), Vec::new()).await;
    forged.signature = vec![0; 65].into();
    is_refused(&stranger, forged, "forged").await;

    market.daemons[0].kill().await.unwrap();
    market.daemons[0].start().await.unwrap();
    let stranger = Stranger::meet(&place(&offering)).await;
    is_refused(&stranger, good, "a replay after a restart").await;
    let fresh = stranger.statement(Method::Status, channel, b"");
    stranger.status(signed(&key, &fresh, Vec::new()).await).await.expect("another good one counts");
    end(&publisher, "own").await;
    close(market).await;
}

async fn is_refused(stranger: &Stranger, call: wire::Call, what: &str) {
    let fault = stranger.status(call).await.expect_err(what);
    assert_eq!((fault.who(), fault.code.as_str()), (wire::Party::Publisher, "unauthorised"), "{what}");
    assert!(!fault.retry && fault.text.contains("check the key"), "{what}: {fault:?}");
}
