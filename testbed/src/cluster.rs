//! A cluster of one node on this machine, such as `make cluster` brings up: what providers run pods
//! on where the engine is Kubernetes, and how it is looked at from outside.

use std::env;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{fs, io};

use serde_json::Value;

/// What the engine puts on everything of its own.
const INSTANCE: &str = "apocryph.network/instance";

/// How a cluster is reached.
#[derive(Debug, Clone)]
pub struct Cluster {
    /// For clients of its API server.
    pub kubeconfig: PathBuf,
    /// An address of this host that nodes and pods have a route to.
    pub host: IpAddr,
    kubectl: PathBuf,
    /// Has the nodes pull from an address without TLS.
    registry: Option<String>,
    /// Gives the nodes an image.
    import: Option<String>,
}

impl Cluster {
    /// The one that the environment tells of, by `KUBECONFIG` and `CLUSTER_HOST_ADDRESS`; also by
    /// `KUBECTL`, by `CLUSTER_REGISTRY`, a command that is given the address of a registry, and by
    /// `CLUSTER_IMPORT`, one that is given a file with an image.
    ///
    /// # Errors
    /// If one of the first two is not set, or is wrong.
    pub fn of_environment() -> io::Result<Self> {
        let variable = |name: &str| {
            env::var(name).map_err(|_| {
                io::Error::other(format!("{name} tells of no cluster: `make cluster` brings one up"))
            })
        };
        Ok(Self {
            kubeconfig: variable("KUBECONFIG")?.into(),
            host: variable("CLUSTER_HOST_ADDRESS")?.parse().map_err(io::Error::other)?,
            kubectl: env::var_os("KUBECTL").map_or_else(|| "kubectl".into(), PathBuf::from),
            registry: env::var("CLUSTER_REGISTRY").ok(),
            import: env::var("CLUSTER_IMPORT").ok(),
        })
    }

    /// Has the nodes pull from here without TLS.
    ///
    /// # Errors
    /// If the command fails.
    pub fn trust(&self, registry: SocketAddr) -> io::Result<()> {
        let Some(mut command) = self.registry.as_deref().and_then(command) else { return Ok(()) };
        output(command.arg(registry.to_string())).map(drop)
    }

    /// Whether the nodes can be given images.
    pub fn imports(&self) -> bool {
        self.import.is_some()
    }

    /// Gives the nodes an image that stands in a file.
    ///
    /// # Errors
    /// If the command fails, or there is none.
    pub fn import(&self, image: &Path) -> io::Result<()> {
        let import = self.import.as_deref().and_then(command);
        let mut import = import.ok_or_else(|| io::Error::other("CLUSTER_IMPORT is not set"))?;
        output(import.arg(image)).map(drop)
    }

    /// What kubectl says.
    ///
    /// # Errors
    /// If the cluster refuses or does not answer.
    pub fn ask(&self, arguments: &[&str]) -> io::Result<String> {
        Ok(String::from_utf8_lossy(&output(self.kubectl().args(arguments))?).trim().to_owned())
    }

    /// The namespaces of engines whose names begin so.
    ///
    /// # Errors
    /// If the cluster does not answer.
    pub fn namespaces(&self, engines: &str) -> io::Result<Vec<String>> {
        let found = self.list(&["namespaces", "-l", INSTANCE])?;
        let ours = found.iter().map(|namespace| &namespace["metadata"]).filter(|metadata| {
            metadata["labels"][INSTANCE].as_str().is_some_and(|engine| engine.starts_with(engines))
        });
        Ok(ours.filter_map(|metadata| Some(metadata["name"].as_str()?.to_owned())).collect())
    }

    /// Takes a namespace away, and waits until it is gone.
    ///
    /// # Errors
    /// If the cluster refuses or does not answer.
    pub fn delete_namespace(&self, name: &str) -> io::Result<()> {
        output(self.kubectl().args(["delete", "namespace", name, "--timeout=60s"])).map(drop)
    }

    /// Takes namespaces away; waits for a minute at most until all are gone.
    ///
    /// # Errors
    /// If the cluster refuses or does not answer, or some are still there.
    pub fn delete_namespaces(&self, names: &[String]) -> io::Result<()> {
        if names.is_empty() {
            return Ok(());
        }
        output(self.kubectl().args(["delete", "namespace", "--timeout=60s"]).args(names)).map(drop)
    }

    /// How many Pods of one engine there are, also such as are ending.
    ///
    /// # Errors
    /// If the cluster does not answer.
    pub fn pods(&self, engine: &str) -> io::Result<usize> {
        Ok(self.list(&["pods", "-A", "-l", &format!("{INSTANCE}={engine}")])?.len())
    }

    /// How many Pods there are of one engine's pod of this name, also such as are ending.
    ///
    /// # Errors
    /// If the cluster does not answer.
    pub fn replicas(&self, engine: &str, pod: &str) -> io::Result<usize> {
        let pods = self.list(&["pods", "-A", "-l", &format!("{INSTANCE}={engine}")])?;
        Ok(pods.iter().filter(|listed| listed["spec"]["hostname"] == pod).count())
    }

    /// Runs kubectl, and gives what it prints.
    ///
    /// # Errors
    /// If it fails: tells why.
    pub fn run(&self, words: &[&str]) -> io::Result<String> {
        output(self.kubectl().args(words)).map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
    }

    /// The processes in containers of these names of one engine: id and command line.
    ///
    /// # Errors
    /// If the cluster does not answer, or /proc cannot be read.
    pub fn processes(&self, engine: &str, containers: &[&str]) -> io::Result<Vec<(u32, String)>> {
        let ids = self.containers(engine, containers)?;
        let is_ours = |line: &str| ids.iter().any(|id| line.ends_with(id.as_str()));
        crate::containers::in_cgroups(is_ours)
    }

    /// The processor time that the containers of these names used so far, by the kernel's own
    /// counters, in microseconds.
    ///
    /// # Errors
    /// If the cluster does not answer, there is no such container, or its counter cannot be read.
    pub fn cpu_microseconds(&self, engine: &str, containers: &[&str]) -> io::Result<u64> {
        let ids = self.containers(engine, containers)?;
        let folders = ids.iter().map(|id| cgroup(id)).collect::<io::Result<Vec<_>>>()?;
        crate::containers::cpu_of(&folders)
    }

    /// The containers' ids.
    fn containers(&self, engine: &str, names: &[&str]) -> io::Result<Vec<String>> {
        let pods = self.list(&["pods", "-A", "-l", &format!("{INSTANCE}={engine}")])?;
        let statuses = pods.iter().filter_map(|pod| pod["status"]["containerStatuses"].as_array()).flatten();
        let ours =
            statuses.filter(|status| status["name"].as_str().is_some_and(|name| names.contains(&name)));
        let ids = ours.filter_map(|status| status["containerID"].as_str()?.split("://").nth(1));
        Ok(ids.map(str::to_owned).collect())
    }

    fn list(&self, what: &[&str]) -> io::Result<Vec<Value>> {
        let listed = output(self.kubectl().arg("get").args(what).args(["-o", "json"]))?;
        let mut listed: Value = serde_json::from_slice(&listed)?;
        Ok(listed["items"].as_array_mut().map(std::mem::take).unwrap_or_default())
    }

    fn kubectl(&self) -> Command {
        let mut command = Command::new(&self.kubectl);
        command.arg("--kubeconfig").arg(&self.kubeconfig).arg("--request-timeout=30s");
        command
    }
}

/// The folder of the cgroup that counts a container's processor time.
fn cgroup(container: &str) -> io::Result<PathBuf> {
    let root =
        ["/sys/fs/cgroup/cpuacct", "/sys/fs/cgroup"].into_iter().map(Path::new).find(|root| root.exists());
    let found = root.map(|root| folder_of(root, container)).transpose()?.flatten();
    found.ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, format!("no cgroup of {container}")))
}

/// Cgroups go while they are looked at: one that is gone is not there.
fn folder_of(folder: &Path, container: &str) -> io::Result<Option<PathBuf>> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        entries => entries?,
    };
    for entry in entries.flatten().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())) {
        if entry.file_name().to_string_lossy().contains(container) {
            return Ok(Some(entry.path()));
        }
        if let Some(found) = folder_of(&entry.path(), container)? {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

/// A command that may have arguments.
fn command(line: &str) -> Option<Command> {
    let mut words = line.split_whitespace();
    let mut command = Command::new(words.next()?);
    command.args(words);
    Some(command)
}

fn output(command: &mut Command) -> io::Result<Vec<u8>> {
    let output = command.output()?;
    if output.status.success() {
        return Ok(output.stdout);
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(io::Error::other(format!("{}: {}", command.get_program().display(), said.trim())))
}
