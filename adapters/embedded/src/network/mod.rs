//! The pods' network: a bridge per engine, a veth pair per replica.
//!
//! ```text
//!  replica's namespace        host
//!  eth0 10.88.0.5/24 <------> ap1f2e3d4c5b6a (isolated port) -- ap-<name> 10.88.0.1/24 -- nftables
//! ```
//!
//! Isolated ports talk to the bridge's own address only, so the gateway on this host reaches every
//! replica and no replica reaches another. The hardware address is made of the IP address: one
//! that is used again meets no stale neighbour entry.

mod addresses;
mod firewall;
mod netlink;

use std::collections::HashMap;
use std::fs;
use std::io;
use std::net::Ipv4Addr;
use std::os::fd::{AsFd as _, BorrowedFd};

use crate::config::{Config, Subnet};
use crate::host_error::{Doing as _, HostError};
pub(crate) use addresses::Addresses;
pub(crate) use netlink::Netlink;

/// Bytes that a replica received and sent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Traffic {
    pub(crate) ingress: u64,
    pub(crate) egress: u64,
}

/// The engine's end of all pods' network.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Network {
    bridge: u32,
    subnet: Subnet,
}

impl Network {
    /// Makes the bridge and the firewall, or what is missing of them.
    pub(crate) fn open(config: &Config) -> Result<Self, HostError> {
        let name = config.name.bridge();
        check_subnet(config).doing(format!("use {} as engine.subnet", config.subnet))?;
        let bridge = ensure_bridge(&name, config.subnet).doing(format!("make the bridge {name}"))?;
        set("ipv6", &name, "disable_ipv6", "1").doing("keep IPv6 off the bridge")?;
        set("ipv4", &name, "forwarding", "1").doing("let the bridge forward")?;
        firewall::install(config).doing("install the firewall")?;
        Ok(Self { bridge, subnet: config.subnet })
    }

    /// Takes the bridge and the firewall away.
    pub(crate) fn close(config: &Config) -> Result<(), HostError> {
        let bridge = config.name.bridge();
        let deleted = Netlink::open().and_then(|netlink| netlink.delete(&bridge));
        deleted.doing(format!("delete the bridge {bridge}"))?;
        firewall::remove(config).doing("remove the firewall")
    }

    /// Connects the network namespace of the calling thread: `host` is a socket of the host's
    /// namespace, `host_netns` that namespace itself, `link` the name of the host's end, which is
    /// off: nothing is counted until it is switched on.
    pub(crate) fn connect(
        &self,
        host: &Netlink,
        host_netns: BorrowedFd<'_>,
        link: &str,
        address: Ipv4Addr,
    ) -> io::Result<()> {
        let inside = Netlink::open()?;
        inside.add_veth("eth0", mac_of(address), link, host_netns)?;
        host.attach_isolated(link, self.bridge)?;
        inside.set_up("lo")?;
        let eth0 = inside.index("eth0")?.ok_or(io::ErrorKind::NotFound)?;
        inside.add_address(eth0, address, self.subnet.prefix())?;
        inside.add_default_route(self.subnet.gateway())
    }

    /// Lets packets through a link.
    pub(crate) fn switch_on(link: &str) -> io::Result<()> {
        Netlink::open()?.set_up(link)
    }

    /// Deletes the host's end of a replica's link, and so both.
    pub(crate) fn disconnect(link: &str) -> io::Result<()> {
        Netlink::open()?.delete(link)
    }

    /// What went through every replica's link. What the host sends, the replica receives.
    pub(crate) fn traffic() -> io::Result<HashMap<String, Traffic>> {
        let counters = Netlink::open()?.counters()?;
        let traffic = |(name, stats): (String, rtnetlink::packet_route::link::Stats64)| {
            (name, Traffic { ingress: stats.tx_bytes, egress: stats.rx_bytes })
        };
        Ok(counters.into_iter().map(traffic).collect())
    }
}

/// Refuses a subnet in which another link of the host has an address: packets for pods would go there.
pub(crate) fn check_subnet(config: &Config) -> io::Result<()> {
    let bridge = config.name.bridge();
    let addresses = Netlink::open()?.addresses()?;
    let taken = |(link, address): &(String, Ipv4Addr)| *link != bridge && config.subnet.contains(*address);
    match addresses.into_iter().find(taken) {
        Some((link, address)) => {
            Err(io::Error::new(io::ErrorKind::AddrInUse, format!("{address} of the link {link} lies in it")))
        }
        None => Ok(()),
    }
}

/// Makes a bridge and a pair of links in the calling thread's network namespace.
pub(crate) fn try_bridge() -> io::Result<()> {
    let netlink = Netlink::open()?;
    let netns = fs::File::open("/proc/thread-self/ns/net")?;
    netlink.add_bridge("trial", mac_of(Ipv4Addr::new(10, 0, 0, 1)))?;
    netlink.add_veth("eth0", mac_of(Ipv4Addr::new(10, 0, 0, 2)), "peer", netns.as_fd())?;
    let bridge = netlink.index("trial")?.ok_or(io::ErrorKind::NotFound)?;
    netlink.attach_isolated("peer", bridge)
}

fn ensure_bridge(name: &str, subnet: Subnet) -> io::Result<u32> {
    let netlink = Netlink::open()?;
    if netlink.index(name)?.is_none() {
        netlink.add_bridge(name, mac_of(subnet.gateway()))?;
    }
    let index = netlink.index(name)?.ok_or(io::ErrorKind::NotFound)?;
    netlink.add_address(index, subnet.gateway(), subnet.prefix())?;
    netlink.set_up(name)?;
    Ok(index)
}

/// A setting of one interface; a host without IPv6 has none to turn off.
fn set(family: &str, link: &str, setting: &str, value: &str) -> io::Result<()> {
    let family_dir = format!("/proc/sys/net/{family}");
    if !fs::exists(&family_dir)? {
        return Ok(());
    }
    fs::write(format!("{family_dir}/conf/{link}/{setting}"), value)
}

/// Locally administered.
fn mac_of(address: Ipv4Addr) -> netlink::Mac {
    let [a, b, c, d] = address.octets();
    [0x02, 0xac, a, b, c, d]
}
