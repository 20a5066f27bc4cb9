//! Puts the contracts on a chain, or checks those that stand there: `deploy RPC CHAIN-ID FOLDER`.
//! The key of the account that pays is in `APOCRYPH_KEY`, in hex. Writes `FOLDER/CHAIN-ID.json`.
//! Where everything is there already nothing is sent.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "what a command is for")]

use apocryph_evm::{Account, Contracts, Evm, Key, KeyError, UNLOCK_DELAYS, deploy};
use apocryph_model::ChainError;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::{env, fs, io};
use url::Url;

#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("usage: deploy RPC CHAIN-ID FOLDER, with the payer's key in APOCRYPH_KEY")]
    Usage,
    #[error(transparent)]
    Key(#[from] KeyError),
    #[error(transparent)]
    Chain(#[from] ChainError),
    #[error("cannot use {}: {source}", path.display())]
    Record { path: PathBuf, source: io::Error },
}

#[tokio::main]
async fn main() -> std::process::ExitCode {
    match run().await {
        Ok(record) => println!("{record:#}"),
        Err(failure) => {
            eprintln!("{failure}");
            return std::process::ExitCode::FAILURE;
        }
    }
    std::process::ExitCode::SUCCESS
}

async fn run() -> Result<Value, Failure> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [rpc, chain, folder] = arguments.as_slice() else { return Err(Failure::Usage) };
    let rpc: Url = rpc.parse().map_err(|_| Failure::Usage)?;
    let chain: u64 = chain.parse().map_err(|_| Failure::Usage)?;
    let key = Key::from_hex(&env::var("APOCRYPH_KEY").map_err(|_| Failure::Usage)?)?;
    let account = Account::new(&[rpc], chain, 1, key);
    let deployed = deploy(&account, UNLOCK_DELAYS).await?;
    Evm::new(account, deployed).check().await?;
    let path = Path::new(folder).join(format!("{chain}.json"));
    keep(&path, chain, deployed).map_err(|source| Failure::Record { path, source })
}

/// Writes the record, but leaves one of the same contracts as it is: it knows their first block.
fn keep(path: &Path, chain: u64, contracts: Contracts) -> io::Result<Value> {
    let record = json!({
        "chain": chain,
        "payment": contracts.payment,
        "registry": contracts.registry,
        "unlockDelays": [UNLOCK_DELAYS.start(), UNLOCK_DELAYS.end()],
        "firstBlock": contracts.since_block,
    });
    let known = fs::read(path).ok().and_then(|text| serde_json::from_slice::<Value>(&text).ok());
    if let Some(known) = known.filter(|known| known["payment"] == record["payment"]) {
        return Ok(known);
    }
    fs::write(path, format!("{record:#}\n"))?;
    Ok(record)
}
