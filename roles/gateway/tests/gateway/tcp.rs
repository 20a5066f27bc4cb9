//! Published TCP ports.

use crate::{
    app,
    engine::Asked,
    world::{POD, World, eventually, free_port, published},
};
use apocryph_gateway::{Config, HoldLimits};
use std::{net::SocketAddr, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::sleep,
};

/// A pod whose app gives back what comes, and the address that it is published at.
async fn echo(config: Config) -> (World, SocketAddr) {
    let (app, _) = app::raw(|mut stream| async move {
        let (mut read, mut write) = stream.split();
        let _ = tokio::io::copy(&mut read, &mut write).await;
    })
    .await;
    let world = World::new(config).await;
    world.engine.place(POD, &[app.ip()]);
    let port = free_port().await;
    let mut routes = published(POD, port, app.port());
    routes.scale.idle_seconds = 1;
    world.put_running(routes, &[]).await;
    (world, SocketAddr::from(([127, 0, 0, 1], port)))
}

async fn exchange(stream: &mut TcpStream) {
    stream.write_all(b"PING").await.unwrap();
    let mut answer = [0; 4];
    stream.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"PING");
}

#[tokio::test]
async fn a_connection_wakes_the_pod_and_keeps_it_awake() {
    let (world, address) = echo(Config::default()).await;
    let mut stream = TcpStream::connect(address).await.unwrap();
    exchange(&mut stream).await;
    sleep(Duration::from_millis(1500)).await;
    assert!(!world.engine.asked().contains(&Asked::Idle(POD)), "it is open, though nothing passes");
    exchange(&mut stream).await;
    drop(stream);
    eventually("zero", async || world.engine.has_stopped(POD)).await;
    exchange(&mut TcpStream::connect(address).await.unwrap()).await;
    assert_eq!(world.engine.wakes(), 2);
}

#[tokio::test]
async fn a_side_that_has_finished_sending_still_receives() {
    let (_world, address) = echo(Config::default()).await;
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(b"all of it").await.unwrap();
    stream.shutdown().await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert_eq!(answer, "all of it");
}

#[tokio::test]
async fn a_connection_that_cannot_be_served_is_closed() {
    let hold = HoldLimits { time: Duration::from_millis(100), ..HoldLimits::default() };
    let (world, address) = echo(Config { hold, ..Config::default() }).await;
    world.engine.let_wakes(false);
    let mut stream = TcpStream::connect(address).await.unwrap();
    assert_eq!(stream.read(&mut [0]).await.unwrap(), 0);
}

#[tokio::test]
async fn a_client_that_leaves_before_the_start_frees_its_place() {
    let hold = HoldLimits { requests_per_pod: 1, ..HoldLimits::default() };
    let (world, address) = echo(Config { hold, ..Config::default() }).await;
    world.engine.let_wakes(false);
    let leaver = TcpStream::connect(address).await.unwrap();
    eventually("the start", async || world.engine.wakes() == 1).await;
    drop(leaver);
    eventually("a place", async || {
        let mut next = TcpStream::connect(address).await.unwrap();
        // Without a place it would be closed at once.
        tokio::time::timeout(Duration::from_millis(50), next.read(&mut [0])).await.is_err()
    })
    .await;
}

#[tokio::test]
async fn a_replica_that_dies_cuts_its_connections() {
    let (world, address) = echo(Config::default()).await;
    let mut stream = TcpStream::connect(address).await.unwrap();
    exchange(&mut stream).await;
    world.engine.kill(POD, world.engine.running(POD)[0].run);
    assert!(matches!(stream.read(&mut [0]).await, Ok(0) | Err(_)));
}

#[tokio::test]
async fn a_removed_pods_port_is_closed() {
    let (world, address) = echo(Config::default()).await;
    world.gateway.remove(POD, Duration::ZERO).await;
    eventually("closed", async || TcpStream::connect(address).await.is_err()).await;
}
