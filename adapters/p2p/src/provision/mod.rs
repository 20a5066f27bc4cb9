//! The deployment sub-protocol: gRPC over a libp2p stream of `/apocryph/provision/1`. The messages
//! are specified in `proto/provision.proto`.

mod client;
mod convert;
mod fault;
mod io;
mod link;
mod server;

#[expect(unreachable_pub, clippy::too_many_lines, reason = "generated from proto/provision.proto")]
#[rustfmt::skip]
#[path = "../generated/apocryph.provision.v1.rs"]
pub(crate) mod wire;

pub use client::PublisherNetwork;
pub use server::ServeError;

use libp2p::StreamProtocol;
use std::time::Duration;

/// The version that is spoken.
pub(crate) const PROTOCOL: StreamProtocol = StreamProtocol::new("/apocryph/provision/1");
/// How many streams of it a connection may have; each carries many calls.
pub(crate) const STREAMS_PER_CONNECTION: usize = 4;

/// The largest request: a provision request with [`apocryph_model::ProvisionRequest::MAX_BLOBS`]
/// blobs is some 300 KiB.
const MAX_REQUEST: usize = 1 << 20;
/// The largest answer: a page of the ledger, or a long log line.
const MAX_REPLY: usize = 4 << 20;
/// How often each side makes sure that the other is there, and how long it waits for the answer.
const KEEPALIVE: Duration = Duration::from_secs(20);
