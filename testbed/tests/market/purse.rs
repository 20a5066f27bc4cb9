//! Accounts that cannot pay: they are told before anything is signed, and nothing remains of the try.

use apocryph_testbed::chain::DevChain;
use apocryph_testbed::cli::Cli;
use apocryph_testbed::market::Market;

use crate::pods::{close_unused, write};
use crate::refusal::{kept, refused};

const WITHOUT_TOKENS: usize = 3;
const WITHOUT_COIN: usize = 4;

#[tokio::test]
async fn who_cannot_pay_is_told_what_is_missing() {
    let Some(market) = crate::market().await else { return };
    let before = kept(&market.daemons[0]);
    let poor = without_tokens(&market);
    let coinless = without_coin(&market).await;
    let mistaken = on_another_chain(&coinless);
    let expected = [
        (&poor, ("publisher", "no-balance", false), "exit code 4", "send it some, or give a smaller --fund"),
        (&coinless, ("publisher", "no-fee", false), "exit code 4", "send it some of the chain's own coin"),
        (&mistaken, ("publisher", "wrong-chain", false), "exit code 2", "check the RPC address"),
    ];
    for (publisher, verdict, ending, remedy) in expected {
        write(publisher, "own", "0");
        let refusal = refused(publisher, "own.yaml").await;
        assert_eq!((refusal.verdict(), refusal.ending.as_str()), (verdict, ending), "{refusal:?}");
        assert!(refusal.text.contains(remedy), "{refusal:?}");
    }
    assert_eq!(kept(&market.daemons[0]), before);
    close_unused(market, &poor).await;
}

fn without_tokens(market: &Market) -> Cli {
    let folder = market.folder().join("without-tokens");
    std::fs::create_dir_all(&folder).unwrap();
    Cli::of(&market.chain, WITHOUT_TOKENS, &folder)
}

async fn without_coin(market: &Market) -> Cli {
    let publisher = market.publisher(WITHOUT_COIN).await.unwrap();
    market.chain.give_coin(DevChain::key(WITHOUT_COIN).address(), 0).await.unwrap();
    publisher
}

fn on_another_chain(publisher: &Cli) -> Cli {
    let mut mistaken = publisher.clone();
    mistaken.environment.insert("APOCRYPH_CHAIN_ID".into(), "1".into());
    mistaken
}
