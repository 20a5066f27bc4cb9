//! Strangers at a provider's doors who talk nonsense, or take places and say nothing: nobody else is
//! harmed.

use std::net::SocketAddr;

use apocryph_testbed::cli::Cli;
use apocryph_testbed::clients::http_get;
use apocryph_testbed::daemon::Daemon;
use apocryph_testbed::market::Market;
use futures::future::join_all;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket, UnixStream};
use tokio::time::timeout;

use crate::pods::{PATIENCE, ask, close, deploy, end, insist, write};
use crate::stranger::{BITSWAP, PROVISION, Stranger, offering, place};

const DOORS: [&str; 4] = ["gateway", "health", "p2p", "registry"];
/// More than any door takes of connections that say nothing.
const SILENT: usize = 200;

#[tokio::test]
async fn garbage_at_every_door_harms_nobody() {
    let Some(market) = crate::market().await else { return };
    let publisher = market.publisher(0).await.unwrap();
    write(&publisher, "own", "0");
    deploy(&publisher, "own").await.unwrap();
    let daemon = &market.daemons[0];
    let process = daemon.id();
    join_all(garbage().iter().map(|bytes| throw_everywhere(daemon, bytes))).await;
    let place = place(&offering(&market).await);
    for bytes in garbage() {
        let stranger = Stranger::meet(&place).await;
        stranger.send(PROVISION, &bytes).await;
        stranger.send(BITSWAP, &bytes).await;
        stranger.is_cut_off().await;
    }
    serves(&market, &publisher).await;
    assert_eq!(market.daemons[0].id(), process, "the daemon went on all the while");
    end(&publisher, "own").await;
    close(market).await;
}

#[tokio::test]
async fn silent_connections_keep_nobody_out() {
    let Some(market) = crate::market().await else { return };
    let publisher = market.publisher(0).await.unwrap();
    write(&publisher, "own", "0");
    deploy(&publisher, "own").await.unwrap();
    let daemon = &market.daemons[0];
    let mut silent = Vec::new();
    for door in DOORS {
        for _ in 0..SILENT {
            silent.push(TcpStream::connect(address(daemon, door)).await.unwrap());
        }
    }
    let stranger = Stranger::meet(&place(&offering(&market).await)).await;
    let stalled = [stranger.open(PROVISION).await, stranger.open(BITSWAP).await];
    serves(&market, &publisher).await;
    drop((silent, stalled));
    end(&publisher, "own").await;
    close(market).await;
}

/// Everyone who has business with the provider is answered, in the end.
async fn serves(market: &Market, publisher: &Cli) {
    let daemon = &market.daemons[0];
    for (door, path) in [("health", "/healthz"), ("health", "/metrics")] {
        let told = async || http_get(address(daemon, door), "localhost", path).await;
        assert_eq!(insist("health is told", told).await.status, 200);
    }
    let answer = insist("the pod answers", async || ask(publisher, "own", "/cgi-bin/ask").await).await;
    assert_eq!(answer.status, 200);
    assert!(daemon.command("status").await.unwrap().contains("runs"), "the operator is answered");
    // A new pod goes through everything else: calls, blocks, the registry.
    write(publisher, "late", "0");
    insist("another pod is deployed", async || deploy(publisher, "late").await).await;
    end(publisher, "late").await;
}

/// What no protocol begins with, and what several begin with and do not go on with.
fn garbage() -> [Vec<u8>; 6] {
    let noise: Vec<u8> =
        std::iter::successors(Some(1_u32), |n| Some(n.wrapping_mul(1_664_525).wrapping_add(1_013_904_223)))
            .map(|n| n.to_be_bytes()[0])
            .take(100_000)
            .collect();
    let after = |beginning: &[u8]| [beginning, &noise[..5000]].concat();
    [
        vec![0; 5000],
        vec![0xff; 5000],
        after(b"\x13/multistream/1.0.0\n"),
        after(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
        after(b"GET / HTTP/1.1\r\nHost: "),
        noise,
    ]
}

async fn throw_everywhere(daemon: &Daemon, bytes: &[u8]) {
    let at_door = async |door| {
        let stream = TcpStream::connect(address(daemon, door)).await.unwrap();
        assert!(throw(stream, bytes).await, "{door} holds on to {:?}", &bytes[..8]);
    };
    join_all(DOORS.map(at_door)).await;
    let stream = UnixStream::connect(daemon.folder.join("data/admin.sock")).await.unwrap();
    assert!(throw(stream, bytes).await, "the operator's socket holds on to {:?}", &bytes[..8]);
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    socket.send_to(&bytes[..1200], address(daemon, "p2p")).await.unwrap();
}

/// Whether the other side lets go of a client that said this and nothing more.
async fn throw(mut stream: impl AsyncRead + AsyncWrite + Unpin, bytes: &[u8]) -> bool {
    // It may have been cut off in the middle.
    let _ = stream.write_all(bytes).await;
    let _ = stream.shutdown().await;
    timeout(PATIENCE, stream.read_to_end(&mut Vec::new())).await.is_ok()
}

fn address(daemon: &Daemon, listener: &str) -> SocketAddr {
    let configuration = std::fs::read_to_string(daemon.folder.join("apocryphd.toml")).unwrap();
    let setting = format!("{listener} = ");
    // A contract's address may stand under the same name.
    let values = configuration.lines().filter_map(|line| line.strip_prefix(&setting));
    values.filter_map(|value| value.trim_matches('"').parse().ok()).next().unwrap()
}
