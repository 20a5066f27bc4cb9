//! Two publishers at one provider.

use apocryph_testbed::chain::DevChain;
use apocryph_testbed::cli::Cli;
use apocryph_testbed::containers;
use apocryph_testbed::market::Market;
use serde_json::Value;
use std::path::Path;
use std::process::Command;

use crate::pods::{ask, close, deploy, end, run, take_back, write, write_single};

const FIRST: usize = 0;
const SECOND: usize = 1;
const THIEF: usize = 2;

#[tokio::test]
async fn two_publishers_cannot_reach_read_or_stop_each_others_pods() {
    let Some(market) = crate::market().await else { return };
    let first = market.publisher(FIRST).await.unwrap();
    let second = market.publisher(SECOND).await.unwrap();
    for (publisher, name) in [(&first, "own"), (&second, "other")] {
        write(publisher, name, "hello");
        deploy(publisher, name).await.unwrap();
    }
    assert_eq!(ask(&first, "own", "/cgi-bin/ask").await.unwrap().status, 200);
    cannot_speak_for(&market, &first, "own").await;
    cannot_reach(&market, &second).await;
    cannot_take_the_name(&first, &second).await;
    assert_eq!(ask(&first, "own", "/cgi-bin/ask").await.unwrap().status, 200);
    end(&first, "own").await;
    end(&second, "other").await;
    close(market).await;
}

/// Someone who has all that the publisher remembers of its pod, and puts its own account there.
async fn cannot_speak_for(market: &Market, publisher: &Cli, name: &str) {
    let thief = market.publisher(THIEF).await.unwrap();
    let (victim, own) = (DevChain::key(FIRST).address(), DevChain::key(THIEF).address());
    adopt(
        &publisher.folder.join("state"),
        &thief.folder.join("state"),
        &victim.to_string(),
        &own.to_string(),
    );
    let status = run(&thief, &["status", name]).await.unwrap();
    assert_eq!((&status["phase"], status["providerProblem"].is_string()), (&Value::Null, true), "{status}");
    for arguments in [["logs", name], ["usage", name]] {
        let told = run(&thief, &arguments).await;
        assert!(told.is_err(), "{arguments:?} told {told:?}");
    }
    // This ends what the thief calls its own, and nothing else.
    let _ = run(&thief, &["remove", name]).await;
}

/// Copies a folder, with one text in place of another.
fn adopt(from: &Path, to: &Path, old: &str, new: &str) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            adopt(&entry.path(), &target, old, new);
        } else if let Ok(text) = std::fs::read_to_string(entry.path()) {
            std::fs::write(target, text.replace(old, new)).unwrap();
        }
    }
}

/// A host name is whose pod has it.
async fn cannot_take_the_name(owner: &Cli, other: &Cli) {
    let status = run(owner, &["status", "own"]).await.unwrap();
    let host = status["endpoints"][0]["host"].as_str().unwrap();
    write_single(other, "thief", "[/bin/true]");
    let manifest = other.folder.join("thief.yaml");
    let text = std::fs::read_to_string(&manifest).unwrap();
    std::fs::write(manifest, text.replace("http: 8080", &format!("{{http: 8080, host: {host}}}"))).unwrap();
    let refused = deploy(other, "thief").await.unwrap_err().to_string();
    assert!(refused.contains(host), "{refused}");
    take_back(other, "thief").await;
}

/// From within its own pod, the pod of the other at its own address.
async fn cannot_reach(market: &Market, publisher: &Cli) {
    let engine = &market.daemons[0].engine;
    let victims = containers::processes(engine, &["front"]).unwrap();
    let address = address_of(victims[0].0);
    let from_host = ask_directly(&address).await;
    assert!(from_host, "the gateway's side reaches the pod at {address}");
    let itself = ask(publisher, "other", "/cgi-bin/reach?127.0.0.1").await.unwrap();
    assert_eq!(itself.body.trim(), "reached");
    let answer = ask(publisher, "other", &format!("/cgi-bin/reach?{address}")).await.unwrap();
    assert_eq!((answer.status, answer.body.trim()), (200, "unreachable"));
}

async fn ask_directly(address: &str) -> bool {
    apocryph_testbed::clients::http_get(format!("{address}:8080").parse().unwrap(), "x", "/cgi-bin/ask")
        .await
        .is_ok()
}

/// The address of the network namespace that a process lives in.
fn address_of(process: u32) -> String {
    let process = process.to_string();
    let output = Command::new("nsenter")
        .args(["-t", &process, "-n", "ip", "-4", "-o", "addr", "show", "eth0"])
        .output();
    let text = String::from_utf8(output.unwrap().stdout).unwrap();
    let address = text.split_whitespace().skip_while(|word| *word != "inet").nth(1).unwrap();
    address.split('/').next().unwrap().to_owned()
}
