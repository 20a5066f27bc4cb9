//! What the operator sees.

use crate::Provider;
use apocryph_ledger::{ClaimEntry, Ledger, LedgerError, Pod, PodState};
use apocryph_model::{Address, Amount, ChannelId, Endpoint, Fault, TransactionId, Usage};
use serde::{Deserialize, Serialize};

/// The provider and its pods.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Overview {
    /// The provider's account.
    pub provider: Address,
    /// The token that it takes.
    pub token: Address,
    /// Whether the chain answered when asked for this.
    pub chain_answers: bool,
    /// What the daemon waits for before it looks after its pods; until then this is what its ledger says.
    pub waits_for: Option<String>,
    /// Every pod, ended ones too.
    pub pods: Vec<PodOverview>,
}

/// One pod and its money.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PodOverview {
    /// The channel that pays for it.
    pub channel: ChannelId,
    /// Who pays.
    pub publisher: Address,
    /// The channel's epoch.
    pub epoch: u32,
    /// How far its life is, and why it ended.
    pub state: PodState,
    /// How many replicas run, where anybody looked.
    pub replicas: Option<usize>,
    /// Where it is reached.
    pub endpoints: Vec<Endpoint>,
    /// What was measured in the epoch.
    pub usage: Usage,
    /// What that is worth.
    pub owed: Amount,
    /// What the channel holds in all, where the chain answered and it is open.
    pub deposited: Option<Amount>,
    /// What was claimed from it, likewise.
    pub claimed: Option<Amount>,
    /// The epoch's last claim.
    pub last_claim: Option<LastClaim>,
    /// What went wrong last.
    pub last_error: Option<Fault>,
}

/// A claim that was mined.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LastClaim {
    /// When, in milliseconds since the Unix epoch.
    pub time_ms: u64,
    /// What was paid.
    pub paid: Amount,
    /// The transaction.
    pub transaction: TransactionId,
}

impl From<ClaimEntry> for LastClaim {
    fn from(claim: ClaimEntry) -> Self {
        Self { time_ms: claim.time_ms, paid: claim.paid, transaction: claim.transaction }
    }
}

impl Overview {
    /// What the ledger alone knows, while no provider runs.
    ///
    /// # Errors
    /// The ledger cannot be read.
    pub fn of_ledger(ledger: &Ledger, provider: Address, token: Address) -> Result<Self, LedgerError> {
        Ok(Self { provider, token, chain_answers: false, waits_for: None, pods: read(ledger)? })
    }
}

impl Provider {
    /// The provider and its pods at this moment.
    ///
    /// # Errors
    /// The ledger cannot be read.
    pub async fn overview(&self) -> Result<Overview, Fault> {
        let mut pods = self.ledger(read).await?;
        let ids: Vec<_> = pods.iter().map(|pod| pod.channel).collect();
        let channels = self.world.chain.channels(&ids).await;
        let chain_answers = channels.is_ok();
        for (pod, channel) in pods.iter_mut().zip(channels.unwrap_or_default()) {
            let channel = channel.filter(|channel| channel.epoch == pod.epoch);
            pod.deposited = channel.map(|channel| channel.deposited);
            pod.claimed = channel.map(|channel| channel.claimed);
        }
        for pod in &mut pods {
            pod.last_error = self.memory().troubles.get(&pod.channel).cloned();
            pod.replicas = self.running(pod.channel).await.ok().map(|running| running.len());
        }
        let provider = self.world.chain.account();
        Ok(Overview { provider, token: self.settings.token, chain_answers, waits_for: None, pods })
    }
}

fn read(ledger: &Ledger) -> Result<Vec<PodOverview>, LedgerError> {
    ledger.pods()?.into_iter().map(|pod| pod_overview(ledger, pod)).collect()
}

fn pod_overview(ledger: &Ledger, pod: Pod) -> Result<PodOverview, LedgerError> {
    let usage = ledger.total(pod.channel, pod.epoch)?;
    Ok(PodOverview {
        channel: pod.channel,
        publisher: pod.publisher,
        epoch: pod.epoch,
        owed: pod.terms.tariff.owed(&usage),
        last_claim: ledger.last_claim(pod.channel, pod.epoch)?.map(LastClaim::from),
        state: pod.state,
        replicas: None,
        endpoints: pod.endpoints,
        usage,
        deposited: None,
        claimed: None,
        last_error: None,
    })
}
