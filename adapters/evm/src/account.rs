//! An account on one chain: its calls, and its transactions until they are mined.
//!
//! ```text
//!   estimate -> submit -> wait --mined, confirmed--> receipt
//!                 ^        | |
//!                 |        | '--not mined for a while--> bump the fee, submit again, same nonce
//!                 '--------'--another transaction took the nonce--> a new nonce
//! ```

use crate::endpoints::Endpoints;
use crate::failure::{chain_error, refused};
use crate::key::Key;
use crate::nonce::Submitted;
use crate::transaction::{Fees, Order, Sent};
use alloy::eips::BlockId;
use alloy::primitives::{Address, B256, Bytes, TxKind, U256};
use alloy::providers::{Provider, RootProvider};
use alloy::rpc::client::RpcClient;
use alloy::rpc::types::{TransactionReceipt, TransactionRequest};
use alloy::sol_types::SolCall;
use alloy::transports::TransportError;
use apocryph_model::{ChainError, Hash32};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep};
use url::Url;

/// How long to wait between two looks: at first, and at most.
const LOOK_AFTER: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(2));

/// How long a transaction is waited for.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// After this time without being mined its fee is raised.
    pub bump_after: Duration,
    /// After this time it is given up as [`ChainError::Pending`].
    pub give_up_after: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self { bump_after: Duration::from_secs(30), give_up_after: Duration::from_secs(300) }
    }
}

/// A key's account on one chain.
#[derive(Debug)]
pub struct Account {
    rpc: RootProvider,
    chain: u64,
    key: Key,
    confirmations: u64,
    patience: Patience,
    next_nonce: Mutex<u64>,
    /// How many transactions are waited for.
    waiting: AtomicUsize,
}

/// What became of a transaction.
enum Fate {
    Waiting,
    Mined(Box<TransactionReceipt>),
    NonceTaken,
}

impl Account {
    /// The account of `key` on the chain with the id `chain`, reached over any of the endpoints.
    /// A transaction counts once its block and `confirmations - 1` after it are there. Nothing is
    /// sent yet.
    pub fn new(endpoints: &[Url], chain: u64, confirmations: u64, key: Key) -> Self {
        Self {
            rpc: RootProvider::new(RpcClient::new(Endpoints::new(endpoints, chain), false)),
            chain,
            key,
            confirmations: confirmations.max(1),
            patience: Patience::default(),
            next_nonce: Mutex::new(0),
            waiting: AtomicUsize::new(0),
        }
    }

    /// With another patience than the default.
    #[must_use]
    pub fn with_patience(self, patience: Patience) -> Self {
        Self { patience, ..self }
    }

    pub(crate) fn address(&self) -> Address {
        self.key.signer().address()
    }

    pub(crate) fn key(&self) -> &Key {
        &self.key
    }

    pub(crate) fn chain(&self) -> u64 {
        self.chain
    }

    pub(crate) fn rpc(&self) -> &RootProvider {
        &self.rpc
    }

    /// The nonce after the last one that was used here. Held while one is chosen.
    pub(crate) fn next_nonce(&self) -> &Mutex<u64> {
        &self.next_nonce
    }

    /// Whether a transaction is waited for.
    pub(crate) fn is_waiting(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) > 0
    }

    pub(crate) fn begin_waiting(&self) -> Waiting<'_> {
        Waiting::of(&self.waiting)
    }

    pub(crate) fn error(&self, error: &TransportError) -> ChainError {
        chain_error(error, self.chain)
    }

    /// The newest block that has the configured confirmations.
    pub(crate) async fn confirmed_block(&self) -> Result<u64, ChainError> {
        let newest = self.rpc.get_block_number().await.map_err(|e| self.error(&e))?;
        Ok(newest.saturating_sub(self.confirmations - 1))
    }

    /// The answer of a contract; `None` where what stands at the address does not answer so.
    pub(crate) async fn view<C: SolCall>(
        &self,
        contract: Address,
        call: &C,
        block: BlockId,
    ) -> Result<Option<C::Return>, ChainError> {
        let request = TransactionRequest::default().to(contract).input(Bytes::from(call.abi_encode()).into());
        let answer = self.rpc.call(request).block(block).await.map_err(|e| self.error(&e))?;
        Ok(C::abi_decode_returns(&answer).ok())
    }

    pub(crate) async fn code(&self, at: Address) -> Result<Bytes, ChainError> {
        self.rpc.get_code_at(at).await.map_err(|e| self.error(&e))
    }

    pub(crate) async fn has_code(&self, at: Address) -> Result<bool, ChainError> {
        Ok(!self.code(at).await?.is_empty())
    }

    /// Waits until another's transaction has put code at an address.
    pub(crate) async fn wait_for_code(&self, at: Address, transaction: B256) -> Result<(), ChainError> {
        let give_up = Instant::now() + self.patience.give_up_after;
        while !self.has_code(at).await? {
            if Instant::now() >= give_up {
                return Err(ChainError::Pending(Hash32(transaction.0)));
            }
            sleep(LOOK_AFTER.0).await;
        }
        Ok(())
    }

    /// Calls a contract by a transaction and waits until that is confirmed.
    pub(crate) async fn execute<C: SolCall>(
        &self,
        contract: Address,
        call: &C,
    ) -> Result<TransactionReceipt, ChainError> {
        self.transact(TxKind::Call(contract), U256::ZERO, call.abi_encode().into()).await
    }

    /// Sends a transaction with `value` of the chain's own coin and waits until it is confirmed.
    pub(crate) async fn transact(
        &self,
        to: TxKind,
        value: U256,
        input: Bytes,
    ) -> Result<TransactionReceipt, ChainError> {
        let give_up = Instant::now() + self.patience.give_up_after;
        loop {
            let request = self.request(to, value, &input);
            let gas = self.estimate(request).await?;
            let order = Order { chain: self.chain, to, value, input: input.clone(), gas };
            let (sent, _waiting) = self.submit_first(&order, give_up).await?;
            if let Some(receipt) = self.wait(&order, sent, give_up).await? {
                return self.judge(&order, receipt).await;
            }
        }
    }

    /// What the transaction needs, and a quarter more: the state may change before it is mined.
    async fn estimate(&self, request: TransactionRequest) -> Result<u64, ChainError> {
        let gas = self.rpc.estimate_gas(request).await.map_err(|e| self.error(&e))?;
        Ok(gas.saturating_add(gas / 4))
    }

    fn request(&self, to: TxKind, value: U256, input: &Bytes) -> TransactionRequest {
        let request =
            TransactionRequest::default().from(self.address()).value(value).input(input.clone().into());
        TransactionRequest { to: Some(to), ..request }
    }

    pub(crate) async fn fees(&self) -> Result<Fees, ChainError> {
        let now = self.rpc.estimate_eip1559_fees().await.map_err(|e| self.error(&e))?;
        Ok(Fees { most: now.max_fee_per_gas, tip: now.max_priority_fee_per_gas })
    }

    /// Waits for the receipt; `None` where another transaction took the nonce.
    async fn wait(
        &self,
        order: &Order,
        first: Sent,
        give_up: Instant,
    ) -> Result<Option<TransactionReceipt>, ChainError> {
        let mut attempts = vec![first];
        let mut bump = Instant::now() + self.patience.bump_after;
        let mut pause = LOOK_AFTER.0;
        loop {
            match self.look(&attempts).await {
                Ok(Fate::Mined(receipt)) => return Ok(Some(*receipt)),
                Ok(Fate::NonceTaken) => return Ok(None),
                Ok(Fate::Waiting) => {}
                Err(error) => tracing::debug!(%error, "cannot look for the transaction"),
            }
            if Instant::now() >= give_up {
                return Err(pending(&attempts));
            }
            if Instant::now() >= bump {
                self.bump(order, &mut attempts).await?;
                bump = Instant::now() + self.patience.bump_after;
            }
            sleep(pause).await;
            pause = (pause * 2).min(LOOK_AFTER.1);
        }
    }

    async fn look(&self, attempts: &[Sent]) -> Result<Fate, ChainError> {
        for sent in attempts.iter().rev() {
            let receipt = self.rpc.get_transaction_receipt(sent.hash).await.map_err(|e| self.error(&e))?;
            let Some(receipt) = receipt else { continue };
            let mined = receipt.block_number.unwrap_or(u64::MAX);
            let confirmed = mined <= self.confirmed_block().await?;
            return Ok(if confirmed { Fate::Mined(Box::new(receipt)) } else { Fate::Waiting });
        }
        let Some(nonce) = attempts.first().map(|sent| sent.nonce) else { return Ok(Fate::Waiting) };
        let other = |hash: &B256| attempts.iter().all(|sent| sent.hash != *hash);
        let displaced = self.confirmed_with(nonce).await?.is_some_and(|hash| other(&hash));
        Ok(if displaced { Fate::NonceTaken } else { Fate::Waiting })
    }

    /// Submits the transaction again with a higher fee, in place of the last attempt.
    async fn bump(&self, order: &Order, attempts: &mut Vec<Sent>) -> Result<(), ChainError> {
        let (Some(last), Ok(now)) = (attempts.last(), self.fees().await) else { return Ok(()) };
        let again = order.sign(&self.key, last.nonce, last.fees.raised(now))?;
        tracing::info!(transaction = %again.hash, replaces = %last.hash, "raised the fee of a stuck transaction");
        if let Ok(Submitted::Perhaps) = self.submit(&again).await {
            attempts.push(again);
        }
        Ok(())
    }

    /// The receipt, or why a mined transaction did nothing.
    async fn judge(
        &self,
        order: &Order,
        receipt: TransactionReceipt,
    ) -> Result<TransactionReceipt, ChainError> {
        if receipt.status() {
            return Ok(receipt);
        }
        let block = receipt.block_number.unwrap_or_default();
        let again =
            self.rpc.call(self.request(order.to, order.value, &order.input)).block(block.into()).await;
        let data = again.err().and_then(|e| e.as_error_resp().and_then(|e| e.as_revert_data()));
        Err(refused(&data.unwrap_or_default()))
    }
}

/// Counts a transaction as waited for while it lives.
#[derive(Debug)]
pub(crate) struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn of(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

fn pending(attempts: &[Sent]) -> ChainError {
    let hash = attempts.last().map_or(B256::ZERO, |sent| sent.hash);
    ChainError::Pending(Hash32(hash.0))
}
