//! Transactions that do not go as planned, and endpoints that do not answer.

use crate::world;
use apocryph_evm::{Account, Evm, Key, Patience, mint};
use apocryph_model::{Address, Amount, ChainError};
use apocryph_publisher::Chain as _;
use apocryph_testbed::chain::DevChain;
use apocryph_testbed::until::until;
use serde_json::json;
use std::time::Duration;
use tokio::net::TcpListener;
use url::Url;

const LONG: Duration = Duration::from_secs(30);
const RECIPIENT: Address = Address([5; 20]);

async fn minted(chain: &DevChain) -> u128 {
    apocryph_testbed::audit::balance(chain.rpc(), chain.token(), RECIPIENT).await.unwrap()
}

/// An endpoint that takes connections and says nothing.
async fn silent() -> (TcpListener, Url) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
    (listener, url)
}

/// An address where nobody listens.
async fn dead() -> Url {
    silent().await.1
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
async fn another_endpoint_answers_where_one_does_not() {
    let Some(world) = world::start().await else { return };
    let endpoints = [dead().await, world.chain.url()];
    let account = Account::new(&endpoints, world.chain.id(), 1, DevChain::key(3));
    let evm = Evm::new(account, world.chain.contracts());
    evm.check().await.unwrap();
    assert_eq!(evm.balance(world.chain.token()).await.unwrap(), Amount(0));
}

#[tokio::test]
async fn no_answer_is_no_news() {
    let Some(world) = world::start().await else { return };
    let at =
        |url: Url, chain| Evm::new(Account::new(&[url], chain, 1, DevChain::key(3)), world.chain.contracts());

    let away = dead().await;
    let error = at(away.clone(), world.chain.id()).channel(world.id("web")).await.unwrap_err();
    assert!(error.retry(), "{error}");
    let place = format!("{}:{}", away.host_str().unwrap(), away.port().unwrap());
    assert_eq!(error.to_string(), format!("no chain endpoint answers: {place} cannot be connected to"));

    let error = at(world.chain.url(), 1).channel(world.id("web")).await.unwrap_err();
    assert_eq!(error, ChainError::WrongChain { expected: 1, found: world.chain.id() });
}

#[tokio::test]
async fn an_access_key_in_an_endpoints_url_is_not_told() {
    let url: Url = format!("{}secret?key=secret", dead().await).parse().unwrap();
    let account = Account::new(&[url], 1, 1, DevChain::key(3));
    let error = mint(&account, RECIPIENT, RECIPIENT, Amount(1)).await.unwrap_err();
    assert!(!format!("{error} {error:?}").contains("secret"), "{error:?}");
}

#[tokio::test]
async fn contracts_are_looked_for_before_anything_is_sent() {
    let Some(world) = world::start().await else { return };
    let mut nowhere = world.chain.contracts();
    nowhere.payment = RECIPIENT;
    let evm = Evm::new(world.chain.account(DevChain::key(0)), nowhere);
    let error = evm.open_channel(&world.opening("web", 1)).await.unwrap_err();
    assert_eq!(error, ChainError::NoContract { contract: "Payment", address: RECIPIENT });
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
