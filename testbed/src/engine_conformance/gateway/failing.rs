//! Property 8: a start that fails is answered at once, with its cause.

use apocryph_gateway::Config;
use apocryph_model::{Bytes, Scale};
use apocryph_provider::EnginePod;

use super::super::driving::finish;
use super::super::{PodUnderTest, Subject, shell};
use super::app::{pod, routes};
use super::front::Front;
use super::lent_pods::lend;
use crate::http_client::{ask, get};

/// What no machine has.
const TOO_MUCH: Bytes = Bytes(1 << 44);

/// A pod and what whoever asks it is told: status, code, and words of the cause.
struct Case {
    pod: EnginePod,
    told: (u16, &'static str, &'static str),
}

/// A program that its image lacks, one that ends, and more than there is room for.
pub async fn a_start_that_fails_is_answered_with_its_cause(subject: &mut dyn Subject) {
    let cases = cases(subject);
    let engine = subject.engine();
    for case in &cases {
        engine.prepare(&case.pod).await.unwrap();
    }
    let (pods, loan) = lend();
    let work = async {
        let front = Front::open(&pods, Config::default()).await;
        let asking = cases.iter().map(|case| async {
            let host = format!("{}.example", case.told.1.replace('_', "-"));
            front.put(routes(&case.pod, &host, Scale::default()), &[]).await;
            let answer = ask(front.http, get(&host, "/")).await;
            let (status, code, words) = case.told;
            assert_eq!((answer.status, answer.error()), (status, Some(code)), "{answer:?}");
            assert!(answer.body.contains(words), "{answer:?}");
        });
        futures::future::join_all(asking).await;
    };
    loan.over(engine, work).await;
    for case in &cases {
        finish(engine, case.pod.id).await;
    }
}

fn cases(subject: &dyn Subject) -> Vec<Case> {
    let image = subject.ship(&shell());
    let case = |pod: PodUnderTest, told| Case { pod: pod.build(subject), told };
    let absent = pod(1, image, "").with(|c| c.entrypoint = Some(vec!["/bin/no-such-program".into()]));
    let mut cases = vec![
        case(absent, (502, "image", "no-such-program")),
        case(pod(2, image, "exit 3"), (502, "exited", "exit code 3")),
    ];
    if subject.looks_for_room() {
        let large = pod(3, image, "sleep 600").with(|container| container.resources.memory = TOO_MUCH);
        cases.push(case(large, (503, "no_room", "too little room")));
    }
    cases
}
