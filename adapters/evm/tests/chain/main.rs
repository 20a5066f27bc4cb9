//! The adapter against a real chain.
#![expect(clippy::unwrap_used, clippy::panic, clippy::print_stderr, reason = "tests")]

mod abi;
mod arithmetic;
mod channel;
mod code;
mod endpoints;
mod many;
mod registry;
mod transactions;
mod world;
