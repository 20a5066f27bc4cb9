//! The real binary against a real chain and a real network. Only what a provider does with a pod
//! is a double here.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test ends by panicking")]
#![expect(clippy::print_stderr, reason = "a test that is skipped says why")]

mod buying;
#[path = "../cli/home.rs"]
#[expect(dead_code, reason = "the other tests use more of it")]
mod home;
mod market;
mod provider;
