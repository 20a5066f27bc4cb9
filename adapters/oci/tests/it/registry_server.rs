//! A registry endpoint over an encrypted image's files, for as long as a test needs it.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use apocryph_model::Digest;
use apocryph_oci::registry::{BlobFiles, Grants, Token, serve};
use apocryph_publisher::LocalBlob;
use async_trait::async_trait;
use tokio::net::TcpListener;
use tokio::sync::oneshot;

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
        let grants = Arc::new(Grants::new());
        let (stop, stopped) = oneshot::channel::<()>();
        let shutdown = async { stopped.await.unwrap_or_default() };
        let task = tokio::spawn(serve(listener, Arc::new(files), grants.clone(), shutdown));
        Self { address, grants, stop, task }
    }

    pub(crate) fn grant(&self, blobs: &[LocalBlob]) -> Token {
        self.grants.grant(blobs.iter().map(|blob| blob.digest)).unwrap()
    }

    /// Ends when the last answer is out.
    pub(crate) async fn stop(self) {
        self.stop.send(()).unwrap();
        self.task.await.unwrap();
    }
}
