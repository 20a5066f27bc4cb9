//! The engine of a cluster, as the provider drives it.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use apocryph_model::{ChannelId, Fault, LogLine, LogQuery, Name, Who};
use apocryph_provider::{Engine, EngineError, EnginePod, Reading, Replica, ReplicaEnd, Turns};
use apocryph_seal::sha256;
use async_trait::async_trait;
use futures::stream::{self, BoxStream, StreamExt as _, TryStreamExt as _};
use k8s_openapi::api::core::v1::{Namespace, NamespaceCondition, Node};
use kube::ResourceExt as _;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep};

use crate::cluster::{Cluster, summary, takes_pods};
use crate::cluster_error::ClusterError;
use crate::config::Config;
use crate::labels::{CHANNEL, SPEC, namespace};
use crate::node_readers::NodeReaders;
use crate::node_registry::{NodeImage, NodeRegistry, Shipped};
use crate::objects::{self, Object, Prepared};
use crate::pod_logs::PodLogs;
use crate::pod_state::words;
use crate::pull::pull;
use crate::reach::first_look;
use crate::reading::keep_reading;
use crate::record::Records;
use crate::replicas::Replicas;
use crate::watch::watch_pods;

/// How long a namespace may take to go with all in it, how long where something of it is held by
/// a finalizer, and how often it is looked at.
const REMOVE_TIMEOUT: Duration = Duration::from_secs(60);
const HELD_TIMEOUT: Duration = Duration::from_secs(10);
const REMOVE_PERIOD: Duration = Duration::from_millis(500);

/// Runs pods in a Kubernetes cluster. What runs goes on when this value, or its whole process, is
/// gone; opening an engine with the same configuration takes over.
pub struct KubernetesEngine {
    cluster: Cluster,
    registry: Arc<dyn NodeRegistry>,
    records: Records,
    logs: Arc<PodLogs>,
    replicas: Arc<Replicas>,
    prepared: Mutex<HashMap<ChannelId, Arc<Prepared>>>,
    /// Calls for one pod come one after the other.
    turns: Turns<ChannelId>,
    watch: AbortHandle,
}

impl KubernetesEngine {
    /// Takes over what runs. See [`check`](crate::check) for what the cluster must have. Where nodes have
    /// `readers`, processor time is theirs, and else the kubelets'. Returns once all pods have been seen;
    /// `waits` is told each time why they have not yet.
    ///
    /// # Errors
    /// [`ClusterError`] where waiting does not help, as of [`reach`](crate::reach()).
    pub async fn open(
        config: Config,
        registry: Arc<dyn NodeRegistry>,
        readers: Option<Arc<dyn NodeReaders>>,
        waits: impl FnMut(&ClusterError),
    ) -> Result<Self, ClusterError> {
        let records = Records::open(&config.data_dir)?;
        let cluster = Cluster::open(config).await?;
        let logs = Arc::new(PodLogs::new(cluster.clone(), records.clone()));
        let replicas = Replicas::open(cluster.clone(), records.clone(), logs.clone(), readers)?;
        let (trouble, troubles) = mpsc::unbounded_channel();
        // Nobody listens after the first look.
        let troubled = move |error| drop(trouble.send(error));
        let watch = tokio::spawn(watch_pods(cluster.clone(), replicas.clone(), troubled)).abort_handle();
        tokio::spawn(keep_reading(Arc::downgrade(&replicas)));
        let (prepared, turns) = Default::default();
        let engine = Self { cluster, registry, records, logs, replicas, prepared, turns, watch };
        first_look(engine.replicas.complete(), troubles, waits).await?;
        Ok(engine)
    }

    fn prepared(&self, pod: ChannelId) -> Option<Arc<Prepared>> {
        lock(&self.prepared).get(&pod).cloned()
    }

    fn namespace(&self, pod: ChannelId) -> String {
        namespace(&self.cluster.config.instance, pod)
    }

    /// Ends at once what was stopped and waits for its last reading, before the daemon goes.
    ///
    /// # Errors
    /// Something is still there; the next engine sees to it.
    pub async fn close(&self) -> Result<(), ClusterError> {
        self.stop_all(self.replicas.of_no_use()).await
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

    /// Brings the namespace to what the pod needs, and the images to the nodes.
    async fn apply(&self, pod: &Prepared, earlier: Option<&Namespace>) -> Result<Vec<Object>, EngineError> {
        let nodes = self.cluster.nodes().await?;
        check_platforms(pod, &nodes)?;
        let config = &self.cluster.config;
        let before = earlier.and_then(|namespace| namespace.annotations().get(SPEC).cloned());
        self.cluster.apply(&objects::namespace(config, pod, before.as_deref())).await?;
        let standing = objects::standing(config, pod, &summary(&nodes));
        for object in &standing {
            self.cluster.apply(object).await?;
        }
        let digest = pod.digest.hex();
        if before.as_ref() != Some(&digest) {
            let names = nodes.iter().filter(|node| takes_pods(node)).map(|node| node.name_any());
            pull(&self.cluster, &*self.registry, pod, names.collect::<BTreeSet<_>>()).await?;
            self.cluster.apply(&objects::namespace(config, pod, Some(&digest))).await?;
        }
        Ok(standing)
    }

    /// All of `prepare` but what the engine itself remembers.
    async fn prepare_anew(&self, pod: &EnginePod) -> Result<Arc<Prepared>, EngineError> {
        let prepared = self.open_images(pod).await?;
        let earlier = self.cluster.namespace(&prepared.namespace).await?;
        if earlier.as_ref().is_some_and(|namespace| namespace.metadata.deletion_timestamp.is_some()) {
            return Err(terminating(earlier.as_ref(), prepared.namespace).into());
        }
        self.records.know(pod.id)?;
        let applied = self.apply(&prepared, earlier.as_ref()).await;
        let standing = match applied {
            Ok(standing) => standing,
            Err(error) => {
                self.put_back(&prepared, earlier.is_none()).await?;
                return Err(error);
            }
        };
        self.cluster.prune(&prepared.namespace, &standing).await?;
        Ok(Arc::new(prepared))
    }

    /// Undoes what a failed `prepare` did.
    async fn put_back(&self, pod: &Prepared, is_new: bool) -> Result<(), EngineError> {
        if is_new {
            self.remove_namespace(pod.id).await?;
            return Ok(self.records.forget(pod.id)?);
        }
        // Without the earlier version at hand, what is too much waits for the next that succeeds.
        let Some(earlier) = self.prepared(pod.id) else { return Ok(()) };
        let nodes = self.cluster.nodes().await?;
        let standing = objects::standing(&self.cluster.config, &earlier, &summary(&nodes));
        for object in &standing {
            self.cluster.apply(object).await?;
        }
        Ok(self.cluster.prune(&pod.namespace, &standing).await?)
    }

    /// Takes the namespace away and waits until it is gone.
    async fn remove_namespace(&self, pod: ChannelId) -> Result<(), ClusterError> {
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

    async fn stop_all(&self, ids: impl IntoIterator<Item = String>) -> Result<(), ClusterError> {
        let stops = stream::iter(ids).map(|id| async move { self.replicas.stop(&id).await });
        stops.buffer_unordered(usize::MAX).try_collect().await
    }

    /// Brings the pod to `count` replicas of its newest spec.
    async fn scale_to(&self, pod: &Prepared, count: usize) -> Result<(), EngineError> {
        let (mut kept, mut others): (Vec<_>, Vec<_>) =
            self.replicas.live(pod.id).into_iter().partition(|(_, spec)| *spec == pod.digest);
        others.extend(kept.split_off(kept.len().min(count)));
        let kept: Vec<String> = kept.into_iter().map(|(id, _)| id).collect();
        self.replicas.hurry(|of| of == pod.id);
        if pod.spec.persistent().0 > 0 {
            // A volume serves one version at a time.
            let there = self.replicas.not_ended(pod.id);
            self.stop_all(there.into_iter().filter(|id| !kept.contains(id))).await?;
        } else {
            self.stop_all(others.into_iter().map(|(id, _)| id)).await?;
        }
        self.logs.prune(pod.id, &kept)?;
        self.start(pod, kept, count).await
    }

    /// Starts replicas until there are `count`, and waits until all have been started. Where one
    /// cannot be, none of the new ones stays.
    async fn start(&self, pod: &Prepared, kept: Vec<String>, count: usize) -> Result<(), EngineError> {
        let mut new = Vec::new();
        let mut started = Ok(());
        for _ in kept.len()..count {
            match self.replicas.create(pod).await {
                Ok(id) => new.push(id),
                Err(error) => {
                    started = Err(error.into());
                    break;
                }
            }
        }
        let all: Vec<String> = kept.into_iter().chain(new.iter().cloned()).collect();
        if started.is_ok() {
            let waits = stream::iter(all).map(|id| async move { self.replicas.started(&id).await });
            started = waits.buffer_unordered(usize::MAX).try_collect().await;
        }
        if started.is_err() {
            // What cannot be ended now is ended later: the cause is the first.
            let _ = self.stop_all(new).await;
        }
        started
    }
}

#[async_trait]
impl Engine for KubernetesEngine {
    #[tracing::instrument(name = "prepare", skip_all, fields(pod = %pod.id))]
    async fn prepare(&self, pod: &EnginePod) -> Result<(), EngineError> {
        let _turn = self.turns.take(pod.id).await;
        let outcome = self.prepare_anew(pod).await;
        if let Ok(prepared) = &outcome {
            lock(&self.prepared).insert(pod.id, prepared.clone());
        }
        // Those of the newest version that is whole, be it this or an earlier one.
        let newest = self.prepared(pod.id);
        let images = newest.iter().flat_map(|prepared| prepared.images.values());
        let manifests: Vec<_> = images.map(|image| image.manifest).collect();
        self.registry.retain(&pod.registry_token, &manifests);
        outcome.map(|_| ())
    }

    #[tracing::instrument(name = "scale", skip(self), fields(pod = %pod))]
    async fn scale(&self, pod: ChannelId, count: u32) -> Result<Vec<Replica>, EngineError> {
        let _turn = self.turns.take(pod).await;
        let prepared = self.prepared(pod);
        if prepared.is_none() && !self.records.knows(pod) {
            return Err(EngineError::Unknown);
        }
        self.replicas.dismiss_failed(pod);
        match prepared {
            _ if count == 0 => self.replicas.live(pod).iter().for_each(|(id, _)| self.replicas.release(id)),
            Some(prepared) => self.scale_to(&prepared, count as usize).await?,
            None => return Err(EngineError::Unknown),
        }
        Ok(self.replicas.of(pod))
    }

    async fn stop(&self, pod: ChannelId, replica: &str) -> Result<(), EngineError> {
        if self.replicas.live(pod).iter().any(|(id, _)| id == replica) {
            self.replicas.release(replica);
        }
        Ok(())
    }

    async fn ended(&self, pod: ChannelId, replica: &str) -> Result<Option<ReplicaEnd>, EngineError> {
        Ok(self.replicas.ended(pod, replica).await)
    }

    async fn replicas(&self, pod: ChannelId) -> Result<Vec<Replica>, EngineError> {
        Ok(self.replicas.of(pod))
    }

    async fn pods(&self) -> Result<Vec<ChannelId>, EngineError> {
        let namespaces = self.cluster.own_namespaces().await?;
        let channel = |namespace: &Namespace| namespace.annotations().get(CHANNEL)?.parse().ok();
        let mut pods: Vec<ChannelId> = namespaces.iter().filter_map(channel).collect();
        pods.sort_unstable();
        Ok(pods)
    }

    #[tracing::instrument(name = "remove", skip(self), fields(pod = %pod))]
    async fn remove(&self, pod: ChannelId) -> Result<(), EngineError> {
        let _turn = self.turns.take(pod).await;
        self.replicas.dismiss_failed(pod);
        self.stop_all(self.replicas.not_ended(pod)).await?;
        let removed = lock(&self.prepared).remove(&pod);
        self.remove_namespace(pod).await?;
        self.records.forget(pod)?;
        if let Some(removed) = removed {
            self.registry.retain(&removed.token, &[]);
        }
        Ok(())
    }

    async fn sample(&self) -> Result<Vec<Reading>, EngineError> {
        Ok(self.replicas.sample().await)
    }

    async fn forget(&self, replica: &str) -> Result<(), EngineError> {
        self.replicas.forget(replica);
        Ok(())
    }

    async fn logs(
        &self,
        pod: ChannelId,
        query: LogQuery,
    ) -> Result<BoxStream<'static, LogLine>, EngineError> {
        if !self.records.knows(pod) {
            return Err(EngineError::Unknown);
        }
        let lines = self.logs.read(pod, query);
        let lines = stream::unfold(lines, |mut lines| async { lines.recv().await.map(|line| (line, lines)) });
        Ok(lines.boxed())
    }
}

impl Drop for KubernetesEngine {
    fn drop(&mut self) {
        self.watch.abort();
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
fn check_platforms(pod: &Prepared, nodes: &[Node]) -> Result<(), EngineError> {
    let of_node = |node: &Node| Some(node.status.as_ref()?.node_info.as_ref()?.architecture.clone());
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

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
