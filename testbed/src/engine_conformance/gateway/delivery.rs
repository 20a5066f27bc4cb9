//! Property 1: at most one delivery.

use apocryph_gateway::Config;
use apocryph_model::Scale;
use http::Request;

use super::super::Subject;
use super::super::driving::{PATIENCE, failure, finish};
use super::app::{AT_ONCE, HOST, prepare, routes};
use super::front::Front;
use super::lent_pods::{lend, running};
use super::ticks::Ticks;
use crate::http_client::{ask, full};
use crate::until::until;

/// A request amid which its replica dies is not given to another one, which is there.
pub async fn a_request_is_delivered_at_most_once(subject: &mut dyn Subject) {
    let pod = prepare(subject, AT_ONCE).await;
    let engine = subject.engine();
    let (pods, loan) = lend();
    let work = async {
        let two = Scale { min: 2, max: 2, requests_per_replica: 1, ..Scale::default() };
        let front = Front::before(&pods, Config::default(), routes(&pod, HOST, two)).await;
        let mut spared = Ticks::begin(front.http, HOST, "/ticks").await;
        // What is under way keeps that one from being chosen.
        let mut other = spared.run.clone();
        let listens = async || {
            other = front.ask("/").await.body;
            Ok(other != spared.run)
        };
        until("the other one listens", PATIENCE, listens).await.unwrap();
        let post = Request::post("/die").header("host", HOST).body(full("once")).unwrap();
        let victims = running(engine, pod.id).await.unwrap();
        let answer = ask(front.http, post).await;
        assert_eq!((answer.status, answer.error()), (502, Some("backend_closed")), "{answer:?}");
        spared.wait(3).await;
        let dead = async {
            futures::future::select_all(victims.iter().map(|v| Box::pin(failure(engine, pod.id, &v.id))))
                .await
        };
        let (fault, ..) = dead.await;
        assert!(fault.text.contains("exit code 3"), "the other one died of it: {fault}");
        spared.wait(3).await;
        assert_eq!(front.ask("/").await.status, 200, "and the pod goes on");
    };
    loan.over(engine, work).await;
    finish(engine, pod.id).await;
}
