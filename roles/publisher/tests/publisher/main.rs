//! The use cases against doubles of the world that can be made to fail.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test ends by panicking")]

mod chain;
mod cutting_off;
mod deploying;
mod hosts;
mod money;
mod peers;
mod selecting;
mod showing;
mod state;
mod verifying;
mod world;
