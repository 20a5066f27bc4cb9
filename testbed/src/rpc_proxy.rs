//! A chain's endpoint that misbehaves: what is asked of it goes on to a real one, or not.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use url::Url;

use crate::clients::http_post_json;

/// What becomes of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// It is answered by the chain.
    Pass,
    /// It is answered with this HTTP status.
    Status(u16),
    /// It is answered with this JSON-RPC error.
    Error(i64, &'static str),
    /// It is answered with this result.
    Answer(Value),
    /// The chain gets it, but its answer is lost.
    LoseAnswer,
}

/// Decides by method and parameters.
type Decide = dyn Fn(&str, &Value) -> Fate + Send + Sync;

/// An endpoint on a free port of the loopback interface, until it is dropped.
#[derive(Debug)]
pub struct RpcProxy {
    url: Url,
    task: JoinHandle<()>,
}

impl RpcProxy {
    /// Starts it before the chain at `upstream`.
    ///
    /// # Errors
    /// If it cannot listen.
    pub async fn start(
        upstream: SocketAddr,
        decide: impl Fn(&str, &Value) -> Fate + Send + Sync + 'static,
    ) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}", listener.local_addr()?).parse().map_err(io::Error::other)?;
        let decide: Arc<Decide> = Arc::new(decide);
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let decide = Arc::clone(&decide);
                // A client that breaks off is answered by nobody.
                tokio::spawn(async move { serve(client, upstream, &*decide).await.ok() });
            }
        });
        Ok(Self { url, task })
    }

    /// Where it listens.
    pub fn url(&self) -> Url {
        self.url.clone()
    }
}

impl Drop for RpcProxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(client: TcpStream, upstream: SocketAddr, decide: &Decide) -> io::Result<()> {
    let mut client = BufReader::new(client);
    let body = request(&mut client).await?;
    let asked: Value = serde_json::from_str(&body)?;
    match decide(asked["method"].as_str().unwrap_or_default(), &asked["params"]) {
        Fate::Pass => answer(&mut client, 200, &http_post_json(upstream, &body).await?.body).await,
        Fate::Status(status) => answer(&mut client, status, "").await,
        Fate::Error(code, message) => {
            let error =
                json!({ "jsonrpc": "2.0", "id": asked["id"], "error": { "code": code, "message": message } });
            answer(&mut client, 200, &error.to_string()).await
        }
        Fate::Answer(result) => {
            let told = json!({ "jsonrpc": "2.0", "id": asked["id"], "result": result });
            answer(&mut client, 200, &told.to_string()).await
        }
        Fate::LoseAnswer => http_post_json(upstream, &body).await.map(drop),
    }
}

/// The body of an HTTP request.
async fn request(client: &mut BufReader<TcpStream>) -> io::Result<String> {
    let mut length = 0;
    loop {
        let mut line = String::new();
        client.read_line(&mut line).await?;
        let line = line.trim().to_ascii_lowercase();
        if let Some(digits) = line.strip_prefix("content-length:") {
            length = digits.trim().parse().map_err(io::Error::other)?;
        }
        if line.is_empty() {
            break;
        }
    }
    let mut body = vec![0; length];
    client.read_exact(&mut body).await?;
    String::from_utf8(body).map_err(io::Error::other)
}

async fn answer(client: &mut BufReader<TcpStream>, status: u16, body: &str) -> io::Result<()> {
    let head = format!("HTTP/1.1 {status} -\r\nContent-Type: application/json\r\nConnection: close\r\n");
    let text = format!("{head}Content-Length: {}\r\n\r\n{body}", body.len());
    client.write_all(text.as_bytes()).await?;
    client.shutdown().await
}
