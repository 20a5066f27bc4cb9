//! Channels that do not pay a provider for a pod.

use std::io;

use apocryph_evm::{Evm, mint};
use apocryph_model::{
    Address, Amount, Blob, ChainError, ChannelId, Digest, Offering, PodId, ProvisionRequest, Rate, Tariff,
    Terms,
};
use apocryph_publisher::{Chain, Opening};
use apocryph_testbed::chain::DevChain;
use apocryph_testbed::market::Market;
use apocryph_testbed::until::until;
use serde_json::{Value, json};

use crate::pods::{PATIENCE, close, insist};
use crate::stranger::{Stranger, offering, place, wire};

/// A token, of which a channel's full rate takes a thousandth a second.
const DEPOSIT: Amount = Amount(1_000_000_000_000_000_000);
const RATE: Rate = Rate(1_000_000_000_000_000_000_000_000);
/// Seconds, as the provider asks for.
const UNLOCK_DELAY: u64 = 3;
/// The accounts of the publisher, of another one, and of a provider that is not registered.
const PUBLISHER: usize = 0;
const OTHER: usize = 1;
const ELSEWHERE: usize = 7;

#[tokio::test]
async fn a_channel_that_does_not_pay_gets_no_pod_and_a_reason() {
    let Some(market) = crate::market().await else { return };
    market.publisher(PUBLISHER).await.unwrap();
    market.publisher(OTHER).await.unwrap();
    let offering = offering(&market).await;
    let other_token = token_of_nobody(&market).await;
    let opening = |pod: &str| opening(&offering, pod);
    let elsewhere = DevChain::key(ELSEWHERE).address();
    let free = Terms { tariff: Tariff::default(), ..opening("cheap").terms };
    let openings = [
        Opening { token: other_token, ..opening("other-token") },
        Opening { terms: free, ..opening("cheap") },
        Opening { deposit: Amount(DEPOSIT.0 / 1000), ..opening("small") },
        Opening { unlock_delay: 1, ..opening("hasty") },
        Opening { provider: elsewhere, ..opening("elsewhere") },
        opening("unlocking"),
        opening("other-terms"),
        opening("honest"),
    ];
    let mut opened = Vec::new();
    for opening in &openings {
        opened.push((PUBLISHER, open(&market, PUBLISHER, opening).await));
    }
    opened.push((OTHER, open(&market, OTHER, &opening("anothers")).await));
    unlock(&market, channel_of(PUBLISHER, &opening("unlocking"))).await;

    let told = async |opening: &Opening, owner| {
        let stranger = Stranger::meet(&place(&offering)).await;
        let channel = channel_of(owner, opening);
        let request = request(opening.terms, opening.pod, missing());
        stranger.provision_as(&DevChain::key(PUBLISHER), channel, &request).await.unwrap_err()
    };
    let expected = [
        (&openings[0], "wrong-token", "open it in that token"),
        (&openings[1], "terms-changed", "ask for an offer and open it anew"),
        (&openings[2], "channel-too-small", "fund it"),
        (&openings[3], "unlock-delay-too-short", "open it anew"),
        (&openings[4], "unauthorised", "check the key, the pod's name, the provider"),
        (&openings[5], "channel-unlocking", "cancel the unlock or wait for its end"),
        (&Opening { terms: free, ..openings[6].clone() }, "wrong-terms", "open it anew"),
        // What is wrong here comes after the channel.
        (&openings[7], "blob-unavailable", "cannot be had from the peer"),
    ];
    for (opening, code, remedy) in expected {
        let fault = told(opening, PUBLISHER).await;
        let lasting = (fault.who(), fault.code.as_str(), fault.retry);
        assert_eq!(lasting, (wire::Party::Publisher, code, false), "{fault:?}");
        assert!(fault.text.contains(remedy), "{fault:?}");
    }
    let anothers = told(&opening("anothers"), OTHER).await;
    assert_eq!((anothers.code.as_str(), anothers.retry), ("unauthorised", false), "{anothers:?}");
    let unopened = told(&opening("unopened"), PUBLISHER).await;
    assert_eq!((unopened.code.as_str(), unopened.retry), ("channel-not-open", true), "{unopened:?}");

    has_no_pod(&market).await;
    for (owner, channel) in opened {
        insist("its money comes back", async || give_back(&market, owner, channel).await).await;
    }
    close(market).await;
}

/// A channel as the provider wants it.
pub(crate) fn opening(offering: &Offering, pod: &str) -> Opening {
    Opening {
        provider: offering.provider,
        pod: PodId::of(&pod.parse().unwrap()),
        token: offering.token,
        deposit: DEPOSIT,
        max_rate: RATE,
        unlock_delay: UNLOCK_DELAY,
        terms: Terms { tariff: offering.tariff, meter_key: Address::ZERO, payout: offering.payout },
    }
}

pub(crate) fn channel_of(owner: usize, opening: &Opening) -> ChannelId {
    ChannelId::of(DevChain::key(owner).address(), opening.provider, opening.pod)
}

pub(crate) async fn open(market: &Market, owner: usize, opening: &Opening) -> ChannelId {
    chain(market, owner).open_channel(opening).await.unwrap();
    channel_of(owner, opening)
}

/// The sealed specification and nothing else: what it would take to get past the channel.
pub(crate) fn request(terms: Terms, pod: PodId, spec: Blob) -> ProvisionRequest {
    ProvisionRequest {
        pod,
        terms,
        spec,
        spec_key: [1; 32],
        image_key: vec![2; 32],
        blobs: Vec::new(),
        sources: vec![],
        public: false,
    }
}

/// The provider keeps nothing in its ledger that is or was a pod.
pub(crate) async fn has_no_pod(market: &Market) {
    let told = market.daemons[0].command("status").await.unwrap();
    assert!(told.lines().any(|line| line == "pods      0"), "{told}");
}

/// Everything that is left comes back, once the delay is over.
pub(crate) async fn give_back(market: &Market, owner: usize, id: ChannelId) -> io::Result<()> {
    let chain = chain(market, owner);
    let Some(channel) = chain.channel(id).await.map_err(failed)? else { return Ok(()) };
    if channel.unlock_at.is_none() {
        chain.unlock(&channel).await.map_err(failed)?;
    }
    chain.withdraw(&channel).await.map(drop).map_err(failed)
}

async fn unlock(market: &Market, id: ChannelId) {
    let chain = chain(market, PUBLISHER);
    let channel = chain.channel(id).await.unwrap().unwrap();
    chain.unlock(&channel).await.unwrap();
}

/// A blob that nobody has.
fn missing() -> Blob {
    let cid = "bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku".to_owned();
    Blob { digest: Digest([3; 32]), size: 1000, cid }
}

/// The test token has one address, where the market's stands: this is another with its code.
async fn token_of_nobody(market: &Market) -> Address {
    let account = market.chain.account(DevChain::key(ELSEWHERE));
    let exported: Value =
        serde_json::from_str(include_str!("../../../adapters/evm/abi/TestToken.json")).unwrap();
    let making = json!({ "from": DevChain::key(ELSEWHERE).address(), "data": exported["bytecode"] });
    let made = market.chain.call("eth_sendTransaction", json!([making])).await.unwrap();
    let mut token = None;
    let mined = async || {
        let receipt = market.chain.call("eth_getTransactionReceipt", json!([made])).await?;
        token = receipt["contractAddress"].as_str().map(|address| address.parse().unwrap());
        Ok(token.is_some())
    };
    until("the token is deployed", PATIENCE, mined).await.unwrap();
    let token = token.unwrap();
    mint(&account, token, DevChain::key(PUBLISHER).address(), DEPOSIT).await.unwrap();
    token
}

fn chain(market: &Market, account: usize) -> Evm {
    Evm::new(market.chain.account(DevChain::key(account)), market.chain.contracts())
}

fn failed(error: ChainError) -> io::Error {
    io::Error::other(error)
}
