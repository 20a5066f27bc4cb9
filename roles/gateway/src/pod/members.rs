//! The replicas of a pod that run, and what is under way on each.

use super::state::InUse;
use crate::{Backend, endpoint::Endpoint};
use std::{collections::BTreeSet, sync::Arc};
use tokio_util::{
    sync::{CancellationToken, DropGuard},
    task::AbortOnDropHandle,
};

/// The replicas that run. Dropping one cuts whatever is under way on it.
#[derive(Default)]
pub(super) struct Members(Vec<Member>);

struct Member {
    backend: Backend,
    standing: Standing,
    in_flight: usize,
    endpoints: Vec<(u16, Arc<Endpoint>)>,
    gone: CancellationToken,
    _cut: DropGuard,
    /// The task that waits for its ports to listen and for its death.
    watch: Option<AbortOnDropHandle<()>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Standing {
    Active,
    /// Not routed to, unless it is needed again.
    Fenced,
    /// Not routed to, unless it is named again.
    Retired,
}

/// A replica whose ports nobody watches yet.
pub(super) struct Unwatched {
    pub(super) backend: Backend,
    pub(super) ports: Vec<u16>,
    pub(super) gone: CancellationToken,
}

/// Something is under way on a replica that is to be stopped.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct StillInFlight;

impl Members {
    /// How many are routed to.
    pub(super) fn active(&self) -> u32 {
        u32::try_from(self.standing(Standing::Active).count()).unwrap_or(u32::MAX)
    }

    /// Adds those that are not known yet; tells whether there were any.
    pub(super) fn add(&mut self, backends: &[Backend]) -> bool {
        let known = self.0.len();
        for backend in backends {
            if self.position(backend.run).is_none() {
                self.0.push(Member::new(*backend));
            }
        }
        self.0.len() > known
    }

    /// The least loaded replica whose `port` listens; the request is counted on it.
    pub(super) fn choose(&mut self, port: u16) -> Option<(u64, Arc<Endpoint>)> {
        let active = self.0.iter_mut().filter(|member| member.standing == Standing::Active);
        let listening = active.filter_map(|member| Some((member.endpoint(port)?, member)));
        let (endpoint, member) = listening.min_by_key(|(_, member)| member.in_flight)?;
        member.in_flight += 1;
        Some((member.backend.run, endpoint))
    }

    /// A request on `run` is over. Tells whether somebody may wait for that.
    pub(super) fn release(&mut self, run: u64) -> bool {
        let Some(at) = self.position(run) else { return false };
        let member = &mut self.0[at];
        member.in_flight -= 1;
        let awaited = member.in_flight == 0 && member.standing != Standing::Active;
        if awaited && member.standing == Standing::Retired {
            self.0.swap_remove(at);
        }
        awaited
    }

    pub(super) fn listening(&mut self, run: u64, port: u16, endpoint: Arc<Endpoint>) {
        if let Some(at) = self.position(run) {
            let endpoints = &mut self.0[at].endpoints;
            endpoints.retain(|(p, _)| *p != port);
            endpoints.push((port, endpoint));
        }
    }

    /// A port that listened does not any more, and is to be watched again.
    pub(super) fn refused(&mut self, run: u64, port: u16) {
        if let Some(at) = self.position(run) {
            self.0[at].endpoints.retain(|(p, _)| *p != port);
            self.0[at].watch = None;
        }
    }

    /// Those whose ports are to be watched; [`Members::watched`] takes the task that does.
    pub(super) fn unwatched(&self, ports: &BTreeSet<u16>) -> Vec<Unwatched> {
        let unwatched = self.0.iter().filter(|member| member.watch.is_none());
        unwatched.map(|member| member.unwatched(ports)).collect()
    }

    pub(super) fn watched(&mut self, run: u64, watch: AbortOnDropHandle<()>) {
        if let Some(at) = self.position(run) {
            self.0[at].watch = Some(watch);
        }
    }

    /// Has all watched anew, as the ports are others now.
    pub(super) fn unwatch(&mut self) {
        self.0.iter_mut().for_each(|member| member.watch = None);
    }

    /// Takes out one that has ended; `false` where it was not known.
    pub(super) fn remove(&mut self, run: u64) -> bool {
        self.position(run).map(|at| self.0.swap_remove(at)).is_some()
    }

    /// Routes nothing new to one, on which what is under way goes on; `false` where it was not known.
    pub(super) fn retire(&mut self, run: u64) -> bool {
        let Some(at) = self.position(run) else { return false };
        self.0[at].standing = Standing::Retired;
        self.0.retain(|member| member.backend.run != run || member.in_flight > 0);
        true
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// Stops routing to the least loaded replica.
    pub(super) fn fence(&mut self) -> Option<u64> {
        let active = self.0.iter_mut().filter(|member| member.standing == Standing::Active);
        let spared = active.min_by_key(|member| member.in_flight)?;
        spared.standing = Standing::Fenced;
        Some(spared.backend.run)
    }

    /// Routes to fenced replicas again; tells whether there were any.
    pub(super) fn unfence(&mut self) -> bool {
        let fenced = self.0.iter_mut().filter(|member| member.standing == Standing::Fenced);
        fenced.map(|member| member.standing = Standing::Active).count() > 0
    }

    /// Takes out a fenced replica when nothing is under way on it: `Ok(None)` where the fence was
    /// cancelled.
    ///
    /// # Errors
    /// Something is under way.
    pub(super) fn take_fenced(&mut self, run: u64) -> Result<Option<Backend>, StillInFlight> {
        let fenced = self.position(run).filter(|at| self.0[*at].standing == Standing::Fenced);
        match fenced {
            None => Ok(None),
            Some(at) if self.0[at].in_flight > 0 => Err(StillInFlight),
            Some(at) => Ok(Some(self.0.swap_remove(at).backend)),
        }
    }

    /// Takes one out on which nothing is under way; one that is not known is out.
    ///
    /// # Errors
    /// Something is under way.
    pub(super) fn take_unused(&mut self, run: u64) -> Result<(), InUse> {
        match self.position(run) {
            Some(at) if self.0[at].in_flight > 0 => Err(InUse),
            Some(at) => {
                self.0.swap_remove(at);
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// Those that may be routed to.
    pub(super) fn routed(&self) -> Vec<Backend> {
        let kept = self.0.iter().filter(|member| member.standing != Standing::Retired);
        kept.map(|member| member.backend).collect()
    }

    /// Routes to none but these, of which those that were retired are routed to again.
    pub(super) fn retire_all_but(&mut self, running: &[Backend]) {
        for member in &mut self.0 {
            match (running.contains(&member.backend), member.standing) {
                (false, _) => member.standing = Standing::Retired,
                (true, Standing::Retired) => member.standing = Standing::Active,
                (true, Standing::Active | Standing::Fenced) => {}
            }
        }
        self.0.retain(|member| member.standing != Standing::Retired || member.in_flight > 0);
    }

    /// The runs of those that are retired.
    pub(super) fn retired(&self) -> BTreeSet<u64> {
        self.standing(Standing::Retired).map(|member| member.backend.run).collect()
    }

    /// How much is under way on those of `runs` that are retired still.
    pub(super) fn retiring(&self, runs: &BTreeSet<u64>) -> usize {
        let retired = self.standing(Standing::Retired).filter(|member| runs.contains(&member.backend.run));
        retired.map(|member| member.in_flight).sum()
    }

    /// Cuts what is under way on them.
    pub(super) fn cut_retired(&mut self, runs: &BTreeSet<u64>) {
        self.0.retain(|member| member.standing != Standing::Retired || !runs.contains(&member.backend.run));
    }

    fn standing(&self, standing: Standing) -> impl Iterator<Item = &Member> {
        self.0.iter().filter(move |member| member.standing == standing)
    }

    fn position(&self, run: u64) -> Option<usize> {
        self.0.iter().position(|member| member.backend.run == run)
    }
}

impl Member {
    fn new(backend: Backend) -> Self {
        let gone = CancellationToken::new();
        Self {
            backend,
            standing: Standing::Active,
            in_flight: 0,
            endpoints: Vec::new(),
            _cut: gone.clone().drop_guard(),
            gone,
            watch: None,
        }
    }

    fn endpoint(&self, port: u16) -> Option<Arc<Endpoint>> {
        let known = self.endpoints.iter().find(|(p, _)| *p == port)?;
        Some(known.1.clone())
    }

    fn unwatched(&self, ports: &BTreeSet<u16>) -> Unwatched {
        let silent = ports.iter().filter(|port| self.endpoint(**port).is_none());
        Unwatched { backend: self.backend, ports: silent.copied().collect(), gone: self.gone.clone() }
    }
}
