//! Sees every pod of this engine, from now on.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt as _, TryStreamExt as _};
use k8s_openapi::api::core::v1::Pod;
use kube::runtime::watcher;
use kube::{Api, ResourceExt as _};

use crate::cluster::Cluster;
use crate::cluster_error::ClusterError;
use crate::labels::selector;

/// How long the API server keeps one watch open, in seconds: a connection that died unseen is
/// noticed soon after.
const WATCH_SECONDS: u32 = 60;
/// How soon a watch that broke is taken up again.
const AGAIN: Duration = Duration::from_secs(1);
/// The status of a version of the list that the API server does not remember.
const GONE: u16 = 410;

/// What is told of pods. Called in the order of events, by one task.
pub(crate) trait Observer: Send + Sync {
    /// The pod is there, as it is told. Repeats.
    fn observe(&self, pod: Arc<Pod>);

    /// The pod is gone; this is the last that was known of it.
    fn gone(&self, pod: Arc<Pod>);

    /// All pods that are there have been told, and no others are there.
    fn complete(&self, there: &HashMap<String, Arc<Pod>>);
}

/// Tells `observer` of all pods of this engine for as long as it is polled. A watch that breaks is
/// taken up again; what was missed meanwhile is told then. `troubled` is told each time why it broke.
pub(crate) async fn watch_pods(
    cluster: Cluster,
    observer: Arc<impl Observer>,
    troubled: impl Fn(ClusterError),
) {
    let pods: Api<Pod> = Api::all(cluster.client.clone());
    let own = watcher::Config::default().labels(&selector(&cluster.config.instance)).timeout(WATCH_SECONDS);
    let watch = || watcher(pods.clone(), own.clone()).boxed();
    let (mut events, mut known, mut listed) = (watch(), Pods::new(), Pods::new());
    loop {
        match events.try_next().await {
            Ok(Some(event)) => take(event, &mut known, &mut listed, &*observer),
            Ok(None) => return,
            Err(error) => {
                tracing::warn!(%error, "the cluster's pods are out of sight");
                if is_forgotten(&error) {
                    // Taken up where it was it would be refused again.
                    events = watch();
                }
                trouble(error).into_iter().for_each(&troubled);
                tokio::time::sleep(AGAIN).await;
            }
        }
    }
}

/// What the API server did, where the error is its own.
fn trouble(error: watcher::Error) -> Option<ClusterError> {
    let source = match error {
        watcher::Error::InitialListFailed(source)
        | watcher::Error::WatchStartFailed(source)
        | watcher::Error::WatchFailed(source) => source,
        watcher::Error::WatchError(status) => kube::Error::Api(status),
        watcher::Error::NoResourceVersion => return None,
    };
    Some(ClusterError::Api { doing: "look at the cluster's pods".into(), source: Box::new(source) })
}

fn is_forgotten(error: &watcher::Error) -> bool {
    matches!(error, watcher::Error::WatchStartFailed(kube::Error::Api(status)) if status.code == GONE)
}

type Pods = HashMap<String, Arc<Pod>>;

fn take(event: watcher::Event<Pod>, known: &mut Pods, listed: &mut Pods, observer: &dyn Observer) {
    match event {
        watcher::Event::Init => listed.clear(),
        watcher::Event::InitApply(pod) => {
            listed.insert(pod.name_any(), Arc::new(pod));
        }
        watcher::Event::InitDone => {
            let earlier = std::mem::replace(known, std::mem::take(listed));
            for (name, pod) in earlier {
                if !known.contains_key(&name) {
                    observer.gone(pod);
                }
            }
            known.values().for_each(|pod| observer.observe(pod.clone()));
            observer.complete(known);
        }
        watcher::Event::Apply(pod) => {
            let pod = Arc::new(pod);
            known.insert(pod.name_any(), pod.clone());
            observer.observe(pod);
        }
        watcher::Event::Delete(pod) => {
            known.remove(&pod.name_any());
            observer.gone(Arc::new(pod));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    #[derive(Default)]
    struct Told(Mutex<Vec<String>>);

    impl Observer for Told {
        fn observe(&self, pod: Arc<Pod>) {
            self.0.lock().unwrap().push(format!("+{}", pod.name_any()));
        }

        fn gone(&self, pod: Arc<Pod>) {
            self.0.lock().unwrap().push(format!("-{}", pod.name_any()));
        }

        fn complete(&self, there: &Pods) {
            self.0.lock().unwrap().push(format!("={}", there.len()));
        }
    }

    #[test]
    fn what_was_missed_between_two_watches_is_told() {
        let pod = |name: &str| {
            let mut pod = Pod::default();
            pod.metadata.name = Some(name.into());
            pod
        };
        let (told, mut known, mut listed) = (Told::default(), Pods::new(), Pods::new());
        let mut tell = |event| take(event, &mut known, &mut listed, &told);
        for event in [watcher::Event::Init, watcher::Event::InitApply(pod("a")), watcher::Event::InitDone] {
            tell(event);
        }
        tell(watcher::Event::Apply(pod("b")));
        tell(watcher::Event::Init);
        tell(watcher::Event::InitApply(pod("b")));
        tell(watcher::Event::InitDone);
        tell(watcher::Event::Delete(pod("b")));
        assert_eq!(*told.0.lock().unwrap(), ["+a", "=1", "+b", "-a", "+b", "=1", "-b"]);
    }
}
