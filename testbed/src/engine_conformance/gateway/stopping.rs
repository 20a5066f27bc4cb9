//! Properties 4 and 6: the fence before a stop, and what is under way when a replica is to end.

use std::time::Duration;

use apocryph_gateway::{Config, Drained};
use apocryph_model::Scale;
use apocryph_provider::{Replica, ReplicaEnd};
use futures::future::join_all;

use super::super::Subject;
use super::super::answering;
use super::super::driving::{PATIENCE, finish};
use super::app::{self, AT_ONCE, HOST, prepare, restless, routes};
use super::front::Front;
use super::lent_pods::{lend, running};
use super::ticks::Ticks;
use crate::http_client::{ask, get};
use crate::until::until;

/// How often the pod goes to zero while requests come.
const STOPS: usize = 3;
/// Long enough for what is under way.
const GRACE: Duration = Duration::from_secs(30);

/// Requests that arrive while the pod is being stopped are served by what runs or by what is started for
/// them, each once.
pub async fn a_request_that_arrives_during_the_stop_is_served(subject: &mut dyn Subject) {
    let pod = prepare(subject, AT_ONCE).await;
    let engine = subject.engine();
    let (pods, loan) = lend();
    let work = async {
        let front = Front::before(&pods, Config::default(), routes(&pod, HOST, restless())).await;
        assert_eq!(front.ask("/").await.status, 200);
        for stops in 1..=STOPS {
            until("it is being stopped", PATIENCE, async || Ok(pods.times("idle") == stops)).await.unwrap();
            for answer in join_all(front.burst(HOST, 5)).await {
                assert_eq!(answer.unwrap().status, 200);
            }
            assert_eq!(front.ask("/count").await.body, "5", "all are the next one's");
        }
        until("it is at zero", PATIENCE, async || Ok(pods.times("stopped") > STOPS)).await.unwrap();
        assert_eq!(running(engine, pod.id).await.unwrap(), []);
        assert_eq!(pods.times("wake"), 1 + STOPS);
    };
    loan.over(engine, work).await;
    finish(engine, pod.id).await;
}

/// An update: what is under way on the old version ends as it would, within the grace; whoever comes meanwhile
/// waits for the new one. What takes longer than the grace is cut.
pub async fn what_is_to_end_is_drained_and_asked_nothing_more(subject: &mut dyn Subject) {
    let image = subject.ship(&answering());
    let version = |version: &str| {
        let value = version.to_owned();
        app::pod(1, image, AT_ONCE).with(|container| drop(container.env.insert("VERSION".into(), value)))
    };
    let (old, new) = (version("old").build(subject), version("new").build(subject));
    let engine = subject.engine();
    engine.prepare(&old).await.unwrap();
    let (pods, loan) = lend();
    let work = async {
        let routes = routes(&old, HOST, Scale::default());
        let front = Front::before(&pods, Config::default(), routes.clone()).await;
        assert_eq!(front.ask("/version").await.body, "old");
        let under_way = Ticks::begin(front.http, HOST, "/ticks?15").await;
        engine.prepare(&new).await.unwrap();
        let meanwhile = {
            let _scaling = pods.scaling.lock().await;
            front.put(routes.clone(), &[]).await;
            let asking = (0..5).map(|_| tokio::spawn(ask(front.http, get(HOST, "/version"))));
            let asking: Vec<_> = asking.collect();
            assert_eq!(front.gateway.retire(old.id, GRACE).await, Drained { cut: 0 });
            assert!(under_way.end().await, "it came to its end");
            engine.scale(old.id, 0).await.unwrap();
            asking
        };
        for answer in join_all(meanwhile).await {
            assert_eq!(answer.unwrap().body, "new");
        }

        let endless = Ticks::begin(front.http, HOST, "/ticks").await;
        let _scaling = pods.scaling.lock().await;
        front.put(routes, &[]).await;
        assert_eq!(front.gateway.retire(old.id, Duration::from_millis(300)).await, Drained { cut: 1 });
        assert!(!endless.end().await, "it was cut");
    };
    loan.over(engine, work).await;
    finish(engine, old.id).await;
}

/// A replica that is ended for the sake of its machine is asked nothing more, while what is under way there comes
/// to its end.
pub async fn what_others_end_is_drained_too(subject: &mut dyn Subject) {
    let pod = prepare(subject, AT_ONCE).await;
    let engine = subject.engine();
    let (pods, loan) = lend();
    let work = async {
        let front = Front::before(&pods, Config::default(), routes(&pod, HOST, Scale::default())).await;
        let under_way = Ticks::begin(front.http, HOST, "/ticks?8").await;
        let leaving = running(engine, pod.id).await.unwrap().remove(0);
        if !subject.evacuate(&leaving).await {
            return;
        }
        let routed = async || Ok(front.gateway.routed(pod.id).is_some_and(|routed| routed.is_empty()));
        until("nothing is routed to it", PATIENCE, routed).await.unwrap();
        let end = Some(ReplicaEnd::Leaving);
        assert_eq!(engine.ended(pod.id, &leaving.id).await.unwrap(), end);
        assert_eq!(engine.replicas(pod.id).await.unwrap(), [Replica { end, ..leaving }]);
        let other = front.ask("/").await;
        assert!(other.status == 200 && other.body != under_way.run, "{other:?}");
        assert!(under_way.end().await, "it came to its end");
    };
    loan.over(engine, work).await;
    finish(engine, pod.id).await;
}
