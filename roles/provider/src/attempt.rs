//! One attempt to make a pod or to change it: the steps of `provision`, each with its undo.
//!
//! ```text
//!   check the channel -> fetch the spec, check it -> fetch the images -> admit -> prepare -> route
//!                              |                          |              |         |         |
//!   undo:                  let go of what is new      likewise      old scope  old spec  old routes
//! ```
//!
//! What is refused for the channel's, the spec's or its host names' sake is refused before any image is
//! fetched. An undo brings back the earlier version where there is one, else it takes everything away.

use crate::{
    EnginePod, OnProgress, Provider, Replica, Turn,
    admission::{self, Judged},
    authorise::Caller,
    faults,
    sealed::{PodKeys, engine_pod},
    sources::Sources,
};
use apocryph_ledger::{Pod, PodState};
use apocryph_model::{
    Blob, Channel, ChannelId, Digest, Endpoint, Fault, PeerAddress, PodSpec, Progress, ProvisionRequest, Who,
};
use std::collections::BTreeSet;
use tracing::{Instrument as _, error, info_span};

/// What has been begun, and may have to be undone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Fetch,
    Admit,
    Prepare,
    Route,
}

pub(crate) struct Attempt<'a> {
    provider: &'a Provider,
    caller: &'a Caller,
    request: &'a ProvisionRequest,
    keys: PodKeys,
    /// The pod that is there and lives, if there is one.
    earlier: Option<Pod>,
    begun: Vec<Step>,
    /// Held while a new pod is routed to and not yet confirmed: whoever wakes it waits.
    opening: Option<Turn>,
}

impl<'a> Attempt<'a> {
    pub(crate) fn new(
        provider: &'a Provider,
        caller: &'a Caller,
        request: &'a ProvisionRequest,
        earlier: Option<Pod>,
    ) -> Self {
        Self {
            provider,
            caller,
            request,
            keys: PodKeys::of(request),
            earlier,
            begun: Vec::new(),
            opening: None,
        }
    }

    fn id(&self) -> ChannelId {
        self.caller.channel
    }

    /// Goes through all steps: gives the pod as the ledger is to keep it, for which everything is there.
    pub(crate) async fn prepare(&mut self, progress: &OnProgress) -> Result<Pod, Fault> {
        let total = admission::check_size(self.request, &self.provider.settings)?;
        progress(Progress::Channel);
        let channel = self.check_channel().instrument(info_span!("channel")).await?;
        let spec = self.fetch(&channel, total, progress).instrument(info_span!("fetch")).await?;
        progress(Progress::Unpack);
        let pod = self.admit(spec);
        self.unpack(&pod).instrument(info_span!("unpack")).await?;
        self.share().await?;
        progress(Progress::Route);
        let endpoints = self.route(&pod.spec).instrument(info_span!("route")).await?;
        self.row(&channel, &pod.spec, endpoints)
    }

    /// Undoes what has been begun, last first. What cannot be undone now, the reconcile loop does.
    pub(crate) async fn undo(&mut self, fault: &Fault) {
        let earlier = match &self.earlier {
            Some(pod) => self.provider.unseal(pod).await.map(Some).unwrap_or_else(|fault| {
                error!(%fault, "the earlier version cannot be opened");
                None
            }),
            None => None,
        };
        // Requests that wait for the pod are to be told.
        self.opening = None;
        while let Some(step) = self.begun.pop() {
            match step {
                Step::Route => self.undo_route(earlier.as_ref()).await,
                Step::Prepare => self.undo_prepare(earlier.as_ref()).await,
                Step::Admit => self.undo_admit(),
                // A transfer that broke off is kept for its repetition; see `reconcile`. Where the
                // provider itself is at fault, as by a full disk, what it keeps would be in the way.
                Step::Fetch if fault.retry && fault.who == Who::Network => {}
                Step::Fetch => self.undo_fetch().await,
            }
        }
    }

    async fn check_channel(&self) -> Result<Channel, Fault> {
        let (provider, id) = (self.provider, self.id());
        let channels = provider.world.chain.channels(&[id]).await;
        let channels = channels.map_err(|cause| faults::of_chain(&cause))?;
        let channel = channels.into_iter().next().flatten().ok_or_else(admission::not_open)?;
        let epoch = channel.epoch;
        let used = provider.ledger(move |ledger| ledger.total(id, epoch)).await?;
        let judged = Judged {
            channel: &channel,
            terms: &self.request.terms,
            earlier: self.earlier.as_ref().filter(|earlier| earlier.epoch == epoch),
            owed: self.request.terms.tariff.owed(&used),
        };
        admission::check_channel(&judged, provider.world.chain.account(), &provider.settings)?;
        Ok(channel)
    }

    /// Fetches the specification, and if the channel pays for it the images.
    async fn fetch(
        &mut self,
        channel: &Channel,
        total: u64,
        progress: &OnProgress,
    ) -> Result<PodSpec, Fault> {
        self.begun.push(Step::Fetch);
        let request = self.request;
        // No other has the spec: it is sealed for this channel.
        fetch_blob(&mut self.sources(&[]), &request.spec, 0, total, progress).await?;
        let spec = self.provider.open_spec(self.id(), request.spec.digest, &self.keys).await?;
        admission::check_spec(&spec, request.pod, channel, request)?;
        self.provider.check_hosts(self.caller, &spec).await?;
        let mut seen = BTreeSet::from([request.spec.digest]);
        let mut done = request.spec.size;
        let mut sources = self.sources(&request.sources);
        for blob in request.blobs.iter().filter(|blob| seen.insert(blob.digest)) {
            fetch_blob(&mut sources, blob, done, total, progress).await?;
            done += blob.size;
        }
        Ok(spec)
    }

    fn sources(&self, named: &[PeerAddress]) -> Sources<'a> {
        Sources::new(&*self.provider.world.blobs, self.id(), named, &self.caller.peer)
    }

    /// Opens the images' ciphertext to everyone if the publisher wants that.
    async fn share(&self) -> Result<(), Fault> {
        let digests: Vec<_> = self.request.blobs.iter().map(|blob| blob.digest).collect();
        let shared = self.provider.world.blobs.share(self.id(), &digests, self.request.public).await;
        shared.map_err(|cause| faults::of_blob(&cause))
    }

    /// Opens the images at the registry, the earlier ones too: they are still in use.
    fn admit(&mut self, spec: PodSpec) -> EnginePod {
        self.begun.push(Step::Admit);
        let mut digests = self.digests();
        digests.extend(self.kept());
        let token = self.provider.world.registry.admit(self.id(), &digests);
        engine_pod(self.id(), self.caller.publisher, spec, token, &self.keys)
    }

    async fn unpack(&mut self, pod: &EnginePod) -> Result<(), Fault> {
        self.begun.push(Step::Prepare);
        self.provider.world.engine.prepare(pod).await.map_err(faults::of_engine)
    }

    async fn route(&mut self, spec: &PodSpec) -> Result<Vec<Endpoint>, Fault> {
        if self.earlier.is_none() {
            self.opening = Some(self.provider.scales.take(self.id()).await);
        }
        self.provider.take_hosts(self.caller, spec).await?;
        self.begun.push(Step::Route);
        let running = self.provider.running(self.id()).await?;
        let earlier = self.earlier.as_ref().map(|pod| &pod.endpoints[..]).unwrap_or_default();
        let routed = self.provider.world.routes.put(self.id(), spec, earlier, &running).await;
        routed.map_err(|cause| faults::of_route(&cause))
    }

    fn row(&self, channel: &Channel, spec: &PodSpec, endpoints: Vec<Endpoint>) -> Result<Pod, Fault> {
        let sealed = self.keys.seal(&self.provider.state_key, self.id());
        let pod = Pod {
            channel: self.id(),
            publisher: self.caller.publisher,
            pod: self.request.pod,
            epoch: channel.epoch,
            terms: self.request.terms,
            state: PodState::Live,
            settled: false,
            spec: self.request.spec.digest,
            blobs: self.digests(),
            persistent: spec.persistent(),
            endpoints,
            sealed: sealed.map_err(|_| faults::internal("sealing a pod's keys"))?,
        };
        Ok(pod)
    }

    /// Every blob of the request, once.
    fn digests(&self) -> Vec<Digest> {
        let all = self.request.blobs.iter().map(|blob| blob.digest);
        BTreeSet::from_iter(all.chain([self.request.spec.digest])).into_iter().collect()
    }

    /// Every blob of the earlier version.
    fn kept(&self) -> &[Digest] {
        self.earlier.as_ref().map(|pod| &pod.blobs[..]).unwrap_or_default()
    }

    async fn undo_route(&self, earlier: Option<&EnginePod>) {
        let (Some(pod), Some(row)) = (earlier, &self.earlier) else {
            return self.provider.world.routes.remove(self.id()).await;
        };
        if let Err(fault) = self.provider.route_as_kept(row, &pod.spec).await {
            error!(%fault, "the earlier routes could not be put back");
            self.provider.close_gate(self.id());
        }
    }

    async fn undo_prepare(&self, earlier: Option<&EnginePod>) {
        let engine = &self.provider.world.engine;
        let undone = match earlier {
            Some(pod) => engine.prepare(pod).await,
            None => engine.remove(self.id()).await,
        };
        if let Err(cause) = undone {
            error!(%cause, "what the engine prepared could not be undone");
            self.provider.close_gate(self.id());
        }
    }

    fn undo_admit(&self) {
        let registry = &self.provider.world.registry;
        match &self.earlier {
            Some(pod) => drop(registry.admit(self.id(), &pod.blobs)),
            None => registry.dismiss(self.id()),
        }
    }

    async fn undo_fetch(&self) {
        if let Err(cause) = self.provider.world.blobs.keep_only(self.id(), self.kept()).await {
            error!(%cause, "fetched blobs could not be let go");
        }
    }
}

async fn fetch_blob(
    sources: &mut Sources<'_>,
    blob: &Blob,
    before: u64,
    total: u64,
    progress: &OnProgress,
) -> Result<(), Fault> {
    let told = |bytes| progress(Progress::Fetch { done: before.saturating_add(bytes), total });
    let complain = |source, problem| progress(Progress::Source { source, problem });
    sources.fetch(blob, &told, &complain).await.map_err(|cause| faults::of_blob(&cause))
}

impl Provider {
    /// The replicas of a pod that run; none where the engine knows no such pod.
    pub(crate) async fn running(&self, pod: ChannelId) -> Result<Vec<Replica>, Fault> {
        match self.world.engine.replicas(pod).await {
            Ok(replicas) => Ok(replicas.into_iter().filter(|replica| replica.end.is_none()).collect()),
            Err(crate::EngineError::Unknown) => Ok(Vec::new()),
            Err(cause) => Err(faults::of_engine(cause)),
        }
    }
}
