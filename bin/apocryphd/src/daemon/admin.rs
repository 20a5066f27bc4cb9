//! The operator's socket: whoever connects is told the overview, as JSON, and nothing else.

use crate::failure::Failure;
use apocryph_provider::{Overview, Provider};
use std::{fs, io, os::unix::fs::PermissionsExt as _, path::Path, sync::Arc};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{UnixListener, UnixStream},
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

pub(super) async fn serve(listener: UnixListener, provider: Arc<Provider>) {
    loop {
        let answered = async {
            let (stream, _) = listener.accept().await?;
            answer(stream, &provider).await
        };
        if let Err(problem) = answered.await {
            warn!(%problem, "the operator could not be answered");
        }
    }
}

async fn answer(mut stream: UnixStream, provider: &Provider) -> io::Result<()> {
    let overview = provider.overview().await.map_err(io::Error::other)?;
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
