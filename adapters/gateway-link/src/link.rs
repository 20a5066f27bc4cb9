//! The gateway's half of the link: starts are asked of the daemon, and it is obeyed.

mod connection;
mod dial;
mod obey;
mod tell;

use crate::{
    Token,
    lease::Lease,
    message::{LONGEST_NAME, ToDaemon, ToGateway, VERSION},
    secure::{self, LinkError},
};
use apocryph_gateway::{Backend, End, Gateway, Pods, StopError, WakeError};
use apocryph_model::ChannelId;
use async_trait::async_trait;
use connection::Connection;
use dial::{Missed, connect};
use std::{
    collections::HashSet,
    future::pending,
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::{
    net::TcpStream,
    sync::{mpsc, watch},
    time::{Instant, sleep, timeout, timeout_at},
};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

/// How soon the daemon is looked for again.
const AGAIN: Duration = Duration::from_millis(250);
const WELCOME_TIME: Duration = Duration::from_secs(5);
/// Messages that wait to be sent.
const QUEUE: usize = 4096;

/// Where the daemon is, and how this gateway comes to it.
#[derive(Clone)]
pub struct LinkConfig {
    /// The daemon's address: a host name or IP address, and a port.
    pub daemon: String,
    /// What is shared with it.
    pub token: Token,
    /// What this gateway is called.
    pub name: String,
    /// How long what is under way may take when a pod is no more.
    pub drain: Duration,
}

impl LinkConfig {
    /// The most bytes of a name.
    pub const LONGEST_NAME: usize = LONGEST_NAME;
}

/// How things stand with the daemon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Nothing was heard of it yet.
    Unknown,
    /// It is there, and told everything.
    Synced,
    /// It was there, and is not now.
    Away,
}

/// The link to the daemon, over which this gateway's pods are started. Clones are the same.
#[derive(Clone)]
pub struct Link(Arc<Inner>);

struct Inner {
    run: u64,
    connection: watch::Sender<Option<Arc<Connection>>>,
    lease: watch::Sender<Lease>,
    state: watch::Sender<State>,
    leaving: CancellationToken,
    /// What was put, whichever connection told it.
    known: Mutex<HashSet<ChannelId>>,
}

impl Default for Link {
    fn default() -> Self {
        Self(Arc::new(Inner {
            run: rand::random(),
            connection: watch::Sender::new(None),
            lease: watch::Sender::new(Lease::default()),
            state: watch::Sender::new(State::Unknown),
            leaving: CancellationToken::new(),
            known: Mutex::default(),
        }))
    }
}

impl Link {
    /// How things stand.
    pub fn state(&self) -> watch::Receiver<State> {
        self.0.state.subscribe()
    }

    /// Whether the daemon is there and has the same token: connects once, and leaves.
    ///
    /// # Errors
    /// What is wrong, for people.
    pub async fn probe(config: &LinkConfig) -> Result<(), String> {
        let stream = match connect(&config.daemon).await {
            Ok(stream) => stream,
            Err(Missed::Nobody) => return Err(format!("nobody listens at {}", config.daemon)),
            Err(Missed::Unknown(error)) => return Err(format!("{}: {error}", config.daemon)),
        };
        let greeted = async {
            let (_, mut writer) = secure::initiate(stream, &config.token).await?;
            writer.send(&hello(config, rand::random())).await?;
            writer.send(&ToDaemon::Bye).await
        };
        greeted.await.map_err(|error| format!("{}: {error}", config.daemon))
    }

    /// Keeps the link up, and does as the daemon says with `gateway`, until [`Link::leave`].
    pub async fn run(&self, config: &LinkConfig, gateway: &Gateway) {
        tokio::select! {
            () = self.stay_connected(config, gateway) => {}
            () = self.guard(gateway) => {}
        }
    }

    /// Tells the daemon that nothing is under way here any more, and ends the link.
    pub async fn leave(&self) {
        self.0.leaving.cancel();
        let connection = self.0.connection.borrow().clone();
        let Some(connection) = connection else { return };
        if connection.said.send(ToDaemon::Bye).await.is_ok() {
            // It ends when the word is out; a daemon that does not read finds out by itself.
            let _ = timeout(WELCOME_TIME, connection.gone.cancelled()).await;
        }
    }

    async fn stay_connected(&self, config: &LinkConfig, gateway: &Gateway) {
        // A miss is told once, not every time.
        let mut missed = false;
        while !self.0.leaving.is_cancelled() {
            let began = Instant::now();
            match connect(&config.daemon).await {
                Ok(stream) => {
                    missed = false;
                    if let Err(error) = self.converse(stream, config, gateway).await {
                        warn!(%error, daemon = config.daemon, "the link to the daemon broke");
                    }
                }
                Err(Missed::Nobody) => self.0.lease.send_modify(|lease| lease.renew(began)),
                Err(Missed::Unknown(error)) if !missed => {
                    missed = true;
                    warn!(%error, daemon = config.daemon, "the daemon cannot be reached");
                }
                Err(Missed::Unknown(_)) => {}
            }
            sleep(AGAIN).await;
        }
    }

    /// Stops routing by what may not hold any more when the lease is over.
    async fn guard(&self, gateway: &Gateway) {
        let mut lease = self.0.lease.subscribe();
        let mut over = None;
        loop {
            let until = lease.borrow_and_update().until();
            match until {
                Some(until) if over != Some(until) && Instant::now() >= until => {
                    warn!("nothing was heard of the daemon for too long: nothing is routed until it is back");
                    over = Some(until);
                    gateway.suspend();
                    if let Some(connection) = &*self.0.connection.borrow() {
                        connection.gone.cancel();
                    }
                }
                // Either way there is a new look; the sender is this one's own.
                Some(until) if over != Some(until) => drop(timeout_at(until, lease.changed()).await),
                _ => drop(lease.changed().await),
            }
        }
    }

    async fn converse(
        &self,
        stream: TcpStream,
        config: &LinkConfig,
        gateway: &Gateway,
    ) -> Result<(), LinkError> {
        let (mut reader, mut writer) = secure::initiate(stream, &config.token).await?;
        writer.send(&hello(config, self.0.run)).await?;
        let welcome = timeout(WELCOME_TIME, reader.receive()).await.map_err(|_| LinkError::Silent)??;
        let ToGateway::Welcome { version: VERSION, lease_ms } = welcome else {
            let text = "the daemon is of another release";
            return Err(io::Error::new(io::ErrorKind::InvalidData, text).into());
        };
        let lease = Duration::from_millis(lease_ms);
        self.0.lease.send_modify(|known| known.set_length(lease));
        let (said, queue) = mpsc::channel(QUEUE);
        let connection = Arc::new(Connection::new(said));
        self.0.connection.send_replace(Some(connection.clone()));
        info!(daemon = config.daemon, "the daemon is there");
        let ended = tokio::select! {
            ended = self.listen(reader, lease, &connection, config, gateway) => ended,
            ended = tell::speak(writer, queue, gateway) => ended,
            () = self.keep_telling(&connection, gateway) => Ok(()),
            () = connection.gone.cancelled() => Ok(()),
        };
        connection.gone.cancel();
        self.0.connection.send_replace(None);
        self.0.state.send_replace(State::Away);
        ended
    }

    fn known(&self) -> MutexGuard<'_, HashSet<ChannelId>> {
        self.0.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Pods for Link {
    /// How many replicas are needed is known to the daemon alone.
    async fn wake(&self, pod: ChannelId, _replicas: u32) -> Result<Vec<Backend>, WakeError> {
        let mut connections = self.0.connection.subscribe();
        loop {
            let connection = connections.borrow_and_update().clone();
            if let Some(connection) = connection
                && let Some(started) = connection.start(pod).await
            {
                return started;
            }
            // The sender is this one's own: it cannot be gone.
            let _ = connections.changed().await;
        }
    }

    /// The daemon decides what is stopped.
    async fn retire(&self, _: ChannelId, _: Backend) -> Result<(), StopError> {
        Err(StopError::InUse)
    }

    /// The daemon decides what is stopped.
    async fn idle(&self, _: ChannelId) -> Result<(), StopError> {
        Err(StopError::InUse)
    }

    fn away(&self) -> bool {
        self.0.connection.borrow().is_none()
    }

    fn unheard(&self, pod: ChannelId, port: u16) {
        if let Some(connection) = &*self.0.connection.borrow() {
            // It is for `status`, and told again.
            let _ = connection.said.try_send(ToDaemon::Unheard { pod, port });
        }
    }

    /// The daemon tells what runs.
    async fn died(&self, _: ChannelId, _: Backend) -> End {
        pending().await
    }
}

fn hello(config: &LinkConfig, run: u64) -> ToDaemon {
    ToDaemon::Hello { version: VERSION, name: config.name.clone(), run }
}
