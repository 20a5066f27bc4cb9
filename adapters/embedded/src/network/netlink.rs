//! rtnetlink(7), one request at a time and blocking: a socket belongs to the network namespace of
//! the thread that opens it, which an asynchronous handle would hide.

use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::{AsRawFd as _, BorrowedFd};

use rtnetlink::packet_core::{
    NLM_F_ACK, NLM_F_CREATE, NLM_F_DUMP, NLM_F_EXCL, NLM_F_REQUEST, NetlinkMessage, NetlinkPayload,
};
use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::packet_route::address::{AddressAttribute, AddressMessage};
use rtnetlink::packet_route::link::{
    InfoBridgePort, InfoData, InfoKind, InfoPortData, InfoPortKind, InfoVeth, LinkAttribute, LinkFlags,
    LinkInfo, LinkMessage, Stats64,
};
use rtnetlink::packet_route::{AddressFamily, route::RouteScope};
use rtnetlink::sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};
use rtnetlink::{LinkMessageBuilder, LinkUnspec, RouteMessageBuilder};

/// The kernel's largest message in answer to a dump.
const RECEIVE: usize = 64 << 10;

pub(super) type Mac = [u8; 6];

/// The links, addresses and routes of one network namespace.
pub(crate) struct Netlink {
    socket: Socket,
}

impl Netlink {
    /// Of the calling thread's network namespace.
    pub(crate) fn open() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        socket.bind_auto()?;
        socket.connect(&SocketAddr::new(0, 0))?;
        Ok(Self { socket })
    }

    /// The index of the link of this name, where there is one.
    pub(super) fn index(&self, name: &str) -> io::Result<Option<u32>> {
        let request = RouteNetlinkMessage::GetLink(LinkUnspec::new_with_name(name).build());
        let mut index = None;
        let sent = self.request(request, NLM_F_ACK, |answer| {
            if let RouteNetlinkMessage::NewLink(link) = answer {
                index = Some(link.header.index);
            }
        });
        match sent {
            Err(error) if error.raw_os_error() == Some(nix::libc::ENODEV) => Ok(None),
            sent => sent.map(|()| index),
        }
    }

    /// Makes a bridge, up, with this hardware address.
    pub(super) fn add_bridge(&self, name: &str, mac: Mac) -> io::Result<()> {
        let bridge = LinkMessageBuilder::<LinkUnspec>::new_with_info_kind(InfoKind::Bridge);
        self.create(bridge.name(name.into()).address(mac.to_vec()).up().build())
    }

    /// Makes a pair of links, one end up in this namespace, the other in that of `peer_netns`.
    pub(super) fn add_veth(
        &self,
        name: &str,
        mac: Mac,
        peer: &str,
        peer_netns: BorrowedFd<'_>,
    ) -> io::Result<()> {
        let peer = LinkUnspec::new_with_name(peer).setns_by_fd(peer_netns.as_raw_fd()).build();
        let veth = LinkMessageBuilder::<LinkUnspec>::new_with_info_kind(InfoKind::Veth);
        let veth = veth.set_info_data(InfoData::Veth(InfoVeth::Peer(peer)));
        self.create(veth.name(name.into()).address(mac.to_vec()).up().build())
    }

    /// Makes a link a port of the bridge that talks to no other isolated port.
    pub(super) fn attach_isolated(&self, name: &str, bridge: u32) -> io::Result<()> {
        self.change(LinkUnspec::new_with_name(name).controller(bridge).build())?;
        let mut isolate = LinkUnspec::new_with_name(name).build();
        isolate.attributes.push(LinkAttribute::LinkInfo(vec![
            LinkInfo::PortKind(InfoPortKind::Bridge),
            LinkInfo::PortData(InfoPortData::BridgePort(vec![InfoBridgePort::Isolated(true)])),
        ]));
        self.change(isolate)
    }

    pub(super) fn set_up(&self, name: &str) -> io::Result<()> {
        self.change(LinkUnspec::new_with_name(name).up().build())
    }

    /// Gives the link an address. One that it has is no error.
    pub(super) fn add_address(&self, index: u32, address: Ipv4Addr, prefix: u8) -> io::Result<()> {
        let mut message = AddressMessage::default();
        message.header.family = AddressFamily::Inet;
        message.header.prefix_len = prefix;
        message.header.index = index;
        message.attributes.push(AddressAttribute::Local(address.into()));
        message.attributes.push(AddressAttribute::Address(address.into()));
        let flags = NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL;
        match self.request(RouteNetlinkMessage::NewAddress(message), flags, |_| ()) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            added => added,
        }
    }

    pub(super) fn add_default_route(&self, gateway: Ipv4Addr) -> io::Result<()> {
        let mut route = RouteMessageBuilder::<Ipv4Addr>::new().gateway(gateway).build();
        route.header.scope = RouteScope::Universe;
        let flags = NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL;
        self.request(RouteNetlinkMessage::NewRoute(route), flags, |_| ())
    }

    /// Deletes a link. None of the name is no error.
    pub(super) fn delete(&self, name: &str) -> io::Result<()> {
        let message = LinkUnspec::new_with_name(name).build();
        match self.request(RouteNetlinkMessage::DelLink(message), NLM_F_ACK, |_| ()) {
            Err(error) if error.raw_os_error() == Some(nix::libc::ENODEV) => Ok(()),
            deleted => deleted,
        }
    }

    /// The name and counters of every link.
    pub(super) fn counters(&self) -> io::Result<Vec<(String, Stats64)>> {
        let mut found = Vec::new();
        self.request(RouteNetlinkMessage::GetLink(LinkMessage::default()), NLM_F_DUMP, |answer| {
            if let RouteNetlinkMessage::NewLink(link) = answer {
                found.extend(counters_of(link));
            }
        })?;
        Ok(found)
    }

    /// The IPv4 addresses of every link, with the link's name.
    pub(super) fn addresses(&self) -> io::Result<Vec<(String, Ipv4Addr)>> {
        let mut message = AddressMessage::default();
        message.header.family = AddressFamily::Inet;
        let mut found = Vec::new();
        self.request(RouteNetlinkMessage::GetAddress(message), NLM_F_DUMP, |answer| {
            if let RouteNetlinkMessage::NewAddress(address) = answer {
                found.extend(address_of(address));
            }
        })?;
        Ok(found)
    }

    fn create(&self, link: LinkMessage) -> io::Result<()> {
        let flags = NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL;
        self.request(RouteNetlinkMessage::NewLink(link), flags, |_| ())
    }

    fn change(&self, link: LinkMessage) -> io::Result<()> {
        self.request(RouteNetlinkMessage::NewLink(link), NLM_F_ACK, |_| ())
    }

    /// Sends a request and takes answers until it is acknowledged.
    fn request(
        &self,
        request: RouteNetlinkMessage,
        flags: u16,
        mut on_answer: impl FnMut(RouteNetlinkMessage),
    ) -> io::Result<()> {
        let mut message = NetlinkMessage::from(request);
        message.header.flags = NLM_F_REQUEST | flags;
        message.finalize();
        let mut bytes = vec![0; message.buffer_len()];
        message.serialize(&mut bytes);
        self.socket.send(&bytes, 0)?;
        loop {
            let mut received = Vec::with_capacity(RECEIVE);
            self.socket.recv(&mut received, 0)?;
            if take_answers(&received, &mut on_answer)? {
                return Ok(());
            }
        }
    }
}

/// True once the request is done.
fn take_answers(mut bytes: &[u8], on_answer: &mut impl FnMut(RouteNetlinkMessage)) -> io::Result<bool> {
    while !bytes.is_empty() {
        let message = NetlinkMessage::<RouteNetlinkMessage>::deserialize(bytes).map_err(io::Error::other)?;
        let length = (message.header.length as usize).next_multiple_of(4).min(bytes.len());
        bytes = &bytes[length..];
        match message.payload {
            NetlinkPayload::InnerMessage(answer) => on_answer(answer),
            NetlinkPayload::Error(error) if error.code.is_some() => return Err(error.to_io()),
            NetlinkPayload::Error(_) | NetlinkPayload::Done(_) => return Ok(true),
            _ => {}
        }
        if length == 0 {
            return Err(io::ErrorKind::InvalidData.into());
        }
    }
    Ok(false)
}

fn address_of(message: AddressMessage) -> Option<(String, Ipv4Addr)> {
    let (mut link, mut address) = (None, None);
    for attribute in message.attributes {
        match attribute {
            AddressAttribute::Label(text) => link = Some(text),
            AddressAttribute::Local(IpAddr::V4(found)) => address = Some(found),
            _ => {}
        }
    }
    link.zip(address)
}

fn counters_of(link: LinkMessage) -> Option<(String, Stats64)> {
    let (mut name, mut stats) = (None, None);
    for attribute in link.attributes {
        match attribute {
            LinkAttribute::IfName(text) => name = Some(text),
            LinkAttribute::Stats64(found) => stats = Some(found),
            _ => {}
        }
    }
    let up = link.header.flags.contains(LinkFlags::Up);
    name.zip(stats).filter(|_| up)
}
