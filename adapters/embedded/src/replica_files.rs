//! What daemon and shim tell each other of a replica, in files of the engine's run directory: a
//! tmpfs, which outlives the daemon and ends with the host.
//!
//! ```text
//! replicas/<id>/record.json    what the daemon must know of it      by the daemon
//!               plan.json      what the shim is to run, secrets too by the daemon
//!               etc/           hosts, hostname, resolv.conf         by the daemon
//!               secrets/<volume>/<file>                             by the daemon
//!               shim.sock      commands; closed when the shim ends  by the shim
//!               containers/<name>/                                  by the shim
//!               started.json   when its containers had been started by the shim
//!               end.json       how it ended                         by the shim
//! ```

use std::fs;
use std::io::{self, Write as _};
use std::net::Ipv4Addr;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use apocryph_model::{Address, Bytes, ChannelId, Digest, Fault, Millicores, Name, Resources};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

/// What the daemon must know of a replica to go on with it after a restart.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Record {
    pub(crate) id: String,
    pub(crate) pod: ChannelId,
    pub(crate) publisher: Address,
    /// Of the spec that it runs.
    pub(crate) spec: Digest,
    pub(crate) address: Ipv4Addr,
    /// The name of the host's end of its link.
    pub(crate) link: String,
    pub(crate) reserved: Resources,
    /// Layers that must stay while it runs.
    pub(crate) layers: Vec<PathBuf>,
    /// What must not grow beyond a limit.
    pub(crate) bounded: Vec<Bounded>,
}

/// A directory tree with a limit.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Bounded {
    pub(crate) path: PathBuf,
    pub(crate) limit: Bytes,
    /// What it is to the publisher, such as `volume data`.
    pub(crate) what: String,
}

/// What a shim runs.
#[derive(Serialize, Deserialize)]
pub(crate) struct Plan {
    /// The replica's id.
    pub(crate) replica: String,
    pub(crate) hostname: String,
    pub(crate) runtime: PathBuf,
    /// Where the runtime keeps its state.
    pub(crate) runtime_root: PathBuf,
    pub(crate) logs: PathBuf,
    pub(crate) stop_grace: Duration,
    pub(crate) containers: Vec<ContainerPlan>,
}

/// One container of a [`Plan`].
#[derive(Serialize, Deserialize)]
pub(crate) struct ContainerPlan {
    pub(crate) name: Name,
    /// From the bottom up.
    pub(crate) layers: Vec<PathBuf>,
    /// Holds `upper` and `work`.
    pub(crate) scratch: PathBuf,
    pub(crate) args: Vec<String>,
    pub(crate) env: Vec<(String, String)>,
    pub(crate) working_dir: String,
    pub(crate) user: Option<String>,
    pub(crate) mounts: Vec<BindMount>,
    pub(crate) cpu: Millicores,
    pub(crate) memory: Bytes,
    pub(crate) cgroup: String,
    /// A number or a name such as `SIGQUIT`.
    pub(crate) stop_signal: Option<String>,
}

/// A file or directory of the host in a container.
#[derive(Serialize, Deserialize)]
pub(crate) struct BindMount {
    pub(crate) source: PathBuf,
    pub(crate) destination: String,
    pub(crate) read_only: bool,
}

/// What the shim tells, once, on its standard output.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum StartReport {
    /// All containers have been started.
    Running,
    /// The publisher's image, command or user is wrong.
    Pod(Fault),
    /// The host failed; details for its operator.
    Host(String),
}

/// Read from `shim.sock`, a line of JSON: ends the replica.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct StopCommand {
    /// Why, where it is not for the provider's own purposes.
    pub(crate) fault: Option<Fault>,
    /// Whether it has no time left to end by itself.
    pub(crate) at_once: bool,
}

/// When the containers had been started, by the host's clock since boot.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Started {
    pub(crate) boot_ms: u64,
}

/// How a replica ended, and what only the shim could still read.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct End {
    pub(crate) running_ms: u64,
    pub(crate) ingress: u64,
    pub(crate) egress: u64,
    /// `None` where it was stopped.
    pub(crate) fault: Option<Fault>,
}

/// The directory of one replica.
#[derive(Debug, Clone)]
pub(crate) struct ReplicaDir(pub(crate) PathBuf);

impl ReplicaDir {
    pub(crate) fn record(&self) -> PathBuf {
        self.0.join("record.json")
    }

    pub(crate) fn plan(&self) -> PathBuf {
        self.0.join("plan.json")
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.0.join("shim.sock")
    }

    pub(crate) fn started(&self) -> PathBuf {
        self.0.join("started.json")
    }

    pub(crate) fn end(&self) -> PathBuf {
        self.0.join("end.json")
    }

    pub(crate) fn etc(&self, file: &str) -> PathBuf {
        self.0.join("etc").join(file)
    }

    pub(crate) fn secrets(&self, volume: &Name) -> PathBuf {
        self.0.join("secrets").join(volume.as_str())
    }

    pub(crate) fn container(&self, name: &Name) -> PathBuf {
        self.0.join("containers").join(name.as_str())
    }
}

/// Makes a directory and those above it, for this user alone.
pub(crate) fn make_private_dir(path: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Writes a file that is whole or not there at all, for this user alone.
pub(crate) fn write_json(path: &Path, value: &impl Serialize) -> io::Result<()> {
    let partial = path.with_extension("partial");
    let mut file = fs::OpenOptions::new();
    let mut file = file.write(true).create(true).truncate(true).mode(0o600).open(&partial)?;
    file.write_all(&serde_json::to_vec(value)?)?;
    fs::rename(partial, path)
}

/// `None` where there is no such file.
pub(crate) fn read_json<T: DeserializeOwned>(path: &Path) -> io::Result<Option<T>> {
    match fs::read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        bytes => Ok(Some(serde_json::from_slice(&bytes?)?)),
    }
}

/// The host's time since boot in milliseconds, to some 10 ms. It never goes back.
pub(crate) fn boot_ms() -> io::Result<u64> {
    let text = fs::read_to_string("/proc/uptime")?;
    parse_uptime(&text).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

/// The first number of proc_uptime(5): seconds, with two decimals.
fn parse_uptime(text: &str) -> Option<u64> {
    let (seconds, hundredths) = text.split_whitespace().next()?.split_once('.')?;
    Some(seconds.parse::<u64>().ok()? * 1000 + hundredths.parse::<u64>().ok()? * 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_uptime_is_read_without_floating_point() {
        assert_eq!(parse_uptime("123.05 456.78\n"), Some(123_050));
        assert_eq!(parse_uptime("junk"), None);
    }

    #[test]
    fn a_json_file_is_there_or_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("started.json");
        assert!(read_json::<Started>(&path).unwrap().is_none());
        write_json(&path, &Started { boot_ms: 7 }).unwrap();
        assert_eq!(read_json::<Started>(&path).unwrap().unwrap().boot_ms, 7);
        fs::write(&path, "{").unwrap();
        assert!(read_json::<Started>(&path).is_err());
    }
}
