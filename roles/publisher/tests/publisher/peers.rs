//! Providers in memory.

use crate::chain::{PAYMENT, TOKEN};
use apocryph_model::{
    Address, Attestation, Blob, ChannelId, Endpoint, LogLine, LogQuery, Offer, Offering, PeerAddress, PeerId,
    PodPhase, PodStatus, Price, Progress, ProvisionRequest, Resource, Tariff, Terms, Usage, UsageRecord,
};
use apocryph_publisher::{LinkError, LocalBlob, Network, ProviderLink};
use apocryph_statement::{Signature, Signer, SignerError};
use async_trait::async_trait;
use futures::{
    future,
    stream::{self, BoxStream, StreamExt},
};
use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::{Arc, Mutex},
};
use tokio::task::yield_now;

const LETTERS: &[u8] = b"abcdefghijkmnopqrstuvwxyz";

/// A provider that asks `price` times 0.036 for a core-hour: without a remainder in any unit.
pub(crate) fn offering(number: u8, price: u32) -> Offering {
    let mut tariff = Tariff::default();
    let hour = Resource::CpuUsed.units_per_priced();
    tariff.0[Resource::CpuUsed as usize] =
        Price(u128::from(price) * 36_000 * 1_000_000_000_000_000_000 / u128::from(hour));
    Offering {
        provider: Address([number; 20]),
        name: format!("provider-{number}"),
        regions: vec!["eu-west".parse().unwrap()],
        addresses: vec![address(number)],
        tariff,
        token: TOKEN,
        payout: Address([number; 20]),
        attestation: Attestation::None,
        description: apocryph_model::Hash32([0; 32]),
    }
}

pub(crate) fn address(number: u8) -> PeerAddress {
    let letter = LETTERS[usize::from(number) % LETTERS.len()] as char;
    let id = format!("12D3KooW{}", letter.to_string().repeat(44));
    format!("/ip4/192.0.2.{number}/tcp/4001/p2p/{id}").parse().unwrap()
}

#[derive(Default)]
pub(crate) struct Room {
    pub(crate) evidence: Vec<u8>,
    pub(crate) provisioned: Vec<ProvisionRequest>,
    pub(crate) removed: usize,
    pub(crate) records: Vec<UsageRecord>,
    /// What the next provisions meet.
    pub(crate) refuse: VecDeque<LinkError>,
    pub(crate) log: Vec<LogLine>,
    /// After how many lines the next readings of the log break off.
    pub(crate) cuts: VecDeque<usize>,
}

impl Room {
    fn take(&mut self, request: ProvisionRequest) -> Result<(), LinkError> {
        match self.refuse.pop_front() {
            Some(error) => Err(error),
            None => {
                self.provisioned.push(request);
                Ok(())
            }
        }
    }
}

pub(crate) struct Provider {
    pub(crate) peer: PeerId,
    pub(crate) offer: Mutex<Offer>,
    pub(crate) room: Mutex<Room>,
}

impl Provider {
    pub(crate) fn of(offering: &Offering) -> Self {
        let terms = Terms { tariff: offering.tariff, meter_key: Address::ZERO, payout: offering.payout };
        let offer = Offer {
            chain: 31337,
            payment: PAYMENT,
            provider: offering.provider,
            token: offering.token,
            terms,
            least_runway: 600,
            least_unlock_delay: 3600,
            attestation: offering.attestation,
        };
        Self { peer: offering.addresses[0].peer(), offer: Mutex::new(offer), room: Mutex::default() }
    }
}

#[async_trait]
impl ProviderLink for Provider {
    fn peer(&self) -> PeerId {
        self.peer.clone()
    }
    async fn offer(&self) -> Result<Offer, LinkError> {
        Ok(self.offer.lock().unwrap().clone())
    }
    async fn attest(&self, _: [u8; 32]) -> Result<Vec<u8>, LinkError> {
        Ok(self.room.lock().unwrap().evidence.clone())
    }
    async fn provision(
        &self,
        _: ChannelId,
        request: ProvisionRequest,
        progress: &(dyn Fn(Progress) + Send + Sync),
    ) -> Result<Vec<Endpoint>, LinkError> {
        yield_now().await;
        progress(Progress::Channel);
        progress(Progress::Fetch { done: 1, total: 1 });
        self.room.lock().unwrap().take(request)?;
        yield_now().await;
        Ok(vec![Endpoint::Tcp { address: ([192, 0, 2, 1], 6379).into(), container_port: 6379 }])
    }
    async fn remove(&self, _: ChannelId) -> Result<(), LinkError> {
        yield_now().await;
        self.room.lock().unwrap().removed += 1;
        yield_now().await;
        Ok(())
    }
    async fn status(&self, _: ChannelId) -> Result<PodStatus, LinkError> {
        Ok(PodStatus {
            phase: PodPhase::Running,
            replicas: 1,
            endpoints: vec![],
            usage: Usage([3_600_000_000, 0, 0, 0, 0, 0, 0, 0]),
            channel: None,
            spec: None,
            last_error: None,
        })
    }
    async fn logs(
        &self,
        _: ChannelId,
        query: LogQuery,
    ) -> Result<BoxStream<'static, Result<LogLine, LinkError>>, LinkError> {
        let mut room = self.room.lock().unwrap();
        let asked = |line: &&LogLine| query.since_ms.is_none_or(|since| line.time_ms >= since);
        let mut lines: Vec<_> = room.log.iter().filter(asked).cloned().map(Ok).collect();
        if let Some(cut) = room.cuts.pop_front() {
            lines.truncate(cut);
            lines.push(Err(LinkError::Broken("the cable is out".into())));
        }
        Ok(stream::iter(lines).boxed())
    }
    async fn usage(&self, _: ChannelId, from: u64) -> Result<Vec<UsageRecord>, LinkError> {
        let room = self.room.lock().unwrap();
        Ok(room.records.iter().skip(from as usize).take(2).cloned().collect())
    }
}

/// Those that answer, by their peer ids.
#[derive(Default)]
pub(crate) struct MemoryNetwork {
    /// Those that never say anything.
    pub(crate) silent: Mutex<BTreeSet<PeerId>>,
    pub(crate) alive: Mutex<BTreeMap<PeerId, Arc<Provider>>>,
    pub(crate) published: Mutex<Vec<(PeerId, Vec<LocalBlob>)>>,
}

#[async_trait]
impl Network for MemoryNetwork {
    async fn connect(
        &self,
        addresses: &[PeerAddress],
        _: Arc<dyn Signer>,
    ) -> Result<Arc<dyn ProviderLink>, LinkError> {
        if self.silent.lock().unwrap().contains(&addresses[0].peer()) {
            future::pending::<()>().await;
        }
        let alive = self.alive.lock().unwrap();
        let found = addresses.iter().find_map(|address| alive.get(&address.peer()));
        let peer = addresses[0].peer();
        let unreachable = || LinkError::Unreachable { peer, problem: "connection refused".into() };
        Ok(found.cloned().ok_or_else(unreachable)?)
    }
    async fn publish(&self, blobs: &[LocalBlob], peer: &PeerId) -> Result<Vec<Blob>, LinkError> {
        self.published.lock().unwrap().push((peer.clone(), blobs.to_vec()));
        let publish =
            |b: &LocalBlob| Blob { digest: b.digest, size: b.size, cid: format!("cid-{}", b.digest) };
        Ok(blobs.iter().map(publish).collect())
    }
}

pub(crate) struct NoSigner;

#[async_trait]
impl Signer for NoSigner {
    fn account(&self) -> Address {
        crate::chain::ACCOUNT
    }
    async fn sign(&self, _: apocryph_model::Hash32) -> Result<Signature, SignerError> {
        Err(SignerError("the double has no key".into()))
    }
}
