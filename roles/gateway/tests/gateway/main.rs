//! The gateway over real sockets: small apps behind it, clients before it, and an engine that does
//! as each test says.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod app;
mod cycles;
mod delivery;
mod engine;
mod faults;
mod hold;
mod level;
mod scaling;
mod tcp;
mod transparent;
mod world;
