//! Published TCP ports: a connection wakes the pod, then bytes pass both ways.

use crate::{
    Refusal,
    clients::Clients,
    listener::accept,
    pod::{Environment, Pod},
    tunnel::tunnel,
};
use std::{
    future::pending,
    sync::{
        Arc,
        atomic::{AtomicU16, Ordering},
    },
};
use tokio::net::{TcpListener, TcpStream};
use tracing::{debug, instrument};

/// How often a connection is tried on an endpoint that has just accepted another.
const ATTEMPTS: usize = 5;

/// One published port.
pub(crate) struct Published {
    pub(crate) pod: Arc<Pod>,
    pub(crate) container_port: Arc<AtomicU16>,
    pub(crate) environment: Arc<Environment>,
    pub(crate) clients: Arc<Clients>,
}

impl Published {
    /// Takes connections on `listener` until the gateway drains. Those that it took outlive it.
    pub(crate) async fn accept(self, listener: TcpListener) {
        let stopping = self.environment.stopping.clone();
        while let Some((stream, peer)) = stopping.run_until_cancelled(accept(&listener)).await {
            let Some(counted) = self.clients.count(peer.ip()) else {
                self.environment.meters.refused_clients.increment(1);
                continue;
            };
            self.environment.meters.tcp_connections.increment(1);
            let port = self.container_port.load(Ordering::Relaxed);
            let (pod, environment) = (self.pod.clone(), self.environment.clone());
            self.environment.tasks.spawn(async move {
                if let Err(refusal) = serve(pod, port, stream).await {
                    debug!(cause = refusal.code(), "a TCP connection was closed");
                    environment.meters.refused(&refusal);
                }
                drop(counted);
            });
        }
    }
}

#[instrument(name = "serve", level = "debug", skip_all, fields(pod = %pod.id().short(), port))]
async fn serve(pod: Arc<Pod>, port: u16, client: TcpStream) -> Result<(), Refusal> {
    let mut entry = pod.enter()?;
    for _ in 0..ATTEMPTS {
        let endpoint = tokio::select! {
            biased;
            endpoint = entry.endpoint(port, 0) => endpoint?,
            () = has_left(&client) => return Ok(()),
        };
        if let Ok(app) = endpoint.dial().await {
            tunnel(client, app, endpoint.gone().clone(), entry).await;
            return Ok(());
        }
        entry.refused(port);
    }
    Err(Refusal::BackendRefused)
}

/// Returns when the client has closed the connection without having sent anything.
async fn has_left(client: &TcpStream) {
    if let Ok(1..) = client.peek(&mut [0]).await {
        pending().await
    }
}
