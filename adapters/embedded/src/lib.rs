//! The engine of one machine. It drives an OCI runtime (`crun` or `runc`) by its command line, and
//! owns all the rest: images, mounts, network, limits, logs, volumes.
//!
//! What a host must have: Linux 5.10 or later, root, an OCI runtime, `nft`; [`check`] tells what is
//! missing. Under systemd the daemon's unit needs `KillMode=process`, so that replicas outlive a
//! restart.

mod cgroup;
mod check;
mod config;
mod engine;
mod host_error;
mod image;
mod logs;
mod network;
mod opening;
mod pod_store;
mod replica;
mod replica_files;
mod rooted;
mod run_dir;
mod shim;
mod storage_watch;
mod tree;

pub use check::{Lack, Looked, check};
pub use config::{Config, InstanceName, ParseInstanceNameError, ParseSubnetError, Subnet};
pub use engine::EmbeddedEngine;
pub use host_error::HostError;
pub use shim::shim_main;
