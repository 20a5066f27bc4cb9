//! Peers and their addresses: between the model's texts and libp2p's types.

use apocryph_model as model;
use libp2p::{Multiaddr, PeerId, multiaddr::Protocol};
use std::net::IpAddr;

/// Splits an address into whom and where to dial. `None` where libp2p cannot read it.
pub(crate) fn parse(address: &model::PeerAddress) -> Option<(PeerId, Multiaddr)> {
    let mut at: Multiaddr = address.as_str().parse().ok()?;
    match at.pop() {
        Some(Protocol::P2p(peer)) => Some((peer, at)),
        _ => None,
    }
}

/// `None` where the text is not a key's hash.
pub(crate) fn peer_id(id: &model::PeerId) -> Option<PeerId> {
    id.as_str().parse().ok()
}

/// Every id of libp2p in its text form.
pub(crate) fn to_model(id: &PeerId) -> Option<model::PeerId> {
    id.to_base58().parse().ok()
}

/// Whether a stranger may have a node with these addresses of its own dial this one: TCP or QUIC
/// by IP, and on the public internet if the node is there itself. Names are not: what they lead to
/// is for their owner to say.
pub(crate) fn may_be_dialled(at: &Multiaddr, own: &[Multiaddr]) -> bool {
    let public = |address: &Multiaddr| ip(address).is_some_and(is_public);
    is_plain(at) && (public(at) || !own.iter().any(public))
}

fn is_plain(at: &Multiaddr) -> bool {
    use Protocol::{Ip4, Ip6, QuicV1, Tcp, Udp};
    let parts: Vec<_> = at.iter().collect();
    matches!(&parts[..], [Ip4(_) | Ip6(_), Tcp(_)] | [Ip4(_) | Ip6(_), Udp(_), QuicV1])
}

fn ip(at: &Multiaddr) -> Option<IpAddr> {
    match at.iter().next()? {
        Protocol::Ip4(ip) => Some(ip.into()),
        Protocol::Ip6(ip) => Some(ip.into()),
        _ => None,
    }
}

/// By the IANA's registries of special-purpose addresses (RFC 6890).
fn is_public(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => {
            let special = match ip.octets() {
                [0 | 240..=255, ..] | [100, 64..=127, ..] | [192, 0, 0, _] | [198, 18 | 19, ..] => true,
                _ => ip.is_private() || ip.is_loopback() || ip.is_link_local() || ip.is_documentation(),
            };
            !special && !ip.is_multicast()
        }
        IpAddr::V6(ip) => match ip.segments() {
            // Teredo, documentation, 6to4: the first and the last may lead to private IPv4.
            [0x2001, 0 | 0xdb8, ..] | [0x2002, ..] => false,
            [first, ..] => first & 0xe000 == 0x2000,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_public_node_dials_public_addresses_only() {
        let own = |text: &str| vec![text.parse().unwrap()];
        let (public, private) = (own("/ip4/9.9.9.9/tcp/4001"), own("/ip4/127.0.0.1/tcp/4001"));
        for good in ["/ip4/1.1.1.1/tcp/1", "/ip4/100.128.0.1/udp/1/quic-v1", "/ip6/2606:4700::1/tcp/1"] {
            assert!(may_be_dialled(&good.parse().unwrap(), &public), "{good}");
            assert!(may_be_dialled(&good.parse().unwrap(), &private), "{good}");
        }
        for inside in [
            "127.0.0.1",
            "10.0.0.1",
            "172.16.0.1",
            "192.168.0.1",
            "169.254.169.254",
            "100.64.0.1",
            "0.0.0.0",
            "224.0.0.1",
            "255.255.255.255",
            "192.0.2.1",
            "198.18.0.1",
            "192.0.0.1",
        ] {
            let at = format!("/ip4/{inside}/tcp/4001").parse().unwrap();
            assert!(!may_be_dialled(&at, &public), "{inside}");
            assert!(may_be_dialled(&at, &private), "{inside}");
        }
        for inside in
            ["::1", "::ffff:10.0.0.1", "fe80::1", "fd00::1", "ff02::1", "2002:a00:1::", "64:ff9b::a00:1"]
        {
            let at = format!("/ip6/{inside}/udp/4001/quic-v1").parse().unwrap();
            assert!(!may_be_dialled(&at, &public), "{inside}");
        }
        for other in ["/dns4/localhost/tcp/1", "/ip4/1.1.1.1/udp/1", "/ip4/1.1.1.1/tcp/1/ws", "/ip4/1.1.1.1"]
        {
            assert!(!may_be_dialled(&other.parse().unwrap(), &private), "{other}");
        }
    }

    #[test]
    fn addresses_are_split_and_ids_survive() {
        let id = libp2p::identity::Keypair::generate_ed25519().public().to_peer_id();
        let text = format!("/ip4/127.0.0.1/udp/4001/quic-v1/p2p/{id}");
        let (peer, at) = parse(&text.parse().unwrap()).unwrap();
        assert_eq!((peer, at.to_string().as_str()), (id, "/ip4/127.0.0.1/udp/4001/quic-v1"));
        assert_eq!(peer_id(&to_model(&id).unwrap()), Some(id));
    }

    #[test]
    fn what_libp2p_cannot_read_is_none() {
        let id = "12D3KooWEyoppNCUx8Yx66oV9fJnriXwCcXwDDUA2kj6vnc6iDEp";
        let odd: model::PeerAddress = format!("/ip4/300.0.0.1/tcp/1/p2p/{id}").parse().unwrap();
        assert!(parse(&odd).is_none());
        let hashless: model::PeerId = "1".repeat(45).parse().unwrap();
        assert!(peer_id(&hashless).is_none());
    }
}
