//! The engine of a cluster. Each pod has a namespace of its own, each replica is a Pod in it; the
//! rest of a pod's objects bounds what its replicas can use and reach.
//!
//! What a cluster must have: Kubernetes 1.32 or later, a network that enforces NetworkPolicy, nodes
//! that reach the provider's registry endpoint, a storage class where pods have persistent volumes;
//! [`check`] tells what is missing.

mod check;
mod cluster;
mod cluster_error;
mod config;
mod covers;
mod ending;
mod engine;
mod entry;
mod labels;
mod last_reading;
mod node_readers;
mod node_registry;
mod objects;
mod pod_logs;
mod pod_state;
mod pull;
mod reach;
mod reading;
mod record;
mod replicas;
mod sight;
mod standing;
mod usage;
mod watch;

pub use check::{Lack, Looked, check};
pub use cluster_error::ClusterError;
pub use config::{Config, Gateways, InstanceName, ParseInstanceNameError};
pub use engine::KubernetesEngine;
pub use node_readers::{NodeReaders, NodeReading};
pub use node_registry::{NodeImage, NodeRegistry, Shipped};
pub use reach::reach;
