//! Properties 2, 3, 8 and 9: one start, a bounded hold, failures at once, no harm to others.

use crate::{
    app::App,
    engine::Asked,
    world::{HOST, OTHER, OTHER_HOST, POD, World, eventually},
};
use apocryph_gateway::{Config, HoldLimits, WakeError};
use apocryph_testbed::http_client::{self as client, ask, get};
use futures::future::join_all;
use http::Request;
use std::{net::SocketAddr, time::Duration};
use tokio::{io::AsyncWriteExt, net::TcpStream};
use tokio_util::task::AbortOnDropHandle;

fn config(hold: HoldLimits) -> Config {
    Config { hold, ..Config::default() }
}

#[tokio::test]
async fn one_start_however_many_wait() {
    let (world, app) = World::with_app(Config::default()).await;
    world.engine.let_wakes(false);
    let waiting: Vec<_> = (0..200).map(|_| tokio::spawn(ask(world.http, get(HOST, "/")))).collect();
    eventually("the start", async || world.engine.wakes() == 1).await;
    world.engine.let_wakes(true);
    for answer in join_all(waiting).await {
        assert_eq!(answer.unwrap().status, 200);
    }
    assert_eq!((world.engine.wakes(), app.requests()), (1, 200));
}

#[tokio::test]
async fn what_exceeds_the_hold_is_answered_at_once() {
    let hold = HoldLimits { requests_per_pod: 2, ..HoldLimits::default() };
    let (world, _app) = World::with_app(config(hold)).await;
    world.engine.let_wakes(false);
    let waiting: Vec<_> = (0..5).map(|_| tokio::spawn(ask(world.http, get(HOST, "/")))).collect();
    eventually("three refusals", async || waiting.iter().filter(|w| w.is_finished()).count() == 3).await;
    world.engine.let_wakes(true);
    let answers = join_all(waiting).await.into_iter().map(Result::unwrap);
    let (refused, served): (Vec<_>, Vec<_>) = answers.partition(|answer| answer.status == 503);
    assert_eq!((refused.len(), served.len()), (3, 2));
    assert_eq!(refused[0].error(), Some("hold_full"));
    assert_eq!(refused[0].headers["retry-after"], "1");
    insta::assert_snapshot!(
        refused[0].body,
        @r#"{"error":"hold_full","message":"too many requests wait for the pod to start","retry":true}"#
    );
}

#[tokio::test]
async fn the_hold_is_bounded_in_bytes() {
    let hold = HoldLimits { bytes_per_pod: 20_000, ..HoldLimits::default() };
    let (world, _app) = World::with_app(config(hold)).await;
    world.engine.let_wakes(false);
    let post = |bytes: usize| {
        let body = client::full(vec![b'a'; bytes]);
        ask(world.http, Request::post("/").header("host", HOST).body(body).unwrap())
    };
    let small = tokio::spawn(post(10_000));
    eventually("the start", async || world.engine.wakes() == 1).await;
    assert_eq!(post(15_000).await.error(), Some("hold_full"));
    world.engine.let_wakes(true);
    assert_eq!(small.await.unwrap().status, 200);
}

#[tokio::test]
async fn the_hold_is_bounded_in_time() {
    let hold = HoldLimits { time: Duration::from_millis(100), ..HoldLimits::default() };
    let (world, _app) = World::with_app(config(hold)).await;
    world.engine.let_wakes(false);
    let answer = world.ask("/").await;
    assert_eq!((answer.status, answer.error()), (504, Some("start_timeout")));
}

#[tokio::test]
async fn a_pod_that_never_listens_is_named_so() {
    let hold = HoldLimits { listen: Duration::from_millis(200), ..HoldLimits::default() };
    let world = World::new(config(hold)).await;
    let nobody = SocketAddr::from(([127, 0, 0, 1], crate::world::free_port().await));
    world.put(POD, HOST, nobody).await;
    let answer = world.ask("/").await;
    assert_eq!((answer.status, answer.error()), (504, Some("never_listens")));
    assert!(world.engine.asked().contains(&Asked::Unheard(POD, nobody.port())), "its publisher is told");
}

/// Who waits for a port is told in time; what listens in the end is served, however late.
#[tokio::test]
async fn a_pod_that_listens_too_late_is_served_from_then_on() {
    let hold = HoldLimits { listen: Duration::from_millis(50), ..HoldLimits::default() };
    let world = World::new(config(hold)).await;
    let address = SocketAddr::from(([127, 0, 0, 1], crate::world::free_port().await));
    world.put(POD, HOST, address).await;
    for _ in 0..3 {
        assert_eq!(world.ask("/").await.error(), Some("never_listens"));
    }
    let _app = App::start(address).await;
    eventually("it is served", async || world.ask("/").await.status == 200).await;
    assert_eq!(world.engine.wakes(), 1);
}

/// A start that takes as long as it likes is no silence of the pod.
#[tokio::test]
async fn the_time_to_listen_begins_with_the_start() {
    let hold = HoldLimits { listen: Duration::from_millis(200), ..HoldLimits::default() };
    let (world, _app) = World::with_app(config(hold.clone())).await;
    world.engine.let_wakes(false);
    let mut asked = tokio::spawn(ask(world.http, get(HOST, "/")));
    eventually("the start", async || world.engine.wakes() == 1).await;
    let answer = tokio::time::timeout(hold.listen * 2, &mut asked).await;
    assert!(answer.is_err(), "{answer:?}");
    world.engine.let_wakes(true);
    assert_eq!(asked.await.unwrap().status, 200);
}

/// Replicas need a while to listen; the request waits for that and not longer.
#[tokio::test]
async fn a_pod_that_listens_late_is_waited_for() {
    let world = World::new(Config::default()).await;
    let address = SocketAddr::from(([127, 0, 0, 1], crate::world::free_port().await));
    world.put(POD, HOST, address).await;
    let asked = tokio::spawn(ask(world.http, get(HOST, "/")));
    eventually("the start", async || world.engine.asked().contains(&Asked::Woken(POD))).await;
    let _app = App::start(address).await;
    assert_eq!(asked.await.unwrap().status, 200);
}

/// With one place, whoever leaves has to free it for the next: one without and one with a body,
/// and one that shares its connection.
#[tokio::test]
async fn a_client_that_leaves_frees_its_place() {
    let hold = HoldLimits { requests_per_pod: 1, ..HoldLimits::default() };
    let (world, _app) = World::with_app(config(hold)).await;
    world.engine.let_wakes(false);
    let get = "GET / HTTP/1.1\r\nhost: a.example\r\n\r\n";
    let post = "POST / HTTP/1.1\r\nhost: a.example\r\ncontent-length: 4\r\n\r\nbody";
    for request in [get, post] {
        let held = hold_place(&world, async || {
            let mut client = TcpStream::connect(world.http).await.unwrap();
            client.write_all(request.as_bytes()).await.unwrap();
            client
        });
        drop(held.await);
        eventually("the place is free", async || !is_full(&world).await).await;
    }
    let http2 = client::http2(world.http).await;
    let held = hold_place(&world, async || {
        let request = Request::get("http://a.example/").body(client::empty()).unwrap();
        // Wrapped, as it is not to be awaited.
        Some(AbortOnDropHandle::new(tokio::spawn(http2.clone().send_request(request))))
    });
    drop(held.await);
    eventually("the place is free", async || !is_full(&world).await).await;
    assert_eq!(world.engine.wakes(), 1, "the start goes on without them");
}

/// Sends requests by `send` until one has the only place.
async fn hold_place<C>(world: &World, send: impl AsyncFn() -> C) -> C {
    for _ in 0..100 {
        let client = send().await;
        if is_full(world).await {
            return client;
        }
    }
    panic!("no request is held");
}

/// Whether another request finds no place; one that does find one leaves again.
async fn is_full(world: &World) -> bool {
    let asked = ask(world.http, get(HOST, "/"));
    let answer = tokio::time::timeout(Duration::from_millis(50), asked).await;
    answer.is_ok_and(|answer| answer.error() == Some("hold_full"))
}

#[tokio::test]
async fn a_start_that_fails_is_answered_at_once_to_all() {
    let (world, app) = World::with_app(Config::default()).await;
    world
        .engine
        .fail(POD, Some(|| WakeError::Exited { reason: "container web exited with code 127".into() }));
    world.engine.let_wakes(false);
    let waiting: Vec<_> = (0..20).map(|_| tokio::spawn(ask(world.http, get(HOST, "/")))).collect();
    eventually("the start", async || world.engine.wakes() == 1).await;
    world.engine.let_wakes(true);
    for answer in join_all(waiting).await {
        let answer = answer.unwrap();
        assert_eq!((answer.status, answer.error()), (502, Some("exited")));
        assert!(answer.body.contains("exited with code 127"), "{}", answer.body);
    }
    assert_eq!((world.engine.wakes(), app.requests()), (1, 0));
}

#[tokio::test]
async fn a_failed_start_is_not_repeated_by_every_request() {
    let (world, _app) = World::with_app(Config::default()).await;
    world.engine.fail(POD, Some(|| WakeError::NoRoom { resource: "memory".into() }));
    for _ in 0..20 {
        let answer = world.ask("/").await;
        assert_eq!((answer.status, answer.error()), (503, Some("no_room")));
        assert!(answer.headers.contains_key("retry-after"));
    }
    assert!(world.engine.wakes() < 20);
    world.engine.fail(POD, None);
    eventually("it is tried again", async || world.ask("/").await.status == 200).await;
}

#[tokio::test]
async fn a_crash_while_it_starts_is_answered_at_once() {
    let world = World::new(Config::default()).await;
    let nobody = SocketAddr::from(([127, 0, 0, 1], crate::world::free_port().await));
    world.put(POD, HOST, nobody).await;
    let asked = tokio::spawn(ask(world.http, get(HOST, "/")));
    eventually("the start", async || !world.engine.running(POD).is_empty()).await;
    world.engine.kill(POD, world.engine.running(POD)[0].run);
    let answer = asked.await.unwrap();
    assert_eq!((answer.status, answer.error()), (502, Some("exited")));
}

#[tokio::test]
async fn one_pods_burst_harms_no_other() {
    let hold = HoldLimits { requests_per_pod: 5, requests: 8, ..HoldLimits::default() };
    let (world, _app) = World::with_app(config(hold)).await;
    let other = App::start(SocketAddr::from(([127, 0, 0, 1], 0))).await;
    world.put(OTHER, OTHER_HOST, other.address).await;
    world.engine.let_wakes(false);
    let burst: Vec<_> = (0..50).map(|_| tokio::spawn(ask(world.http, get(HOST, "/")))).collect();
    eventually("the burst is refused", async || burst.iter().filter(|b| b.is_finished()).count() == 45).await;
    let calm = tokio::spawn(ask(world.http, get(OTHER_HOST, "/")));
    eventually("the other's start", async || world.engine.wakes() == 2).await;
    world.engine.let_wakes(true);
    assert_eq!(calm.await.unwrap().status, 200);
}

#[tokio::test]
async fn what_a_pod_has_under_way_is_bounded() {
    let (world, _app) = World::with_app(Config { open_per_pod: 2, ..Config::default() }).await;
    let _open = [
        client::send(world.http, get(HOST, "/stream")).await,
        client::send(world.http, get(HOST, "/stream")).await,
    ];
    let answer = world.ask("/").await;
    assert_eq!((answer.status, answer.error()), (503, Some("pod_busy")));
}
