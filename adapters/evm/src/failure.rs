//! What an endpoint's error means: that nothing is known, or that the contract refused, and why.

use crate::abi::{Payment::PaymentErrors, Registry::RegistryErrors, TestToken::TestTokenErrors};
use crate::endpoints::EndpointError;
use alloy::primitives::{U256, hex};
use alloy::sol_types::{Panic, Revert, SolError, SolInterface};
use alloy::transports::TransportError;
use apocryph_model::{Amount, ChainError};

/// The longest text of a contract or an endpoint that is repeated.
const MAX_TEXT: usize = 200;

/// What a failed call means. `chain` is the chain that was expected.
pub(crate) fn chain_error(error: &TransportError, chain: u64) -> ChainError {
    if let Some(answer) = error.as_error_resp() {
        if let Some(data) = answer.as_revert_data() {
            return refused(&data);
        }
        return match answer.message.to_ascii_lowercase() {
            message if message.contains("insufficient funds") => ChainError::NoFee,
            message if message.contains("revert") => ChainError::Reverted("it gave no reason".into()),
            _ => ChainError::Unavailable(shortened(&answer.message)),
        };
    }
    let custom = error.as_transport_err().and_then(|kind| kind.as_custom());
    match custom.and_then(|e| e.downcast_ref::<EndpointError>()) {
        Some(EndpointError::WrongChain { found }) => {
            ChainError::WrongChain { expected: chain, found: *found }
        }
        Some(away) => ChainError::Unavailable(away.to_string()),
        None => ChainError::Unavailable("an endpoint answers nonsense".into()),
    }
}

/// The error for what a contract reverted with.
pub(crate) fn refused(data: &[u8]) -> ChainError {
    if let Ok(TestTokenErrors::ERC20InsufficientBalance(e)) = TestTokenErrors::abi_decode(data) {
        return ChainError::NoBalance { held: amount(e.balance), needed: amount(e.needed) };
    }
    ChainError::Reverted(explain(data))
}

/// An amount of a token; what does not fit counts as the largest.
pub(crate) fn amount(value: U256) -> Amount {
    Amount(value.saturating_to())
}

fn explain(data: &[u8]) -> String {
    if data.is_empty() {
        return "it gave no reason".into();
    }
    let known = PaymentErrors::abi_decode(data)
        .map(|error| payment(&error))
        .or_else(|_| RegistryErrors::abi_decode(data).map(|error| registry(&error)))
        .or_else(|_| TestTokenErrors::abi_decode(data).map(|error| token(&error)));
    let said = || Revert::abi_decode(data).map(|revert| shortened(&revert.reason));
    let panicked = || Panic::abi_decode(data).map(|panic| shortened(&panic.to_string()));
    known
        .or_else(|_| said())
        .or_else(|_| panicked())
        .unwrap_or_else(|_| shortened(&format!("for a reason unknown here, {}", hex::encode_prefixed(data))))
}

fn payment(error: &PaymentErrors) -> String {
    use PaymentErrors as E;
    match error {
        E::ZeroAddress(_) => "an address is zero".into(),
        E::ZeroAmount(_) => "the amount is zero".into(),
        E::SelfDealing(_) => "a publisher cannot be its own provider".into(),
        E::InvalidDelayBounds(e) => format!("no unlock delay lies between {} and {} s", e.min, e.max),
        E::UnlockDelayOutOfBounds(e) => {
            format!("the unlock delay is {} s, and must be {} to {} s", e.delay, e.min, e.max)
        }
        E::AlreadyOpen(e) => format!("channel {} is open already: fund it instead", e.id),
        E::NotOpen(e) => format!("channel {} is not open", e.id),
        E::AlreadyUnlocking(e) => format!("channel {} is unlocking already, until {}", e.id, e.unlockAt),
        E::NotUnlocking(e) => format!("channel {} is not unlocking: unlock it first", e.id),
        E::UnlockExpired(e) => format!("the unlock delay of channel {} has passed: withdraw", e.id),
        E::StillLocked(e) => format!("channel {} is locked until {} (Unix time)", e.id, e.unlockAt),
        E::SignatureCount(e) => format!("{} signatures for {} claims", e.signatures, e.claims),
        E::TooManyItems(e) => format!("{} items are given, allowed are {}", e.given, e.max),
        E::NotAToken(e) => format!("there is no token at {}", e.token),
        E::WrongAmountReceived(e) => format!(
            "token {} moved {} instead of {}: tokens that take a fee are not accepted",
            e.token, e.received, e.expected
        ),
        E::ClaimRefused(e) => format!("the claim on channel {} is not paid: {}", e.id, refusal(e.reason)),
        E::UnknownToken(e) => format!("no token has the code {}", e.code),
        E::SafeERC20FailedOperation(e) => format!("token {} refused the transfer", e.token),
        E::ReentrancyGuardReentrantCall(_) => "the token called back".into(),
        E::InvalidShortString(_) | E::StringTooLong(_) => "its name does not fit".into(),
    }
}

/// Why a claim is not paid: a number of `IPayment.Refusal`.
pub(crate) fn refusal(reason: u8) -> &'static str {
    match reason {
        1 => "the channel is not open",
        2 => "the terms are not the channel's, or the account is not its provider",
        3 => "the usage is of another epoch",
        4 => "the usage is not signed by the channel's meter",
        5 => "nothing is due",
        6 => "the token refused the transfer",
        _ => "for a reason unknown here",
    }
}

fn registry(error: &RegistryErrors) -> String {
    use RegistryErrors as E;
    match error {
        E::AlreadyRegistered(e) => format!("{} is registered already", e.provider),
        E::NotRegistered(e) => format!("{} is not registered", e.provider),
        E::LengthOutOfBounds(e) => {
            format!("{}: {} is given, allowed are {} to {}", e.field, e.length, e.min, e.max)
        }
        E::ZeroAddress(e) => format!("{}: the address is zero", e.field),
    }
}

fn token(error: &TestTokenErrors) -> String {
    use TestTokenErrors as E;
    match error {
        E::ERC20InsufficientAllowance(e) => {
            format!("{} may take {} of the token, {} are needed", e.spender, e.allowance, e.needed)
        }
        E::ERC2612ExpiredSignature(_) => "the permit has expired".into(),
        E::ERC2612InvalidSigner(_) => "the permit is not signed by the owner".into(),
        other => shortened(&format!("the token answers {other:?}")),
    }
}

fn shortened(text: &str) -> String {
    let printable: String = text.chars().filter(|c| !c.is_control()).take(MAX_TEXT).collect();
    if printable.is_empty() { "it gave no reason".into() } else { printable }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::abi::{Payment, Registry, TestToken};
    use alloy::primitives::{Address, B256};
    use proptest::prelude::*;

    #[test]
    fn refusals_are_told_in_words() {
        let delay = Payment::UnlockDelayOutOfBounds { delay: 1, min: 3600, max: 7200 };
        assert_eq!(explain(&delay.abi_encode()), "the unlock delay is 1 s, and must be 3600 to 7200 s");
        let claim = Payment::ClaimRefused { id: B256::ZERO, reason: 5 };
        assert!(explain(&claim.abi_encode()).ends_with("is not paid: nothing is due"));
        let missing = Registry::NotRegistered { provider: Address::ZERO };
        assert!(explain(&missing.abi_encode()).ends_with("is not registered"));
        assert_eq!(explain(&Revert::from("no").abi_encode()), "no");
        assert!(explain(&Panic { code: U256::from(0x11) }.abi_encode()).contains("overflow"));
        assert_eq!(explain(&[]), "it gave no reason");
        assert_eq!(explain(&[1, 2, 3, 4]), "for a reason unknown here, 0x01020304");
    }

    #[test]
    fn too_little_of_the_token_is_its_own_error() {
        let poor = TestToken::ERC20InsufficientBalance {
            sender: Address::ZERO,
            balance: U256::from(5),
            needed: U256::from(7),
        };
        let expected = ChainError::NoBalance { held: Amount(5), needed: Amount(7) };
        assert_eq!(refused(&poor.abi_encode()), expected);
    }

    #[test]
    fn what_a_contract_says_is_bounded() {
        let long = Revert::from("x\n".repeat(10_000));
        let told = explain(&long.abi_encode());
        assert!(told.len() <= MAX_TEXT && !told.contains('\n'), "{told}");
    }

    proptest! {
        #[test]
        fn any_data_is_explained(data: Vec<u8>) {
            prop_assert!(!explain(&data).is_empty());
        }
    }
}
