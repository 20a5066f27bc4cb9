//! Brings namespaces to what pods need, and keeps them so.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use apocryph_model::{ChannelId, Fault, Name, Who};
use apocryph_provider::{EngineError, EnginePod, Turns};
use apocryph_seal::sha256;
use k8s_openapi::api::core::v1::{Namespace, NamespaceCondition, Node};
use kube::ResourceExt as _;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use crate::cluster::{Cluster, takes_pods};
use crate::cluster_error::ClusterError;
use crate::labels::{SPEC, namespace};
use crate::node_registry::{NodeImage, NodeRegistry, Shipped};
use crate::objects::{self, Key, Object, Prepared};
use crate::pod_state::words;
use crate::pull::pull;
use crate::record::Records;
use crate::sight::{Sight, There, names, namespace_of};

/// How long a namespace may take to go with all in it, how long where something of it is held by
/// a finalizer, and how often it is looked at.
const REMOVE_TIMEOUT: Duration = Duration::from_secs(60);
const HELD_TIMEOUT: Duration = Duration::from_secs(10);
const REMOVE_PERIOD: Duration = Duration::from_millis(500);
/// Pods of which something is put back at a time, how often, and how soon again after a failure.
const MENDED_AT_A_TIME: usize = 8;
const MEND_PERIOD: Duration = Duration::from_secs(1);
const MEND_AGAIN: Duration = Duration::from_secs(5);

/// The namespaces of all pods. Whoever calls for a pod has its turn.
pub(crate) struct Standing {
    pub(crate) cluster: Cluster,
    pub(crate) registry: Arc<dyn NodeRegistry>,
    pub(crate) records: Records,
    pub(crate) sight: Arc<Sight>,
    /// Calls for one pod come one after the other.
    pub(crate) turns: Turns<ChannelId>,
}

impl Standing {
    pub(crate) fn namespace(&self, pod: ChannelId) -> String {
        namespace(&self.cluster.config.instance, pod)
    }

    /// Opens the pod's images to the nodes.
    async fn open_images(&self, pod: &EnginePod) -> Result<Prepared, EngineError> {
        let mut images = HashMap::new();
        for container in &pod.spec.containers {
            let shipped = Shipped {
                pod: pod.id,
                token: &pod.registry_token,
                key: &pod.image_key,
                image: container.image,
                user: container.user.as_deref(),
            };
            let image = self.registry.open(shipped).await?;
            let has_words =
                |words: &Option<Vec<String>>| words.as_ref().is_some_and(|words| !words.is_empty());
            if !has_words(&container.entrypoint) && !has_words(&container.command) && !image.has_command {
                return Err(command_missing(&container.name));
            }
            images.insert(container.name.clone(), image);
        }
        Ok(Prepared {
            id: pod.id,
            publisher: pod.publisher,
            namespace: self.namespace(pod.id),
            spec: pod.spec.clone(),
            digest: sha256(&pod.spec.to_json()),
            images,
            token: pod.registry_token.clone(),
        })
    }

    /// Brings the pod's namespace to what it needs. Where that fails it is what it was.
    pub(crate) async fn prepare(&self, pod: &EnginePod) -> Result<(), EngineError> {
        let prepared = Arc::new(self.open_images(pod).await?);
        let begun = self.sight.begin(&prepared.namespace);
        self.prepare_from(&prepared, begun.there.as_ref()).await?;
        begun.want(prepared.clone());
        Ok(())
    }

    async fn prepare_from(&self, pod: &Prepared, there: Option<&There>) -> Result<(), EngineError> {
        let earlier = self.earlier(pod, there).await?;
        self.records.know(pod.id)?;
        if let Err(error) = self.apply(pod, earlier.as_ref(), there).await {
            self.put_back(pod, earlier.is_none()).await?;
            return Err(error);
        }
        Ok(self.prune(pod, there).await?)
    }

    /// The pod's namespace, where it is there; one that is about to go is an error.
    async fn earlier(
        &self,
        pod: &Prepared,
        there: Option<&There>,
    ) -> Result<Option<Namespace>, ClusterError> {
        let seen = there.and_then(|there| namespace_of(there, &pod.namespace));
        if seen.is_some() {
            return Ok(seen);
        }
        let earlier = self.cluster.namespace(&pod.namespace).await?;
        match earlier.as_ref().and_then(|namespace| namespace.metadata.deletion_timestamp.as_ref()) {
            None => Ok(earlier),
            Some(_) => Err(terminating(earlier.as_ref(), pod.namespace.clone())),
        }
    }

    /// Brings all that stands there to what the pod needs, and the images to the nodes; how many objects
    /// were written.
    async fn apply(
        &self,
        pod: &Prepared,
        earlier: Option<&Namespace>,
        there: Option<&There>,
    ) -> Result<usize, EngineError> {
        let (nodes, config) = (self.sight.nodes(), &self.cluster.config);
        check_platforms(pod, &nodes)?;
        let before = earlier.and_then(|namespace| namespace.annotations().get(SPEC).cloned());
        let mut written = self.bring(&objects::namespace(config, pod, before.as_deref()), there).await?;
        for object in &self.wanted(pod) {
            written += self.bring(object, there).await?;
        }
        let digest = pod.digest.hex();
        if before.as_ref() != Some(&digest) {
            let names = nodes.iter().filter(|node| takes_pods(node)).map(|node| node.name_any());
            pull(&self.cluster, &*self.registry, pod, names.collect::<BTreeSet<_>>()).await?;
            written += self.bring(&objects::namespace(config, pod, Some(&digest)), None).await?;
        }
        Ok(written)
    }

    fn wanted(&self, pod: &Prepared) -> Vec<Object> {
        objects::standing(&self.cluster.config, pod, &self.sight.summary())
    }

    /// How many were written: one or none.
    async fn bring(&self, object: &Object, there: Option<&There>) -> Result<usize, ClusterError> {
        let written = match there {
            Some(there) => self.cluster.bring(there.get(&object.key()), object).await,
            None => self.cluster.apply(object).await,
        };
        written.map(usize::from)
    }

    /// Takes away what the pod's spec does not name.
    async fn prune(&self, pod: &Prepared, there: Option<&There>) -> Result<(), ClusterError> {
        let wanted: HashSet<_> = self.wanted(pod).iter().map(Object::key).collect();
        for kind in objects::kinds_of_specs() {
            let names = match there {
                Some(there) => names(there, &kind),
                None => self.cluster.names(&pod.namespace, &kind).await?,
            };
            for name in names {
                if !wanted.contains(&Key::new(&kind, &name)) {
                    self.cluster.delete(&pod.namespace, &kind, &name).await?;
                }
            }
        }
        Ok(())
    }

    /// Undoes what a failed `prepare` did.
    async fn put_back(&self, pod: &Prepared, is_new: bool) -> Result<(), EngineError> {
        if is_new {
            self.remove_namespace(pod.id).await?;
            return Ok(self.records.forget(pod.id)?);
        }
        // Without the earlier version at hand, what is too much waits for the next that succeeds.
        let Some(earlier) = self.sight.wanted(pod.id) else { return Ok(()) };
        for object in &self.wanted(&earlier) {
            self.cluster.apply(object).await?;
        }
        Ok(self.prune(&earlier, None).await?)
    }

    /// Takes the namespace away and waits until it is gone.
    pub(crate) async fn remove_namespace(&self, pod: ChannelId) -> Result<(), ClusterError> {
        let name = self.namespace(pod);
        self.cluster.delete_namespace(&name).await?;
        let (begun, mut held_since) = (Instant::now(), None);
        while let Some(there) = self.cluster.namespace(&name).await? {
            let since = |since: Option<Instant>| since.unwrap_or_else(Instant::now);
            held_since = is_held(&there).then(|| since(held_since));
            let held = held_since.is_some_and(|since| since.elapsed() > HELD_TIMEOUT);
            if held || begun.elapsed() > REMOVE_TIMEOUT {
                return Err(terminating(Some(&there), name));
            }
            sleep(REMOVE_PERIOD).await;
        }
        Ok(())
    }

    /// Puts back what others change, for as long as it is polled.
    pub(crate) async fn keep(self: Arc<Self>) {
        let mut mending = JoinSet::new();
        loop {
            self.sight.suspicion().await;
            // What this has written itself is seen a moment later.
            sleep(MEND_PERIOD).await;
            for pod in self.sight.take_suspects() {
                while mending.len() >= MENDED_AT_A_TIME {
                    mending.join_next().await;
                }
                mending.spawn(self.clone().mend(pod));
            }
            while mending.try_join_next().is_some() {}
        }
    }

    async fn mend(self: Arc<Self>, pod: ChannelId) {
        match self.try_mend(pod).await {
            Ok(0) => {}
            Ok(written) => {
                metrics::counter!("apocryph_cluster_put_back_total").increment(written as u64);
                tracing::warn!(%pod, written, "put back what others changed");
            }
            Err(error) => {
                tracing::warn!(%pod, %error, "cannot put back what others changed, and try again");
                sleep(MEND_AGAIN).await;
                self.sight.suspect(pod);
            }
        }
    }

    /// How many objects were written.
    async fn try_mend(&self, pod: ChannelId) -> Result<usize, EngineError> {
        let Some(_turn) = self.turns.try_take(pod) else {
            // Who has it may change what is wanted.
            self.sight.suspect(pod);
            return Ok(0);
        };
        let Some(pod) = self.sight.wanted(pod) else { return Ok(0) };
        let earlier = self.earlier(&pod, None).await?;
        let written = self.apply(&pod, earlier.as_ref(), None).await?;
        self.prune(&pod, None).await?;
        Ok(written)
    }
}

fn conditions(namespace: &Namespace) -> impl Iterator<Item = &NamespaceCondition> {
    let conditions = namespace.status.as_ref().and_then(|status| status.conditions.as_deref());
    conditions.unwrap_or_default().iter().filter(|condition| condition.status == "True")
}

/// Whether somebody keeps something of it from going.
fn is_held(namespace: &Namespace) -> bool {
    conditions(namespace).any(|condition| condition.type_ == "NamespaceFinalizersRemaining")
}

/// What the cluster itself says of a namespace that does not go.
fn terminating(namespace: Option<&Namespace>, name: String) -> ClusterError {
    let conditions = namespace.into_iter().flat_map(conditions);
    let said: Vec<&str> = conditions.filter_map(|condition| condition.message.as_deref()).collect();
    ClusterError::Terminating { name, waits_for: words(&said.join("; ")) }
}

fn command_missing(container: &Name) -> EngineError {
    let text = format!("container {container}: neither it nor its image says what to run: give it a command");
    EngineError::Pod(Fault::lasting(Who::Publisher, "command-missing", text))
}

/// That some node runs what the images are for.
fn check_platforms(pod: &Prepared, nodes: &[Arc<Node>]) -> Result<(), EngineError> {
    let of_node = |node: &Arc<Node>| Some(node.status.as_ref()?.node_info.as_ref()?.architecture.clone());
    let there: BTreeSet<String> = nodes.iter().filter_map(of_node).collect();
    let foreign = |image: &&NodeImage| !there.contains(&image.architecture);
    match pod.images.values().find(foreign).filter(|_| !there.is_empty()) {
        None => Ok(()),
        Some(image) => {
            let there: Vec<String> = there.into_iter().map(|name| format!("linux/{name}")).collect();
            let (found, expected) = (&image.architecture, there.join(", "));
            let text = format!("the image is for linux/{found}, this provider runs {expected}");
            Err(EngineError::Pod(Fault::lasting(Who::Publisher, "image-platform", text)))
        }
    }
}
