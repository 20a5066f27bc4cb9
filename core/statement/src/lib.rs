//! Statements: what authorises one call of the deployment sub-protocol, as EIP-712 typed data
//! signed by the publisher's key.

mod signature;
mod typed_data;

pub use signature::{BadSignature, Signature, Signer, SignerError, recover};
pub use typed_data::digest;
