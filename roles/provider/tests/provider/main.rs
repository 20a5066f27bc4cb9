//! The use cases over doubles of the world: engine, chain, blobs, registry, routes and clock. The
//! ledger is a real one.

#![expect(clippy::unwrap_used, reason = "a test that cannot set up must fail")]

mod authorisation;
mod claiming;
mod hosts;
mod metering;
mod money;
mod provisioning;
mod publisher;
mod reconciling;
mod routing;
mod world;
