//! The Payment contract seen from outside: its events and balances by JSON-RPC, decoded by hand, so
//! that no code of the product vouches for itself. Formats: Ethereum JSON-RPC; Solidity's contract
//! ABI, "Events".

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;

use apocryph_model::{Address, ChannelId, keccak256};
use serde_json::{Value, json};

use crate::clients::http_post_json;

/// Money that went through one channel, in the token's smallest unit, all epochs together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Flow {
    /// Paid in.
    pub deposited: u128,
    /// Paid to the provider.
    pub claimed: u128,
    /// Given back to the publisher.
    pub refunded: u128,
    /// How often it was opened, less how often it was closed.
    pub open: i64,
}

impl Flow {
    /// Whether it is closed and gave out what it took in, to the unit.
    pub fn is_settled(&self) -> bool {
        self.open == 0 && self.claimed.checked_add(self.refunded) == Some(self.deposited)
    }
}

/// The events that move money, and where in their
/// data the amount stands, in words of 32 bytes.
const EVENTS: [(&str, usize, Move); 5] = [
    (
        "Opened(bytes32,address,address,bytes32,uint32,uint128,uint96,uint32,\
         (address,uint256[4],address,address))",
        2,
        Move::Open,
    ),
    ("ToppedUp(bytes32,address,uint128,uint128)", 0, Move::TopUp),
    ("Claimed(bytes32,uint256[2],uint128)", 2, Move::Claim),
    ("Redeemed(bytes32,uint128)", 0, Move::Claim),
    ("Closed(bytes32,uint32,uint128,uint128)", 2, Move::Close),
];

#[derive(Debug, Clone, Copy)]
enum Move {
    Open,
    TopUp,
    Claim,
    Close,
}

/// The money of every channel that the contract ever had.
///
/// # Errors
/// If the chain does not answer, or not as its API says.
pub async fn flows(rpc: SocketAddr, payment: Address) -> io::Result<BTreeMap<ChannelId, Flow>> {
    let filter = json!([{ "address": payment, "fromBlock": "0x0", "toBlock": "latest" }]);
    let logs = call(rpc, "eth_getLogs", filter).await?;
    let mut flows = BTreeMap::new();
    for log in logs.as_array().into_iter().flatten() {
        add(&mut flows, log).ok_or_else(|| malformed(log))?;
    }
    Ok(flows)
}

/// What `holder` holds of `token`.
///
/// # Errors
/// If the chain does not answer, or there is no such token.
pub async fn balance(rpc: SocketAddr, token: Address, holder: Address) -> io::Result<u128> {
    let selector = &keccak256(&[b"balanceOf(address)"])[..4];
    let data = format!("0x{}{:0>64}", hex(selector), hex(&holder.0));
    let answer = call(rpc, "eth_call", json!([{ "to": token, "data": data }, "latest"])).await?;
    answer.as_str().and_then(|words| word(words, 0)).ok_or_else(|| malformed(&answer))
}

/// Calls a method of the chain's API.
///
/// # Errors
/// If it does not answer, or answers with an error.
pub async fn call(rpc: SocketAddr, method: &str, params: Value) -> io::Result<Value> {
    let request = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
    let answer = http_post_json(rpc, &request.to_string()).await?;
    let mut answer: Value = serde_json::from_str(&answer.body)?;
    match answer.get_mut("result") {
        Some(result) => Ok(result.take()),
        None => Err(malformed(&answer)),
    }
}

/// Events that move no money are passed over.
fn add(flows: &mut BTreeMap<ChannelId, Flow>, log: &Value) -> Option<()> {
    let topic = log["topics"][0].as_str()?;
    let event = EVENTS
        .iter()
        .find(|(signature, ..)| topic.strip_prefix("0x") == Some(&hex(&keccak256(&[signature.as_bytes()]))));
    let Some((_, position, kind)) = event else { return Some(()) };
    let id = log["topics"][1].as_str()?.parse().ok()?;
    let amount = word(log["data"].as_str()?, *position)?;
    let flow: &mut Flow = flows.entry(id).or_default();
    let sum = match kind {
        Move::Open | Move::TopUp => &mut flow.deposited,
        Move::Claim => &mut flow.claimed,
        Move::Close => &mut flow.refunded,
    };
    *sum = sum.checked_add(amount)?;
    flow.open += match kind {
        Move::Open => 1,
        Move::Close => -1,
        Move::TopUp | Move::Claim => 0,
    };
    Some(())
}

/// A word of ABI data that fits 128 bits.
fn word(data: &str, position: usize) -> Option<u128> {
    let word = data.strip_prefix("0x")?.get(64 * position..64 * (position + 1))?;
    let (high, low) = word.split_at(32);
    (u128::from_str_radix(high, 16) == Ok(0)).then(|| u128::from_str_radix(low, 16).ok())?
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn malformed(answer: &Value) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("the chain answered {answer:.300}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(signature: &str, words: &[u128]) -> Value {
        let topic = format!("0x{}", hex(&keccak256(&[signature.as_bytes()])));
        let data: String = words.iter().map(|word| format!("{word:064x}")).collect();
        json!({ "topics": [topic, format!("0x{:064x}", 7)], "data": format!("0x{data}") })
    }

    #[test]
    fn a_channel_is_settled_when_what_came_in_went_out() {
        let mut flows = BTreeMap::new();
        add(&mut flows, &log(EVENTS[0].0, &[1, 1, 100, 9, 9])).unwrap();
        add(&mut flows, &log(EVENTS[1].0, &[20, 120])).unwrap();
        add(&mut flows, &log(EVENTS[2].0, &[5, 6, 30])).unwrap();
        add(&mut flows, &log("UnlockCancelled(bytes32)", &[])).unwrap();
        let flow = |flows: &BTreeMap<ChannelId, Flow>| *flows.values().next().unwrap();
        assert!(!flow(&flows).is_settled());
        add(&mut flows, &log(EVENTS[4].0, &[1, 30, 90])).unwrap();
        assert_eq!(flow(&flows), Flow { deposited: 120, claimed: 30, refunded: 90, open: 0 });
        assert!(flow(&flows).is_settled());
        add(&mut flows, &log(EVENTS[2].0, &[5, 6, 1])).unwrap();
        assert!(!flow(&flows).is_settled());
    }

    #[test]
    fn a_word_beyond_128_bits_is_refused() {
        assert_eq!(word(&format!("0x{:064x}", u128::MAX), 0), Some(u128::MAX));
        assert_eq!(word(&format!("0x{}", "f".repeat(64)), 0), None);
        assert_eq!(word("0x00", 0), None);
    }
}
