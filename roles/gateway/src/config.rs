//! The bounds on what strangers can make the gateway keep.

use std::{
    net::{IpAddr, Ipv4Addr},
    time::Duration,
};

/// How a gateway behaves. The defaults suit one machine.
#[derive(Debug, Clone)]
pub struct Config {
    /// Whether requests arrive here. A gateway where none do decides about starts and stops for
    /// the others that it is told of; it opens no ports and dials no pods.
    pub serves: bool,
    /// Where published TCP ports listen.
    pub tcp_address: IpAddr,
    /// Requests, streams and TCP connections that one pod has under way at once.
    pub open_per_pod: usize,
    /// How long what is under way on a replica may take that is ended by others, here and at the gateways
    /// for which this one decides.
    pub drain: Duration,
    /// How requests wait for a pod.
    pub hold: HoldLimits,
    /// What a client may send before it is known which pod it wants.
    pub clients: ClientLimits,
}

/// How many requests wait for pods that start, and for how long.
#[derive(Debug, Clone)]
pub struct HoldLimits {
    /// Requests held in all.
    pub requests: usize,
    /// Requests held for one pod.
    pub requests_per_pod: usize,
    /// Bytes that the held requests take up in all.
    pub bytes: usize,
    /// Bytes that the requests held for one pod take up.
    pub bytes_per_pod: usize,
    /// How long a request waits at most.
    pub time: Duration,
    /// How long after its start a pod may take to listen: whoever waits for it is refused then,
    /// and whoever comes later at once, until it listens.
    pub listen: Duration,
}

/// What clients may open and send.
#[derive(Debug, Clone)]
pub struct ClientLimits {
    /// Connections in all.
    pub connections: usize,
    /// Connections from one IP address, or from one /64 of IPv6.
    pub connections_per_client: usize,
    /// Bytes of a request's head; at least 8192.
    pub header_bytes: u32,
    /// Header fields of an HTTP/1 request.
    pub header_count: usize,
    /// How long a client may take for a TLS handshake or a request's head, and how long an
    /// HTTP/1 connection may idle between requests.
    pub header_time: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            serves: true,
            tcp_address: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            open_per_pod: 20_000,
            drain: Duration::from_secs(10),
            hold: HoldLimits::default(),
            clients: ClientLimits::default(),
        }
    }
}

impl Default for HoldLimits {
    fn default() -> Self {
        Self {
            requests: 100_000,
            requests_per_pod: 10_000,
            bytes: 256 << 20,
            bytes_per_pod: 64 << 20,
            time: Duration::from_secs(60),
            listen: Duration::from_secs(30),
        }
    }
}

impl Default for ClientLimits {
    fn default() -> Self {
        Self {
            connections: 110_000,
            connections_per_client: 20_000,
            header_bytes: 64 << 10,
            header_count: 128,
            header_time: Duration::from_secs(30),
        }
    }
}
