//! The Payment and Registry contracts on any EVM chain, behind the chain traits of
//! `apocryph_publisher` and `apocryph_provider`, and the accounts that call them.
//!
//! [`Key`] is an account's key, [`Account`] sends its transactions, [`Evm`] is the contracts as
//! that account uses them. The ABI and bytecode in `abi/` are made by `contracts/tools/export-abi`.

mod abi;
mod account;
mod code;
mod deploy;
mod endpoints;
mod evm;
mod failure;
mod history;
mod key;
mod keystore;
mod nonce;
mod offering;
mod packing;
mod provider;
mod publisher;
mod signed_opening;
mod token;
mod transaction;

pub use account::{Account, Patience};
pub use deploy::{UNLOCK_DELAYS, addresses, deploy, deploy_test_token, mint};
pub use evm::{Contracts, Evm};
pub use key::{Key, KeyError};
