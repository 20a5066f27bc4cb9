//! A client that watches one replica at work.

use std::net::SocketAddr;

use futures::StreamExt as _;
use http_body_util::{BodyDataStream, BodyExt as _};
use hyper::body::Incoming;
use tokio::time::timeout;

use super::super::driving::PATIENCE;
use crate::http_client::{get, send};

/// The answer to `/ticks`, which comes line by line.
pub(super) struct Ticks {
    /// Which replica ticks.
    pub(super) run: String,
    body: BodyDataStream<Incoming>,
}

impl Ticks {
    pub(super) async fn begin(gateway: SocketAddr, host: &str, path: &str) -> Self {
        let mut body = send(gateway, get(host, path)).await.into_body().into_data_stream();
        let first = body.next().await.unwrap().unwrap();
        Self { run: String::from_utf8_lossy(&first).lines().next().unwrap().to_owned(), body }
    }

    /// Waits for so many pieces, tenths of a second apart.
    pub(super) async fn wait(&mut self, pieces: usize) {
        for _ in 0..pieces {
            timeout(PATIENCE, self.body.next()).await.expect("it ticks").expect("it goes on").unwrap();
        }
    }

    /// Waits for its end; whether that is one that the app meant.
    pub(super) async fn end(mut self) -> bool {
        let rest = async {
            loop {
                match self.body.next().await {
                    Some(Ok(_)) => {}
                    Some(Err(_)) => return false,
                    None => return true,
                }
            }
        };
        timeout(PATIENCE, rest).await.expect("it ends")
    }
}
