//! The engine of one machine, as the provider drives it.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use apocryph_model::{Address, ChannelId, LogLine, LogQuery};
use apocryph_provider::{Engine, EngineError, EnginePod, Reading, Replica, ReplicaEnd, Turn, Turns};
use apocryph_seal::sha256;
use async_trait::async_trait;
use futures::stream::{self, BoxStream, StreamExt as _, TryStreamExt as _};
use tokio::task::AbortHandle;

use crate::config::Config;
use crate::host_error::{Doing as _, HostError};
use crate::image::{Images, LayerStore, RegistryClient, Scope};
use crate::network::Network;
use crate::opening::{Alone, abandon, check_runtime};
use crate::pod_store::{PodRecord, PodStore};
use crate::replica::{Prepared, Replicas};
use crate::run_dir::RunDir;
use crate::{logs, storage_watch};

/// Replicas of one pod that are started at a time.
const STARTS_AT_A_TIME: usize = 4;

/// Runs pods on this host, through an OCI runtime. What runs goes on when this value, or its whole
/// process, is gone; opening an engine with the same configuration takes over.
pub struct EmbeddedEngine {
    config: Config,
    run_dir: RunDir,
    store: PodStore,
    images: Images,
    replicas: Arc<Replicas>,
    prepared: Mutex<HashMap<ChannelId, Arc<Prepared>>>,
    /// Calls for one pod come one after the other.
    turns: Turns<ChannelId>,
    /// Held while it is decided which layers are in use.
    layers: tokio::sync::Mutex<()>,
    watch: AbortHandle,
    _alone: Arc<Alone>,
}

impl EmbeddedEngine {
    /// Takes over what runs, clears away what has ended, and makes what pods need of the host:
    /// directories, a tmpfs, a bridge, firewall rules. See [`check`](crate::check) for what the
    /// host must have.
    ///
    /// # Errors
    /// [`HostError`] where the host lacks something. Where there are no pods, nothing is then left
    /// on the host.
    pub async fn open(config: Config) -> Result<Self, HostError> {
        let alone = Arc::new(Alone::take(&config.name)?);
        let opened = Self::take_over(config.clone(), alone.clone()).await;
        if opened.is_err() {
            abandon(&config);
        }
        opened
    }

    async fn take_over(config: Config, alone: Arc<Alone>) -> Result<Self, HostError> {
        check_runtime(&config.runtime)?;
        let run_dir = RunDir::open(&config.run_dir)?;
        let store = PodStore::open(&config.data_dir)?;
        let network = Network::open(&config)?;
        let replicas = Replicas::open(config.clone(), run_dir.clone(), store.clone(), network).await?;
        let images = Images {
            registry: RegistryClient::new(config.registry),
            store: Arc::new(LayerStore::open(store.layers())?),
            limit: config.image_limit,
        };
        let watch = tokio::spawn(storage_watch::watch(Arc::downgrade(&replicas))).abort_handle();
        replicas.fill_spares();
        let (prepared, turns, layers) = Default::default();
        Ok(Self { config, run_dir, store, images, replicas, prepared, turns, layers, watch, _alone: alone })
    }

    /// Ends the engine. Where no pod is left, takes everything away that it made of the host;
    /// else leaves all as it is, to be taken over.
    ///
    /// # Errors
    /// [`HostError`] where something is left that should not be.
    pub async fn close(self) -> Result<(), HostError> {
        self.replicas.close_spares().await;
        if !self.store.all()?.is_empty() || !self.replicas.is_empty() {
            return Ok(());
        }
        Network::close(&self.config)?;
        self.replicas.close()?;
        self.run_dir.close()
    }

    fn prepared(&self, pod: ChannelId) -> Option<Arc<Prepared>> {
        lock(&self.prepared).get(&pod).cloned()
    }

    /// Pulls and unpacks. While that is under way, the pod's record names all layers of both
    /// versions, so that nothing takes them away.
    async fn pull(&self, pod: &EnginePod) -> Result<Prepared, EngineError> {
        let scope = Scope { pod: pod.id, token: &pod.registry_token };
        let images = pod.spec.containers.iter().map(|container| container.image);
        let plans = self.images.plan(scope, images, &pod.image_key).await?;
        let earlier = self.store.get(pod.id)?;
        let mut layers = self.images.layer_paths(pod.publisher, &plans);
        layers.extend(earlier.iter().flat_map(|record| record.layers.clone()));
        self.put(pod.id, PodRecord { publisher: pod.publisher, layers }).await?;
        let prepared = self.images.unpack(scope, pod.publisher, plans).await;
        let prepared = prepared.map_err(EngineError::from).and_then(|images| {
            let digest = sha256(&pod.spec.to_json());
            let prepared =
                Prepared { id: pod.id, publisher: pod.publisher, spec: pod.spec.clone(), digest, images };
            prepared.check_commands()?;
            let volumes = prepared.persistent_volumes().map(|volume| &volume.name);
            self.store.make_volumes(pod.id, volumes)?;
            Ok(prepared)
        });
        if prepared.is_err() {
            self.put_back(pod, earlier).await?;
        }
        prepared
    }

    async fn put(&self, pod: ChannelId, record: PodRecord) -> Result<(), HostError> {
        let _deciding = self.layers.lock().await;
        self.store.put(pod, &record)
    }

    /// Undoes what a failed `prepare` did.
    async fn put_back(&self, pod: &EnginePod, earlier: Option<PodRecord>) -> Result<(), HostError> {
        match earlier {
            Some(record) => self.put(pod.id, record).await?,
            None => self.store.remove(pod.id)?,
        }
        self.sweep(pod.id, pod.publisher).await
    }

    /// Removes the layers and volumes that nothing needs any more.
    async fn sweep(&self, pod: ChannelId, publisher: Address) -> Result<(), HostError> {
        let _deciding = self.layers.lock().await;
        let mut used: HashSet<PathBuf> = self.replicas.paths_in_use().into_iter().collect();
        let records = self.store.all()?;
        used.extend(records.into_iter().flat_map(|(_, record)| record.layers));
        if let Some(prepared) = self.prepared(pod) {
            let volumes = prepared.persistent_volumes();
            used.extend(volumes.map(|volume| self.store.volume(pod, &volume.name)));
            self.store.sweep_volumes(pod, &used)?;
        }
        self.images.store.sweep(publisher, &used)
    }

    async fn stop_all(&self, ids: impl Iterator<Item = String>) -> Result<(), HostError> {
        let stops = stream::iter(ids).map(|id| async move { self.replicas.stop(&id).await });
        stops.buffer_unordered(usize::MAX).try_collect().await
    }

    /// Starts replicas. Goes on, and keeps the pod's turn, where the caller has gone: a replica
    /// that has been started must not be lost from sight.
    async fn start(&self, pod: &Arc<Prepared>, count: usize, turn: Turn) -> Result<Turn, EngineError> {
        let running: Vec<String> = self.replicas.running(pod.id).into_iter().map(|(id, _)| id).collect();
        apocryph_podlog::prune(&self.store.logs(pod.id), &running).doing("remove old logs")?;
        let (replicas, pod) = (self.replicas.clone(), pod.clone());
        let started = tokio::spawn(async move {
            let starts = stream::iter(0..count).map(|_| replicas.launch(&pod));
            starts.buffer_unordered(STARTS_AT_A_TIME).try_collect::<()>().await.map(|()| turn)
        });
        started.await.map_err(|error| HostError::new("start replicas", error))?
    }
}

#[async_trait]
impl Engine for EmbeddedEngine {
    #[tracing::instrument(name = "prepare", skip_all, fields(pod = %pod.id))]
    async fn prepare(&self, pod: &EnginePod) -> Result<(), EngineError> {
        let _turn = self.turns.take(pod.id).await;
        let digest = sha256(&pod.spec.to_json());
        if self.prepared(pod.id).is_some_and(|prepared| prepared.digest == digest) {
            return Ok(());
        }
        let prepared = self.pull(pod).await?;
        let record = PodRecord { publisher: pod.publisher, layers: prepared.layers() };
        self.put(pod.id, record).await?;
        lock(&self.prepared).insert(pod.id, Arc::new(prepared));
        Ok(self.sweep(pod.id, pod.publisher).await?)
    }

    #[tracing::instrument(name = "scale", skip(self), fields(pod = %pod))]
    async fn scale(&self, pod: ChannelId, count: u32) -> Result<Vec<Replica>, EngineError> {
        let turn = self.turns.take(pod).await;
        let prepared = self.prepared(pod);
        if prepared.is_none() && (count > 0 || self.store.get(pod)?.is_none()) {
            return Err(EngineError::Unknown);
        }
        self.replicas.dismiss_failed(pod)?;
        let newest = prepared.as_ref().map(|prepared| prepared.digest);
        let (mut kept, mut others): (Vec<_>, Vec<_>) =
            self.replicas.running(pod).into_iter().partition(|(_, spec)| Some(*spec) == newest);
        others.extend(kept.split_off(kept.len().min(count as usize)));
        // First the others: a volume serves one version at a time, and the memory may not do for
        // both.
        self.stop_all(others.into_iter().map(|(id, _)| id)).await?;
        if let Some(prepared) = prepared {
            let _turn = self.start(&prepared, count as usize - kept.len(), turn).await?;
            self.sweep(pod, prepared.publisher).await?;
        }
        Ok(self.replicas.of(pod))
    }

    async fn stop(&self, pod: ChannelId, replica: &str) -> Result<(), EngineError> {
        if !self.replicas.running(pod).iter().any(|(id, _)| id == replica) {
            return Ok(());
        }
        Ok(self.replicas.stop(replica).await?)
    }

    async fn ended(&self, pod: ChannelId, replica: &str) -> Result<Option<ReplicaEnd>, EngineError> {
        Ok(self.replicas.ended(pod, replica).await.map(ReplicaEnd::Failed))
    }

    async fn replicas(&self, pod: ChannelId) -> Result<Vec<Replica>, EngineError> {
        Ok(self.replicas.of(pod))
    }

    async fn pods(&self) -> Result<Vec<ChannelId>, EngineError> {
        let mut pods: Vec<ChannelId> = self.store.all()?.into_iter().map(|(pod, _)| pod).collect();
        pods.extend(self.replicas.pods());
        pods.sort_unstable();
        pods.dedup();
        Ok(pods)
    }

    #[tracing::instrument(name = "remove", skip(self), fields(pod = %pod))]
    async fn remove(&self, pod: ChannelId) -> Result<(), EngineError> {
        let _turn = self.turns.take(pod).await;
        self.stop_all(self.replicas.running(pod).into_iter().map(|(id, _)| id)).await?;
        self.replicas.dismiss_failed(pod)?;
        lock(&self.prepared).remove(&pod);
        let record = self.store.get(pod)?;
        self.store.remove(pod)?;
        match record {
            Some(record) => Ok(self.sweep(pod, record.publisher).await?),
            None => Ok(()),
        }
    }

    async fn sample(&self) -> Result<Vec<Reading>, EngineError> {
        Ok(self.replicas.sample().await?)
    }

    async fn forget(&self, replica: &str) -> Result<(), EngineError> {
        Ok(self.replicas.forget(replica)?)
    }

    async fn logs(
        &self,
        pod: ChannelId,
        query: LogQuery,
    ) -> Result<BoxStream<'static, LogLine>, EngineError> {
        if self.store.get(pod)?.is_none() {
            return Err(EngineError::Unknown);
        }
        let lines = logs::read(self.store.logs(pod), query).doing("read logs")?;
        let lines = stream::unfold(lines, |mut lines| async { lines.recv().await.map(|line| (line, lines)) });
        Ok(lines.boxed())
    }
}

impl Drop for EmbeddedEngine {
    fn drop(&mut self) {
        self.watch.abort();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
