//! Whether the code at an address is that of the contracts of this project.

use crate::abi::{Payment, Registry};
use alloy::primitives::{B256, Bytes};
use serde::Deserialize;
use std::ops::Range;
use std::sync::LazyLock;

/// One of the contracts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Contract {
    Payment,
    Registry,
}

impl Contract {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Payment => "Payment",
            Self::Registry => "Registry",
        }
    }

    /// Whether `code` is this contract's, whatever its constructor wrote into the gaps: the bounds
    /// of the unlock delay, which the contract tells and tests, and its domain for signatures,
    /// without which none is accepted.
    pub(crate) fn is(self, code: &[u8]) -> bool {
        let (ours, gaps) = match self {
            Self::Payment => (&Payment::DEPLOYED_BYTECODE, &*PAYMENT_GAPS),
            Self::Registry => (&Registry::DEPLOYED_BYTECODE, &*REGISTRY_GAPS),
        };
        same(ours, code, gaps)
    }
}

static PAYMENT_GAPS: LazyLock<Gaps> = LazyLock::new(|| gaps(include_str!("../abi/Payment.json")));
static REGISTRY_GAPS: LazyLock<Gaps> = LazyLock::new(|| gaps(include_str!("../abi/Registry.json")));

type Gaps = Vec<Range<usize>>;

fn gaps(exported: &str) -> Gaps {
    #[derive(Deserialize)]
    struct Exported {
        gaps: Vec<(usize, usize)>,
    }
    // Without its gaps no code is known: the safe side. A test reads what is checked in.
    let exported = serde_json::from_str(exported).unwrap_or(Exported { gaps: Vec::new() });
    exported.gaps.into_iter().map(|(start, end)| start..end).collect()
}

fn same(ours: &Bytes, theirs: &[u8], gaps: &[Range<usize>]) -> bool {
    let in_gap = |at: usize| gaps.iter().any(|gap| gap.contains(&at));
    let equal = |(at, (a, b)): (usize, (&u8, &u8))| a == b || in_gap(at);
    ours.len() == theirs.len() && ours.iter().zip(theirs).enumerate().all(equal)
}

/// What is known of code by one number (EIP-1052).
pub(crate) fn hash(code: &[u8]) -> B256 {
    alloy::primitives::keccak256(code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_gaps_may_differ() {
        assert!(!PAYMENT_GAPS.is_empty() && REGISTRY_GAPS.is_empty());
        let code = Payment::DEPLOYED_BYTECODE.to_vec();
        assert!(Contract::Payment.is(&code) && !Contract::Registry.is(&code));
        for at in 0..code.len() {
            let mut other = code.clone();
            other[at] ^= 1;
            let in_gap = PAYMENT_GAPS.iter().any(|gap| gap.contains(&at));
            assert_eq!(Contract::Payment.is(&other), in_gap, "byte {at}");
        }
        assert!(!Contract::Payment.is(&code[1..]) && !Contract::Payment.is(&[]));
    }
}
