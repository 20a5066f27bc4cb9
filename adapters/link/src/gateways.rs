//! The control link between a daemon and gateways that are processes of their own.
//!
//! A gateway connects to the daemon, is told every pod's routes and replicas, then every change. It
//! asks for starts, tells what is under way at it, and does as it is told before a replica is
//! stopped. The daemon's half is the [`Hub`], the gateway's is the [`Link`]. All of it is
//! level-triggered: after a break the gateway is told everything again, and tells everything again.
//!
//! # The protocol, version 1
//!
//! One TCP connection for each gateway. It begins with the handshake
//! `Noise_NNpsk0_25519_ChaChaPoly_SHA256` (Noise Protocol Framework, revision 34), in which the
//! gateway is the initiator, the prologue is `apocryph gateway link 1`, and the key is
//! [made of the token](crate::Token). So neither side hears or tells anything without the token, and
//! the token itself is never sent.
//!
//! The messages' JSON has the shape of [`message`]'s types, whose values are those of the model, with
//! the model's bounds.
//!
//! ```text
//!   gateway                                       daemon
//!      hello (its name, and a number for its run) ──▶
//!      ◀── welcome (how long a lease lasts)
//!      activity, whole ──▶
//!      ◀── put, and retire, for every pod; synced: whatever was not put is no more
//!      ping ──▶  ◀── pong          renews the lease, from the time of the ping on
//!      activity ──▶                whenever it changed
//!      start ──▶  ◀── started      one for each pod, however many requests wait
//!      ◀── put, release, retire, remove
//!      done ──▶                    for each of these that has a number
//!      bye ──▶                     when nothing is under way any more
//! ```
//!
//! # Leases
//!
//! A gateway routes to replicas for as long as it has a lease: from the last ping that was answered,
//! or from the last time that nobody listened where the daemon should, which shows that there is no
//! daemon who could stop any. The daemon counts from the arrival of that ping, which is later. Before
//! it stops a replica it waits for the word of each gateway, or for the end of its lease: of a
//! gateway that it lost, and, after its own start, of those that it does not know of.

mod connections;
mod hub;
mod lease;
mod link;
pub mod message;
mod session;

pub use hub::{Hub, HubError};
pub use link::{Link, LinkConfig, State};
