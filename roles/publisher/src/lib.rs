//! The publisher's use cases, and what they need of the world.

mod chain;
mod images;
mod provider_link;

pub use chain::{Chain, Claimed, Opening, Token};
pub use images::{EncryptedImage, ImageError, Images, ResolvedImage};
pub use provider_link::{LinkError, LocalBlob, Network, ProviderLink};
