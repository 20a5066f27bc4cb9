//! The provider's registry endpoint: the pull side of OCI Distribution 1.1, by digest only.
//!
//! | request | answer |
//! |---|---|
//! | `GET`, `HEAD /v2/` | 200, or 401 without a valid token |
//! | `GET`, `HEAD /v2/<name>/manifests/<digest>` | the manifest, under its own media type |
//! | `GET`, `HEAD /v2/<name>/blobs/<digest>` | the blob; one range is honoured |
//!
//! A pod's token ([`Grants`]) opens the digests that the pod was granted and no other; to everyone
//! else they are as unknown as what is not there. The name in the path is free: digests
//! say it all. Whole blobs are verified while they are sent, and the connection is cut rather
//! than damaged bytes completed.
//!
//! [`serve`] hands out what publishers shipped, ciphertext. [`serve_nodes`] hands out what is in it:
//! the same images as nodes run them ([`NodeImages`]), under the same tokens: decrypted on the way, or
//! with the keys to be had at the same address, by ocicrypt's key provider protocol.

mod answer;
mod body;
mod decrypted;
mod grants;
mod image_check;
mod image_documents;
mod image_error;
mod image_file;
mod image_group;
mod key_provider;
mod node_images;
mod range;
mod refusal;
mod route;
mod sealed_layer;
mod shelf;

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use apocryph_model::Digest;
use async_trait::async_trait;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use nix::sys::socket::{setsockopt, sockopt::TcpUserTimeout};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

pub use grants::Grants;
pub use image_error::ImageError;
pub use node_images::{Decryption, NodeImage, NodeImages, serve_nodes};
use shelf::{Shelf, Stored};

/// The most connections at a time; more wait to be accepted.
const MAX_CONNECTIONS: usize = 256;
/// How long a client may take over a request's head.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a client may leave an answer unread, in milliseconds.
const UNREAD_TIMEOUT_MS: u32 = 60_000;
/// How long a connection for keys may last, and how many calls it may have under way.
const CALLS_TIMEOUT: Duration = Duration::from_secs(60);
const MAX_CALLS: u32 = 16;
/// How long to wait before accepting again when the process is out of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Where the endpoint's blobs are.
#[async_trait]
pub trait BlobFiles: Send + Sync + 'static {
    /// Opens the whole blob of this digest; `None` if it is not there (any more).
    ///
    /// # Errors
    /// If it cannot be told, or the file cannot be opened.
    async fn open(&self, digest: Digest) -> io::Result<Option<std::fs::File>>;
}

/// Serves `files` on `listener`, to those whom `grants` let, until `shutdown` is ready and the
/// answers under way are out.
pub async fn serve(
    listener: TcpListener,
    files: Arc<dyn BlobFiles>,
    grants: Arc<Grants>,
    shutdown: impl Future<Output = ()>,
) {
    serve_shelf(listener, Arc::new(Stored { files, grants }), shutdown).await;
}

/// Serves nothing to nobody: 401 to whoever asks, which tells that there is a registry.
pub async fn serve_empty(listener: TcpListener) {
    let grants = Arc::new(Grants::new(&[0; 32]));
    serve_shelf(listener, Arc::new(Stored { files: Arc::new(NoFiles), grants }), std::future::pending())
        .await;
}

struct NoFiles;

#[async_trait]
impl BlobFiles for NoFiles {
    async fn open(&self, _: Digest) -> io::Result<Option<std::fs::File>> {
        Ok(None)
    }
}

async fn serve_shelf(listener: TcpListener, shelf: Arc<dyn Shelf>, shutdown: impl Future<Output = ()>) {
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let graceful = GracefulShutdown::new();
    let mut shutdown = pin!(shutdown);
    loop {
        let (stream, place) = tokio::select! {
            next = next_connection(&listener, &places) => next,
            () = &mut shutdown => break,
        };
        serve_connection(stream, place, shelf.clone(), &graceful);
    }
    graceful.shutdown().await;
}

async fn next_connection(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
) -> (TcpStream, Option<OwnedSemaphorePermit>) {
    // The semaphore is never closed, so that there always is a permit.
    let place = places.clone().acquire_owned().await.ok();
    loop {
        match listener.accept().await {
            Ok((stream, _)) => return (stream, place),
            Err(error) => {
                tracing::warn!(%error, "the registry endpoint cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

fn serve_connection(
    stream: TcpStream,
    place: Option<OwnedSemaphorePermit>,
    shelf: Arc<dyn Shelf>,
    graceful: &GracefulShutdown,
) {
    // The kernel then drops a client that has stopped reading, which never frees its place else.
    if let Err(error) = setsockopt(&stream, TcpUserTimeout, &UNREAD_TIMEOUT_MS) {
        tracing::warn!(%error, "a connection to the registry endpoint goes without a time limit");
    }
    let watcher = graceful.watcher();
    tokio::spawn(async move {
        let _place = place;
        let ended = match timeout(HEAD_TIMEOUT, starts_http2(&stream)).await {
            Ok(Ok(true)) => converse_http2(stream, shelf, watcher).await,
            Ok(Ok(false)) => converse_http1(stream, shelf, watcher).await,
            // It broke, or never began.
            _ => return,
        };
        if let Err(error) = ended {
            tracing::debug!(%error, "a connection to the registry endpoint broke");
        }
    });
}

/// Whether what a client sends first is the preface of HTTP/2 (RFC 9113, 3.4), whose beginning no
/// request of HTTP/1 has.
async fn starts_http2(stream: &TcpStream) -> io::Result<bool> {
    let mut beginning = [0; 4];
    let read = stream.peek(&mut beginning).await?;
    Ok(&beginning[..read] == b"PRI ")
}

async fn converse_http1(stream: TcpStream, shelf: Arc<dyn Shelf>, watcher: Watcher) -> hyper::Result<()> {
    let service = service_fn(|request| {
        let shelf = shelf.clone();
        async move { Ok::<_, Infallible>(answer::answer(&request, &*shelf).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .serve_connection(TokioIo::new(stream), service);
    watcher.watch(connection).await
}

/// By HTTP/2 come calls for keys, which are short.
async fn converse_http2(stream: TcpStream, shelf: Arc<dyn Shelf>, watcher: Watcher) -> hyper::Result<()> {
    let service = service_fn(move |request| {
        let shelf = shelf.clone();
        async move { Ok::<_, Infallible>(key_provider::answer(request, &*shelf).await) }
    });
    let connection = http2::Builder::new(TokioExecutor::new())
        .max_concurrent_streams(MAX_CALLS)
        .serve_connection(TokioIo::new(stream), service);
    // Whoever stays longer only takes a place.
    timeout(CALLS_TIMEOUT, watcher.watch(connection)).await.unwrap_or(Ok(()))
}
