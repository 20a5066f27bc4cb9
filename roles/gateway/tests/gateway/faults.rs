//! Bad input of clients and apps.

use crate::{
    app,
    world::{HOST, PATIENCE, POD, World, eventually},
};
use apocryph_gateway::{ClientLimits, Config};
use apocryph_testbed::http_client::{self as client, Answer, ask, get};
use http::Request;
use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::Notify,
    time::timeout,
};

#[tokio::test]
async fn an_unknown_host_is_named_so() {
    let (world, app) = World::with_app(Config::default()).await;
    let answer = ask(world.http, get("nobody.example", "/")).await;
    assert_eq!(answer.status, 404);
    insta::assert_snapshot!(
        answer.body,
        @r#"{"error":"unknown_host","message":"there is no pod at this host","retry":false}"#
    );
    assert_eq!((answer.error(), app.requests()), (Some("unknown_host"), 0));
}

#[tokio::test]
async fn a_request_without_a_host_or_with_two_is_refused() {
    let (world, app) = World::with_app(Config::default()).await;
    for head in [
        "GET / HTTP/1.1\r\nconnection: close\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: a.example\r\nhost: b.example\r\nconnection: close\r\n\r\n",
        "GET http://b.example/ HTTP/1.1\r\nhost: a.example\r\nconnection: close\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: a.example:80@b.example\r\nconnection: close\r\n\r\n",
    ] {
        let answer = raw(world.http, head.as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 400"), "{head}: {answer}");
    }
    assert_eq!(app.requests(), 0);
}

#[tokio::test]
async fn another_host_in_x_forwarded_host_changes_nothing() {
    let (world, app) = World::with_app(Config::default()).await;
    let mut request = get("nobody.example", "/");
    request.headers_mut().insert("x-forwarded-host", HOST.parse().unwrap());
    assert_eq!(ask(world.http, request).await.error(), Some("unknown_host"));
    assert_eq!(app.requests(), 0);
}

#[tokio::test]
async fn huge_and_many_headers_are_refused() {
    let (world, app) = World::with_app(Config::default()).await;
    let huge = format!("GET / HTTP/1.1\r\nhost: a.example\r\nx: {}\r\n\r\n", "x".repeat(100_000));
    let many = format!("GET / HTTP/1.1\r\nhost: a.example\r\n{}\r\n", "x: x\r\n".repeat(500));
    for head in [huge, many] {
        let answer = raw(world.http, head.as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 431"), "{answer}");
    }
    let mut http2 = client::http2(world.http).await;
    let request = Request::get("http://a.example/").header("x", "x".repeat(100_000));
    let response = http2.send_request(request.body(client::empty()).unwrap()).await;
    assert!(response.is_err() || response.is_ok_and(|response| response.status() == 431));
    assert_eq!(app.requests(), 0);
}

/// Whatever a client makes of the length of its request, the app and the gateway agree on where
/// it ends: the second request in it is never seen by the app.
#[tokio::test]
async fn no_request_is_smuggled() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let seeing = seen.clone();
    let (address, _) = app::raw(move |mut stream| {
        let seeing = seeing.clone();
        async move {
            let mut buffer = [0; 4096];
            while let Ok(read @ 1..) = stream.read(&mut buffer).await {
                seeing.lock().unwrap().extend_from_slice(&buffer[..read]);
                if buffer[..read].starts_with(b"POST") {
                    app::write_ok(&mut stream).await;
                }
            }
        }
    })
    .await;
    let world = World::new(Config::default()).await;
    world.put(POD, HOST, address).await;
    let inner = "GET /smuggled HTTP/1.1\r\nhost: elsewhere.example\r\n\r\n";
    let length = inner.len();
    for framing in [
        format!("content-length: 4\r\ncontent-length: {length}\r\n\r\n{inner}"),
        format!("content-length: {length}\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n{inner}"),
        format!("transfer-encoding: chunked\r\ncontent-length: {length}\r\n\r\n0\r\n\r\n{inner}"),
        format!("transfer-encoding: xchunked\r\n\r\n{inner}"),
        format!("transfer-encoding: chunked, identity\r\n\r\n0\r\n\r\n{inner}"),
        format!("transfer-encoding : chunked\r\n\r\n0\r\n\r\n{inner}"),
        format!("content-length: +0\r\n\r\n{inner}"),
        format!("x: y\rcontent-length: 0\r\n\r\n{inner}"),
        format!("connection: content-length\r\ncontent-length: 0\r\n\r\n{inner}"),
    ] {
        let request = format!("POST / HTTP/1.1\r\nhost: a.example\r\n{framing}");
        let mut stream = TcpStream::connect(world.http).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = [0; 12];
        // A connection that is closed without an answer is a refusal too.
        if stream.read_exact(&mut answer).await.is_ok() {
            assert!(matches!(&answer[9..], b"400" | b"200" | b"404"), "{framing:?}");
        }
    }
    let seen = String::from_utf8(seen.lock().unwrap().clone()).unwrap();
    assert!(seen.contains("POST /") && !seen.contains("/smuggled"), "{seen}");
}

#[tokio::test]
async fn connect_is_refused() {
    let (world, _app) = World::with_app(Config::default()).await;
    let answer =
        raw(world.http, b"CONNECT a.example:80 HTTP/1.1\r\nhost: a.example:80\r\nconnection: close\r\n\r\n")
            .await;
    assert!(answer.starts_with("HTTP/1.1 405") && answer.contains("x-apocryph-error: connect"), "{answer}");
}

#[tokio::test]
async fn a_client_that_is_slow_to_ask_is_left() {
    let clients = ClientLimits { header_time: Duration::from_millis(200), ..ClientLimits::default() };
    let (world, _app) = World::with_app(Config { clients, ..Config::default() }).await;
    for beginning in ["", "G", "GET / HTTP/1.1\r\nhost:"] {
        let mut stream = TcpStream::connect(world.http).await.unwrap();
        stream.write_all(beginning.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        let closed = timeout(PATIENCE, stream.read_to_end(&mut answer)).await;
        assert!(closed.is_ok(), "after {beginning:?}");
    }
}

#[tokio::test]
async fn one_client_cannot_take_every_connection() {
    let clients = ClientLimits { connections_per_client: 2, ..ClientLimits::default() };
    let (world, _app) = World::with_app(Config { clients, ..Config::default() }).await;
    let greedy =
        [TcpStream::connect(world.http).await.unwrap(), TcpStream::connect(world.http).await.unwrap()];
    let mut third = TcpStream::connect(world.http).await.unwrap();
    assert!(matches!(third.read(&mut [0]).await, Ok(0) | Err(_)));
    drop(greedy);
    eventually("served again", async || {
        let mut stream = TcpStream::connect(world.http).await.unwrap();
        let _ = stream.write_all(b"GET / HTTP/1.1\r\nhost: a.example\r\nconnection: close\r\n\r\n").await;
        let mut answer = String::new();
        let _ = stream.read_to_string(&mut answer).await;
        answer.starts_with("HTTP/1.1 200")
    })
    .await;
}

#[tokio::test]
async fn an_app_that_speaks_no_http_is_named_so() {
    let (address, _) = app::raw(|mut stream| async move {
        let _ = stream.write_all(b"SSH-2.0-OpenSSH\r\n").await;
        let _ = stream.read(&mut [0]).await;
    })
    .await;
    let world = World::new(Config::default()).await;
    world.put(POD, HOST, address).await;
    let answer = world.ask("/").await;
    assert_eq!(answer.status, 502);
    assert!(matches!(answer.error(), Some("backend_invalid" | "backend_refused")), "{answer:?}");
}

/// No packet says so when a replica's network is gone; the engine does.
#[tokio::test]
async fn a_replica_that_dies_ends_its_requests() {
    let came = Arc::new(Notify::new());
    let arrival = came.clone();
    let (address, _) = app::raw(move |mut stream| {
        let arrival = arrival.clone();
        async move {
            app::read_head(&mut stream).await;
            arrival.notify_one();
            std::future::pending::<()>().await;
        }
    })
    .await;
    let world = World::new(Config::default()).await;
    world.put(POD, HOST, address).await;
    let asked = tokio::spawn(ask(world.http, get(HOST, "/")));
    came.notified().await;
    world.engine.kill(POD, world.engine.running(POD)[0].run);
    let answer: Answer = asked.await.unwrap();
    assert_eq!((answer.status, answer.error()), (502, Some("backend_closed")));
}

/// Sends bytes as they are and reads until the gateway closes.
async fn raw(gateway: SocketAddr, request: &[u8]) -> String {
    let mut stream = TcpStream::connect(gateway).await.unwrap();
    stream.write_all(request).await.unwrap();
    let mut answer = Vec::new();
    // A gateway that has read enough may reset the connection.
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8_lossy(&answer).into_owned()
}
