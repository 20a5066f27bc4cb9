//! Peers that lie, flood, stall and send garbage.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod nodes;

use apocryph_model::{Blob, PeerId};
use apocryph_p2p::{BlobStore, Identity, Node, NodeConfig, Reader};
use apocryph_provider::{BlobError, Blobs as _};
use futures::{AsyncReadExt as _, AsyncWriteExt as _, StreamExt as _, stream::FuturesUnordered};
use libp2p::{Multiaddr, StreamProtocol, Swarm, SwarmBuilder, noise, swarm::SwarmEvent, tcp, yamux};
use libp2p_stream::{Control, IncomingStreams};
use nodes::{OWNER, TCP, config, connect, content, id, impatient, provider, publish, publisher, stored};
use tokio::{sync::watch, task::JoinHandle};

const BITSWAP: StreamProtocol = StreamProtocol::new("/ipfs/bitswap/1.2.0");
const PROVISION: StreamProtocol = StreamProtocol::new("/apocryph/provision/1");

/// A peer of which the test writes every byte.
struct Attacker {
    control: Control,
    id: libp2p::PeerId,
    connections: watch::Receiver<u32>,
    driver: JoinHandle<()>,
}

impl Drop for Attacker {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl Attacker {
    async fn against(target: &Node) -> Self {
        let mut swarm: Swarm<libp2p_stream::Behaviour> = SwarmBuilder::with_new_identity()
            .with_tokio()
            .with_tcp(tcp::Config::default(), noise::Config::new, yamux::Config::default)
            .unwrap()
            .with_behaviour(|_| libp2p_stream::Behaviour::new())
            .unwrap()
            .with_swarm_config(|config| config.with_idle_connection_timeout(nodes::DEADLINE))
            .build();
        let (control, id) = (swarm.behaviour().new_control(), *swarm.local_peer_id());
        let address: Multiaddr = target.addresses()[0].clone();
        swarm.dial(address).unwrap();
        let (count, connections) = watch::channel(0);
        let driver = tokio::spawn(async move {
            loop {
                match swarm.select_next_some().await {
                    SwarmEvent::ConnectionEstablished { num_established, .. } => {
                        count.send_replace(num_established.get());
                    }
                    SwarmEvent::ConnectionClosed { num_established, .. } => {
                        count.send_replace(num_established);
                    }
                    _ => {}
                }
            }
        });
        let mut attacker = Self { control, id, connections, driver };
        attacker.connections.wait_for(|count| *count > 0).await.unwrap();
        attacker
    }

    fn model_id(&self) -> PeerId {
        self.id.to_base58().parse().unwrap()
    }

    /// Sends bytes as they are on a new stream; whether they are taken is the target's affair.
    async fn send(&self, target: &Node, protocol: StreamProtocol, bytes: &[u8]) {
        if let Ok(mut stream) = self.control.clone().open_stream(target.peer_id(), protocol).await {
            let _ = stream.write_all(bytes).await;
            let _ = stream.flush().await;
            let _ = stream.close().await;
        }
    }

    async fn is_cut_off(&mut self) {
        let cut = self.connections.wait_for(|count| *count == 0);
        tokio::time::timeout(nodes::DEADLINE, cut).await.expect("it is cut off").unwrap();
    }

    fn accept(&mut self) -> IncomingStreams {
        self.control.accept(BITSWAP).unwrap()
    }
}

fn field(tag: u8, bytes: &[u8]) -> Vec<u8> {
    let mut out = vec![tag << 3 | 2];
    out.extend(varint(bytes.len()));
    out.extend(bytes);
    out
}

fn varint(mut n: usize) -> Vec<u8> {
    let mut out = Vec::new();
    while n > 0x7f {
        out.push(n as u8 | 0x80);
        n >>= 7;
    }
    out.push(n as u8);
    out
}

fn message(body: &[u8]) -> Vec<u8> {
    [varint(body.len()), body.to_vec()].concat()
}

/// A message with one raw block.
fn block(data: &[u8]) -> Vec<u8> {
    message(&field(3, &[field(1, &[1, 0x55, 0x12, 32]), field(2, data)].concat()))
}

/// A wantlist for blocks with made-up ids.
fn wants(numbers: std::ops::Range<u32>) -> Vec<u8> {
    let entry = |n: u32| {
        let cid = [&[1, 0x55, 0x12, 32][..], &[n as u8; 28], &n.to_be_bytes()].concat();
        field(1, &field(1, &cid))
    };
    message(&field(1, &numbers.flat_map(entry).collect::<Vec<_>>()))
}

/// The target goes on serving others.
async fn serves_others(target: &Node) {
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let bytes = content(700_000);
    let blob = publish(target, &from, &bytes, Reader::Everyone);
    let other = provider(&config(TCP), to.path()).await;
    connect(&other, target).await;
    other.fetch(OWNER, &blob, &id(target), &|_| ()).await.unwrap();
    assert!(stored(&other, &blob).unwrap() == bytes);
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_ends_the_connection_and_harms_nobody() {
    let target = publisher(TCP).await;
    let garbage = [
        vec![0xff; 100],
        message(&content(1000)),
        message(&vec![0x22; 5_000]),
        // More entries than a message may have, each of two bytes.
        message(&[0x22, 0].repeat(20_000)),
        // A content id of 4 KiB.
        message(&field(1, &field(1, &field(1, &[7; 4096])))),
        // A message of 128 MiB, announced.
        vec![0x80, 0x80, 0x80, 0x40],
    ];
    for bytes in garbage {
        let mut attacker = Attacker::against(&target).await;
        attacker.send(&target, BITSWAP, &bytes).await;
        attacker.is_cut_off().await;
    }
    serves_others(&target).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_on_the_deployment_protocol_harms_nobody() {
    let target = publisher(TCP).await;
    let attacker = Attacker::against(&target).await;
    for bytes in [vec![0xff; 100], b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(), content(10_000)] {
        attacker.send(&target, PROVISION, &bytes).await;
    }
    serves_others(&target).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn too_many_wants_end_the_connection() {
    let target = publisher(TCP).await;
    let mut attacker = Attacker::against(&target).await;
    attacker.send(&target, BITSWAP, &wants(0..5000)).await;
    attacker.is_cut_off().await;
    serves_others(&target).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn blocks_that_nobody_asked_for_end_the_connection() {
    let target = publisher(TCP).await;
    let mut attacker = Attacker::against(&target).await;
    let flood: Vec<u8> = (0..200).flat_map(|n| block(&content(n))).collect();
    attacker.send(&target, BITSWAP, &flood).await;
    attacker.is_cut_off().await;
    serves_others(&target).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_without_end_are_refused_beyond_a_bound() {
    let patient = NodeConfig { patience: 4 * nodes::DEADLINE, ..config(TCP) };
    let dir = tempfile::tempdir().unwrap();
    let target = provider(&patient, dir.path()).await;
    let attacker = Attacker::against(&target).await;
    let mut ends = FuturesUnordered::new();
    for _ in 0..100 {
        // Each is left in the middle of a message.
        let Ok(mut stream) = attacker.control.clone().open_stream(target.peer_id(), BITSWAP).await else {
            continue;
        };
        let _ = stream.write_all(&[100, 1, 2]).await;
        let _ = stream.flush().await;
        ends.push(async move { stream.read(&mut [0]).await });
    }
    for _ in 0..ends.len() - 32 {
        tokio::time::timeout(nodes::DEADLINE, ends.next()).await.expect("it is refused");
    }
    serves_others(&target).await;
}

/// What a fetch from this attacker ends with; its blob has one leaf or many.
async fn fetch_from(
    answer: impl Fn(usize) -> Option<Vec<u8>> + Send + Sync + 'static,
    size: usize,
) -> BlobError {
    let dir = tempfile::tempdir().unwrap();
    let victim = provider(&impatient(TCP), dir.path()).await;
    let mut attacker = Attacker::against(&victim).await;
    let mut streams = attacker.accept();
    let control = attacker.control.clone();
    let target = victim.peer_id();
    let serving = tokio::spawn(async move {
        // Streams are kept open: a stall, not an end.
        let mut kept = Vec::new();
        while let Some((_, mut stream)) = streams.next().await {
            // Whatever is wanted, the answers are these.
            let _ = stream.read(&mut [0; 4096]).await;
            let Ok(mut reply) = control.clone().open_stream(target, BITSWAP).await else { return };
            for bytes in (0..).map_while(&answer) {
                if reply.write_all(&bytes).await.is_err() {
                    return;
                }
            }
            let _ = reply.flush().await;
            kept.push((reply, stream));
        }
    });
    let blob = announced(&content(size));
    let failed = victim.fetch(OWNER, &blob, &attacker.model_id(), &|_| ()).await.unwrap_err();
    assert!(stored(&victim, &blob).is_none());
    serving.abort();
    failed
}

/// A blob as its publisher announces it.
fn announced(bytes: &[u8]) -> Blob {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("blob");
    std::fs::write(&path, bytes).unwrap();
    let info =
        BlobStore::of_files().unwrap().publish(&path, &nodes::digest(bytes), Reader::Everyone).unwrap();
    Blob { digest: info.digest, size: info.size, cid: info.root.to_string() }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_says_nothing_ends_the_fetch_with_the_cause() {
    let failed = fetch_from(|_| None, 1000).await;
    let BlobError::Stalled { problem, .. } = failed else { panic!("{failed:?}") };
    assert!(problem.contains("0 of 1000 bytes"), "{problem}");
}

#[tokio::test(flavor = "multi_thread")]
async fn damaged_blocks_are_not_taken() {
    let failed = fetch_from(|n| (n == 0).then(|| block(&[1; 1000])), 1000).await;
    assert!(matches!(failed, BlobError::Stalled { .. }), "{failed:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_damaged_blocks_ends_the_fetch_at_once() {
    let failed = fetch_from(|n| (n < 1000).then(|| block(&content(n))), 1000).await;
    let BlobError::Peer { problem, .. } = failed else { panic!("{failed:?}") };
    assert!(problem.contains("damaged"), "{problem}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_stalls_ends_the_fetch_with_the_cause() {
    let half = block(&content(1000));
    let half = half[..500].to_vec();
    let failed = fetch_from(move |n| (n == 0).then(|| half.clone()), 1000).await;
    assert!(matches!(failed, BlobError::Stalled { .. }), "{failed:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_without_bitswap_ends_the_fetch_with_the_cause() {
    let dir = tempfile::tempdir().unwrap();
    let victim = provider(&config(TCP), dir.path()).await;
    let attacker = Attacker::against(&victim).await;
    let failed = victim.fetch(OWNER, &announced(b"x"), &attacker.model_id(), &|_| ()).await;
    let Err(BlobError::Peer { problem, .. }) = failed else { panic!("{failed:?}") };
    assert!(problem.contains("speaks no bitswap"), "{problem}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_was_lost_is_asked_for_again() {
    let dir = tempfile::tempdir().unwrap();
    let victim = provider(&impatient(TCP), dir.path()).await;
    let mut forgetful = Attacker::against(&victim).await;
    let mut streams = forgetful.accept();
    let (control, target, bytes) = (forgetful.control.clone(), victim.peer_id(), content(1000));
    let answer = block(&bytes);
    let serving = tokio::spawn(async move {
        let (_, mut asked) = streams.next().await.unwrap();
        for _ in 0..2 {
            // The first want goes unanswered.
            assert!(asked.read(&mut [0; 4096]).await.unwrap() > 0);
        }
        let mut reply = control.clone().open_stream(target, BITSWAP).await.unwrap();
        reply.write_all(&answer).await.unwrap();
        reply.flush().await.unwrap();
        // Open until the test ends.
        std::future::pending::<()>().await;
    });
    let blob = announced(&bytes);
    victim.fetch(OWNER, &blob, &forgetful.model_id(), &|_| ()).await.unwrap();
    assert!(stored(&victim, &blob).unwrap() == bytes);
    serving.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn pings_are_answered() {
    let target = publisher(TCP).await;
    let attacker = Attacker::against(&target).await;
    let ping = StreamProtocol::new("/ipfs/ping/1.0.0");
    let mut stream = attacker.control.clone().open_stream(target.peer_id(), ping).await.unwrap();
    for round in 0..3 {
        stream.write_all(&[round; 32]).await.unwrap();
        stream.flush().await.unwrap();
        let mut pong = [0; 32];
        stream.read_exact(&mut pong).await.unwrap();
        assert_eq!(pong, [round; 32]);
    }
}

#[tokio::test]
async fn an_address_in_use_is_named() {
    let other = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = format!("/ip4/127.0.0.1/tcp/{}", other.local_addr().unwrap().port());
    let store = BlobStore::of_files().unwrap();
    let refused = Node::start(&Identity::ephemeral(), &config(&taken), store).await;
    let Err(error) = refused else { panic!("two listeners on one port") };
    assert!(error.to_string().contains(&taken), "{error}");
}
