//! A container's bundle: `config.json` of the OCI Runtime Specification 1.0.2.

use std::path::Path;

use apocryph_model::Millicores;
use nix::sys::resource::{Resource, getrlimit};
use serde_json::{Value, json};

use super::start_error::StartError;
use super::users::{self, Identity};
use crate::cgroup::Cgroups;
use crate::host_error::Doing as _;
use crate::replica_files::{BindMount, ContainerPlan, ReplicaDir, write_json};
use crate::rooted::Rooted;

/// System calls that no container needs and that reach far into the kernel are refused; see the
/// file for which are allowed.
const SECCOMP: &str = include_str!("../../../../deploy/seccomp.json");

/// Processes and threads of one container.
const MOST_PIDS: u32 = 1024;
/// In microseconds; the kernel's own default.
const CPU_PERIOD: u32 = 100_000;

/// What root in a container may do: change owners and users within its own files, listen on any
/// port. Not: raw packets, devices, other processes' memory, anything of the host's.
const CAPABILITIES: [&str; 10] = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_NET_BIND_SERVICE",
    "CAP_SETGID",
    "CAP_SETPCAP",
    "CAP_SETUID",
    "CAP_SYS_CHROOT",
];

/// What tells of the host or steers it.
const MASKED: [&str; 11] = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
];
const READ_ONLY: [&str; 5] = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/// Writes the bundle of `container` into `dir`; `root` is its root, mounted already.
pub(super) fn write(
    dir: &Path,
    root: &Path,
    replica: &ReplicaDir,
    container: &ContainerPlan,
    cgroups: &Cgroups,
) -> Result<(), StartError> {
    let rooted = Rooted::open(root).doing("open a container's root")?;
    let identity = users::resolve(&rooted, container.user.as_deref())
        .map_err(|source| StartError::User { container: container.name.to_string(), source })?;
    ensure_working_dir(&rooted, container)?;
    let seccomp: Value = serde_json::from_str(SECCOMP).doing("read the seccomp profile")?;
    let config = json!({
        "ociVersion": "1.0.2",
        "root": { "path": root, "readonly": false },
        "process": process(container, &identity),
        "mounts": mounts(replica, container),
        "linux": {
            // Network, IPC and host name are the shim's own, which the whole replica shares.
            "namespaces": [{ "type": "pid" }, { "type": "mount" }, { "type": "cgroup" }],
            "cgroupsPath": container.cgroup,
            "resources": resources(container, cgroups),
            "seccomp": seccomp,
            "maskedPaths": MASKED,
            "readonlyPaths": READ_ONLY,
        },
    });
    Ok(write_json(&dir.join("config.json"), &config).doing("write a bundle")?)
}

/// As other runtimes do: a working directory that the image lacks is made.
fn ensure_working_dir(root: &Rooted, container: &ContainerPlan) -> Result<(), StartError> {
    let path = container.working_dir.trim_matches('/');
    root.ensure_dir(path.as_bytes()).map(|_| ()).map_err(|source| StartError::WorkingDir {
        container: container.name.to_string(),
        path: container.working_dir.clone(),
        source,
    })
}

fn process(container: &ContainerPlan, identity: &Identity) -> Value {
    let mut env: Vec<String> = container.env.iter().map(|(name, value)| format!("{name}={value}")).collect();
    if !container.env.iter().any(|(name, _)| name == "HOME") {
        env.push(format!("HOME={}", identity.home.as_deref().unwrap_or("/")));
    }
    json!({
        "terminal": false,
        "user": { "uid": identity.uid, "gid": identity.gid, "additionalGids": identity.groups },
        "args": container.args,
        "env": env,
        "cwd": container.working_dir,
        "capabilities": {
            "bounding": CAPABILITIES,
            "effective": CAPABILITIES,
            "permitted": CAPABILITIES,
        },
        "noNewPrivileges": true,
        "rlimits": [open_files(), { "type": "RLIMIT_CORE", "soft": 0, "hard": 0 }],
    })
}

/// All that the shim itself has: without CAP_SYS_RESOURCE nobody can be given more.
fn open_files() -> Value {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap_or((1024, 1024));
    json!({ "type": "RLIMIT_NOFILE", "soft": hard, "hard": hard })
}

fn resources(container: &ContainerPlan, cgroups: &Cgroups) -> Value {
    let mut memory = json!({ "limit": container.memory.0 });
    if cgroups.limits_swap() {
        memory["swap"] = json!(container.memory.0);
    }
    let Millicores(cpu) = container.cpu;
    json!({
        "devices": [{ "allow": false, "access": "rwm" }],
        "cpu": {
            "period": CPU_PERIOD,
            "quota": u64::from(cpu) * u64::from(CPU_PERIOD) / 1000,
            "shares": (u64::from(cpu) * 1024 / 1000).max(2),
        },
        "memory": memory,
        "pids": { "limit": MOST_PIDS },
    })
}

fn mounts(replica: &ReplicaDir, container: &ContainerPlan) -> Vec<Value> {
    let mut mounts = kernel_mounts();
    for file in ["hosts", "hostname", "resolv.conf"] {
        let (source, destination) = (replica.etc(file), format!("/etc/{file}"));
        mounts.push(bind(&BindMount { source, destination, read_only: false }));
    }
    mounts.extend(container.mounts.iter().map(bind));
    mounts
}

fn kernel_mounts() -> Vec<Value> {
    let mount = |destination: &str, kind: &str, options: &[&str]| json!({ "destination": destination, "type": kind, "source": kind, "options": options });
    vec![
        mount("/proc", "proc", &["nosuid", "noexec", "nodev"]),
        mount("/dev", "tmpfs", &["nosuid", "strictatime", "mode=755", "size=64k"]),
        mount("/dev/pts", "devpts", &["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"]),
        mount("/dev/shm", "tmpfs", &["nosuid", "noexec", "nodev", "mode=1777", "size=64m"]),
        mount("/dev/mqueue", "mqueue", &["nosuid", "noexec", "nodev"]),
        mount("/sys", "sysfs", &["nosuid", "noexec", "nodev", "ro"]),
        mount("/sys/fs/cgroup", "cgroup", &["nosuid", "noexec", "nodev", "ro"]),
    ]
}

fn bind(mount: &BindMount) -> Value {
    let access = if mount.read_only { "ro" } else { "rw" };
    json!({
        "destination": mount.destination,
        "type": "bind",
        "source": mount.source,
        "options": ["rbind", "nosuid", "nodev", access],
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use apocryph_model::Bytes;

    fn container() -> ContainerPlan {
        let volume =
            BindMount { source: "/data/volumes/keep".into(), destination: "/keep".into(), read_only: false };
        let secret =
            BindMount { source: "/run/secrets/key".into(), destination: "/key".into(), read_only: true };
        ContainerPlan {
            name: "main".parse().unwrap(),
            layers: Vec::new(),
            scratch: "/data/scratch/r/main".into(),
            args: vec!["/bin/serve".into()],
            env: vec![("KEY".into(), "value".into())],
            working_dir: "/srv".into(),
            user: None,
            mounts: vec![volume, secret],
            cpu: Millicores(1500),
            memory: Bytes(32 << 20),
            cgroup: "/apocryph/test/r/main".into(),
            stop_signal: None,
        }
    }

    #[test]
    fn a_container_is_confined() {
        let dir = tempfile::tempdir().unwrap();
        let (root, replica) = (dir.path().join("root"), ReplicaDir("/run/replicas/r".into()));
        std::fs::create_dir(&root).unwrap();
        let cgroups = Cgroups::V1 { trees: Vec::new(), cpuacct: "/none".into(), memory: "/none".into() };
        write(dir.path(), &root, &replica, &container(), &cgroups).unwrap();
        let mut config: Value =
            serde_json::from_slice(&std::fs::read(dir.path().join("config.json")).unwrap()).unwrap();
        // The profile stands in a file, and the host says how many files may be open.
        config["linux"].as_object_mut().unwrap().remove("seccomp").unwrap();
        config["root"]["path"] = "root".into();
        config["process"]["rlimits"][0] = "RLIMIT_NOFILE".into();
        insta::assert_json_snapshot!(config);
    }
}
