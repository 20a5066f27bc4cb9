//! Property 10: what passes is not changed, and says who sent it.

use apocryph_gateway::Config;
use apocryph_model::Scale;
use http::{HeaderValue, Request};

use super::super::Subject;
use super::super::driving::finish;
use super::app::{AT_ONCE, HOST, prepare, routes};
use super::front::Front;
use super::lent_pods::lend;
use crate::http_client::{Answer, ask, empty, full, get, send_http2, with_trailer};

/// Who asked and for what, trailers, and HTTP/2 up to the app. That upgrades pass is shown with open streams.
pub async fn what_passes_is_not_changed(subject: &mut dyn Subject) {
    let pod = prepare(subject, AT_ONCE).await;
    let engine = subject.engine();
    let (pods, loan) = lend();
    let work = async {
        let front = Front::before(&pods, Config::default(), routes(&pod, HOST, Scale::default())).await;
        the_host_decides(&front).await;
        the_gateway_says_who_asked(&front).await;
        trailers_pass(&front).await;
        grpc_passes(&front).await;
    };
    loan.over(engine, work).await;
    finish(engine, pod.id).await;
}

async fn the_host_decides(front: &Front) {
    let mut elsewhere = get("nobody.example", "/");
    elsewhere.headers_mut().insert("x-forwarded-host", HeaderValue::from_static(HOST));
    assert_eq!(ask(front.http, elsewhere).await.error(), Some("unknown_host"));
    let mut here = get("APP.example:80", "/count");
    here.headers_mut().insert("x-forwarded-host", HeaderValue::from_static("nobody.example"));
    assert_eq!(ask(front.http, here).await.body, "0", "it is the first one");
}

async fn the_gateway_says_who_asked(front: &Front) {
    let mut request = get(HOST, "/seen?q=%20");
    let spoofed = ["x-forwarded-for", "x_forwarded_for", "x-forwarded-proto", "forwarded", "x-real-ip"];
    for name in spoofed {
        request.headers_mut().insert(name, HeaderValue::from_static("10.9.9.9"));
    }
    request.headers_mut().insert("x-app", HeaderValue::from_static("mine"));
    let seen = ask(front.http, request).await.body;
    for line in [
        "/seen?q=%20",
        r#""host": "app.example""#,
        r#""x-app": "mine""#,
        r#""x-forwarded-for": "127.0.0.1""#,
        r#""x-forwarded-proto": "http""#,
        r#""x-forwarded-host": "app.example""#,
    ] {
        assert!(seen.contains(line), "{line} is not in {seen}");
    }
    assert!(!seen.contains("10.9.9.9"), "{seen}");
}

async fn trailers_pass(front: &Front) {
    let request = Request::post("/echo").header("host", HOST).header("te", "trailers");
    let answer = ask(
        front.http,
        request.header("trailer", "x-sum").body(with_trailer("body", "x-sum", "42")).unwrap(),
    )
    .await;
    assert_eq!((answer.body.as_str(), &answer.trailers["x-sum"]), ("body", &HeaderValue::from_static("42")));
}

async fn grpc_passes(front: &Front) {
    let request =
        Request::post(format!("http://{HOST}/grpc")).header("content-type", "application/grpc+proto");
    let request = request.header("te", "trailers").body(full("message")).unwrap();
    let answer = Answer::read(send_http2(front.http, request).await).await;
    assert_eq!(
        (answer.body.as_str(), &answer.headers["x-version"]),
        ("message", &HeaderValue::from_static("2"))
    );
    assert_eq!(answer.trailers["grpc-status"], "0");
    let plain = Request::get(format!("http://{HOST}/seen")).body(empty()).unwrap();
    let seen = Answer::read(send_http2(front.http, plain).await).await.body;
    assert!(seen.starts_with("HTTP/1.1 "), "what is not gRPC reaches an app of HTTP/1.1 too: {seen}");
}
