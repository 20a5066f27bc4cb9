//! What stands in the cluster, as it is seen: the objects of all pods but Pods themselves, and the nodes.
//!
//! ```text
//!              listed at first, and nobody has wanted it yet
//!                             |
//!  (not looked at) --begin--> v --begin--> begun --want--> wanted -- an object is not as the pod
//!         ^                                ^   |            |  |     needs it: the pod is suspect
//!         |                                +---|-- begin ---+  |
//!         +------------ give up ---------------+--- forget ----+
//! ```
//!
//! What was listed at first spares a daemon that starts to read all of it one by one; it is kept until somebody begins.
//! Afterwards no object is kept, only what they should be.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use apocryph_model::ChannelId;
use k8s_openapi::api::core::v1::{Namespace, Node};
use kube::ResourceExt as _;
use kube::api::{DynamicObject, TypeMeta};
use kube::core::ApiResource;
use serde_json::Value;
use tokio::sync::{Notify, watch};

use crate::cluster::summary;
use crate::config::Config;
use crate::covers::covers;
use crate::labels::namespace;
use crate::objects::{self, Key, Nodes, Prepared};

/// The objects of a pod that are there, all of them.
pub(crate) type There = HashMap<Key, Value>;

/// All that is seen.
pub(crate) struct Sight {
    config: Config,
    state: Mutex<State>,
    /// Kinds that have been listed.
    listed: watch::Sender<HashSet<String>>,
    suspicion: Notify,
}

#[derive(Default)]
struct State {
    nodes: BTreeMap<String, Arc<Node>>,
    /// Of the nodes.
    summary: Nodes,
    /// By namespace.
    places: HashMap<String, Place>,
    suspects: HashMap<ChannelId, HashSet<Suspicion>>,
}

/// An object that is not as it should be; `None` where that is to be found out.
type Suspicion = Option<Key>;

/// What is known of a namespace.
enum Place {
    Listed(There),
    Begun {
        /// What was wanted before, and is if this comes to nothing.
        earlier: Option<Arc<Prepared>>,
        /// What has been seen since, gone or not.
        since: HashMap<Key, Option<Value>>,
    },
    Wanted(Arc<Prepared>),
}

impl Sight {
    pub(crate) fn new(config: Config) -> Self {
        let (listed, _) = watch::channel(HashSet::new());
        Self { config, state: Mutex::default(), listed, suspicion: Notify::new() }
    }

    /// Returns once all has been listed.
    pub(crate) async fn complete(&self) {
        let kinds = objects::kinds().len() + 1;
        // The sender lives as long as this.
        let _ = self.listed.subscribe().wait_for(|listed| listed.len() == kinds).await;
    }

    /// All of a kind has been told.
    pub(crate) fn is_listed(&self, kind: &str) {
        self.listed.send_if_modified(|listed| listed.insert(kind.to_owned()));
    }

    /// An object is there, as it is told. Repeats.
    pub(crate) fn observe(&self, kind: &ApiResource, mut object: DynamicObject) {
        // In a list they do not say what they are.
        let types = TypeMeta { api_version: kind.api_version.clone(), kind: kind.kind.clone() };
        object.types = Some(types);
        object.metadata.managed_fields = None;
        let (place, name) = (place(&object), object.name_any());
        let Ok(mut value) = serde_json::to_value(object) else { return };
        if let Some(fields) = value.as_object_mut() {
            fields.remove("status");
        }
        self.tell(&place, Key::new(kind, &name), Some(value));
    }

    /// An object is gone from `place`, its namespace, or its own name where it is one.
    pub(crate) fn gone(&self, kind: &ApiResource, place: &str, name: &str) {
        self.tell(place, Key::new(kind, name), None);
    }

    fn tell(&self, name: &str, key: Key, live: Option<Value>) {
        let is_first = !self.listed.borrow().contains(&key.kind);
        let mut state = self.lock();
        if is_first && live.is_some() {
            state.places.entry(name.to_owned()).or_insert_with(|| Place::Listed(There::new()));
        }
        match state.places.get_mut(name) {
            None => {}
            Some(Place::Listed(there)) => match live {
                Some(live) => drop(there.insert(key, live)),
                None => drop(there.remove(&key)),
            },
            Some(Place::Begun { since, .. }) => drop(since.insert(key, live)),
            Some(Place::Wanted(pod)) => {
                let pod = pod.clone();
                self.judge(&mut state, &pod, key, live.as_ref());
            }
        }
    }

    /// Suspects the pod where what is at `key`, if anything, is not as the pod needs it.
    fn judge(&self, state: &mut State, pod: &Prepared, key: Key, live: Option<&Value>) {
        let suspicions = state.suspects.entry(pod.id).or_default();
        if differs(&self.config, pod, &state.summary, &key, live) {
            suspicions.insert(Some(key));
            self.suspicion.notify_one();
        } else {
            suspicions.remove(&Some(key));
        }
        if suspicions.is_empty() {
            state.suspects.remove(&pod.id);
        }
    }

    /// A node is there, as it is told. Repeats.
    pub(crate) fn observe_node(&self, mut node: Node) {
        node.metadata.managed_fields = None;
        if let Some(status) = &mut node.status {
            status.images = None;
        }
        let mut state = self.lock();
        state.nodes.insert(node.name_any(), Arc::new(node));
        self.nodes_changed(&mut state);
    }

    pub(crate) fn node_gone(&self, name: &str) {
        let mut state = self.lock();
        state.nodes.remove(name);
        self.nodes_changed(&mut state);
    }

    fn nodes_changed(&self, state: &mut State) {
        let summary = summary(state.nodes.values().map(|node| &**node));
        if summary == state.summary {
            return;
        }
        state.summary = summary;
        let wanted: Vec<_> = state.places.values().filter_map(Place::wanted).map(|pod| pod.id).collect();
        for pod in wanted {
            state.suspects.entry(pod).or_default().insert(None);
        }
        self.suspicion.notify_one();
    }

    pub(crate) fn nodes(&self) -> Vec<Arc<Node>> {
        self.lock().nodes.values().cloned().collect()
    }

    /// What the nodes are, as far as a pod's objects depend on it.
    pub(crate) fn summary(&self) -> Nodes {
        self.lock().summary.clone()
    }

    /// Somebody is about to bring a namespace to what a pod needs.
    pub(crate) fn begin<'a>(&'a self, namespace: &'a str) -> Begun<'a> {
        let place = Place::Begun { earlier: None, since: HashMap::new() };
        let mut state = self.lock();
        let before = state.places.insert(namespace.to_owned(), place);
        let wanted = before.as_ref().and_then(Place::wanted).cloned();
        if let Some(Place::Begun { earlier, .. }) = state.places.get_mut(namespace) {
            *earlier = wanted;
        }
        let there = match before {
            Some(Place::Listed(there)) => Some(there),
            _ => None,
        };
        Begun { sight: self, namespace, there }
    }

    /// From now on the namespace should be as the pod needs it.
    fn settle(&self, namespace: &str, pod: Option<Arc<Prepared>>) {
        let mut state = self.lock();
        let Some(Place::Begun { earlier, since }) = state.places.get_mut(namespace) else { return };
        let (earlier, since) = (earlier.take(), std::mem::take(since));
        let Some(pod) = pod.or(earlier) else { return drop(state.places.remove(namespace)) };
        state.places.insert(namespace.to_owned(), Place::Wanted(pod.clone()));
        for (key, live) in since {
            self.judge(&mut state, &pod, key, live.as_ref());
        }
    }

    /// Nothing is wanted of the pod any more. Gives what was.
    pub(crate) fn forget(&self, pod: ChannelId) -> Option<Arc<Prepared>> {
        let mut state = self.lock();
        state.suspects.remove(&pod);
        let place = state.places.remove(&namespace(&self.config.instance, pod));
        place.as_ref().and_then(Place::wanted).cloned()
    }

    /// What a pod's namespace should be.
    pub(crate) fn wanted(&self, pod: ChannelId) -> Option<Arc<Prepared>> {
        self.lock().places.get(&namespace(&self.config.instance, pod)).and_then(Place::wanted).cloned()
    }

    /// Returns once a pod is suspect.
    pub(crate) async fn suspicion(&self) {
        while self.lock().suspects.is_empty() {
            self.suspicion.notified().await;
        }
    }

    /// The pods of which something is not as it should be, as far as can be seen; they are suspect no more.
    pub(crate) fn take_suspects(&self) -> Vec<ChannelId> {
        std::mem::take(&mut self.lock().suspects).into_keys().collect()
    }

    /// The pod has to be looked at.
    pub(crate) fn suspect(&self, pod: ChannelId) {
        self.lock().suspects.entry(pod).or_default().insert(None);
        self.suspicion.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    fn wanted(&self) -> Option<&Arc<Prepared>> {
        match self {
            Self::Wanted(pod) => Some(pod),
            Self::Begun { earlier, .. } => earlier.as_ref(),
            Self::Listed(_) => None,
        }
    }
}

/// The time while somebody brings a namespace to what a pod needs. Where it ends by itself, that came to nothing.
pub(crate) struct Begun<'a> {
    sight: &'a Sight,
    namespace: &'a str,
    /// All that was there, where that is known.
    pub(crate) there: Option<There>,
}

impl Begun<'_> {
    /// The namespace is as the pod needs it, and should stay so.
    pub(crate) fn want(self, pod: Arc<Prepared>) {
        self.sight.settle(self.namespace, Some(pod));
    }
}

impl Drop for Begun<'_> {
    fn drop(&mut self) {
        self.sight.settle(self.namespace, None);
    }
}

/// The namespace that an object is in, or is.
fn place(object: &DynamicObject) -> String {
    object.namespace().unwrap_or_else(|| object.name_any())
}

/// The names of those of a kind that are there, but of those that are about to go.
pub(crate) fn names(there: &There, kind: &ApiResource) -> Vec<String> {
    let stays = |value: &Value| value["metadata"]["deletionTimestamp"].is_null();
    let of_kind = there.iter().filter(|(key, value)| key.kind == kind.kind && stays(value));
    of_kind.map(|(key, _)| key.name.clone()).collect()
}

/// The namespace, where it is there to stay.
pub(crate) fn namespace_of(there: &There, name: &str) -> Option<Namespace> {
    let key = Key::new(&ApiResource::erase::<Namespace>(&()), name);
    let namespace: Namespace = serde_json::from_value(there.get(&key)?.clone()).ok()?;
    namespace.metadata.deletion_timestamp.is_none().then_some(namespace)
}

/// Whether the object that is at `key`, if any, is not as the pod needs it.
fn differs(config: &Config, pod: &Prepared, nodes: &Nodes, key: &Key, live: Option<&Value>) -> bool {
    let namespace = objects::namespace(config, pod, Some(&pod.digest.hex()));
    let standing = objects::standing(config, pod, nodes);
    let wanted = standing.iter().chain([&namespace]).find(|object| object.key() == *key);
    match (wanted, live) {
        (Some(wanted), live) => live.is_none_or(|live| !covers(live, &wanted.value)),
        (None, Some(live)) => {
            let is_of_specs = objects::kinds_of_specs().iter().any(|kind| kind.kind == key.kind);
            is_of_specs && live["metadata"]["deletionTimestamp"].is_null()
        }
        (None, None) => false,
    }
}
