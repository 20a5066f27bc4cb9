//! What publishers ask about: `status`, `logs`, `usage`, and the offer.

use crate::{Authorisation, EngineError, Provider, faults, provision::full};
use apocryph_ledger::{Pod, PodState};
use apocryph_model::{
    ChannelId, Fault, LogLine, LogQuery, Method, Name, Offer, PodPhase, PodStatus, UsageRecord, Who,
};
use futures::stream::BoxStream;

/// Records in one page.
const PAGE: usize = 500;

impl Provider {
    pub(crate) async fn offer(&self) -> Result<Offer, Fault> {
        self.check_open()?;
        let pods = self.ledger(|ledger| ledger.count_live(None)).await?;
        if pods >= self.settings.limits.pods {
            return Err(full());
        }
        let chain = &self.world.chain;
        Ok(Offer {
            chain: chain.id(),
            payment: chain.payment(),
            provider: chain.account(),
            token: self.settings.token,
            terms: self.settings.terms,
            least_runway: self.settings.least_runway,
            least_unlock_delay: self.settings.least_unlock_delay,
            attestation: self.settings.attestation,
        })
    }

    pub(crate) async fn status(&self, call: Authorisation) -> Result<PodStatus, Fault> {
        let caller = self.authorise(Method::Status, &call).await?;
        let channel = caller.channel;
        let pod = self.pod(channel).await?.ok_or_else(|| faults::internal("a pod is gone"))?;
        let epoch = pod.epoch;
        let usage = self.ledger(move |ledger| ledger.total(channel, epoch)).await?;
        let channels = self.world.chain.channels(&[channel]).await.unwrap_or_default();
        let (replicas, failure) = self.count_running(&pod).await?;
        Ok(PodStatus {
            phase: self.phase(&pod, replicas).await,
            replicas,
            endpoints: pod.endpoints.clone(),
            usage,
            channel: channels.into_iter().next().flatten(),
            spec: pod.is_live().then_some(pod.spec),
            last_error: self.trouble(&pod).or(failure),
        })
    }

    async fn phase(&self, pod: &Pod, replicas: u32) -> PodPhase {
        let ended = match pod.state {
            PodState::Evicted(_) => PodPhase::Evicted,
            PodState::Removed => PodPhase::Removed,
            PodState::Live | PodState::OutOfFunds { .. } if replicas > 0 => return PodPhase::Running,
            PodState::Live | PodState::OutOfFunds { .. } => return PodPhase::Idle,
        };
        // The ledger is told first, and an engine that does not answer may still run it.
        let there = self.world.engine.pods().await;
        let gone = there.is_ok_and(|there| !there.contains(&pod.channel));
        if gone { ended } else { PodPhase::Ending }
    }

    /// How many replicas run, and why one does not.
    async fn count_running(&self, pod: &Pod) -> Result<(u32, Option<Fault>), Fault> {
        if !pod.is_live() {
            return Ok((0, None));
        }
        let replicas = match self.world.engine.replicas(pod.channel).await {
            Ok(replicas) => replicas,
            Err(EngineError::Unknown) => Vec::new(),
            Err(cause) => return Err(faults::of_engine(cause)),
        };
        let running = replicas.iter().filter(|replica| replica.end.is_none()).count();
        let end = replicas.into_iter().find_map(|replica| replica.end);
        Ok((u32::try_from(running).unwrap_or(u32::MAX), end.map(faults::of_end)))
    }

    /// Why the pod is not served, or what went wrong last.
    fn trouble(&self, pod: &Pod) -> Option<Fault> {
        match &pod.state {
            PodState::Evicted(reason) => Some(reason.clone()),
            PodState::OutOfFunds { .. } => Some(Fault::lasting(
                Who::Publisher,
                "out-of-funds",
                "out of funds: the pod used up its channel and is kept at zero for a while; fund the channel",
            )),
            PodState::Live => self.memory().troubles.get(&pod.channel).cloned(),
            PodState::Removed => None,
        }
    }

    pub(crate) async fn logs(
        &self,
        call: Authorisation,
        query: LogQuery,
    ) -> Result<BoxStream<'static, LogLine>, Fault> {
        let caller = self.authorise(Method::Logs, &call).await?;
        if let Some(container) = &query.container {
            self.check_container(caller.channel, container).await?;
        }
        let logs = self.world.engine.logs(caller.channel, query).await;
        logs.map_err(|cause| match cause {
            EngineError::Unknown => Fault::lasting(
                Who::Publisher,
                "no-logs",
                "the pod has ended, and its logs with it: see its status for the reason",
            ),
            other => faults::of_engine(other),
        })
    }

    /// Refuses to wait for the lines of a container that a live pod does not have.
    async fn check_container(&self, channel: ChannelId, named: &Name) -> Result<(), Fault> {
        let Some(pod) = self.pod(channel).await?.filter(Pod::is_live) else { return Ok(()) };
        let containers = self.spec_of(&pod).await?.0.containers;
        if containers.iter().any(|container| container.name == *named) {
            return Ok(());
        }
        let all: Vec<_> = containers.iter().map(|container| container.name.as_str()).collect();
        let text = format!("the pod has no container {named}: it has {}", all.join(", "));
        Err(Fault::lasting(Who::Publisher, "no-such-container", text))
    }

    pub(crate) async fn usage(&self, call: Authorisation, from: u64) -> Result<Vec<UsageRecord>, Fault> {
        let caller = self.authorise(Method::Usage, &call).await?;
        self.ledger(move |ledger| ledger.records(caller.channel, from, PAGE)).await
    }
}
