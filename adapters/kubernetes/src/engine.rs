//! The engine of a cluster, as the provider drives it.

use std::sync::Arc;

use apocryph_model::{ChannelId, LogLine, LogQuery};
use apocryph_provider::{Engine, EngineError, EnginePod, Reading, Replica, ReplicaEnd, Turns};
use async_trait::async_trait;
use futures::FutureExt as _;
use futures::stream::{self, BoxStream, StreamExt as _, TryStreamExt as _};
use k8s_openapi::api::core::v1::Namespace;
use kube::ResourceExt as _;
use tokio::sync::mpsc::{self, UnboundedReceiver};
use tokio::task::JoinSet;

use crate::cluster::Cluster;
use crate::cluster_error::ClusterError;
use crate::config::Config;
use crate::labels::CHANNEL;
use crate::node_readers::NodeReaders;
use crate::node_registry::NodeRegistry;
use crate::objects::{self, Prepared};
use crate::pod_logs::PodLogs;
use crate::reach::first_look;
use crate::reading::keep_reading;
use crate::record::Records;
use crate::replicas::Replicas;
use crate::sight::Sight;
use crate::standing::Standing;
use crate::watch::{watch_kind, watch_nodes, watch_pods};

/// Runs pods in a Kubernetes cluster. What runs goes on when this value, or its whole process, is
/// gone; opening an engine with the same configuration takes over.
pub struct KubernetesEngine {
    cluster: Cluster,
    records: Records,
    logs: Arc<PodLogs>,
    replicas: Arc<Replicas>,
    standing: Arc<Standing>,
    /// See what happens, and put back what others change. They end with this value.
    _tasks: JoinSet<()>,
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
        let sight = Arc::new(Sight::new(cluster.config.clone()));
        let (mut tasks, troubles) = watch(&cluster, &replicas, &sight);
        tokio::spawn(keep_reading(Arc::downgrade(&replicas)));
        let all = async { tokio::join!(replicas.complete(), sight.complete()) };
        first_look(all.map(drop), troubles, waits).await?;
        let turns = Turns::default();
        let standing =
            Standing { cluster: cluster.clone(), registry, records: records.clone(), sight, turns };
        let standing = Arc::new(standing);
        tasks.spawn(standing.clone().keep());
        Ok(Self { cluster, records, logs, replicas, standing, _tasks: tasks })
    }

    /// Ends at once what was stopped and waits for its last reading, before the daemon goes.
    ///
    /// # Errors
    /// Something is still there; the next engine sees to it.
    pub async fn close(&self) -> Result<(), ClusterError> {
        self.stop_all(self.replicas.of_no_use()).await
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
        let _turn = self.standing.turns.take(pod.id).await;
        let outcome = self.standing.prepare(pod).await;
        // Those of the newest version that is whole, be it this or an earlier one.
        let newest = self.standing.sight.wanted(pod.id);
        let images = newest.iter().flat_map(|prepared| prepared.images.values());
        let manifests: Vec<_> = images.map(|image| image.manifest).collect();
        self.standing.registry.retain(&pod.registry_token, &manifests);
        outcome
    }

    #[tracing::instrument(name = "scale", skip(self), fields(pod = %pod))]
    async fn scale(&self, pod: ChannelId, count: u32) -> Result<Vec<Replica>, EngineError> {
        let _turn = self.standing.turns.take(pod).await;
        let prepared = self.standing.sight.wanted(pod);
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
        let _turn = self.standing.turns.take(pod).await;
        self.replicas.dismiss_failed(pod);
        self.stop_all(self.replicas.not_ended(pod)).await?;
        let removed = self.standing.sight.forget(pod);
        self.standing.remove_namespace(pod).await?;
        self.records.forget(pod)?;
        if let Some(removed) = removed {
            self.standing.registry.retain(&removed.token, &[]);
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

/// Begins to see all that happens; with what keeps it from that.
fn watch(
    cluster: &Cluster,
    replicas: &Arc<Replicas>,
    sight: &Arc<Sight>,
) -> (JoinSet<()>, UnboundedReceiver<ClusterError>) {
    let (trouble, troubles) = mpsc::unbounded_channel();
    let troubled = || {
        let trouble = trouble.clone();
        // Nobody listens after the first look.
        move |error| drop(trouble.send(error))
    };
    let mut tasks = JoinSet::new();
    tasks.spawn(watch_pods(cluster.clone(), replicas.clone(), troubled()));
    tasks.spawn(watch_nodes(cluster.clone(), sight.clone(), troubled()));
    for kind in objects::kinds() {
        tasks.spawn(watch_kind(cluster.clone(), kind, sight.clone(), troubled()));
    }
    (tasks, troubles)
}
