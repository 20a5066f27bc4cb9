//! A chain in memory that keeps to the Payment contract's rules.

use apocryph_model::{Address, Amount, ChainError, Channel, ChannelId, Hash32, Offering, TransactionId};
use apocryph_publisher::{Chain, Claimed, Opening, Token};
use async_trait::async_trait;
use std::{collections::BTreeMap, sync::Mutex};
use tokio::task::yield_now;

pub(crate) const ACCOUNT: Address = Address([0xaa; 20]);
pub(crate) const TOKEN: Address = Address([0x70; 20]);
pub(crate) const PAYMENT: Address = Address([0x77; 20]);
pub(crate) const START: u64 = 1_000_000;

#[derive(Default)]
pub(crate) struct Books {
    pub(crate) offerings: Vec<Offering>,
    pub(crate) channels: BTreeMap<ChannelId, Channel>,
    pub(crate) claims: Vec<Claimed>,
    pub(crate) held: Amount,
    /// Another token that it holds as much of.
    pub(crate) also_holds: Option<Address>,
    pub(crate) now: u64,
    pub(crate) transactions: u8,
    /// What the next transaction meets.
    pub(crate) refuse: Option<ChainError>,
    /// What every call meets.
    pub(crate) down: Option<ChainError>,
    /// Whether the next transaction is mined but its receipt is lost.
    pub(crate) lose_receipt: bool,
}

pub(crate) struct MemoryChain(pub(crate) Mutex<Books>);

impl MemoryChain {
    pub(crate) fn new() -> Self {
        Self(Mutex::new(Books { held: Amount(10_000_000_000), now: START, ..Books::default() }))
    }

    fn read<T>(&self, read: impl FnOnce(&mut Books) -> T) -> Result<T, ChainError> {
        let mut books = self.0.lock().unwrap();
        match books.down.clone() {
            Some(error) => Err(error),
            None => Ok(read(&mut books)),
        }
    }

    /// A run may be cut off before it is sent, and after it was mined.
    async fn transact(&self, act: impl FnOnce(&mut Books) + Send) -> Result<TransactionId, ChainError> {
        yield_now().await;
        let mined = self.mine(act);
        yield_now().await;
        mined
    }

    fn mine(&self, act: impl FnOnce(&mut Books)) -> Result<TransactionId, ChainError> {
        let mut books = self.0.lock().unwrap();
        if let Some(error) = books.refuse.take().or(books.down.clone()) {
            return Err(error);
        }
        act(&mut books);
        books.transactions += 1;
        let id = Hash32([books.transactions; 32]);
        if std::mem::take(&mut books.lose_receipt) { Err(ChainError::Pending(id)) } else { Ok(id) }
    }
}

#[async_trait]
impl Chain for MemoryChain {
    fn account(&self) -> Address {
        ACCOUNT
    }
    fn id(&self) -> u64 {
        31337
    }
    fn payment(&self) -> Address {
        PAYMENT
    }
    async fn now(&self) -> Result<u64, ChainError> {
        self.read(|books| books.now)
    }
    async fn list_providers(&self) -> Result<Vec<Offering>, ChainError> {
        self.read(|books| books.offerings.clone())
    }
    async fn token(&self, address: Address) -> Result<Token, ChainError> {
        self.read(|_| Token { address, symbol: "TEST".into(), decimals: 6 })
    }
    async fn balance(&self, token: Address) -> Result<Amount, ChainError> {
        self.read(
            |books| if books.also_holds == Some(token) || token == TOKEN { books.held } else { Amount::ZERO },
        )
    }
    async fn channel(&self, id: ChannelId) -> Result<Option<Channel>, ChainError> {
        self.read(|books| books.channels.get(&id).copied())
    }
    async fn open_channel(&self, opening: &Opening) -> Result<TransactionId, ChainError> {
        self.transact(|books| {
            let channel = Channel {
                publisher: ACCOUNT,
                provider: opening.provider,
                pod: opening.pod,
                token: opening.token,
                deposited: opening.deposit,
                claimed: Amount::ZERO,
                max_rate: opening.max_rate,
                opened_at: books.now,
                unlock_at: None,
                unlock_delay: opening.unlock_delay,
                epoch: 1,
                terms: opening.terms.hash(opening.provider, opening.token),
            };
            books.held = books.held.saturating_sub(opening.deposit);
            assert!(books.channels.insert(channel.id(), channel).is_none(), "reopened while open");
        })
        .await
    }
    async fn fund(&self, channel: &Channel, amount: Amount) -> Result<TransactionId, ChainError> {
        self.transact(|books| {
            books.held = books.held.saturating_sub(amount);
            let channel = books.channels.get_mut(&channel.id()).expect("an open channel");
            channel.deposited = channel.deposited.saturating_add(amount);
        })
        .await
    }
    async fn unlock(&self, channel: &Channel) -> Result<TransactionId, ChainError> {
        self.transact(|books| {
            let now = books.now;
            let channel = books.channels.get_mut(&channel.id()).expect("an open channel");
            assert_eq!(channel.unlock_at.replace(now + channel.unlock_delay), None, "unlocked twice");
        })
        .await
    }
    async fn cancel_unlock(&self, channel: &Channel) -> Result<TransactionId, ChainError> {
        self.transact(|books| {
            let channel = books.channels.get_mut(&channel.id()).expect("an open channel");
            assert!(channel.unlock_at.take().is_some_and(|at| at > books.now), "cancelled out of time");
        })
        .await
    }
    async fn withdraw(&self, channel: &Channel) -> Result<(TransactionId, Amount), ChainError> {
        let mut refund = Amount::ZERO;
        let transaction = self
            .transact(|books| {
                let closed = books.channels.remove(&channel.id()).expect("an open channel");
                assert!(closed.unlocked(books.now), "withdrawn early");
                refund = closed.balance();
                books.held = books.held.saturating_add(refund);
            })
            .await?;
        Ok((transaction, refund))
    }
    async fn claims(&self, _: ChannelId) -> Result<Vec<Claimed>, ChainError> {
        self.read(|books| books.claims.clone())
    }
}
