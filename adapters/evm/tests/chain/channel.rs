//! A channel's life on a real chain, through both sides' traits.

use crate::world::{self, World, core_seconds};
use apocryph_evm::Evm;
use apocryph_model::{Address, Amount, ChainError};
use apocryph_provider::Chain as _;
use apocryph_publisher::{Chain as _, Opening};
use apocryph_testbed::chain::DevChain;
use apocryph_testbed::{audit, until::until};
use serde_json::{Value, json};
use std::time::Duration;

const LONG: Duration = Duration::from_secs(30);

#[tokio::test]
async fn a_channel_is_opened_claimed_from_and_withdrawn_from() {
    let Some(world) = world::start().await else { return };
    let (publisher, provider, chain) = (&world.publisher, &world.provider, &world.chain);
    assert_eq!(publisher.channel(world.id("web")).await.unwrap(), None);

    let channel = world.open("web", 50_000).await;
    assert_eq!((channel.deposited, channel.claimed, channel.epoch), (Amount(50_000), Amount(0), 1));
    assert_eq!(
        (channel.publisher, channel.provider, channel.pod),
        (world.account(), world.seller(), world.pod("web"))
    );
    assert_eq!(channel.terms, world.terms().hash(world.seller(), chain.token()));
    assert_eq!(channel.unlock_at, None);

    publisher.fund(&channel, Amount(10_000)).await.unwrap();
    chain.advance(100).await.unwrap();
    let seen = provider.channels(&[world.id("none"), world.id("web")]).await.unwrap();
    assert_eq!(seen[0], None);
    assert_eq!(seen[1].unwrap().deposited, Amount(60_000));

    let receipt = provider.claim(&[world.claim("web", 1, 7)]).await.unwrap();
    assert_eq!(receipt.paid, [Amount(7_000)]);
    let payout = world.terms().payout;
    assert_eq!(audit::balance(chain.rpc(), chain.token(), payout).await.unwrap(), 7_000);

    let refused = publisher.withdraw(&channel).await.unwrap_err();
    assert!(refused.to_string().contains("not unlocking"), "{refused}");
    publisher.unlock(&channel).await.unwrap();
    publisher.cancel_unlock(&channel).await.unwrap();
    assert_eq!(publisher.channel(channel.id()).await.unwrap().unwrap().unlock_at, None);
    publisher.unlock(&channel).await.unwrap();
    let channel = publisher.channel(channel.id()).await.unwrap().unwrap();
    assert!(channel.unlock_at.is_some());
    let refused = publisher.withdraw(&channel).await.unwrap_err();
    assert!(refused.to_string().contains("is locked until") && !refused.retry(), "{refused}");

    provider.claim(&[world.claim("web", 1, 20)]).await.unwrap();
    chain.advance(60).await.unwrap();
    let (_, back) = publisher.withdraw(&channel).await.unwrap();
    assert_eq!(back, Amount(40_000));
    assert_eq!(publisher.channel(channel.id()).await.unwrap(), None);

    world.open("web", 50_000).await;
    chain.advance(100).await.unwrap();
    let refused = provider.claim(&[world.claim("web", 1, 30)]).await.unwrap_err();
    assert!(matches!(refused, ChainError::Reverted(_)), "{refused}");
    provider.claim(&[world.claim("web", 2, 3)]).await.unwrap();

    let claims = publisher.claims(world.id("web")).await.unwrap();
    let told: Vec<_> = claims.iter().map(|c| (c.epoch, c.usage, c.total, c.paid)).collect();
    let expected = [
        (1, core_seconds(7), Amount(7_000), Amount(7_000)),
        (1, core_seconds(20), Amount(20_000), Amount(13_000)),
        (2, core_seconds(3), Amount(3_000), Amount(3_000)),
    ];
    assert_eq!(told, expected);
    assert!(claims.is_sorted_by_key(|c| c.time) && claims[0].time > 0);
}

#[tokio::test]
async fn many_channels_are_claimed_from_at_once() {
    let Some(world) = world::start().await else { return };
    for name in ["a", "b", "c"] {
        world.open(name, 50_000).await;
    }
    world.chain.advance(100).await.unwrap();
    let claims = [
        world.claim("c", 1, 3),
        world.claim("gone", 1, 9),
        world.claim("a", 2, 9),
        world.claim("a", 1, 1),
        world.claim("b", 1, 0),
    ];
    let receipt = world.provider.claim(&claims[..2]).await.unwrap();
    assert_eq!(receipt.paid, [Amount(3_000), Amount(0)]);
    let receipt = world.provider.claim(&claims[3..]).await.unwrap();
    assert_eq!(receipt.paid, [Amount(1_000), Amount(0)]);
    let refused = world.provider.claim(&claims[1..3]).await.unwrap_err();
    assert!(matches!(refused, ChainError::Reverted(_)), "{refused}");
    assert!(world.provider.claim_fee().await.unwrap() > Amount(0));
}

#[tokio::test]
async fn what_the_contract_refuses_is_told_in_words() {
    let Some(world) = world::start().await else { return };
    let channel = world.open("web", 50_000).await;
    let open = async |opening| world.publisher.open_channel(&opening).await;

    let again = open(world.opening("web", 1)).await.unwrap_err().to_string();
    assert!(again.contains("is open already: fund it instead"), "{again}");

    let mut impatient = world.opening("other", 1);
    impatient.unlock_delay = 0;
    let told = open(impatient).await.unwrap_err().to_string();
    assert_eq!(told, "the contract refused: the unlock delay is 0 s, and must be 1 to 7776000 s");

    let held = Amount(1_000_000_000 - 50_000);
    let poor = open(world.opening("other", 2_000_000_000)).await.unwrap_err();
    assert_eq!(poor, ChainError::NoBalance { held, needed: Amount(2_000_000_000) });
    let poor = world.publisher.fund(&channel, Amount(2_000_000_000)).await.unwrap_err();
    assert_eq!(poor, ChainError::NoBalance { held, needed: Amount(2_000_000_000) });

    let mut unknown = world.opening("other", 1);
    unknown.token = world.account();
    let told = open(unknown).await.unwrap_err();
    assert_eq!(told, ChainError::NoContract { contract: "token", address: world.account() });
}

#[tokio::test]
async fn a_token_describes_itself() {
    let Some(world) = world::start().await else { return };
    let token = world.publisher.token(world.chain.token()).await.unwrap();
    assert_eq!((token.symbol.as_str(), token.decimals), ("TEST", 18));
    assert_eq!(world.publisher.balance(world.chain.token()).await.unwrap(), Amount(1_000_000_000));
    let none = world.publisher.token(world.account()).await.unwrap_err();
    assert_eq!(none, ChainError::NoContract { contract: "token", address: world.account() });
    let other = world.publisher.token(world.chain.contracts().payment).await.unwrap_err();
    assert!(!other.retry(), "{other}");
}

#[tokio::test]
async fn a_killed_chain_goes_on_where_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let start = apocryph_testbed::chain::DevChain::start;
    let mut chain = match start(folder.path()).await {
        Err(error @ apocryph_testbed::chain::StartError::NoAnvil) => return eprintln!("skipped: {error}"),
        started => started.unwrap(),
    };
    let state = folder.path().join("state.json");
    let saved = async || {
        Ok(std::fs::read_to_string(&state)?.contains(&chain.token().to_string()[2..].to_lowercase()))
    };
    until("the state is saved", LONG, saved).await.unwrap();
    let before = chain.contracts();
    chain.service().kill().await.unwrap();
    let again = start(folder.path()).await.unwrap();
    assert_eq!(again.contracts(), before);
}

/// Sends a transaction of one of the accounts that the chain has the keys of, until it is mined.
async fn send(world: &World, to: Option<Address>, data: String) -> Value {
    let transaction = json!({ "from": world.account(), "to": to, "data": data });
    let hash = world.chain.call("eth_sendTransaction", json!([transaction])).await.unwrap();
    let mut receipt = Value::Null;
    let mined = async || {
        receipt = world.chain.call("eth_getTransactionReceipt", json!([hash])).await?;
        Ok(!receipt.is_null())
    };
    until("the transaction is mined", LONG, mined).await.unwrap();
    receipt
}

/// A token of which the publisher has some.
async fn token(world: &World, exported: &str) -> Address {
    let exported: Value = serde_json::from_str(exported).unwrap();
    let made = send(world, None, exported["bytecode"].as_str().unwrap().into()).await;
    let token: Address = made["contractAddress"].as_str().unwrap().parse().unwrap();
    send(world, Some(token), format!("0x40c10f19{}{:064x}", word(world.account()), 10_000)).await;
    token
}

fn word(address: Address) -> String {
    format!("{:0>64}", &address.to_string()[2..])
}

/// A token that changes allowances only from or to zero, and knows no permits. The publisher has
/// left an allowance.
async fn zero_first_token(world: &World, allowance: u128) -> Address {
    let token = token(world, include_str!("../../abi/ZeroFirstToken.json")).await;
    let spender = word(world.chain.contracts().payment);
    send(world, Some(token), format!("0x095ea7b3{spender}{allowance:064x}")).await;
    token
}

/// How many transactions the publisher has sent.
async fn sent(world: &World) -> u64 {
    let count = world.chain.call("eth_getTransactionCount", json!([world.account(), "latest"])).await;
    u64::from_str_radix(count.unwrap().as_str().unwrap().trim_start_matches("0x"), 16).unwrap()
}

#[tokio::test]
async fn a_token_that_changes_allowances_by_way_of_zero_only_is_taken() {
    let Some(world) = world::start().await else { return };
    let token = zero_first_token(&world, 1).await;
    let before = sent(&world).await;
    let opening = Opening { token, ..world.opening("web", 700) };
    world.publisher.open_channel(&opening).await.unwrap();
    assert_eq!(sent(&world).await, before + 3, "to zero, to the amount, and the opening");
    let channel = world.publisher.channel(world.id("web")).await.unwrap().unwrap();
    assert_eq!((channel.token, channel.deposited), (token, Amount(700)));
    world.publisher.fund(&channel, Amount(50)).await.unwrap();
    assert_eq!(sent(&world).await, before + 5, "no allowance was left");
}

#[tokio::test]
async fn no_more_transactions_are_sent_than_the_token_needs() {
    let Some(world) = world::start().await else { return };
    let before = sent(&world).await;
    let channel = world.open("web", 1_000).await;
    assert_eq!(sent(&world).await, before + 1, "by a permit");
    world.publisher.fund(&channel, Amount(10)).await.unwrap();
    assert_eq!(sent(&world).await, before + 3, "by an allowance");
}

#[tokio::test]
async fn a_token_that_takes_authorizations_needs_no_allowance() {
    let Some(world) = world::start().await else { return };
    let token = token(&world, include_str!("../../abi/AuthorizedToken.json")).await;
    let before = sent(&world).await;
    let opening = Opening { token, ..world.opening("web", 700) };
    world.publisher.open_channel(&opening).await.unwrap();
    assert_eq!(sent(&world).await, before + 1);
    let channel = world.publisher.channel(world.id("web")).await.unwrap().unwrap();
    assert_eq!((channel.token, channel.deposited), (token, Amount(700)));
    let asked = json!([{ "to": token, "data": format!("0x7ecebe00{}", word(world.account())) }, "latest"]);
    let permits = world.chain.call("eth_call", asked).await.unwrap();
    assert_eq!(permits, format!("0x{:064x}", 0), "a permit was used");
}

#[tokio::test]
async fn two_programs_with_one_key_open_at_once() {
    let Some(world) = world::start().await else { return };
    let token = zero_first_token(&world, 0).await;
    let other = Evm::new(world.chain.account(DevChain::key(0)), world.chain.contracts());
    for round in 0..5 {
        let opening = |name: &str| Opening { token, ..world.opening(&format!("{name}-{round}"), 100) };
        let (mut one, mut two) = (opening("one"), opening("two"));
        (one.deposit, two.deposit) = (Amount(100), Amount(60));
        let opened = tokio::join!(world.publisher.open_channel(&one), other.open_channel(&two));
        opened.0.unwrap();
        opened.1.unwrap();
        let ids = [world.id(&format!("one-{round}")), world.id(&format!("two-{round}"))];
        let channels = world.provider.channels(&ids).await.unwrap();
        let held: Vec<_> = channels.into_iter().map(|channel| channel.unwrap().deposited).collect();
        assert_eq!(held, [Amount(100), Amount(60)]);
    }
}
