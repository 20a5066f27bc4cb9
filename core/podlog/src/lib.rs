//! The logs of pods, one folder for each pod, in the format of Kubernetes' container logs:
//!
//! ```text
//! <replica>.<container>.log     what the container wrote, not more than some MiB
//! <replica>.<container>.log.1   what it wrote before, as much again
//! ```
//!
//! Files of replicas that have ended stay until there are too many ([`prune`]).

mod cri;
mod reader;
mod writer;

pub use cri::{Entry, format_time, parse_entry, write_entry};
pub use reader::{LogReader, prune};
pub use writer::{ContainerLog, Lines};
