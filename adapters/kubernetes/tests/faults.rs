//! The API server fails, and the cluster does: nothing is ended or billed wrongly, and all heals by
//! itself. Needs a cluster.

#![expect(clippy::unwrap_used, reason = "these are tests: what fails is to panic")]

mod support;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use apocryph_kubernetes::{ClusterError, reach};
use apocryph_model::{Digest, Fault, Millicores, Who};
use apocryph_provider::{Engine, EngineError, EnginePod, Reading, Replica};
use apocryph_testbed::engine_conformance::{PodUnderTest, Subject as _, failure, shell};
use k8s_openapi::api::core::v1::{ConfigMap, Pod, ResourceQuota};
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use kube::{Api, ResourceExt as _};
use serde_json::{Value, json};
use support::api::Forgotten;
use support::{Bench, PATIENCE, with_engine, with_faults, within};
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;
use tokio::sync::watch;

/// How long the API server is away.
const AWAY: Duration = Duration::from_secs(30);
/// Says so to whoever connects.
const SERVE: &str = "while :; do nc -l -p 8080 -e echo here; done";

/// One that leaves room for those of other tests.
fn small(number: u8, image: Digest, script: &str) -> PodUnderTest {
    let pod = PodUnderTest::new(number, image).container("main", script);
    pod.with(|container| container.resources.cpu = Millicores(50))
}

async fn replica(engine: &dyn Engine, pod: &EnginePod) -> Replica {
    engine.scale(pod.id, 1).await.unwrap().remove(0)
}

async fn served(replica: &Replica) -> bool {
    let asked = async {
        let mut stream = TcpStream::connect((replica.address, 8080)).await.ok()?;
        let mut text = String::new();
        stream.read_to_string(&mut text).await.ok()?;
        Some(text == "here\n")
    };
    tokio::time::timeout(Duration::from_secs(2), asked).await.ok().flatten().unwrap_or_default()
}

async fn serves(replica: &Replica) {
    within("it is served", async || served(replica).await.then_some(())).await;
}

async fn reading(engine: &dyn Engine, replica: &str) -> Option<Reading> {
    engine.sample().await.unwrap().into_iter().find(|reading| reading.replica == replica)
}

async fn last(engine: &dyn Engine, replica: &str) -> Reading {
    within("its last reading", async || reading(engine, replica).await.filter(|reading| reading.last)).await
}

fn host_fault<T: std::fmt::Debug>(outcome: Result<T, EngineError>) -> Fault {
    match outcome {
        Err(EngineError::Host(fault)) => fault,
        other => panic!("expected a fault of the host: {other:?}"),
    }
}

#[test]
fn an_api_server_that_is_away_ends_and_bills_nothing_wrongly() {
    with_faults(|bench| {
        Box::pin(async move {
            let image = bench.ship(&shell());
            let [warm, cold] = [1, 2].map(|number| small(number, image, SERVE).build(bench));
            let engine = bench.engine();
            futures::try_join!(engine.prepare(&warm), engine.prepare(&cold)).unwrap();
            let replica = replica(engine, &warm).await;
            serves(&replica).await;
            let began = Instant::now();
            bench.api().goes_away();
            let mut before = reading(engine, &replica.id).await.unwrap();
            while began.elapsed() < AWAY {
                serves(&replica).await;
                assert_eq!(engine.scale(warm.id, 1).await.unwrap(), std::slice::from_ref(&replica));
                assert_eq!(engine.replicas(warm.id).await.unwrap(), std::slice::from_ref(&replica));
                assert_eq!(host_fault(engine.scale(cold.id, 1).await).code, "cluster-unreachable");
                let now = reading(engine, &replica.id).await.unwrap();
                assert_eq!(now, before, "what is not measured is not billed");
                before = now;
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
            assert_eq!(engine.scale(warm.id, 0).await.unwrap(), []);
            let lived = began.elapsed();
            bench.api().answers();
            within("the cold one is started", async || engine.scale(cold.id, 1).await.ok()).await;
            let billed = Duration::from_millis(last(engine, &replica.id).await.running_ms);
            assert!(billed + Duration::from_secs(2) > lived, "{billed:?} of {lived:?}: it did run");
            assert!(billed < lived + Duration::from_secs(10), "{billed:?} of {lived:?}");
            within("no more than one is there", async || (bench.replicas().await.len() == 1).then_some(()))
                .await;
        })
    });
}

#[test]
fn what_happens_while_a_watch_is_cut_is_seen() {
    with_faults(|bench| {
        Box::pin(async move {
            let image = bench.ship(&shell());
            let taken = small(1, image, "sleep 600").build(bench);
            let brief = small(2, image, "sleep 2; exit 7").build(bench);
            let engine = bench.engine();
            futures::try_join!(engine.prepare(&taken), engine.prepare(&brief)).unwrap();

            let away = replica(engine, &taken).await;
            bench.api().goes_blind();
            let at_once = DeleteParams::default().grace_period(0);
            pods_beside(bench, &away).await.delete(&away.id, &at_once).await.unwrap();
            assert_eq!(
                engine.replicas(taken.id).await.unwrap(),
                std::slice::from_ref(&away),
                "out of sight is not gone"
            );
            bench.api().answers();
            let lost = failure(engine, taken.id, &away.id).await;
            assert_eq!((lost.who, lost.code.as_str()), (Who::Provider, "replica-lost"));

            // This time what is asked for is forgotten, which is told in both ways.
            let short = replica(engine, &brief).await;
            bench.api().goes_blind();
            bench.api().forgets(&[Forgotten::Status, Forgotten::Event]);
            let pods = pods_beside(bench, &short).await;
            within("it ends by itself", async || {
                let phase = pods.get(&short.id).await.unwrap().status.unwrap().phase;
                (phase.as_deref() == Some("Failed")).then_some(())
            })
            .await;
            bench.api().answers();
            let fault = failure(engine, brief.id, &short.id).await;
            assert!(fault.text.contains("exit code 7"), "{fault}");
            assert!((2000..=3000).contains(&last(engine, &short.id).await.running_ms));
            assert!(bench.api().has_told());
            assert_ne!(replica(engine, &taken).await.id, away.id);
        })
    });
}

/// The Pods of the replica's namespace.
async fn pods_beside(bench: &Bench, replica: &Replica) -> Api<Pod> {
    let pods = bench.replicas().await;
    let namespace = pods.iter().find(|pod| pod.name_any() == replica.id).unwrap().namespace().unwrap();
    Api::namespaced(bench.client().await, &namespace)
}

#[test]
fn a_namespace_that_does_not_go_is_told_and_goes_later() {
    with_engine(|bench| {
        Box::pin(async move {
            let image = bench.ship(&shell());
            let pod = small(1, image, "sleep 600").build(bench);
            let engine = bench.engine();
            engine.prepare(&pod).await.unwrap();
            let gone = replica(engine, &pod).await;
            let namespace = bench.namespaces().await.remove(0).name_any();
            let held: Api<ConfigMap> = Api::namespaced(bench.client().await, &namespace);
            let object = json!({ "metadata": { "name": "held", "finalizers": ["example.org/holds"] } });
            let object: ConfigMap = serde_json::from_value(object).unwrap();
            held.create(&PostParams::default(), &object).await.unwrap();
            assert_eq!(host_fault(engine.remove(pod.id).await).code, "being-removed");
            assert!(last(engine, &gone.id).await.running_ms > 0, "nothing runs, and what ran is billed");
            assert_eq!(engine.pods().await.unwrap(), [pod.id], "it is still there, to be removed again");
            assert_eq!(host_fault(engine.prepare(&pod).await).code, "being-removed");
            let free = Patch::Merge(json!({ "metadata": { "finalizers": null } }));
            held.patch("held", &PatchParams::default(), &free).await.unwrap();
            within("it can be made again", async || engine.prepare(&pod).await.ok()).await;
            replica(engine, &pod).await;
        })
    });
}

#[test]
fn a_cluster_that_is_away_is_waited_for_and_a_wrong_account_is_not() {
    with_faults(|bench| {
        Box::pin(async move {
            let kubeconfig = bench.config.kubeconfig.clone().unwrap();
            bench.api().goes_away();
            let told = watch::Sender::new(0);
            let mut looks = told.subscribe();
            let waiting = reach(Some(&kubeconfig), |_| told.send_modify(|told| *told += 1));
            tokio::pin!(waiting);
            tokio::select! {
                reached = &mut waiting => panic!("it is away: {reached:?}"),
                told = looks.wait_for(|told| *told == 3) => drop(told.unwrap()),
            }
            bench.api().answers();
            tokio::time::timeout(PATIENCE, waiting).await.expect("it is there again").unwrap();

            let users = |config: &mut Value, user: Value| config["users"][0]["user"] = user;
            let nobody = bench.kubeconfig_with(|config| users(config, json!({ "token": "of nobody" })));
            assert!(refused(&nobody).await.contains("Unauthorized"));
            let anyone = bench.kubeconfig_with(|config| users(config, json!({})));
            assert!(refused(&anyone).await.contains("orbidden"));
            let authority = |config: &mut Value| {
                config["clusters"][0]["cluster"]
                    .as_object_mut()
                    .unwrap()
                    .remove("certificate-authority-data");
            };
            let stranger = bench.kubeconfig_with(authority);
            assert!(refused(&stranger).await.contains("certificate"));
            assert!(refused(&stranger.with_extension("none")).await.contains("cannot find the cluster"));
        })
    });
}

/// As if it went between a daemon's first word to it and its first look at the pods.
#[test]
fn the_first_look_is_waited_for_as_the_first_word_is() {
    with_faults(|bench| {
        Box::pin(async move {
            let image = bench.ship(&shell());
            let pod = small(1, image, SERVE).build(bench);
            bench.engine().prepare(&pod).await.unwrap();
            let there = replica(bench.engine(), &pod).await;
            bench.api().goes_away();
            bench.crash();
            let restarted = bench.next_engine();
            tokio::pin!(restarted);
            let early = tokio::time::timeout(AWAY + Duration::from_secs(5), &mut restarted).await;
            assert!(early.is_err(), "it does not give up, and knows of nothing");
            bench.api().answers();
            let engine = tokio::time::timeout(PATIENCE, restarted).await.expect("it is there again").unwrap();
            assert_eq!(engine.replicas(pod.id).await.unwrap(), [there], "it is taken over");
        })
    });
}

/// Why waiting does not help, which is known at the first try.
async fn refused(kubeconfig: &Path) -> String {
    let unexpected = |waits: &ClusterError| panic!("it waits: {waits}");
    reach(Some(kubeconfig), unexpected).await.unwrap_err().to_string()
}

/// Writes to the cluster after which the daemon dies, each time before it learns how the last one
/// went: namespace, account, quota, limits, policy and two secrets; then the Pod that pulls, then its
/// deletion too, then that the namespace is prepared too; then the replica.
const DEATHS: [u32; 11] = [1, 1, 1, 1, 1, 1, 1, 1, 2, 3, 1];

#[test]
fn a_daemon_that_dies_at_any_step_leaves_what_the_next_one_mends() {
    with_faults(|bench| {
        Box::pin(async move {
            let image = bench.ship(&shell());
            let pod = small(1, image, "sleep 600");
            let pod =
                pod.with(|container| drop(container.env.insert("KEY".into(), "value".into()))).build(bench);
            let run = async |engine: &dyn Engine| {
                engine.prepare(&pod).await?;
                engine.scale(pod.id, 1).await
            };
            for writes in DEATHS {
                dies(bench, writes, async |engine| drop(run(engine).await)).await;
            }
            let there = run(bench.engine()).await.unwrap();
            assert_eq!(there.len(), 1);
            let names = bench.replicas().await.iter().map(|pod| pod.name_any()).collect::<Vec<_>>();
            assert_eq!(names, [there[0].id.clone()]);
            // The replica's deletion, and the namespace's.
            for writes in [1, 2] {
                dies(bench, writes, async |engine| drop(engine.remove(pod.id).await)).await;
            }
            bench.engine().remove(pod.id).await.unwrap();
            leaves_nothing(bench).await;

            // Removed while its images were being pulled.
            dies(bench, 8, async |engine| drop(engine.prepare(&pod).await)).await;
            assert_eq!(bench.engine().pods().await.unwrap(), [pod.id]);
            bench.engine().remove(pod.id).await.unwrap();
            leaves_nothing(bench).await;
        })
    });
}

/// The daemon dies over something, and another one is there.
async fn dies(bench: &mut Bench, writes: u32, act: impl AsyncFn(&dyn Engine)) {
    bench.api().falls_silent_after(writes);
    tokio::select! {
        () = act(bench.engine()) => panic!("it did not write {writes} times"),
        () = bench.api().silent() => {}
    }
    bench.crash();
    bench.api().answers();
    bench.restart().await;
}

async fn leaves_nothing(bench: &Bench) {
    let engine = bench.engine();
    assert_eq!(engine.pods().await.unwrap(), []);
    assert!(bench.namespaces().await.is_empty());
    for reading in engine.sample().await.unwrap() {
        assert!(reading.last, "{reading:?}");
        engine.forget(&reading.replica).await.unwrap();
    }
    assert_eq!(engine.sample().await.unwrap(), []);
}

#[test]
fn what_keeps_a_pod_from_starting_is_told_in_the_clusters_words() {
    with_engine(|bench| {
        Box::pin(async move {
            let image = bench.ship(&shell());
            let large = small(1, image, "sleep 600");
            let large = large.with(|container| container.resources.cpu = Millicores(200_000)).build(bench);
            let engine = bench.engine();
            engine.prepare(&large).await.unwrap();
            let fault = host_fault(engine.scale(large.id, 1).await);
            assert!(fault.code == "no-room" && fault.text.contains("Insufficient cpu"), "{fault}");

            let many = small(2, image, "sleep 600").build(bench);
            engine.prepare(&many).await.unwrap();
            let namespaces = bench.namespaces().await;
            let of_many = namespaces.iter().find(|namespace| {
                namespace.annotations().get("apocryph.network/channel") == Some(&many.id.to_string())
            });
            let quotas: Api<ResourceQuota> =
                Api::namespaced(bench.client().await, &of_many.unwrap().name_any());
            let none = Patch::Merge(json!({ "spec": { "hard": BTreeMap::from([("pods", "0")]) } }));
            quotas.patch("bounds", &PatchParams::default(), &none).await.unwrap();
            assert_eq!(host_fault(engine.scale(many.id, 1).await).code, "quota");
            assert!(bench.replicas().await.is_empty());

            bench.config.registry = "127.0.0.1:1".into();
            bench.restart().await;
            let pod = small(3, image, "sleep 600").build(bench);
            let fault = host_fault(bench.engine().prepare(&pod).await);
            assert!(fault.code == "image-pull" && !fault.text.contains("127.0.0.1"), "{fault}");
        })
    });
}
