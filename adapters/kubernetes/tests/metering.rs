//! What replicas used, as it is billed, against what the cluster and the kernel say. Needs a cluster.

#![expect(clippy::unwrap_used, reason = "these are tests: what fails is to panic")]

mod support;

use std::path::{Path, PathBuf};
use std::time::Duration;

use apocryph_provider::{Engine, Reading};
use apocryph_testbed::engine_conformance::{PodUnderTest, Subject as _, shell};
use futures::{StreamExt as _, TryStreamExt as _};
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::runtime::{WatchStreamExt as _, watcher};
use support::{with_engine, within};

/// The only reading, once it is the last.
async fn last(engine: &dyn Engine) -> Reading {
    within("the last reading is there", async || {
        engine.sample().await.unwrap().into_iter().find(|reading| reading.last)
    })
    .await
}

#[test]
fn two_seconds_between_two_samples_are_billed_as_two() {
    with_engine(|bench| {
        Box::pin(async move {
            let image = bench.ship(&shell());
            let pod = PodUnderTest::new(1, image).container("main", "sleep 2; exit 1").build(bench);
            bench.engine().prepare(&pod).await.unwrap();
            let pods: Api<Pod> = Api::all(bench.client().await);
            let own = watcher::Config::default().labels(&format!(
                "apocryph.network/instance={},apocryph.network/role=replica",
                bench.instance()
            ));
            let seen = watcher(pods, own).default_backoff().applied_objects();
            let seen =
                tokio::spawn(seen.try_filter_map(async |pod| Ok(lifetime(&pod))).boxed().into_future());
            let replica = bench.engine().scale(pod.id, 1).await.unwrap().remove(0);
            bench.engine().ended(pod.id, &replica.id).await.unwrap().expect("it ended by itself");
            let told = seen.await.unwrap().0.unwrap().unwrap();
            assert!((2000..=3000).contains(&told), "in whole seconds, {told} ms");
            assert_eq!(last(bench.engine()).await.running_ms, told);
        })
    });
}

/// What the cluster tells of how long it ran.
fn lifetime(pod: &Pod) -> Option<u64> {
    let status = pod.status.as_ref()?.container_statuses.as_ref()?.first()?;
    let ended = status.state.as_ref()?.terminated.as_ref()?;
    let [start, end] =
        [&ended.started_at, &ended.finished_at].map(|time| time.as_ref().map(|t| t.0.as_millisecond()));
    u64::try_from(end? - start?).ok()
}

#[test]
fn bursts_are_billed_as_the_kernel_counts_them() {
    with_engine(|bench| {
        Box::pin(async move {
            let image = bench.ship(&shell());
            let burst = "i=0; while [ $i -lt 900000 ]; do i=$((i+1)); done";
            let script = format!(
                "for n in 0 1 2 3 4 5 6 7 8 9 10 11; do {burst}; echo; sleep 0.5; done; {burst}; {burst}; echo; sleep 600"
            );
            let pod = PodUnderTest::new(1, image).container("main", &script).build(bench);
            let engine = bench.engine();
            engine.prepare(&pod).await.unwrap();
            engine.scale(pod.id, 1).await.unwrap();
            let uid = bench.replicas().await.remove(0).metadata.uid.unwrap();
            let Some(cgroup) = cgroup(Path::new("/sys/fs/cgroup/cpuacct"), &uid) else {
                return eprintln!("skipped: the node's cgroups are not this host's");
            };
            let counted = tokio::spawn(count(cgroup));
            let query = apocryph_model::LogQuery { follow: true, ..apocryph_model::LogQuery::default() };
            let lines = engine.logs(pod.id, query).await.unwrap().take(13).count();
            tokio::time::timeout(Duration::from_secs(120), lines).await.unwrap();
            // In the same moment in which it was busy.
            assert_eq!(engine.scale(pod.id, 0).await.unwrap(), []);
            let billed = last(engine).await.cpu_us;
            let counted = counted.await.unwrap();
            println!("{billed} of {counted} microseconds are billed");
            assert!(counted > 3_000_000, "{counted} are too few to tell");
            assert!(billed <= counted && billed * 100 >= counted * 99, "{billed} of {counted} are billed");
        })
    });
}

/// What the kernel counted of all processes that ever were in it, once it is gone.
async fn count(cgroup: PathBuf) -> u64 {
    let mut counted = 0;
    while let Ok(nanoseconds) = std::fs::read_to_string(cgroup.join("cpuacct.usage")) {
        counted = nanoseconds.trim().parse::<u64>().unwrap() / 1000;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    counted
}

/// The cgroup of a whole pod; where the node is this host.
fn cgroup(folder: &Path, uid: &str) -> Option<PathBuf> {
    for entry in std::fs::read_dir(folder).ok()?.flatten().filter(|entry| entry.path().is_dir()) {
        if entry.file_name().to_string_lossy().replace('_', "-").contains(uid) {
            return Some(entry.path());
        }
        if let Some(found) = cgroup(&entry.path(), uid) {
            return Some(found);
        }
    }
    None
}
