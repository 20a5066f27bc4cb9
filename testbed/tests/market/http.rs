//! Requests that no pod answers: the client is told why at once, and so is the pod's publisher.

use std::io;

use apocryph_testbed::cli::Cli;
use apocryph_testbed::clients::{Answer, http_get};
use apocryph_testbed::market::Market;
use serde_json::Value;

use crate::pods::{ask, close, deploy, end, run, write_single};

#[tokio::test]
async fn a_request_that_no_pod_answers_is_told_why() {
    let Some(market) = crate::market().await else { return };
    let publisher = market.publisher(0).await.unwrap();
    write_single(&publisher, "crashes", r#"[/bin/sh, -c, "echo no license >&2; exit 3"]"#);
    write_single(
        &publisher,
        "deaf",
        r#"[/bin/sh, -c, "trap 'exit 0' TERM; while :; do /bin/wget -T 1 -q -O - http://127.0.0.1:1/; done"]"#,
    );
    write_single(&publisher, "absent", "[/bin/nothing]");
    for pod in ["crashes", "deaf", "absent"] {
        deploy(&publisher, pod).await.unwrap();
    }
    // The one that takes its time waits beside the others.
    tokio::join!(never_listens(&publisher), async {
        crashes(&publisher).await;
        cannot_begin(&publisher).await;
        is_nobodys(&market).await;
        has_a_huge_head(&market).await;
    });
    for pod in ["crashes", "deaf", "absent"] {
        end(&publisher, pod).await;
    }
    close(market).await;
}

async fn crashes(publisher: &Cli) {
    let (answer, problem) = asked(publisher, "crashes").await;
    assert_eq!((answer.status, &problem["error"], &problem["retry"]), (502, &"exited".into(), &false.into()));
    says(&problem, &["container front", "3", "apocryph logs"]);
    let told = last_error(publisher, "crashes").await;
    assert_eq!((&told["who"], &told["code"]), (&"publisher".into(), &"container-ended".into()), "{told}");
    let lines = publisher.run(&["logs", "crashes"], &mut |_| {}).await.unwrap().lines;
    assert!(lines.iter().any(|line| line.to_string().contains("no license")), "{lines:?}");
}

async fn cannot_begin(publisher: &Cli) {
    let (answer, problem) = asked(publisher, "absent").await;
    assert_eq!((answer.status, &problem["retry"]), (502, &false.into()), "{problem}");
    says(&problem, &["/bin/nothing"]);
    let told = last_error(publisher, "absent").await;
    assert_eq!(told["who"], "publisher", "{told}");
}

/// The first one waits for as long as a pod may take; whoever comes later does not wait again.
async fn never_listens(publisher: &Cli) {
    for _ in 0..2 {
        let (answer, problem) = asked(publisher, "deaf").await;
        assert_eq!((answer.status, &problem["error"]), (504, &"never_listens".into()), "{problem}");
        says(&problem, &["nothing listens on its port 8080"]);
    }
    let told = last_error(publisher, "deaf").await;
    assert_eq!((&told["who"], &told["code"]), (&"publisher".into(), &"never-listens".into()), "{told}");
}

async fn is_nobodys(market: &Market) {
    let answer = http_get(market.daemons[0].gateway, "nobody.example", "/").await.unwrap();
    let problem = problem(&answer);
    assert_eq!((answer.status, &problem["error"]), (404, &"unknown_host".into()));
    says(&problem, &["there is no pod at this host"]);
}

async fn has_a_huge_head(market: &Market) {
    let gateway = market.daemons[0].gateway;
    let huge = format!("x\r\nX-Huge: {}", "a".repeat(100 << 10));
    let many = (0..1000).fold("x".to_owned(), |head, n| format!("{head}\r\nX-{n}: a"));
    for head in [huge, many] {
        assert_eq!(http_get(gateway, &head, "/").await.unwrap().status, 431);
    }
}

async fn asked(publisher: &Cli, pod: &str) -> (Answer, Value) {
    let answer = ask(publisher, pod, "/").await.unwrap();
    let problem = problem(&answer);
    (answer, problem)
}

fn problem(answer: &Answer) -> Value {
    serde_json::from_str(&answer.body).map_err(io::Error::other).unwrap_or_else(|_| panic!("{answer:?}"))
}

fn says(problem: &Value, words: &[&str]) {
    let message = problem["message"].as_str().unwrap();
    assert!(words.iter().all(|word| message.contains(word)), "{message}");
}

async fn last_error(publisher: &Cli, pod: &str) -> Value {
    run(publisher, &["status", pod]).await.unwrap()["lastError"].clone()
}
