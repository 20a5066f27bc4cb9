//! Images of the local Docker daemon, by the Engine API's `GET /images/{name}/get` on its socket:
//! the same as a docker archive.

use std::io::Write as _;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode, Uri};
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tempfile::{NamedTempFile, TempPath};
use tokio::net::UnixStream;
use tokio::time::timeout;

use super::archive::Archive;
use super::docker_archive::DockerArchive;
use super::{Places, SourceError, in_full};

/// How long the daemon may be silent. It packs some layers before it sends anything.
const STALL: Duration = Duration::from_secs(120);

/// Exports the image called `name` into the scratch folder.
pub(super) async fn export(name: &str, places: &Places) -> Result<DockerArchive, SourceError> {
    let body = request(name, places).await?;
    let file = store(body, places).await?;
    DockerArchive::open(Archive::open_temporary(file).await?, None).await
}

async fn request(name: &str, places: &Places) -> Result<Incoming, SourceError> {
    let socket = &places.docker.socket;
    let unavailable = |problem: String| {
        SourceError::Unavailable(format!("the Docker daemon at {}: {problem}", socket.display()))
    };
    let path = format!("/images/{name}/get");
    let uri: Uri = path.parse().map_err(|_| SourceError::Reference("its name is malformed".to_owned()))?;
    let stream = UnixStream::connect(socket).await.map_err(|error| unavailable(error.to_string()))?;
    let (mut sender, connection) =
        http1::handshake(TokioIo::new(stream)).await.map_err(|error| unavailable(in_full(&error)))?;
    tokio::spawn(connection);
    let request = Request::get(uri)
        .header("host", "docker")
        .body(Empty::<Bytes>::new())
        .map_err(|_| SourceError::Reference("its name is malformed".to_owned()))?;
    let response = timeout(STALL, sender.send_request(request))
        .await
        .map_err(|_| unavailable("it does not answer".to_owned()))?
        .map_err(|error| unavailable(in_full(&error)))?;
    match response.status() {
        StatusCode::OK => Ok(response.into_body()),
        StatusCode::NOT_FOUND => Err(SourceError::Absent),
        status => Err(unavailable(format!("it answers {status}"))),
    }
}

async fn store(mut body: Incoming, places: &Places) -> Result<TempPath, SourceError> {
    let disk = |error| SourceError::disk(&places.scratch, error);
    let mut file = NamedTempFile::new_in(&places.scratch).map_err(disk)?;
    while let Some(frame) = timeout(STALL, body.frame())
        .await
        .map_err(|_| SourceError::Unavailable("the Docker daemon stopped sending".to_owned()))?
    {
        let frame = frame.map_err(|error| SourceError::Unavailable(in_full(&error)))?;
        if let Ok(data) = frame.into_data() {
            file = write(file, data).await.map_err(disk)?;
        }
    }
    Ok(file.into_temp_path())
}

async fn write(mut file: NamedTempFile, data: Bytes) -> std::io::Result<NamedTempFile> {
    tokio::task::spawn_blocking(move || file.write_all(&data).map(|()| file)).await?
}
