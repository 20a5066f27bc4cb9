//! Property 10: what passes, and over which protocols.

use crate::world::{HOST, World, eventually};
use apocryph_gateway::{Config, Tls};
use apocryph_testbed::http_client::{self as client, Answer, ask, get, with_trailer};
use http::{HeaderValue, Request};
use std::{io, net::SocketAddr, sync::Arc};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use tokio_rustls::{
    TlsConnector,
    client::TlsStream,
    rustls::{
        ClientConfig, RootCertStore,
        crypto::aws_lc_rs,
        pki_types::{CertificateDer, ServerName},
    },
};

#[tokio::test]
async fn the_app_sees_the_request_and_who_sent_it() {
    let (world, _app) = World::with_app(Config::default()).await;
    let request = Request::get("/headers?q=%20")
        .header("host", "A.example:80")
        .header("x-forwarded-for", "10.9.9.9")
        .header("x-forwarded-proto", "https")
        .header("x-app", "mine")
        .body(client::empty());
    let seen = ask(world.http, request.unwrap()).await.body;
    insta::assert_snapshot!(seen, @r#"
    HTTP/1.1 /headers?q=%20 {
        "host": "A.example:80",
        "x-app": "mine",
        "x-forwarded-for": "127.0.0.1",
        "x-forwarded-proto": "http",
        "x-forwarded-host": "A.example:80",
    }
    "#);
}

#[tokio::test]
async fn an_app_cannot_speak_for_the_gateway() {
    let (world, _app) = World::with_app(Config::default()).await;
    let answer = world.ask("/forges").await;
    assert_eq!((answer.body.as_str(), answer.error()), ("forged", None));
}

#[tokio::test]
async fn trailers_pass_over_http1() {
    let (world, _app) = World::with_app(Config::default()).await;
    let request = Request::post("/echo").header("host", HOST).header("te", "trailers");
    let request = request.header("trailer", "x-sum").body(with_trailer("body", "x-sum", "42")).unwrap();
    let answer = ask(world.http, request).await;
    assert_eq!((answer.body.as_str(), &answer.trailers["x-sum"]), ("body", &HeaderValue::from_static("42")));
}

#[tokio::test]
async fn http2_without_tls_reaches_an_app_of_http1() {
    let (world, _app) = World::with_app(Config::default()).await;
    let mut client = client::http2(world.http).await;
    let seen = client.send_request(Request::get("http://a.example/headers").body(client::empty()).unwrap());
    let seen = Answer::read(seen.await.unwrap()).await.body;
    assert!(seen.starts_with("HTTP/1.1 /headers") && seen.contains(r#""host": "a.example""#), "{seen}");
    let request = Request::post("http://a.example/echo").header("te", "trailers").header("trailer", "x-sum");
    let answer =
        client.send_request(request.body(with_trailer("body", "x-sum", "42")).unwrap()).await.unwrap();
    let answer = Answer::read(answer).await;
    assert_eq!((answer.body.as_str(), &answer.trailers["x-sum"]), ("body", &HeaderValue::from_static("42")));
}

#[tokio::test]
async fn a_get_with_a_body_of_unknown_length_keeps_it() {
    let (world, _app) = World::with_app(Config::default()).await;
    let mut client = client::http2(world.http).await;
    let request = Request::get("http://a.example/echo").body(with_trailer("body", "x-sum", "42")).unwrap();
    let answer = Answer::read(client.send_request(request).await.unwrap()).await;
    assert_eq!(answer.body, "body");
}

#[tokio::test]
async fn grpc_reaches_the_app_over_http2_with_its_trailers() {
    let (world, _app) = World::with_app(Config::default()).await;
    let mut client = client::http2(world.http).await;
    for _ in 0..3 {
        let request = Request::post("http://a.example/grpc").header("content-type", "application/grpc+proto");
        let request = request.header("te", "trailers").body(client::full("message")).unwrap();
        let answer = Answer::read(client.send_request(request).await.unwrap()).await;
        assert_eq!(answer.headers["x-version"], "HTTP/2.0");
        assert_eq!(
            (answer.body.as_str(), &answer.trailers["grpc-status"]),
            ("message", &HeaderValue::from_static("0"))
        );
    }
}

#[tokio::test]
async fn an_upgrade_that_the_app_refuses_is_answered_as_it_says() {
    let (world, _app) = World::with_app(Config::default()).await;
    let mut request = get(HOST, "/");
    request.headers_mut().insert("connection", HeaderValue::from_static("upgrade"));
    request.headers_mut().insert("upgrade", HeaderValue::from_static("websocket"));
    assert_eq!(ask(world.http, request).await.status, 200);
}

/// The app would switch; the gateway does not let it, as it would see no request after that.
#[tokio::test]
async fn a_switch_to_http2_does_not_pass() {
    let (world, _app) = World::with_app(Config::default()).await;
    let mut request = get(HOST, "/upgrade");
    request.headers_mut().insert("connection", HeaderValue::from_static("upgrade, http2-settings"));
    request.headers_mut().insert("upgrade", HeaderValue::from_static("h2c"));
    let answer = ask(world.http, request).await;
    assert_eq!((answer.status, answer.body.as_str()), (200, "not asked to switch"));
}

/// A client that asks whether to go on is told so when there is an app to take its body.
#[tokio::test]
async fn expect_is_answered_when_the_app_is_there() {
    let (world, _app) = World::with_app(Config::default()).await;
    world.engine.let_wakes(false);
    let mut stream = TcpStream::connect(world.http).await.unwrap();
    let head = "POST /echo HTTP/1.1\r\nhost: a.example\r\nexpect: 100-continue\r\ncontent-length: 4\r\nconnection: close\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    eventually("the start", async || world.engine.wakes() == 1).await;
    assert!(stream.try_read(&mut [0]).is_err(), "not yet");
    world.engine.let_wakes(true);
    let mut go_on = [0; 25];
    stream.read_exact(&mut go_on).await.unwrap();
    assert_eq!(&go_on, b"HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(b"body").await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("body"), "{answer}");
}

#[tokio::test]
async fn an_answer_to_head_keeps_its_length() {
    let (world, app) = World::with_app(Config::default()).await;
    let request = Request::head("/").header("host", HOST).body(client::empty()).unwrap();
    let answer = ask(world.http, request).await;
    assert_eq!(answer.headers["content-length"], app.address.to_string().len().to_string());
}

/// A certificate of its own making, for the tests' host: chain and key in PEM, and the certificate itself.
fn certificate() -> (String, String, CertificateDer<'static>) {
    let own = rcgen::generate_simple_self_signed(vec![HOST.into()]).unwrap();
    (own.cert.pem(), own.key_pair.serialize_pem(), own.cert.der().clone())
}

/// A listener with TLS.
async fn listen_with(world: &World, tls: Tls) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    world.gateway.listen(listener, Some(tls));
    address
}

/// A listener with TLS, and connections to it by protocol.
async fn tls(world: &World) -> impl AsyncFn(&[u8]) -> TlsStream<TcpStream> {
    let (chain, key, trusted) = certificate();
    let address = listen_with(world, Tls::from_pem(chain.as_bytes(), key.as_bytes()).unwrap()).await;
    async move |protocol: &[u8]| connect(address, trusted.clone(), protocol).await.unwrap()
}

async fn connect(
    address: SocketAddr,
    trusted: CertificateDer<'static>,
    protocol: &[u8],
) -> io::Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    roots.add(trusted).unwrap();
    let mut config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![protocol.to_vec()];
    let stream = TcpStream::connect(address).await?;
    let name = ServerName::try_from(HOST).unwrap();
    TlsConnector::from(Arc::new(config)).connect(name, stream).await
}

#[tokio::test]
async fn tls_carries_both_versions_of_http() {
    let (world, _app) = World::with_app(Config::default()).await;
    let connect = tls(&world).await;
    let mut http1 = client::http1_over(connect(b"http/1.1").await).await;
    let seen = Answer::read(http1.send_request(get(HOST, "/headers")).await.unwrap()).await.body;
    assert!(seen.contains(r#""x-forwarded-proto": "https""#), "{seen}");
    let mut http2 = client::http2_over(connect(b"h2").await).await;
    let request = Request::get("https://a.example/headers").body(client::empty()).unwrap();
    let seen = Answer::read(http2.send_request(request).await.unwrap()).await.body;
    assert!(seen.contains(r#""x-forwarded-proto": "https""#), "{seen}");
}

#[tokio::test]
async fn a_renewed_certificate_is_for_whoever_comes_after() {
    let (world, _app) = World::with_app(Config::default()).await;
    let [(chain, key, earlier), (new_chain, new_key, later)] = [certificate(), certificate()];
    let tls = Tls::from_pem(chain.as_bytes(), key.as_bytes()).unwrap();
    let address = listen_with(&world, tls.clone()).await;
    let stream = connect(address, earlier.clone(), b"http/1.1").await.unwrap();
    let mut open = client::http1_over(stream).await;
    assert!(tls.renew(new_chain.as_bytes(), key.as_bytes()).is_err());
    connect(address, earlier.clone(), b"http/1.1").await.expect("the pair that did not fit changed nothing");
    tls.renew(new_chain.as_bytes(), new_key.as_bytes()).unwrap();
    connect(address, later, b"http/1.1").await.expect("the new one is shown");
    assert!(connect(address, earlier, b"http/1.1").await.is_err(), "and the earlier one is not");
    let answer = Answer::read(open.send_request(get(HOST, "/")).await.unwrap()).await;
    assert_eq!(answer.status, 200, "what was open goes on");
}

#[test]
fn a_certificate_and_key_that_do_not_fit_are_named_so() {
    let [one, other] = [1, 2].map(|_| rcgen::generate_simple_self_signed(vec![HOST.into()]).unwrap());
    let (certificate, key) = (one.cert.pem(), other.key_pair.serialize_pem());
    let error = |certificate: &str, key: &str| {
        Tls::from_pem(certificate.as_bytes(), key.as_bytes()).err().unwrap().to_string()
    };
    insta::assert_snapshot!(error("", &key), @"the TLS certificate is not a PEM file of certificates");
    insta::assert_snapshot!(error(&certificate, "no"), @"the TLS key is not a PEM file of a private key");
    insta::assert_snapshot!(error(&certificate, &key), @"the TLS certificate and key cannot be used together");
}
