//! What the Payment contract's events tell of the past.

use crate::abi::Payment;
use crate::evm::Evm;
use crate::packing;
use alloy::primitives::{B256, LogData};
use alloy::providers::Provider;
use alloy::rpc::types::{Filter, Log};
use alloy::sol_types::SolEvent;
use apocryph_model::{Amount, ChainError, ChannelId, Hash32, Usage};
use apocryph_publisher::Claimed;
use std::collections::HashMap;

impl Evm {
    /// The openings of these channels, oldest first.
    pub(crate) async fn openings(&self, ids: &[ChannelId]) -> Result<Vec<Payment::Opened>, ChainError> {
        let logs = self.logs(ids, vec![Payment::Opened::SIGNATURE_HASH]).await?;
        Ok(logs.iter().filter_map(decode).collect())
    }

    /// The claims of all epochs of a channel, oldest first.
    pub(crate) async fn claim_history(&self, id: ChannelId) -> Result<Vec<Claimed>, ChainError> {
        let events = vec![
            Payment::Opened::SIGNATURE_HASH,
            Payment::Claimed::SIGNATURE_HASH,
            Payment::Redeemed::SIGNATURE_HASH,
        ];
        let mut history = History::default();
        let mut times = HashMap::new();
        for log in self.logs(&[id], events).await? {
            history.add(&log, self.time_of(&log, &mut times).await?);
        }
        Ok(history.claims)
    }

    /// The contract's events of these channels up to the newest confirmed block. Endpoints that
    /// bound how many blocks one query spans are asked for halves.
    async fn logs(&self, ids: &[ChannelId], events: Vec<B256>) -> Result<Vec<Log>, ChainError> {
        let newest = self.account.confirmed_block().await?;
        let topics: Vec<B256> = ids.iter().map(|id| B256::from(id.0)).collect();
        let all = Filter::new().address(self.payment).event_signature(events).topic1(topics);
        let mut spans = vec![(self.since_block.min(newest), newest)];
        let mut logs = Vec::new();
        while let Some((from, to)) = spans.pop() {
            match self.account.rpc().get_logs(&all.clone().from_block(from).to_block(to)).await {
                Ok(found) => logs.extend(found),
                Err(error) if error.is_error_resp() && from < to => {
                    let middle = from + (to - from) / 2;
                    spans.extend([(middle + 1, to), (from, middle)]);
                }
                Err(error) => return Err(self.account.error(&error)),
            }
        }
        Ok(logs)
    }

    async fn time_of(&self, log: &Log, times: &mut HashMap<u64, u64>) -> Result<u64, ChainError> {
        if let Some(time) = log.block_timestamp {
            return Ok(time);
        }
        let number = log.block_number.unwrap_or_default();
        if let Some(time) = times.get(&number) {
            return Ok(*time);
        }
        let block = self.account.rpc().get_block(number.into()).await.map_err(|e| self.account.error(&e))?;
        let block =
            block.ok_or_else(|| ChainError::Unavailable(format!("the endpoint has lost block {number}")))?;
        times.insert(number, block.header.timestamp);
        Ok(block.header.timestamp)
    }
}

/// Adds the epochs and totals that the single events do not tell.
#[derive(Debug, Default)]
struct History {
    epoch: u32,
    total: Amount,
    usage: Usage,
    claims: Vec<Claimed>,
}

impl History {
    fn add(&mut self, log: &Log, time: u64) {
        if let Some(opened) = decode::<Payment::Opened>(log) {
            (self.epoch, self.total, self.usage) = (opened.epoch, Amount::ZERO, Usage::default());
        } else if let Some(claimed) = decode::<Payment::Claimed>(log) {
            self.usage = packing::usage(&claimed.usage);
            self.paid(log, Amount(claimed.paid), time);
        } else if let Some(redeemed) = decode::<Payment::Redeemed>(log) {
            self.paid(log, Amount(redeemed.paid), time);
        }
    }

    fn paid(&mut self, log: &Log, paid: Amount, time: u64) {
        self.total = self.total.saturating_add(paid);
        self.claims.push(Claimed {
            epoch: self.epoch,
            usage: self.usage,
            total: self.total,
            paid,
            time,
            transaction: Hash32(log.transaction_hash.unwrap_or_default().0),
        });
    }
}

pub(crate) fn decode<E: SolEvent>(log: &Log<LogData>) -> Option<E> {
    E::decode_log(&log.inner).ok().map(|event| event.data)
}
