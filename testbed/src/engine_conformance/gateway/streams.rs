//! Property 5: what is open keeps a pod up, whether anything passes or not.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use apocryph_gateway::{Config, TcpRoute};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use super::super::Subject;
use super::super::driving::{PATIENCE, finish};
use super::app::{AT_ONCE, ECHO, HOST, prepare, restless, routes};
use super::front::Front;
use super::lent_pods::{lend, running};
use super::ticks::Ticks;
use crate::daemon::free_ports;
use crate::http_client::{get, send};
use crate::until::until;

/// Longer than the idle period.
const LONGER: Duration = Duration::from_millis(1500);

/// A stream of events, a switch of protocols and a TCP connection, one after the other, each for longer than
/// the idle period; then nothing.
pub async fn open_streams_keep_a_pod_up(subject: &mut dyn Subject) {
    let pod = prepare(subject, AT_ONCE).await;
    let engine = subject.engine();
    let (pods, loan) = lend();
    let work = async {
        let [published] = free_ports().unwrap();
        let mut routes = routes(&pod, HOST, restless());
        routes.tcp = vec![TcpRoute { published: published.port(), container_port: ECHO }];
        let front = Front::before(&pods, Config::default(), routes).await;

        let mut events = Ticks::begin(front.http, HOST, "/ticks").await;
        let there = running(engine, pod.id).await.unwrap();
        events.wait(20).await;
        let mut upgraded = upgrade(front.http).await;
        drop(events);
        works_on(&mut upgraded).await;
        let mut tcp = TcpStream::connect((Ipv4Addr::LOCALHOST, published.port())).await.unwrap();
        ping(&mut tcp).await;
        drop(upgraded);
        works_on(&mut tcp).await;
        assert_eq!((pods.times("wake"), pods.times("idle")), (1, 0));
        assert_eq!(running(engine, pod.id).await.unwrap(), there, "all by one replica");
        drop(tcp);
        until("it goes to zero", PATIENCE, async || Ok(pods.times("stopped") == 1)).await.unwrap();
        assert_eq!(running(engine, pod.id).await.unwrap(), []);
    };
    loan.over(engine, work).await;
    finish(engine, pod.id).await;
}

async fn upgrade(gateway: SocketAddr) -> TokioIo<hyper::upgrade::Upgraded> {
    let mut request = get(HOST, "/upgrade");
    request.headers_mut().insert("connection", "Upgrade".parse().unwrap());
    request.headers_mut().insert("upgrade", "websocket".parse().unwrap());
    let response = send(gateway, request).await;
    assert_eq!(
        (response.status().as_u16(), &response.headers()["upgrade"]),
        (101, &"websocket".parse().unwrap())
    );
    TokioIo::new(hyper::upgrade::on(response).await.unwrap())
}

/// Nothing passes for longer than the idle period, and then something does.
async fn works_on(stream: &mut (impl AsyncRead + AsyncWrite + Unpin)) {
    ping(stream).await;
    sleep(LONGER).await;
    ping(stream).await;
}

async fn ping(stream: &mut (impl AsyncRead + AsyncWrite + Unpin)) {
    stream.write_all(b"ping").await.unwrap();
    let mut pong = [0; 4];
    timeout(PATIENCE, stream.read_exact(&mut pong)).await.expect("it is given back").unwrap();
    assert_eq!(&pong, b"ping");
}
