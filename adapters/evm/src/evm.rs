//! The Payment and Registry contracts as one account uses them.

use crate::abi::{IPayment, Payment};
use crate::account::Account;
use crate::code::{self, Contract};
use crate::failure::amount;
use alloy::eips::BlockId;
use alloy::primitives::{Address, B256, U256};
use alloy::providers::Provider;
use alloy::rpc::types::TransactionReceipt;
use alloy::sol_types::SolCall;
use apocryph_model::{ChainError, Channel, ChannelId, Hash32, PodId, Rate, TransactionId};
use std::collections::HashMap;
use std::sync::Mutex;
use tokio::sync::OnceCell;

/// Where the contracts stand on a chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Contracts {
    /// The Payment contract.
    pub payment: apocryph_model::Address,
    /// The Registry contract.
    pub registry: apocryph_model::Address,
    /// The block from which on events are looked for: that of their deployment, or any before it.
    pub since_block: u64,
}

/// The contracts as one account uses them: the chain of both `apocryph_publisher` and
/// `apocryph_provider`. Nothing is sent before the first call, so it can be made while no
/// endpoint is up.
#[derive(Debug)]
pub struct Evm {
    pub(crate) account: Account,
    pub(crate) payment: Address,
    pub(crate) registry: Address,
    pub(crate) since_block: u64,
    accepted_code: Vec<Hash32>,
    parties: Mutex<HashMap<ChannelId, Parties>>,
    /// Set once the contracts were seen at both addresses.
    found: OnceCell<()>,
}

/// Whose channel it is: what its id is the hash of.
#[derive(Debug, Clone, Copy)]
struct Parties {
    publisher: apocryph_model::Address,
    provider: apocryph_model::Address,
    pod: PodId,
}

/// How many channels are read in one call.
const PAGE: usize = 200;

impl Evm {
    /// The contracts as `account` uses them.
    pub fn new(account: Account, contracts: Contracts) -> Self {
        Self {
            account,
            payment: Address::from(contracts.payment.0),
            registry: Address::from(contracts.registry.0),
            since_block: contracts.since_block,
            accepted_code: Vec::new(),
            parties: Mutex::default(),
            found: OnceCell::new(),
        }
    }

    /// Takes contracts whose code has one of these hashes (EIP-1052) for Payment or Registry as
    /// well. Whoever adds one answers for that code.
    #[must_use]
    pub fn accepting_code(self, hashes: Vec<Hash32>) -> Self {
        Self { accepted_code: hashes, ..self }
    }

    /// Checks that an endpoint answers, that it serves the configured chain, and that the contracts
    /// of this project stand at both addresses. Every other call does so before it sends anything.
    ///
    /// # Errors
    /// [`ChainError::Unavailable`], [`ChainError::WrongChain`], [`ChainError::NoContract`] and
    /// [`ChainError::UnknownCode`].
    pub async fn check(&self) -> Result<(), ChainError> {
        let check = || async {
            self.expect_code(Contract::Payment, self.payment).await?;
            self.expect_code(Contract::Registry, self.registry).await
        };
        self.found.get_or_try_init(check).await.copied()
    }

    /// What the account holds of the chain's own coin, which transactions cost, in its smallest unit.
    ///
    /// # Errors
    /// No endpoint answers, or one of another chain.
    pub async fn coins(&self) -> Result<apocryph_model::Amount, ChainError> {
        let held = self.account.rpc().get_balance(self.account.address()).await;
        Ok(apocryph_model::Amount(held.map_err(|e| self.account.error(&e))?.saturating_to()))
    }

    async fn expect_code(&self, contract: Contract, at: Address) -> Result<(), ChainError> {
        let code = self.account.code(at).await?;
        if code.is_empty() {
            return Err(no_contract(contract.name(), at));
        }
        let hash = Hash32(code::hash(&code).0);
        if contract.is(&code) || self.accepted_code.contains(&hash) {
            return Ok(());
        }
        let address = apocryph_model::Address(at.into_array());
        Err(ChainError::UnknownCode { contract: contract.name(), address, hash })
    }

    /// The block whose state is told.
    pub(crate) async fn block(&self) -> Result<BlockId, ChainError> {
        self.check().await?;
        self.account.confirmed_block().await.map(BlockId::number)
    }

    pub(crate) async fn ask_payment<C: SolCall>(
        &self,
        call: &C,
        block: BlockId,
    ) -> Result<C::Return, ChainError> {
        let answer = self.account.view(self.payment, call, block).await?;
        answer.ok_or_else(|| no_contract("Payment", self.payment))
    }

    pub(crate) async fn ask_registry<C: SolCall>(
        &self,
        call: &C,
        block: BlockId,
    ) -> Result<C::Return, ChainError> {
        let answer = self.account.view(self.registry, call, block).await?;
        answer.ok_or_else(|| no_contract("Registry", self.registry))
    }

    pub(crate) async fn newest_time(&self) -> Result<u64, ChainError> {
        let block =
            self.account.rpc().get_block(BlockId::latest()).await.map_err(|e| self.account.error(&e))?;
        let block = block.ok_or_else(|| ChainError::Unavailable("there is no newest block".into()))?;
        Ok(block.header.timestamp)
    }

    pub(crate) async fn read_channels(&self, ids: &[ChannelId]) -> Result<Vec<Option<Channel>>, ChainError> {
        let block = self.block().await?;
        let mut found = Vec::with_capacity(ids.len());
        for page in ids.chunks(PAGE) {
            let call = Payment::channelsCall { ids: page.iter().map(|id| B256::from(id.0)).collect() };
            let states = self.ask_payment(&call, block).await?;
            let open = page.iter().zip(&states).filter(|(_, state)| is_open(state)).map(|(id, _)| *id);
            self.learn_parties(open.collect()).await?;
            for (id, state) in page.iter().zip(&states) {
                found.push(self.channel_of(*id, state)?);
            }
        }
        Ok(found)
    }

    fn channel_of(&self, id: ChannelId, state: &IPayment::Channel) -> Result<Option<Channel>, ChainError> {
        if !is_open(state) {
            return Ok(None);
        }
        let unknown =
            || ChainError::Unavailable(format!("the endpoint has lost the opening of channel {id}"));
        let parties = self.known(id).ok_or_else(unknown)?;
        Ok(Some(Channel {
            publisher: parties.publisher,
            provider: parties.provider,
            pod: parties.pod,
            token: apocryph_model::Address(state.token.into_array()),
            deposited: apocryph_model::Amount(state.deposited),
            claimed: apocryph_model::Amount(state.claimed),
            max_rate: Rate(amount(U256::from(state.maxRate)).0),
            opened_at: state.openedAt.to(),
            unlock_at: Some(state.unlockAt.to()).filter(|at| *at != 0),
            unlock_delay: state.unlockDelay.into(),
            epoch: state.epoch,
            terms: Hash32(state.termsHash.0),
        }))
    }

    /// Looks up who the channels are between. The contract stores only ids; the opening told.
    async fn learn_parties(&self, mut ids: Vec<ChannelId>) -> Result<(), ChainError> {
        ids.retain(|id| self.known(*id).is_none());
        if ids.is_empty() {
            return Ok(());
        }
        for opened in self.openings(&ids).await? {
            let parties = Parties {
                publisher: apocryph_model::Address(opened.publisher.into_array()),
                provider: apocryph_model::Address(opened.provider.into_array()),
                pod: PodId(opened.podId.0),
            };
            let id = ChannelId::of(parties.publisher, parties.provider, parties.pod);
            self.lock_parties().insert(id, parties);
        }
        Ok(())
    }

    fn known(&self, id: ChannelId) -> Option<Parties> {
        self.lock_parties().get(&id).copied()
    }

    fn lock_parties(&self) -> std::sync::MutexGuard<'_, HashMap<ChannelId, Parties>> {
        // What a panicking thread left there is whole: entries are only ever inserted.
        self.parties.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

fn is_open(state: &IPayment::Channel) -> bool {
    !state.openedAt.is_zero()
}

pub(crate) fn no_contract(contract: &'static str, at: Address) -> ChainError {
    ChainError::NoContract { contract, address: apocryph_model::Address(at.into_array()) }
}

pub(crate) fn transaction(receipt: &TransactionReceipt) -> TransactionId {
    Hash32(receipt.transaction_hash.0)
}
