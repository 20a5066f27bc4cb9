//! The operator's socket: whoever connects is told the overview, as JSON, and nothing else.

use super::health::Readiness;
use crate::failure::Failure;
use apocryph_ledger::Ledger;
use apocryph_model::Address;
use apocryph_provider::{Overview, Provider};
use std::{
    fs, io,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    sync::{Arc, OnceLock},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{UnixListener, UnixStream},
    sync::watch,
    task::spawn_blocking,
};
use tracing::warn;

/// The most that an answer may have, in bytes.
const MAX_ANSWER: u64 = 64 << 20;

/// Listens, in place of a daemon that was killed. Only the owner may connect.
pub(super) fn listen(path: &Path) -> Result<UnixListener, Failure> {
    let bind = || {
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let listener = UnixListener::bind(path)?;
        fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
        Ok(listener)
    };
    bind().map_err(Failure::file(path))
}

/// What the operator is told.
pub(super) struct Desk {
    pub(super) ledger: Arc<Ledger>,
    pub(super) account: Address,
    pub(super) token: Address,
    pub(super) readiness: watch::Receiver<Readiness>,
    /// Once there is one.
    pub(super) provider: Arc<OnceLock<Arc<Provider>>>,
}

impl Desk {
    async fn overview(&self) -> io::Result<Overview> {
        if let Some(provider) = self.provider.get() {
            return provider.overview().await.map_err(io::Error::other);
        }
        let (ledger, account, token) = (self.ledger.clone(), self.account, self.token);
        let read = spawn_blocking(move || Overview::of_ledger(&ledger, account, token)).await;
        let overview = read.map_err(io::Error::other)?.map_err(io::Error::other)?;
        let waits_for = match &*self.readiness.borrow() {
            Readiness::Ready => None,
            Readiness::Waits(cause) => Some(cause.clone()),
        };
        Ok(Overview { waits_for, ..overview })
    }
}

pub(super) async fn serve(listener: UnixListener, desk: Desk) {
    loop {
        let answered = async {
            let (stream, _) = listener.accept().await?;
            answer(stream, &desk).await
        };
        if let Err(problem) = answered.await {
            warn!(%problem, "the operator could not be answered");
        }
    }
}

async fn answer(mut stream: UnixStream, desk: &Desk) -> io::Result<()> {
    let overview = desk.overview().await?;
    stream.write_all(&serde_json::to_vec(&overview)?).await?;
    stream.shutdown().await
}

/// Asks the running daemon; `None` where none runs.
pub(crate) async fn ask_overview(path: &Path) -> Result<Option<Overview>, Failure> {
    let stream = match UnixStream::connect(path).await {
        Ok(stream) => stream,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => {
            return Ok(None);
        }
        Err(problem) => return Err(Failure::file(path)(problem)),
    };
    let mut answer = Vec::new();
    stream.take(MAX_ANSWER).read_to_end(&mut answer).await.map_err(Failure::file(path))?;
    serde_json::from_slice(&answer).map(Some).map_err(|_| Failure::Answer)
}
