//! One pod at the gateway: who is under way to it, and the tasks that start, watch and stop it.

mod keep;
mod members;
mod state;
mod wake;

#[cfg(test)]
mod tests;

use crate::{
    Backend, Config, Pods, Refusal, WakeError,
    endpoint::Endpoint,
    hold::{Place, Room},
    meters::Meters,
};
use apocryph_model::{ChannelId, Scale};
use state::{Admission, Growth, State};
use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::{
    sync::watch,
    time::{Instant, timeout, timeout_at},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

pub(crate) use state::Phase;
pub use state::{Activity, InUse};

/// What all pods of a gateway share.
pub(crate) struct Environment {
    pub(crate) pods: Arc<dyn Pods>,
    pub(crate) config: Config,
    pub(crate) room: Room,
    pub(crate) meters: Meters,
    /// The listeners, and what is under way over them.
    pub(crate) tasks: TaskTracker,
    /// Cancelled when the gateway stops taking connections.
    pub(crate) stopping: CancellationToken,
}

/// One pod.
pub(crate) struct Pod {
    id: ChannelId,
    environment: Arc<Environment>,
    room: Room,
    state: Mutex<State>,
    /// Told whatever somebody may wait for.
    changes: watch::Sender<()>,
}

/// Something under way to the pod: a request, a stream or a connection. The pod is not idle while
/// there is one.
pub(crate) struct Entry {
    pod: Arc<Pod>,
    run: Option<u64>,
    deadline: Option<Instant>,
}

impl Pod {
    /// A pod of which nothing runs as far as is known, with the task that keeps it.
    pub(crate) fn new(id: ChannelId, environment: Arc<Environment>) -> Arc<Self> {
        let pod = Arc::new(Self {
            id,
            room: Room::of_pod(&environment.config.hold),
            environment,
            state: Mutex::new(State::new(Instant::now())),
            changes: watch::Sender::new(()),
        });
        tokio::spawn(pod.clone().keep());
        pod
    }

    pub(crate) fn id(&self) -> ChannelId {
        self.id
    }

    pub(crate) fn phase(&self) -> Phase {
        self.state().phase()
    }

    /// Takes the pod's settings and what runs of it, whatever was known before.
    pub(crate) fn update(self: &Arc<Self>, scale: Scale, ports: BTreeSet<u16>, running: &[Backend]) {
        self.state().update(scale, ports, running, Instant::now());
        self.changed();
    }

    /// Lets a request in.
    ///
    /// # Errors
    /// [`Refusal::PodBusy`] where too much is under way.
    pub(crate) fn enter(self: &Arc<Self>) -> Result<Entry, Refusal> {
        let mut state = self.state();
        if !state.enter(self.environment.config.open_per_pod) {
            return Err(Refusal::PodBusy);
        }
        self.attend(state, 1);
        Ok(Entry { pod: self.clone(), run: None, deadline: None })
    }

    /// Takes note of how much is under way at other gateways.
    pub(crate) fn set_elsewhere(self: &Arc<Self>, open: usize) {
        let mut state = self.state();
        let before = state.load();
        state.set_elsewhere(open, Instant::now());
        match state.load() {
            load if load > before => self.attend(state, load - before),
            0 if before > 0 => {
                drop(state);
                self.changes.send_replace(());
            }
            _ => {}
        }
    }

    /// Gets the pod what it needs now that there is so much `more` under way.
    fn attend(self: &Arc<Self>, mut state: MutexGuard<'_, State>, more: usize) {
        let growth = state.grow(Instant::now());
        let first_in_drain = state.phase() == Phase::Draining && state.load() == more;
        drop(state);
        if first_in_drain || growth == Growth::TakenBack {
            self.changes.send_replace(());
        }
        if let Growth::Ask(replicas) = growth {
            tokio::spawn(self.clone().grow(replicas));
        }
    }

    /// Has the pod started, unless it serves or is being started; gives what is routed to then.
    ///
    /// # Errors
    /// The start failed, or one just before.
    pub(crate) async fn start(self: &Arc<Self>) -> Result<Vec<Backend>, Arc<WakeError>> {
        let mut changes = self.changes.subscribe();
        let mut waits_for = None;
        loop {
            let admission = self.state().rouse(&mut waits_for, Instant::now());
            match admission {
                None => return Ok(self.state().routed().unwrap_or_default()),
                Some(Admission::Wake(replicas)) => drop(tokio::spawn(self.clone().wake(replicas))),
                Some(Admission::Failed { cause, .. }) => return Err(cause),
                Some(Admission::Closed) => return Err(Arc::new(WakeError::Removed)),
                Some(Admission::Hold | Admission::Serve(..)) => {}
            }
            // The sender is this pod's own: it cannot be gone.
            let _ = changes.changed().await;
        }
    }

    pub(crate) fn open(&self) -> usize {
        self.state().open()
    }

    /// What is under way here, if that is news since it was told last.
    pub(crate) fn tell(&self) -> Option<Activity> {
        self.state().tell()
    }

    /// What is routed to; `None` while that is being stopped.
    pub(crate) fn routed(&self) -> Option<Vec<Backend>> {
        self.state().routed()
    }

    /// Told whenever what is routed to may have changed.
    pub(crate) fn changes(&self) -> watch::Receiver<()> {
        self.changes.subscribe()
    }

    /// Routes to no replica any more, or not to `run`, unless something is under way there.
    ///
    /// # Errors
    /// Something is.
    pub(crate) fn release(&self, run: Option<u64>) -> Result<(), InUse> {
        let released = self.state().release(run);
        self.changes.send_replace(());
        released
    }

    /// Routes nothing more to what runs now; what is under way goes on.
    pub(crate) fn suspend(&self) {
        self.state().suspend();
        self.changes.send_replace(());
    }

    /// Waits until nothing is under way on replicas that were taken out before, at most for `grace`;
    /// then cuts it. Gives back how many requests and connections were cut.
    pub(crate) async fn retire(&self, grace: Duration) -> usize {
        let retired = self.state().retired();
        // The time limit ends the wait; what is cut is counted by the state.
        let _ = timeout(grace, self.until(|state| state.retiring(&retired) == 0)).await;
        let mut state = self.state();
        let cut = state.retiring(&retired);
        state.cut_retired(&retired);
        cut
    }

    /// Lets nothing more in, waits until nothing is under way, at most for `grace`, and cuts the
    /// rest. Gives back how many requests and connections were cut.
    pub(crate) async fn close(&self, grace: Duration) -> usize {
        self.state().close();
        self.changes.send_replace(());
        let _ = timeout(grace, self.until(|state| state.open() == 0)).await;
        let mut state = self.state();
        let cut = state.open();
        state.cut();
        cut
    }

    /// Ends the pod's task, before anything could enter.
    pub(crate) fn discard(&self) {
        self.state().close();
        self.changes.send_replace(());
    }

    async fn until(&self, mut reached: impl FnMut(&State) -> bool) {
        let mut changes = self.changes.subscribe();
        while !reached(&self.state()) {
            // The sender is this pod's own: it cannot be gone.
            let _ = changes.changed().await;
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn refusal_in_time(&self, port: u16) -> Refusal {
        match self.phase() {
            Phase::Serving => self.unheard(port),
            _ if self.environment.pods.away() => Refusal::Away,
            _ => Refusal::StartTimeout,
        }
    }

    fn listens_by(&self) -> Option<Instant> {
        self.state().listens_by(self.environment.config.hold.listen)
    }

    fn unheard(&self, port: u16) -> Refusal {
        self.environment.pods.unheard(self.id, port);
        Refusal::NeverListens { port }
    }
}

impl Entry {
    /// An endpoint of the pod's `port` that accepts connections: at once where there is one, else
    /// after being held, as `bytes`, until the pod has been started.
    ///
    /// # Errors
    /// The hold is full or took too long, or the start failed.
    pub(crate) async fn endpoint(&mut self, port: u16, bytes: u32) -> Result<Arc<Endpoint>, Refusal> {
        match self.admit(port, &mut None)? {
            Some(endpoint) => Ok(endpoint),
            // Boxed, as it is large and seldom.
            None => Box::pin(self.hold(port, bytes)).await,
        }
    }

    async fn hold(&mut self, port: u16, bytes: u32) -> Result<Arc<Endpoint>, Refusal> {
        let pod = self.pod.clone();
        let environment = &pod.environment;
        let _place = Place::take(&pod.room, &environment.room, bytes, &environment.meters.held)?;
        let deadline = *self.deadline.get_or_insert_with(|| Instant::now() + environment.config.hold.time);
        let held = timeout_at(deadline, self.wait(port));
        let in_time = environment.stopping.run_until_cancelled(held).await.ok_or(Refusal::ShuttingDown)?;
        in_time.unwrap_or_else(|_| Err(pod.refusal_in_time(port)))
    }

    async fn wait(&mut self, port: u16) -> Result<Arc<Endpoint>, Refusal> {
        let mut changes = self.pod.changes.subscribe();
        let mut waits_for = None;
        loop {
            if let Some(endpoint) = self.admit(port, &mut waits_for)? {
                return Ok(endpoint);
            }
            // The sender is the pod's own: it cannot be gone.
            let changed = changes.changed();
            match self.pod.listens_by() {
                None => drop(changed.await),
                Some(time) => drop(timeout_at(time, changed).await.map_err(|_| self.pod.unheard(port))?),
            }
        }
    }

    fn admit(&mut self, port: u16, waits_for: &mut Option<u64>) -> Result<Option<Arc<Endpoint>>, Refusal> {
        let admission = self.pod.state().admit(port, waits_for, Instant::now());
        match admission {
            Admission::Serve(run, endpoint) => {
                self.run = Some(run);
                return Ok(Some(endpoint));
            }
            Admission::Wake(replicas) => {
                tokio::spawn(self.pod.clone().wake(replicas));
            }
            Admission::Hold => {}
            Admission::Failed { cause, retry_after } => {
                return Err(Refusal::StartFailed { cause, retry_after });
            }
            Admission::Closed => {
                let cause = Arc::new(WakeError::Removed);
                return Err(Refusal::StartFailed { cause, retry_after: Duration::ZERO });
            }
        }
        Ok(None)
    }

    /// The endpoint that was given did not accept a connection: the next one is asked for.
    pub(crate) fn refused(&mut self, port: u16) {
        if let Some(run) = self.run.take() {
            self.pod.state().refused(run, port, Instant::now());
            self.pod.changed();
        }
    }

    /// Where what outlives the request runs, for the gateway to wait for when it drains.
    pub(crate) fn tasks(&self) -> TaskTracker {
        self.pod.environment.tasks.clone()
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        let awaited = self.pod.state().leave(self.run, Instant::now());
        if awaited {
            self.pod.changes.send_replace(());
        }
    }
}
