//! The link between a daemon and the readers on the nodes of its cluster, which tell it what Pods
//! used.
//!
//! A reader connects to the daemon and answers what it is asked; nobody can connect to it. The
//! daemon's half are the [`NodeReaders`], the node's half is [`answer`].
//!
//! # The protocol, version 1
//!
//! One TCP connection for each reader, which is the handshake's initiator; the prologue is
//! `apocryph node reader 1`. The messages' JSON has the shape of [`message`]'s types.
//!
//! ```text
//!   reader                                daemon
//!      hello (the name of its node) ──▶
//!      ◀── read (Pods, by their uids)     one after the other; of no Pod every few seconds
//!      readings ──▶                       of those that the reader knows
//!
//!   someone who checks                    daemon
//!      check ──▶
//!      ◀── connected (the names of nodes)
//! ```
//!
//! A reader that says anything else, or nothing, is cut off, and so is an earlier one of the same
//! node.

pub mod message;
mod reader;
mod readers;
mod session;

pub use message::{NodeName, ParseNodeNameError, ParsePodUidError, PodReading, PodUid};
pub use reader::{PodCounters, ReaderConfig, answer};
pub use readers::NodeReaders;
