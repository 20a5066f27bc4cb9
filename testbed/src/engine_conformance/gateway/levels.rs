//! Property 11: right after what was missed, and after restarts.

use std::io;

use apocryph_gateway::Config;
use apocryph_model::Scale;

use super::super::Subject;
use super::super::driving::{PATIENCE, failure, finish};
use super::app::{AT_ONCE, HOST, HTTP, prepare, restless, routes};
use super::front::Front;
use super::lent_pods::{lend, running};
use crate::clients::http_get;
use crate::until::until;

/// Nobody tells the gateway that a replica ended: the next requests find out, are told why, and then served by
/// another one.
pub async fn an_end_that_was_missed_is_found_out(subject: &mut dyn Subject) {
    let pod = prepare(subject, AT_ONCE).await;
    let engine = subject.engine();
    let (pods, loan) = lend();
    let work = async {
        pods.miss_ends();
        let front = Front::before(&pods, Config::default(), routes(&pod, HOST, Scale::default())).await;
        let first = front.ask("/").await.body;
        let replica = running(engine, pod.id).await.unwrap().remove(0);
        let killed = http_get((replica.address, HTTP).into(), HOST, "/die").await;
        assert!(killed.is_err(), "{killed:?}");
        failure(engine, pod.id, &replica.id).await;
        let served = async || {
            let answer = front.ask("/").await;
            match (answer.status, answer.error()) {
                (200, _) => Ok(answer.body != first),
                (502, Some("exited")) => Ok(false),
                _ => Err(io::Error::other(format!("{answer:?}"))),
            }
        };
        until("another one serves", PATIENCE, served).await.unwrap();
        assert_eq!(pods.times("wake"), 2);
    };
    loan.over(engine, work).await;
    finish(engine, pod.id).await;
}

/// Gateway and engine die; the next ones serve what runs, without a start, and bring it to zero in the end.
pub async fn what_runs_is_served_after_a_restart(subject: &mut dyn Subject) {
    let pod = prepare(subject, AT_ONCE).await;
    let (pods, loan) = lend();
    let before = async {
        let front = Front::before(&pods, Config::default(), routes(&pod, HOST, Scale::default())).await;
        front.ask("/").await.body
    };
    let before = loan.over(subject.engine(), before).await;
    subject.restart().await;
    let engine = subject.engine();
    engine.prepare(&pod).await.unwrap();
    let (pods, loan) = lend();
    let work = async {
        let front = Front::open(&pods, Config::default()).await;
        let there = running(engine, pod.id).await.unwrap();
        front.put(routes(&pod, HOST, restless()), &there).await;
        assert_eq!(front.ask("/").await.body, before, "it is the same one");
        assert_eq!(pods.times("wake"), 0);
        until("it goes to zero", PATIENCE, async || Ok(pods.times("stopped") == 1)).await.unwrap();
        assert_eq!(running(engine, pod.id).await.unwrap(), []);
        assert_ne!(front.ask("/").await.body, before, "and comes back");
    };
    loan.over(engine, work).await;
    finish(engine, pod.id).await;
}
