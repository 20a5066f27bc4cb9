//! Sees every pod of this engine, from now on, and all else that it has in the cluster.

use std::collections::{HashMap, HashSet};
use std::fmt::Debug;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::{StreamExt as _, TryStreamExt as _};
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::core::ApiResource;
use kube::runtime::watcher;
use kube::{Api, Resource, ResourceExt as _};
use serde::de::DeserializeOwned;

use crate::cluster::Cluster;
use crate::cluster_error::ClusterError;
use crate::labels::selector;
use crate::sight::Sight;

/// How long the API server keeps one watch open, in seconds: a connection that died unseen is
/// noticed soon after.
const WATCH_SECONDS: u32 = 60;
/// How soon a watch that broke is taken up again.
const AGAIN: Duration = Duration::from_secs(1);
/// How often the log tells that a watch is broken.
const TELL_AGAIN: Duration = Duration::from_secs(60);
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
    let (mut known, mut listed) = (Pods::new(), Pods::new());
    follow(pods, own, "pods", |event| take(event, &mut known, &mut listed, &*observer), troubled).await;
}

/// Gives all that happens to what `own` selects to `take`, for as long as it is polled. `plural` is how
/// what is watched is called. A watch that breaks is taken up again.
pub(crate) async fn follow<K>(
    api: Api<K>,
    own: watcher::Config,
    plural: &str,
    mut take: impl FnMut(watcher::Event<K>),
    troubled: impl Fn(ClusterError),
) where
    K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
{
    let watch = || watcher(api.clone(), own.clone()).boxed();
    let (mut events, mut told) = (watch(), None);
    loop {
        match events.try_next().await {
            Ok(Some(event)) => take(event),
            Ok(None) => return,
            Err(error) => {
                if told.is_none_or(|told: Instant| told.elapsed() > TELL_AGAIN) {
                    tracing::warn!(%error, "the cluster's {plural} are out of sight");
                    told = Some(Instant::now());
                }
                if is_forgotten(&error) {
                    // Taken up where it was it would be refused again.
                    events = watch();
                }
                trouble(error, plural).into_iter().for_each(&troubled);
                tokio::time::sleep(AGAIN).await;
            }
        }
    }
}

/// What the API server did, where the error is its own.
fn trouble(error: watcher::Error, plural: &str) -> Option<ClusterError> {
    let source = match error {
        watcher::Error::InitialListFailed(source)
        | watcher::Error::WatchStartFailed(source)
        | watcher::Error::WatchFailed(source) => source,
        watcher::Error::WatchError(status) => kube::Error::Api(status),
        watcher::Error::NoResourceVersion => return None,
    };
    Some(ClusterError::Api { doing: format!("look at the cluster's {plural}"), source: Box::new(source) })
}

fn is_forgotten(error: &watcher::Error) -> bool {
    matches!(error, watcher::Error::WatchStartFailed(kube::Error::Api(status)) if status.code == GONE)
}

/// Tells `sight` of all of one kind of this engine's objects, as [`watch_pods`] does.
pub(crate) async fn watch_kind(
    cluster: Cluster,
    kind: ApiResource,
    sight: Arc<Sight>,
    troubled: impl Fn(ClusterError),
) {
    let own = watcher::Config::default().labels(&selector(&cluster.config.instance));
    let tell = |told| match told {
        Told::There(object) => sight.observe(&kind, object),
        Told::Gone((None, name)) => sight.gone(&kind, &name, &name),
        Told::Gone((Some(namespace), name)) => sight.gone(&kind, &namespace, &name),
        Told::All => sight.is_listed(&kind.kind),
    };
    let (api, mut listing) = (Api::all_with(cluster.client, &kind), Listing::default());
    follow(api, own, &kind.plural, |event| listing.take(event, tell), troubled).await;
}

/// Tells `sight` of all nodes.
pub(crate) async fn watch_nodes(cluster: Cluster, sight: Arc<Sight>, troubled: impl Fn(ClusterError)) {
    let tell = |told| match told {
        Told::There(node) => sight.observe_node(node),
        Told::Gone((_, name)) => sight.node_gone(&name),
        Told::All => sight.is_listed(&Node::kind(&())),
    };
    let (api, mut listing): (Api<Node>, _) = (Api::all(cluster.client), Listing::default());
    follow(api, watcher::Config::default(), "nodes", |event| listing.take(event, tell), troubled).await;
}

/// The namespace, where there is one, and the name.
type Named = (Option<String>, String);

/// What a watch tells.
enum Told<K> {
    There(K),
    Gone(Named),
    /// All that is there has been told, and no others are there.
    All,
}

/// Knows what is there, and so what is gone when all is listed anew.
#[derive(Default)]
struct Listing {
    known: HashSet<Named>,
    listed: HashSet<Named>,
}

impl Listing {
    fn take<K: Resource>(&mut self, event: watcher::Event<K>, tell: impl Fn(Told<K>)) {
        let named = |object: &K| (object.namespace(), object.name_any());
        match event {
            watcher::Event::Init => self.listed.clear(),
            watcher::Event::InitApply(object) => {
                self.listed.insert(named(&object));
                tell(Told::There(object));
            }
            watcher::Event::InitDone => {
                let earlier = std::mem::replace(&mut self.known, std::mem::take(&mut self.listed));
                earlier.difference(&self.known).for_each(|gone| tell(Told::Gone(gone.clone())));
                tell(Told::All);
            }
            watcher::Event::Apply(object) => {
                self.known.insert(named(&object));
                tell(Told::There(object));
            }
            watcher::Event::Delete(object) => {
                self.known.remove(&named(&object));
                tell(Told::Gone(named(&object)));
            }
        }
    }
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
