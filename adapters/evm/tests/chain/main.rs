//! The adapter against a real chain.
#![expect(clippy::unwrap_used, clippy::print_stderr, reason = "tests")]

mod abi;
mod channel;
mod endpoints;
mod registry;
mod transactions;
mod world;
