//! Signed calls and their payloads.

use super::{Malformed, big_endian, bytes, fixed, integer, required, text};
use crate::provision::wire;
use apocryph_model::{ChannelId, Hash32, LogQuery, Method, ProvisionRequest, Statement, keccak256};
use apocryph_statement::Signature;
use prost::Message as _;

const METHODS: [Method; 5] = [Method::Provision, Method::Remove, Method::Status, Method::Logs, Method::Usage];

/// What a call carries beside its statement.
pub(in crate::provision) trait Payload: Sized {
    fn decode(payload: &[u8]) -> Result<Self, Malformed>;
    fn encode(&self) -> Vec<u8>;
}

/// A call with its payload read. Who signed it is not known yet.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::provision) struct Signed<P> {
    pub(in crate::provision) statement: Statement,
    pub(in crate::provision) signature: Signature,
    /// Keccak-256 of the payload as it came.
    pub(in crate::provision) digest: Hash32,
    pub(in crate::provision) payload: P,
}

impl<P: Payload> TryFrom<wire::Call> for Signed<P> {
    type Error = Malformed;

    fn try_from(call: wire::Call) -> Result<Self, Malformed> {
        Ok(Self {
            statement: required(call.statement, "statement")?.try_into()?,
            signature: Signature(fixed(&call.signature, "signature")?),
            digest: Hash32(keccak256(&[&call.payload])),
            payload: P::decode(&call.payload)?,
        })
    }
}

impl TryFrom<wire::Statement> for Statement {
    type Error = Malformed;

    fn try_from(wire: wire::Statement) -> Result<Self, Malformed> {
        let method = METHODS.into_iter().find(|method| method.as_str() == wire.method);
        Ok(Self {
            method: required(method, "statement.method")?,
            channel: ChannelId(fixed(&wire.channel, "statement.channel")?),
            provider: text(&wire.provider, "statement.provider")?,
            payload: Hash32(fixed(&wire.payload, "statement.payload")?),
            nonce: integer(&wire.nonce, "statement.nonce")?,
            expires_at: wire.expires_at,
        })
    }
}

impl From<&Statement> for wire::Statement {
    fn from(statement: &Statement) -> Self {
        Self {
            method: statement.method.as_str().into(),
            channel: bytes(statement.channel),
            provider: statement.provider.as_str().into(),
            payload: bytes(statement.payload),
            nonce: big_endian(statement.nonce),
            expires_at: statement.expires_at,
        }
    }
}

/// Nothing.
impl Payload for () {
    fn decode(payload: &[u8]) -> Result<Self, Malformed> {
        if payload.is_empty() { Ok(()) } else { Err(Malformed("payload")) }
    }

    fn encode(&self) -> Vec<u8> {
        Vec::new()
    }
}

impl Payload for ProvisionRequest {
    fn decode(payload: &[u8]) -> Result<Self, Malformed> {
        wire::ProvisionPayload::decode(payload).map_err(|_| Malformed("payload"))?.try_into()
    }

    fn encode(&self) -> Vec<u8> {
        wire::ProvisionPayload::from(self).encode_to_vec()
    }
}

impl Payload for LogQuery {
    fn decode(payload: &[u8]) -> Result<Self, Malformed> {
        let wire = wire::LogsPayload::decode(payload).map_err(|_| Malformed("payload"))?;
        let container = match &wire.container[..] {
            "" => None,
            name => Some(text(name, "container")?),
        };
        Ok(Self { container, since_ms: wire.since_ms, follow: wire.follow })
    }

    fn encode(&self) -> Vec<u8> {
        let container = self.container.as_ref().map(ToString::to_string).unwrap_or_default();
        wire::LogsPayload { container, since_ms: self.since_ms, follow: self.follow }.encode_to_vec()
    }
}

/// From which record of the ledger on.
impl Payload for u64 {
    fn decode(payload: &[u8]) -> Result<Self, Malformed> {
        Ok(wire::UsagePayload::decode(payload).map_err(|_| Malformed("payload"))?.from)
    }

    fn encode(&self) -> Vec<u8> {
        wire::UsagePayload { from: *self }.encode_to_vec()
    }
}
