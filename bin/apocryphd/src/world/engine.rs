//! The engine that the settings choose, with the registry endpoint that it pulls from.

use crate::{
    failure::Failure,
    settings::{Decrypt, EngineKind, Settings},
    world::{StoredBlobs, node_readers::LinkedReaders},
};
use apocryph_embedded::EmbeddedEngine;
use apocryph_kubernetes::{ClusterError, KubernetesEngine, NodeImage, NodeRegistry, Shipped};
use apocryph_link::NodeReaders;
use apocryph_model::Digest;
use apocryph_oci::registry::{self, Decryption, Grants, NodeImages};
use apocryph_provider::{Engine, EngineError};
use async_trait::async_trait;
use std::{net::SocketAddr, sync::Arc};
use tokio::{net::TcpListener, task::JoinSet};
use tracing::warn;

/// What the engine pulls from.
pub(crate) struct RegistryEndpoint {
    pub(crate) listener: TcpListener,
    /// Where it listens.
    pub(crate) address: SocketAddr,
    pub(crate) blobs: Arc<StoredBlobs>,
    pub(crate) grants: Arc<Grants>,
}

/// The engine at work.
pub(crate) enum OpenEngine {
    /// This machine.
    Embedded(Arc<EmbeddedEngine>),
    /// A cluster.
    Kubernetes(Arc<KubernetesEngine>),
}

/// Returns once what the engine stands on is there, where that is not this machine; `waits` is told each time
/// why it is not yet.
pub(crate) async fn reach(settings: &Settings, mut waits: impl FnMut(String)) -> Result<(), Failure> {
    match settings.file.engine.kind {
        EngineKind::Embedded => Ok(()),
        EngineKind::Kubernetes => {
            let kubeconfig = settings.file.kubernetes.kubeconfig.as_deref();
            let waits = |error: &ClusterError| waits(format!("the cluster is not there: {error}"));
            Ok(apocryph_kubernetes::reach(kubeconfig, waits).await?)
        }
    }
}

impl OpenEngine {
    /// Serves the pods' images on `registry` until `shutdown` is ready, and opens the engine, which asks
    /// `readers` where it is a cluster that has some; `waits` is told each time why it is not open yet.
    pub(crate) async fn open(
        settings: &Settings,
        registry: RegistryEndpoint,
        readers: Option<NodeReaders>,
        serving: &mut JoinSet<()>,
        shutdown: impl Future<Output = ()> + Send + 'static,
        mut waits: impl FnMut(String),
    ) -> Result<Self, Failure> {
        let RegistryEndpoint { listener, address, blobs, grants } = registry;
        match settings.file.engine.kind {
            EngineKind::Embedded => {
                serving.spawn(registry::serve(listener, blobs, grants, shutdown));
                let engine = EmbeddedEngine::open(settings.engine(address)).await?;
                Ok(Self::Embedded(Arc::new(engine)))
            }
            EngineKind::Kubernetes => {
                let decryption = match settings.file.kubernetes.decrypt {
                    Decrypt::Provider => Decryption::Here,
                    Decrypt::Nodes => Decryption::OnNodes,
                };
                let images = Arc::new(NodeImages::new(blobs, grants, decryption));
                serving.spawn(registry::serve_nodes(listener, images.clone(), shutdown));
                let endpoint = Arc::new(NodeRegistryEndpoint(images));
                let (config, readers) = (settings.cluster(address), readers.map(linked));
                let waits = |error: &ClusterError| waits(format!("the cluster is not seen yet: {error}"));
                let engine = KubernetesEngine::open(config, endpoint, readers, waits).await?;
                Ok(Self::Kubernetes(Arc::new(engine)))
            }
        }
    }

    /// As the provider drives it.
    pub(crate) fn engine(&self) -> Arc<dyn Engine> {
        match self {
            Self::Embedded(engine) => engine.clone(),
            Self::Kubernetes(engine) => engine.clone(),
        }
    }

    /// Takes away what the engine made of the host, where no pod needs it any more, and what was
    /// stopped in the cluster and waits for its last reading.
    pub(crate) async fn close(self) {
        let engine = match self {
            Self::Embedded(engine) => engine,
            Self::Kubernetes(engine) => {
                if let Err(problem) = engine.close().await {
                    warn!(%problem, "what was stopped ends after the next start");
                }
                return;
            }
        };
        let Some(engine) = Arc::into_inner(engine) else {
            return warn!("the engine is still in use: what it made of the host stays");
        };
        if let Err(problem) = engine.close().await {
            warn!(%problem, "something of the engine is left on the host");
        }
    }
}

fn linked(readers: NodeReaders) -> Arc<dyn apocryph_kubernetes::NodeReaders> {
    Arc::new(LinkedReaders(readers))
}

/// The registry endpoint, as a cluster's engine needs it.
struct NodeRegistryEndpoint(Arc<NodeImages>);

#[async_trait]
impl NodeRegistry for NodeRegistryEndpoint {
    async fn open(&self, image: Shipped<'_>) -> Result<NodeImage, EngineError> {
        let opened = self.0.open(image.token, image.key, image.image, image.user).await?;
        let registry::NodeImage { manifest, architecture, has_command, group, .. } = opened;
        Ok(NodeImage { manifest, architecture, has_command, group })
    }

    async fn check(&self, token: &str, manifest: Digest) -> Result<(), EngineError> {
        Ok(self.0.check(token, manifest).await?)
    }

    fn retain(&self, token: &str, manifests: &[Digest]) {
        self.0.retain(token, manifests);
    }
}
