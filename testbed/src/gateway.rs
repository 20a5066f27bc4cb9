//! The real `apocryphd gateway`, a gateway as a process of its own.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::process::Command;

use crate::clients::http_get;
use crate::daemon::{Daemon, free_ports};
use crate::service::Service;
use crate::until::until;

const PATIENCE: Duration = Duration::from_secs(30);
const TOKEN: &str = "a token of tests, which anybody may know";

/// Where a daemon's gateways find it, and what they share with it.
#[derive(Debug, Clone)]
pub struct Control {
    daemon: SocketAddr,
    token: PathBuf,
    folder: PathBuf,
}

/// A gateway that runs.
#[derive(Debug)]
pub struct Gateway {
    /// Where it speaks HTTP.
    pub address: SocketAddr,
    service: Service,
}

impl Control {
    /// Has a daemon serve by other gateways alone, from its next start on.
    ///
    /// # Errors
    /// If its files cannot be written.
    pub fn configure(daemon: &Daemon) -> io::Result<Self> {
        let [address] = free_ports()?;
        let token = daemon.folder.join("gateway.token");
        std::fs::write(&token, TOKEN)?;
        daemon.configure("[listen]\n", &format!("[listen]\ngateways = \"{address}\"\n"))?;
        let gateway = format!("here = false\nlease = \"2s\"\ntoken-file = \"{}\"", token.display());
        daemon.configure("[gateway]\n", &format!("[gateway]\n{gateway}\n"))?;
        Ok(Self { daemon: address, token, folder: daemon.folder.clone() })
    }

    /// Runs one, and waits until requests are to come to it. Its TCP ports are at an address of its
    /// own of the loopback network, by its number.
    ///
    /// # Errors
    /// If it does not.
    pub async fn start_gateway(&self, number: u8) -> io::Result<Gateway> {
        let [mut address, health] = free_ports()?;
        address.set_ip(Ipv4Addr::new(127, 0, 0, 10 + number).into());
        let name = format!("gateway-{number}");
        let config = self.folder.join(format!("{name}.toml"));
        let token = self.token.display();
        let settings = format!("daemon = \"{}\"\nname = \"{name}\"\ntoken-file = \"{token}\"\n", self.daemon);
        let listen = format!("[listen]\ngateway = \"{address}\"\nhealth = \"{health}\"\n");
        std::fs::write(&config, settings + &listen)?;
        let log = self.folder.join(format!("{name}.log"));
        let mut service = Service::start(&name, run(&config), &log)?;
        let ready = async || Ok(http_get(health, "localhost", "/readyz").await?.status == 200);
        let waited = until("a gateway is ready", PATIENCE, ready).await;
        match waited {
            Ok(()) => Ok(Gateway { address, service }),
            Err(error) => {
                let lines = service.last_lines(20);
                service.kill().await?;
                Err(io::Error::other(format!("{error}: {lines}")))
            }
        }
    }
}

impl Gateway {
    /// Its process id, while it runs.
    pub fn id(&self) -> Option<u32> {
        self.service.id()
    }

    /// Asks it to end, and waits.
    ///
    /// # Errors
    /// If the system refuses.
    pub async fn stop(mut self) -> io::Result<()> {
        self.service.stop(PATIENCE).await.map(drop)
    }

    /// Kills it at once.
    ///
    /// # Errors
    /// If the system refuses.
    pub async fn kill(mut self) -> io::Result<()> {
        self.service.kill().await.map(drop)
    }
}

fn run(config: &Path) -> Command {
    let mut command = Command::new(crate::program("apocryphd"));
    command.arg("--config").arg(config).args(["gateway", "run"]);
    command
}
