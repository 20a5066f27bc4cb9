//! The real binary: what it says, where, and with which exit code.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test ends by panicking")]

mod help;
mod home;
mod init;
mod refusals;
