//! What breaks, and what must hold nevertheless.

use crate::world::{LEASE, Other, POD, Times, World, eventually, read_until, read_until_cut};
use apocryph_gateway::{Config, HoldLimits};
use apocryph_model::Scale;
use std::{net::SocketAddr, time::Duration};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinSet,
    time::Instant,
};

fn restless() -> Scale {
    Scale { idle_seconds: 1, ..Scale::default() }
}

/// Requests wait for a second.
fn impatient() -> Config {
    let hold = HoldLimits { time: Duration::from_secs(1), ..HoldLimits::default() };
    Config { hold, ..Config::default() }
}

#[tokio::test]
async fn a_killed_gateway_takes_nothing_of_the_other_with_it() {
    let world = World::new(restless()).await;
    let [a, b] = world.others().await;
    let mut survivor = b.stream().await;
    let lost = a.stream().await;
    drop((a, lost));
    tokio::time::sleep(LEASE + Duration::from_secs(2)).await;
    read_until(&mut survivor, "more\n").await;
    assert_eq!((world.engine.times("idle"), world.engine.running()), (0, 1));
    world.app.end_streams();
    eventually("it is stopped in the end", async || world.engine.times("idle") == 1).await;
}

#[tokio::test]
async fn a_lost_gateway_makes_no_pod_look_idle_before_its_lease_is_over() {
    let world = World::new(restless()).await;
    let [a, _b] = world.others().await;
    let lost = a.stream().await;
    eventually("it is told of", async || world.gateway.routed(POD).is_some_and(|runs| runs.len() == 1)).await;
    let killed = Instant::now();
    drop((a, lost));
    eventually("it is stopped", async || world.engine.times("idle") == 1).await;
    // Since before it was lost it had been silent for a part of its lease at most: a fifth, the
    // time between two pings, and some more for a busy machine.
    assert!(killed.elapsed() >= LEASE / 2 + Duration::from_secs(1), "{:?}", killed.elapsed());
}

#[tokio::test]
async fn without_the_daemon_what_runs_is_served_and_what_does_not_waits_and_is_told_why() {
    let world = World::new(Scale::default()).await;
    let warm = Other::start(world.address, impatient()).await;
    warm.synced().await;
    let mut stream = warm.stream().await;
    let parts = world.kill().await;
    eventually("it notices", async || *warm.link.state().borrow() == apocryph_link::State::Away).await;
    // Longer than a lease: nobody is there who could stop the pod.
    tokio::time::sleep(LEASE * 2).await;
    assert_eq!(warm.ask("/").await, (200, "word".into()));
    read_until(&mut stream, "more\n").await;

    let world = World::again(parts, Scale::default(), Times::default()).await;
    warm.synced().await;
    assert_eq!(world.engine.times("wake"), 1, "it was adopted");
    world.hub.retire(POD, Duration::ZERO).await;
    assert_eq!(warm.ask("/").await.0, 200);
}

#[tokio::test]
async fn a_request_that_needs_the_daemon_waits_for_it_within_bounds() {
    let world = World::new(Scale::default()).await;
    let cold = Other::start(world.address, impatient()).await;
    cold.synced().await;
    let parts = world.kill().await;
    eventually("it notices", async || *cold.link.state().borrow() == apocryph_link::State::Away).await;
    let (status, body) = cold.ask("/").await;
    assert_eq!(status, 503);
    assert!(body.contains("daemon_away") && body.contains("does not answer"), "{body}");
    let patient = Other::start(parts.2, Config::default()).await;
    let (again, held) = tokio::join!(World::again(parts, Scale::default(), Times::default()), async {
        patient.synced().await;
        patient.ask("/").await
    });
    assert_eq!(held.0, 200);
    assert_eq!(cold.ask("/").await.0, 200);
    assert_eq!(again.engine.times("wake"), 1);
}

#[tokio::test]
async fn what_a_new_daemon_does_not_know_is_gone() {
    let world = World::new(Scale::default()).await;
    let [a, b] = world.others().await;
    assert_eq!(a.ask("/").await.0, 200);
    let (engine, app, address) = world.kill().await;
    let world = World::empty(engine, app, address).await;
    for other in [a, b] {
        eventually("it has no route", async || other.ask("/").await.0 == 404).await;
    }
    drop(world);
}

#[tokio::test]
async fn what_left_while_nobody_decided_is_cut_off_too() {
    let world = World::new(Scale::default()).await;
    let [a, b] = world.others().await;
    let streams = [a.stream().await, b.stream().await];
    let parts = world.kill().await;
    parts.0.evacuate();
    let times = Times { drain: Duration::from_millis(300), ..Times::default() };
    let _world = World::again(parts, Scale::default(), times).await;
    for stream in streams {
        read_until_cut(stream).await;
    }
}

/// What a wire does instead of passing bytes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    None,
    /// It keeps them; neither end is told anything.
    Silent,
    /// Both ends see that it broke; who connects again is kept waiting.
    Cut,
}

/// Passes bytes on between gateways and a daemon until it is told to keep them.
struct Wire {
    address: SocketAddr,
    fault: watch::Sender<Fault>,
    _tasks: JoinSet<()>,
}

impl Wire {
    async fn to(daemon: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let fault = watch::Sender::new(Fault::None);
        let faults = fault.clone();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(pass(stream, daemon, faults.subscribe()));
            }
        });
        Self { address, fault, _tasks: tasks }
    }
}

async fn pass(mut here: TcpStream, daemon: SocketAddr, mut fault: watch::Receiver<Fault>) {
    // A test that has ended passes nothing on.
    let _ = fault.wait_for(|fault| *fault != Fault::Cut).await;
    let Ok(mut there) = TcpStream::connect(daemon).await else { return };
    let mut heals = fault.clone();
    let cut = tokio::select! {
        _ = copy_bidirectional(&mut here, &mut there) => return,
        fault = fault.wait_for(|fault| *fault != Fault::None) => fault.is_ok_and(|fault| *fault == Fault::Cut),
    };
    if !cut {
        let _ = heals.wait_for(|fault| *fault == Fault::None).await;
    }
}

#[tokio::test]
async fn nothing_is_routed_without_a_lease_to_what_may_have_been_stopped() {
    let world = World::new(restless()).await;
    let wire = Wire::to(world.address).await;
    let cut_off = Other::start(wire.address, impatient()).await;
    cut_off.synced().await;
    let mut stream = cut_off.stream().await;
    wire.fault.send_replace(Fault::Silent);
    // The daemon cannot know what goes on there, so it waits, and stops the pod in the end.
    eventually("it is stopped", async || world.engine.times("idle") == 1).await;
    assert_eq!(cut_off.gateway.routed(POD), Some(Vec::new()), "nothing new is routed there by then");
    assert_eq!(cut_off.ask("/").await.0, 503);
    read_until(&mut stream, "more\n").await;
    wire.fault.send_replace(Fault::None);
    eventually("it is served again", async || cut_off.ask("/").await.0 == 200).await;
}

#[tokio::test]
async fn a_stop_waits_for_the_lease_of_a_gateway_that_is_silent() {
    a_stop_waits_for_the_lease(Fault::Silent).await;
}

#[tokio::test]
async fn a_stop_waits_for_the_lease_of_a_gateway_that_was_lost() {
    a_stop_waits_for_the_lease(Fault::Cut).await;
}

async fn a_stop_waits_for_the_lease(fault: Fault) {
    // The pod is quiet long before the lease is over.
    let lease = Duration::from_secs(3);
    let world = World::timed(restless(), Times { lease, ..Times::default() }).await;
    let wire = Wire::to(world.address).await;
    // Those that nobody here gave are over.
    tokio::time::sleep(lease).await;
    let cut_off = Other::start(wire.address, impatient()).await;
    cut_off.synced().await;
    assert_eq!(cut_off.ask("/").await.0, 200);
    wire.fault.send_replace(fault);
    assert_eq!(cut_off.ask("/").await.0, 200, "it has its lease");
    eventually("the pod is stopped", async || world.engine.times("idle") == 1).await;
    assert_eq!(cut_off.gateway.routed(POD), Some(Vec::new()), "nothing is routed there by then");
}

#[tokio::test]
async fn who_begins_to_decide_waits_for_leases_that_others_gave() {
    let world = World::new(Scale::default()).await;
    let wire = Wire::to(world.address).await;
    let cut_off = Other::start(wire.address, impatient()).await;
    cut_off.synced().await;
    let mut stream = cut_off.stream().await;
    wire.fault.send_replace(Fault::Silent);
    let world = World::again(world.kill().await, Scale::default(), Times::default()).await;
    world.hub.retire(POD, Duration::ZERO).await;
    assert_eq!(cut_off.gateway.routed(POD), Some(Vec::new()), "nothing is routed there by then");
    read_until(&mut stream, "more\n").await;
}

#[tokio::test]
async fn a_fence_waits_for_every_gateway() {
    let world = World::new(Scale::default()).await;
    let [a, b] = world.others().await;
    let mut streams = [a.stream().await, b.stream().await];
    let routes = |port| apocryph_gateway::PodRoutes {
        pod: POD,
        scale: Scale::default(),
        http: vec![apocryph_gateway::HttpRoute {
            host: crate::world::HOST.parse().unwrap(),
            container_port: port,
        }],
        tcp: vec![],
    };
    world.gateway.put(routes(world.app.port), &[]).await.unwrap();
    world.hub.put(&routes(world.app.port)).await.unwrap();
    let fence = world.hub.retire(POD, Duration::from_secs(60));
    tokio::pin!(fence);
    for stream in &mut streams {
        tokio::select! {
            () = &mut fence => panic!("a stream is under way"),
            () = read_until(stream, "more\n") => {}
        }
    }
    world.app.end_streams();
    fence.await;
    for mut stream in streams {
        let mut rest = String::new();
        stream.read_to_string(&mut rest).await.unwrap();
        assert!(rest.contains("end\n") && rest.ends_with("0\r\n\r\n"), "it was cut: {rest:?}");
    }
}

#[tokio::test]
async fn whoever_has_no_token_is_told_nothing() {
    let world = World::new(Scale::default()).await;
    let mut stranger = TcpStream::connect(world.address).await.unwrap();
    stranger.write_all(&[0, 48]).await.unwrap();
    stranger.write_all(&[7; 48]).await.unwrap();
    let mut told = Vec::new();
    stranger.read_to_end(&mut told).await.unwrap();
    assert_eq!(told, b"");
}
