//! Properties 4, 5 and 6: the fence before a stop, open streams, and replicas that come and go.

use crate::{
    app::App,
    engine::Asked,
    world::{HOST, POD, World, eventually, restless},
};
use apocryph_gateway::{Config, Drained};
use apocryph_testbed::http_client::{self as client, Answer, ask, get, send};
use http::Request;
use http_body_util::BodyExt;
use hyper_util::rt::TokioIo;
use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::{Instant, sleep},
};

/// Longer than the idle period of [`restless`].
const LONGER: Duration = Duration::from_millis(1500);

async fn restless_world() -> (World, App) {
    let (world, app) = World::with_app(Config::default()).await;
    world.put_running(restless(POD, HOST, app.address.port()), &[]).await;
    (world, app)
}

#[tokio::test]
async fn an_idle_pod_goes_to_zero_and_comes_back() {
    let (world, app) = restless_world().await;
    assert_eq!(world.ask("/").await.status, 200);
    assert!(world.gateway.serves(POD));
    eventually("zero", async || world.engine.has_stopped(POD)).await;
    assert!(!world.gateway.serves(POD));
    assert_eq!(world.ask("/").await.status, 200);
    assert_eq!((world.engine.wakes(), app.requests()), (2, 2));
}

#[tokio::test]
async fn a_request_under_way_is_not_stopped() {
    let (world, _app) = restless_world().await;
    let mut body = send(world.http, get(HOST, "/stream")).await.into_body();
    assert!(body.frame().await.is_some());
    sleep(LONGER).await;
    assert!(!world.engine.asked().contains(&Asked::Idle(POD)));
    drop(body);
    eventually("zero", async || world.engine.has_stopped(POD)).await;
}

#[tokio::test]
async fn a_request_that_arrives_during_the_stop_waits_for_the_next_start() {
    let (world, app) = restless_world().await;
    world.engine.let_stops(false);
    assert_eq!(world.ask("/").await.status, 200);
    eventually("the stop", async || world.engine.asked().contains(&Asked::Idle(POD))).await;
    let asked = tokio::spawn(ask(world.http, get(HOST, "/")));
    sleep(Duration::from_millis(100)).await;
    assert_eq!((asked.is_finished(), app.requests()), (false, 1), "nothing is routed to what stops");
    world.engine.let_stops(true);
    assert_eq!(asked.await.unwrap().status, 200);
    let order = [Asked::Wake(POD, 1), Asked::Woken(POD), Asked::Idle(POD), Asked::Stopped(POD)];
    assert_eq!(world.engine.asked()[..4], order);
    assert_eq!(world.engine.asked()[4..], order[..2]);
}

#[tokio::test]
async fn a_stop_that_fails_is_settled_by_the_next_request() {
    let (world, _app) = restless_world().await;
    world.engine.fail_stops(1);
    assert_eq!(world.ask("/").await.status, 200);
    eventually("the stop", async || world.engine.asked().contains(&Asked::Idle(POD))).await;
    assert_eq!(world.ask("/").await.status, 200);
    assert_eq!(world.engine.wakes(), 2);
}

/// An upgraded connection on which nothing passes for longer than the idle period still works.
#[tokio::test]
async fn an_upgraded_connection_counts_as_activity() {
    let (world, _app) = restless_world().await;
    let mut request = get(HOST, "/upgrade");
    request.headers_mut().insert("connection", "Upgrade".parse().unwrap());
    request.headers_mut().insert("upgrade", "websocket".parse().unwrap());
    let response = send(world.http, request).await;
    assert_eq!(response.status(), 101);
    assert_eq!(response.headers()["upgrade"], "websocket");
    let mut tunnel = TokioIo::new(hyper::upgrade::on(response).await.unwrap());
    for _ in 0..2 {
        tunnel.write_all(b"ping").await.unwrap();
        let mut pong = [0; 4];
        tunnel.read_exact(&mut pong).await.unwrap();
        assert_eq!(&pong, b"ping");
        sleep(LONGER).await;
    }
    assert!(!world.engine.asked().contains(&Asked::Idle(POD)));
    drop(tunnel);
    eventually("zero", async || world.engine.has_stopped(POD)).await;
}

#[tokio::test]
async fn a_grpc_stream_counts_as_activity() {
    let (world, _app) = restless_world().await;
    let mut client = client::http2(world.http).await;
    let request = Request::post("http://a.example/stream").header("content-type", "application/grpc");
    let response = client.send_request(request.body(client::empty()).unwrap()).await.unwrap();
    let mut body = response.into_body();
    assert!(body.frame().await.is_some());
    sleep(LONGER).await;
    assert!(!world.engine.asked().contains(&Asked::Idle(POD)));
    drop(body);
    eventually("zero", async || world.engine.has_stopped(POD)).await;
}

/// Three replicas at addresses of their own, on one port.
async fn replicas(world: &World) -> Vec<App> {
    let address = |n: u8| IpAddr::from([127, 0, 0, n]);
    let first = App::start(SocketAddr::new(address(1), 0)).await;
    let port = first.address.port();
    let others = [2, 3].map(|n| App::start(SocketAddr::new(address(n), port)));
    let mut apps = vec![first];
    apps.extend(futures::future::join_all(others).await);
    world.engine.place(POD, &[1, 2, 3].map(address));
    let mut routes = restless(POD, HOST, port);
    routes.scale.requests_per_replica = 1;
    routes.scale.max = 3;
    world.put_running(routes, &[]).await;
    apps
}

#[tokio::test]
async fn replicas_follow_the_load() {
    let world = World::new(Config::default()).await;
    let apps = replicas(&world).await;
    let mut streams = Vec::new();
    for n in 1..=3 {
        streams.push(send(world.http, get(HOST, "/stream")).await);
        eventually("another replica", async || world.engine.running(POD).len() == n).await;
    }
    eventually("every replica is used", async || {
        world.ask("/").await;
        apps.iter().all(|app| app.requests() > 0)
    })
    .await;
    streams.truncate(1);
    eventually("two are stopped", async || world.engine.running(POD).len() == 1).await;
    let retired = world.engine.asked().iter().filter(|asked| matches!(asked, Asked::Retire(_))).count();
    assert_eq!(retired, 2);
    let mut body = streams.remove(0).into_body();
    assert!(body.frame().await.unwrap().is_ok(), "the stream's own replica stays");
}

#[tokio::test]
async fn the_least_number_of_replicas_runs_without_requests() {
    let (world, app) = World::with_app(Config::default()).await;
    let mut routes = restless(POD, HOST, app.address.port());
    routes.scale.min = 1;
    world.put_running(routes, &[]).await;
    eventually("it serves", async || world.gateway.serves(POD)).await;
    let run = world.engine.running(POD)[0].run;
    world.engine.kill(POD, run);
    eventually("it serves again", async || {
        world.gateway.serves(POD) && world.engine.running(POD).iter().any(|backend| backend.run != run)
    })
    .await;
    assert!(!world.engine.asked().contains(&Asked::Idle(POD)));
}

#[tokio::test]
async fn nothing_is_routed_to_a_replica_that_was_taken_out() {
    let world = World::new(Config::default()).await;
    let apps = replicas(&world).await;
    let routes = restless(POD, HOST, apps[0].address.port());
    let [old, new] = [(91, 2), (92, 3)]
        .map(|(run, n)| apocryph_gateway::Backend { run, address: IpAddr::from([127, 0, 0, n]) });
    world.put_running(routes.clone(), &[old]).await;
    let stream = send(world.http, get(HOST, "/stream")).await;
    world.put_running(routes, &[new]).await;
    for _ in 0..10 {
        assert_eq!(world.ask("/").await.body, apps[2].address.to_string());
    }
    let retiring = world.gateway.retire(POD, Duration::from_millis(50)).await;
    assert_eq!(retiring, Drained { cut: 1 }, "the stream took longer than the grace");
    assert!(stream.into_body().collect().await.is_err(), "and was cut");
    assert_eq!(world.gateway.retire(POD, Duration::from_secs(60)).await, Drained { cut: 0 });
}

#[tokio::test]
async fn each_replica_that_was_taken_out_has_the_whole_grace() {
    let world = World::new(Config::default()).await;
    let apps = replicas(&world).await;
    let routes = restless(POD, HOST, apps[0].address.port());
    let [first, second] = [(91, 2), (92, 3)]
        .map(|(run, n)| apocryph_gateway::Backend { run, address: IpAddr::from([127, 0, 0, n]) });
    world.put_running(routes.clone(), &[first]).await;
    let earlier = send(world.http, get(HOST, "/stream")).await;
    world.put_running(routes.clone(), &[second]).await;
    let retiring = world.gateway.retire(POD, Duration::from_millis(300));
    let (retired, later) = tokio::join!(retiring, async {
        let later = send(world.http, get(HOST, "/stream")).await;
        world.put_running(routes, &[]).await;
        later
    });
    assert_eq!(retired, Drained { cut: 1 });
    assert!(earlier.into_body().collect().await.is_err(), "it took longer than the grace");
    assert_eq!(world.gateway.retire(POD, Duration::ZERO).await, Drained { cut: 1 }, "the later one went on");
    assert!(later.into_body().collect().await.is_err(), "until now");
}

/// Others end a replica: what is under way there comes to its end or is cut after a while, and whoever comes is
/// served by another one.
#[tokio::test]
async fn what_leaves_is_drained_and_asked_nothing_more() {
    let world = World::new(Config { drain: Duration::from_millis(300), ..Config::default() }).await;
    let apps = replicas(&world).await;
    let stream = send(world.http, get(HOST, "/stream")).await;
    let leaving = world.engine.running(POD)[0];
    world.engine.place(POD, &[IpAddr::from([127, 0, 0, 3])]);
    world.engine.leave(POD, leaving.run);
    eventually("nothing is routed to it", async || world.gateway.routed(POD) == Some(Vec::new())).await;
    assert_eq!(world.ask("/").await.body, apps[2].address.to_string());
    let mut body = stream.into_body();
    assert!(body.frame().await.unwrap().is_ok(), "it goes on");
    assert!(body.frame().await.unwrap().is_err(), "and is cut in the end");
}

#[tokio::test]
async fn a_removed_pod_ends_what_is_under_way() {
    let (world, _app) = World::with_app(Config::default()).await;
    let stream = tokio::spawn(async move {
        let response = send(world.http, get(HOST, "/stream")).await;
        (world, response)
    });
    let (world, stream) = stream.await.unwrap();
    let began = Instant::now();
    let removed = tokio::spawn({
        let gateway = world.gateway.clone();
        async move { gateway.remove(POD, Duration::from_secs(60)).await }
    });
    eventually("no route", async || world.ask("/").await.error() == Some("unknown_host")).await;
    drop(stream);
    assert_eq!(removed.await.unwrap(), Drained { cut: 0 });
    assert!(began.elapsed() < Duration::from_secs(60), "the grace is only the most");
}

#[tokio::test]
async fn draining_finishes_what_is_under_way_and_refuses_the_rest() {
    let (world, _app) = World::with_app(Config::default()).await;
    world.engine.let_wakes(false);
    let held = tokio::spawn(ask(world.http, get(HOST, "/")));
    eventually("the start", async || world.engine.wakes() == 1).await;
    let _silent = tokio::net::TcpStream::connect(world.http).await.unwrap();
    assert_eq!(world.gateway.drain(Duration::from_secs(60)).await, Drained { cut: 0 });
    let answer: Answer = held.await.unwrap();
    assert_eq!((answer.status, answer.error()), (503, Some("shutting_down")));
    assert!(tokio::net::TcpStream::connect(world.http).await.is_err());
}
