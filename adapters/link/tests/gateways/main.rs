//! One gateway that decides, others that ask it, and the link between them, over real connections.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod faults;
mod sharing;
mod world;
