//! The provider's use cases, and what they need of the world.
//!
//! # The life of a pod here
//!
//! 1. A publisher's call is [authorised](Deployments) by its statement.
//! 2. `provision` checks the channel on the chain, fetches, prepares and routes, each step with
//!    its undo, and writes the pod into the ledger: from then on it exists.
//! 3. `wake` and `idle` scale it, when the gateway says so.
//! 4. `meter` reads what it used into the ledger; `claim` submits it to the Payment contract.
//! 5. `reconcile` compares chain, ledger, engine and routes, again and again, and mends: after a
//!    kill at any instruction the next round goes on from what the ledger says.
//! 6. `evict`, or `remove` at the publisher's wish, takes away everything of it.
//!
//! Nothing here ends a pod because a call failed: an error is "unknown", never "gone".

mod admission;
mod attempt;
mod authorise;
mod blobs;
mod chain;
mod claim;
mod clock;
mod deployments;
mod engine;
mod evict;
mod evidence;
mod faults;
mod funds;
mod host_proofs;
mod hosts;
mod meter;
mod overview;
mod provider;
mod provision;
mod reconcile;
mod restore;
mod routes;
mod run;
mod sealed;
mod service;
mod settings;
mod sources;
mod status;
mod turns;
mod wake;

pub use blobs::{BlobError, Blobs, Registry};
pub use chain::{Chain, Claim, ClaimReceipt};
pub use clock::Clock;
pub use deployments::{Authorisation, Deployments, OnProgress};
pub use engine::{Engine, EngineError, EnginePod, Reading, Replica, ReplicaEnd};
pub use host_proofs::HostProofs;
pub use overview::{LastClaim, Overview, PodOverview};
pub use provider::{Provider, World};
pub use routes::{RouteError, Routes};
pub use settings::{ClaimPolicy, Limits, Settings};
pub use turns::{Turn, Turns};
pub use wake::WakeRefusal;
