//! Two publishers at one provider.

use apocryph_testbed::chain::DevChain;
use apocryph_testbed::cli::Cli;
use apocryph_testbed::containers;
use apocryph_testbed::market::Market;
use std::process::Command;

use crate::pods::{ask, close, deploy, end, run, write};

#[tokio::test]
async fn two_publishers_cannot_reach_read_or_stop_each_others_pods() {
    let Some(market) = crate::market().await else { return };
    let (first, second) = (market.publisher(0).await.unwrap(), market.publisher(1).await.unwrap());
    for (publisher, name) in [(&first, "own"), (&second, "other")] {
        write(publisher, name, "hello");
        deploy(publisher, name).await.unwrap();
    }
    assert_eq!(ask(&first, "own", "/cgi-bin/ask").await.unwrap().status, 200);
    cannot_speak_for(&first, "own").await;
    cannot_reach(&market, &second).await;
    assert_eq!(ask(&first, "own", "/cgi-bin/ask").await.unwrap().status, 200);
    end(&first, "own").await;
    end(&second, "other").await;
    close(market).await;
}

/// Someone who knows all that the publisher remembers of its pod, but not its key.
async fn cannot_speak_for(publisher: &Cli, name: &str) {
    let mut thief = publisher.clone();
    thief.environment.insert("APOCRYPH_KEY".into(), DevChain::key_hex(2).into());
    for arguments in [["status", name], ["logs", name], ["usage", name], ["remove", name]] {
        let refused = run(&thief, &arguments).await;
        let told = refused.as_ref().map_or_else(|_| false, |told| told["phase"].is_string());
        assert!(!told, "{arguments:?} told {refused:?}");
    }
}

/// From within its own pod, the pod of the other at its own address.
async fn cannot_reach(market: &Market, publisher: &Cli) {
    let engine = &market.daemons[0].engine;
    let victims = containers::processes(engine, &["front"]).unwrap();
    let address = address_of(victims[0].0);
    let from_host = ask_directly(&address).await;
    assert!(from_host, "the gateway's side reaches the pod at {address}");
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
