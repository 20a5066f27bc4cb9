//! What the daemon says is done.

use super::{Link, LinkConfig, State, connection::Connection};
use crate::{
    message::{Outcome, PodState, ToDaemon, ToGateway},
    secure::{LinkError, Reader},
};
use apocryph_gateway::{Gateway, PutError};
use apocryph_model::ChannelId;
use std::{collections::HashSet, io, sync::Arc, time::Duration};
use tokio::time::timeout;
use tracing::{info, warn};

/// What one connection has told so far.
#[derive(Default)]
struct Heard {
    put: HashSet<ChannelId>,
    /// Routes that another pod's were in the way of, until all are known.
    refused: Vec<PodState>,
    synced: bool,
}

impl Link {
    /// Until the connection breaks.
    pub(super) async fn listen(
        &self,
        mut reader: Reader,
        lease: Duration,
        connection: &Arc<Connection>,
        config: &LinkConfig,
        gateway: &Gateway,
    ) -> Result<(), LinkError> {
        let mut heard = Heard::default();
        loop {
            let message = timeout(lease, reader.receive()).await.map_err(|_| LinkError::Silent)??;
            match message {
                ToGateway::Pong { count } => self.0.lease.send_modify(|lease| lease.pong(count)),
                ToGateway::Put { order, pod } => {
                    let outcome = self.put(gateway, pod, &mut heard).await?;
                    if let Some(order) = order {
                        connection.say(ToDaemon::Done { order, outcome }).await;
                    }
                }
                ToGateway::Synced => self.synced(gateway, config.drain, &mut heard).await?,
                ToGateway::Release { order, pod, run } => {
                    let released = gateway.release(pod, run);
                    let outcome = released.map_or(Outcome::InUse, |()| Outcome::Holds);
                    connection.say(ToDaemon::Done { order, outcome }).await;
                }
                ToGateway::Retire { order, pod, grace_ms } => {
                    let (connection, gateway) = (connection.clone(), gateway.clone());
                    tokio::spawn(async move {
                        gateway.retire(pod, Duration::from_millis(grace_ms)).await;
                        connection.say(ToDaemon::Done { order, outcome: Outcome::Holds }).await;
                    });
                }
                ToGateway::Remove { order, pod, grace_ms } => {
                    self.known().remove(&pod);
                    let (connection, leaving) = (connection.clone(), gateway.detach(pod).await);
                    tokio::spawn(async move {
                        if let Some(leaving) = leaving {
                            leaving.drain(Duration::from_millis(grace_ms)).await;
                        }
                        connection.say(ToDaemon::Done { order, outcome: Outcome::Holds }).await;
                    });
                }
                ToGateway::Started { pod, outcome } => connection.started(pod, outcome),
                ToGateway::Welcome { .. } => {}
            }
        }
    }

    /// Puts a pod. What another pod's routes are in the way of waits until all are known, or where
    /// they are, for a new link, over which all is told anew.
    async fn put(&self, gateway: &Gateway, pod: PodState, heard: &mut Heard) -> io::Result<Outcome> {
        self.known().insert(pod.pod);
        heard.put.insert(pod.pod);
        match gateway.put(pod.routes(), &pod.running()).await {
            Ok(()) => Ok(Outcome::Holds),
            Err(PutError::Listen { port, cause }) => {
                warn!(port, %cause, "a pod's port cannot be listened on");
                let taken = cause.kind() == io::ErrorKind::AddrInUse;
                Ok(Outcome::Port { port, taken, reason: cause.to_string() })
            }
            Err(PutError::HostTaken { .. } | PutError::PortTaken { .. }) if !heard.synced => {
                heard.refused.push(pod);
                Ok(Outcome::Holds)
            }
            Err(error) => Err(io::Error::other(error)),
        }
    }

    /// Takes away what is no more, then puts what that was in the way of.
    async fn synced(&self, gateway: &Gateway, drain: Duration, heard: &mut Heard) -> io::Result<()> {
        let gone: Vec<_> = self.known().extract_if(|pod| !heard.put.contains(pod)).collect();
        for pod in gone {
            if let Some(leaving) = gateway.detach(pod).await {
                tokio::spawn(leaving.drain(drain));
            }
        }
        heard.synced = true;
        for pod in std::mem::take(&mut heard.refused) {
            self.put(gateway, pod, heard).await?;
        }
        info!(pods = heard.put.len(), "every pod is known");
        self.0.state.send_replace(State::Synced);
        Ok(())
    }
}
