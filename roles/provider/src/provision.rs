//! The step `provision`: from a publisher's request to a pod that can be woken.

use crate::{
    Authorisation, OnProgress, Provider, attempt::Attempt, authorise::Caller, faults, provider::Gate,
};
use apocryph_ledger::Pod;
use apocryph_model::{Address, ChannelId, Endpoint, Fault, Method, ProvisionRequest, Who};
use tokio::time::timeout;
use tracing::{error, info, instrument};

impl Provider {
    /// Makes a pod, or changes it in place; until it is in the ledger nothing of it counts.
    #[instrument(skip_all, fields(pod = %call.statement.channel.short()))]
    pub(crate) async fn provision(
        &self,
        call: Authorisation,
        request: ProvisionRequest,
        progress: OnProgress,
    ) -> Result<Vec<Endpoint>, Fault> {
        let caller = self.authorise_new(Method::Provision, &call, request.pod).await?;
        let _place = self.provisions.try_acquire().map_err(|_| busy("other pods"))?;
        let _life = self.lives.try_take(caller.channel).ok_or_else(|| busy("this pod"))?;
        self.check_open()?;
        let earlier = self.pod(caller.channel).await?.filter(Pod::is_live);
        if earlier.is_none() {
            self.check_room(caller.publisher).await?;
        }
        let outcome = self.attempt(&caller, &request, &progress, earlier).await;
        let word = if outcome.is_ok() { "done" } else { "failed" };
        metrics::counter!("apocryph_provisions_total", "outcome" => word).increment(1);
        outcome
    }

    async fn attempt(
        &self,
        caller: &Caller,
        request: &ProvisionRequest,
        progress: &OnProgress,
        earlier: Option<Pod>,
    ) -> Result<Vec<Endpoint>, Fault> {
        let mut attempt = Attempt::new(self, caller, request, earlier.clone());
        let prepared = timeout(self.settings.limits.provision_time, attempt.prepare(progress)).await;
        let prepared = prepared.unwrap_or_else(|_| Err(too_slow()));
        let confirmed = match prepared {
            Ok(pod) => self.confirm(pod, earlier).await,
            Err(fault) => Err(fault),
        };
        if let Err(fault) = &confirmed {
            info!(%fault, code = fault.code, "undone");
            attempt.undo(fault).await;
        }
        confirmed
    }

    /// The step `confirm`: writes the pod into the ledger, lets go of the version before, and tells
    /// where the pod is reached.
    #[instrument(skip_all)]
    async fn confirm(&self, pod: Pod, earlier: Option<Pod>) -> Result<Vec<Endpoint>, Fault> {
        if earlier.as_ref().is_some_and(|earlier| earlier.epoch != pod.epoch) {
            // What was used until now belongs to the epoch before.
            self.meter().await?;
        }
        let row = pod.clone();
        self.ledger(move |ledger| ledger.put_pod(&row)).await?;
        {
            let mut memory = self.memory();
            memory.gates.insert(pod.channel, Gate::Open);
            memory.troubles.remove(&pod.channel);
            memory.doubted.remove(&pod.channel);
            memory.stray_since.remove(&pod.channel);
        }
        if earlier.is_some_and(|earlier| earlier.spec != pod.spec) {
            self.replace_running(pod.channel).await;
        }
        self.world.registry.admit(pod.channel, &pod.blobs);
        if let Err(cause) = self.world.blobs.keep_only(pod.channel, &pod.blobs).await {
            error!(%cause, "blobs of the version before could not be let go");
        }
        info!(endpoints = pod.endpoints.len(), "provisioned");
        Ok(pod.endpoints)
    }

    /// Has what runs of the version before finish what is under way, and stops it. The gateway
    /// starts the new one: at once if requests wait or replicas are kept, else when one comes.
    async fn replace_running(&self, pod: ChannelId) {
        let _scaling = self.scales.take(pod).await;
        self.world.routes.fence(pod).await;
        if let Err(cause) = self.world.engine.scale(pod, 0).await {
            error!(%cause, "replicas of the version before could not be stopped");
            self.note_trouble(pod, faults::of_engine(cause));
        }
    }

    pub(crate) fn check_open(&self) -> Result<(), Fault> {
        if self.memory().stopping {
            return Err(Fault::passing(Who::Provider, "restarting", "the provider is restarting: try again"));
        }
        Ok(())
    }

    /// Refuses a new pod where there are too many.
    async fn check_room(&self, publisher: Address) -> Result<(), Fault> {
        let count = |whose| move |ledger: &apocryph_ledger::Ledger| ledger.count_live(whose);
        let limits = &self.settings.limits;
        if self.ledger(count(Some(publisher))).await? >= limits.pods_per_publisher {
            return Err(Fault::lasting(
                Who::Publisher,
                "too-many-pods",
                format!("one publisher may have {} pods here: remove one first", limits.pods_per_publisher),
            ));
        }
        if self.ledger(count(None)).await? >= limits.pods {
            return Err(full());
        }
        Ok(())
    }

    /// Forgets that a pod is prepared and routed, so that it is restored.
    pub(crate) fn close_gate(&self, pod: ChannelId) {
        self.memory().gates.remove(&pod);
    }
}

pub(crate) fn full() -> Fault {
    Fault::passing(Who::Provider, "provider-full", "the provider takes no more pods now: choose another")
}

pub(crate) fn busy(with: &str) -> Fault {
    Fault::passing(Who::Provider, "busy", format!("the provider is busy with {with}: try again in a moment"))
}

fn too_slow() -> Fault {
    Fault::passing(
        Who::Network,
        "provision-too-slow",
        "provisioning took longer than the provider allows: try again, what has come is kept for a while",
    )
}
