//! The gateway's half of the link: starts are asked of the daemon, and it is obeyed.

mod connection;

use super::{
    lease::Lease,
    message::{ACTIVITIES, LONGEST_NAME, Outcome, PodActivity, PodState, ToDaemon, ToGateway, VERSION},
};
use crate::{
    Token,
    dial::{Missed, connect},
    secure::{self, LinkError, Reader, Writer},
};
use apocryph_gateway::{Backend, Gateway, Pods, PutError, StopError, WakeError};
use apocryph_model::ChannelId;
use async_trait::async_trait;
use connection::Connection;
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
    time::{Instant, MissedTickBehavior, interval, sleep, sleep_until, timeout, timeout_at},
};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

/// How often activity is told, where it changed.
const TELL: Duration = Duration::from_millis(100);
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

/// What one connection has told so far.
#[derive(Default)]
struct Heard {
    put: HashSet<ChannelId>,
    /// Routes that another pod's were in the way of, until all are known.
    refused: Vec<PodState>,
    synced: bool,
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
            ended = speak(writer, queue, gateway) => ended,
            () = self.keep_telling(&connection, gateway) => Ok(()),
            () = connection.gone.cancelled() => Ok(()),
        };
        connection.gone.cancel();
        self.0.connection.send_replace(None);
        self.0.state.send_replace(State::Away);
        ended
    }

    /// Asks for the lease, and has activity told.
    async fn keep_telling(&self, connection: &Connection, gateway: &Gateway) {
        for message in activity(gateway, true) {
            connection.say(message).await;
        }
        let mut tell = interval(TELL);
        tell.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut next_ping = Instant::now();
        loop {
            tokio::select! {
                _ = tell.tick() => {
                    for message in activity(gateway, false) {
                        connection.say(message).await;
                    }
                }
                () = sleep_until(next_ping) => {
                    let (mut count, mut period) = (0, TELL);
                    self.0.lease.send_if_modified(|lease| {
                        (count, period) = (lease.ping(Instant::now()), lease.period());
                        false
                    });
                    next_ping = Instant::now() + period;
                    connection.say(ToDaemon::Ping { count }).await;
                }
            }
        }
    }

    async fn listen(
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
    async fn died(&self, _: ChannelId, _: Backend) -> WakeError {
        pending().await
    }
}

fn hello(config: &LinkConfig, run: u64) -> ToDaemon {
    ToDaemon::Hello { version: VERSION, name: config.name.clone(), run }
}

/// What is under way, in messages of bounded size; the first of a whole one comes in any case.
fn activity(gateway: &Gateway, whole: bool) -> Vec<ToDaemon> {
    let news = gateway.activity(whole);
    let news: Vec<_> = news.into_iter().map(|(pod, activity)| PodActivity::new(pod, activity)).collect();
    if whole && news.is_empty() {
        return vec![ToDaemon::Activity { whole, pods: Vec::new() }];
    }
    let parts = news.chunks(ACTIVITIES).enumerate();
    parts.map(|(at, pods)| ToDaemon::Activity { whole: whole && at == 0, pods: pods.into() }).collect()
}

/// Sends what is to be said, until the last word. Before a start is asked for it is told for how
/// much.
async fn speak(
    mut writer: Writer,
    mut queue: mpsc::Receiver<ToDaemon>,
    gateway: &Gateway,
) -> Result<(), LinkError> {
    while let Some(message) = queue.recv().await {
        if matches!(message, ToDaemon::Start { .. }) {
            for activity in activity(gateway, false) {
                writer.send(&activity).await?;
            }
        }
        writer.send(&message).await?;
        if message == ToDaemon::Bye {
            break;
        }
    }
    Ok(())
}
