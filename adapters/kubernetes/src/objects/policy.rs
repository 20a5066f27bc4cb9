//! Whom a pod's replicas can talk to.

use std::net::IpAddr;

use ipnet::IpNet;
use serde_json::{Value, json};

use crate::config::Gateways;

/// What is not the public internet: this host, private and shared networks, link-local addresses
/// with the clouds' metadata services, documentation, multicast (RFC 6890).
const NOT_PUBLIC_V4: [&str; 14] = [
    "0.0.0.0/8",
    "10.0.0.0/8",
    "100.64.0.0/10",
    "127.0.0.0/8",
    "169.254.0.0/16",
    "172.16.0.0/12",
    "192.0.0.0/24",
    "192.0.2.0/24",
    "192.168.0.0/16",
    "198.18.0.0/15",
    "198.51.100.0/24",
    "203.0.113.0/24",
    "224.0.0.0/4",
    "240.0.0.0/4",
];
/// The same, with IPv4 in its disguises; but for mapped addresses, which are on no wire and which
/// Kubernetes refuses.
const NOT_PUBLIC_V6: [&str; 8] =
    ["::/127", "64:ff9b::/96", "100::/64", "2001:db8::/32", "2002::/16", "fc00::/7", "fe80::/10", "ff00::/8"];

/// In from the gateway and from the pod's own replicas; out to those, to the cluster's DNS and to
/// the public internet, of which the nodes' own addresses are no part.
pub(super) fn policy(gateways: &Gateways, nodes: &[IpAddr], metadata: Value) -> Value {
    let own = json!({ "podSelector": {} });
    let mut from = vec![own.clone()];
    from.extend(gateways.networks.iter().map(|network| json!({ "ipBlock": { "cidr": network } })));
    from.extend(gateways.namespace.iter().map(|name| in_namespace(name)));
    let mut dns = in_namespace("kube-system");
    dns["podSelector"] = json!({ "matchLabels": { "k8s-app": "kube-dns" } });
    let block = |cidr: &str, except: Vec<String>| json!({ "ipBlock": { "cidr": cidr, "except": except } });
    json!({
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": metadata,
        "spec": {
            "podSelector": {},
            "policyTypes": ["Ingress", "Egress"],
            "ingress": [{ "from": from }],
            "egress": [
                { "to": [own] },
                {
                    "to": [dns],
                    "ports": [{ "protocol": "UDP", "port": 53 }, { "protocol": "TCP", "port": 53 }],
                },
                { "to": [block("0.0.0.0/0", except_v4(nodes)), block("::/0", except_v6(nodes))] },
            ],
        },
    })
}

fn in_namespace(name: &str) -> Value {
    json!({ "namespaceSelector": { "matchLabels": { "kubernetes.io/metadata.name": name } } })
}

/// Whether a policy would let replicas reach the address if it did not name it.
pub(crate) fn is_public(address: IpAddr) -> bool {
    let networks =
        NOT_PUBLIC_V4.iter().chain(&NOT_PUBLIC_V6).filter_map(|network| network.parse::<IpNet>().ok());
    !networks.into_iter().any(|network| network.contains(&address))
}

fn except_v4(nodes: &[IpAddr]) -> Vec<String> {
    let own = nodes.iter().filter(|address| address.is_ipv4()).map(|address| format!("{address}/32"));
    NOT_PUBLIC_V4.into_iter().map(String::from).chain(own).collect()
}

fn except_v6(nodes: &[IpAddr]) -> Vec<String> {
    let own = nodes.iter().filter(|address| address.is_ipv6()).map(|address| format!("{address}/128"));
    NOT_PUBLIC_V6.into_iter().map(String::from).chain(own).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_nodes_address_is_named_only_where_the_networks_do_not_hold_it() {
        let public = |address: &str| is_public(address.parse().unwrap());
        assert!(["8.8.4.4", "172.32.0.1", "2600::1"].into_iter().all(public));
        let private =
            ["10.1.2.3", "172.31.255.255", "192.168.0.1", "169.254.1.1", "fd00::1", "fe80::1", "::1"];
        assert!(!private.into_iter().any(public));
        let parsed =
            NOT_PUBLIC_V4.iter().chain(&NOT_PUBLIC_V6).all(|network| network.parse::<IpNet>().is_ok());
        assert!(parsed, "every network is one");
    }
}
