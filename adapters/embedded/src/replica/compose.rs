//! From a prepared pod to the files of one replica.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::net::Ipv4Addr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use apocryph_model::{
    Address, Bytes, ChannelId, ContainerSpec, Digest, Fault, PodSpec, VolumeKind, VolumeSpec, Who,
};
use apocryph_provider::EngineError;

use crate::config::Config;
use crate::host_error::{Doing as _, HostError};
use crate::image::{Defaults, Image};
use crate::pod_store::{PodStore, make_volume};
use crate::replica_files::{
    BindMount, Bounded, ContainerPlan, Plan, Record, ReplicaDir, make_private_dir, write_json,
};
use crate::run_dir::RunDir;

/// What the runtime itself writes into a container's root: mount points and such.
const SLACK: u64 = 1 << 20;
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// A pod of which replicas can be started.
pub(crate) struct Prepared {
    pub(crate) id: ChannelId,
    pub(crate) publisher: Address,
    pub(crate) spec: PodSpec,
    /// Of the spec: tells replicas of this one from those of earlier ones.
    pub(crate) digest: Digest,
    pub(crate) images: HashMap<Digest, Image>,
}

impl Prepared {
    pub(crate) fn layers(&self) -> Vec<PathBuf> {
        self.images.values().flat_map(|image| image.layers.iter().cloned()).collect()
    }

    pub(crate) fn persistent_volumes(&self) -> impl Iterator<Item = &VolumeSpec> {
        self.spec.volumes.iter().filter(|volume| matches!(volume.kind, VolumeKind::Persistent { .. }))
    }

    /// That every container has something to run.
    pub(crate) fn check_commands(&self) -> Result<(), EngineError> {
        let without = |container: &&ContainerSpec| arguments(container, self.defaults(container)).is_empty();
        match self.spec.containers.iter().find(without) {
            None => Ok(()),
            Some(container) => {
                let text = format!(
                    "container {}: neither it nor its image says what to run: give it a command",
                    container.name
                );
                Err(EngineError::Pod(Fault::lasting(Who::Publisher, "command-missing", text)))
            }
        }
    }

    fn defaults(&self, container: &ContainerSpec) -> Option<&Defaults> {
        self.images.get(&container.image).map(|image| &image.defaults)
    }
}

/// Writes the files of a new replica.
pub(super) fn write_files(
    config: &Config,
    run_dir: &RunDir,
    store: &PodStore,
    pod: &Prepared,
    record: &Record,
) -> Result<(), HostError> {
    let dir = run_dir.replica(&record.id);
    make_private_dir(&dir.0).doing("make a replica's directory")?;
    for volume in &pod.spec.volumes {
        match volume.kind {
            VolumeKind::Secret => write_secrets(&dir.secrets(&volume.name), volume).doing("write secrets")?,
            _ => make_volume(&source(&dir, store, record, volume))?,
        }
    }
    let hostname = pod.spec.name.as_str();
    write_etc(&dir, hostname, record.address, config).doing("write a replica's /etc")?;
    let containers = pod.spec.containers.iter();
    let plan = Plan {
        replica: record.id.clone(),
        hostname: hostname.into(),
        runtime: config.runtime.clone(),
        runtime_root: run_dir.runtime(),
        logs: store.logs(pod.id),
        stop_grace: config.stop_grace,
        containers: containers.map(|container| plan(config, &dir, store, pod, record, container)).collect(),
    };
    write_json(&dir.plan(), &plan).doing("write a replica's plan")?;
    // Last: a replica is there from when its record is.
    write_json(&dir.record(), record).doing("write a replica's record")
}

/// What of a replica must stay within limits.
pub(super) fn bounded(store: &PodStore, pod: &Prepared, replica: &str) -> Vec<Bounded> {
    let containers = pod.spec.containers.iter().map(|container| Bounded {
        path: store.scratch().join(replica).join(container.name.as_str()).join("upper"),
        limit: Bytes(container.resources.storage.0.saturating_add(SLACK)),
        what: format!("the storage of container {}", container.name),
    });
    let volumes = pod.spec.volumes.iter().filter_map(|volume| {
        let (path, limit) = match volume.kind {
            VolumeKind::Ephemeral { size } => (ephemeral(store, replica, volume), size),
            VolumeKind::Persistent { size } => (store.volume(pod.id, &volume.name), size),
            VolumeKind::Secret => return None,
        };
        Some(Bounded { path, limit, what: format!("volume {}", volume.name) })
    });
    containers.chain(volumes).collect()
}

fn ephemeral(store: &PodStore, replica: &str, volume: &VolumeSpec) -> PathBuf {
    // No container's name has a dot, so that its directory is another.
    store.scratch().join(replica).join(".volumes").join(volume.name.as_str())
}

fn source(dir: &ReplicaDir, store: &PodStore, record: &Record, volume: &VolumeSpec) -> PathBuf {
    match volume.kind {
        VolumeKind::Ephemeral { .. } => ephemeral(store, &record.id, volume),
        VolumeKind::Persistent { .. } => store.volume(record.pod, &volume.name),
        VolumeKind::Secret => dir.secrets(&volume.name),
    }
}

fn plan(
    config: &Config,
    dir: &ReplicaDir,
    store: &PodStore,
    pod: &Prepared,
    record: &Record,
    container: &ContainerSpec,
) -> ContainerPlan {
    let defaults = pod.defaults(container);
    let image = pod.images.get(&container.image);
    let mounts = container.mounts.iter().filter_map(|mount| {
        let volume = pod.spec.volumes.iter().find(|volume| volume.name == mount.volume)?;
        let read_only = mount.read_only || matches!(volume.kind, VolumeKind::Secret);
        let source = source(dir, store, record, volume);
        Some(BindMount { source, destination: mount.path.clone(), read_only })
    });
    let working_dir = container.working_dir.clone();
    let working_dir = working_dir.or_else(|| defaults?.working_dir.clone()).unwrap_or_default();
    ContainerPlan {
        name: container.name.clone(),
        layers: image.map(|image| image.layers.clone()).unwrap_or_default(),
        scratch: store.scratch().join(&record.id).join(container.name.as_str()),
        args: arguments(container, defaults),
        env: environment(&pod.spec, container, defaults),
        working_dir: if working_dir.starts_with('/') { working_dir } else { format!("/{working_dir}") },
        user: container.user.clone().or_else(|| defaults?.user.clone()),
        mounts: mounts.collect(),
        cpu: container.resources.cpu,
        memory: container.resources.memory,
        cgroup: format!("{}/{}/{}", config.name.cgroup(), record.id, container.name),
        stop_signal: defaults.and_then(|defaults| defaults.stop_signal.clone()),
    }
}

/// As Kubernetes and Docker do: the image's arguments go with the image's entrypoint only.
fn arguments(container: &ContainerSpec, defaults: Option<&Defaults>) -> Vec<String> {
    let of_image = |field: fn(&Defaults) -> &Option<Vec<String>>| defaults.and_then(|d| field(d).clone());
    let (mut arguments, command) = match &container.entrypoint {
        Some(entrypoint) => (entrypoint.clone(), container.command.clone()),
        None => {
            let command = container.command.clone().or_else(|| of_image(|d| &d.cmd));
            (of_image(|d| &d.entrypoint).unwrap_or_default(), command)
        }
    };
    arguments.extend(command.unwrap_or_default());
    arguments
}

fn environment(
    pod: &PodSpec,
    container: &ContainerSpec,
    defaults: Option<&Defaults>,
) -> Vec<(String, String)> {
    let mut env = vec![("PATH".to_owned(), PATH.to_owned()), ("HOSTNAME".to_owned(), pod.name.to_string())];
    let of_image = defaults.and_then(|defaults| defaults.env.as_deref()).unwrap_or_default();
    let of_image = of_image.iter().filter_map(|variable| variable.split_once('='));
    let of_image = of_image.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let own = container.env.iter().map(|(name, value)| (name.clone(), value.clone()));
    for (name, value) in of_image.chain(own) {
        env.retain(|(known, _)| *known != name);
        env.push((name, value));
    }
    env
}

fn write_secrets(dir: &Path, volume: &VolumeSpec) -> io::Result<()> {
    make_private_dir(dir)?;
    for (name, contents) in &volume.files {
        fs::write(dir.join(name), contents)?;
        fs::set_permissions(dir.join(name), fs::Permissions::from_mode(0o444))?;
    }
    // Whatever user the container has must read them; the directories above let no other pass.
    fs::set_permissions(dir, fs::Permissions::from_mode(0o555))
}

fn write_etc(dir: &ReplicaDir, hostname: &str, address: Ipv4Addr, config: &Config) -> io::Result<()> {
    let servers: String = config.dns.iter().map(|server| format!("nameserver {server}\n")).collect();
    make_private_dir(&dir.0.join("etc"))?;
    for (file, text) in [
        ("hostname", format!("{hostname}\n")),
        ("hosts", format!("127.0.0.1\tlocalhost\n{address}\t{hostname}\n")),
        ("resolv.conf", servers),
    ] {
        fs::write(dir.etc(file), text)?;
        fs::set_permissions(dir.etc(file), fs::Permissions::from_mode(0o644))?;
    }
    Ok(())
}
