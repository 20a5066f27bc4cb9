//! What is to be provisioned, and how far it is.

use super::{Malformed, bytes, collect, fixed, required, text};
use crate::{
    provision::{
        fault::{MAX_TEXT, cut},
        wire,
    },
    unixfs::BlockId,
};
use apocryph_model::{Blob, Digest, Endpoint, PeerAddress, PodId, Progress, ProvisionRequest};
use wire::provision_event::Event;

/// RSA keys of 16,384 bits take some 9 KiB.
const MAX_KEY: usize = 16 << 10;

impl TryFrom<wire::Blob> for Blob {
    type Error = Malformed;

    fn try_from(wire: wire::Blob) -> Result<Self, Malformed> {
        text::<BlockId>(&wire.cid, "blob.cid")?;
        Ok(Self { digest: Digest(fixed(&wire.digest, "blob.digest")?), size: wire.size, cid: wire.cid })
    }
}

impl From<&Blob> for wire::Blob {
    fn from(blob: &Blob) -> Self {
        Self { digest: bytes(blob.digest.0), size: blob.size, cid: blob.cid.clone() }
    }
}

impl TryFrom<wire::ProvisionPayload> for ProvisionRequest {
    type Error = Malformed;

    fn try_from(wire: wire::ProvisionPayload) -> Result<Self, Malformed> {
        if wire.blobs.len() > Self::MAX_BLOBS {
            return Err(Malformed("blobs"));
        }
        if wire.image_key.len() > MAX_KEY {
            return Err(Malformed("image_key"));
        }
        if wire.sources.len() > Self::MAX_SOURCES {
            return Err(Malformed("sources"));
        }
        Ok(Self {
            pod: PodId(fixed(&wire.pod, "pod")?),
            terms: required(wire.terms, "terms")?.try_into()?,
            spec: required(wire.spec, "spec")?.try_into()?,
            spec_key: fixed(&wire.spec_key, "spec_key")?,
            image_key: wire.image_key.into(),
            blobs: collect(wire.blobs)?,
            public: wire.public,
            sources: sources(&wire.sources)?,
        })
    }
}

impl From<&ProvisionRequest> for wire::ProvisionPayload {
    fn from(request: &ProvisionRequest) -> Self {
        Self {
            pod: bytes(request.pod),
            terms: Some((&request.terms).into()),
            spec: Some((&request.spec).into()),
            spec_key: bytes(request.spec_key),
            image_key: bytes(&request.image_key),
            blobs: request.blobs.iter().map(Into::into).collect(),
            public: request.public,
            sources: request.sources.iter().map(ToString::to_string).collect(),
        }
    }
}

impl From<Progress> for Event {
    fn from(progress: Progress) -> Self {
        match progress {
            Progress::Channel => Self::Channel(wire::Empty {}),
            Progress::Fetch { done, total } => Self::Fetch(wire::Fetched { done, total }),
            Progress::Source { source, problem } => {
                Self::Source(wire::SourceTrouble { source: source.into(), problem: cut(&problem).into() })
            }
            Progress::Unpack => Self::Unpack(wire::Empty {}),
            Progress::Route => Self::Route(wire::Empty {}),
        }
    }
}

impl TryFrom<wire::SourceTrouble> for Progress {
    type Error = Malformed;

    fn try_from(wire: wire::SourceTrouble) -> Result<Self, Malformed> {
        if wire.problem.len() > MAX_TEXT {
            return Err(Malformed("source.problem"));
        }
        Ok(Self::Source { source: text(&wire.source, "source.source")?, problem: wire.problem })
    }
}

fn sources(wire: &[String]) -> Result<Vec<PeerAddress>, Malformed> {
    wire.iter().map(|source| text(source, "sources")).collect()
}

/// What a provision call's stream says.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::provision) enum Provisioning {
    Progress(Progress),
    Done(Vec<Endpoint>),
}

impl TryFrom<wire::ProvisionEvent> for Provisioning {
    type Error = Malformed;

    fn try_from(wire: wire::ProvisionEvent) -> Result<Self, Malformed> {
        let progress = match required(wire.event, "event")? {
            Event::Channel(wire::Empty {}) => Progress::Channel,
            Event::Fetch(wire::Fetched { done, total }) => Progress::Fetch { done, total },
            Event::Source(wire) => wire.try_into()?,
            Event::Unpack(wire::Empty {}) => Progress::Unpack,
            Event::Route(wire::Empty {}) => Progress::Route,
            Event::Done(wire) => return collect(wire.endpoints).map(Self::Done),
        };
        Ok(Self::Progress(progress))
    }
}
