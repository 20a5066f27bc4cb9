//! Transactions that do not go as planned.

use crate::world;
use apocryph_evm::{Account, Evm, Key, Patience, mint};
use apocryph_model::{Address, Amount, ChainError};
use apocryph_publisher::Chain as _;
use apocryph_testbed::chain::DevChain;
use apocryph_testbed::rpc_proxy::{Fate, RpcProxy};
use apocryph_testbed::until::until;
use serde_json::{Value, json};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

const LONG: Duration = Duration::from_secs(30);
const RECIPIENT: Address = Address([5; 20]);

async fn minted(chain: &DevChain) -> u128 {
    apocryph_testbed::audit::balance(chain.rpc(), chain.token(), RECIPIENT).await.unwrap()
}

#[tokio::test]
async fn a_stuck_transaction_is_sent_again_with_a_higher_fee() {
    let Some(world) = world::start().await else { return };
    let chain = &world.chain;
    let patience = Patience { bump_after: Duration::from_millis(300), give_up_after: LONG };
    let account = chain.account(DevChain::key(3)).with_patience(patience);
    let sender = account_of(3);
    chain.mine(false).await.unwrap();
    let send = mint(&account, chain.token(), RECIPIENT, Amount(7));
    let raise = async {
        let first = fee_in_pool(chain, sender).await;
        until("the fee is raised", LONG, async || Ok(fee_in_pool(chain, sender).await > first))
            .await
            .unwrap();
        chain.mine(true).await.unwrap();
        chain.advance(1).await.unwrap();
    };
    let (sent, ()) = tokio::join!(send, raise);
    sent.unwrap();
    assert_eq!(minted(chain).await, 7);
}

fn account_of(index: usize) -> Address {
    DevChain::key(index).address()
}

/// The highest fee of the account's waiting transactions, once there is one.
async fn fee_in_pool(chain: &DevChain, sender: Address) -> u128 {
    let mut fee = None;
    let look = async || {
        let pool = chain.call("txpool_content", json!([])).await?;
        let waiting = pool["pending"].as_object().into_iter().flatten();
        let ours = waiting.filter(|(who, _)| who.eq_ignore_ascii_case(&sender.to_string()));
        let fees = ours.flat_map(|(_, by_nonce)| by_nonce.as_object().into_iter().flatten());
        fee = fees.filter_map(|(_, tx)| tx["maxFeePerGas"].as_str()?.strip_prefix("0x")).map(from_hex).max();
        Ok(fee.is_some())
    };
    until("the transaction waits", LONG, look).await.unwrap();
    fee.unwrap()
}

fn from_hex(digits: &str) -> u128 {
    u128::from_str_radix(digits, 16).unwrap()
}

#[tokio::test]
async fn a_transaction_that_is_not_mined_in_time_is_pending() {
    let Some(world) = world::start().await else { return };
    let patience = Patience { bump_after: LONG, give_up_after: Duration::ZERO };
    let account = world.chain.account(DevChain::key(3)).with_patience(patience);
    world.chain.mine(false).await.unwrap();
    let error = mint(&account, world.chain.token(), RECIPIENT, Amount(7)).await.unwrap_err();
    assert!(matches!(error, ChainError::Pending(_)) && error.retry(), "{error}");
}

#[tokio::test]
async fn one_key_sends_from_many_places_at_once() {
    let Some(world) = world::start().await else { return };
    let chain = &world.chain;
    let (one, other) = (chain.account(DevChain::key(3)), chain.account(DevChain::key(3)));
    let send = |account| mint(account, chain.token(), RECIPIENT, Amount(1));
    let sends = (0..10).flat_map(|_| [send(&one), send(&other)]);
    for sent in futures::future::join_all(sends).await {
        sent.unwrap();
    }
    assert_eq!(minted(chain).await, 20);
}

/// As when others send with the same key all the time, and are always first.
#[tokio::test]
async fn one_that_is_late_many_times_is_sent_in_the_end() {
    const TAKEN: u64 = 12;
    let Some(world) = world::start().await else { return };
    let (chain, sender) = (&world.chain, account_of(3));
    let tries = AtomicU64::new(0);
    let late = RpcProxy::start(chain.rpc(), move |method, _| match method {
        "eth_sendRawTransaction" if tries.fetch_add(1, Ordering::Relaxed) < TAKEN => {
            Fate::Error(-32000, "nonce too low")
        }
        _ => Fate::Pass,
    })
    .await
    .unwrap();
    let account = Account::new(&[late.url()], chain.id(), 1, DevChain::key(3));
    let send = mint(&account, chain.token(), RECIPIENT, Amount(7));
    let others = async {
        let waits = async || {
            let pool = chain.call("txpool_content", json!([])).await?;
            let queued = pool["queued"].as_object().into_iter().flatten();
            Ok(queued.into_iter().any(|(who, _)| who.eq_ignore_ascii_case(&sender.to_string())))
        };
        until("the transaction waits for those before it", LONG, waits).await.unwrap();
        for nonce in 0..TAKEN {
            let transaction = json!({ "from": sender, "to": RECIPIENT, "nonce": format!("{nonce:#x}") });
            chain.call("eth_sendTransaction", json!([transaction])).await.unwrap();
        }
    };
    let (sent, ()) = tokio::join!(send, others);
    sent.unwrap();
    assert_eq!(minted(chain).await, 7);
}

#[tokio::test]
async fn a_transaction_whose_receipt_comes_late_is_sent_once() {
    let Some(world) = world::start().await else { return };
    let chain = &world.chain;
    let looks = AtomicU64::new(0);
    let behind = RpcProxy::start(chain.rpc(), move |method, _| match method {
        "eth_getTransactionReceipt" if looks.fetch_add(1, Ordering::Relaxed) < 7 => Fate::Answer(Value::Null),
        _ => Fate::Pass,
    })
    .await
    .unwrap();
    let account = Account::new(&[behind.url()], chain.id(), 1, DevChain::key(3));
    mint(&account, chain.token(), RECIPIENT, Amount(7)).await.unwrap();
    assert_eq!(minted(chain).await, 7);
}

#[tokio::test]
async fn a_transaction_whose_nonce_is_taken_gets_another() {
    let Some(world) = world::start().await else { return };
    let chain = &world.chain;
    let account = chain.account(DevChain::key(3));
    let sender = account_of(3);
    chain.mine(false).await.unwrap();
    let send = mint(&account, chain.token(), RECIPIENT, Amount(7));
    let displace = async {
        let fee = fee_in_pool(chain, sender).await;
        let nonce = chain.call("eth_getTransactionCount", json!([sender, "latest"])).await.unwrap();
        let transaction = json!({
            "from": sender, "to": RECIPIENT, "value": "0x1", "nonce": nonce,
            "maxFeePerGas": format!("{:#x}", fee * 3), "maxPriorityFeePerGas": format!("{:#x}", fee * 3),
        });
        chain.call("eth_sendTransaction", json!([transaction])).await.unwrap();
        chain.mine(true).await.unwrap();
        chain.advance(1).await.unwrap();
    };
    let (sent, ()) = tokio::join!(send, displace);
    sent.unwrap();
    assert_eq!(minted(chain).await, 7);
}

#[tokio::test]
async fn an_account_without_coin_is_told_so() {
    let Some(world) = world::start().await else { return };
    let account = world.chain.account(Key::generate());
    let error = mint(&account, world.chain.token(), RECIPIENT, Amount(7)).await.unwrap_err();
    assert_eq!(error, ChainError::NoFee);
}

#[tokio::test]
async fn only_what_is_confirmed_is_told() {
    let Some(world) = world::start().await else { return };
    let chain = &world.chain;
    let account = Account::new(&[chain.url()], chain.id(), 3, DevChain::key(3));
    let careful = Evm::new(account, chain.contracts());
    world.open("web", 1_000).await;
    let told = async || Ok(careful.channel(world.id("web")).await.unwrap().is_some());
    until("the opening is confirmed", LONG, told).await.unwrap();
}
