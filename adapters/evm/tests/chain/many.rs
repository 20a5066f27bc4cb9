//! A thousand channels of several publishers and providers at once: every balance is the model's, to
//! the unit.

use crate::world;
use alloy::primitives::hex;
use alloy::sol_types::SolCall as _;
use apocryph_evm::Evm;
use apocryph_model::{
    Address, Amount, Channel, ChannelId, PodId, Price, Rate, Resource, Tariff, Terms, Usage,
};
use apocryph_provider::{Chain as ProviderChain, Claim};
use apocryph_publisher::{Chain as PublisherChain, Opening};
use apocryph_testbed::{audit, chain::DevChain};
use futures::future::{join_all, try_join_all};
use serde_json::json;
use std::collections::BTreeMap;

const PUBLISHERS: usize = 4;
const PROVIDERS: usize = 2;
const CHANNELS: usize = 1_000;
const BATCH: usize = 100;
/// How many transactions of one key are under way at once.
const AT_ONCE: usize = 25;
const MINTED: u128 = 1_000_000_000_000;
const UNLOCK_DELAY: u64 = 3_600;

/// What a channel is to go through.
#[derive(Debug, Clone)]
struct Plan {
    publisher: usize,
    provider: usize,
    pod: PodId,
    deposit: u128,
    top_up: u128,
    max_rate: Rate,
    tariff: Tariff,
    /// Cumulative, at the first claim and at the last.
    usage: [Usage; 2],
    /// Closed by the provider, at once; else withdrawn by the publisher, after the delay.
    is_closed: bool,
}

alloy::sol! {
    /// What no part of the system calls yet.
    function close(address publisher, bytes32 podId) external returns (uint128 refunded);
}

struct Market {
    chain: world::Chain,
    publishers: Vec<Evm>,
    providers: Vec<Evm>,
}

/// All different, and always the same: some channels are used up, some are bounded by their rate,
/// some are never used.
fn plan(number: usize) -> Plan {
    let n = number as u64;
    let mut tariff = Tariff::default();
    tariff.0[Resource::CpuUsed as usize] = Price(u128::from(1 + n % 7) * 333_333_333_333_333);
    tariff.0[Resource::Egress as usize] = Price(u128::from(n % 3) * 777_777_777_777_777_777);
    let mut first = Usage::default();
    first[Resource::CpuUsed] = n % 11 * 1_234_567;
    first[Resource::Egress] = n % 13 * 1_000;
    let mut last = first;
    last[Resource::CpuUsed] += n % 17 * 7_654_321;
    let slow = n.is_multiple_of(5);
    Plan {
        publisher: number % PUBLISHERS,
        provider: number / PUBLISHERS % PROVIDERS,
        pod: PodId::of(&format!("pod-{number}").parse().unwrap()),
        deposit: 1 + u128::from(n * 7919 % 50_000),
        top_up: 1 + u128::from(n % 1_000),
        max_rate: Rate(if slow { 100_000_000 } else { 1_000_000_000_000_000 }),
        tariff,
        // What the rate bounds is claimed when the time no longer matters.
        usage: if slow { [Usage::default(), last] } else { [first, last] },
        is_closed: n % 3 == 1,
    }
}

fn payout(provider: usize) -> Address {
    Address([0xC0 + u8::try_from(provider).unwrap(); 20])
}

impl Plan {
    fn terms(&self) -> Terms {
        Terms { tariff: self.tariff, meter_key: Address::ZERO, payout: payout(self.provider) }
    }

    fn deposited(&self) -> u128 {
        self.deposit + self.top_up
    }
}

impl Market {
    async fn start() -> Option<Self> {
        let chain = world::chain().await?;
        let evm = |index| Evm::new(chain.account(DevChain::key(index)), chain.contracts());
        let publishers: Vec<Evm> = (0..PUBLISHERS).map(evm).collect();
        let providers = (PUBLISHERS..PUBLISHERS + PROVIDERS).map(evm).collect();
        for publisher in &publishers {
            let account = PublisherChain::account(publisher);
            chain.mint(account, Amount(MINTED)).await.unwrap();
            allow_everything(&chain, account).await;
        }
        Some(Self { chain, publishers, providers })
    }

    fn id(&self, plan: &Plan) -> ChannelId {
        let publisher = PublisherChain::account(&self.publishers[plan.publisher]);
        ChannelId::of(publisher, ProviderChain::account(&self.providers[plan.provider]), plan.pod)
    }

    fn opening(&self, plan: &Plan) -> Opening {
        Opening {
            provider: ProviderChain::account(&self.providers[plan.provider]),
            pod: plan.pod,
            token: self.chain.token(),
            deposit: Amount(plan.deposit),
            max_rate: plan.max_rate,
            unlock_delay: UNLOCK_DELAY,
            terms: plan.terms(),
        }
    }

    /// Does something for each plan, for all publishers at once.
    async fn each_publisher<F: Future<Output = ()>>(&self, plans: &[Plan], act: impl Fn(Plan) -> F) {
        let act = &act;
        join_all((0..PUBLISHERS).map(|publisher| async move {
            let own: Vec<&Plan> = plans.iter().filter(|plan| plan.publisher == publisher).collect();
            for some in own.chunks(AT_ONCE) {
                join_all(some.iter().map(|plan| act((*plan).clone()))).await;
            }
        }))
        .await;
    }

    /// Claims in batches, all providers at once. What was paid, by channel.
    async fn claim(&self, plans: &[Plan], which: usize) -> BTreeMap<ChannelId, u128> {
        let one = |provider: usize| async move {
            let mut paid = Vec::new();
            let own: Vec<&Plan> = plans.iter().filter(|plan| plan.provider == provider).collect();
            for batch in own.chunks(BATCH) {
                let claims: Vec<Claim> = batch.iter().map(|plan| self.claim_of(plan, which)).collect();
                let receipt = self.providers[provider].claim(&claims).await.unwrap();
                paid.extend(batch.iter().map(|plan| self.id(plan)).zip(receipt.paid.iter().map(|p| p.0)));
            }
            paid
        };
        join_all((0..PROVIDERS).map(one)).await.into_iter().flatten().collect()
    }

    fn claim_of(&self, plan: &Plan, which: usize) -> Claim {
        Claim {
            publisher: PublisherChain::account(&self.publishers[plan.publisher]),
            pod: plan.pod,
            epoch: 1,
            terms: plan.terms(),
            usage: plan.usage[which],
        }
    }

    async fn channels(&self, plans: &[Plan]) -> Vec<Channel> {
        let ids: Vec<ChannelId> = plans.iter().map(|plan| self.id(plan)).collect();
        let read = self.providers[0].channels(&ids).await.unwrap();
        read.into_iter().map(Option::unwrap).collect()
    }

    async fn balance(&self, holder: Address) -> u128 {
        audit::balance(self.chain.rpc(), self.chain.token(), holder).await.unwrap()
    }

    async fn block(&self) -> u64 {
        number(&self.chain.call("eth_blockNumber", json!([])).await.unwrap())
    }

    /// What the blocks after this one used of gas, for each channel.
    async fn gas_since(&self, block: u64) -> u64 {
        let newest = self.block().await;
        let blocks: Vec<u64> = (block + 1..=newest).collect();
        let mut sum = 0;
        for some in blocks.chunks(100) {
            let ask = |at: &u64| self.chain.call("eth_getBlockByNumber", json!([format!("{at:#x}"), false]));
            let found = try_join_all(some.iter().map(ask)).await.unwrap();
            sum += found.iter().map(|block| number(&block["gasUsed"])).sum::<u64>();
        }
        sum / CHANNELS as u64
    }
}

fn number(value: &serde_json::Value) -> u64 {
    u64::from_str_radix(value.as_str().unwrap().trim_start_matches("0x"), 16).unwrap()
}

/// So that each opening is one transaction.
async fn allow_everything(chain: &DevChain, owner: Address) {
    let spender = chain.contracts().payment.to_string();
    let data = format!("0x095ea7b3{:0>64}{}", &spender[2..], "f".repeat(64));
    let transaction = json!([{ "from": owner, "to": chain.token(), "data": data }]);
    chain.call("eth_sendTransaction", transaction).await.unwrap();
}

impl Market {
    async fn open(&self, plans: &[Plan]) -> BTreeMap<ChannelId, Channel> {
        let act = |plan: Plan| async move {
            self.publishers[plan.publisher].open_channel(&self.opening(&plan)).await.unwrap();
        };
        self.each_publisher(plans, act).await;
        self.channels(plans).await.into_iter().map(|channel| (channel.id(), channel)).collect()
    }

    async fn top_up(&self, plans: &[Plan], channels: &BTreeMap<ChannelId, Channel>) {
        let act = |plan: Plan| async move {
            let channel = &channels[&self.id(&plan)];
            self.publishers[plan.publisher].fund(channel, Amount(plan.top_up)).await.unwrap();
        };
        self.each_publisher(plans, act).await;
    }

    async fn unlock(&self, plans: &[Plan], channels: &BTreeMap<ChannelId, Channel>) {
        let act = |plan: Plan| async move {
            self.publishers[plan.publisher].unlock(&channels[&self.id(&plan)]).await.unwrap();
        };
        self.each_publisher(plans, act).await;
    }

    async fn withdraw(&self, plans: &[Plan], channels: &BTreeMap<ChannelId, Channel>, model: &Model) {
        let act = |plan: Plan| async move {
            let id = self.id(&plan);
            let (_, back) = self.publishers[plan.publisher].withdraw(&channels[&id]).await.unwrap();
            assert_eq!(back.0, plan.deposited() - model.last[&id], "{plan:?}");
        };
        self.each_publisher(plans, act).await;
    }

    /// By their providers, from accounts that the dev chain has the keys of.
    async fn close(&self, plans: &[Plan]) {
        for plan in plans {
            let publisher = PublisherChain::account(&self.publishers[plan.publisher]);
            let call = closeCall { publisher: publisher.0.into(), podId: plan.pod.0.into() };
            let from = ProviderChain::account(&self.providers[plan.provider]);
            let (to, data) = (self.chain.contracts().payment, hex::encode_prefixed(call.abi_encode()));
            let transaction = json!([{ "from": from, "to": to, "data": data }]);
            self.chain.call("eth_sendTransaction", transaction).await.unwrap();
        }
    }

    /// What the channels are to pay in all by each of the claims, the last at `now`.
    async fn model(&self, plans: &[Plan]) -> Model {
        let now = ProviderChain::now(&self.providers[0]).await.unwrap();
        let mut model = Model::default();
        for (plan, channel) in plans.iter().zip(self.channels(plans).await) {
            let owed = plan.usage.map(|usage| plan.tariff.owed(&usage));
            let first = owed[0].0.min(plan.deposited());
            let last = owed[1].min(channel.cap(now)).0.min(plan.deposited()).max(first);
            model.capped += usize::from(channel.cap(now) < owed[1]);
            model.used_up += usize::from(last == plan.deposited());
            model.first.insert(channel.id(), first);
            model.last.insert(channel.id(), last);
        }
        model
    }

    async fn check_balances(&self, plans: &[Plan], model: &Model) {
        let claimed = |of: &dyn Fn(&Plan) -> bool| -> u128 {
            plans.iter().filter(|plan| of(plan)).map(|plan| model.last[&self.id(plan)]).sum()
        };
        for (index, publisher) in self.publishers.iter().enumerate() {
            let spent = claimed(&|plan| plan.publisher == index);
            assert_eq!(self.balance(PublisherChain::account(publisher)).await, MINTED - spent);
        }
        for provider in 0..PROVIDERS {
            let earned = claimed(&|plan| plan.provider == provider);
            assert_eq!(self.balance(payout(provider)).await, earned);
        }
        assert_eq!(self.balance(self.chain.contracts().payment).await, 0);
    }

    async fn check_events(&self, plans: &[Plan], model: &Model) {
        let flows = audit::flows(self.chain.rpc(), self.chain.contracts().payment).await.unwrap();
        assert_eq!(flows.len(), CHANNELS);
        for plan in plans {
            let (id, flow) = (self.id(plan), flows[&self.id(plan)]);
            assert!(flow.is_settled() && flow.deposited == plan.deposited(), "{plan:?}");
            assert_eq!(flow.claimed, model.last[&id], "{plan:?}");
        }
    }
}

/// What is to come out.
#[derive(Default)]
struct Model {
    /// Paid by the first claim.
    first: BTreeMap<ChannelId, u128>,
    /// Paid in all.
    last: BTreeMap<ChannelId, u128>,
    /// How many channels their rate bounds.
    capped: usize,
    /// How many have nothing left.
    used_up: usize,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_channels_end_with_everybody_having_what_is_theirs() {
    let Some(market) = Market::start().await else { return };
    let plans: Vec<Plan> = (0..CHANNELS).map(plan).collect();
    let mut meter = Meter::start(&market).await;
    let channels = market.open(&plans).await;
    meter.read(&market, "open").await;
    market.top_up(&plans, &channels).await;
    meter.read(&market, "top up").await;
    market.chain.advance(10_000).await.unwrap();
    let first = market.claim(&plans, 0).await;
    meter.read(&market, "claim in batches").await;
    market.unlock(&plans, &channels).await;
    meter.read(&market, "unlock").await;
    market.chain.advance(UNLOCK_DELAY).await.unwrap();
    let model = market.model(&plans).await;
    assert!(model.capped > 0 && model.used_up > 0);
    assert_eq!(first, model.first);
    let second = market.claim(&plans, 1).await;
    assert!(second.iter().all(|(id, paid)| model.first[id] + paid == model.last[id]));
    meter.read(&market, "claim again").await;
    let (closed, withdrawn): (Vec<Plan>, Vec<Plan>) = plans.iter().cloned().partition(|plan| plan.is_closed);
    market.close(&closed).await;
    market.withdraw(&withdrawn, &channels, &model).await;
    meter.read(&market, "close or withdraw").await;
    market.check_balances(&plans, &model).await;
    market.check_events(&plans, &model).await;
    println!("gas for each of {CHANNELS} channels: {}", meter.readings.join(", "));
}

/// Gas used between readings.
struct Meter {
    block: u64,
    readings: Vec<String>,
}

impl Meter {
    async fn start(market: &Market) -> Self {
        Self { block: market.block().await, readings: Vec::new() }
    }

    async fn read(&mut self, market: &Market, what: &str) {
        self.readings.push(format!("{what} {}", market.gas_since(self.block).await));
        self.block = market.block().await;
    }
}
