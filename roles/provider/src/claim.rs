//! The step `claim`: measured usage is submitted to the Payment contract, which prices it.
//!
//! Claims are cumulative, and what is due is computed from the chain's own state: a claim that is
//! repeated after a kill, or was mined without anyone noticing, pays nothing twice.

use crate::{Claim, ClaimPolicy, ClaimReceipt, Provider, evidence::Evidence, faults, funds};
use apocryph_ledger::{ClaimEntry, Ledger, LedgerError, Pod};
use apocryph_model::{Amount, Channel, ChannelId, Fault, Usage};
use tracing::{info, instrument, warn};

/// Channels in one transaction.
const BATCH: usize = 64;

/// How long no claim is tried after one failed, in milliseconds: it may still be mined.
const PAUSE_MS: u64 = 15_000;

/// Why now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Occasion {
    /// It is well above the fee.
    Value,
    /// The channel may soon be used up or withdrawn from.
    BeforeEnd,
    /// The pod has ended: this is its last money.
    Removal,
    /// It has been long.
    Period,
}

/// What is known of one channel when it is asked whether to claim.
#[derive(Debug, Clone)]
struct Situation {
    /// What a claim would pay now.
    claimable: Amount,
    /// What a claim's transaction costs, in the token's smallest unit.
    fee: Amount,
    /// All that will ever be due has become due.
    complete: bool,
    /// The pod has ended.
    ended: bool,
    /// Seconds until the channel may be used up or withdrawn from.
    end_in: u64,
    /// Seconds since the last claim, or since the channel was opened.
    since_last: u64,
}

/// A pod with what was used in its channel's epoch.
struct Account {
    pod: Pod,
    used: Usage,
    claimed_at_ms: Option<u64>,
}

impl Provider {
    /// Claims from every channel where it is time.
    ///
    /// # Errors
    /// The chain did not answer or refused; what is due stays due.
    #[instrument(skip_all)]
    pub async fn claim(&self) -> Result<(), Fault> {
        let _alone = self.claiming.lock().await;
        if self.now_ms() < self.memory().claim_not_before {
            return Ok(());
        }
        let accounts = self.ledger(|ledger| accounts(ledger, ledger.pods_to_look_after()?)).await?;
        self.claim_from(accounts, false).await
    }

    /// Claims from one channel all that is due, as nothing more will come.
    #[instrument(skip_all, fields(pod = %channel.short()))]
    pub(crate) async fn claim_last(&self, channel: ChannelId) -> Result<(), Fault> {
        let _alone = self.claiming.lock().await;
        let one = move |ledger: &Ledger| accounts(ledger, ledger.pod(channel)?.into_iter().collect());
        let accounts = self.ledger(one).await?;
        self.claim_from(accounts, true).await
    }

    async fn claim_from(&self, accounts: Vec<Account>, all: bool) -> Result<(), Fault> {
        if accounts.is_empty() {
            return Ok(());
        }
        let ids: Vec<_> = accounts.iter().map(|account| account.pod.channel).collect();
        let Evidence { now, channels } = self.evidence(&ids).await?;
        let fee = self.world.chain.claim_fee().await.map_err(|cause| faults::of_chain(&cause))?;
        let fee = in_tokens(fee, self.settings.claims.coin_worth);
        let mut due = Vec::new();
        for (account, channel) in accounts.into_iter().zip(channels) {
            let Some(channel) = channel.filter(|channel| channel.epoch == account.pod.epoch) else {
                self.settle_lost(account.pod).await?;
                continue;
            };
            let situation = account.situation(&channel, now, fee, self.now_ms());
            if situation.complete && situation.claimable == Amount::ZERO {
                self.settle(account.pod).await?;
            } else if all && situation.claimable > Amount::ZERO {
                due.push((account, Occasion::Removal));
            } else if let Some(occasion) = occasion(&situation, &self.settings.claims) {
                due.push((account, occasion));
            }
        }
        self.submit(due).await
    }

    /// The channel of a pod is gone: once that is sure, nothing more can come of it.
    async fn settle_lost(&self, pod: Pod) -> Result<(), Fault> {
        if pod.is_live() || !self.seems_ended(pod.channel) {
            return Ok(());
        }
        self.settle(pod).await
    }

    /// A pod that has ended and whose money has come, or cannot come any more, is done with.
    async fn settle(&self, pod: Pod) -> Result<(), Fault> {
        if pod.is_live() {
            return Ok(());
        }
        let pod = Pod { settled: true, ..pod };
        self.ledger(move |ledger| ledger.put_pod(&pod)).await
    }

    /// Claims batch by batch. One that the contract refuses does not keep the others waiting; where
    /// the chain does not answer, the rest waits too.
    async fn submit(&self, due: Vec<(Account, Occasion)>) -> Result<(), Fault> {
        let mut outcome = Ok(());
        for batch in due.chunks(BATCH) {
            let claims: Vec<_> = batch.iter().map(|(account, _)| account.claim()).collect();
            match self.world.chain.claim(&claims).await {
                Ok(receipt) => self.write_down(batch, &receipt).await?,
                Err(cause) => {
                    self.memory().claim_not_before = self.now_ms() + PAUSE_MS;
                    metrics::counter!("apocryph_claims_total", "outcome" => "failed").increment(1);
                    outcome = Err(faults::of_chain(&cause));
                    if cause.retry() {
                        break;
                    }
                }
            }
        }
        outcome
    }

    async fn write_down(&self, batch: &[(Account, Occasion)], receipt: &ClaimReceipt) -> Result<(), Fault> {
        let time_ms = self.now_ms();
        let mut entries = Vec::with_capacity(batch.len());
        for ((account, occasion), paid) in batch.iter().zip(&receipt.paid) {
            let pod = account.pod.channel.short();
            info!(pod, %paid, ?occasion, transaction = %receipt.transaction, "claimed");
            if *paid == Amount::ZERO {
                warn!(pod, "the contract paid nothing");
            }
            entries.push(account.entry(*paid, receipt, time_ms));
        }
        metrics::counter!("apocryph_claims_total", "outcome" => "mined").increment(entries.len() as u64);
        self.ledger(move |ledger| ledger.put_claims(&entries)).await
    }
}

fn accounts(ledger: &Ledger, pods: Vec<Pod>) -> Result<Vec<Account>, LedgerError> {
    let account = |pod: Pod| {
        let used = ledger.total(pod.channel, pod.epoch)?;
        let claimed_at_ms = ledger.last_claim(pod.channel, pod.epoch)?.map(|claim| claim.time_ms);
        Ok(Account { pod, used, claimed_at_ms })
    };
    pods.into_iter().map(account).collect()
}

impl Account {
    fn claim(&self) -> Claim {
        let pod = &self.pod;
        Claim { publisher: pod.publisher, pod: pod.pod, epoch: pod.epoch, terms: pod.terms, usage: self.used }
    }

    fn entry(&self, paid: Amount, receipt: &ClaimReceipt, time_ms: u64) -> ClaimEntry {
        let transaction = receipt.transaction;
        let (channel, epoch) = (self.pod.channel, self.pod.epoch);
        ClaimEntry { channel, epoch, time_ms, usage: self.used, paid, transaction }
    }

    fn situation(&self, channel: &Channel, now: u64, fee: Amount, now_ms: u64) -> Situation {
        let tariff = &self.pod.terms.tariff;
        let last_cap = channel.unlock_at.map_or(Amount(u128::MAX), |unlock_at| channel.cap(unlock_at));
        let in_all = tariff.owed(&self.used).min(channel.deposited).min(last_cap);
        let claimable = channel.claimable(tariff, &self.used, now);
        let used_up_in = channel.max_rate.lasts(funds::left(&self.pod, channel, &self.used));
        let unlocked_in = channel.unlock_at.map(|unlock_at| unlock_at.saturating_sub(now));
        let end_in = unlocked_in.into_iter().chain(used_up_in).min().unwrap_or(u64::MAX);
        let since_last = match self.claimed_at_ms {
            Some(claimed_at_ms) => now_ms.saturating_sub(claimed_at_ms) / 1000,
            None => now.saturating_sub(channel.opened_at),
        };
        let complete = channel.claimed.saturating_add(claimable) >= in_all;
        Situation { claimable, fee, complete, ended: !self.pod.is_live(), end_in, since_last }
    }
}

/// Whether to claim now, and why.
fn occasion(situation: &Situation, policy: &ClaimPolicy) -> Option<Occasion> {
    let Situation { claimable, fee, .. } = situation;
    let before_end = policy.before_end.as_secs();
    let worth = fee.0.saturating_mul(policy.fee_factor.into());
    if *claimable == Amount::ZERO {
        None
    } else if situation.ended && situation.complete {
        Some(Occasion::Removal)
    } else if claimable.0 >= worth && *fee > Amount::ZERO {
        Some(Occasion::Value)
    } else if situation.end_in <= before_end && situation.since_last >= before_end / 4 && claimable > fee {
        Some(Occasion::BeforeEnd)
    } else if situation.since_last >= policy.period.as_secs() {
        Some(Occasion::Period)
    } else {
        None
    }
}

/// A fee in wei as an amount of the token.
fn in_tokens(fee: Amount, coin_worth: Amount) -> Amount {
    const COIN: u128 = 1_000_000_000_000_000_000;
    let worth = fee.0.checked_mul(coin_worth.0).map(|product| product.div_ceil(COIN));
    // Beyond 2^128 the order of division costs no precision that matters.
    Amount(worth.unwrap_or_else(|| (fee.0 / COIN).saturating_mul(coin_worth.0)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn policy() -> ClaimPolicy {
        ClaimPolicy {
            fee_factor: 10,
            coin_worth: Amount(2_000),
            period: Duration::from_secs(86_400),
            before_end: Duration::from_secs(3_600),
        }
    }

    fn quiet() -> Situation {
        Situation {
            claimable: Amount(99),
            fee: Amount(10),
            complete: false,
            ended: false,
            end_in: 1_000_000,
            since_last: 60,
        }
    }

    #[test]
    fn it_waits_until_it_is_worth_its_fee() {
        assert_eq!(occasion(&quiet(), &policy()), None);
        let worth = Situation { claimable: Amount(100), ..quiet() };
        assert_eq!(occasion(&worth, &policy()), Some(Occasion::Value));
    }

    #[test]
    fn it_does_not_wait_for_the_end_or_for_ever() {
        let ending = Situation { end_in: 3_600, since_last: 900, ..quiet() };
        assert_eq!(occasion(&ending, &policy()), Some(Occasion::BeforeEnd));
        let just_claimed = Situation { since_last: 60, ..ending };
        assert_eq!(occasion(&just_claimed, &policy()), None);
        let long = Situation { since_last: 86_400, ..quiet() };
        assert_eq!(occasion(&long, &policy()), Some(Occasion::Period));
    }

    #[test]
    fn the_last_money_is_claimed_once_it_is_all_due() {
        let ended = Situation { ended: true, complete: true, claimable: Amount(1), ..quiet() };
        assert_eq!(occasion(&ended, &policy()), Some(Occasion::Removal));
        let capped = Situation { complete: false, ..ended };
        assert_eq!(occasion(&capped, &policy()), None);
    }

    #[test]
    fn nothing_due_is_never_claimed() {
        let nothing =
            Situation { claimable: Amount::ZERO, ended: true, complete: true, end_in: 0, ..quiet() };
        assert_eq!(occasion(&Situation { since_last: u64::MAX, ..nothing }, &policy()), None);
    }

    #[test]
    fn fees_are_converted_rounded_up() {
        let coin = 1_000_000_000_000_000_000;
        assert_eq!(in_tokens(Amount(coin), Amount(2_000)), Amount(2_000));
        assert_eq!(in_tokens(Amount(1), Amount(2_000)), Amount(1));
        assert_eq!(in_tokens(Amount(5), Amount(0)), Amount(0));
        assert_eq!(in_tokens(Amount(u128::MAX), Amount(u128::MAX)), Amount(u128::MAX));
    }
}
