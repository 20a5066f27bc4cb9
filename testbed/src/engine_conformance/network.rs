//! Whom a replica reaches, and who reaches it.

use std::net::{IpAddr, Ipv6Addr, SocketAddr, UdpSocket};
use std::time::Duration;

use apocryph_provider::Replica;
use futures::StreamExt as _;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::driving::{finish, first_lines, lines_of, reach, sampled_until, scale_to_one};
use super::{PodUnderTest, Subject, attacker, shell};

/// How long an answer from nearby may take.
const ANSWER: Duration = Duration::from_secs(2);
/// Where a neighbour listens.
const PORT: u16 = 7070;

/// The containers of a replica reach each other at localhost, and the host reaches them; what they
/// move is counted.
pub async fn containers_of_a_replica_are_together(subject: &mut dyn Subject) {
    let image = subject.ship(&shell());
    let serve = "echo yes >/tmp/index.html; exec httpd -f -p 8080 -h /tmp";
    let ask = "until wget -q -O - http://localhost:8080/ 2>/dev/null; do sleep 0.1; done; exec nc -l -p 9090 -e echo open";
    let pod = PodUnderTest::new(1, image).container("serve", serve).container("ask", ask).build(subject);
    let engine = subject.engine();
    engine.prepare(&pod).await.unwrap();
    let replica = scale_to_one(engine, &pod).await;
    assert_eq!(lines_of(engine, pod.id, 1).await, ["yes"]);
    let answer = reach(&replica, 9090).await;
    assert_eq!(answer, "open\n");
    sampled_until(engine, |reading| reading.ingress > 100 && reading.egress > 100).await;
    finish(engine, pod.id).await;
}

/// Nobody but the host reaches a replica, by whatever protocol and address.
pub async fn neighbours_are_out_of_reach(subject: &mut dyn Subject) {
    let image = subject.ship(&attacker());
    let script =
        format!("cat /proc/net/if_inet6 | /bin/busybox grep eth0 || echo; exec attack listen {PORT}");
    let victim = PodUnderTest::new(1, image).container("main", &script).build(subject);
    let engine = subject.engine();
    engine.prepare(&victim).await.unwrap();
    let replica = scale_to_one(engine, &victim).await;
    let lines = lines_of(engine, victim.id, 2).await;
    assert_eq!(lines[1], "listening");
    let addresses: Vec<IpAddr> =
        [Some(replica.address), link_local(&lines[0])].into_iter().flatten().collect();
    let tries = addresses.iter().map(|address| {
        format!("try reach {address} {PORT}; try send {address} {PORT} evil; try ping {address}; ")
    });
    let spoof = format!("attack spoof {} {} {PORT}", replica.address, replica.address);
    let script = all_at_once(&format!("{} try ping ff02::1; {spoof};", tries.collect::<String>()));
    let stranger = PodUnderTest::new(2, image).container("main", &script).build(subject);
    let engine = subject.engine();
    engine.prepare(&stranger).await.unwrap();
    scale_to_one(engine, &stranger).await;
    let told = lines_of(engine, stranger.id, 3).await;
    assert_eq!(told, ["reached 127.0.0.1 7071", "not spoofed", "tried"]);
    // In order after what the stranger may have sent.
    greet(&replica).await;
    assert_eq!(lines_of(engine, victim.id, 4).await[2..], ["tcp", "udp friend"]);
    finish(engine, stranger.id).await;
    finish(engine, victim.id).await;
}

/// The address that proc_net_if_inet6(5) tells in a line.
fn link_local(line: &str) -> Option<IpAddr> {
    let bits = u128::from_str_radix(line.get(..32)?, 16).ok()?;
    Some(Ipv6Addr::from_bits(bits).into())
}

async fn greet(replica: &Replica) {
    let address = SocketAddr::from((replica.address, PORT));
    drop(TcpStream::connect(address).await.unwrap());
    let socket = UdpSocket::bind(("0.0.0.0", 0)).unwrap();
    socket.send_to(b"friend", address).unwrap();
}

/// Those that answer to the host: what nobody reaches shows nothing.
async fn answering(services: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let answers = |service: &SocketAddr| {
        let service = *service;
        async move { matches!(timeout(ANSWER, TcpStream::connect(service)).await, Ok(Ok(_))) }
    };
    futures::stream::iter(services).filter(answers).collect().await
}

/// A script that tells what is reached, of itself to begin with, and when all has been tried.
fn all_at_once(tries: &str) -> String {
    format!(
        "try() {{ attack \"$@\" & tries=\"$tries $!\"; }}; attack listen 7071 >/dev/null & \
         until attack reach 127.0.0.1 7071 | /bin/busybox grep reached; do sleep 0.1; done; \
         {tries} wait $tries; echo tried; sleep 600"
    )
}

/// What listens on the host and around it is none of a tenant's business.
pub async fn the_host_is_out_of_reach(subject: &mut dyn Subject) {
    let image = subject.ship(&attacker());
    let services = answering(subject.host_services().await).await;
    assert!(services.len() > 1, "{services:?}");
    let tries = services
        .iter()
        .map(|service| format!("try reach {} {}; try ping {}; ", service.ip(), service.port(), service.ip()));
    let script = all_at_once(&tries.collect::<String>());
    let pod = PodUnderTest::new(1, image).container("main", &script);
    assert_eq!(first_lines(subject, pod, 2).await, ["reached 127.0.0.1 7071", "tried"]);
}
