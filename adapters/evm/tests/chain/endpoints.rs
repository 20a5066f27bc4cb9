//! Endpoints that do not answer, or not as they should.

use crate::world::{self, World};
use apocryph_evm::{Account, Evm, mint};
use apocryph_model::{Address, Amount, ChainError};
use apocryph_publisher::Chain as _;
use apocryph_testbed::audit;
use apocryph_testbed::chain::DevChain;
use apocryph_testbed::rpc_proxy::{Fate, RpcProxy};
use serde_json::Value;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::net::TcpListener;
use url::Url;

const RECIPIENT: Address = Address([5; 20]);

/// An address where nobody listens.
async fn dead() -> Url {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    format!("http://{}", listener.local_addr().unwrap()).parse().unwrap()
}

fn evm(world: &World, endpoints: &[Url]) -> Evm {
    let account = Account::new(endpoints, world.chain.id(), 1, DevChain::key(3));
    Evm::new(account, world.chain.contracts())
}

async fn proxy(world: &World, decide: impl Fn(&str, &Value) -> Fate + Send + Sync + 'static) -> RpcProxy {
    RpcProxy::start(world.chain.rpc(), decide).await.unwrap()
}

#[tokio::test]
async fn another_endpoint_answers_where_one_does_not() {
    let Some(world) = world::start().await else { return };
    let busy = proxy(&world, |_, _| Fate::Error(429, "too many requests")).await;
    let broken = proxy(&world, |_, _| Fate::Status(503)).await;
    let evm = evm(&world, &[dead().await, busy.url(), broken.url(), world.chain.url()]);
    evm.check().await.unwrap();
    assert_eq!(evm.balance(world.chain.token()).await.unwrap(), Amount(0));
}

#[tokio::test]
async fn no_answer_is_no_news() {
    let Some(world) = world::start().await else { return };
    let told = async |url: Url| {
        let error = evm(&world, &[url]).channel(world.id("web")).await.unwrap_err();
        assert!(error.retry(), "{error}");
        error.to_string()
    };
    let away = dead().await;
    let place = format!("{}:{}", away.host_str().unwrap(), away.port().unwrap());
    assert_eq!(told(away).await, format!("no chain endpoint answers: {place} cannot be connected to"));
    let broken = proxy(&world, |_, _| Fate::Status(503)).await;
    assert!(told(broken.url()).await.ends_with("answers with HTTP status 503"));
    let silent = proxy(&world, |_, _| Fate::LoseAnswer).await;
    assert!(told(silent.url()).await.ends_with("breaks the connection off"));
}

#[tokio::test]
async fn an_endpoint_of_another_chain_is_not_believed() {
    let Some(world) = world::start().await else { return };
    let other = |id| Account::new(&[world.chain.url()], id, 1, DevChain::key(3));
    let evm = Evm::new(other(1), world.chain.contracts());
    let error = evm.channel(world.id("web")).await.unwrap_err();
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
async fn a_transaction_whose_answers_are_lost_is_sent_once() {
    let Some(world) = world::start().await else { return };
    let (sent, looked) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let lossy = proxy(&world, move |method, _| match method {
        "eth_sendRawTransaction" if sent.fetch_add(1, Ordering::Relaxed) == 0 => Fate::LoseAnswer,
        "eth_getTransactionReceipt" if looked.fetch_add(1, Ordering::Relaxed) < 3 => Fate::Status(500),
        _ => Fate::Pass,
    })
    .await;
    let account = Account::new(&[lossy.url()], world.chain.id(), 1, DevChain::key(3));
    mint(&account, world.chain.token(), RECIPIENT, Amount(7)).await.unwrap();
    let minted = audit::balance(world.chain.rpc(), world.chain.token(), RECIPIENT).await.unwrap();
    assert_eq!(minted, 7);
}

#[tokio::test]
async fn events_are_found_where_one_query_spans_few_blocks_only() {
    let Some(world) = world::start().await else { return };
    world.open("web", 1_000).await;
    world.chain.advance(1).await.unwrap();
    let number = |value: &Value| u64::from_str_radix(value.as_str()?.strip_prefix("0x")?, 16).ok();
    let narrow = proxy(&world, move |method, params| {
        let span = || Some(number(&params[0]["toBlock"])? - number(&params[0]["fromBlock"])?);
        match method {
            "eth_getLogs" if span() > Some(1) => {
                Fate::Error(-32005, "query returned more than 10000 results")
            }
            _ => Fate::Pass,
        }
    });
    let seen = evm(&world, &[narrow.await.url()]).channel(world.id("web")).await.unwrap();
    assert_eq!(seen.unwrap().publisher, world.account());
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
