//! A service that says who called, and answers what a test can know beforehand.

use crate::{CHAIN, CHANNEL};
use apocryph_model::{
    Address, Amount, Attestation, Blob, Channel, Digest, Endpoint, Fault, Hash32, LogLine, LogQuery, Method,
    Offer, PodId, PodPhase, PodStatus, Price, Progress, ProvisionRequest, Rate, Tariff, Terms, Usage,
    UsageRecord, Who,
};
use apocryph_provider::{Authorisation, Deployments, OnProgress};
use apocryph_statement::Signer;
use apocryph_testbed::{
    authorised::{authorised, unauthorised},
    chain::DevChain,
};
use async_trait::async_trait;
use futures::{StreamExt as _, stream, stream::BoxStream};
use std::sync::{Arc, Mutex};
use tokio::sync::Semaphore;

/// The publisher's.
pub(crate) fn key() -> Arc<dyn Signer> {
    Arc::new(DevChain::key(0))
}

pub(crate) fn offer() -> Offer {
    Offer {
        chain: CHAIN,
        payment: Address([1; 20]),
        provider: Address([2; 20]),
        token: Address([3; 20]),
        terms: terms(),
        least_runway: 1,
        least_unlock_delay: 2,
        attestation: Attestation::None,
    }
}

pub(crate) fn terms() -> Terms {
    Terms { tariff: Tariff([Price(9); 8]), meter_key: Address::ZERO, payout: Address([4; 20]) }
}

pub(crate) fn request() -> ProvisionRequest {
    let cid = "bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku".to_owned();
    let blob = Blob { digest: Digest([1; 32]), size: 0, cid };
    ProvisionRequest {
        pod: PodId([2; 32]),
        terms: terms(),
        spec: blob.clone(),
        spec_key: [3; 32],
        image_key: vec![4; 1200],
        blobs: vec![blob; 2048],
        sources: vec![],
        public: true,
    }
}

pub(crate) fn endpoints() -> Vec<Endpoint> {
    vec![Endpoint::Tcp { address: "192.0.2.1:5".parse().unwrap(), container_port: 5 }]
}

pub(crate) fn status() -> PodStatus {
    PodStatus {
        phase: PodPhase::Running,
        replicas: 1,
        endpoints: endpoints(),
        usage: Usage([1; 8]),
        channel: Some(Channel {
            publisher: Address([1; 20]),
            provider: Address([2; 20]),
            pod: PodId([2; 32]),
            token: Address([3; 20]),
            deposited: Amount(5),
            claimed: Amount(4),
            max_rate: Rate(3),
            opened_at: 2,
            unlock_at: None,
            unlock_delay: 1,
            epoch: 1,
            terms: Hash32([6; 32]),
        }),
        spec: None,
        last_error: None,
    }
}

pub(crate) fn line(n: u64) -> LogLine {
    let container = "web".parse().unwrap();
    LogLine { time_ms: n, replica: "r".into(), container, stderr: false, text: n.to_string() }
}

pub(crate) fn record(sequence: u64) -> UsageRecord {
    UsageRecord {
        sequence,
        epoch: 1,
        time_ms: 2,
        source: "r".into(),
        used: Usage([3; 8]),
        previous: Hash32([4; 32]),
        hash: Hash32([5; 32]),
    }
}

/// Answers every call, if its statement holds, and notes what it was called with.
pub(crate) struct Service {
    account: Address,
    pub(crate) seen: Mutex<Vec<Authorisation>>,
    pub(crate) requests: Mutex<Vec<ProvisionRequest>>,
    /// Calls of `usage` wait for a permit.
    pub(crate) gate: Semaphore,
}

impl Service {
    /// Knows its publisher by `account`.
    pub(crate) fn new(account: Address) -> Self {
        let gate = Semaphore::new(Semaphore::MAX_PERMITS);
        Self { account, seen: Mutex::default(), requests: Mutex::default(), gate }
    }

    fn check(&self, caller: Authorisation, method: Method) -> Result<(), Fault> {
        let channel = authorised(&caller, method, self.account, CHAIN);
        self.seen.lock().unwrap().push(caller);
        if channel? == CHANNEL { Ok(()) } else { Err(unauthorised()) }
    }
}

#[async_trait]
impl Deployments for Service {
    async fn offer(&self) -> Result<Offer, Fault> {
        Ok(offer())
    }

    async fn attest(&self, nonce: [u8; 32]) -> Result<Vec<u8>, Fault> {
        Ok(nonce.to_vec())
    }

    async fn provision(
        &self,
        caller: Authorisation,
        request: ProvisionRequest,
        progress: OnProgress,
    ) -> Result<Vec<Endpoint>, Fault> {
        self.check(caller, Method::Provision)?;
        progress(Progress::Channel);
        progress(Progress::Fetch { done: 1, total: 2 });
        self.requests.lock().unwrap().push(request);
        Ok(endpoints())
    }

    async fn remove(&self, caller: Authorisation) -> Result<(), Fault> {
        self.check(caller, Method::Remove)?;
        Err(Fault::passing(Who::Chain, "chain-away", "the last claim cannot be made now"))
    }

    async fn status(&self, caller: Authorisation) -> Result<PodStatus, Fault> {
        self.check(caller, Method::Status)?;
        Ok(status())
    }

    async fn logs(
        &self,
        caller: Authorisation,
        query: LogQuery,
    ) -> Result<BoxStream<'static, LogLine>, Fault> {
        self.check(caller, Method::Logs)?;
        let from = query.since_ms.unwrap_or(0);
        let lines = stream::iter((from..).map(line));
        Ok(if query.follow { lines.boxed() } else { lines.take(3).boxed() })
    }

    async fn usage(&self, caller: Authorisation, from: u64) -> Result<Vec<UsageRecord>, Fault> {
        self.check(caller, Method::Usage)?;
        let _permit = self.gate.acquire().await.unwrap();
        Ok((from..from + 1000).map(record).collect())
    }
}
