//! What a pod may reach: the public internet and its name servers, nothing else. One nftables
//! table per engine, so that the operator's own rules are left alone.

use std::io::{self, Write as _};
use std::net::Ipv4Addr;
use std::process::{Command, Stdio};

use crate::config::Config;

/// Networks that are not the public internet (RFC 6890), the subnets of other engines included.
const NOT_PUBLIC: &str = "0.0.0.0/8, 10.0.0.0/8, 100.64.0.0/10, 127.0.0.0/8, 169.254.0.0/16, \
                          172.16.0.0/12, 192.0.0.0/24, 192.168.0.0/16, 198.18.0.0/15, 224.0.0.0/3";

/// Connections that a replica may have beyond the host at a time: all tenants' are in one table of the
/// kernel's, which one of them could fill.
const MOST_CONNECTIONS: u32 = 4096;

/// Installs the table, in place of an earlier one.
pub(super) fn install(config: &Config) -> io::Result<()> {
    nft(&ruleset(config))
}

/// Removes the table. None is no error.
pub(super) fn remove(config: &Config) -> io::Result<()> {
    nft(&delete(config))
}

/// Adding a table that is there is no error, deleting one that is not there is: so both.
fn delete(config: &Config) -> String {
    let table = config.name.firewall_table();
    format!("add table inet {table}\ndelete table inet {table}\n")
}

fn ruleset(config: &Config) -> String {
    let (delete, table) = (delete(config), config.name.firewall_table());
    let (bridge, subnet) = (config.name.bridge(), config.subnet);
    let dns = name_server_rules(&config.dns);
    format!(
        r#"{delete}table inet {table} {{
  chain input {{
    type filter hook input priority filter; policy accept;
    iifname "{bridge}" ct state established,related accept
    iifname "{bridge}" drop
  }}
  chain forward {{
    type filter hook forward priority filter; policy accept;
    iifname "{bridge}" jump from_pods
    oifname "{bridge}" ct state established,related accept
    oifname "{bridge}" drop
  }}
  set connections {{
    type ipv4_addr
    size 65536
    flags dynamic
  }}
  chain from_pods {{
    meta nfproto ipv6 drop
    ip saddr != {subnet} drop
    ct state new add @connections {{ ip saddr ct count over {MOST_CONNECTIONS} }} drop
{dns}    ip daddr {{ {NOT_PUBLIC} }} drop
    accept
  }}
  chain outgoing {{
    type nat hook postrouting priority srcnat; policy accept;
    ip saddr {subnet} oifname != "{bridge}" masquerade
  }}
}}
"#
    )
}

fn name_server_rules(servers: &[Ipv4Addr]) -> String {
    let rule = |server| format!("    ip daddr {server} meta l4proto {{ tcp, udp }} th dport 53 accept\n");
    servers.iter().map(rule).collect()
}

fn nft(script: &str) -> io::Result<()> {
    let mut nft = Command::new("nft")
        .args(["-f", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()?;
    if let Some(mut stdin) = nft.stdin.take() {
        stdin.write_all(script.as_bytes())?;
    }
    let output = nft.wait_with_output()?;
    if output.status.success() {
        return Ok(());
    }
    Err(io::Error::other(format!("nft: {}", String::from_utf8_lossy(&output.stderr).trim())))
}
