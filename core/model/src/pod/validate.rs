//! The bounds of a pod, and how its parts must fit together.

use super::{ContainerSpec, Mount, PodSpec, Port, Resources, Scale, VolumeKind, VolumeSpec};
use std::collections::BTreeMap;

/// What is wrong with a pod, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {problem}")]
pub struct InvalidPod {
    /// The field, such as `containers[1].ports[0]`.
    pub path: String,
    /// What is wrong and what is allowed.
    pub problem: String,
}

impl InvalidPod {
    pub(super) fn at(path: &str, problem: impl Into<String>) -> Self {
        Self { path: path.into(), problem: problem.into() }
    }
}

impl PodSpec {
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
                .map_err(|e| InvalidPod::at(&e.path, format!("ports: {}", e.problem))),
            zero.map_or(Ok(()), |(path, _)| {
                Err(InvalidPod::at(path, "0 is not a port: allowed are 1 to 65535"))
            }),
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
}

impl ContainerSpec {
    fn validate(&self, path: &str, volumes: &[VolumeSpec]) -> Result<(), InvalidPod> {
        let args = [&self.entrypoint, &self.command];
        let strings = args.iter().filter_map(|a| a.as_ref()).map(Vec::len).sum::<usize>() + self.env.len();
        count(&format!("{path}.env, entrypoint and command"), strings, 0, PodSpec::MAX_STRINGS)?;
        for name in self.env.keys() {
            if name.is_empty() || name.contains(['=', '\0']) {
                return Err(InvalidPod::at(
                    &format!("{path}.env"),
                    format!("{name:?} is not the name of a variable"),
                ));
            }
        }
        let texts = args.into_iter().flatten().flatten().chain(self.env.values());
        if texts.chain(&self.working_dir).chain(&self.user).any(|text| text.contains('\0')) {
            return Err(InvalidPod::at(path, "a NUL character is not allowed"));
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
            return Err(InvalidPod::at(&at, format!("{} is the runtime's own: mount elsewhere", self.path)));
        }
        if !volumes.iter().any(|v| v.name == self.volume) {
            let problem = format!("there is no volume {}: add it to volumes", self.volume);
            return Err(InvalidPod::at(&format!("{path}.volume"), problem));
        }
        Ok(())
    }
}

impl Resources {
    fn validate(&self, path: &str) -> Result<(), InvalidPod> {
        const TERABYTES: u64 = 16 << 40;
        if !(10..=256_000).contains(&self.cpu.0) {
            return Err(InvalidPod::at(
                &format!("{path}.cpu"),
                format!("{}: allowed are 10m to 256", self.cpu),
            ));
        }
        if !(4 << 20..=TERABYTES).contains(&self.memory.0) {
            return Err(InvalidPod::at(
                &format!("{path}.memory"),
                format!("{}: allowed are 4Mi to 16Ti", self.memory),
            ));
        }
        if self.storage.0 > TERABYTES {
            return Err(InvalidPod::at(
                &format!("{path}.storage"),
                format!("{}: at most 16Ti", self.storage),
            ));
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
        Err(InvalidPod::at("scale", problem))
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
            return Err(InvalidPod::at(path, format!("size is {size}: allowed are 1 byte to 16Ti")));
        }
        if !self.files.is_empty() {
            return Err(InvalidPod::at(path, "only a secret volume has files"));
        }
        Ok(())
    }

    fn validate_files(&self, path: &str) -> Result<(), InvalidPod> {
        count(path, self.files.len(), 1, PodSpec::MAX_STRINGS)?;
        match self.files.keys().find(|name| !is_file_name(name)) {
            Some(name) => Err(InvalidPod::at(path, format!("{name:?} is not a file name"))),
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
    Err(InvalidPod::at(path, format!("{value:?} is not an absolute path without '..'")))
}

fn count(path: &str, found: usize, least: usize, most: usize) -> Result<(), InvalidPod> {
    if (least..=most).contains(&found) {
        return Ok(());
    }
    Err(InvalidPod::at(path, format!("{found} are given: allowed are {least} to {most}")))
}

/// Items come with their paths.
fn unique<T: Ord + std::fmt::Display>(items: impl Iterator<Item = (String, T)>) -> Result<(), InvalidPod> {
    let mut seen = BTreeMap::new();
    for (path, item) in items {
        if let Some(first) = seen.get(&item) {
            return Err(InvalidPod::at(&path, format!("{item} is given twice, first at {first}")));
        }
        seen.insert(item, path);
    }
    Ok(())
}
