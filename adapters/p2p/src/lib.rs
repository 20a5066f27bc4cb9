//! The network: libp2p, IPFS blocks over bitswap, and the deployment sub-protocol.
//!
//! * both sides run a [`Node`] over a [`BlobStore`];
//! * the provider's serves deployments ([`Node::serve`]) and is its `Blobs`;
//! * the publisher's is wrapped by [`PublisherNetwork`], its `Network`.

mod address;
mod bitswap;
mod blob_store;
mod causes;
mod node;
mod provider;
mod provision;
mod unixfs;

pub use blob_store::{BlobInfo, BlobStore, Reader, StoreError};
pub use node::{ConnectError, Identity, IdentityError, Node, NodeConfig, StartError};
pub use provision::{PublisherNetwork, ServeError};
pub use unixfs::{BlockId, Codec, UnsupportedId};
