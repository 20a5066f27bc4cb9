//! The links between a daemon and processes of its own on other machines: [gateways](mod@gateways),
//! and [readers](nodes) on the nodes of a cluster.
//!
//! Each is one TCP connection to the daemon, which begins with a handshake of the Noise Protocol
//! Framework (revision 34), `Noise_NNpsk0_25519_ChaChaPoly_SHA256`, under a key that is
//! [made of a token](Token). Whoever does not have it learns nothing, and is heard to the end of its
//! first message at most. Each Noise message, also of the handshake, is preceded by its length: 16
//! bits, the most significant first. What they carry is a sequence of messages: a length of 32 bits
//! and so many bytes of JSON, at most a mebibyte. A message begins in a Noise message of its own.

mod dial;
pub mod gateways;
pub mod nodes;
mod secure;
mod token;

pub use gateways::{Hub, HubError, Link, LinkConfig, State};
pub use nodes::{NodeReaders, ReaderConfig};
pub use token::{Role, Token, TokenError};
