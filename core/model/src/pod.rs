//! A pod as its provider runs it: images by digest, secrets as values. It is what is sealed and
//! shipped, so what a stranger can put into it has bounds.

mod demand;
mod validate;

pub use validate::InvalidPod;

use crate::{Bytes, Digest, Hostname, Millicores, Name};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What a pod asks of its provider. Made by [`PodSpec::from_json`] or checked by
/// [`PodSpec::validate`]: whoever holds one from elsewhere has done so.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PodSpec {
    /// What the publisher calls it.
    pub name: Name,
    /// What runs; 1 to [`PodSpec::MAX_CONTAINERS`].
    pub containers: Vec<ContainerSpec>,
    /// What the containers mount.
    pub volumes: Vec<VolumeSpec>,
    /// How many replicas, and when.
    pub scale: Scale,
}

/// One container of a pod.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ContainerSpec {
    /// Unique within the pod.
    pub name: Name,
    /// The digest of the (encrypted) OCI image manifest.
    pub image: Digest,
    /// Replaces the image's entrypoint.
    pub entrypoint: Option<Vec<String>>,
    /// Replaces the image's command.
    pub command: Option<Vec<String>>,
    /// Replaces the image's working directory; absolute.
    pub working_dir: Option<String>,
    /// `user[:group]`; replaces the image's.
    pub user: Option<String>,
    /// Environment with secret values filled in, over the image's.
    pub env: BTreeMap<String, String>,
    /// What it listens on.
    pub ports: Vec<Port>,
    /// Where it sees the pod's volumes.
    pub mounts: Vec<Mount>,
    /// Its limits, which are also what it reserves.
    pub resources: Resources,
}

/// How a port is reached from outside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase", deny_unknown_fields)]
pub enum Port {
    /// By host name through the HTTP gateway.
    Http {
        /// Where the container listens.
        container_port: u16,
        /// The host name; `None` for one under the provider's own domain.
        host: Option<Hostname>,
    },
    /// By a TCP port of the provider.
    Tcp {
        /// Where the container listens.
        container_port: u16,
        /// The provider's port; `None` for any that is free.
        published: Option<u16>,
    },
}

impl Port {
    /// Where the container listens.
    pub fn container_port(&self) -> u16 {
        match self {
            Self::Http { container_port, .. } | Self::Tcp { container_port, .. } => *container_port,
        }
    }
}

/// Where a container sees a volume.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Mount {
    /// A volume of the pod.
    pub volume: Name,
    /// Absolute, without `..`.
    pub path: String,
    /// Whether writing is refused.
    #[serde(default)]
    pub read_only: bool,
}

/// What a container may use, and reserves while it runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Resources {
    /// Processor share; 10m to 256 cores.
    pub cpu: Millicores,
    /// Memory; 4Mi to 16Ti.
    pub memory: Bytes,
    /// Writable layer; up to 16Ti.
    pub storage: Bytes,
}

/// When a pod has how many replicas.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Scale {
    /// Kept running without requests.
    pub min: u32,
    /// Never more; 1 to [`PodSpec::MAX_REPLICAS`].
    pub max: u32,
    /// How long without requests until the pod goes to `min`, in seconds.
    pub idle_seconds: u32,
    /// Requests under way at once that a replica is given before another is started.
    pub requests_per_replica: u32,
}

impl Default for Scale {
    fn default() -> Self {
        Self { min: 0, max: 1, idle_seconds: 60, requests_per_replica: 100 }
    }
}

/// One volume of a pod.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct VolumeSpec {
    /// Unique within the pod.
    pub name: Name,
    /// How long it lives and how large it gets.
    pub kind: VolumeKind,
    /// A secret volume's files by name: text or base64 is the publisher's affair, bytes here.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub files: BTreeMap<String, Vec<u8>>,
}

/// How long a volume lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum VolumeKind {
    /// As long as its replica.
    Ephemeral {
        /// The most it holds.
        size: Bytes,
    },
    /// As long as the pod is deployed, over scale-to-zero.
    Persistent {
        /// The most it holds.
        size: Bytes,
    },
    /// Read-only files in memory.
    Secret,
}

/// Shows the shape and no values: they hold secrets.
impl std::fmt::Debug for PodSpec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names: Vec<_> = self.containers.iter().map(|c| c.name.as_str()).collect();
        f.debug_struct("PodSpec")
            .field("name", &self.name)
            .field("containers", &names)
            .finish_non_exhaustive()
    }
}

impl PodSpec {
    /// Containers in one pod.
    pub const MAX_CONTAINERS: usize = 16;
    /// Replicas of one pod.
    pub const MAX_REPLICAS: u32 = 100;
    /// The size of a pod's JSON form, secrets included.
    pub const MAX_JSON: usize = 4 << 20;
    const MAX_VOLUMES: usize = 32;
    const MAX_PORTS: usize = 32;
    const MAX_STRINGS: usize = 1024;

    /// Reads and validates what [`PodSpec::to_json`] wrote.
    pub fn from_json(json: &[u8]) -> Result<Self, InvalidPod> {
        if json.len() > Self::MAX_JSON {
            return Err(InvalidPod::at(
                "pod",
                format!("{} bytes, at most {} are allowed", json.len(), Self::MAX_JSON),
            ));
        }
        let spec: Self = serde_json::from_slice(json).map_err(|e| InvalidPod::at("pod", e.to_string()))?;
        spec.validate()?;
        Ok(spec)
    }

    /// The form that is sealed and shipped.
    pub fn to_json(&self) -> Vec<u8> {
        // Serialising plain structs with text keys cannot fail.
        serde_json::to_vec(self).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn pod() -> PodSpec {
        PodSpec {
            name: "web".parse().unwrap(),
            containers: vec![ContainerSpec {
                name: "nginx".parse().unwrap(),
                image: Digest([7; 32]),
                entrypoint: None,
                command: Some(vec!["nginx".into()]),
                working_dir: Some("/srv".into()),
                user: None,
                env: BTreeMap::from([("KEY".into(), "value".into())]),
                ports: vec![Port::Http { container_port: 80, host: None }],
                mounts: vec![Mount {
                    volume: "data".parse().unwrap(),
                    path: "/data".into(),
                    read_only: false,
                }],
                resources: Resources {
                    cpu: Millicores(500),
                    memory: Bytes(64 << 20),
                    storage: Bytes(1 << 30),
                },
            }],
            volumes: vec![VolumeSpec {
                name: "data".parse().unwrap(),
                kind: VolumeKind::Persistent { size: Bytes(1 << 30) },
                files: BTreeMap::new(),
            }],
            scale: Scale::default(),
        }
    }

    /// What is said of a pod that was changed.
    fn refused(change: impl FnOnce(&mut PodSpec)) -> String {
        let mut pod = pod();
        change(&mut pod);
        PodSpec::from_json(&pod.to_json()).unwrap_err().to_string()
    }

    #[test]
    fn a_pod_survives_its_json() {
        assert_eq!(PodSpec::from_json(&pod().to_json()), Ok(pod()));
    }

    #[test]
    fn words_that_nobody_knows_are_refused() {
        let json = String::from_utf8(pod().to_json()).unwrap();
        for place in ["{\"name\":", "{\"volume\":", "{\"cpu\":", "{\"min\":"] {
            let more = json.replacen(place, &place.replace('{', "{\"hostPath\":\"/\","), 1);
            assert_ne!(more, json, "{place}");
            let refused = PodSpec::from_json(more.as_bytes()).unwrap_err().to_string();
            assert!(refused.contains("unknown field `hostPath`"), "{refused}");
        }
    }

    #[test]
    fn bounds_are_kept() {
        let twice = |p: &mut PodSpec| p.containers.push(p.containers[0].clone());
        assert_eq!(refused(twice), "containers[1].name: nginx is given twice, first at containers[0].name");
        assert_eq!(refused(|p| p.containers.clear()), "containers: 0 are given: allowed are 1 to 16");
        assert_eq!(refused(|p| p.scale.max = 0), "scale: max is 0: allowed are 1 to 100");
        let proc = refused(|p| p.containers[0].mounts[0].path = "/proc/x".into());
        assert_eq!(proc, "containers[0].mounts[0].path: /proc/x is the runtime's own: mount elsewhere");
        let escape = refused(|p| p.containers[0].mounts[0].path = "/data/../etc".into());
        assert!(escape.contains("absolute path"), "{escape}");
        let missing = refused(|p| p.volumes.clear());
        assert!(missing.contains("there is no volume data"), "{missing}");
        let tiny = refused(|p| p.containers[0].resources.memory = Bytes(1));
        assert!(tiny.contains("4Mi to 16Ti"), "{tiny}");
        let nul = refused(|p| p.containers[0].user = Some("a\0b".into()));
        assert!(nul.contains("NUL"), "{nul}");
    }

    #[test]
    fn every_part_is_looked_at() {
        let mut pod = pod();
        pod.scale.max = 0;
        pod.volumes[0].kind = VolumeKind::Persistent { size: Bytes(0) };
        pod.containers[0].working_dir = Some("srv".into());
        let paths: Vec<_> = pod.problems().into_iter().map(|problem| problem.path).collect();
        assert_eq!(paths, ["scale", "volumes[0]", "containers[0].workingDir"]);
    }

    #[test]
    fn secret_files_stay_in_their_folder() {
        let secret = |name: &str| {
            refused(|p| {
                p.volumes[0].kind = VolumeKind::Secret;
                p.volumes[0].files = BTreeMap::from([(name.into(), vec![1])]);
            })
        };
        for name in ["../x", "a/b", "..", ""] {
            assert!(secret(name).contains("is not a file name"), "{name}");
        }
    }

    #[test]
    fn nothing_secret_is_shown() {
        assert!(!format!("{:?}", pod()).contains("value"));
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_are_refused_not_fatal(bytes: Vec<u8>) {
            prop_assert!(PodSpec::from_json(&bytes).is_err());
        }
    }
}
