//! What a provider must not forget, kept so that a kill at any instruction neither loses nor
//! doubles it: usage that was measured, the pods it serves, statements it has seen, claims it made.
//!
//! * [`Ledger`]: one SQLite file (write-ahead log, `synchronous = FULL`): a call that returns has
//!   reached the disk, one that fails has changed nothing.
//! * [`record_hash`], [`Verifier`], [`verify`]: the hash chain of a channel's records, which the
//!   publisher checks as well. Pure.
//!
//! No clock: time is passed in.

mod claims;
mod error;
mod hash;
mod ledger;
mod nonces;
mod pods;
mod schema;
mod usage;
mod verify;

pub use claims::ClaimEntry;
pub use error::LedgerError;
pub use hash::record_hash;
pub use ledger::Ledger;
pub use pods::{Pod, PodState};
pub use usage::{LastReading, Measurement};
pub use verify::{Broken, Flaw, Verifier, verify};
