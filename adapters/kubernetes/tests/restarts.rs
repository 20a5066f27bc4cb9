//! The cluster's own parts end and come back: what runs goes on, and is billed as before. Needs a
//! cluster whose components can be stopped, and it alone.

#![expect(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "these are tests: they tell by panics and lines"
)]

mod support;

use std::process::Command;

use apocryph_model::{ChannelId, LogQuery};
use apocryph_provider::{Engine, EngineError, Reading, Replica};
use apocryph_testbed::engine_conformance::{PodUnderTest, Subject as _, shell};
use futures::StreamExt as _;
use k8s_openapi::api::core::v1::Node;
use kube::api::{ListParams, Patch, PatchParams};
use kube::{Api, ResourceExt as _};
use serde_json::json;
use support::{Bench, with_engine, within};

/// Uses some processor time, and says so.
const BUSY: &str = "n=0; while :; do n=$((n+1)); [ $((n % 20000)) = 0 ] && echo $n && sleep 0.2; done";

/// Does something to a component of the cluster's; `false`, and a line that says why, where it cannot.
fn component(what: &str, name: &str) -> bool {
    let Some(command) = std::env::var_os("CLUSTER_COMPONENTS") else {
        eprintln!("skipped: CLUSTER_COMPONENTS names no command that stops the cluster's components");
        return false;
    };
    assert!(Command::new(command).args([what, name]).status().unwrap().success(), "{what} {name}");
    true
}

/// A component that is away for as long as this value is there.
struct Stopped(&'static str);

impl Stopped {
    fn stop(name: &'static str) -> Option<Self> {
        component("stop", name).then_some(Self(name))
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        component("start", self.0);
    }
}

/// The only reading, which is never less than the one before.
async fn read(engine: &dyn Engine, before: &mut Reading) {
    let now = engine.sample().await.unwrap().remove(0);
    let pairs = [
        (before.cpu_us, now.cpu_us),
        (before.running_ms, now.running_ms),
        (before.ingress, now.ingress),
        (before.egress, now.egress),
    ];
    assert!(pairs.iter().all(|(before, now)| before <= now), "{before:?} {now:?}");
    assert!(!now.last);
    *before = now;
}

async fn goes_on(engine: &dyn Engine, reading: &mut Reading, replica: &Replica) {
    let (since, lines) = (reading.clone(), lines(engine, reading.pod).await);
    within("it is counted and heard on", async || {
        read(engine, reading).await;
        let counted = reading.cpu_us > since.cpu_us && reading.running_ms > since.running_ms;
        (counted && self::lines(engine, reading.pod).await > lines).then_some(())
    })
    .await;
    assert_eq!(engine.scale(reading.pod, 1).await.unwrap(), std::slice::from_ref(replica));
}

async fn lines(engine: &dyn Engine, pod: ChannelId) -> usize {
    engine.logs(pod, LogQuery::default()).await.unwrap().count().await
}

/// What tells one run of the container from another.
async fn run(bench: &Bench) -> Option<String> {
    let status = bench.replicas().await.remove(0).status?.container_statuses?.remove(0);
    (status.restart_count == 0).then_some(status.container_id?)
}

#[test]
fn kubelet_runtime_and_api_server_start_again_under_what_runs() {
    with_engine(|bench| {
        Box::pin(async move {
            let image = bench.ship(&shell());
            let pod = PodUnderTest::new(1, image).container("main", BUSY).build(bench);
            let engine = bench.engine();
            engine.prepare(&pod).await.unwrap();
            let replica = engine.scale(pod.id, 1).await.unwrap().remove(0);
            let mut reading = engine.sample().await.unwrap().remove(0);
            let first = run(bench).await;
            for name in ["kubelet", "containerd", "kube-apiserver"] {
                if !component("restart", name) {
                    return;
                }
                goes_on(engine, &mut reading, &replica).await;
            }
            assert_eq!(run(bench).await, first, "in the same container");
        })
    });
}

#[test]
fn a_node_that_is_not_ready_is_not_gone() {
    with_engine(|bench| {
        Box::pin(async move {
            let image = bench.ship(&shell());
            let pod = PodUnderTest::new(1, image).container("main", BUSY).build(bench);
            let cold = PodUnderTest::new(2, image).container("main", "sleep 600").build(bench);
            let engine = bench.engine();
            futures::try_join!(engine.prepare(&pod), engine.prepare(&cold)).unwrap();
            let replica = engine.scale(pod.id, 1).await.unwrap().remove(0);
            let first = run(bench).await;
            let Some(stopped) = Stopped::stop("kubelet") else { return };
            is_not_ready(bench).await;
            let mut before = engine.sample().await.unwrap().remove(0);
            let now = engine.sample().await.unwrap().remove(0);
            assert_eq!(now, before, "what is not measured is not billed");
            assert_eq!(engine.scale(pod.id, 1).await.unwrap(), std::slice::from_ref(&replica));
            let refused = engine.scale(cold.id, 1).await;

            assert!(
                matches!(&refused, Err(EngineError::Host(fault)) if fault.code == "no-room" && fault.text.contains("taint")),
                "{refused:?}"
            );
            drop(stopped);
            goes_on(engine, &mut before, &replica).await;
            assert_eq!(run(bench).await, first, "in the same container");
            within("others start again", async || engine.scale(cold.id, 1).await.ok()).await;
        })
    });
}

/// Returns once the cluster knows that the node does not answer, which it would notice by itself
/// after the better part of a minute.
async fn is_not_ready(bench: &Bench) {
    let nodes: Api<Node> = Api::all(bench.client().await);
    let node = nodes.list(&ListParams::default()).await.unwrap().items.remove(0).name_any();
    let condition = json!({
        "type": "Ready", "status": "Unknown", "reason": "NodeStatusUnknown", "message": "Kubelet stopped posting node status.",
    });
    let status = json!({ "status": { "conditions": [condition] } });
    nodes.patch_status(&node, &PatchParams::default(), &Patch::Strategic(status)).await.unwrap();
    within("it is marked", async || {
        let taints = nodes.get(&node).await.unwrap().spec.unwrap().taints.unwrap_or_default();
        taints.iter().any(|taint| taint.key == "node.kubernetes.io/unreachable").then_some(())
    })
    .await;
}
