//! What the operator decides about this engine.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

/// Everything that a [`KubernetesEngine`](crate::KubernetesEngine) is told of its cluster.
#[derive(Debug, Clone)]
pub struct Config {
    /// Tells this engine's objects from those of others in the cluster.
    pub instance: InstanceName,
    /// How to reach the cluster; `None` for the service account of the pod that this runs in, or
    /// the user's own configuration.
    pub kubeconfig: Option<PathBuf>,
    /// Logs and last readings.
    pub data_dir: PathBuf,
    /// The endpoint that [`NodeRegistry`](crate::NodeRegistry) is served at, as nodes name it:
    /// host and port.
    pub registry: String,
    /// How long a container may take to end after its stop signal until it is killed; in whole
    /// seconds, at least one.
    pub stop_grace: Duration,
    /// How long a replica may take from its creation until its containers have been started.
    pub start_timeout: Duration,
    /// How replicas are isolated; `None` for the cluster's default.
    pub runtime_class: Option<String>,
    /// Which system calls replicas may make: a profile in the folder for them of every node's kubelet, such
    /// as `apocryph.json`. `None` for the container runtime's own.
    pub seccomp_profile: Option<String>,
    /// What persistent volumes are made of; `None` for the cluster's default.
    pub storage_class: Option<String>,
    /// Whose connections replicas accept, beside their own pod's.
    pub gateways: Gateways,
}

/// Where the gateway's connections come from. A cluster lets those of a replica's own node through
/// in any case.
#[derive(Debug, Clone, Default)]
pub struct Gateways {
    /// Networks, such as `192.0.2.0/24`.
    pub networks: Vec<String>,
    /// A namespace of the cluster.
    pub namespace: Option<String>,
}

impl Config {
    /// The defaults: 10 s to end, 60 s to start, whatever classes the cluster has.
    pub fn new(instance: InstanceName, data_dir: PathBuf, registry: String) -> Self {
        Self {
            instance,
            kubeconfig: None,
            data_dir,
            registry,
            stop_grace: Duration::from_secs(10),
            start_timeout: Duration::from_secs(60),
            runtime_class: None,
            seccomp_profile: None,
            storage_class: None,
            gateways: Gateways::default(),
        }
    }

    pub(crate) fn grace_seconds(&self) -> u32 {
        u32::try_from(self.stop_grace.as_secs()).unwrap_or(u32::MAX).max(1)
    }
}

/// An engine's name: 1 to 32 of a-z and 0-9.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstanceName(String);

/// A text that is not an engine's name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected 1 to 32 of a-z and 0-9")]
pub struct ParseInstanceNameError;

impl FromStr for InstanceName {
    type Err = ParseInstanceNameError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let valid = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
        let valid = (1..=32).contains(&text.len()) && text.bytes().all(valid);
        if valid { Ok(Self(text.into())) } else { Err(ParseInstanceNameError) }
    }
}

impl InstanceName {
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}
