//! What this host has and lacks for the engine. Everything is tried for real, in namespaces that end with
//! the trial.

use std::fs;
use std::io;
use std::path::Path;
use std::process::{Command, Stdio};

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};

use crate::cgroup::Cgroups;
use crate::config::Config;
use crate::network;

/// Something that is missing, for the operator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lack {
    /// What is missing, and what follows from that.
    pub what: String,
    /// What to do about it.
    pub remedy: String,
    /// Whether no pod can run without it.
    pub fatal: bool,
}

/// What was found, in words, or is missing.
pub type Looked = Result<String, Lack>;

/// What this host has and lacks. Blocks for some 10 ms. Leaves nothing behind but the data directory.
pub fn check(config: &Config) -> Vec<Looked> {
    if !nix::unistd::geteuid().is_root() {
        return vec![Err(fatal("root: namespaces, mounts and cgroups need it", "start the daemon as root"))];
    }
    vec![
        runs(&config.runtime, "the OCI runtime", "install one (apt-get install crun), or set `runtime`"),
        runs(Path::new("nft"), "nft, which keeps pods apart", "apt-get install nftables"),
        cgroups(),
        overlay(&config.data_dir),
        bridge(),
        subnet(config),
        forwarding(),
    ]
}

fn fatal(what: impl Into<String>, remedy: impl Into<String>) -> Lack {
    Lack { what: what.into(), remedy: remedy.into(), fatal: true }
}

fn runs(program: &Path, what: &str, remedy: &str) -> Looked {
    let program = (works(program), program.display());
    match program {
        (true, program) => Ok(format!("{what}: {program} runs")),
        (false, program) => Err(fatal(format!("{what}: {program} does not run"), remedy)),
    }
}

/// Whether it is there and starts.
pub(crate) fn works(program: &Path) -> bool {
    let status = Command::new(program)
        .arg("--version")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    status.is_ok_and(|status| status.success())
}

fn cgroups() -> Looked {
    const CONTROLLERS: [&str; 3] = ["cpu", "memory", "pids"];
    const REMEDY: &str = "mount cgroups with cpu, memory and pids at /sys/fs/cgroup";
    let missing = match Cgroups::detect() {
        Err(_) => return Err(fatal("cgroups: none are mounted at /sys/fs/cgroup", REMEDY)),
        Ok(cgroups) => cgroups.missing_controllers(&CONTROLLERS),
    };
    if missing.is_empty() {
        return Ok(format!("cgroup controllers: {}", CONTROLLERS.join(", ")));
    }
    Err(fatal(format!("cgroup controllers: {}", missing.join(", ")), REMEDY))
}

fn overlay(data_dir: &Path) -> Looked {
    let tried = in_own_namespaces(CloneFlags::CLONE_NEWNS, {
        let data_dir = data_dir.to_owned();
        move || try_overlay(&data_dir)
    });
    let data_dir = data_dir.display();
    let remedy = format!("modprobe overlay, and keep {data_dir} on ext4, xfs or btrfs");
    let found = format!("overlay mounts on {data_dir}");
    tried.map(|()| found.clone()).map_err(|error| fatal(format!("{found}: {error}"), remedy))
}

fn try_overlay(data_dir: &Path) -> io::Result<()> {
    fs::create_dir_all(data_dir)?;
    let trial = data_dir.join(format!(".trial-{:016x}", rand::random::<u64>()));
    let dirs = ["lower", "upper", "work", "root"].map(|name| trial.join(name));
    let tried = dirs.iter().try_for_each(fs::create_dir_all).and_then(|()| {
        mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>)?;
        let [lower, upper, work, root] = &dirs;
        let options = format!(
            "lowerdir={},upperdir={},workdir={},volatile",
            lower.display(),
            upper.display(),
            work.display()
        );
        mount(Some("overlay"), root, Some("overlay"), MsFlags::empty(), Some(options.as_str()))?;
        nix::mount::umount(root)?;
        Ok(())
    });
    tried.and(fs::remove_dir_all(&trial))
}

fn bridge() -> Looked {
    let tried = in_own_namespaces(CloneFlags::CLONE_NEWNET, network::try_bridge);
    let lack = |error| fatal(format!("bridges and veth links: {error}"), "modprobe -a bridge veth");
    tried.map(|()| "bridges and veth links".into()).map_err(lack)
}

fn subnet(config: &Config) -> Looked {
    let subnet = format!("engine.subnet {}", config.subnet);
    let free = network::check_subnet(config);
    let remedy = "set engine.subnet to another network";
    free.map_err(|error| fatal(format!("{subnet}: {error}"), remedy)).map(|_| format!("{subnet}: free"))
}

fn forwarding() -> Looked {
    let setting = fs::read_to_string("/proc/sys/net/ipv4/ip_forward").unwrap_or_default();
    if setting.trim() != "0" {
        return Ok("net.ipv4.ip_forward".into());
    }
    Err(Lack {
        what: "net.ipv4.ip_forward is 0: pods reach no address outside this host".into(),
        remedy: "sysctl -w net.ipv4.ip_forward=1, and keep it in /etc/sysctl.d".into(),
        fatal: false,
    })
}

/// On a thread of its own, whose namespaces end with it.
fn in_own_namespaces(
    namespaces: CloneFlags,
    trial: impl FnOnce() -> io::Result<()> + Send + 'static,
) -> io::Result<()> {
    let thread = std::thread::spawn(move || {
        unshare(namespaces)?;
        trial()
    });
    thread.join().unwrap_or_else(|_| Err(io::Error::other("the trial ended early")))
}
