//! Properties 2, 3 and 9: one start, a bounded hold, no harm to others.

use std::time::Duration;

use apocryph_gateway::{Config, HoldLimits};
use apocryph_model::Scale;
use futures::future::join_all;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::super::Subject;
use super::super::answering;
use super::super::driving::{PATIENCE, finish};
use super::app::{self, AT_ONCE, HOST, WHEN_LET_IN, let_in, prepare, routes};
use super::front::{Front, answered};
use super::lent_pods::{lend, running};
use crate::http_client::{Answer, ask, get};
use crate::until::until;

fn config(hold: HoldLimits) -> Config {
    Config { hold, ..Config::default() }
}

/// However many wait, the pod is started once, and each request is delivered.
pub async fn one_start_for_all_who_wait(subject: &mut dyn Subject) {
    let pod = prepare(subject, AT_ONCE).await;
    let engine = subject.engine();
    let (pods, loan) = lend();
    let work = async {
        let scale = Scale { max: 3, ..Scale::default() };
        let front = Front::before(&pods, Config::default(), routes(&pod, HOST, scale)).await;
        for answer in join_all(front.burst(HOST, 100)).await {
            assert_eq!(answer.unwrap().status, 200);
        }
        assert_eq!(front.ask("/count").await.body, "100");
        assert_eq!((pods.times("wake"), running(engine, pod.id).await.unwrap().len()), (1, 1));
    };
    loan.over(engine, work).await;
    finish(engine, pod.id).await;
}

/// Too many are told so, and so is who waits too long; who leaves makes room; those that were held are
/// served.
pub async fn the_hold_is_bounded_and_its_answers_are_typed(subject: &mut dyn Subject) {
    let pod = prepare(subject, WHEN_LET_IN).await;
    let engine = subject.engine();
    let (pods, loan) = lend();
    let work = async {
        let routes = routes(&pod, HOST, Scale::default());
        let brief = HoldLimits { listen: Duration::from_millis(200), ..HoldLimits::default() };
        let impatient = Front::before(&pods, config(brief), routes.clone()).await;
        let late = impatient.ask("/").await;
        assert_eq!((late.status, late.error()), (504, Some("never_listens")), "{late:?}");
        assert_eq!(pods.times("unheard"), 1, "its publisher is told");

        let narrow = HoldLimits { requests_per_pod: 2, ..HoldLimits::default() };
        let front = Front::open(&pods, config(narrow)).await;
        front.put(routes, &running(engine, pod.id).await.unwrap()).await;
        let mut held = three_of_five_are_refused(front.burst(HOST, 5)).await;
        held.pop().unwrap().abort();
        held.push(one_more(&front).await);
        let_in(engine, &pod).await;
        for answer in join_all(held).await {
            assert_eq!(answer.unwrap().status, 200);
        }
        assert_eq!(front.ask("/count").await.body, "2", "nothing came of what was refused, or left");
    };
    loan.over(engine, work).await;
    finish(engine, pod.id).await;
}

/// The two that are held.
async fn three_of_five_are_refused(burst: Vec<JoinHandle<Answer>>) -> Vec<JoinHandle<Answer>> {
    until("three are refused", PATIENCE, async || Ok(answered(&burst) == 3)).await.unwrap();
    let (refused, held): (Vec<_>, Vec<_>) = burst.into_iter().partition(JoinHandle::is_finished);
    for refused in join_all(refused).await.into_iter().map(Result::unwrap) {
        assert_eq!((refused.status, refused.error()), (503, Some("hold_full")), "{refused:?}");
        assert_eq!(refused.headers["retry-after"], "1");
    }
    held
}

/// A client that is held, once there is room for it.
async fn one_more(front: &Front) -> JoinHandle<Answer> {
    loop {
        let mut client = tokio::spawn(ask(front.http, get(HOST, "/")));
        match timeout(Duration::from_millis(100), &mut client).await {
            Err(_still_held) => return client,
            Ok(answer) => assert_eq!(answer.unwrap().error(), Some("hold_full")),
        }
    }
}

/// One pod's requests take no room that another's need.
pub async fn one_pods_burst_harms_no_other(subject: &mut dyn Subject) {
    let image = subject.ship(&answering());
    let greedy = app::pod(1, image, WHEN_LET_IN).build(subject);
    let calm = app::pod(2, image, AT_ONCE).build(subject);
    let engine = subject.engine();
    engine.prepare(&greedy).await.unwrap();
    engine.prepare(&calm).await.unwrap();
    let (pods, loan) = lend();
    let work = async {
        let hold = HoldLimits { requests_per_pod: 5, requests: 8, ..HoldLimits::default() };
        let config = Config { open_per_pod: 20, ..config(hold) };
        let front = Front::before(&pods, config, routes(&greedy, HOST, Scale::default())).await;
        front.put(routes(&calm, "calm.example", Scale::default()), &[]).await;
        let burst = front.burst(HOST, 100);
        until("most are refused", PATIENCE, async || Ok(answered(&burst) == 95)).await.unwrap();
        for answer in join_all(front.burst("calm.example", 3)).await {
            assert_eq!(answer.unwrap().status, 200);
        }
        let (refused, held): (Vec<_>, Vec<_>) = burst.into_iter().partition(JoinHandle::is_finished);
        for answer in join_all(refused).await {
            assert_eq!(answer.unwrap().status, 503);
        }
        let_in(engine, &greedy).await;
        for answer in join_all(held).await {
            assert_eq!(answer.unwrap().status, 200);
        }
    };
    loan.over(engine, work).await;
    finish(engine, greedy.id).await;
    finish(engine, calm.id).await;
}
