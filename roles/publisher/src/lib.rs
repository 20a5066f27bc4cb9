//! The publisher's use cases, and what they need of the world.
//!
//! A deploy goes through the steps of the system in their order, one file each: [`collect`],
//! [`list_providers`], [`select_provider`], [`open_channel`], [`ship`], [`provision`] and its
//! `confirm`. What comes after has a file per verb: [`status`], [`logs`], [`fund`], [`usage`],
//! [`remove`], [`unlock`], [`withdraw`].
//!
//! Everything is safe to repeat: what was reached is remembered by [`Deployments`] before the
//! next step begins, and the chain is looked at before money moves.

mod attest;
mod chain;
mod collect;
mod deploy;
mod deployments;
mod error;
mod estimate;
mod fitness;
mod fund;
mod host_proofs;
mod images;
mod journal;
mod list_providers;
mod logs;
mod look_up_hosts;
mod money;
mod open_channel;
mod provider_link;
mod provision;
mod publisher;
mod race;
mod remove;
mod report;
mod select_provider;
mod ship;
mod status;
mod timer;
mod unfit;
mod unlock;
mod usage;
mod withdraw;

pub use attest::{AttestError, Trusted};
pub use chain::{Chain, Claimed, Opening, Token};
pub use collect::{CollectError, Collected, Secrets};
pub use deploy::{Deployed, Order, Plan};
pub use deployments::{BegunPayment, Deployment, Deployments, Lock, SealedSpec, SpecKey, StateError};
pub use error::Error;
pub use estimate::{Estimate, TRAFFIC_ALLOWANCE};
pub use fund::Funded;
pub use host_proofs::HostProofs;
pub use images::{EncryptedImage, ImageError, Images, ResolvedImage};
pub use list_providers::Listed;
pub use look_up_hosts::{BroughtHost, Seen};
pub use money::{Money, MoneyError};
pub use open_channel::{Budget, Payment};
pub use provider_link::{LinkError, LocalBlob, Network, ProviderLink};
pub use publisher::Publisher;
pub use remove::Removed;
pub use report::{Event, Evidence, Reporter, Step};
pub use select_provider::{Candidate, Chooser, Preferences};
pub use ship::ShipError;
pub use status::Status;
pub use timer::Timer;
pub use unfit::{PassedOver, SelectError, Unfit};
pub use unlock::{Kept, Unlocking};
pub use usage::{ClaimCheck, Comparison, Verdict};
pub use withdraw::Withdrawn;
