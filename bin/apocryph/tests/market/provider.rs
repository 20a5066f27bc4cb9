//! A provider that fetches, opens and remembers what it is sent, and runs none of it.

use apocryph_ledger::record_hash;
use apocryph_model::{
    Address, ChannelId, Endpoint, Fault, Hash32, LogLine, LogQuery, Method, Offer, PodPhase, PodSpec,
    PodStatus, Progress, ProvisionRequest, Usage, UsageRecord, Who,
};
use apocryph_p2p::Node;
use apocryph_provider::{Authorisation, Blobs, Deployments, OnProgress};
use apocryph_seal::EnvelopeKey;
use apocryph_testbed::authorised::authorised;
use async_trait::async_trait;
use futures::stream::{self, BoxStream, StreamExt};
use std::sync::Mutex;

/// Half an hour of one core.
pub(crate) const USED: Usage = Usage([1_800_000_000, 0, 0, 0, 0, 0, 0, 0]);

pub(crate) struct Double {
    pub(crate) node: Node,
    pub(crate) offer: Offer,
    pub(crate) publisher: Address,
    pub(crate) specs: Mutex<Vec<PodSpec>>,
    /// What every blob holds, in the order of the last request.
    pub(crate) ciphertext: Mutex<Vec<Vec<u8>>>,
    pub(crate) removed: Mutex<bool>,
}

impl Double {
    fn check(&self, caller: &Authorisation, method: Method) -> Result<ChannelId, Fault> {
        authorised(caller, method, self.publisher, self.offer.chain)
    }

    async fn take(
        &self,
        owner: ChannelId,
        caller: &Authorisation,
        request: &ProvisionRequest,
    ) -> Result<PodSpec, String> {
        let mut contents = Vec::new();
        for blob in std::iter::once(&request.spec).chain(&request.blobs) {
            self.node.fetch(owner, blob, &caller.peer, &|_| ()).await.map_err(|e| e.to_string())?;
            contents.push(self.node.read(blob.digest, 1 << 30).await.map_err(|e| e.to_string())?);
        }
        let key = EnvelopeKey::from_bytes(request.spec_key);
        let spec = key.open(&contents[0], &owner.0).map_err(|e| e.to_string())?;
        *self.ciphertext.lock().unwrap() = contents;
        PodSpec::from_json(&spec).map_err(|e| e.to_string())
    }
}

#[async_trait]
impl Deployments for Double {
    async fn offer(&self) -> Result<Offer, Fault> {
        Ok(self.offer.clone())
    }

    async fn attest(&self, _: [u8; 32]) -> Result<Vec<u8>, Fault> {
        Ok(vec![])
    }

    async fn provision(
        &self,
        caller: Authorisation,
        request: ProvisionRequest,
        progress: OnProgress,
    ) -> Result<Vec<Endpoint>, Fault> {
        let owner = self.check(&caller, Method::Provision)?;
        progress(Progress::Channel);
        let spec = self.take(owner, &caller, &request).await;
        let spec = spec.map_err(|problem| Fault::lasting(Who::Publisher, "not-taken", problem))?;
        progress(Progress::Route);
        self.specs.lock().unwrap().push(spec);
        Ok(vec![Endpoint::Tcp { address: ([127, 0, 0, 1], 16379).into(), container_port: 6379 }])
    }

    async fn remove(&self, caller: Authorisation) -> Result<(), Fault> {
        self.check(&caller, Method::Remove)?;
        *self.removed.lock().unwrap() = true;
        Ok(())
    }

    async fn status(&self, caller: Authorisation) -> Result<PodStatus, Fault> {
        self.check(&caller, Method::Status)?;
        Ok(PodStatus {
            phase: PodPhase::Idle,
            replicas: 0,
            endpoints: vec![],
            usage: USED,
            channel: None,
            spec: None,
            last_error: Some(Fault::lasting(Who::Publisher, "crashed", "the container ended with code 1")),
        })
    }

    async fn logs(&self, caller: Authorisation, _: LogQuery) -> Result<BoxStream<'static, LogLine>, Fault> {
        self.check(&caller, Method::Logs)?;
        let line = |text: &str| LogLine {
            time_ms: 1,
            replica: "r1".into(),
            container: "main".parse().unwrap(),
            stderr: false,
            text: text.into(),
        };
        Ok(stream::iter([line("ready"), line("clear\u{1b}[2J screen")]).boxed())
    }

    async fn usage(&self, caller: Authorisation, from: u64) -> Result<Vec<UsageRecord>, Fault> {
        let channel = self.check(&caller, Method::Usage)?;
        let previous = Hash32([0; 32]);
        let mut record = UsageRecord {
            sequence: 0,
            epoch: 1,
            time_ms: 1,
            source: "r1".into(),
            used: USED,
            previous,
            hash: previous,
        };
        record.hash = record_hash(channel, &record);
        Ok(if from == 0 { vec![record] } else { vec![] })
    }
}
