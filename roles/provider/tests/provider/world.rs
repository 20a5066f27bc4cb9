//! A world that does what it is told, and fails where it is told to.

use apocryph_ledger::Ledger;
use apocryph_model::{
    Address, Amount, Attestation, Blob, Cause, ChainError, Channel, ChannelId, Digest, Endpoint, Fault,
    Hash32, HostProof, Hostname, LogLine, LogQuery, Offering, PeerAddress, PeerId, PodSpec, Price, Resource,
    Tariff, Terms, TransactionId, Who,
};
use apocryph_provider::{
    BlobError, Blobs, Chain, Claim, ClaimPolicy, ClaimReceipt, Clock, Engine, EngineError, EnginePod,
    HostProofs, Limits, Provider, Reading, Registry, Replica, ReplicaEnd, Settings, World,
};
use apocryph_seal::EnvelopeKey;
use async_trait::async_trait;
use futures::{StreamExt, stream, stream::BoxStream};
use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr},
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};
use tempfile::TempDir;

pub(crate) const ACCOUNT: Address = Address([0xaa; 20]);
pub(crate) const TOKEN: Address = Address([0xbb; 20]);
pub(crate) const CHAIN: u64 = 31337;
pub(crate) const START: u64 = 1_800_000_000;

/// Where the world fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Failing {
    Chain,
    Stall,
    /// The disk is full once something has come.
    Full,
    Prepare,
    Route,
    Remove,
    /// The engine does not say what is there.
    Look,
    Sample,
    Scale,
    Forget,
    /// The claim is mined, but nobody hears of it.
    Receipt,
}

/// Everything outside of the provider, and of its process: it survives a restart.
#[derive(Default)]
pub(crate) struct State {
    pub(crate) failing: BTreeSet<Failing>,
    /// Seconds since the Unix epoch.
    pub(crate) now: u64,
    /// How far the chain's endpoint lags behind, in seconds.
    pub(crate) lag: u64,
    pub(crate) channels: BTreeMap<ChannelId, Channel>,
    pub(crate) claims: Vec<Vec<Claim>>,
    pub(crate) fee: u128,
    /// What publishers have published.
    pub(crate) published: BTreeMap<Digest, Vec<u8>>,
    pub(crate) owned: BTreeMap<ChannelId, BTreeSet<Digest>>,
    pub(crate) shared: BTreeSet<Digest>,
    /// IPFS nodes, and what they have.
    pub(crate) nodes: BTreeMap<PeerId, BTreeSet<Digest>>,
    /// Who was asked for what.
    pub(crate) asked: Vec<(PeerId, Digest)>,
    pub(crate) prepared: BTreeMap<ChannelId, PodSpec>,
    pub(crate) replicas: BTreeMap<ChannelId, Vec<Replica>>,
    pub(crate) readings: Vec<Reading>,
    started: u64,
    /// Ends with the process, unlike the rest.
    pub(crate) routed: BTreeMap<ChannelId, Vec<Endpoint>>,
    pub(crate) admitted: BTreeMap<ChannelId, BTreeSet<Digest>>,
    pub(crate) fenced: Vec<ChannelId>,
    /// What the DNS says; where it says nothing sure, `None`.
    pub(crate) host_proofs: BTreeMap<Hostname, Option<Vec<HostProof>>>,
    /// How often the DNS was asked.
    pub(crate) questions: u32,
    /// Whether host names are whose pod came first.
    pub(crate) first_come: bool,
}

#[derive(Clone, Default)]
pub(crate) struct Double(Arc<Mutex<State>>);

impl Double {
    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    pub(crate) fn fails(&self, what: Failing) -> bool {
        self.state().failing.contains(&what)
    }
}

/// A double of the world with a provider in it.
pub(crate) struct Place {
    pub(crate) double: Double,
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) provider: Arc<Provider>,
    dir: TempDir,
}

pub(crate) fn peer() -> PeerId {
    "12D3KooWEyoppNCUx8Yx66oV9fJnriXwCcXwDDUA2kj6vnc6iDEp".parse().unwrap()
}

/// One token unit per core-microsecond reserved; storage at the same per MiB-millisecond.
pub(crate) fn terms() -> Terms {
    let mut tariff = Tariff::default();
    tariff.0[Resource::CpuReserved as usize] = Price(1_000_000_000_000_000_000);
    tariff.0[Resource::Storage as usize] = Price(1_000_000_000_000_000_000);
    Terms { tariff, meter_key: Address::ZERO, payout: ACCOUNT }
}

pub(crate) fn settings() -> Settings {
    Settings {
        peer: peer(),
        token: TOKEN,
        terms: terms(),
        attestation: Attestation::None,
        least_runway: 600,
        least_unlock_delay: 60,
        grace: Duration::from_secs(100),
        meter_period: Duration::from_secs(10),
        reconcile_period: Duration::from_secs(3),
        claims: ClaimPolicy {
            fee_factor: 10,
            coin_worth: Amount(1_000_000_000_000_000_000),
            period: Duration::from_secs(86_400),
            before_end: Duration::from_secs(60),
        },
        limits: Limits {
            pods: 3,
            pods_per_publisher: 2,
            pod_bytes: 1 << 20,
            provisions: 2,
            provision_time: Duration::from_secs(60),
            linger: Duration::from_secs(300),
        },
    }
}

impl Place {
    pub(crate) fn new() -> Self {
        let double = Double::default();
        double.state().now = START;
        double.state().fee = 1_000;
        let dir = tempfile::tempdir().unwrap();
        let ledger = Arc::new(Ledger::open(&dir.path().join("ledger.db")).unwrap());
        let provider = provider(&double, &ledger);
        Self { double, ledger, provider, dir }
    }

    /// Kills the daemon and starts it anew.
    pub(crate) fn restart(self) -> Self {
        let Self { double, ledger, provider, dir } = self;
        drop((ledger, provider));
        double.state().routed.clear();
        double.state().admitted.clear();
        let ledger = Arc::new(Ledger::open(&dir.path().join("ledger.db")).unwrap());
        let provider = self::provider(&double, &ledger);
        Self { double, ledger, provider, dir }
    }

    pub(crate) fn pass(&self, seconds: u64) {
        self.double.state().now += seconds;
    }

    pub(crate) async fn reconcile_twice(&self) {
        self.provider.reconcile().await.unwrap();
        self.provider.reconcile().await.unwrap();
    }

    /// That nothing of any pod is left outside of the ledger.
    pub(crate) fn assert_nothing_left(&self) {
        let state = self.double.state();
        assert!(state.owned.is_empty(), "blobs: {:?}", state.owned);
        assert!(state.prepared.is_empty(), "prepared: {:?}", state.prepared);
        assert!(state.replicas.is_empty(), "replicas: {:?}", state.replicas);
        assert!(state.routed.is_empty(), "routes: {:?}", state.routed);
        assert!(state.admitted.is_empty(), "registry: {:?}", state.admitted);
    }
}

fn provider(double: &Double, ledger: &Arc<Ledger>) -> Arc<Provider> {
    let shared = Arc::new(double.clone());
    let proofs = (!double.state().first_come).then(|| shared.clone() as Arc<dyn HostProofs>);
    let world = World {
        engine: shared.clone(),
        chain: shared.clone(),
        blobs: shared.clone(),
        registry: shared.clone(),
        routes: shared.clone(),
        host_proofs: proofs,
        ledger: ledger.clone(),
        clock: shared,
    };
    Arc::new(Provider::new(world, settings(), EnvelopeKey::from_bytes([7; 32])))
}

impl Clock for Double {
    fn now_ms(&self) -> u64 {
        self.state().now * 1000
    }
}

#[async_trait]
impl Engine for Double {
    async fn prepare(&self, pod: &EnginePod) -> Result<(), EngineError> {
        if self.fails(Failing::Prepare) {
            let fault = Fault::lasting(Who::Publisher, "image", "the image is broken");
            return Err(EngineError::Pod(fault));
        }
        assert_eq!(pod.image_key, b"image key");
        assert!(self.state().admitted.contains_key(&pod.id), "nothing to pull from");
        self.state().prepared.insert(pod.id, pod.spec.clone());
        Ok(())
    }

    async fn scale(&self, pod: ChannelId, count: u32) -> Result<Vec<Replica>, EngineError> {
        if self.fails(Failing::Scale) {
            return Err(EngineError::Host(Fault::of(Cause::NoRoom, "no memory")));
        }
        let mut state = self.state();
        if !state.prepared.contains_key(&pod) {
            return Err(EngineError::Unknown);
        }
        state.started += 1;
        let started = state.started;
        let replicas = state.replicas.entry(pod).or_default();
        while replicas.len() < count as usize {
            let id = format!("replica-{started}-{}", replicas.len());
            let address = IpAddr::V4(Ipv4Addr::LOCALHOST);
            replicas.push(Replica { id, address, end: None });
        }
        replicas.truncate(count as usize);
        let all = replicas.clone();
        if all.is_empty() {
            state.replicas.remove(&pod);
        }
        Ok(all)
    }

    async fn stop(&self, pod: ChannelId, replica: &str) -> Result<(), EngineError> {
        if let Some(replicas) = self.state().replicas.get_mut(&pod) {
            replicas.retain(|known| known.id != replica);
        }
        Ok(())
    }

    async fn ended(&self, pod: ChannelId, replica: &str) -> Result<Option<ReplicaEnd>, EngineError> {
        let replicas = self.replicas(pod).await?;
        Ok(replicas.into_iter().find(|known| known.id == replica).and_then(|replica| replica.end))
    }

    async fn replicas(&self, pod: ChannelId) -> Result<Vec<Replica>, EngineError> {
        Ok(self.state().replicas.get(&pod).cloned().unwrap_or_default())
    }

    async fn pods(&self) -> Result<Vec<ChannelId>, EngineError> {
        if self.fails(Failing::Look) {
            return Err(EngineError::Host(Fault::passing(Who::Provider, "cluster-unreachable", "away")));
        }
        Ok(self.state().prepared.keys().copied().collect())
    }

    async fn remove(&self, pod: ChannelId) -> Result<(), EngineError> {
        if self.fails(Failing::Remove) {
            return Err(EngineError::Host(Fault::passing(Who::Provider, "busy", "a mount is busy")));
        }
        self.state().prepared.remove(&pod);
        self.state().replicas.remove(&pod);
        Ok(())
    }

    async fn sample(&self) -> Result<Vec<Reading>, EngineError> {
        if self.fails(Failing::Sample) {
            return Err(EngineError::Host(Fault::passing(Who::Provider, "busy", "no counters")));
        }
        Ok(self.state().readings.clone())
    }

    async fn forget(&self, replica: &str) -> Result<(), EngineError> {
        if self.fails(Failing::Forget) {
            return Err(EngineError::Host(Fault::passing(Who::Provider, "busy", "killed")));
        }
        self.state().readings.retain(|reading| reading.replica != replica);
        Ok(())
    }

    async fn logs(
        &self,
        _pod: ChannelId,
        _query: LogQuery,
    ) -> Result<BoxStream<'static, LogLine>, EngineError> {
        Ok(stream::empty().boxed())
    }
}

#[async_trait]
impl Chain for Double {
    fn account(&self) -> Address {
        ACCOUNT
    }

    fn id(&self) -> u64 {
        CHAIN
    }

    fn payment(&self) -> Address {
        Address([0xcc; 20])
    }

    async fn now(&self) -> Result<u64, ChainError> {
        self.answer()?;
        let state = self.state();
        Ok(state.now - state.lag)
    }

    async fn channels(&self, ids: &[ChannelId]) -> Result<Vec<Option<Channel>>, ChainError> {
        self.answer()?;
        let state = self.state();
        // What a lagging endpoint does not know yet is not there.
        let known = |id: &ChannelId| state.channels.get(id).filter(|_| state.lag == 0).copied();
        Ok(ids.iter().map(known).collect())
    }

    async fn claim(&self, claims: &[Claim]) -> Result<ClaimReceipt, ChainError> {
        self.answer()?;
        let mut state = self.state();
        let now = state.now;
        let paid = claims.iter().map(|claim| {
            let id = ChannelId::of(claim.publisher, ACCOUNT, claim.pod);
            let channel = state.channels.get_mut(&id).filter(|channel| channel.epoch == claim.epoch);
            channel.map_or(Amount::ZERO, |channel| {
                let paid = channel.claimable(&claim.terms.tariff, &claim.usage, now);
                channel.claimed = channel.claimed.saturating_add(paid);
                paid
            })
        });
        let paid = paid.collect();
        state.claims.push(claims.to_vec());
        drop(state);
        let transaction = Hash32([0xdd; 32]);
        if self.fails(Failing::Receipt) {
            return Err(ChainError::Pending(transaction));
        }
        Ok(ClaimReceipt { transaction, paid })
    }

    async fn claim_fee(&self) -> Result<Amount, ChainError> {
        self.answer()?;
        Ok(Amount(self.state().fee))
    }

    async fn register(&self, _offering: &Offering) -> Result<TransactionId, ChainError> {
        unreachable!("registering is the operator's own command")
    }

    async fn unregister(&self) -> Result<TransactionId, ChainError> {
        unreachable!("registering is the operator's own command")
    }

    async fn registered(&self) -> Result<Option<Offering>, ChainError> {
        unreachable!("registering is the operator's own command")
    }
}

impl Double {
    fn answer(&self) -> Result<(), ChainError> {
        match self.fails(Failing::Chain) {
            true => Err(ChainError::Unavailable("connection refused".into())),
            false => Ok(()),
        }
    }
}

#[async_trait]
impl Blobs for Double {
    async fn reach(&self, source: &PeerAddress) -> Result<(), BlobError> {
        match self.state().nodes.contains_key(&source.peer()) {
            true => Ok(()),
            false => Err(BlobError::Unreachable("it is away".into())),
        }
    }

    async fn fetch(
        &self,
        owner: ChannelId,
        blob: &Blob,
        from: &PeerId,
        progress: &(dyn Fn(u64) + Send + Sync),
    ) -> Result<(), BlobError> {
        let mut state = self.state();
        let (cid, problem) = (blob.cid.clone(), "not there".into());
        state.asked.push((from.clone(), blob.digest));
        if state.nodes.get(from).is_some_and(|has| !has.contains(&blob.digest)) {
            return Err(BlobError::Peer { cid, problem });
        }
        if !state.published.contains_key(&blob.digest) {
            return Err(BlobError::Peer { cid, problem });
        }
        if state.failing.contains(&Failing::Stall) && !state.owned.is_empty() {
            return Err(BlobError::Stalled { cid, problem });
        }
        if state.failing.contains(&Failing::Full) && !state.owned.is_empty() {
            return Err(BlobError::Store("the disk is full".into()));
        }
        state.owned.entry(owner).or_default().insert(blob.digest);
        drop(state);
        progress(blob.size);
        Ok(())
    }

    async fn read(&self, digest: Digest, _at_most: u64) -> Result<Vec<u8>, BlobError> {
        Ok(self.state().published[&digest].clone())
    }

    async fn keep_only(&self, owner: ChannelId, digests: &[Digest]) -> Result<(), BlobError> {
        let mut state = self.state();
        if let Some(owned) = state.owned.get_mut(&owner) {
            owned.retain(|digest| digests.contains(digest));
        }
        state.owned.retain(|_, owned| !owned.is_empty());
        Ok(())
    }

    async fn share(&self, _: ChannelId, digests: &[Digest], public: bool) -> Result<(), BlobError> {
        let shared = &mut self.state().shared;
        match public {
            true => shared.extend(digests),
            false => shared.retain(|digest| !digests.contains(digest)),
        }
        Ok(())
    }

    async fn owners(&self) -> Result<Vec<ChannelId>, BlobError> {
        Ok(self.state().owned.keys().copied().collect())
    }
}

impl Registry for Double {
    fn admit(&self, pod: ChannelId, digests: &[Digest]) -> String {
        self.state().admitted.insert(pod, digests.iter().copied().collect());
        format!("token of {pod}")
    }

    fn dismiss(&self, pod: ChannelId) {
        self.state().admitted.remove(&pod);
    }
}
