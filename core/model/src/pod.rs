//! A pod as its provider runs it: images by digest, secrets as values. It is what is sealed and
//! shipped, so what a stranger can put into it has bounds.

use crate::{Bytes, Digest, Hostname, Millicores, Name, Rate, Resource, Tariff, Usage};
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

/// What is wrong with a pod, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {problem}")]
pub struct InvalidPod {
    /// The field, such as `containers[1].ports[0]`.
    pub path: String,
    /// What is wrong and what is allowed.
    pub problem: String,
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
            return Err(invalid(
                "pod",
                format!("{} bytes, at most {} are allowed", json.len(), Self::MAX_JSON),
            ));
        }
        let spec: Self = serde_json::from_slice(json).map_err(|e| invalid("pod", e.to_string()))?;
        spec.validate()?;
        Ok(spec)
    }

    /// The form that is sealed and shipped.
    pub fn to_json(&self) -> Vec<u8> {
        // Serialising plain structs with text keys cannot fail.
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// Checks every bound and that names are unique and resolve.
    pub fn validate(&self) -> Result<(), InvalidPod> {
        self.problems().into_iter().next().map_or(Ok(()), Err)
    }

    /// What [`PodSpec::validate`] refuses: the first problem of each part of the pod.
    pub fn problems(&self) -> Vec<InvalidPod> {
        let containers = self.containers.iter().enumerate();
        let volumes = self.volumes.iter().enumerate();
        let mut checks = vec![
            count("containers", self.containers.len(), 1, Self::MAX_CONTAINERS),
            count("volumes", self.volumes.len(), 0, Self::MAX_VOLUMES),
            unique(containers.clone().map(|(i, c)| (format!("containers[{i}].name"), &c.name))),
            unique(volumes.clone().map(|(i, v)| (format!("volumes[{i}].name"), &v.name))),
            self.scale.validate(),
        ];
        checks.extend(volumes.map(|(i, volume)| volume.validate(&format!("volumes[{i}]"))));
        checks.extend(containers.map(|(i, c)| c.validate(&format!("containers[{i}]"), &self.volumes)));
        checks.extend(self.validate_ports());
        checks.into_iter().filter_map(Result::err).collect()
    }

    fn validate_ports(&self) -> [Result<(), InvalidPod>; 5] {
        let ports: Vec<_> = self.ports().collect();
        let zero = ports.iter().find(|(_, port)| port.container_port() == 0);
        let hosts = ports.iter().filter_map(|(path, port)| match port {
            Port::Http { host, .. } => Some((format!("{path}.host"), host.as_ref()?)),
            Port::Tcp { .. } => None,
        });
        let published = ports.iter().filter_map(|(path, port)| match port {
            Port::Tcp { published, .. } => Some((format!("{path}.published"), (*published)?)),
            Port::Http { .. } => None,
        });
        [
            count("containers", ports.len(), 0, Self::MAX_PORTS)
                .map_err(|e| invalid(&e.path, format!("ports: {}", e.problem))),
            zero.map_or(Ok(()), |(path, _)| Err(invalid(path, "0 is not a port: allowed are 1 to 65535"))),
            unique(ports.iter().map(|(path, port)| (path.clone(), port.container_port()))),
            unique(hosts),
            unique(published),
        ]
    }

    /// Every port, by its path.
    fn ports(&self) -> impl Iterator<Item = (String, &Port)> {
        self.containers.iter().enumerate().flat_map(|(i, container)| {
            let ports = container.ports.iter().enumerate();
            ports.map(move |(j, port)| (format!("containers[{i}].ports[{j}]"), port))
        })
    }

    /// What one replica reserves together.
    pub fn reserved(&self) -> Resources {
        let mut sum = Resources { cpu: Millicores(0), memory: Bytes(0), storage: Bytes(0) };
        for container in &self.containers {
            sum.cpu.0 += container.resources.cpu.0;
            sum.memory.0 += container.resources.memory.0;
            sum.storage.0 += container.resources.storage.0;
        }
        sum
    }

    /// Storage that is reserved also at zero replicas: the persistent volumes.
    pub fn persistent(&self) -> Bytes {
        let size = |v: &VolumeSpec| match v.kind {
            VolumeKind::Persistent { size } => size.0,
            VolumeKind::Ephemeral { .. } | VolumeKind::Secret => 0,
        };
        Bytes(self.volumes.iter().map(size).sum())
    }

    /// What `replicas` replicas use at most in one second, traffic aside.
    pub fn most_per_second(&self, replicas: u32) -> Usage {
        let one = self.reserved();
        let replicas = u64::from(replicas);
        let mut usage = Usage::default();
        usage[Resource::CpuUsed] = u64::from(one.cpu.0) * 1000 * replicas;
        usage[Resource::CpuReserved] = usage[Resource::CpuUsed];
        usage[Resource::Memory] = one.memory.mebibytes() * 1000 * replicas;
        usage[Resource::Storage] =
            (one.storage.mebibytes() * replicas + self.persistent().mebibytes()) * 1000;
        usage
    }

    /// What the pod costs at most under `tariff` while `replicas` run and move `traffic` bytes
    /// per second in and as many out.
    pub fn rate(&self, tariff: &Tariff, replicas: u32, traffic: u64) -> Rate {
        const HOUR: u64 = 3600;
        let mut usage = self.most_per_second(replicas);
        usage[Resource::Ingress] = traffic;
        usage[Resource::Egress] = traffic;
        let hourly = Usage(usage.0.map(|units| units.saturating_mul(HOUR)));
        let scaled = tariff.owed(&hourly).0.saturating_mul(1_000_000_000);
        Rate(scaled.div_ceil(u128::from(HOUR)))
    }
}

impl ContainerSpec {
    fn validate(&self, path: &str, volumes: &[VolumeSpec]) -> Result<(), InvalidPod> {
        let args = [&self.entrypoint, &self.command];
        let strings = args.iter().filter_map(|a| a.as_ref()).map(Vec::len).sum::<usize>() + self.env.len();
        count(&format!("{path}.env, entrypoint and command"), strings, 0, PodSpec::MAX_STRINGS)?;
        for name in self.env.keys() {
            if name.is_empty() || name.contains(['=', '\0']) {
                return Err(invalid(
                    &format!("{path}.env"),
                    format!("{name:?} is not the name of a variable"),
                ));
            }
        }
        let texts = args.into_iter().flatten().flatten().chain(self.env.values());
        if texts.chain(&self.working_dir).chain(&self.user).any(|text| text.contains('\0')) {
            return Err(invalid(path, "a NUL character is not allowed"));
        }
        if let Some(dir) = &self.working_dir {
            absolute(&format!("{path}.workingDir"), dir)?;
        }
        self.resources.validate(&format!("{path}.resources"))?;
        self.validate_mounts(path, volumes)
    }

    fn validate_mounts(&self, path: &str, volumes: &[VolumeSpec]) -> Result<(), InvalidPod> {
        let at = format!("{path}.mounts");
        count(&at, self.mounts.len(), 0, PodSpec::MAX_VOLUMES)?;
        let mut mounts = self.mounts.iter().enumerate();
        unique(mounts.clone().map(|(i, m)| (format!("{at}[{i}].path"), m.path.trim_end_matches('/'))))?;
        mounts.try_for_each(|(i, mount)| mount.validate(&format!("{at}[{i}]"), volumes))
    }
}

impl Mount {
    fn validate(&self, path: &str, volumes: &[VolumeSpec]) -> Result<(), InvalidPod> {
        let at = format!("{path}.path");
        absolute(&at, &self.path)?;
        let below = |dir: &str| self.path == dir || self.path.starts_with(&format!("{dir}/"));
        if self.path.trim_end_matches('/').is_empty() || ["/proc", "/sys", "/dev"].into_iter().any(below) {
            return Err(invalid(&at, format!("{} is the runtime's own: mount elsewhere", self.path)));
        }
        if !volumes.iter().any(|v| v.name == self.volume) {
            let problem = format!("there is no volume {}: add it to volumes", self.volume);
            return Err(invalid(&format!("{path}.volume"), problem));
        }
        Ok(())
    }
}

impl Resources {
    fn validate(&self, path: &str) -> Result<(), InvalidPod> {
        const TERABYTES: u64 = 16 << 40;
        if !(10..=256_000).contains(&self.cpu.0) {
            return Err(invalid(&format!("{path}.cpu"), format!("{}: allowed are 10m to 256", self.cpu)));
        }
        if !(4 << 20..=TERABYTES).contains(&self.memory.0) {
            return Err(invalid(
                &format!("{path}.memory"),
                format!("{}: allowed are 4Mi to 16Ti", self.memory),
            ));
        }
        if self.storage.0 > TERABYTES {
            return Err(invalid(&format!("{path}.storage"), format!("{}: at most 16Ti", self.storage)));
        }
        Ok(())
    }
}

impl Scale {
    fn validate(&self) -> Result<(), InvalidPod> {
        let problem = if !(1..=PodSpec::MAX_REPLICAS).contains(&self.max) {
            format!("max is {}: allowed are 1 to {}", self.max, PodSpec::MAX_REPLICAS)
        } else if self.min > self.max {
            format!("min is {}, more than max, which is {}", self.min, self.max)
        } else if self.idle_seconds == 0 || self.requests_per_replica == 0 {
            "idle and requestsPerReplica are at least 1".into()
        } else {
            return Ok(());
        };
        Err(invalid("scale", problem))
    }
}

impl VolumeSpec {
    fn validate(&self, path: &str) -> Result<(), InvalidPod> {
        const TERABYTES: u64 = 16 << 40;
        let size = match self.kind {
            VolumeKind::Ephemeral { size } | VolumeKind::Persistent { size } => size,
            VolumeKind::Secret => return self.validate_files(path),
        };
        if size.0 == 0 || size.0 > TERABYTES {
            return Err(invalid(path, format!("size is {size}: allowed are 1 byte to 16Ti")));
        }
        if !self.files.is_empty() {
            return Err(invalid(path, "only a secret volume has files"));
        }
        Ok(())
    }

    fn validate_files(&self, path: &str) -> Result<(), InvalidPod> {
        count(path, self.files.len(), 1, PodSpec::MAX_STRINGS)?;
        match self.files.keys().find(|name| !is_file_name(name)) {
            Some(name) => Err(invalid(path, format!("{name:?} is not a file name"))),
            None => Ok(()),
        }
    }
}

fn is_file_name(name: &str) -> bool {
    (1..=255).contains(&name.len()) && !name.contains(['/', '\0']) && name != "." && name != ".."
}

fn absolute(path: &str, value: &str) -> Result<(), InvalidPod> {
    let dots = value.split('/').any(|part| part == ".." || part == ".");
    if value.starts_with('/') && !dots && !value.contains('\0') && value.len() <= 4096 {
        return Ok(());
    }
    Err(invalid(path, format!("{value:?} is not an absolute path without '..'")))
}

fn count(path: &str, found: usize, least: usize, most: usize) -> Result<(), InvalidPod> {
    if (least..=most).contains(&found) {
        return Ok(());
    }
    Err(invalid(path, format!("{found} are given: allowed are {least} to {most}")))
}

/// Items come with their paths.
fn unique<T: Ord + std::fmt::Display>(items: impl Iterator<Item = (String, T)>) -> Result<(), InvalidPod> {
    let mut seen = BTreeMap::new();
    for (path, item) in items {
        if let Some(first) = seen.get(&item) {
            return Err(invalid(&path, format!("{item} is given twice, first at {first}")));
        }
        seen.insert(item, path);
    }
    Ok(())
}

fn invalid(path: &str, problem: impl Into<String>) -> InvalidPod {
    InvalidPod { path: path.into(), problem: problem.into() }
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
