//! How many replicas a pod has: by load, by quiet, and one change at a time.

use super::{Phase, STABLE, State};
use crate::{Backend, pod::members::StillInFlight};
use std::time::Duration;
use tokio::time::Instant;

/// How the pod gets more replicas.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::pod) enum Growth {
    /// It needs none, or none can be asked for now.
    None,
    /// Those that were fenced are routed to again, which whoever was to stop them has to know.
    TakenBack,
    /// The engine is to be asked for so many in all.
    Ask(u32),
}

/// What the keeper of the pod has to do.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::pod) enum Review {
    /// Nothing before a change.
    Wait,
    /// Nothing before this time.
    Until(Instant),
    /// Start so many replicas, which run whether or not there are requests.
    Wake(u32),
    /// Ask for so many replicas in all.
    Grow(u32),
    /// Bring the pod to zero.
    Idle,
    /// Stop this replica, which was fenced, as soon as nothing is under way on it.
    Shrink(u64),
    /// The pod was removed.
    End,
}

/// Whether the number of replicas is being changed while the pod serves: one change at a time,
/// and no stop of the pod meanwhile.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Scaling {
    Settled,
    Growing {
        /// An update came since, so that what the engine answers is old.
        superseded: bool,
    },
    /// This replica is being stopped.
    Shrinking(u64),
    /// The engine had no more to give, or a replica died.
    GrowsAgainAt(Instant),
}

impl State {
    /// Gets the pod what it needs: fenced replicas first.
    pub(in crate::pod) fn grow(&mut self, now: Instant) -> Growth {
        let desired = self.desired();
        if self.phase != Phase::Serving || self.members.active() >= desired {
            return Growth::None;
        }
        let taken_back = self.members.unfence();
        let possible = match self.scaling {
            Scaling::Settled => true,
            Scaling::Growing { .. } | Scaling::Shrinking(_) => false,
            Scaling::GrowsAgainAt(time) => now >= time,
        };
        if possible && self.members.active() < desired {
            self.scaling = Scaling::Growing { superseded: false };
            return Growth::Ask(desired);
        }
        if taken_back { Growth::TakenBack } else { Growth::None }
    }

    /// The engine was asked for more replicas, and these run.
    pub(in crate::pod) fn grown(&mut self, backends: &[Backend], now: Instant) {
        let superseded = self.scaling == Scaling::Growing { superseded: true };
        self.scaling = Scaling::Settled;
        match self.phase {
            // The last replica died meanwhile, and these are new.
            Phase::Zero if !backends.is_empty() => self.serve_from(now),
            Phase::Serving if !superseded => {}
            _ => return,
        }
        self.add(backends, now);
        if self.members.active() < self.desired() {
            self.growth_refused(now);
        }
    }

    /// Others are ending a replica: nothing new is routed to it, and what is under way there goes on.
    pub(in crate::pod) fn leaves(&mut self, run: u64) {
        if self.members.retire(run) && self.members.active() == 0 {
            self.members.unfence();
            self.serve_nothing_else();
        }
    }

    /// Cuts what is under way on a replica that has left.
    pub(in crate::pod) fn cut_off(&mut self, run: u64) {
        self.members.remove(run);
    }

    pub(super) fn settled(&self) -> bool {
        matches!(self.scaling, Scaling::Settled | Scaling::GrowsAgainAt(_))
    }

    /// The engine has no more replicas to give.
    pub(in crate::pod) fn growth_refused(&mut self, now: Instant) {
        self.scaling = Scaling::GrowsAgainAt(now + STABLE);
    }

    pub(super) fn desired(&self) -> u32 {
        self.needed_for(self.load())
    }

    fn needed_for(&self, open: usize) -> u32 {
        let each = self.scale.requests_per_replica.max(1) as usize;
        let needed = u32::try_from(open.div_ceil(each)).unwrap_or(u32::MAX);
        needed.max(self.scale.min).max(1).min(self.scale.max.max(1))
    }

    /// Decides what the pod's quiet or load calls for.
    pub(in crate::pod) fn review(&mut self, now: Instant) -> Review {
        match self.phase {
            Phase::Closed => Review::End,
            Phase::Serving => self.review_serving(now),
            Phase::Zero if self.scale.min > 0 && self.settled() => self.review_zero(now),
            Phase::Zero | Phase::Waking | Phase::Draining => Review::Wait,
        }
    }

    fn review_zero(&mut self, now: Instant) -> Review {
        match &self.failure {
            Some(failure) if now < failure.retry_at => Review::Until(failure.retry_at),
            _ => Review::Wake(self.start()),
        }
    }

    fn review_serving(&mut self, now: Instant) -> Review {
        if let Growth::Ask(replicas) = self.grow(now) {
            return Review::Grow(replicas);
        }
        let idle = Duration::from_secs(u64::from(self.scale.idle_seconds.max(1)));
        let idle_at = self.quiet_since + idle;
        let may_idle = !self.busy() && self.scale.min == 0 && self.settled();
        if may_idle && now >= idle_at {
            self.phase = Phase::Draining;
            self.failure = None;
            self.members.clear();
            return Review::Idle;
        }
        if now < self.reviewed_at + idle {
            let review_at = self.reviewed_at + idle;
            return Review::Until(if may_idle { review_at.min(idle_at) } else { review_at });
        }
        self.reviewed_at = now;
        let needed = self.needed_for(self.peak);
        self.peak = self.load();
        if self.settled()
            && self.members.active() > needed
            && let Some(run) = self.members.fence()
        {
            return Review::Shrink(run);
        }
        Review::Until(if may_idle { idle_at } else { now + idle })
    }

    /// Takes out a fenced replica when nothing is under way on it: `Ok(None)` where the fence was
    /// cancelled.
    ///
    /// # Errors
    /// Something is under way.
    pub(in crate::pod) fn take_fenced(&mut self, run: u64) -> Result<Option<Backend>, StillInFlight> {
        let taken = self.members.take_fenced(run)?;
        if taken.is_some() {
            self.scaling = Scaling::Shrinking(run);
        }
        Ok(taken)
    }

    /// The engine has stopped, or tried to stop, the replica that was taken out.
    pub(in crate::pod) fn shrunk(&mut self) {
        self.scaling = Scaling::Settled;
    }

    /// The replica that was taken out is in use at another gateway: it stays.
    pub(in crate::pod) fn stays(&mut self, backend: Backend, now: Instant) {
        self.scaling = Scaling::Settled;
        if self.phase == Phase::Serving {
            self.add(&[backend], now);
        }
    }
}
