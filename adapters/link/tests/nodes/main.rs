//! The link between a daemon and the readers on nodes, over real connections.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use apocryph_link::nodes::{NodeName, PodCounters, PodReading, PodUid, answer};
use apocryph_link::{NodeReaders, ReaderConfig, Role, Token};
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_secs(30);

/// Knows every Pod but one named `unknown`, and says how long its uid is.
struct Lengths;

impl PodCounters for Lengths {
    fn read(&self, pod: &PodUid) -> Option<PodReading> {
        let known = pod.as_ref() != "unknown";
        known.then(|| PodReading {
            uid: pod.clone(),
            cpu_us: pod.as_ref().len() as u64,
            there: true,
            whole: false,
        })
    }
}

/// Tells of Pods that nobody asked for.
struct Talkative;

impl PodCounters for Talkative {
    fn read(&self, _: &PodUid) -> Option<PodReading> {
        Some(PodReading { uid: uid("another"), cpu_us: 1, there: true, whole: true })
    }
}

fn uid(text: &str) -> PodUid {
    text.parse().unwrap()
}

fn node(name: &str) -> NodeName {
    name.parse().unwrap()
}

fn token(letter: &str) -> Token {
    Token::from_text(&letter.repeat(40), Role::NodeReader).unwrap()
}

/// A daemon's readers, and where they connect.
async fn daemon() -> (NodeReaders, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let readers = NodeReaders::new(token("t"));
    let serving = readers.clone();
    tokio::spawn(async move { serving.serve(listener).await });
    (readers, address)
}

fn reader(daemon: SocketAddr, name: &str, token: Token, counters: impl PodCounters) -> JoinHandle<()> {
    let config = ReaderConfig { daemon: daemon.to_string(), token, node: node(name) };
    tokio::spawn(async move { answer(&config, Arc::new(counters)).await })
}

async fn until_gone(readers: &NodeReaders, name: &str) {
    let gone = async {
        while readers.nodes().contains(&node(name)) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, gone).await.unwrap();
}

#[tokio::test]
async fn each_node_is_asked_for_its_own_pods() {
    let (readers, address) = daemon().await;
    assert_eq!(readers.read(&node("a"), &[uid("p")]).await, None, "nobody knows");
    let all = [reader(address, "a", token("t"), Lengths), reader(address, "b", token("t"), Lengths)];
    assert!(readers.returned(&node("a")).await && readers.returned(&node("b")).await);
    let read = readers.read(&node("a"), &[uid("pod-1"), uid("unknown")]).await.unwrap();
    assert_eq!(read, [PodReading { uid: uid("pod-1"), cpu_us: 5, there: true, whole: false }]);
    let many: Vec<_> = (0..5000).map(|n| uid(&format!("pod-{n}"))).collect();
    assert_eq!(readers.read(&node("b"), &many).await.unwrap().len(), 5000, "in several parts");
    let nodes = BTreeSet::from([node("a"), node("b")]);
    assert_eq!(readers.nodes(), nodes);
    assert_eq!(NodeReaders::probe(&address.to_string(), &token("t")).await.unwrap(), nodes);
    all.iter().for_each(JoinHandle::abort);
}

#[tokio::test]
async fn a_reader_that_was_lost_may_come_back() {
    let (readers, address) = daemon().await;
    let first = reader(address, "a", token("t"), Lengths);
    assert!(readers.returned(&node("a")).await);
    first.abort();
    until_gone(&readers, "a").await;
    assert_eq!(readers.read(&node("a"), &[uid("p")]).await, None);
    let waiting = readers.clone();
    let waiting = tokio::spawn(async move { waiting.returned(&node("a")).await });
    let second = reader(address, "a", token("t"), Lengths);
    assert!(waiting.await.unwrap());
    assert_eq!(readers.read(&node("a"), &[uid("p")]).await.unwrap().len(), 1);
    second.abort();
}

#[tokio::test]
async fn a_node_without_a_reader_is_not_waited_for_long() {
    let readers = NodeReaders::new(token("t"));
    assert!(!readers.returned(&node("a")).await, "it had its time");
    let again = timeout(Duration::from_millis(1), readers.returned(&node("a"))).await;
    assert!(!again.expect("a second time is not waited for"));
}

#[tokio::test]
async fn a_stranger_learns_nothing() {
    let (readers, address) = daemon().await;
    let wrong = reader(address, "a", token("x"), Lengths);
    let gateway = Token::from_text(&"t".repeat(40), Role::Gateway).unwrap();
    let gateway = reader(address, "b", gateway, Lengths);
    assert!(NodeReaders::probe(&address.to_string(), &token("x")).await.is_err());
    let mut raw = TcpStream::connect(address).await.unwrap();
    raw.write_all(&[0, 4, 1, 2, 3, 4]).await.unwrap();
    let mut said = Vec::<u8>::new();
    // The connection may be reset, with as little said.
    let _ = timeout(PATIENCE, raw.read_to_end(&mut said)).await.unwrap();
    assert!(said.is_empty(), "{said:?}");
    let right = reader(address, "c", token("t"), Lengths);
    assert!(readers.returned(&node("c")).await);
    assert_eq!(readers.nodes(), BTreeSet::from([node("c")]));
    [wrong, gateway, right].iter().for_each(JoinHandle::abort);
}

#[tokio::test]
async fn strangers_keep_no_reader_out() {
    let (readers, address) = daemon().await;
    let mut silent = Vec::new();
    for _ in 0..40 {
        silent.push(TcpStream::connect(address).await.unwrap());
    }
    let held = reader(address, "a", token("t"), Lengths);
    let come = async { while !readers.returned(&node("a")).await {} };
    timeout(PATIENCE, come).await.expect("the silent ones are cut off");
    held.abort();
}

#[tokio::test]
async fn what_nobody_asked_for_is_not_taken() {
    let (readers, address) = daemon().await;
    let talkative = reader(address, "a", token("t"), Talkative);
    assert!(readers.returned(&node("a")).await);
    assert_eq!(readers.read(&node("a"), &[uid("p")]).await.unwrap(), []);
    talkative.abort();
}
