//! Property 1: at most one delivery.

use crate::{
    app,
    world::{HOST, POD, World, eventually},
};
use apocryph_gateway::Config;
use apocryph_testbed::http_client as client;
use bytes::Bytes;
use futures::{SinkExt, StreamExt, channel::mpsc};
use http::Request;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};
use tokio::io::AsyncReadExt;

/// An app that reads a request and closes.
#[tokio::test]
async fn a_request_of_which_something_was_sent_is_not_sent_again() {
    let requests = Arc::new(AtomicUsize::new(0));
    let counted = requests.clone();
    let (address, _) = app::raw(move |mut stream| {
        let counted = counted.clone();
        async move {
            if app::read_head(&mut stream).await.is_some() {
                counted.fetch_add(1, Ordering::SeqCst);
            }
        }
    })
    .await;
    let world = World::new(Config::default()).await;
    world.put(POD, HOST, address).await;
    let answer = world.ask("/").await;
    assert_eq!((answer.status, answer.error()), (502, Some("backend_closed")));
    assert_eq!(requests.load(Ordering::SeqCst), 1);
}

/// An app that closes each connection after one answer, without having said so.
#[tokio::test]
async fn a_connection_that_the_app_closed_is_not_used_again() {
    let closed = Arc::new(AtomicUsize::new(0));
    let count = closed.clone();
    let (address, accepted) = app::raw(move |mut stream| {
        let count = count.clone();
        async move {
            app::read_head(&mut stream).await;
            app::write_ok(&mut stream).await;
            let (mut read, write) = stream.into_split();
            drop(write);
            let _ = read.read_u8().await;
            count.fetch_add(1, Ordering::SeqCst);
        }
    })
    .await;
    let world = World::new(Config::default()).await;
    world.put(POD, HOST, address).await;
    for n in 1..=3 {
        assert_eq!(world.ask("/").await.status, 200);
        eventually("the gateway closes its side", async || closed.load(Ordering::SeqCst) == n).await;
    }
    assert_eq!(accepted.load(Ordering::SeqCst), 3);
}

#[tokio::test]
async fn connections_are_used_again() {
    let (address, accepted) = app::raw(|mut stream| async move {
        while app::read_head(&mut stream).await.is_some() {
            app::write_ok(&mut stream).await;
        }
    })
    .await;
    let world = World::new(Config::default()).await;
    world.put(POD, HOST, address).await;
    let mut client = client::http1(world.http).await;
    for _ in 0..50 {
        let response = client.send_request(client::get(HOST, "/")).await.unwrap();
        assert_eq!(client::Answer::read(response).await.body, "ok");
        client.ready().await.unwrap();
    }
    assert!(accepted.load(Ordering::SeqCst) < 10, "of 50 requests most shared a connection");
}

/// Each piece comes back before the next one is sent, so nothing waits for the whole.
#[tokio::test]
async fn bodies_stream_both_ways() {
    let (world, _app) = World::with_app(Config::default()).await;
    let (mut sender, receiver) = mpsc::channel(0);
    let body = StreamBody::new(receiver.map(|piece: Bytes| Ok(Frame::data(piece))));
    let request = Request::post("/echo").header("host", HOST).body(BodyExt::boxed_unsync(body)).unwrap();
    let mut client = client::http1(world.http).await;
    let mut answer = std::pin::pin!(client.send_request(request));
    sender.send(Bytes::from_static(b"first")).await.ok();
    let mut body = answer.as_mut().await.unwrap().into_body();
    for piece in ["first", "second", "third"] {
        if piece != "first" {
            sender.send(Bytes::from_static(piece.as_bytes())).await.unwrap();
        }
        let frame = body.frame().await.unwrap().unwrap();
        assert_eq!(frame.into_data().unwrap(), piece);
    }
    drop(sender);
    assert!(body.frame().await.is_none());
}

#[tokio::test]
async fn a_body_that_waited_for_a_start_arrives_whole() {
    let (world, _app) = World::with_app(Config::default()).await;
    world.engine.let_wakes(false);
    let sent: Vec<u8> = (0..1 << 20).map(|n| b'a' + (n % 23) as u8).collect();
    let request = Request::post("/echo").header("host", HOST).body(client::full(sent.clone())).unwrap();
    let asked = tokio::spawn(client::ask(world.http, request));
    eventually("the start", async || world.engine.wakes() == 1).await;
    world.engine.let_wakes(true);
    assert_eq!(asked.await.unwrap().body.as_bytes(), sent);
}
