//! The provider's use cases, and what they need of the world.

mod blobs;
mod chain;
mod deployments;
mod engine;
mod routes;

pub use blobs::{BlobError, Blobs, Registry};
pub use chain::{Chain, Claim, ClaimReceipt};
pub use deployments::{Authorisation, Deployments, OnProgress};
pub use engine::{Engine, EngineError, EnginePod, Reading, Replica, ReplicaState};
pub use routes::{RouteError, Routes};
