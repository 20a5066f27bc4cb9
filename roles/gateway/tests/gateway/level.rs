//! Properties 7, 11 and 12: right after a restart and after missed events; whose names are whose.

use crate::{
    app::App,
    engine::Asked,
    world::{HOST, OTHER, POD, World, eventually, published, restless, routes},
};
use apocryph_gateway::{Backend, Config, Gateway, PutError};
use apocryph_testbed::http_client::{ask, get};
use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};
use tokio::{net::TcpListener, time::sleep};

const LOCAL: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

#[tokio::test]
async fn what_runs_already_is_served_without_a_start() {
    let (world, app) = World::with_app(Config::default()).await;
    let running = [Backend { run: 7, address: LOCAL }];
    world.put_running(routes(POD, HOST, app.address.port()), &running).await;
    assert_eq!(world.ask("/").await.status, 200);
    assert_eq!(world.engine.asked(), []);
}

/// A second gateway takes over from one that is gone, and knows of no request before it.
#[tokio::test]
async fn a_lost_gateway_does_not_make_a_pod_look_idle() {
    let (world, app) = World::with_app(Config::default()).await;
    let running = [Backend { run: 7, address: LOCAL }];
    world.put_running(restless(POD, HOST, app.address.port()), &running).await;
    sleep(Duration::from_millis(700)).await;
    world.gateway.remove(POD, Duration::ZERO).await;
    let next = Gateway::new(Config::default(), world.engine.clone());
    let listener = TcpListener::bind((LOCAL, 0)).await.unwrap();
    let http = listener.local_addr().unwrap();
    next.listen(listener, None);
    next.put(restless(POD, HOST, app.address.port()), &running).await.unwrap();
    sleep(Duration::from_millis(600)).await;
    assert_eq!(world.engine.asked(), [], "it has its whole idle period before it");
    assert_eq!(ask(http, get(HOST, "/")).await.status, 200);
    eventually("zero", async || world.engine.has_stopped(POD)).await;
}

#[tokio::test]
async fn what_runs_is_replaced_whatever_was_known() {
    let (world, old) = World::with_app(Config::default()).await;
    let port = old.address.port();
    let new = App::start(SocketAddr::from(([127, 0, 0, 9], port))).await;
    let routes = routes(POD, HOST, port);
    world.put_running(routes.clone(), &[Backend { run: 1, address: LOCAL }]).await;
    assert_eq!(world.ask("/").await.body, old.address.to_string());
    world.put_running(routes.clone(), &[Backend { run: 2, address: new.address.ip() }]).await;
    assert_eq!(world.ask("/").await.body, new.address.to_string());
    world.put_running(routes, &[]).await;
    assert_eq!(world.ask("/").await.body, old.address.to_string());
    assert_eq!(world.engine.asked()[0], Asked::Wake(POD, 1), "nothing ran, so it was started");
}

/// The engine's word that a replica died may come late or never; a refused connection is enough.
#[tokio::test]
async fn a_replica_that_stopped_listening_is_waited_for() {
    let (world, app) = World::with_app(Config::default()).await;
    assert_eq!(world.ask("/").await.status, 200);
    let address = app.address;
    drop(app);
    eventually("its port is free", async || std::net::TcpListener::bind(address).is_ok()).await;
    sleep(Duration::from_millis(1100)).await;
    let asked = tokio::spawn(ask(world.http, get(HOST, "/")));
    sleep(Duration::from_millis(100)).await;
    assert!(!asked.is_finished());
    let _app = App::start(address).await;
    assert_eq!(asked.await.unwrap().status, 200);
}

#[tokio::test]
async fn one_pod_cannot_take_anothers_name() {
    let (world, app) = World::with_app(Config::default()).await;
    let thief = routes(OTHER, "A.Example", 1);
    let error = world.gateway.put(thief.clone(), &[]).await.unwrap_err();
    assert!(matches!(error, PutError::HostTaken { .. }));
    insta::assert_snapshot!(error, @"the host a.example is taken: choose another name");
    assert_eq!(world.ask("/").await.body, app.address.to_string());
    world.gateway.remove(POD, Duration::ZERO).await;
    world.gateway.put(thief, &[]).await.unwrap();
}

#[tokio::test]
async fn one_pod_cannot_take_anothers_port() {
    let world = World::new(Config::default()).await;
    let blocker = TcpListener::bind((LOCAL, 0)).await.unwrap();
    let port = blocker.local_addr().unwrap().port();
    let error = world.gateway.put(published(POD, port, 1), &[]).await.unwrap_err();
    assert!(matches!(error, PutError::Listen { .. }));
    drop(blocker);
    world.gateway.put(published(POD, port, 1), &[]).await.unwrap();
    let error = world.gateway.put(published(OTHER, port, 1), &[]).await.unwrap_err();
    assert!(matches!(error, PutError::PortTaken { .. }));
    let mut both = routes(OTHER, HOST, 1);
    both.http.push(both.http[0].clone());
    assert!(matches!(world.gateway.put(both, &[]).await, Err(PutError::HostTaken { .. })));
}

#[tokio::test]
async fn an_update_moves_a_pod_to_other_names() {
    let (world, app) = World::with_app(Config::default()).await;
    world.put_running(routes(POD, "new.example", app.address.port()), &[]).await;
    assert_eq!(world.ask("/").await.error(), Some("unknown_host"));
    assert_eq!(ask(world.http, get("new.example", "/")).await.status, 200);
}
