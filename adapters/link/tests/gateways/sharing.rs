//! Several gateways and one who decides.

use crate::world::{Other, POD, Times, World, eventually, read_until, read_until_cut};
use apocryph_gateway::Config;
use apocryph_model::Scale;
use std::net::Ipv4Addr;
use tokio::net::TcpListener;

/// Idle after a second.
fn restless() -> Scale {
    Scale { idle_seconds: 1, ..Scale::default() }
}

#[tokio::test]
async fn requests_held_at_two_gateways_start_the_pod_once() {
    let world = World::new(Scale::default()).await;
    let [a, b] = world.others().await;
    world.engine.let_wakes(false);
    let asking = async { tokio::join!(a.ask("/"), a.ask("/"), b.ask("/"), b.ask("/")) };
    let letting = async {
        let held = async || a.gateway.activity(true).len() + b.gateway.activity(true).len() == 2;
        eventually("both hold requests", held).await;
        eventually("the start is asked for", async || world.engine.times("wake") > 0).await;
        world.engine.let_wakes(true);
    };
    let (answers, ()) = tokio::join!(asking, letting);
    for (status, body) in [answers.0, answers.1, answers.2, answers.3] {
        assert_eq!((status, body.as_str()), (200, "word"));
    }
    assert_eq!((world.engine.times("wake"), world.engine.running()), (1, 1));
}

#[tokio::test]
async fn a_pod_is_not_stopped_while_one_gateway_has_a_stream_open() {
    let world = World::new(restless()).await;
    let [a, b] = world.others().await;
    let mut stream = b.stream().await;
    assert_eq!(a.ask("/").await.0, 200);
    // More than twice its idle period, after which it would be stopped but for the stream.
    tokio::time::sleep(std::time::Duration::from_millis(2500)).await;
    assert_eq!((world.engine.times("idle"), world.engine.running()), (0, 1));
    world.app.end_streams();
    read_until(&mut stream, "end\n").await;
    eventually("it is stopped", async || world.engine.times("idle") == 1).await;
    assert_eq!(b.ask("/").await.0, 200, "and started again");
    assert_eq!(a.ask("/").await.0, 200);
    assert_eq!(world.engine.times("wake"), 2);
}

#[tokio::test]
async fn what_gateways_have_under_way_together_starts_more_replicas() {
    let scale = Scale { max: 3, requests_per_replica: 2, ..restless() };
    let world = World::new(scale).await;
    let [a, b] = world.others().await;
    // Neither has too many by itself.
    let streams = (a.stream().await, a.stream().await, b.stream().await, b.stream().await);
    eventually("a second replica runs", async || world.engine.running() == 2).await;
    eventually("both know", async || {
        [&a, &b].iter().all(|other| other.gateway.routed(POD).is_some_and(|runs| runs.len() == 2))
    })
    .await;
    world.app.end_streams();
    drop(streams);
    eventually("all are stopped", async || world.engine.running() == 0).await;
}

#[tokio::test]
async fn the_replica_that_goes_is_one_that_nobody_uses() {
    let world = World::new(Scale { max: 2, requests_per_replica: 1, ..restless() }).await;
    let [a, _b] = world.others().await;
    // The first one started is the first one that would go.
    let first = a.stream().await;
    let second = a.stream().await;
    eventually("two replicas run", async || world.engine.running() == 2).await;
    eventually("both are known", async || a.gateway.routed(POD).is_some_and(|runs| runs.len() == 2)).await;
    drop(second);
    let third = a.stream().await;
    drop(third);
    eventually("one is stopped", async || world.engine.times("retire") == 1).await;
    eventually("it is known", async || a.gateway.routed(POD).is_some_and(|runs| runs.len() == 1)).await;
    let cut = a.gateway.retire(POD, std::time::Duration::ZERO).await.cut;
    assert_eq!(cut, 0, "what is under way is on the other one");
    drop(first);
}

#[tokio::test]
async fn a_gateway_does_not_let_go_of_what_it_uses() {
    let world = World::new(Scale::default()).await;
    let [a, _b] = world.others().await;
    let mut stream = a.stream().await;
    let runs = a.gateway.routed(POD).unwrap();
    assert!(a.gateway.release(POD, None).is_err());
    assert!(a.gateway.release(POD, Some(runs[0].run)).is_err());
    assert_eq!(a.gateway.routed(POD), Some(runs.clone()), "nothing was changed");
    world.app.end_streams();
    read_until(&mut stream, "end\n").await;
    eventually("it lets go", async || a.gateway.release(POD, None).is_ok()).await;
    assert_eq!(a.gateway.routed(POD), Some(Vec::new()));
}

#[tokio::test]
async fn a_gateway_that_says_goodbye_counts_no_more() {
    let world = World::new(restless()).await;
    let [a, b] = world.others().await;
    let stream = a.stream().await;
    eventually("the start was told", async || world.engine.running() == 1).await;
    drop(stream);
    a.gateway.drain(std::time::Duration::from_secs(5)).await;
    a.link.leave().await;
    drop(a);
    eventually("it is stopped", async || world.engine.times("idle") == 1).await;
    assert_eq!(b.ask("/").await.0, 200);
}

/// Others end a replica: gateways end what is under way there after a while, and start another.
#[tokio::test]
async fn what_leaves_is_drained_everywhere() {
    let times = Times { drain: std::time::Duration::from_millis(300), ..Times::default() };
    let world = World::timed(Scale::default(), times).await;
    let [a, b] = world.others().await;
    let leaving = [a.stream().await, b.stream().await];
    world.engine.evacuate();
    eventually("nothing is routed to it", async || {
        [&a, &b].iter().all(|other| other.gateway.routed(POD) == Some(Vec::new()))
    })
    .await;
    let mut fresh = a.stream().await;
    for stream in leaving {
        read_until_cut(stream).await;
    }
    world.app.end_streams();
    read_until(&mut fresh, "end\n").await;
}

#[tokio::test]
async fn removed_pods_and_their_ports_are_gone_everywhere() {
    let mut world = World::new(Scale::default()).await;
    let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let port = free.local_addr().unwrap().port();
    drop(free);
    let a = Other::start(world.address, Config::default()).await;
    a.synced().await;
    let app = world.app.port;
    world.put(Scale::default(), &[(port, app)]).await;
    assert!(TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await.is_err(), "the gateway listens");
    world.hub.remove(POD, std::time::Duration::ZERO).await;
    assert_eq!(a.ask("/").await.0, 404);
    assert!(TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await.is_ok(), "the port is free");
}

#[tokio::test]
async fn a_port_that_a_gateway_cannot_have_is_told() {
    let world = World::new(Scale::default()).await;
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let port = taken.local_addr().unwrap().port();
    let a = Other::start(world.address, Config::default()).await;
    a.synced().await;
    let tcp = vec![apocryph_gateway::TcpRoute { published: port, container_port: 1 }];
    let routes = apocryph_gateway::PodRoutes { pod: POD, scale: Scale::default(), http: Vec::new(), tcp };
    let refused = world.hub.put(&routes).await.unwrap_err();
    assert_eq!((refused.port, refused.taken), (port, true));
}
