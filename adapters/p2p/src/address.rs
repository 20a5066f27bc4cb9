//! Peers and their addresses: between the model's texts and libp2p's types.

use apocryph_model as model;
use libp2p::{Multiaddr, PeerId, multiaddr::Protocol};

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

#[cfg(test)]
mod tests {
    use super::*;

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
