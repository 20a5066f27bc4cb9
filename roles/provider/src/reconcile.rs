//! The step `reconcile`: chain, ledger, engine, block store and routes are compared, and what
//! differs from the ledger is mended. Level-triggered: it does not matter what happened before.
//!
//! ```text
//!   in the ledger   on the chain        engine, routes     then
//!   lives           pays                there              nothing
//!   lives           pays                not there          restore
//!   lives           used up             there              to zero; evict after the grace
//!   lives           ended, surely       any                evict
//!   lives           no answer           not there          restore as it was: unknown is not gone
//!   ended or none   any                 there              take away
//! ```

use crate::{
    Provider,
    funds::{self, Verdict, verdict},
    provider::Gate,
};
use apocryph_ledger::{Pod, PodState};
use apocryph_model::{Channel, ChannelId, Fault, Usage};
use futures::{StreamExt, stream};
use std::collections::{HashMap, HashSet};
use tracing::{info, instrument, warn};

/// Pods that are mended at once.
const AT_ONCE: usize = 8;

/// A pod that lives, with what it used in its epoch.
type Living = (Pod, Usage);

impl Provider {
    /// Compares and mends, once.
    ///
    /// # Errors
    /// The ledger cannot be read. Other failures concern single pods and are logged.
    #[instrument(skip_all)]
    pub async fn reconcile(&self) -> Result<(), Fault> {
        let living = self.living().await?;
        metrics::gauge!("apocryph_pods").set(living.len() as f64);
        let verdicts = self.verdicts(&living).await;
        let prepared = self.world.engine.pods().await;
        let lost = |pod: &ChannelId| prepared.as_ref().is_ok_and(|there| !there.contains(pod));
        let unwell = living.iter().filter_map(|(pod, _)| {
            let verdict = verdicts.get(&pod.channel).cloned().unwrap_or(Verdict::Unknown);
            let unwell = self.differs(pod, &verdict) || lost(&pod.channel);
            unwell.then_some((pod.channel, verdict, lost(&pod.channel)))
        });
        let mending = unwell.map(|(pod, verdict, lost)| self.mend(pod, verdict, lost));
        stream::iter(mending).for_each_concurrent(AT_ONCE, |mended| mended).await;
        let living: HashSet<_> = living.into_iter().map(|(pod, _)| pod.channel).collect();
        self.take_away_strays(prepared.unwrap_or_default(), &living).await;
        Ok(())
    }

    async fn living(&self) -> Result<Vec<Living>, Fault> {
        self.ledger(|ledger| {
            let pods = ledger.pods_to_look_after()?.into_iter().filter(Pod::is_live);
            pods.map(|pod| ledger.total(pod.channel, pod.epoch).map(|used| (pod, used))).collect()
        })
        .await
    }

    /// What the chain means for each pod; nothing where it does not answer.
    async fn verdicts(&self, living: &[Living]) -> HashMap<ChannelId, Verdict> {
        if living.is_empty() {
            return HashMap::new();
        }
        let ids: Vec<_> = living.iter().map(|(pod, _)| pod.channel).collect();
        let Ok(evidence) = self.evidence(&ids).await else {
            metrics::counter!("apocryph_chain_failures_total").increment(1);
            return HashMap::new();
        };
        let judge = |((pod, used), channel): (&Living, Option<Channel>)| {
            (pod.channel, self.believe(pod.channel, verdict(pod, channel.as_ref(), used)))
        };
        living.iter().zip(evidence.channels).map(judge).collect()
    }

    /// A channel that has ended is believed to have only when it is sure.
    fn believe(&self, channel: ChannelId, verdict: Verdict) -> Verdict {
        match verdict {
            Verdict::Ended(_) if !self.seems_ended(channel) => Verdict::Unknown,
            Verdict::Ended(fault) => Verdict::Ended(fault),
            other => {
                self.memory().doubted.remove(&channel);
                other
            }
        }
    }

    /// Whether anything has to be done for the pod, without a look at the disk.
    fn differs(&self, pod: &Pod, verdict: &Verdict) -> bool {
        let gate = self.memory().gates.get(&pod.channel).copied();
        match (verdict, &pod.state) {
            (Verdict::Unknown, _) => gate.is_none(),
            (Verdict::Serve, PodState::Live) => gate != Some(Gate::Open),
            (Verdict::OutOfFunds, PodState::OutOfFunds { since_ms }) => {
                gate != Some(Gate::OutOfFunds) || self.grace_over(*since_ms)
            }
            _ => true,
        }
    }

    fn grace_over(&self, since_ms: u64) -> bool {
        let grace = u64::try_from(self.settings.grace.as_millis()).unwrap_or(u64::MAX);
        self.now_ms() >= since_ms.saturating_add(grace)
    }

    /// Brings one pod to where it ought to be. One that is being changed is left alone.
    async fn mend(&self, channel: ChannelId, verdict: Verdict, lost: bool) {
        let Some(_life) = self.lives.try_take(channel) else { return };
        let mended = async {
            let Some(pod) = self.pod(channel).await?.filter(Pod::is_live) else { return Ok(()) };
            if lost {
                self.close_gate(channel);
            }
            match (verdict, pod.state.clone()) {
                (Verdict::Ended(reason), _) => self.evict(pod, reason).await,
                (Verdict::OutOfFunds, PodState::OutOfFunds { since_ms }) if self.grace_over(since_ms) => {
                    self.evict(pod, funds::out_of_funds()).await
                }
                (Verdict::OutOfFunds, _) => self.starve(pod).await,
                (Verdict::Serve, _) => self.nourish(pod).await,
                (Verdict::Unknown, _) => {
                    self.open_gate(&pod).await;
                    Ok(())
                }
            }
        };
        if let Err(fault) = mended.await {
            warn!(pod = channel.short(), %fault, "a pod could not be mended; it is tried again");
        }
    }

    /// Keeps a pod whose channel is used up at zero replicas.
    async fn starve(&self, pod: Pod) -> Result<(), Fault> {
        let channel = pod.channel;
        let pod = match pod.state {
            PodState::OutOfFunds { .. } => pod,
            _ => self.put_state(pod, PodState::OutOfFunds { since_ms: self.now_ms() }).await?,
        };
        self.open_gate(&pod).await;
        info!(pod = channel.short(), "out of funds");
        self.world.routes.fence(channel).await;
        self.idle(channel).await.map_err(crate::faults::of_engine)
    }

    /// Lets a pod whose channel pays be woken.
    async fn nourish(&self, pod: Pod) -> Result<(), Fault> {
        let pod = match pod.state {
            PodState::Live => pod,
            _ => self.put_state(pod, PodState::Live).await?,
        };
        self.open_gate(&pod).await;
        Ok(())
    }

    async fn put_state(&self, pod: Pod, state: PodState) -> Result<Pod, Fault> {
        let pod = Pod { state, ..pod };
        let row = pod.clone();
        self.ledger(move |ledger| ledger.put_pod(&row)).await?;
        Ok(pod)
    }

    /// Sets the pod's gate by its state; a pod that has none is restored first.
    async fn open_gate(&self, pod: &Pod) {
        let there = self.memory().gates.contains_key(&pod.channel);
        // Whoever wakes a pod that is routed to again waits until its gate is set.
        let _opening = if there { None } else { Some(self.scales.take(pod.channel).await) };
        if there || self.restore(pod).await {
            let gate = Gate::of(&pod.state);
            self.memory().gates.insert(pod.channel, gate);
        }
    }

    /// Takes away what is on this host of pods that do not live: not in this round, as what was
    /// just ended is being taken away.
    async fn take_away_strays(&self, prepared: Vec<ChannelId>, living: &HashSet<ChannelId>) {
        let prepared: HashSet<_> = prepared.into_iter().collect();
        let owners = self.world.blobs.owners().await.unwrap_or_else(|cause| {
            warn!(%cause, "the block store's owners are not known");
            Vec::new()
        });
        let owners: HashSet<_> = owners.into_iter().collect();
        for channel in prepared.union(&owners).filter(|channel| !living.contains(channel)) {
            if let Err(fault) = self.take_away_stray(*channel, prepared.contains(channel)).await {
                warn!(pod = channel.short(), %fault, "a stray could not be taken away; it is tried again");
            }
        }
        self.memory().stray_since.retain(|channel, _| owners.contains(channel));
    }

    /// Blobs alone may be of a transfer that broke off: they linger for its repetition.
    async fn take_away_stray(&self, channel: ChannelId, prepared: bool) -> Result<(), Fault> {
        let Some(_life) = self.lives.try_take(channel) else { return Ok(()) };
        let known = self.pod(channel).await?;
        if known.as_ref().is_some_and(Pod::is_live) || (!prepared && known.is_none() && self.lingers(channel))
        {
            return Ok(());
        }
        info!(pod = channel.short(), "takes away what was left");
        self.take_away(channel).await
    }

    fn lingers(&self, channel: ChannelId) -> bool {
        let linger = u64::try_from(self.settings.limits.linger.as_millis()).unwrap_or(u64::MAX);
        let now = self.now_ms();
        let since = *self.memory().stray_since.entry(channel).or_insert(now);
        now < since.saturating_add(linger)
    }
}
