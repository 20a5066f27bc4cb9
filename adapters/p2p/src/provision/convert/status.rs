//! What a pod is doing.

use super::{Malformed, address, amount, big_endian, bytes, collect, fixed, integer, text, usage};
use crate::provision::wire;
use apocryph_model::{Channel, Digest, Endpoint, Hash32, PodId, PodPhase, PodStatus, Rate};

impl TryFrom<wire::Endpoint> for Endpoint {
    type Error = Malformed;

    fn try_from(wire: wire::Endpoint) -> Result<Self, Malformed> {
        let address = text(&wire.address, "endpoint.address")?;
        let port = wire.container_port.try_into();
        let container_port = port.map_err(|_| Malformed("endpoint.container_port"))?;
        Ok(match wire.http {
            None => Self::Tcp { address, container_port },
            Some(wire::HttpRoute { host, tls }) => {
                Self::Http { host: text(&host, "endpoint.http.host")?, gateway: address, tls, container_port }
            }
        })
    }
}

impl From<&Endpoint> for wire::Endpoint {
    fn from(endpoint: &Endpoint) -> Self {
        match endpoint {
            Endpoint::Tcp { address, container_port } => {
                Self { container_port: (*container_port).into(), address: address.to_string(), http: None }
            }
            Endpoint::Http { host, gateway, tls, container_port } => Self {
                container_port: (*container_port).into(),
                address: gateway.to_string(),
                http: Some(wire::HttpRoute { host: host.to_string(), tls: *tls }),
            },
        }
    }
}

impl From<PodPhase> for wire::PodPhase {
    fn from(phase: PodPhase) -> Self {
        match phase {
            PodPhase::Provisioning => Self::Provisioning,
            PodPhase::Idle => Self::Idle,
            PodPhase::Running => Self::Running,
            PodPhase::Evicted => Self::Evicted,
            PodPhase::Removed => Self::Removed,
            PodPhase::Ending => Self::Ending,
        }
    }
}

impl TryFrom<wire::PodPhase> for PodPhase {
    type Error = Malformed;

    fn try_from(wire: wire::PodPhase) -> Result<Self, Malformed> {
        Ok(match wire {
            wire::PodPhase::Unspecified => return Err(Malformed("phase")),
            wire::PodPhase::Provisioning => Self::Provisioning,
            wire::PodPhase::Idle => Self::Idle,
            wire::PodPhase::Running => Self::Running,
            wire::PodPhase::Evicted => Self::Evicted,
            wire::PodPhase::Removed => Self::Removed,
            wire::PodPhase::Ending => Self::Ending,
        })
    }
}

impl TryFrom<wire::Channel> for Channel {
    type Error = Malformed;

    fn try_from(wire: wire::Channel) -> Result<Self, Malformed> {
        Ok(Self {
            publisher: address(&wire.publisher, "channel.publisher")?,
            provider: address(&wire.provider, "channel.provider")?,
            pod: PodId(fixed(&wire.pod, "channel.pod")?),
            token: address(&wire.token, "channel.token")?,
            deposited: amount(&wire.deposited, "channel.deposited")?,
            claimed: amount(&wire.claimed, "channel.claimed")?,
            max_rate: Rate(integer(&wire.max_rate, "channel.max_rate")?),
            opened_at: wire.opened_at,
            unlock_at: wire.unlock_at,
            unlock_delay: wire.unlock_delay,
            epoch: wire.epoch,
            terms: Hash32(fixed(&wire.terms, "channel.terms")?),
        })
    }
}

impl From<&Channel> for wire::Channel {
    fn from(channel: &Channel) -> Self {
        Self {
            publisher: bytes(channel.publisher),
            provider: bytes(channel.provider),
            pod: bytes(channel.pod),
            token: bytes(channel.token),
            deposited: big_endian(channel.deposited.0),
            claimed: big_endian(channel.claimed.0),
            max_rate: big_endian(channel.max_rate.0),
            opened_at: channel.opened_at,
            unlock_at: channel.unlock_at,
            unlock_delay: channel.unlock_delay,
            epoch: channel.epoch,
            terms: bytes(channel.terms),
        }
    }
}

impl TryFrom<wire::StatusReply> for PodStatus {
    type Error = Malformed;

    fn try_from(wire: wire::StatusReply) -> Result<Self, Malformed> {
        let spec = match &wire.spec[..] {
            [] => None,
            digest => Some(Digest(fixed(digest, "spec")?)),
        };
        Ok(Self {
            phase: wire::PodPhase::try_from(wire.phase).map_err(|_| Malformed("phase"))?.try_into()?,
            replicas: wire.replicas,
            endpoints: collect(wire.endpoints)?,
            usage: usage(&wire.usage, "usage")?,
            channel: wire.channel.map(TryInto::try_into).transpose()?,
            spec,
            last_error: wire.last_error.map(TryInto::try_into).transpose()?,
        })
    }
}

impl From<&PodStatus> for wire::StatusReply {
    fn from(status: &PodStatus) -> Self {
        Self {
            phase: wire::PodPhase::from(status.phase).into(),
            replicas: status.replicas,
            endpoints: status.endpoints.iter().map(Into::into).collect(),
            usage: status.usage.0.to_vec(),
            channel: status.channel.as_ref().map(Into::into),
            spec: status.spec.map(|digest| bytes(digest.0)).unwrap_or_default(),
            last_error: status.last_error.as_ref().map(Into::into),
        }
    }
}
