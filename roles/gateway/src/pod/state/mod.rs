//! What the gateway knows of one pod, and what it decides by that. No clock and no tasks: time is
//! passed in, and what is to be done is given back.
//!
//! ```text
//!            a request arrives                the engine names replicas
//!   ┌──────┐ ────────────────▶ ┌────────┐ ─────────────────────────────▶ ┌─────────┐
//!   │ Zero │                   │ Waking │                                │ Serving │
//!   └──────┘ ◀──────────────── └────────┘                                └─────────┘
//!      ▲  ▲   the start failed: whoever                                     │   │
//!      │  │   waits is told why                                             │   │
//!      │  └────────────────── the last replica died ────────────────────────┘   │
//!      │                                                                        │
//!      │                   ┌──────────┐                                         │
//!      └────────────────── │ Draining │ ◀───────────────────────────────────────┘
//!        the engine has    └──────────┘   nothing was under way for the idle period;
//!        stopped them                     nothing is routed to the replicas any more
//!
//!   Closed: the pod was removed, from whatever state
//! ```
//!
//! A request that arrives in `Draining` waits for `Zero` and makes the pod wake again. When the
//! pod shrinks, a single replica is fenced in the same way; a request that needs it before it is
//! stopped takes it back.

mod replicas;

use super::members::{Members, Unwatched};
use crate::{Backend, WakeError, endpoint::Endpoint};
use apocryph_model::Scale;
use replicas::Scaling;
use std::{collections::BTreeSet, sync::Arc, time::Duration};
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

pub(super) use replicas::{Growth, Review};

/// Something is under way where nothing must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("something is under way")]
pub struct InUse;

/// What is under way to a pod at one gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Activity {
    /// Requests, streams and connections, also those that wait.
    pub open: usize,
    /// The most of them at once since this was told before.
    pub most: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    Zero,
    Waking,
    Serving,
    Draining,
    Closed,
}

/// What becomes of a request.
pub(super) enum Admission {
    /// It goes to this run's endpoint, and is counted there.
    Serve(u64, Arc<Endpoint>),
    /// It waits for a change.
    Hold,
    /// It waits, and is the one that makes the pod start with so many replicas.
    Wake(u32),
    /// The start it waited for, or one just before, failed.
    Failed { cause: Arc<WakeError>, retry_after: Duration },
    /// The pod was removed.
    Closed,
}

pub(super) struct State {
    scale: Scale,
    ports: BTreeSet<u16>,
    phase: Phase,
    /// The number of the current start or the last one.
    starts: u64,
    failure: Option<Failure>,
    members: Members,
    /// Requests, streams and connections under way here, also those that wait.
    open: usize,
    /// The same at the gateways beside this one.
    elsewhere: usize,
    /// The most that was under way since the last review.
    peak: usize,
    /// What was last told of the requests here, and the most that were open since.
    told: Activity,
    /// Since when nothing is under way, if nothing is.
    quiet_since: Instant,
    reviewed_at: Instant,
    served_since: Instant,
    /// Since when ports of what runs may not be listening yet, without anyone's fault.
    silent_since: Instant,
    scaling: Scaling,
}

struct Failure {
    start: u64,
    cause: Arc<WakeError>,
    retry_at: Instant,
    backoff: Duration,
}

/// A pod that lived shorter counts as one whose start failed.
const STABLE: Duration = Duration::from_secs(10);
const FIRST_BACKOFF: Duration = Duration::from_secs(1);
const LONGEST_BACKOFF: Duration = Duration::from_secs(30);

impl State {
    /// A pod that waits for its first [`State::update`].
    pub(super) fn new(now: Instant) -> Self {
        Self {
            scale: Scale::default(),
            ports: BTreeSet::new(),
            phase: Phase::Zero,
            starts: 0,
            failure: None,
            members: Members::default(),
            open: 0,
            elsewhere: 0,
            peak: 0,
            told: Activity::default(),
            quiet_since: now,
            reviewed_at: now,
            served_since: now,
            silent_since: now,
            scaling: Scaling::Settled,
        }
    }

    pub(super) fn phase(&self) -> Phase {
        self.phase
    }

    pub(super) fn open(&self) -> usize {
        self.open
    }

    /// Whether anything is under way, here or at another gateway.
    pub(super) fn busy(&self) -> bool {
        self.load() > 0
    }

    pub(super) fn load(&self) -> usize {
        self.open.saturating_add(self.elsewhere)
    }

    /// Counts a request as activity; `false` where `limit` are under way already.
    pub(super) fn enter(&mut self, limit: usize) -> bool {
        if self.open >= limit {
            return false;
        }
        self.open += 1;
        self.told.most = self.told.most.max(self.open);
        self.peak = self.peak.max(self.load());
        true
    }

    /// The request is over, on `run` if it got there. Tells whether somebody may wait for that.
    pub(super) fn leave(&mut self, run: Option<u64>, now: Instant) -> bool {
        let awaited = run.is_some_and(|run| self.members.release(run));
        self.open -= 1;
        if !self.busy() {
            self.quiet_since = now;
        }
        awaited || (self.phase == Phase::Closed && self.open == 0)
    }

    /// So much is under way at other gateways.
    pub(super) fn set_elsewhere(&mut self, open: usize, now: Instant) {
        let was_busy = self.busy();
        self.elsewhere = open;
        self.peak = self.peak.max(self.load());
        if was_busy && !self.busy() {
            self.quiet_since = now;
        }
    }

    /// What is under way here, if that is news since it was told last.
    pub(super) fn tell(&mut self) -> Option<Activity> {
        let told = Activity { open: self.open, most: self.told.most.max(self.open) };
        let news = told.open != self.told.open || told.most > self.told.open;
        self.told = Activity { open: self.open, most: self.open };
        news.then_some(told)
    }

    /// Decides about a request for `port`. `waits_for` remembers the start that it waits for.
    pub(super) fn admit(&mut self, port: u16, waits_for: &mut Option<u64>, now: Instant) -> Admission {
        if let Some(admission) = self.rouse(waits_for, now) {
            return admission;
        }
        match self.members.choose(port) {
            Some((run, endpoint)) => Admission::Serve(run, endpoint),
            None => {
                waits_for.get_or_insert(self.starts);
                Admission::Hold
            }
        }
    }

    /// What becomes of whoever wants the pod to run; `None` where it serves.
    pub(super) fn rouse(&mut self, waits_for: &mut Option<u64>, now: Instant) -> Option<Admission> {
        if let Some(failure) = &self.failure
            && (waits_for.is_some_and(|start| failure.start >= start)
                || (self.phase == Phase::Zero && now < failure.retry_at))
        {
            let retry_after = failure.retry_at.saturating_duration_since(now);
            return Some(Admission::Failed { cause: failure.cause.clone(), retry_after });
        }
        Some(match self.phase {
            Phase::Serving => return None,
            Phase::Closed => Admission::Closed,
            // What the engine was asked before may yet bring replicas.
            Phase::Zero if !self.settled() => {
                waits_for.get_or_insert(self.starts + 1);
                Admission::Hold
            }
            Phase::Zero => {
                let replicas = self.start();
                waits_for.get_or_insert(self.starts);
                Admission::Wake(replicas)
            }
            Phase::Waking => {
                waits_for.get_or_insert(self.starts);
                Admission::Hold
            }
            Phase::Draining => {
                waits_for.get_or_insert(self.starts + 1);
                Admission::Hold
            }
        })
    }

    fn start(&mut self) -> u32 {
        self.starts += 1;
        self.phase = Phase::Waking;
        self.desired()
    }

    /// The engine was asked to start the pod, and these run.
    pub(super) fn woken(&mut self, backends: &[Backend], now: Instant) {
        if self.phase == Phase::Waking {
            self.serve_from(now);
            self.add(backends, now);
        }
    }

    fn add(&mut self, backends: &[Backend], now: Instant) {
        if self.members.add(backends) {
            self.silent_since = now;
        }
    }

    /// Until when whoever waits for a port waits, where the pod runs and may take `limit` to listen.
    pub(super) fn listens_by(&self, limit: Duration) -> Option<Instant> {
        (self.phase == Phase::Serving).then(|| self.silent_since + limit)
    }

    fn serve_from(&mut self, now: Instant) {
        self.phase = Phase::Serving;
        self.served_since = now;
        self.silent_since = now;
        self.reviewed_at = now;
        self.peak = self.load();
        if !self.busy() {
            self.quiet_since = now;
        }
    }

    /// The engine did not start the pod.
    pub(super) fn start_failed(&mut self, cause: WakeError, now: Instant) {
        if self.phase == Phase::Waking {
            self.phase = Phase::Zero;
            self.fail(cause, now);
        }
    }

    fn fail(&mut self, cause: WakeError, now: Instant) {
        let backoff = self.failure.as_ref().map_or(FIRST_BACKOFF, |f| (f.backoff * 2).min(LONGEST_BACKOFF));
        let retry_at = now + backoff;
        self.failure = Some(Failure { start: self.starts, cause: Arc::new(cause), retry_at, backoff });
    }

    /// Replicas whose ports are to be watched; [`State::watched`] takes the task that does.
    pub(super) fn unwatched(&self) -> Vec<Unwatched> {
        self.members.unwatched(&self.ports)
    }

    pub(super) fn watched(&mut self, run: u64, watch: AbortOnDropHandle<()>) {
        self.members.watched(run, watch);
    }

    /// A port of a replica accepted a connection.
    pub(super) fn listening(&mut self, run: u64, port: u16, endpoint: Arc<Endpoint>) {
        self.members.listening(run, port, endpoint);
    }

    /// A port that listened does not accept connections any more, and a request leaves it.
    pub(super) fn refused(&mut self, run: u64, port: u16, now: Instant) {
        self.silent_since = now;
        self.members.refused(run, port);
        self.members.release(run);
    }

    /// A replica has ended by itself.
    pub(super) fn lost(&mut self, run: u64, cause: WakeError, now: Instant) {
        if !self.members.remove(run) || self.phase != Phase::Serving {
            return;
        }
        if self.members.active() == 0 {
            self.members.unfence();
        }
        if self.members.active() > 0 {
            if self.scaling == Scaling::Settled {
                self.growth_refused(now);
            }
        } else {
            self.phase = Phase::Zero;
            let stable = now.saturating_duration_since(self.served_since) >= STABLE;
            self.failure = self.failure.take().filter(|_| !stable);
            if !stable {
                self.fail(cause, now);
            }
        }
    }

    /// Takes the pod's settings and what runs of it. While a start or stop is under way that
    /// call alone tells what runs, as it is the newer one.
    pub(super) fn update(&mut self, scale: Scale, ports: BTreeSet<u16>, running: &[Backend], now: Instant) {
        self.scale = scale;
        self.failure = None;
        self.scaling = match self.scaling {
            Scaling::Settled | Scaling::GrowsAgainAt(_) => Scaling::Settled,
            Scaling::Growing { .. } => Scaling::Growing { superseded: true },
            Scaling::Shrinking(run) => Scaling::Shrinking(run),
        };
        if self.ports != ports {
            self.ports = ports;
            self.silent_since = now;
            self.members.unwatch();
        }
        if matches!(self.phase, Phase::Zero | Phase::Serving) {
            let stopping = |backend: &Backend| self.scaling == Scaling::Shrinking(backend.run);
            let running: Vec<_> = running.iter().copied().filter(|backend| !stopping(backend)).collect();
            self.members.retire_all_but(&running);
            self.add(&running, now);
            match (self.phase, running.is_empty()) {
                (Phase::Zero, false) => self.serve_from(now),
                (_, true) => self.phase = Phase::Zero,
                _ => {}
            }
        }
    }

    /// The runs of replicas that are retired.
    pub(super) fn retired(&self) -> BTreeSet<u64> {
        self.members.retired()
    }

    /// How much is under way on those of `runs` that are retired still.
    pub(super) fn retiring(&self, runs: &BTreeSet<u64>) -> usize {
        self.members.retiring(runs)
    }

    /// Cuts what is under way on them.
    pub(super) fn cut_retired(&mut self, runs: &BTreeSet<u64>) {
        self.members.cut_retired(runs);
    }

    /// The engine has brought the pod to zero, or somebody waits for it to run again, which
    /// starting it again settles.
    pub(super) fn stopped(&mut self) {
        if self.phase == Phase::Draining {
            self.phase = Phase::Zero;
        }
    }

    /// The pod that was to be stopped is in use at another gateway: it is to be started with so
    /// many replicas, of which some run. `None` where it was removed meanwhile.
    pub(super) fn still_in_use(&mut self) -> Option<u32> {
        (self.phase == Phase::Draining).then(|| self.start())
    }

    /// The replicas that may be routed to; `None` while the engine is being asked to stop them.
    pub(super) fn routed(&self) -> Option<Vec<Backend>> {
        (self.phase != Phase::Draining).then(|| self.members.routed())
    }

    /// Routes to no replica any more, or not to `run`, unless something is under way there.
    ///
    /// # Errors
    /// Something is.
    pub(super) fn release(&mut self, run: Option<u64>) -> Result<(), InUse> {
        match run {
            None if self.open > 0 => return Err(InUse),
            None => self.members.clear(),
            Some(run) => self.members.take_unused(run)?,
        }
        self.serve_nothing_else();
        Ok(())
    }

    /// Routes nothing more to what runs now; what is under way goes on.
    pub(super) fn suspend(&mut self) {
        self.members.retire_all_but(&[]);
        self.serve_nothing_else();
    }

    fn serve_nothing_else(&mut self) {
        if self.phase == Phase::Serving && self.members.active() == 0 {
            self.phase = Phase::Zero;
        }
    }

    /// The pod was removed: nothing more enters.
    pub(super) fn close(&mut self) {
        self.phase = Phase::Closed;
    }

    /// Cuts whatever is under way.
    pub(super) fn cut(&mut self) {
        self.members.clear();
    }
}
