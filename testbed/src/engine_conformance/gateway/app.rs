//! The pods before which the gateway stands.

use apocryph_gateway::{HttpRoute, PodRoutes};
use apocryph_model::{Digest, Millicores, Scale};
use apocryph_provider::{Engine, EnginePod};

use super::super::driving::reach;
use super::super::{PodUnderTest, Subject, answering};
use super::lent_pods::running;
use crate::until::until;

use super::super::driving::PATIENCE;

/// Where the app speaks HTTP.
pub(super) const HTTP: u16 = 8080;
/// Where it gives back what comes.
pub(super) const ECHO: u16 = 9090;
/// Where it waits for a word before it listens.
const KNOCK: u16 = 7070;
/// Where the first pod is asked for.
pub(super) const HOST: &str = "app.example";

/// An app that answers as soon as it runs; it leaves room for those of other tests.
pub(super) const AT_ONCE: &str = "exec app";
/// The same, which listens once it is [let in](let_in).
pub(super) const WHEN_LET_IN: &str = "nc -l -p 7070 -e echo; exec app";

/// A pod of one container with the app in it.
pub(super) fn pod(number: u8, image: Digest, script: &str) -> PodUnderTest {
    let pod = PodUnderTest::new(number, image).container("app", script);
    pod.with(|container| container.resources.cpu = Millicores(100))
}

/// The only pod of a test, at zero.
pub(super) async fn prepare(subject: &mut dyn Subject, script: &str) -> EnginePod {
    let image = subject.ship(&answering());
    let pod = pod(1, image, script).build(subject);
    subject.engine().prepare(&pod).await.unwrap();
    pod
}

/// The routes of a pod that is asked for at `host`.
pub(super) fn routes(pod: &EnginePod, host: &str, scale: Scale) -> PodRoutes {
    let http = vec![HttpRoute { host: host.parse().unwrap(), container_port: HTTP }];
    PodRoutes { pod: pod.id, scale, http, tcp: Vec::new() }
}

/// Runs while it is used, and a second longer.
pub(super) fn restless() -> Scale {
    Scale { idle_seconds: 1, ..Scale::default() }
}

/// Has every replica of the pod listen.
pub(super) async fn let_in(engine: &dyn Engine, pod: &EnginePod) {
    until("it runs", PATIENCE, async || Ok(!running(engine, pod.id).await.unwrap().is_empty()))
        .await
        .unwrap();
    for replica in running(engine, pod.id).await.unwrap() {
        reach(&replica, KNOCK).await;
    }
}
