//! The loop between the real programs, under kills and among tenants who mean no good.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod bad_images;
mod bad_manifests;
mod channels;
mod false_blobs;
mod gateways;
mod host;
mod hosts;
mod http;
mod ipfs;
mod kills;
mod network;
mod pods;
mod purse;
mod refusal;
mod statements;
mod stranger;
mod tenants;
mod unlocking;

use apocryph_testbed::market::Market;

/// A market with one provider, or `None` where this machine cannot hold one: says why.
async fn market() -> Option<Market> {
    let mut market = empty_market().await?;
    market.add_provider(&pods::offer()).await.unwrap();
    Some(market)
}

/// A market without providers, likewise.
#[expect(clippy::print_stderr, reason = "a skipped test says so")]
async fn empty_market() -> Option<Market> {
    if !std::fs::read_to_string("/proc/self/status").unwrap().contains("Uid:\t0\t") {
        eprintln!("skipped: the provider's engine needs root");
        return None;
    }
    for program in ["apocryph", "apocryphd"] {
        if !apocryph_testbed::program(program).exists() {
            eprintln!("skipped: {program} is not built: run `make build`");
            return None;
        }
    }
    if !apocryph_testbed::chain::is_there() {
        eprintln!("skipped: anvil is missing: run `npm install --no-save --prefix contracts`");
        return None;
    }
    Some(Market::open().await.unwrap())
}
