//! The deployment sub-protocol, from a publisher's link to a provider's service.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod nodes;

use apocryph_model::{
    Address, Amount, Attestation, Blob, Channel, ChannelId, Digest, Endpoint, Fault, Hash32, LogLine,
    LogQuery, Method, Offer, PeerAddress, PodId, PodPhase, PodStatus, Price, Progress, ProvisionRequest,
    Rate, Tariff, Terms, Usage, UsageRecord, Who, keccak256,
};
use apocryph_p2p::{Node, PublisherNetwork, ServeError};
use apocryph_provider::{Authorisation, Deployments, OnProgress};
use apocryph_publisher::{LinkError, LocalBlob, Network as _, ProviderLink};
use apocryph_statement::{Signature, Signer, SignerError, digest, recover};
use async_trait::async_trait;
use futures::{StreamExt as _, stream, stream::BoxStream};
use k256::ecdsa::SigningKey;
use nodes::{QUIC, TCP, id};
use std::sync::{Arc, Mutex};
use tokio::{sync::Semaphore, task::JoinHandle};

const CHAIN: u64 = 31337;
const CHANNEL: ChannelId = ChannelId([1; 32]);

struct Key(SigningKey);

impl Key {
    fn new() -> Arc<Self> {
        Arc::new(Self(SigningKey::from_slice(&[5; 32]).unwrap()))
    }
}

#[async_trait]
impl Signer for Key {
    fn account(&self) -> Address {
        let point = self.0.verifying_key().to_encoded_point(false);
        Address::try_from(&keccak256(&[&point.as_bytes()[1..]])[12..]).unwrap()
    }

    async fn sign(&self, digest: Hash32) -> Result<Signature, SignerError> {
        let (signature, recovery) = self.0.sign_prehash_recoverable(&digest.0).unwrap();
        let mut bytes = [0; 65];
        bytes[..64].copy_from_slice(&signature.to_bytes());
        bytes[64] = 27 + recovery.to_byte();
        Ok(Signature(bytes))
    }
}

fn offer() -> Offer {
    Offer {
        chain: CHAIN,
        payment: Address([1; 20]),
        provider: Address([2; 20]),
        token: Address([3; 20]),
        terms: terms(),
        least_runway: 1,
        least_unlock_delay: 2,
        attestation: Attestation::None,
    }
}

fn terms() -> Terms {
    Terms { tariff: Tariff([Price(9); 8]), meter_key: Address::ZERO, payout: Address([4; 20]) }
}

fn request() -> ProvisionRequest {
    let cid = "bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku".to_owned();
    let blob = Blob { digest: Digest([1; 32]), size: 0, cid };
    ProvisionRequest {
        pod: PodId([2; 32]),
        terms: terms(),
        spec: blob.clone(),
        spec_key: [3; 32],
        image_key: vec![4; 1200],
        blobs: vec![blob; 2048],
        sources: vec![],
        public: true,
    }
}

fn endpoints() -> Vec<Endpoint> {
    vec![Endpoint::Tcp { address: "192.0.2.1:5".parse().unwrap(), container_port: 5 }]
}

fn status() -> PodStatus {
    PodStatus {
        phase: PodPhase::Running,
        replicas: 1,
        endpoints: endpoints(),
        usage: Usage([1; 8]),
        channel: Some(Channel {
            publisher: Address([1; 20]),
            provider: Address([2; 20]),
            pod: PodId([2; 32]),
            token: Address([3; 20]),
            deposited: Amount(5),
            claimed: Amount(4),
            max_rate: Rate(3),
            opened_at: 2,
            unlock_at: None,
            unlock_delay: 1,
            epoch: 1,
            terms: Hash32([6; 32]),
        }),
        spec: None,
        last_error: None,
    }
}

fn line(n: u64) -> LogLine {
    let container = "web".parse().unwrap();
    LogLine { time_ms: n, replica: "r".into(), container, stderr: false, text: n.to_string() }
}

fn record(sequence: u64) -> UsageRecord {
    UsageRecord {
        sequence,
        epoch: 1,
        time_ms: 2,
        source: "r".into(),
        used: Usage([3; 8]),
        previous: Hash32([4; 32]),
        hash: Hash32([5; 32]),
    }
}

/// Answers every call, if its statement holds, and notes what it was called with.
struct Service {
    account: Address,
    seen: Mutex<Vec<Authorisation>>,
    requests: Mutex<Vec<ProvisionRequest>>,
    /// Calls of `usage` wait for a permit.
    gate: Semaphore,
}

impl Service {
    fn check(&self, caller: Authorisation, method: Method) -> Result<(), Fault> {
        let signer = recover(digest(&caller.statement, CHAIN), &caller.signature);
        let held = signer == Ok(self.account)
            && caller.statement.method == method
            && caller.statement.payload == caller.payload
            && caller.statement.channel == CHANNEL;
        self.seen.lock().unwrap().push(caller);
        if held { Ok(()) } else { Err(Fault::lasting(Who::Publisher, "unauthorised", "not signed for this")) }
    }
}

#[async_trait]
impl Deployments for Service {
    async fn offer(&self) -> Result<Offer, Fault> {
        Ok(offer())
    }

    async fn attest(&self, nonce: [u8; 32]) -> Result<Vec<u8>, Fault> {
        Ok(nonce.to_vec())
    }

    async fn provision(
        &self,
        caller: Authorisation,
        request: ProvisionRequest,
        progress: OnProgress,
    ) -> Result<Vec<Endpoint>, Fault> {
        self.check(caller, Method::Provision)?;
        progress(Progress::Channel);
        progress(Progress::Fetch { done: 1, total: 2 });
        self.requests.lock().unwrap().push(request);
        Ok(endpoints())
    }

    async fn remove(&self, caller: Authorisation) -> Result<(), Fault> {
        self.check(caller, Method::Remove)?;
        Err(Fault::passing(Who::Chain, "chain-away", "the last claim cannot be made now"))
    }

    async fn status(&self, caller: Authorisation) -> Result<PodStatus, Fault> {
        self.check(caller, Method::Status)?;
        Ok(status())
    }

    async fn logs(
        &self,
        caller: Authorisation,
        query: LogQuery,
    ) -> Result<BoxStream<'static, LogLine>, Fault> {
        self.check(caller, Method::Logs)?;
        let from = query.since_ms.unwrap_or(0);
        let lines = stream::iter((from..).map(line));
        Ok(if query.follow { lines.boxed() } else { lines.take(3).boxed() })
    }

    async fn usage(&self, caller: Authorisation, from: u64) -> Result<Vec<UsageRecord>, Fault> {
        self.check(caller, Method::Usage)?;
        let _permit = self.gate.acquire().await.unwrap();
        Ok((from..from + 1000).map(record).collect())
    }
}

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
        let service = Arc::new(Service {
            account: Key::new().account(),
            seen: Mutex::default(),
            requests: Mutex::default(),
            gate: Semaphore::new(Semaphore::MAX_PERMITS),
        });
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let serving = tokio::spawn({
            let (provider, service) = (provider.clone(), service.clone());
            async move { provider.serve(service, async { drop(stopped.await) }).await }
        });
        let network = PublisherNetwork::new(publisher.clone(), CHAIN);
        let link = network.connect(&addresses(&provider), Key::new()).await.unwrap();
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
    let ask = async || network.connect(&at, Key::new()).await?.status(CHANNEL).await;
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
        while pair.network.connect(&at, Key::new()).await.is_err() || pair.link.status(CHANNEL).await.is_err()
        {
        }
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
    let none = network.connect(&[], Key::new()).await;
    assert!(matches!(none.map(|_| ()), Err(LinkError::Local(_))));

    // The right place, another peer.
    let one = nodes::publisher(TCP).await;
    let two = nodes::publisher(TCP).await;
    let place = nodes::without_peer(one.addresses()[0].clone());
    let wrong: PeerAddress = format!("{place}/p2p/{}", two.peer_id()).parse().unwrap();
    let mistaken = network.connect(std::slice::from_ref(&wrong), Key::new()).await.map(|_| ());
    assert!(
        matches!(&mistaken, Err(LinkError::Unreachable { peer, .. }) if *peer == id(&two)),
        "{mistaken:?}"
    );

    let dead: PeerAddress = format!("/ip4/127.0.0.1/tcp/1/p2p/{}", two.peer_id()).parse().unwrap();
    let away = network.connect(&[dead], Key::new()).await.map(|_| ());
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
