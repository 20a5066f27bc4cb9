//! The real `apocryphd`, as its operator would set it up and run it.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::time::Duration;

use tokio::process::Command;

use crate::chain::DevChain;
use crate::clients::{Answer, http_get};
use crate::cluster::Cluster;
use crate::containers;
use crate::dns::DnsServer;
use crate::service::{Service, ending};
use crate::until::until;

const PATIENCE: Duration = Duration::from_secs(60);
const REGION: &str = "here";

/// What a provider offers.
#[derive(Debug, Clone)]
pub struct Offer {
    /// What it calls itself.
    pub name: String,
    /// Its account on the dev chain.
    pub account: usize,
    /// What a core-hour costs, in whole tokens below ten; the rest in proportion.
    pub price: u8,
}

/// Its place among the providers of a machine.
#[derive(Debug, Clone)]
pub struct Site {
    /// What its engine is called: 1 to 12 of a-z and 0-9.
    pub engine: String,
    /// The second number of its pods' addresses.
    pub network: u8,
    /// Its number among those of that network: the third one.
    pub number: u8,
    /// Where it keeps everything.
    pub folder: PathBuf,
    /// What it runs pods on, where that is not this machine.
    pub cluster: Option<Cluster>,
}

/// A provider: registered, and running unless it was stopped.
#[derive(Debug)]
pub struct Daemon {
    /// What it calls itself.
    pub name: String,
    /// What its engine is called.
    pub engine: String,
    /// Everything that it keeps.
    pub folder: PathBuf,
    /// Where its gateway speaks HTTP.
    pub gateway: SocketAddr,
    cluster: Option<Cluster>,
    health: SocketAddr,
    key: &'static str,
    service: Option<Service>,
}

/// Why a provider does not run.
#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    /// Its folder cannot be written, or a program cannot be run.
    #[error("{name}: {source}")]
    Io {
        /// The provider.
        name: String,
        /// Why.
        source: io::Error,
    },
    /// A command failed.
    #[error("{name}: `{command}` failed with {ending}:\n{output}")]
    Command {
        /// The provider.
        name: String,
        /// The command as it could be typed.
        command: String,
        /// How it ended.
        ending: String,
        /// What it printed.
        output: String,
    },
    /// It ended, or does not answer.
    #[error("{name} does not run: {source}. Its last lines:\n{lines}")]
    Silent {
        /// The provider.
        name: String,
        /// What was waited for.
        source: io::Error,
        /// What it printed last.
        lines: String,
    },
}

impl Daemon {
    /// Writes the configuration, registers, and runs until it is ready.
    ///
    /// # Errors
    /// See [`DaemonError`].
    pub async fn set_up(chain: &DevChain, offer: &Offer, site: Site) -> Result<Self, DaemonError> {
        let io = |source| DaemonError::Io { name: offer.name.clone(), source };
        std::fs::create_dir_all(&site.folder).map_err(io)?;
        let [gateway, health, p2p, mut registry] = free_ports().map_err(io)?;
        if let Some(cluster) = &site.cluster {
            registry.set_ip(cluster.host);
            cluster.trust(registry).map_err(io)?;
        }
        let configuration = configuration(chain, offer, &site, [gateway, health, p2p, registry]);
        std::fs::write(site.folder.join("apocryphd.toml"), configuration).map_err(io)?;
        let mut daemon = Self {
            name: offer.name.clone(),
            engine: site.engine,
            folder: site.folder,
            cluster: site.cluster,
            gateway,
            health,
            key: DevChain::key_hex(offer.account),
            service: None,
        };
        for verb in ["init", "check", "register"] {
            daemon.command(verb).await?;
        }
        daemon.start().await?;
        Ok(daemon)
    }

    /// Runs it, and waits until it is ready.
    ///
    /// # Errors
    /// See [`DaemonError`].
    pub async fn start(&mut self) -> Result<(), DaemonError> {
        self.launch()?;
        self.ready().await
    }

    /// Runs it.
    ///
    /// # Errors
    /// If it cannot be run.
    pub fn launch(&mut self) -> Result<(), DaemonError> {
        let log = self.folder.join("apocryphd.log");
        let service = Service::start(&self.name, self.program("run"), &log);
        let io = |source| DaemonError::Io { name: self.name.clone(), source };
        self.service = Some(service.map_err(io)?);
        Ok(())
    }

    /// Waits until what was launched is ready.
    ///
    /// # Errors
    /// See [`DaemonError`].
    pub async fn ready(&mut self) -> Result<(), DaemonError> {
        let (name, health) = (self.name.clone(), self.health);
        let silent = |source, lines| DaemonError::Silent { name, source, lines };
        let Some(service) = &mut self.service else {
            return Err(silent(io::ErrorKind::NotFound.into(), String::new()));
        };
        let decided = async || {
            let ended = service.ended()?.is_some();
            Ok(ended || http_get(health, "localhost", "/readyz").await?.status == 200)
        };
        let mut result = until("it is ready", PATIENCE, decided).await;
        if let Ok(Some(status)) = service.ended() {
            result = Err(io::Error::other(format!("it ended with {}", ending(status))));
        }
        result.map_err(|source| silent(source, service.last_lines(20)))
    }

    /// What it says of its health at `path`.
    ///
    /// # Errors
    /// If it does not answer.
    pub async fn health(&self, path: &str) -> io::Result<Answer> {
        http_get(self.health, "localhost", path).await
    }

    /// Asks it to end, and waits.
    ///
    /// # Errors
    /// If the system refuses.
    pub async fn stop(&mut self) -> Result<(), DaemonError> {
        let Some(mut service) = self.service.take() else { return Ok(()) };
        let stopped = service.stop(PATIENCE).await;
        stopped.map(drop).map_err(|source| DaemonError::Io { name: self.name.clone(), source })
    }

    /// Kills it at once.
    ///
    /// # Errors
    /// If the system refuses.
    pub async fn kill(&mut self) -> Result<(), DaemonError> {
        let Some(mut service) = self.service.take() else { return Ok(()) };
        let killed = service.kill().await;
        killed.map(drop).map_err(|source| DaemonError::Io { name: self.name.clone(), source })
    }

    /// Puts one text of its configuration in place of another, for the next start.
    ///
    /// # Errors
    /// If it cannot be read or written, or the text is not in it.
    pub fn configure(&self, from: &str, to: &str) -> io::Result<()> {
        let path = self.folder.join("apocryphd.toml");
        let text = std::fs::read_to_string(&path)?;
        if !text.contains(from) {
            return Err(io::Error::new(io::ErrorKind::NotFound, format!("{from:?} is not in {text}")));
        }
        std::fs::write(path, text.replacen(from, to, 1))
    }

    /// Has it ask a DNS server whose host names are, from the next start on. Until then they are
    /// whose pod came first.
    ///
    /// # Errors
    /// If its configuration cannot be read or written.
    pub fn prove_hosts_by(&self, dns: &DnsServer) -> io::Result<()> {
        let setting = format!("host-names = \"dns\"\nresolver = \"{}\"", dns.address());
        self.configure("host-names = \"first-come\"", &setting)
    }

    /// The processes in its containers of these names: id and command line.
    ///
    /// # Errors
    /// If they cannot be looked at.
    pub fn processes(&self, names: &[&str]) -> io::Result<Vec<(u32, String)>> {
        match &self.cluster {
            Some(cluster) => cluster.processes(&self.engine, names),
            None => containers::processes(&self.engine, names),
        }
    }

    /// What the kernel counted of its containers of these names that run, in microseconds.
    ///
    /// # Errors
    /// If there is no such container, or its counter cannot be read.
    pub fn cpu_microseconds(&self, names: &[&str]) -> io::Result<u64> {
        match &self.cluster {
            Some(cluster) => cluster.cpu_microseconds(&self.engine, names),
            None => containers::cpu_microseconds(&self.engine, names),
        }
    }

    /// What it tells Prometheus.
    ///
    /// # Errors
    /// If it does not answer.
    pub async fn metrics(&self) -> io::Result<String> {
        Ok(self.health("/metrics").await?.body)
    }

    /// Its process id, while it runs.
    pub fn id(&self) -> Option<u32> {
        self.service.as_ref().and_then(Service::id)
    }

    /// Lets it run on when this is dropped.
    pub fn release(&mut self) {
        if let Some(service) = &mut self.service {
            service.release();
        }
    }

    /// Where its blocks are.
    pub fn blobs(&self) -> PathBuf {
        self.folder.join("data/blobs")
    }

    /// Runs another command of it to its end.
    ///
    /// # Errors
    /// If it fails.
    pub async fn command(&self, verb: &str) -> Result<String, DaemonError> {
        let output = self.program(verb).kill_on_drop(true).output().await;
        let output = output.map_err(|source| DaemonError::Io { name: self.name.clone(), source })?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        if output.status.success() {
            return Ok(text(&output.stdout));
        }
        Err(DaemonError::Command {
            name: self.name.clone(),
            command: format!("apocryphd {verb}"),
            ending: ending(output.status),
            output: text(&output.stdout) + &text(&output.stderr),
        })
    }

    fn program(&self, verb: &str) -> Command {
        let mut command = Command::new(crate::program("apocryphd"));
        command.arg("--config").arg(self.folder.join("apocryphd.toml")).arg(verb);
        command.env("APOCRYPHD_KEY", self.key);
        command
    }
}

/// Ports that nothing listens at just now. All are held until all are found.
pub(crate) fn free_ports<const N: usize>() -> io::Result<[SocketAddr; N]> {
    let mut held = Vec::new();
    let mut found = [SocketAddr::from((Ipv4Addr::LOCALHOST, 0)); N];
    for address in &mut found {
        let listener = TcpListener::bind(*address)?;
        *address = listener.local_addr()?;
        held.push(listener);
    }
    Ok(found)
}

/// One engine, one network and one set of ports for each provider of a machine; everything is
/// looked at often, and nothing takes long.
fn configuration(
    chain: &DevChain,
    offer: &Offer,
    site @ Site { number, folder, .. }: &Site,
    [gateway, health, p2p, registry]: [SocketAddr; 4],
) -> String {
    let contracts = chain.contracts();
    format!(
        r#"name = "{name}"
regions = ["{REGION}"]
data-dir = "{folder}/data"
run-dir = "{folder}/run"

[chain]
rpc = ["{rpc}"]
id = {id}
payment = "{payment}"
registry = "{contract}"
token = "{token}"

[prices]
cpu-used = "{price}"
cpu-reserved = "{price}"
memory = "0.{price}"
storage = "0.00{price}"
ingress = "0.00{price}"
egress = "0.0{price}"

[terms]
least-runway = "5s"
least-unlock-delay = "3s"
grace = "1s"

[listen]
gateway = "{gateway}"
health = "{health}"
p2p = "{p2p}"
registry = "{registry}"

[gateway]
domain = "{name}.localhost"
host-names = "first-come"
tcp-ports = "{first_port}-{last_port}"

[engine]
stop-grace = "3s"
{engine}

[metering]
period = "500ms"
reconcile = "500ms"

[claims]
before-end = "5s"
"#,
        name = offer.name,
        engine = engine_settings(site),
        price = offer.price,
        folder = folder.display(),
        rpc = chain.url(),
        id = chain.id(),
        payment = contracts.payment,
        contract = contracts.registry,
        token = chain.token(),
        first_port = 30_000 + 100 * u16::from(*number),
        last_port = 30_099 + 100 * u16::from(*number),
    )
}

/// The rest of the table `engine`, and what comes with it.
fn engine_settings(Site { engine, network, number, cluster, .. }: &Site) -> String {
    match cluster {
        None => format!("name = \"{engine}\"\nsubnet = \"10.{network}.{number}.0/24\""),
        Some(Cluster { kubeconfig, host, .. }) => format!(
            "name = \"{engine}\"\nkind = \"kubernetes\"\n\n[kubernetes]\nkubeconfig = \"{}\"\n\
             gateway-networks = [\"{host}/32\"]",
            kubeconfig.display()
        ),
    }
}
