//! One connection to the daemon, as it is asked over it.

use crate::gateways::message::{Refused, ToDaemon, WireBackend};
use apocryph_gateway::{Backend, WakeError};
use apocryph_model::ChannelId;
use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

/// One connection.
pub(super) struct Connection {
    pub(super) said: mpsc::Sender<ToDaemon>,
    starts: Mutex<HashMap<ChannelId, Vec<oneshot::Sender<Started>>>>,
    /// Cancelled when it is to end, or has.
    pub(super) gone: CancellationToken,
}

pub(super) type Started = Result<Vec<Backend>, WakeError>;

impl Connection {
    /// One over which nothing was said yet; what is to be said goes into `said`.
    pub(super) fn new(said: mpsc::Sender<ToDaemon>) -> Self {
        Self { said, starts: Mutex::default(), gone: CancellationToken::new() }
    }

    /// Where the link broke, what was to be said does not matter any more.
    pub(super) async fn say(&self, message: ToDaemon) {
        let _ = self.said.send(message).await;
    }

    /// Asks for a start; `None` where the link broke before the answer.
    pub(super) async fn start(&self, pod: ChannelId) -> Option<Started> {
        let (sender, receiver) = oneshot::channel();
        self.starts().entry(pod).or_default().push(sender);
        self.say(ToDaemon::Start { pod }).await;
        self.gone.run_until_cancelled(receiver).await?.ok()
    }

    /// The daemon tells what a start has come to.
    pub(super) fn started(&self, pod: ChannelId, outcome: Result<Vec<WireBackend>, Refused>) {
        for waiting in self.starts().remove(&pod).unwrap_or_default() {
            let started = match &outcome {
                Ok(running) => Ok(running.iter().copied().map(Backend::from).collect()),
                Err(refused) => Err(refused.clone().into()),
            };
            // Whoever waited may have left.
            let _ = waiting.send(started);
        }
    }

    fn starts(&self) -> MutexGuard<'_, HashMap<ChannelId, Vec<oneshot::Sender<Started>>>> {
        self.starts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
