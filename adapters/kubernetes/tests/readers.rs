//! What replicas used to their end, as the node's reader and the engine tell it, against what the kernel
//! says. Needs a cluster whose node's cgroups are this host's.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "these are tests: they tell by panics and lines"
)]

mod node;
mod support;

use std::sync::Arc;

use apocryph_model::{ChannelId, LogQuery};
use apocryph_provider::{Engine, EnginePod, Reading, Replica};
use apocryph_testbed::engine_conformance::{PodUnderTest, Subject as _, shell};
use futures::StreamExt as _;
use kube::ResourceExt as _;
use node::{Count, Node};
use support::{Bench, with_engine, within};
use tokio::net::TcpStream;

/// Uses half a second of processor time, and says so.
const BURST: &str = "i=0; while [ $i -lt 700000 ]; do i=$((i+1)); done; echo done";
/// Goes on until it is told to end, and then uses some more.
const LONGER: &str =
    "trap 'i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done; exit 0' TERM; sleep 600 & wait";

/// An engine that asks a reader; `None`, and a line that says why, where there can be none.
async fn with_reader(bench: &mut Bench) -> Option<Node> {
    let node = Node::new(bench).await?;
    bench.readers = Some(Arc::new(node.readers()));
    bench.restart().await;
    assert!(node.is_connected().await);
    Some(node)
}

/// A pod with one container; prepared.
async fn prepared(bench: &Bench, number: u8, script: &str) -> EnginePod {
    let pod = PodUnderTest::new(number, bench.ship(&shell())).container("main", script).build(bench);
    bench.engine().prepare(&pod).await.unwrap();
    pod
}

/// Counts what the pod's only replica uses, from the outside.
async fn counted(bench: &Bench, pod: ChannelId) -> Count {
    let of_pod = |replica: &k8s_openapi::api::core::v1::Pod| {
        replica.annotations().get("apocryph.network/channel") == Some(&pod.to_string())
    };
    let mut replicas = bench.replicas().await.into_iter().filter(of_pod);
    Count::of(&replicas.next().unwrap().metadata.uid.unwrap())
}

async fn burst_is_over(engine: &dyn Engine, pod: ChannelId) {
    let query = LogQuery { follow: true, ..LogQuery::default() };
    let lines = engine.logs(pod, query).await.unwrap().take(1).count();
    tokio::time::timeout(support::PATIENCE, lines).await.unwrap();
}

/// The last reading of the pod's replica.
async fn last(engine: &dyn Engine, pod: ChannelId) -> Reading {
    let is_last = |reading: &Reading| reading.pod == pod && reading.last;
    let read = async || engine.sample().await.unwrap().into_iter().find(is_last);
    within("the last reading is there", read).await
}

/// What is billed is what the kernel counted, to a hundredth of it.
fn is_exact(how: &str, billed: &Reading, counted: Count) {
    let (billed, (counted, stood)) = (billed.cpu_us, counted.total());
    println!("{how}: {billed} of {counted} microseconds are billed; they stood there for {stood:?}");
    assert!(counted > 300_000, "{how}: {counted} are too few to tell");
    assert!(billed.abs_diff(counted) * 100 <= counted, "{how}: {billed} of {counted} are billed");
}

#[test]
fn every_end_is_billed_to_its_last_moment() {
    with_engine(|bench| {
        Box::pin(async move {
            let Some(_node) = with_reader(bench).await else { return };
            let bench = &*bench;
            let idle = async {
                let (pod, counted) = busy(bench, 1, LONGER).await;
                assert_eq!(bench.engine().scale(pod, 0).await.unwrap(), []);
                is_exact("stopped", &last(bench.engine(), pod).await, counted);
            };
            let removal = async {
                let (pod, counted) = busy(bench, 2, LONGER).await;
                bench.engine().remove(pod).await.unwrap();
                is_exact("removed", &last(bench.engine(), pod).await, counted);
            };
            let request = async {
                let (pod, counted) = busy(bench, 3, LONGER).await;
                bench.engine().scale(pod, 0).await.unwrap();
                bench.engine().scale(pod, 1).await.unwrap();
                is_exact("asked for right after", &last(bench.engine(), pod).await, counted);
                bench.engine().remove(pod).await.unwrap();
            };
            let crash = async {
                let (pod, counted) = busy(bench, 4, "kill -9 $$").await;
                bench.engine().scale(pod, 0).await.unwrap();
                is_exact("crashed", &last(bench.engine(), pod).await, counted);
            };
            let exit = async {
                let (pod, counted) = busy(bench, 5, "exit 0").await;
                bench.engine().scale(pod, 0).await.unwrap();
                is_exact("ended by itself", &last(bench.engine(), pod).await, counted);
            };
            // Two at a time, as there are cores.
            futures::join!(async { futures::join!(idle, crash) }, async {
                removal.await;
                request.await;
                exit.await;
            });
        })
    });
}

/// Starts a pod that works for a while and then does something else, in the moment when it does.
async fn busy(bench: &Bench, number: u8, then: &str) -> (ChannelId, Count) {
    let (replica, counted) = begun(bench, number, then).await;
    let pod = ChannelId([number; 32]);
    match then {
        LONGER => burst_is_over(bench.engine(), pod).await,
        _ => assert!(bench.engine().ended(pod, &replica.id).await.unwrap().is_some()),
    }
    (pod, counted)
}

/// The same, once it has begun: it waits until it is counted.
async fn begun(bench: &Bench, number: u8, then: &str) -> (Replica, Count) {
    let pod = prepared(bench, number, &format!("nc -l -p 8080 </dev/null; {BURST}; {then}")).await;
    let replica = bench.engine().scale(pod.id, 1).await.unwrap().remove(0);
    let counted = counted(bench, pod.id).await;
    within("it is told to begin", async || TcpStream::connect((replica.address, 8080)).await.ok()).await;
    (replica, counted)
}

#[test]
fn an_end_without_the_daemon_is_billed_by_the_next_one() {
    with_engine(|bench| {
        Box::pin(async move {
            let Some(_node) = with_reader(bench).await else { return };
            let (exits, stopped) = (ChannelId([1; 32]), ChannelId([2; 32]));
            let goes_on = format!("nc -l -p 9090 </dev/null; {BURST}; exit 1");
            let ((exiting, of_exit), (_, of_stop)) =
                futures::join!(begun(bench, 1, &goes_on), begun(bench, 2, LONGER));
            burst_is_over(bench.engine(), stopped).await;
            // One ends by itself while there is no daemon, the other one was asked to end before.
            bench.engine().scale(stopped, 0).await.unwrap();
            within("its end is asked for", async || {
                let replicas = bench.replicas().await;
                replicas.iter().any(|pod| pod.metadata.deletion_timestamp.is_some()).then_some(())
            })
            .await;
            bench.crash();
            within("it goes on", async || TcpStream::connect((exiting.address, 9090)).await.ok()).await;
            within("nothing uses processor time", async || {
                (of_exit.is_over() && of_stop.is_over()).then_some(())
            })
            .await;
            within("only one Pod is left", async || (bench.replicas().await.len() == 1).then_some(())).await;
            bench.restart().await;
            bench.engine().scale(exits, 0).await.unwrap();
            is_exact("ended meanwhile", &last(bench.engine(), exits).await, of_exit);
            is_exact("gone meanwhile", &last(bench.engine(), stopped).await, of_stop);
        })
    });
}

#[test]
fn a_reader_that_is_away_is_unknown_and_never_less() {
    with_engine(|bench| {
        Box::pin(async move {
            let Some(mut node) = with_reader(bench).await else { return };
            let bench = &*bench;
            let (cut, of_cut) = busy(bench, 1, LONGER).await;
            let (lost, of_lost) = busy(bench, 2, LONGER).await;
            let reading = async |pod| {
                let readings = bench.engine().sample().await.unwrap();
                readings.into_iter().find(|reading| reading.pod == pod).unwrap()
            };
            let before = reading(lost).await;
            assert!(before.cpu_us > 300_000, "{before:?}");

            // The link breaks while a replica ends, and is there again.
            node.cut();
            let ending = async {
                bench.engine().remove(cut).await.unwrap();
                last(bench.engine(), cut).await
            };
            let back = async {
                within("it has ended", async || of_cut.is_over().then_some(())).await;
                node.link();
            };
            let (billed, ()) = futures::join!(ending, back);
            is_exact("out of sight", &billed, of_cut);

            // The reader is gone, with what it knew.
            node.forget();
            bench.engine().remove(lost).await.unwrap();
            let after = last(bench.engine(), lost).await;
            assert!(
                after.cpu_us >= before.cpu_us && after.running_ms >= before.running_ms,
                "{after:?} {before:?}"
            );
            assert!(after.cpu_us <= of_lost.total().0, "and nothing twice");
        })
    });
}
