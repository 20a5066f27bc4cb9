//! The deployment sub-protocol, from a publisher's link to a provider's service.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../nodes/mod.rs"]
mod nodes;
mod service;

use apocryph_model::{ChannelId, Digest, Fault, LogQuery, PeerAddress, Progress, Who};
use apocryph_p2p::{Node, PublisherNetwork, ServeError};
use apocryph_publisher::{LinkError, LocalBlob, Network as _, ProviderLink};
use futures::StreamExt as _;
use nodes::{QUIC, TCP, id};
use service::{Service, endpoints, key, line, offer, record, request, status};
use std::sync::{Arc, Mutex};
use tokio::{sync::Semaphore, task::JoinHandle};

const CHAIN: u64 = 31337;
const CHANNEL: ChannelId = ChannelId([1; 32]);

struct Pair {
    provider: Node,
    publisher: Node,
    network: PublisherNetwork,
    link: Arc<dyn ProviderLink>,
    service: Arc<Service>,
    serving: JoinHandle<Result<(), ServeError>>,
    stop: Option<tokio::sync::oneshot::Sender<()>>,
}

impl Pair {
    async fn new(listen: &str) -> Self {
        let (provider, publisher) = (nodes::publisher(listen).await, nodes::publisher(listen).await);
        let service = Arc::new(Service::new(key().account()));
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let serving = tokio::spawn({
            let (provider, service) = (provider.clone(), service.clone());
            async move { provider.serve(service, async { drop(stopped.await) }).await }
        });
        let network = PublisherNetwork::new(publisher.clone(), CHAIN);
        let link = network.connect(&addresses(&provider), key()).await.unwrap();
        Self { provider, publisher, network, link, service, serving, stop: Some(stop) }
    }
}

fn addresses(node: &Node) -> Vec<PeerAddress> {
    node.addresses().iter().map(|address| address.to_string().parse().unwrap()).collect()
}

async fn every_call(listen: &str) {
    let pair = Pair::new(listen).await;
    let link = &pair.link;
    assert_eq!(link.peer(), id(&pair.provider));
    assert_eq!(link.offer().await, Ok(offer()));
    assert_eq!(link.attest([7; 32]).await, Ok(vec![7; 32]));
    let stages = Mutex::new(Vec::new());
    let made = link.provision(CHANNEL, request(), &|stage| stages.lock().unwrap().push(stage)).await;
    assert_eq!(made, Ok(endpoints()));
    assert_eq!(stages.into_inner().unwrap(), [Progress::Channel, Progress::Fetch { done: 1, total: 2 }]);
    assert!(pair.service.requests.lock().unwrap().pop() == Some(request()));
    assert_eq!(link.status(CHANNEL).await, Ok(status()));
    assert_eq!(link.usage(CHANNEL, 5).await.unwrap()[999], record(1004));
    let query = LogQuery { since_ms: Some(4), ..LogQuery::default() };
    let lines: Vec<_> = link.logs(CHANNEL, query).await.unwrap().collect().await;
    assert_eq!(lines, [Ok(line(4)), Ok(line(5)), Ok(line(6))]);
    let fault = Fault::passing(Who::Chain, "chain-away", "the last claim cannot be made now");
    assert_eq!(link.remove(CHANNEL).await, Err(LinkError::Fault(fault)));

    let seen = pair.service.seen.lock().unwrap();
    assert!(seen.iter().all(|call| call.peer == id(&pair.publisher)));
    assert!(seen.iter().all(|call| call.statement.provider == id(&pair.provider)));
    let mut nonces: Vec<_> = seen.iter().map(|call| call.statement.nonce).collect();
    nonces.sort_unstable();
    nonces.dedup();
    assert_eq!(nonces.len(), seen.len(), "no nonce twice");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_call_crosses_tcp() {
    every_call(TCP).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_call_crosses_quic() {
    every_call(QUIC).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_for_another_channel_is_refused_with_the_cause() {
    let pair = Pair::new(TCP).await;
    let refused = pair.link.status(ChannelId([9; 32])).await;
    let fault = Fault::lasting(Who::Publisher, "unauthorised", "not signed for this");
    assert_eq!(refused, Err(LinkError::Fault(fault)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_out_of_bounds_is_refused_with_the_cause() {
    let pair = Pair::new(TCP).await;
    let mut large = request();
    large.blobs.push(large.blobs[0].clone());
    let refused = pair.link.provision(CHANNEL, large, &|_| ()).await;
    let fault = Fault::lasting(Who::Publisher, "malformed", "the field blobs is missing or malformed");
    assert_eq!(refused, Err(LinkError::Fault(fault)));
    let mut huge = request();
    huge.image_key = vec![0; 2 << 20];
    assert!(pair.link.provision(CHANNEL, huge, &|_| ()).await.is_err());
    assert!(pair.service.requests.lock().unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_beyond_the_bound_do_not_reach_the_service() {
    let pair = Pair::new(TCP).await;
    // By its answer the provider's bound is known here, so that what is beyond it waits its turn.
    assert_eq!(pair.link.offer().await, Ok(offer()));
    pair.service.gate.forget_permits(Semaphore::MAX_PERMITS);
    let calls: Vec<_> = (0..100)
        .map(|_| {
            let link = pair.link.clone();
            tokio::spawn(async move { link.usage(CHANNEL, 0).await })
        })
        .collect();
    let under_way = || pair.service.seen.lock().unwrap().len();
    nodes::until("32 calls are under way", || under_way() == 32).await;
    assert_eq!(under_way(), 32);
    pair.service.gate.add_permits(100);
    for call in calls {
        match call.await.unwrap() {
            Ok(records) => assert_eq!(records.len(), 1000),
            Err(LinkError::Fault(fault)) => assert_eq!(fault.code, "too-many-calls"),
            Err(other) => panic!("{other}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn many_links_to_a_provider_at_once_are_served() {
    let pair = Pair::new(TCP).await;
    let network = PublisherNetwork::new(nodes::publisher(TCP).await, CHAIN);
    let at = addresses(&pair.provider);
    let ask = async || network.connect(&at, key()).await?.status(CHANNEL).await;
    let links = futures::future::join_all((0..16).map(|_| ask())).await;
    assert_eq!(links, vec![Ok(status()); 16]);
}

#[tokio::test(flavor = "multi_thread")]
async fn logs_are_followed_at_the_readers_pace() {
    let pair = Pair::new(TCP).await;
    let query = LogQuery { follow: true, ..LogQuery::default() };
    let mut lines = pair.link.logs(CHANNEL, query).await.unwrap();
    for n in 0..5000 {
        assert_eq!(lines.next().await, Some(Ok(line(n))));
    }
    drop(lines);
    assert_eq!(pair.link.status(CHANNEL).await, Ok(status()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_breaks_under_way_is_told_and_links_go_on_over_the_next() {
    let pair = Pair::new(TCP).await;
    pair.service.gate.forget_permits(Semaphore::MAX_PERMITS);
    let link = pair.link.clone();
    let call = tokio::spawn(async move { link.usage(CHANNEL, 0).await });
    nodes::until("the call", || !pair.service.seen.lock().unwrap().is_empty()).await;
    pair.provider.disconnect(pair.publisher.peer_id());
    let broken = call.await.unwrap();
    assert!(matches!(broken, Err(LinkError::Broken(_))), "{broken:?}");
    let at = addresses(&pair.provider);
    let again = async {
        // Until this side has seen that it broke, there is nothing to be made anew.
        while pair.network.connect(&at, key()).await.is_err() || pair.link.status(CHANNEL).await.is_err() {}
    };
    tokio::time::timeout(nodes::DEADLINE, again).await.expect("the link is served again");
}

#[tokio::test(flavor = "multi_thread")]
async fn serving_ends_when_told() {
    let mut pair = Pair::new(TCP).await;
    assert_eq!(pair.link.offer().await, Ok(offer()));
    drop(pair.stop.take());
    drop(pair.link);
    let ended = tokio::time::timeout(nodes::DEADLINE, pair.serving).await.expect("it ends");
    ended.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn those_that_cannot_be_called_are_named() {
    let network = PublisherNetwork::new(nodes::publisher(TCP).await, CHAIN);
    let none = network.connect(&[], key()).await;
    assert!(matches!(none.map(|_| ()), Err(LinkError::Local(_))));

    // The right place, another peer.
    let one = nodes::publisher(TCP).await;
    let two = nodes::publisher(TCP).await;
    let place = nodes::without_peer(one.addresses()[0].clone());
    let wrong: PeerAddress = format!("{place}/p2p/{}", two.peer_id()).parse().unwrap();
    let mistaken = network.connect(std::slice::from_ref(&wrong), key()).await.map(|_| ());
    assert!(
        matches!(&mistaken, Err(LinkError::Unreachable { peer, .. }) if *peer == id(&two)),
        "{mistaken:?}"
    );

    let dead: PeerAddress = format!("/ip4/127.0.0.1/tcp/1/p2p/{}", two.peer_id()).parse().unwrap();
    let away = network.connect(&[dead], key()).await.map(|_| ());
    assert!(matches!(&away, Err(LinkError::Unreachable { .. })), "{away:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn published_files_are_named_by_their_tree() {
    let dir = tempfile::tempdir().unwrap();
    let bytes = nodes::content(600_000);
    let path = dir.path().join("layer");
    std::fs::write(&path, &bytes).unwrap();
    let node = nodes::publisher(TCP).await;
    let network = PublisherNetwork::new(node.clone(), CHAIN);
    let local = LocalBlob { digest: nodes::digest(&bytes), size: 600_000, path };
    let blobs = network.publish(std::slice::from_ref(&local), &id(&node)).await.unwrap();
    assert_eq!((blobs[0].digest, blobs[0].size), (local.digest, 600_000));
    let wrong = LocalBlob { size: 1, digest: Digest([0; 32]), ..local };
    assert!(matches!(network.publish(&[wrong], &id(&node)).await, Err(LinkError::Local(_))));
}
