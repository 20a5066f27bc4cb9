//! The processor time of a Kubernetes node's Pods, by their cgroups.
//!
//! A kubelet gives each Pod a cgroup of its own, with those of its containers in it. Its counter has
//! what ended containers used too, and is there until the kubelet takes it away, a moment after the
//! Pod's last process is gone. [`PodCgroups`] reads all of them forty times a second, and keeps what was
//! read last for an hour: so what a Pod used in the end is known to whoever asks later, however it
//! ended.
//!
//! Reading in turns is what every node allows: version 1 tells nobody when a cgroup empties, and a
//! folder that is held open keeps no counter (a removed cgroup's file answers `ENODEV`). A plug-in of
//! the container runtime (NRI) would be told of each end, but needs the runtime's socket, which is as
//! much as root on the node, and a setting of it on each node.

mod counter;
mod hierarchy;
mod name;
mod pods;

pub use hierarchy::CgroupError;
pub use pods::{PodCgroups, Used};
