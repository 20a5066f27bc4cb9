//! A registry endpoint over an encrypted image's files, for as long as a test needs it.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use apocryph_model::{ChannelId, Digest};
use apocryph_oci::registry::{BlobFiles, Grants, serve};
use apocryph_provider::Registry as _;
use apocryph_publisher::LocalBlob;
use async_trait::async_trait;
use tokio::net::TcpListener;
use tokio::sync::oneshot;

/// Two pods.
pub(crate) const PODS: [ChannelId; 2] = [ChannelId([1; 32]), ChannelId([2; 32])];

pub(crate) struct RegistryServer {
    pub(crate) address: SocketAddr,
    pub(crate) grants: Arc<Grants>,
    stop: oneshot::Sender<()>,
    task: tokio::task::JoinHandle<()>,
}

struct Files(HashMap<Digest, PathBuf>);

#[async_trait]
impl BlobFiles for Files {
    async fn open(&self, digest: Digest) -> io::Result<Option<File>> {
        self.0.get(&digest).map(File::open).transpose()
    }
}

impl RegistryServer {
    pub(crate) async fn start(blobs: &[LocalBlob]) -> Self {
        let files = Files(blobs.iter().map(|blob| (blob.digest, blob.path.clone())).collect());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let grants = Arc::new(Grants::new(&[7; 32]));
        let (stop, stopped) = oneshot::channel::<()>();
        let shutdown = async { stopped.await.unwrap_or_default() };
        let task = tokio::spawn(serve(listener, Arc::new(files), grants.clone(), shutdown));
        Self { address, grants, stop, task }
    }

    /// The token of `pod`, which opens `blobs`.
    pub(crate) fn admit(&self, pod: ChannelId, blobs: &[LocalBlob]) -> String {
        let digests: Vec<_> = blobs.iter().map(|blob| blob.digest).collect();
        self.grants.admit(pod, &digests)
    }

    /// Ends when the last answer is out.
    pub(crate) async fn stop(self) {
        self.stop.send(()).unwrap();
        self.task.await.unwrap();
    }
}
