//! What the operator decides about this engine.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use apocryph_model::Bytes;

/// The group of all engines of the host.
pub(crate) const CGROUP: &str = "/apocryph";

/// Everything that an [`EmbeddedEngine`](crate::EmbeddedEngine) is told of its host.
#[derive(Debug, Clone)]
pub struct Config {
    /// Tells this engine's bridge, firewall table and cgroups from those of others on the host.
    pub name: InstanceName,
    /// Unpacked layers, volumes, logs and writable layers; on a file system that can carry the
    /// upper side of an overlay (ext4, xfs, btrfs).
    pub data_dir: PathBuf,
    /// What must never reach a disk. The engine mounts a tmpfs here unless there is one.
    pub run_dir: PathBuf,
    /// The provider's registry endpoint.
    pub registry: SocketAddr,
    /// The OCI runtime: a path, or a name on `PATH`.
    pub runtime: PathBuf,
    /// A program whose `main` hands over to [`shim_main`](crate::shim_main) where its first
    /// argument is `shim`.
    pub shim: PathBuf,
    /// The pods' addresses. The first is the host's.
    pub subnet: Subnet,
    /// Name servers for the pods, which may be in private networks.
    pub dns: Vec<Ipv4Addr>,
    /// How long a container may take to end after its stop signal until it is killed.
    pub stop_grace: Duration,
    /// The most that the images of one pod unpack to.
    pub image_limit: Bytes,
}

impl Config {
    /// The defaults: `crun`, this very program as the shim, the host's name servers, 10 s of
    /// grace, images of up to 10 GiB.
    pub fn new(
        name: InstanceName,
        data_dir: PathBuf,
        run_dir: PathBuf,
        registry: SocketAddr,
        subnet: Subnet,
    ) -> Self {
        Self {
            name,
            data_dir,
            run_dir,
            registry,
            subnet,
            runtime: "crun".into(),
            shim: "/proc/self/exe".into(),
            dns: host_name_servers(),
            stop_grace: Duration::from_secs(10),
            image_limit: Bytes(10 << 30),
        }
    }
}

/// The host's name servers that a pod can reach too, which those on loopback are not.
fn host_name_servers() -> Vec<Ipv4Addr> {
    let text = std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
    let servers = text.lines().filter_map(|line| line.trim().strip_prefix("nameserver")?.trim().parse().ok());
    servers.filter(|server: &Ipv4Addr| !server.is_loopback()).collect()
}

/// An engine's name: 1 to 12 of a-z and 0-9, so that interfaces can be named after it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstanceName(String);

/// A text that is not an engine's name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected 1 to 12 of a-z and 0-9")]
pub struct ParseInstanceNameError;

impl FromStr for InstanceName {
    type Err = ParseInstanceNameError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let valid = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
        let valid = (1..=12).contains(&text.len()) && text.bytes().all(valid);
        if valid { Ok(Self(text.into())) } else { Err(ParseInstanceNameError) }
    }
}

impl std::fmt::Display for InstanceName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl InstanceName {
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    pub(crate) fn bridge(&self) -> String {
        format!("ap-{}", self.0)
    }

    pub(crate) fn firewall_table(&self) -> String {
        format!("apocryph_{}", self.0)
    }

    /// Below the root of every cgroup hierarchy.
    pub(crate) fn cgroup(&self) -> String {
        format!("{CGROUP}/{}", self.0)
    }
}

/// An IPv4 network, such as `10.88.0.0/24`; /16 to /29.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Subnet {
    network: u32,
    prefix: u8,
}

/// A text that is not a subnet for pods.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected a private IPv4 network of /16 to /29 such as 10.88.0.0/24, without host bits")]
pub struct ParseSubnetError;

impl FromStr for Subnet {
    type Err = ParseSubnetError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (address, prefix) = text.split_once('/').ok_or(ParseSubnetError)?;
        let address: Ipv4Addr = address.parse().map_err(|_| ParseSubnetError)?;
        let prefix: u8 = prefix.parse().map_err(|_| ParseSubnetError)?;
        let subnet = Self { network: address.into(), prefix };
        let fits = (16..=29).contains(&prefix) && address.is_private();
        if fits && subnet.network & (subnet.size() - 1) == 0 { Ok(subnet) } else { Err(ParseSubnetError) }
    }
}

impl std::fmt::Display for Subnet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", Ipv4Addr::from(self.network), self.prefix)
    }
}

impl Subnet {
    /// The host's own address.
    pub fn gateway(self) -> Ipv4Addr {
        Ipv4Addr::from(self.network + 1)
    }

    /// The length of the network's prefix in bits.
    pub fn prefix(self) -> u8 {
        self.prefix
    }

    /// The pods' addresses: all but the network's own, the host's and the broadcast address.
    pub(crate) fn pods(self) -> impl DoubleEndedIterator<Item = Ipv4Addr> + Clone {
        (self.network + 2..self.network + self.size() - 1).map(Ipv4Addr::from)
    }

    pub(crate) fn contains(self, address: Ipv4Addr) -> bool {
        u32::from(address) & !(self.size() - 1) == self.network
    }

    fn size(self) -> u32 {
        1 << (32 - self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subnet_gives_the_host_the_first_address() {
        let subnet: Subnet = "10.88.4.0/29".parse().unwrap();
        assert_eq!(subnet.gateway().to_string(), "10.88.4.1");
        let pods: Vec<String> = subnet.pods().map(|a| a.to_string()).collect();
        assert_eq!(pods, ["10.88.4.2", "10.88.4.3", "10.88.4.4", "10.88.4.5", "10.88.4.6"]);
        assert_eq!(subnet.to_string(), "10.88.4.0/29");
        assert!(subnet.contains([10, 88, 4, 7].into()) && !subnet.contains([10, 88, 4, 8].into()));
    }

    #[test]
    fn what_is_no_subnet_for_pods_is_refused() {
        for bad in ["10.0.0.0", "10.0.0.0/8", "10.0.0.1/24", "10.0.0.0/30", "8.8.8.0/24", "x/24", "::/64"] {
            assert_eq!(bad.parse::<Subnet>(), Err(ParseSubnetError), "{bad}");
        }
    }

    #[test]
    fn an_instance_names_an_interface() {
        let name: InstanceName = "provider1234".parse().unwrap();
        assert!(name.bridge().len() <= 15);
        for bad in ["", "Provider", "a-b", "thirteenchars"] {
            assert_eq!(bad.parse::<InstanceName>(), Err(ParseInstanceNameError), "{bad}");
        }
    }
}
